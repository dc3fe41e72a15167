"""The operator of the version before goes on with the new CRDs, and objects that were stored stay good: schemas only grow."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.crd_growth import refused_of_a_newer_status, taken_away

from spark_allocation.api.conditions import ConditionType
from spark_allocation.api.crd import cluster_policy_crd, policy_crd, sparkallocation_crd
from spark_allocation.api.policies import StoredPolicy, read_policy
from spark_allocation.api.policy_v1alpha1 import PolicyCondition
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.spec_reading import read_spec

RELEASED = Path(__file__).parent / "released_crds"
"""The CRDs of the last release; `make released-crds` moves them (docs/upgrade.md)."""
CRDS = Path(__file__).parents[2] / "crds"
EXAMPLES = Path(__file__).parents[2] / "examples"

MEANT: dict[str, str] = {}
"""What a version takes away on purpose, with the reason; empty again after its release."""

Schema = dict[str, Any]


def read(file: Path) -> Schema:
    return dict(yaml.safe_load(file.read_text()))


@pytest.mark.parametrize("name", sorted(file.name for file in RELEASED.glob("*.yaml")))
def test_nothing_is_taken_away_since_the_last_release(name: str) -> None:
    found = {f"{name}: {each}" for each in taken_away(read(RELEASED / name), read(CRDS / name))}
    assert found == {each for each in MEANT if each.startswith(f"{name}: ")}


@pytest.mark.parametrize("name", sorted(file.name for file in RELEASED.glob("*.yaml")))
def test_a_server_with_the_crds_of_the_last_release_takes_the_status(name: str) -> None:
    """Of a newer operator: it drops what it does not know, and must find nothing to refuse."""
    assert refused_of_a_newer_status(read(RELEASED / name), read(CRDS / name)) == []


def test_there_is_room_for_more_kinds_of_conditions() -> None:
    released = {file.name.partition(".")[0]: read(file) for file in RELEASED.glob("*.yaml")}
    room = {
        name: fields(each, "status", "conditions")["maxItems"] for name, each in released.items()
    }
    assert len(ConditionType) <= room["sparkallocations"]
    assert len(PolicyCondition) <= room["sparkallocationpolicies"]
    assert len(PolicyCondition) <= room["clustersparkallocationpolicies"]


def test_every_kind_of_the_last_release_is_there() -> None:
    released = {file.name for file in RELEASED.glob("*.yaml")}
    assert released
    assert released <= {file.name for file in CRDS.glob("*.yaml")}


@pytest.mark.parametrize("made", [sparkallocation_crd, policy_crd, cluster_policy_crd])
def test_no_field_has_a_default_that_would_be_stored(made: Callable[[], Schema]) -> None:
    # an older operator would take for the user's wish what only the newer schema has put there
    assert "'default':" not in str(made()["spec"]["versions"][0]["schema"])


# -- an operator and an object of a later version ---------------------------------------------------------------------


def with_unknown_fields(value: Any) -> Any:
    """The same with one more field in every object that the schema knows."""
    if isinstance(value, dict):
        grown = {
            key: each if key in FREE else with_unknown_fields(each) for key, each in value.items()
        }
        return {**grown, "fieldOfALaterVersion": {"a": 1}}
    if isinstance(value, list):
        return [with_unknown_fields(each) for each in value]
    return value


FREE = {"sparkConf", "podTemplate", "userDefaults", "selector", "driver", "match", "weights"}
"""Maps, whose keys are the user's; and what selects, which is understood as a whole or not at all."""


@pytest.mark.parametrize("name", ["spark-allocation.yaml", "gpu-profile.yaml"])
def test_an_operator_reads_what_it_knows_of_a_later_spec(name: str) -> None:
    body = read(EXAMPLES / name)
    spec = read_spec(body)
    assert isinstance(spec, SparkAllocationSpec)
    assert read_spec({**body, "spec": with_unknown_fields(body["spec"])}) == spec


@pytest.mark.parametrize("name", ["cluster-policy.yaml", "namespace-policy.yaml", "budgets.yaml"])
def test_an_operator_reads_what_it_knows_of_a_later_policy(name: str) -> None:
    body = read(EXAMPLES / name)
    policy = read_policy(body)
    assert isinstance(policy, StoredPolicy)
    assert read_policy({**body, "spec": with_unknown_fields(body["spec"])}) == policy


# -- that the judge sees something --------------------------------------------------------------------------------

ALLOCATIONS = "sparkallocations.sparkallocation.dev.yaml"


def fields(definition: Schema, *path: str) -> Schema:
    schema: Schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name in path:
        schema = schema["properties"][name]
    return schema


