"""docs/policy.md and docs/reference/api.md say what is so."""

import re
from pathlib import Path

import yaml
from tests.documents import api_reference
from typer.testing import CliRunner

from spark_allocation.api.policies import StoredPolicy, read_policy
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.cli.app import app

ROOT = Path(__file__).parents[2]
POLICY = (ROOT / "docs/policy.md").read_text()
EXAMPLES: list[str] = re.findall(r"```yaml\n(.*?)```", POLICY, re.DOTALL)


def test_the_reference_is_that_of_the_models() -> None:
    assert api_reference.PAGE.read_text() == api_reference.page(), "make crd"


def test_the_worked_example_prints_what_the_page_says(tmp_path: Path) -> None:
    example = next(each for each in EXAMPLES if "kind: SparkAllocation\n" in each)
    (file := tmp_path / "example.yaml").write_text(example)
    ((command, printed),) = re.findall(r"\$ spark-allocation (.*?)\n(.*?)```", POLICY, re.DOTALL)
    words = [str(file) if word == "example.yaml" else word for word in command.split()]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert [line.rstrip() for line in result.output.splitlines()] == printed.splitlines()


def test_the_example_of_profiles_is_a_spec() -> None:
    (spec,) = (
        yaml.safe_load(each)["spec"] for each in EXAMPLES if each.startswith("spec:\n  driver:")
    )
    assert SparkAllocationSpec.model_validate(spec).profiles


def test_the_examples_are_policies() -> None:
    for name in ("cluster-policy.yaml", "namespace-policy.yaml"):
        body = yaml.safe_load((ROOT / "examples" / name).read_text())
        assert isinstance(read_policy(body), StoredPolicy)
