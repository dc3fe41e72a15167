"""What a new CustomResourceDefinition takes away from what an older one allowed.

Objects in a cluster, and the operator of the version before, were made for the older schema. A schema may only grow: new fields that
nobody has to set, wider bounds. Everything else is told here, each with its path.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "minLength", "minItems", "minProperties")
_SAME = (
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "format",
    "anyOf",
)
_PRESERVES = "x-kubernetes-preserve-unknown-fields"
_NAMES = ("kind", "listKind", "plural", "singular")


def taken_away(old: Schema, new: Schema) -> list[str]:
    """What `new` does not allow and `old` did.

    Args:
        old: a CustomResourceDefinition.
        new: a later one of the same name.
    """
    return [*_outside(old["spec"], new["spec"]), *_versions(old["spec"], new["spec"])]


def refused_of_a_newer_status(old: Schema, new: Schema) -> list[str]:
    """What a status written for `new` may say or leave out that a server with the schema `old` refuses.

    Fields that `old` does not have are dropped there, which is no refusal.
    """
    was, now = (
        each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
        for each in (old, new)
    )
    return list(_refused(was, now, "status"))


def _refused(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for name in sorted(set(old.get("required", ())) - set(new.get("required", ()))):
        yield f"{path}.{name}: may be left out now"
    if "enum" in old and set(new.get("enum", ("",))) - set(old["enum"]):
        yield f"{path}: has new words"
    if "pattern" in old and old["pattern"] != new.get("pattern"):
        yield f"{path}: has new words"
    for key in _UPPER:
        if key in old and new.get(key, float("inf")) > old[key]:
            yield f"{path}: {key} was {old[key]} and is {new.get(key)}"
    for name, schema in old.get("properties", {}).items():
        if name in new.get("properties", {}):
            yield from _refused(schema, new["properties"][name], f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(old.get(key), Mapping) and isinstance(new.get(key), Mapping):
            yield from _refused(old[key], new[key], f"{path}[]")


def _outside(old: Schema, new: Schema) -> Iterator[str]:
    for key in ("group", "scope"):
        if old[key] != new[key]:
            yield f"{key}: {old[key]} became {new[key]}"
    for key in _NAMES:
        if old["names"].get(key) != new["names"].get(key):
            yield f"names.{key}: {old['names'].get(key)} became {new['names'].get(key)}"
    for key in ("shortNames", "categories"):
        for name in set(old["names"].get(key, ())) - set(new["names"].get(key, ())):
            yield f"names.{key}: {name} is gone"


def _versions(old: Schema, new: Schema) -> Iterator[str]:
    versions = {each["name"]: each for each in new["versions"]}
    for version in old["versions"]:
        name = version["name"]
        if name not in versions:
            yield f"{name}: the version is gone"
            continue
        later = versions[name]
        if version["served"] and not later["served"]:
            yield f"{name}: is not served any more"
        for subresource in set(version.get("subresources", {})) - set(later.get("subresources", {})):  # fmt: skip
            yield f"{name}: the subresource {subresource} is gone"
        was, now = (each["schema"]["openAPIV3Schema"] for each in (version, later))
        yield from _schema(was, now, name, frozenset(_field_names(was)))


def _schema(old: Schema, new: Schema, path: str, known: frozenset[str]) -> Iterator[str]:
    if old.get("type") != new.get("type"):
        yield f"{path}: {old.get('type')} became {new.get('type')}"
        return
    for key in _SAME:
        if old.get(key) != new.get(key):
            yield f"{path}: {key} was {old.get(key)} and is {new.get(key)}"
    for key in (_PRESERVES, "x-kubernetes-int-or-string", "nullable"):
        if old.get(key) and not new.get(key):
            yield f"{path}: {key} is gone"
    if "default" in new and old.get("default") != new["default"]:
        yield f"{path}: has a default that older objects were not stored with"
    yield from _values(old, new, path)
    told = {each["rule"] for each in old.get("x-kubernetes-validations", ())}
    for each in new.get("x-kubernetes-validations", ()):
        # a rule about fields that did not exist refuses nothing that was allowed
        if each["rule"] not in told and not _speaks_of_new_fields(each["rule"], new, known):
            yield f"{path}: a new rule: {each['rule']}"
    yield from _inside(old, new, path, known)


def _values(old: Schema, new: Schema, path: str) -> Iterator[str]:
    if "enum" in new:
        gone = set(old["enum"]) - set(new["enum"]) if "enum" in old else {"any other text"}
        for value in sorted(gone):
            yield f"{path}: {value} is not allowed any more"
    if "pattern" in new and old.get("pattern") != new["pattern"]:
        yield f"{path}: the pattern {old.get('pattern')} became {new['pattern']}"
    for key in _UPPER:
        if key in new and new[key] < old.get(key, float("inf")):
            yield f"{path}: {key} was {old.get(key)} and is {new[key]}"
    for key in _LOWER:
        if key in new and new[key] > old.get(key, float("-inf")):
            yield f"{path}: {key} was {old.get(key)} and is {new[key]}"
    for key in ("exclusiveMinimum", "exclusiveMaximum"):
        if new.get(key) and not old.get(key):
            yield f"{path}: {key} is new"


def _inside(old: Schema, new: Schema, path: str, known: frozenset[str]) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name, schema in before.items():
        if name in after:
            yield from _schema(schema, after[name], f"{path}.{name}", known)
        elif not new.get(_PRESERVES):
            yield f"{path}.{name}: is gone"
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{path}.{name}: has to be set now"
    for key in ("items", "additionalProperties"):
        if isinstance(old.get(key), Mapping):
            if isinstance(new.get(key), Mapping):
                yield from _schema(old[key], new[key], f"{path}[]", known)
            elif not new.get(_PRESERVES):
                yield f"{path}[]: is gone"


def _field_names(schema: Schema) -> Iterator[str]:
    for name, each in schema.get("properties", {}).items():
        yield name
        yield from _field_names(each)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            yield from _field_names(schema[key])


def _speaks_of_new_fields(rule: str, schema: Schema, known: frozenset[str]) -> bool:
    return any(f".{name}" in rule for name in set(_field_names(schema)) - known)
