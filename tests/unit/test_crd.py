"""The CustomResourceDefinition: what an API server takes, what users read, what an upgrade may not change."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spark_allocation.api.crd import (
    cluster_policy_crd,
    crd_files,
    policy_crd,
    sparkallocation_crd,
    structural_schema,
)
from spark_allocation.api.spark_keys import INERT_KEYS, allocation_conf
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.core.passive_driver import PASSIVE_SETTINGS, offences
from spark_allocation.core.setting_catalogue import FIELD_OF_SPARK_KEY

CRDS = Path(__file__).parents[2] / "crds"
VERSION = sparkallocation_crd()["spec"]["versions"][0]
SCHEMA: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]


def nodes(schema: Any = SCHEMA, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in the schema, with the path of its field."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from nodes(schema[part], f"{path}[]")


def test_the_committed_files_are_the_models() -> None:
    assert {path.name: path.read_text() for path in CRDS.glob("*.yaml")} == crd_files()


def test_it_fits_into_an_annotation_of_kubectl_apply() -> None:
    assert all(len(text) < 200_000 for text in crd_files().values())


@pytest.mark.parametrize(
    "word",
    ["$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "const", "prefixItems", "discriminator",
     "patternProperties", "uniqueItems", "title", "default", "exclusiveMinimum_number"],
)  # fmt: skip
def test_no_schema_has_what_an_api_server_refuses(word: str) -> None:
    for path, schema in nodes():
        if word == "exclusiveMinimum_number":
            assert schema.get("exclusiveMinimum", True) is True, path
        else:
            assert word not in schema, path


def test_every_schema_has_one_type() -> None:
    for path, schema in nodes():
        assert isinstance(schema.get("type"), str), path


def test_unknown_fields_are_kept_only_where_a_pod_is_written() -> None:
    kept = [path for path, schema in nodes() if schema.get("x-kubernetes-preserve-unknown-fields")]
    assert kept == [".spec.executor.podTemplate", ".spec.profiles[].podTemplate"]
    for path, schema in nodes():
        if path in kept:
            assert "additionalProperties" not in schema, (
                "beside it the server prunes what is nested"
            )
        assert not isinstance(schema.get("additionalProperties"), bool), path


def test_every_list_and_map_of_the_spec_is_bounded() -> None:
    """CEL's cost is reckoned from the bounds."""
    for path, schema in nodes():
        if not path.startswith(".spec"):
            continue
        if schema["type"] == "array":
            assert "maxItems" in schema, path
        values = schema.get("additionalProperties")
        if isinstance(values, dict):
            assert "maxProperties" in schema, path
            assert "maxLength" in values or "maximum" in values, path


