"""Each condition and reason of the code has its place in the documentation, and nothing there has gone from the code."""

import re
from pathlib import Path

import pytest
import yaml

from spark_allocation.api.conditions import ConditionType, Reason
from spark_allocation.api.policy_v1alpha1 import PolicyCondition
from spark_allocation.core.allocation_decisions import TargetReason
from spark_allocation.core.exit_reasons import ExecutorExitReason
from spark_allocation.core.pods_plan import RequestBound
from spark_allocation.core.profile_states import HELD_BY_CACHE, HELD_BY_SHUFFLE
from spark_allocation.reports.decisions import WHY_EXECUTORS_LEAVE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONDITIONS = (DOCS / "reference/conditions.md").read_text()
TROUBLES = (DOCS / "troubleshooting.md").read_text()
WORDS = {*ConditionType, *Reason, *PolicyCondition}
DECISIONS = {
    *TargetReason,
    *(set(RequestBound) - {RequestBound.NOTHING}),
    *WHY_EXECUTORS_LEAVE,
    HELD_BY_SHUFFLE,
    HELD_BY_CACHE,
}
ALERTS = {
    rule["alert"]
    for group in yaml.safe_load((ROOT / "deploy/samples/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
}


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


@pytest.mark.parametrize("word", sorted(WORDS | DECISIONS))
def test_it_has_a_row_of_its_own(word: str) -> None:
    assert word in first_cells(CONDITIONS)


@pytest.mark.parametrize("word", sorted(WORDS))
def test_it_belongs_to_a_symptom(word: str) -> None:
    guides = "".join(page.read_text() for page in (DOCS / "howto").glob("*.md"))
    assert word in words_in(TROUBLES + guides)


def test_no_row_is_left_of_what_is_gone() -> None:
    assert first_cells(CONDITIONS) <= WORDS | DECISIONS


def test_no_symptom_speaks_of_what_is_gone() -> None:
    states = {"Draining"}
    decisions = {"CappedByMax"}
    known = WORDS | ALERTS | set(ExecutorExitReason) | states | decisions
    assert words_in(TROUBLES) <= known


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_who_is_woken_by_an_alert_finds_what_to_look_at(alert: str) -> None:
    assert alert in first_cells(TROUBLES)
