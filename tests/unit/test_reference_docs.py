"""The reference pages speak of everything that the code can say."""

from pathlib import Path

import pytest

from spark_allocation.api.conditions import ConditionType, Reason
from spark_allocation.core.exit_reasons import ExecutorExitReason, failure_class

DOCS = Path(__file__).parents[2] / "docs/reference"
PAGE = (DOCS / "conditions.md").read_text()
ENDS = (DOCS / "executor-ends.md").read_text()


@pytest.mark.parametrize("name", [*ConditionType, *Reason])
def test_every_condition_and_reason_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("reason", ExecutorExitReason)
def test_every_end_of_an_executor_is_explained_with_its_class(reason: ExecutorExitReason) -> None:
    (row,) = [line for line in ENDS.splitlines() if line.startswith("|") and f"`{reason}`" in line]
    assert f"| {failure_class(reason) or '–'} |" in row
