"""What policies make of the demand of a trace, as rows for people and as documents for programs."""

from typing import Any

from spark_allocation.core.simulation.outcome import NamedOutcome, Outcome
from spark_allocation.reports.what_if_table import USAGE_HEADS, document, usage_cells

DEMAND_HEADS = ("POLICY", *USAGE_HEADS, "WORK")


def demand_row(
    name: str, outcome: Outcome, recorded: Outcome, price: float | None
) -> tuple[str, ...]:
    """One run, in the order of `DEMAND_HEADS`."""
    return (name, *usage_cells(outcome, price), f"{work(outcome, recorded):.0%}")


def work(outcome: Outcome, recorded: Outcome) -> float:
    """Of the work that was done then, how much is done in the same time; 1 when there was none."""
    return outcome.busy_ms / recorded.busy_ms if recorded.busy_ms else 1.0


def demand_document(outcome: Outcome, recorded: Outcome, price: float | None) -> dict[str, Any]:
    """One run for programs; times are seconds."""
    found = document(outcome, price)
    for key in ("finished", "makespanSeconds", "lostExecutors", "recomputedSeconds"):
        del found[key]
    return {**found, "work": round(work(outcome, recorded), 4)}


def demand_policy_document(
    named: NamedOutcome, recorded: Outcome, price: float | None
) -> dict[str, Any]:
    """The run under a policy, with what the policy comes to."""
    return {
        "policy": named.policy,
        "settings": dict(named.settings),
        **demand_document(named.outcome, recorded, price),
    }
