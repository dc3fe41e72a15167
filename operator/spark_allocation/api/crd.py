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
    {"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1},
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
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{group.PLURAL}.{group.GROUP}"},
        "spec": {
            "group": group.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": group.KIND,
                "listKind": f"{group.KIND}List",
                "plural": group.PLURAL,
                "singular": group.KIND.lower(),
                "shortNames": [group.SHORT_NAME],
                "categories": ["all", "spark"],
            },
            "conversion": {"strategy": "None"},
            "versions": [
                {
                    "name": group.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": PRINTER_COLUMNS,
                    "schema": {
                        "openAPIV3Schema": {
                            "description": (
                                "SparkAllocation asks the operator to allocate the executors of one Spark driver."
                            ),
                            "type": "object",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": structural_schema(SparkAllocationSpec),
                                "status": structural_schema(SparkAllocationStatus),
                            },
                        }
                    },
                }
            ],
        },
    }


def crd_files() -> dict[str, str]:
    """File name → YAML of every CRD, as committed under ``crds/``."""
    definition = sparkallocation_crd()
    return {f"{definition['metadata']['name']}.yaml": _yaml(definition)}


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