def test_lists_of_the_status_are_merged_by_their_keys() -> None:
    status = SCHEMA["properties"]["status"]["properties"]
    assert status["conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    assert status["profiles"]["x-kubernetes-list-map-keys"] == ["id"]


@pytest.mark.parametrize("crd", [sparkallocation_crd, policy_crd, cluster_policy_crd])
def test_kubectl_explain_says_something_of_every_field(crd: Callable[[], dict[str, Any]]) -> None:
    (version,) = crd()["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    assert schema["description"]
    silent = [
        path
        for path, each in nodes(schema)
        if path.startswith((".spec", ".status"))
        and not path.endswith("[]")
        and not each.get("description", "").strip()
    ]
    assert silent == []


def test_the_columns_are_worth_reading() -> None:
    columns = [
        each["name"] for each in VERSION["additionalPrinterColumns"] if each.get("priority", 0) == 0
    ]
    assert columns == ["State", "Executors", "Target", "Pending", "Driver", "Age"]
    for column in VERSION["additionalPrinterColumns"]:
        place = SCHEMA
        for part in column["jsonPath"].removeprefix(".").split("."):
            place = place["properties"].get(part) or {"properties": {}}
            if part == "metadata":
                break
        else:
            assert place.get("type") == column["type"], column


def test_nothing_is_required_but_the_driver() -> None:
    """What is required can never be left out again: schemas only grow."""
    required = {path: schema["required"] for path, schema in nodes() if "required" in schema}
    spec = {path: names for path, names in required.items() if path.startswith(".spec") or not path}
    assert spec == {
        "": ["spec"],
        ".spec": ["driver"],
        ".spec.driver.selector": ["matchLabels"],
        ".spec.profiles[]": ["match"],
        ".spec.streaming.backlog.promQL": ["server", "query"],
        ".spec.streaming.freezeWindows[]": ["start", "duration"],
        ".spec.streaming.queries[]": ["name"],
        ".spec.streaming.queries[].backlog.promQL": ["server", "query"],
    }


class _Everything(BaseModel):
    """One field for each thing that pydantic writes and an API server does not take as it is."""

    model_config = ConfigDict(extra="forbid")

    optional: int | None = None
    above_zero: Annotated[float, Field(gt=0)] = 1.0
    below_ten: Annotated[float, Field(lt=10)] = 1.0
    one_word: Literal["a", "b"] = "a"
    nested: "_Nested | None" = None
    free: Annotated[
        dict[str, Any],
        Field(json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    ] = {}


class _Nested(BaseModel):
    title: str = "a field may be called title"


def test_each_construct_becomes_structural() -> None:
    fields = structural_schema(_Everything)["properties"]
    assert fields["optional"] == {"type": "integer"}
    assert fields["above_zero"] == {"type": "number", "minimum": 0, "exclusiveMinimum": True}
    assert fields["below_ten"] == {"type": "number", "maximum": 10, "exclusiveMaximum": True}
    assert fields["one_word"] == {"type": "string", "enum": ["a", "b"]}
    assert fields["nested"]["properties"] == {"title": {"type": "string"}}
    assert fields["free"] == {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert "additionalProperties" not in structural_schema(_Everything)


# -- from the fields to Spark's keys ----------------------------------------------------------------------------------


def test_what_a_passive_driver_sets_says_nothing_of_what_its_user_wants() -> None:
    driver = {setting.key: setting.value for setting in PASSIVE_SETTINGS}
    conf = allocation_conf(driver, SparkAllocationSpec.model_validate({"driver": {"podName": "d"}}))
    assert not [key for key in INERT_KEYS if key in conf]
    assert offences(driver) == ()


def test_fields_become_spark_s_keys() -> None:
    spec = SparkAllocationSpec.model_validate(
        {
            "driver": {"podName": "d"},
            "dynamicAllocation": {
                "maxExecutors": 9,
                "executorIdleTimeout": "2min",
                "shuffleTracking": {"timeout": "30"},
            },
        }
    )
    conf = allocation_conf({"spark.dynamicAllocation.maxExecutors": "4"}, spec)
    assert conf["spark.dynamicAllocation.maxExecutors"] == "9"
    assert conf["spark.dynamicAllocation.executorIdleTimeout"] == "120000ms"
    assert conf["spark.dynamicAllocation.shuffleTracking.timeout"] == "30000ms"


def test_a_driver_is_named_in_exactly_one_way() -> None:
    for driver in ({}, {"podName": "d", "selector": {"matchLabels": {"a": "b"}}}):
        with pytest.raises(ValidationError):
            SparkAllocationSpec.model_validate({"driver": driver})


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["driver", "podName", "selector", "matchLabels", "mode", "dynamicAllocation",
                 "minExecutors", "executorIdleTimeout", "executor", "podTemplate", "sparkConf", "x"]
            ),
            inner,
            max_size=4,
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_a_spec_of_any_kind_is_read_or_refused_and_nothing_else(document: Any) -> None:
    try:
        SparkAllocationSpec.model_validate(document)
    except ValidationError as refused:
        assert refused.errors()


def test_the_driver_s_own_failure_limit_is_inert_and_the_object_s_counts() -> None:
    spec = SparkAllocationSpec.model_validate(
        {"driver": {"podName": "d"}, "allocation": {"failures": {"max": 9, "window": "30m"}}}
    )
    conf = allocation_conf({"spark.executor.maxNumFailures": "2147483647"}, spec)
    assert conf["spark.executor.maxNumFailures"] == "9"
    assert conf["spark.executor.failuresValidityInterval"] == "1800000ms"


# -- what CEL says, the models say too --------------------------------------------------------------------------------


def rules(*path: str) -> dict[str, str]:
    """Message → rule of a schema's CEL rules."""
    place = SCHEMA["properties"]["spec"]
    for part in path:
        place = place["items"] if part == "[]" else place["properties"][part]
    return {each["message"]: each["rule"] for each in place["x-kubernetes-validations"]}


@pytest.mark.parametrize(("key", "field"), sorted(FIELD_OF_SPARK_KEY.items()))
def test_a_spark_key_with_a_field_of_its_own_is_refused_naming_the_field(
    key: str, field: str
) -> None:
    message = f"{key} has a field of its own: set spec.{field}"
    assert rules("sparkConf")[message] == f"!('{key}' in self)"
    with pytest.raises(ValidationError, match=message):
        SparkAllocationSpec.model_validate({"driver": {"podName": "d"}, "sparkConf": {key: "1"}})
    place = SCHEMA["properties"]["spec"]
    for part in field.split("."):
        place = place["properties"][part]


def test_any_other_spark_key_may_be_set() -> None:
    wished = {"spark.executor.memory": "4g", "spark.kubernetes.executor.secrets.a": "/a"}
    spec = {"driver": {"podName": "d"}, "sparkConf": wished}
    assert SparkAllocationSpec.model_validate(spec).spark_conf == wished


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"match": {}}, "exactly one of id and resources"),
        ({"match": {"id": 1, "resources": {"cores": 1}}}, "exactly one of id and resources"),
        ({"match": {"resources": {}}}, "name at least one resource"),
        ({"match": {"id": 1}, "minExecutors": 3, "maxExecutors": 2}, "must not be above"),
        ({"match": {"id": 1}, "initialExecutors": 3, "maxExecutors": 2}, "must not be above"),
        ({"match": {"resources": {"memory": "much"}}}, "String should match pattern"),
        ({"match": {"id": -1}}, "greater than or equal to 0"),
        ({"maxExecutors": 2}, "Field required"),
    ],
)  # fmt: skip
def test_an_entry_of_profiles_that_makes_no_sense_is_refused(entry: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SparkAllocationSpec.model_validate({"driver": {"podName": "d"}, "profiles": [entry]})


def test_the_rules_of_entries_stand_in_the_schema() -> None:
    assert set(rules("profiles", "[]")) == set(rules("dynamicAllocation"))
    assert "match a resource profile by exactly one of id and resources" in rules(
        "profiles", "[]", "match"
    )
    assert "name at least one resource" in rules("profiles", "[]", "match", "resources")
