"""Writes docs/reference/api.md: every field of our kinds with what `kubectl explain` says of it.

python -m tests.documents.api_reference
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spark_allocation.api.crd import cluster_policy_crd, policy_crd, sparkallocation_crd

MOST_RULES_TOLD = 8
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"
_HEAD = """\
# Kinds and their fields

Group `sparkallocation.dev`, version `v1alpha1`. `kubectl explain salloc.spec --recursive` says the same on a cluster.
Durations are written as Spark writes them: a whole number and `us`, `ms`, `s`, `m` or `min`, `h`, `d`; a bare number is
seconds. A field that is left out has no stored default.

This page is generated from the models (`make crd`).
"""


def page() -> str:
    """The page."""
    return "\n".join(
        [_HEAD, *map(_kind, (sparkallocation_crd(), policy_crd(), cluster_policy_crd()))]
    )


def _kind(definition: dict[str, Any]) -> str:
    names = definition["spec"]["names"]
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    where = "in a namespace" if definition["spec"]["scope"] == "Namespaced" else "for the cluster"
    lines = [
        f"## {names['kind']}",
        "",
        f"{schema['description']} Lives {where}; short name `{names['shortNames'][0]}`.",
    ]
    for part in ("spec", "status"):
        if part not in schema["properties"]:
            continue
        lines += ["", f"### {names['kind']} {part}", "", "| Field | Type | What it says |", "|---|---|---|"]  # fmt: skip
        lines += [
            f"| `{path}` | {_type(field)} | {_cell(_said(field))} |"
            for path, field in _fields(schema["properties"][part], f"{part}.")
        ]
    return "\n".join([*lines, ""])


def _fields(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{prefix}{name}", field
        yield from _fields(field, f"{prefix}{name}.")
        if isinstance(field.get("items"), dict):
            yield from _fields(field["items"], f"{prefix}{name}[].")


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    kind = str(field.get("type", ""))
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    if field.get("x-kubernetes-preserve-unknown-fields"):
        return "any object"
    if isinstance(field.get("additionalProperties"), dict):
        return f"map of {field['additionalProperties'].get('type')}"
    if kind == "array":
        return f"list of {field['items'].get('type')}"
    if str(field.get("pattern", "")).endswith("(us|ms|s|m|min|h|d)?$"):
        return "duration"
    least, most = field.get("minimum"), field.get("maximum")
    if least is None or most in (None, 2_147_483_647):
        return kind + (f" ≥ {least}" if least not in (None, 0) else "")
    return f"{kind}, {'above' if field.get('exclusiveMinimum') else 'from'} {least} to {most}"


def _said(field: dict[str, Any]) -> str:
    rules = [each["message"] for each in field.get("x-kubernetes-validations", ())]
    told = str(field.get("description", ""))
    if len(rules) > MOST_RULES_TOLD:
        return told  # one for each of a long list of names: the description says what they have in common
    return told + (f" Rules: {'; '.join(rules)}." if rules else "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("_", "\\_")


if __name__ == "__main__":
    PAGE.write_text(page())
