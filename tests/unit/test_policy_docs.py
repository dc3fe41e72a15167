"""docs/policy.md and docs/reference/api.md say what is so."""

import re
from pathlib import Path

import yaml
from tests.documents import api_reference
from typer.testing import CliRunner

from spark_allocation.api.policies import StoredPolicy, read_policy
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.cli.app import app
from spark_allocation.core.budgets import Budget, BudgetState, Demand, divide_budget

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


def test_budgets_are_divided_as_the_tables_say() -> None:
    section = POLICY[POLICY.index("## Budgets") :]
    tables = re.findall(r"A budget of (\d+) (executors|cores)[^|]*?\n\n((?:\|.*\n)+)", section)
    assert len(tables) == 4
    for amount, kind, table in tables:
        heads, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]  # fmt: skip
        cells = [dict(zip(heads, row, strict=True)) for row in rows]
        budget = (
            Budget("team-a", executors=int(amount))
            if kind == "executors"
            else Budget("team-a", milli_cores=1000 * int(amount))
        )
        demands = [
            Demand(
                each["application"],
                0,
                wanted=int(each["wants"]),
                minimum=int(each["minExecutors"]),
                weight=int(each["weight"]),
                milli_cores=1000 * int(each.get("cores of one", "1")),
            )
            for each in cells
        ]
        found = divide_budget(budget, demands, BudgetState(), now_ms=0).grants
        assert [found[each["application"], 0].granted for each in cells] == [int(each["gets"]) for each in cells], table  # fmt: skip


def test_the_examples_are_policies() -> None:
    for name in ("cluster-policy.yaml", "namespace-policy.yaml", "budgets.yaml"):
        body = yaml.safe_load((ROOT / "examples" / name).read_text())
        assert isinstance(read_policy(body), StoredPolicy)
