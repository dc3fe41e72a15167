"""Each condition and reason of the code has its place in the documentation, and nothing there has gone from the code."""

import re
from pathlib import Path

import pytest

from spark_allocation.api.conditions import ConditionType, Reason
from spark_allocation.api.policy_v1alpha1 import PolicyCondition
from spark_allocation.core.exit_reasons import ExecutorExitReason

DOCS = Path(__file__).parents[2] / "docs"
CONDITIONS = (DOCS / "reference/conditions.md").read_text()
TROUBLES = (DOCS / "troubleshooting.md").read_text()
WORDS = {*ConditionType, *Reason, *PolicyCondition}


def words_in(text: str) -> set[str]:
    """The capitalised words in code, such as `NoEffect` and both of `Stalled: AlwaysBusy`."""
    spans = re.findall(r"`((?:[A-Z][A-Za-z]+(?:: )?)+)`", text)
    return {word for span in spans for word in span.split(": ")}


def first_cells(text: str) -> set[str]:
    """The words in the first column of the tables."""
    return {
        word
        for line in text.splitlines()
        if line.startswith("| `")
        for word in words_in(line.split(" | ")[0])
    }


@pytest.mark.parametrize("word", sorted(WORDS))
def test_it_has_a_row_of_its_own(word: str) -> None:
    assert word in first_cells(CONDITIONS)


@pytest.mark.parametrize("word", sorted(WORDS))
def test_it_belongs_to_a_symptom(word: str) -> None:
    guides = "".join(page.read_text() for page in (DOCS / "howto").glob("*.md"))
    assert word in words_in(TROUBLES + guides)


def test_no_row_is_left_of_what_is_gone() -> None:
    assert first_cells(CONDITIONS) <= WORDS


def test_no_symptom_speaks_of_what_is_gone() -> None:
    states = {"Draining"}
    decisions = {"CappedByMax"}
    assert words_in(TROUBLES) <= WORDS | set(ExecutorExitReason) | states | decisions
