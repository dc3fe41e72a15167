"""Writes what the chart has from elsewhere: CRDs and alerts, the schema of policies among its values; and its README.md.

python -m tests.documents.chart_files

A chart can read files of its own folder alone, so these are copies; a test fails when one of them is out of date. The
README is made of the comments in values.yaml: a line `# -- ` above a key says what the value is. Policies among the values
have the schema of their CustomResourceDefinition, so that Helm refuses a misspelt limit instead of installing none.
"""

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "spark-allocation-operator"
README = CHART / "README.md"
VALUES_SCHEMA = CHART / "values.schema.json"
POLICIES_CRD = ROOT / "crds" / "clustersparkallocationpolicies.sparkallocation.dev.yaml"
_SAID = "# -- "

_HEAD = """\
# spark-allocation-operator

Runs Spark's dynamic resource allocation outside the driver. This is the Helm chart of its operator.

    helm install spark-allocation-operator charts/spark-allocation-operator \\
      --namespace spark-allocation-system --create-namespace

Needs Kubernetes {kubernetes} and Helm 3.14 or 4. The guide is docs/howto/install.md of the repository: one team with Roles
alone, upgrades, uninstalling, and installing without Helm.

## Values

`helm install` refuses a key or a value that `values.schema.json` does not know. What is marked *for all namespaces only* has no
effect when `watch.namespaces` lists some: such a release has no cluster-scoped object but the CRDs.

| Value | Default | What it is |
|---|---|---|
"""


def copies() -> dict[Path, Path]:
    """File of the chart → file that it is a copy of."""
    crds = sorted((ROOT / "crds").glob("*.yaml"))
    return {CHART / "files/crds" / file.name: file for file in crds} | {
        CHART / "files/alerts.yaml": ROOT / "deploy/samples/alerts.yaml"
    }


def readme() -> str:
    """The chart's README.md."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    head = _HEAD.replace("{kubernetes}", chart["kubeVersion"].removeprefix(">=").removesuffix("-0"))
    rows = [
        f"| `{path}` | {_shown(default)} | {said} |"
        for path, default, said in described_values((CHART / "values.yaml").read_text())
    ]
    return head + "\n".join(rows) + "\n"


def values_schema() -> str:
    """The chart's values.schema.json: what is written by hand, and below `$defs` what a policy may say."""
    schema = json.loads(VALUES_SCHEMA.read_text())
    (version,) = yaml.safe_load(POLICIES_CRD.read_text())["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["$defs"]["policySpec"] = _json_schema(spec)
    return json.dumps(schema, indent=2) + "\n"


def _json_schema(structural: dict[str, Any]) -> dict[str, Any]:
    """A schema of Kubernetes as one of JSON: without texts and rules in CEL, and closed where objects name their fields."""
    made: dict[str, Any] = {}
    for key, value in structural.items():
        if key == "properties":
            made[key] = {name: _json_schema(each) for name, each in value.items()}
            made["additionalProperties"] = False
        elif key in {"items", "additionalProperties"} and isinstance(value, dict):
            made[key] = _json_schema(value)
        elif key in {"exclusiveMinimum", "exclusiveMaximum"}:
            if value:  # Kubernetes says it of the bound beside it
                made[key] = structural[key.removeprefix("exclusive").lower()]
        elif key != "description" and not key.startswith("x-kubernetes-"):
            made[key] = value
    return made


def described_values(text: str) -> list[tuple[str, Any, str]]:
    """(path, default, what is said of it) of each value with a comment."""
    lines = text.splitlines()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    found: list[tuple[str, Any, str]] = []

    def walk(node: yaml.MappingNode, prefix: str) -> None:
        for key, value in node.value:
            path = f"{prefix}{key.value}"
            said = _comment_above(lines, key.start_mark.line)
            if said:
                found.append((path, _value(value), said))
            elif isinstance(value, yaml.MappingNode):
                walk(value, f"{path}.")
            else:
                raise ValueError(f"values.yaml says nothing of {path}")

    walk(root, "")
    return found


def _comment_above(lines: list[str], number: int) -> str:
    above = lines[number - 1].strip() if number else ""
    return above.removeprefix(_SAID) if above.startswith(_SAID) else ""


def _value(node: yaml.Node) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def _shown(default: Any) -> str:
    text = json.dumps(default)
    return f"`{text}`" if len(text) <= 60 else "see values.yaml"


def write() -> None:
    """Write all of them."""
    for copy, original in copies().items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(original.read_bytes())
    for file in set((CHART / "files/crds").glob("*.yaml")) - copies().keys():
        file.unlink()
    VALUES_SCHEMA.write_text(values_schema())
    README.write_text(readme())


if __name__ == "__main__":
    write()
