"""Which fields are guarded: all but those that say how many executors there are, how large and how long they stay.

That the policies do what they say is shown on a real API server (tests/integration/test_admission.py).
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.documents.admission_policies import FILE

from spark_allocation.api.admission import (
    OPEN_KEY_PREFIXES,
    OPEN_KEYS,
    admission_policies,
    admission_policy_file,
    guarded_fields,
)
from spark_allocation.api.crd import structural_schema
from spark_allocation.api.group import GROUP
from spark_allocation.api.policy_v1alpha1 import (
    ClusterSparkAllocationPolicySpec,
    SparkAllocationPolicySpec,
)
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.core.executor_pod_settings import POD_SETTINGS

DEPLOY = Path(__file__).parents[2] / "deploy"
SPEC = structural_schema(SparkAllocationSpec)
SIZES = ("cpu request", "cpu limit", "memory", "off-heap", "the same, by its older name", "least memory")  # fmt: skip


def test_the_committed_file_is_made_from_the_models() -> None:
    assert FILE.read_text() == admission_policy_file(), "run `make crd`"


def test_what_executors_are_is_guarded() -> None:
    assert "executor" in guarded_fields()
    assert ("profiles[].podTemplate" in guarded_fields()) == ("profiles" in SPEC["properties"])


@pytest.mark.parametrize("place", ["", "dynamicAllocation", "allocation.failures", "decommission"])
def test_a_field_that_nobody_has_thought_about_is_guarded(place: str) -> None:
    # given a schema in which somebody has added a field
    schema: dict[str, Any] = structural_schema(SparkAllocationSpec)
    node = schema
    for part in filter(None, place.split(".")):
        node = node["properties"][part]
    node["properties"]["novelty"] = {"type": "object", "properties": {"a": {"type": "string"}}}
    # then it is named, as a whole
    novelty = f"{place}.novelty" if place else "novelty"
    assert set(guarded_fields(schema)) == {*guarded_fields(), novelty}


def test_so_is_one_in_the_entries_of_a_list() -> None:
    schema: dict[str, Any] = structural_schema(SparkAllocationSpec)
    entry = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "object", "properties": {}}},
    }
    schema["properties"]["novelties"] = {"type": "array", "items": entry}
    assert "novelties" in guarded_fields(schema)


def test_open_keys_say_how_large_an_executor_is_and_nothing_else() -> None:
    effects = {setting.key: setting.effect for setting in POD_SETTINGS}
    for key in OPEN_KEYS:
        assert effects[key].startswith(SIZES), key


def test_every_other_setting_of_the_pod_is_guarded() -> None:
    for setting in POD_SETTINGS:
        assert not any(setting.key.startswith(prefix) for prefix in OPEN_KEY_PREFIXES), setting.key
        if setting.is_family:
            assert not any(key.startswith(setting.key) for key in OPEN_KEYS), setting.key


def test_policies_set_nothing_that_is_guarded() -> None:
    """They are written by others than SparkAllocations and are not asked about: their values are open ones."""
    top = {path.partition(".")[0].partition("[")[0] for path in guarded_fields()}
    for spec in (SparkAllocationPolicySpec, ClusterSparkAllocationPolicySpec):
        properties = structural_schema(spec)["properties"]
        for part in ("defaults", "locks"):
            assert not top & set(properties.get(part, {}).get("properties", {})), part


def rules_of(file: str, name: str) -> set[tuple[str, str, str]]:
    """(API group, resource, verb) of a role of deploy/."""
    found = [
        each
        for each in yaml.safe_load_all((DEPLOY / file).read_text())
        if each["kind"] in ("Role", "ClusterRole") and each["metadata"]["name"] == name
    ]
    assert found, name
    return {
        (group, resource, verb)
        for role in found
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_a_namespace_s_admin_has_what_an_operator_of_the_namespace_needs_of_our_kinds() -> None:
    """Nobody can grant what he does not have; of other kinds the cluster's own admin role has it."""
    operator = rules_of("namespaced/10-rbac.yaml", "spark-allocation-operator")
    admin = rules_of("15-user-roles.yaml", "spark-allocation-admin")
    assert {rule for rule in operator if rule[0] == GROUP} <= admin


def test_each_role_has_what_the_smaller_one_has() -> None:
    view, edit, admin = (
        rules_of("15-user-roles.yaml", f"spark-allocation-{name}")
        for name in ("view", "edit", "admin")
    )
    of_the_cluster = {rule for rule in view if rule[1].startswith("cluster")}
    assert view - of_the_cluster <= edit
    # admin has the rest from edit, which the cluster's own role adds to it
    assert {rule for rule in edit if "/" not in rule[1]} <= admin
    assert rules_of("15-user-roles.yaml", "spark-allocation-cluster-policy-view") == of_the_cluster


def test_each_policy_is_bound_and_denies() -> None:
    policies, bindings = admission_policies()[::2], admission_policies()[1::2]
    for policy, binding in zip(policies, bindings, strict=True):
        assert policy["spec"]["failurePolicy"] == "Fail"
        assert binding["spec"]["policyName"] == policy["metadata"]["name"]
        assert binding["spec"]["validationActions"] == ["Deny"]
