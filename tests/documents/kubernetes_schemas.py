"""Writes tests/chart/kubernetes_schemas.json: what API servers of several Kubernetes versions say of the kinds that are shipped.

python -m tests.documents.kubernetes_schemas

Kubernetes has its OpenAPI document as a file of its Go module. The modules (19 MB each) are fetched with `go mod download` into a
folder that is deleted afterwards; of each document the definitions that our kinds need are kept, without their texts. A definition
stands there once for each time that it changed, so the file shows what is new in a version.
"""

import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "chart" / "kubernetes_schemas.json"
VERSIONS = ("1.30.14", "1.31.14", "1.32.13", "1.33.13", "1.34.4", "1.35.4", "1.36.3", "1.37.1")
"""The oldest that the chart takes, to the newest there is. For a new one: add it here and run this."""
KINDS = (
    "v1/ConfigMap",
    "v1/Namespace",
    "v1/Pod",
    "v1/Service",
    "v1/ServiceAccount",
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding",
    "apiextensions.k8s.io/v1/CustomResourceDefinition",
    "apps/v1/Deployment",
    "batch/v1/Job",
    "flowcontrol.apiserver.k8s.io/v1/FlowSchema",
    "networking.k8s.io/v1/NetworkPolicy",
    "policy/v1/PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1/ClusterRole",
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding",
    "rbac.authorization.k8s.io/v1/Role",
    "rbac.authorization.k8s.io/v1/RoleBinding",
)
_KEPT = (
    "type",
    "format",
    "required",
    "$ref",
    "enum",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
_REFERENCE = "#/definitions/"

Schema = dict[str, Any]


def document(fetched: Mapping[str, Mapping[str, Schema]]) -> dict[str, Any]:
    """The file's content.

    Args:
        fetched: version, oldest first → definitions of its OpenAPI document.
    """
    kinds: dict[str, str] = {}
    changes: dict[str, list[dict[str, Any]]] = {}
    for version, definitions in fetched.items():
        named = _kinds(definitions)
        kinds |= {kind: named[kind] for kind in KINDS}
        needed = _needed(definitions, [named[kind] for kind in KINDS])
        for name in sorted(needed | changes.keys()):
            schema = _reduced(definitions[name]) if name in needed else None
            known = changes.setdefault(name, [])
            if (known[-1]["schema"] if known else None) != schema:
                known.append({"since": version, "schema": schema})
    return {"versions": list(fetched), "kinds": kinds, "definitions": dict(sorted(changes.items()))}


def text(content: Mapping[str, Any]) -> str:
    """One line for each change of a definition."""
    lines = ["{", f'"versions": {json.dumps(content["versions"])},', '"kinds": {']
    lines += _joined(f"{json.dumps(kind)}: {json.dumps(name)}" for kind, name in content["kinds"].items())  # fmt: skip
    lines += ["},", '"definitions": {']
    lines += _joined(
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(each, sort_keys=True) for each in changes) + "]"
        for name, changes in content["definitions"].items()
    )  # fmt: skip
    return "\n".join([*lines, "}", "}", ""])


def fetch(version: str) -> Mapping[str, Schema]:
    """The definitions of one version, by the Go client.

    Raises:
        RuntimeError: it cannot be had; the words of `go`.
    """
    with tempfile.TemporaryDirectory(prefix="kubernetes-") as folder:
        result = subprocess.run(
            ["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{version}"],
            cwd=folder,
            env=os.environ | {"GOMODCACHE": f"{folder}/modules"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise RuntimeError(result.stderr + result.stdout)
        module = Path(json.loads(result.stdout)["Dir"])
        definitions = json.loads((module / "api/openapi-spec/swagger.json").read_text())[
            "definitions"
        ]
        for path in (Path(folder), *Path(folder).rglob("*")):
            if path.is_dir():  # Go makes its folders read-only
                path.chmod(path.stat().st_mode | stat.S_IWUSR)
    return dict(definitions)


def _joined(lines: Iterator[str]) -> list[str]:
    return [",\n".join(lines)]


def _kinds(definitions: Mapping[str, Schema]) -> dict[str, str]:
    """`group/version/Kind` → name of its definition."""
    found = {}
    for name, schema in definitions.items():
        of = schema.get("x-kubernetes-group-version-kind", ())
        if len(of) == 1:
            parts = (of[0]["group"], of[0]["version"], of[0]["kind"])
            found["/".join(filter(None, parts))] = name
    return found


def _needed(definitions: Mapping[str, Schema], roots: list[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _references(definitions[name])
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        target = schema.get("$ref")
        if isinstance(target, str):
            yield target.removeprefix(_REFERENCE)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _reduced(schema: Schema) -> Schema:
    """A schema without its texts."""
    kept = {key: schema[key] for key in _KEPT if key in schema}
    if "$ref" in kept:
        kept["$ref"] = kept["$ref"].removeprefix(_REFERENCE)
    if "properties" in schema:
        kept["properties"] = {name: _reduced(each) for name, each in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            kept[key] = _reduced(schema[key])
    return kept


if __name__ == "__main__":
    FILE.write_text(text(document({version: fetch(version) for version in VERSIONS})))