DYNAMIC = ("spec", "dynamicAllocation")
NARROWED: dict[str, tuple[Callable[[Schema], object], str]] = {
    "a field that went": (lambda it: fields(it, *DYNAMIC)["properties"].pop("maxExecutors"), "v1alpha1.spec.dynamicAllocation.maxExecutors: is gone"),
    "another type": (lambda it: fields(it, *DYNAMIC, "maxExecutors").update(type="string"), "maxExecutors: integer became string"),
    "a lower bound that rose": (lambda it: fields(it, *DYNAMIC, "minExecutors").update(minimum=1), "minExecutors: minimum was 0 and is 1"),
    "an upper bound that is new": (lambda it: fields(it, "spec", "sparkConf").update(maxProperties=1), "spec.sparkConf: maxProperties was"),
    "a value that went": (lambda it: fields(it, "spec", "mode")["enum"].remove("Paused"), "spec.mode: Paused is not allowed any more"),
    "a field that has to be set": (lambda it: fields(it, *DYNAMIC).update(required=["maxExecutors"]), "maxExecutors: has to be set now"),
    "a new rule about known fields": (lambda it: fields(it, *DYNAMIC).update({"x-kubernetes-validations": [{"rule": "self.maxExecutors < 9"}]}), "a new rule: self.maxExecutors < 9"),
    "a version that went": (lambda it: it["spec"]["versions"][0].update(name="v1"), "v1alpha1: the version is gone"),
    "a status that cannot be written": (lambda it: it["spec"]["versions"][0].pop("subresources"), "the subresource status is gone"),
    "another scope": (lambda it: it["spec"].update(scope="Cluster"), "scope: Namespaced became Cluster"),
    "a short name that went": (lambda it: it["spec"]["names"].update(shortNames=[]), "names.shortNames: salloc is gone"),
}  # fmt: skip


@pytest.mark.parametrize("what", NARROWED)
def test_what_is_taken_away_is_told(what: str) -> None:
    change, words = NARROWED[what]
    old = read(CRDS / ALLOCATIONS)
    change(new := copy.deepcopy(old))
    assert any(words in each for each in taken_away(old, new)), taken_away(old, new)


GROWN: dict[str, Callable[[Schema], object]] = {
    "a new field": lambda it: fields(it, "spec")["properties"].update(surprise={"type": "string", "enum": ["a"]}),
    "a new object with a field that has to be set": lambda it: fields(it, "spec")["properties"].update(surprise={"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}),
    "a wider bound": lambda it: fields(it, *DYNAMIC, "maxExecutors").pop("maximum"),
    "one more value": lambda it: fields(it, "spec", "mode")["enum"].append("Dream"),
    "a rule about a new field": lambda it: fields(it, "spec").update({"properties": {**fields(it, "spec")["properties"], "surprise": {"type": "integer"}}, "x-kubernetes-validations": [*fields(it, "spec").get("x-kubernetes-validations", ()), {"rule": "!has(self.surprise) || self.surprise < 9"}]}),
    "one more version": lambda it: it["spec"]["versions"].append({**it["spec"]["versions"][0], "name": "v1alpha2"}),
    "other texts": lambda it: fields(it, "spec", "mode").update(description="other words"),
}  # fmt: skip


@pytest.mark.parametrize("what", GROWN)
def test_what_only_grew_passes(what: str) -> None:
    old = read(CRDS / ALLOCATIONS)
    GROWN[what](new := copy.deepcopy(old))
    assert old != new
    assert taken_away(old, new) == []


STATUS_CHANGED: dict[str, tuple[Callable[[Schema], object], str]] = {
    "a field that is left out": (lambda it: fields(it, "status", "decisions")["items"].update(required=["time"]), "status.decisions[].profile: may be left out now"),
    "more entries": (lambda it: fields(it, "status", "decisions").update(maxItems=11), "status.decisions: maxItems was 10 and is 11"),
    "longer words": (lambda it: fields(it, "status", "state").pop("maxLength"), "status.state: maxLength was 64 and is None"),
    "other words": (lambda it: fields(it, "status", "conditions")["items"]["properties"]["status"].update(pattern="^Maybe$"), "status.conditions[].status: has new words"),
}  # fmt: skip


@pytest.mark.parametrize("what", STATUS_CHANGED)
def test_a_status_that_an_older_schema_refuses_is_told(what: str) -> None:
    change, words = STATUS_CHANGED[what]
    old = read(CRDS / ALLOCATIONS)
    change(new := copy.deepcopy(old))
    assert words in refused_of_a_newer_status(old, new)
