"""What an API server of a Kubernetes version finds wrong with the shape of an object, without an API server.

Types, required fields, fields that nobody knows (as `kubectl --validate=strict` demands) and the same key twice in a list that is
a map. What only code of the API server checks (names, numbers in their range, CEL) is not looked at here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.documents.kubernetes_schemas import FILE

ROOT = Path(__file__).parents[2]
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}

Schema = dict[str, Any]
Object = Mapping[str, Any]


class Schemas:
    """The kinds of one Kubernetes version.

    Attributes:
        version: such as `1.35.4`.
    """

    def __init__(self, version: str, content: Mapping[str, Any]) -> None:
        self.version = version
        self._kinds: Mapping[str, str] = content["kinds"]
        order: list[str] = content["versions"]
        known = set(order[: order.index(version) + 1])
        self._definitions: dict[str, Schema] = {}
        for name, changes in content["definitions"].items():
            last = [each["schema"] for each in changes if each["since"] in known]
            if last and last[-1] is not None:
                self._definitions[name] = last[-1]

    def problems(self, document: Object) -> list[str]:
        """What is wrong with an object; each with the path to it.

        Raises:
            KeyError: its kind is not among those that are kept.
        """
        name = self._kinds[f"{document['apiVersion']}/{document['kind']}"]
        return list(_problems(document, {"$ref": name}, self._definitions, ""))


def versions() -> list[str]:
    """The versions that are kept, oldest first."""
    return list(_content()["versions"])


def schemas(version: str) -> Schemas:
    """The kinds of one version."""
    return Schemas(version, _content())


def problems_of_our_kind(document: Object) -> list[str]:
    """What is wrong with an object of one of our kinds, by the CustomResourceDefinition; rules in CEL are not evaluated."""
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        definition = yaml.safe_load(file.read_text())["spec"]
        if definition["names"]["kind"] == document["kind"]:
            (version,) = definition["versions"]
            schema = dict(version["schema"]["openAPIV3Schema"])
            outer = {key: {} for key in ("apiVersion", "kind", "metadata")}
            schema["properties"] = outer | schema["properties"]
            return list(_problems(document, schema, {}, ""))
    raise KeyError(document["kind"])


def _content() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(FILE.read_text())
    return content


def _problems(
    value: Any, schema: Schema, definitions: Mapping[str, Schema], path: str
) -> Iterator[str]:
    here = path or "."
    if "$ref" in schema:
        name = schema["$ref"]
        if name == _QUANTITY and isinstance(value, int | float) and not isinstance(value, bool):
            return
        yield from _problems(value, definitions[name], definitions, path)
        return
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield f"{here}: {value!r} is neither a number nor text"
        return
    kind = schema.get("type")
    if value is None:
        if kind is not None and not schema.get("nullable"):
            yield f"{here}: there is nothing where {kind} belongs"
        return
    if kind is not None and (
        not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")
    ):
        yield f"{here}: {value!r} is not of type {kind}"
        return
    yield from _rules(value, schema, here)
    if isinstance(value, dict):
        yield from _problems_of_fields(value, schema, definitions, path)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _problems(each, schema.get("items", {}), definitions, f"{path}[{number}]")
        keys = schema.get("x-kubernetes-list-map-keys")
        if keys:
            told = [json.dumps([each.get(key) for key in keys]) for each in value]
            if len(set(told)) < len(told):
                yield f"{here}: two entries of the same {', '.join(keys)}"


def _problems_of_fields(
    value: Object, schema: Schema, definitions: Mapping[str, Schema], path: str
) -> Iterator[str]:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    anything = schema.get("x-kubernetes-preserve-unknown-fields") or (
        not properties and others is None
    )
    for key, each in value.items():
        if key in properties:
            yield from _problems(each, properties[key], definitions, f"{path}.{key}")
        elif isinstance(others, dict):
            yield from _problems(each, others, definitions, f"{path}.{key}")
        elif not anything:
            yield f"{path}.{key}: there is no such field"
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{path}.{key}: is missing"


def _rules(value: Any, schema: Schema, here: str) -> Iterator[str]:
    """What only our own CustomResourceDefinitions say."""
    if "enum" in schema and value not in schema["enum"]:
        yield f"{here}: {value!r} is none of {schema['enum']}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{here}: {value!r} does not match {schema['pattern']}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield f"{here}: {value} is below {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield f"{here}: {value} is above {schema['maximum']}"
