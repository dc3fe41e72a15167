"""An operator and objects of a later version: what is known holds, what is not is told, and nobody else is selected."""

from typing import Any

import pytest

from spark_allocation.api import policies
from spark_allocation.api.policies import InvalidPolicy, StoredPolicy, read_policy
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller import spec_reading
from spark_allocation.controller.policy_directory import FILE_SCOPE, PolicyDirectory
from spark_allocation.controller.spec_reading import InvalidSpec, read_spec

Document = dict[str, Any]


def allocation(**spec: Any) -> Document:
    return {"metadata": {"name": "report"}, "spec": {"driver": {"podName": "report"}, **spec}}


def policy(**spec: Any) -> Document:
    return {
        "kind": "ClusterSparkAllocationPolicy",
        "metadata": {"name": "teams"},
        "spec": {"limits": {"dynamicAllocation": {"maxExecutors": {"max": 5}}}, **spec},
    }


def test_an_allocation_goes_on_with_what_is_known() -> None:
    # given a SparkAllocation with fields of a later version
    body = allocation(later=1, dynamicAllocation={"maxExecutors": 4, "later": {"a": 1}})
    # when an older operator reads it
    spec = read_spec(body)
    # then its bounds hold, and the operator can name what it left out
    assert isinstance(spec, SparkAllocationSpec)
    assert spec.dynamic_allocation is not None
    assert spec.dynamic_allocation.max_executors == 4
    assert set(spec_reading.unknown_fields(body)) == {"spec.later", "spec.dynamicAllocation.later"}


def test_a_file_with_an_unknown_field_is_refused() -> None:
    read = read_spec(allocation(later=1), strict=True)
    assert isinstance(read, InvalidSpec)
    assert "spec.later" in str(read)


@pytest.mark.parametrize(
    "spec",
    [
        {"driver": {"selector": {"matchLabels": {"a": "b"}, "matchExpressions": []}}},
        {"driver": {"podName": "report", "cluster": "other"}},
        {"profiles": [{"match": {"resources": {"cores": 2}, "stage": "x"}, "maxExecutors": 1}]},
    ],
)
def test_what_selects_is_understood_as_a_whole_or_not_at_all(spec: Document) -> None:
    assert isinstance(read_spec(allocation(**spec)), InvalidSpec)


def test_a_value_that_makes_no_sense_is_refused_beside_an_unknown_field() -> None:
    read = read_spec(allocation(later=1, dynamicAllocation={"maxExecutors": -1}))
    assert isinstance(read, InvalidSpec)
    assert "maxExecutors" in str(read)


def test_a_policy_s_limits_hold_although_it_says_more() -> None:
    body = policy(limits={"dynamicAllocation": {"maxExecutors": {"max": 5}, "later": {"max": 1}}})
    read = read_policy(body)
    assert isinstance(read, StoredPolicy)
    assert read == read_policy(policy())
    assert policies.unknown_fields(body) == ("spec.limits.dynamicAllocation.later",)


def test_a_policy_whose_selector_says_more_is_for_nobody() -> None:
    body = policy(
        selector={"namespaces": ["team-*"], "users": ["nightly"]}, allow={"images": ["*"]}
    )
    assert isinstance(read_policy(body), InvalidPolicy)


def test_the_directory_keeps_such_a_policy_and_tells_of_it() -> None:
    # given a policy of the API server with a default that this version does not know
    directory = PolicyDirectory()
    directory.update("cluster", policy(defaults={"later": {}}))
    # then its limit holds, and a sentence says what does not
    selected = directory.selected("team-a", {})
    assert [each.name for each in selected.policies] == ["teams"]
    (problem,) = selected.problems
    assert "spec.defaults.later" in problem
    assert "the rest holds" in problem
    # and when somebody takes it out, nothing is wrong any more
    directory.update("cluster", policy())
    assert not directory.selected("team-a", {}).problems


def test_the_same_in_a_file_is_a_mistake() -> None:
    directory = PolicyDirectory()
    directory.update(FILE_SCOPE, policy(defaults={"later": {}}))
    selected = directory.selected("team-a", {})
    assert not selected.policies
    (problem,) = selected.problems
    assert "cannot be read" in problem
