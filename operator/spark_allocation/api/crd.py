"""CustomResourceDefinitions made from the pydantic models.

An API server takes *structural* schemas only: no ``$ref``, no ``anyOf`` with null, no titles, ``minimum`` with
``exclusiveMinimum: true`` instead of a number. `Structural` overrides pydantic's generator where it writes those, and
`_inlined` resolves references; everything else is pydantic's own schema.
"""

from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from spark_allocation.api import group
from spark_allocation.api.policy_v1alpha1 import (
    ClusterPolicyStatus,
    ClusterSparkAllocationPolicySpec,
    PolicyStatus,
    SparkAllocationPolicySpec,
)
from spark_allocation.api.v1alpha1 import SparkAllocationSpec, SparkAllocationStatus

Schema = dict[str, Any]

PRINTER_COLUMNS: list[Schema] = [
    {"name": "State", "type": "string", "jsonPath": ".status.state"},
    {"name": "Executors", "type": "integer", "jsonPath": ".status.executors"},
    {"name": "Target", "type": "integer", "jsonPath": ".status.target"},
    {"name": "Pending", "type": "integer", "jsonPath": ".status.pending"},
    {"name": "Driver", "type": "string", "jsonPath": ".status.driverPod"},
    {"name": "Application", "type": "string", "jsonPath": ".status.applicationId", "priority": 1},
    {"name": "Spark", "type": "string", "jsonPath": ".status.sparkVersion", "priority": 1},
    {
        "name": "Saved",
        "type": "number",
        "jsonPath": ".status.recommendation.executorHours.saved",
        "priority": 1,
    },
    {"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]

POLICY_COLUMNS: list[Schema] = [
    {"name": "Allocations", "type": "integer", "jsonPath": ".status.allocations"},
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
    },
    {"name": "Priority", "type": "integer", "jsonPath": ".spec.priority"},
    {
        "name": "MaxExecutors",
        "type": "integer",
        "jsonPath": ".spec.limits.dynamicAllocation.maxExecutors.max",
    },
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


class Structural(GenerateJsonSchema):
    """pydantic's JSON schema, in the part of it that Kubernetes calls structural."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """An optional field is one that may be absent; null is no value of its own."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """No defaults: the server would write them into stored objects."""
        generated = super().default_schema(schema)
        generated.pop("default", None)
        return generated


def sparkallocation_crd() -> Schema:
    """The CustomResourceDefinition of SparkAllocation."""
    definition = _definition(
        group.KIND,
        group.PLURAL,
        group.SHORT_NAME,
        description="SparkAllocation asks the operator to allocate the executors of one Spark driver.",
        spec=SparkAllocationSpec,
        status=SparkAllocationStatus,
        columns=PRINTER_COLUMNS,
    )
    definition["spec"]["names"]["categories"] = ["all", "spark"]
    return definition


def policy_crd() -> Schema:
    """The CustomResourceDefinition of SparkAllocationPolicy."""
    return _definition(
        group.POLICY_KIND,
        group.POLICY_PLURAL,
        group.POLICY_SHORT_NAME,
        description=(
            "SparkAllocationPolicy sets defaults and narrower limits for the SparkAllocations of its namespace."
        ),
        spec=SparkAllocationPolicySpec,
        status=PolicyStatus,
        columns=POLICY_COLUMNS,
    )


def cluster_policy_crd() -> Schema:
    """The CustomResourceDefinition of ClusterSparkAllocationPolicy."""
    return _definition(
        group.CLUSTER_POLICY_KIND,
        group.CLUSTER_POLICY_PLURAL,
        group.CLUSTER_POLICY_SHORT_NAME,
        description=(
            "ClusterSparkAllocationPolicy sets defaults, limits and locks for the SparkAllocations of many namespaces."
        ),
        spec=ClusterSparkAllocationPolicySpec,
        status=ClusterPolicyStatus,
        columns=POLICY_COLUMNS,
        scope="Cluster",
    )


def _definition(
    kind: str,
    plural: str,
    short_name: str,
    *,
    description: str,
    spec: type[BaseModel],
    columns: list[Schema],
    status: type[BaseModel] | None = None,
    scope: str = "Namespaced",
) -> Schema:
    with_status = status is not None
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group.GROUP}"},
        "spec": {
            "group": group.GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short_name],
                "categories": ["spark"],
            },
            "conversion": {"strategy": "None"},
            "versions": [
                {
                    "name": group.VERSION,
                    "served": True,
                    "storage": True,
                    **({"subresources": {"status": {}}} if with_status else {}),
                    "additionalPrinterColumns": columns,
                    "schema": {
                        "openAPIV3Schema": {
                            "description": description,
                            "type": "object",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": structural_schema(spec),
                                **({"status": structural_schema(status)} if status else {}),
                            },
                        }
                    },
                }
            ],
        },
    }


def crd_files() -> dict[str, str]:
    """File name → YAML of every CRD, as committed under ``crds/``."""
    definitions = (sparkallocation_crd(), policy_crd(), cluster_policy_crd())
    return {f"{each['metadata']['name']}.yaml": _yaml(each) for each in definitions}


def structural_schema(model: type[BaseModel]) -> Schema:
    """The structural schema of a model."""
    raw = model.model_json_schema(schema_generator=Structural, mode="validation", by_alias=True)
    inlined = _inlined(raw, raw.get("$defs", {}))
    assert isinstance(inlined, dict)
    return inlined


def _inlined(node: Any, definitions: Schema) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = _inlined(definitions[node["$ref"].rsplit("/", 1)[1]], definitions)
        beside = {key: _inlined(value, definitions) for key, value in node.items() if key != "$ref"}
        return {**target, **beside}
    result: Schema = {}
    for key, value in node.items():
        if key in ("$defs", "title"):
            continue
        if key == "properties":
            result[key] = {name: _inlined(schema, definitions) for name, schema in value.items()}
        else:
            result[key] = _inlined(value, definitions)
    if isinstance(result.get("additionalProperties"), bool):
        # "forbid" beside properties is refused by the server, and "allow" beside preserve-unknown-fields prunes
        del result["additionalProperties"]
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in result:
            result[bound] = result[exclusive]
            result[exclusive] = True
    return result


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _yaml(document: Schema) -> str:
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return f"# Generated by `spark-allocation crd`; change the models, not this file.\n{text}"
