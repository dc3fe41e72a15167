"""Outcomes of simulated runs as rows for people and as documents for programs."""

from collections.abc import Sequence
from typing import Any

from spark_allocation.core.simulation.outcome import NamedOutcome, Outcome
from spark_allocation.core.simulation.timeline import Timeline

CURVE_POINTS = 500
_SECOND = 1_000

USAGE_HEADS = ("EXECUTOR-HOURS", "CORE-HOURS", "COST", "UTILISATION", "BACKLOG", "PEAK", "DRAINS")
HEADS = ("POLICY", "MAKESPAN", *USAGE_HEADS, "LOST", "RECOMPUTED")


def row(name: str, outcome: Outcome, price: float | None) -> tuple[str, ...]:
    """One run, in the order of `HEADS`.

    Args:
        price: of a core-hour; None leaves the cost open.
    """
    makespan = shown_time(outcome.makespan_ms)
    return (
        name,
        makespan if outcome.finished else f"> {makespan}",
        *usage_cells(outcome, price),
        str(outcome.losses),
        shown_time(outcome.recomputed_ms),
    )


def usage_cells(outcome: Outcome, price: float | None) -> tuple[str, ...]:
    """From executor-hours to drains: what any run has, in the order of `USAGE_HEADS`."""
    return (
        f"{outcome.executor_hours:.2f}",
        f"{outcome.core_hours:.2f}",
        "" if price is None else f"{outcome.core_hours * price:.2f}",
        f"{outcome.utilisation:.0%}",
        shown_time(outcome.backlog_ms),
        str(outcome.peak_executors),
        str(outcome.drains),
    )


def total_row(name: str, outcomes: Sequence[Outcome], price: float | None) -> tuple[str, ...]:
    """Several runs together: times and hours added up, the greatest peak."""
    makespan = shown_time(sum(outcome.makespan_ms for outcome in outcomes))
    slots = sum(outcome.slot_ms for outcome in outcomes)
    cores = sum(outcome.core_hours for outcome in outcomes)
    return (
        name,
        makespan if all(outcome.finished for outcome in outcomes) else f"> {makespan}",
        f"{sum(outcome.executor_hours for outcome in outcomes):.2f}",
        f"{cores:.2f}",
        "" if price is None else f"{cores * price:.2f}",
        f"{sum(outcome.busy_ms for outcome in outcomes) / slots if slots else 0:.0%}",
        shown_time(sum(outcome.backlog_ms for outcome in outcomes)),
        str(max((outcome.peak_executors for outcome in outcomes), default=0)),
        str(sum(outcome.drains for outcome in outcomes)),
        str(sum(outcome.losses for outcome in outcomes)),
        shown_time(sum(outcome.recomputed_ms for outcome in outcomes)),
    )


def document(outcome: Outcome, price: float | None, *, curve: bool = True) -> dict[str, Any]:
    """One run for programs; times are seconds."""
    found: dict[str, Any] = {
        "finished": outcome.finished,
        "makespanSeconds": outcome.makespan_ms / _SECOND,
        "executorHours": round(outcome.executor_hours, 6),
        "coreHours": round(outcome.core_hours, 6),
        "utilisation": round(outcome.utilisation, 4),
        "backlogSeconds": outcome.backlog_ms / _SECOND,
        "peakExecutors": outcome.peak_executors,
        "drains": outcome.drains,
        "lostExecutors": outcome.losses,
        "recomputedSeconds": outcome.recomputed_ms / _SECOND,
    }
    if price is not None:
        found["cost"] = round(outcome.core_hours * price, 4)
    if outcome.why_not_finished:
        found["whyNotFinished"] = outcome.why_not_finished
    if curve:
        found["curve"] = _curve(outcome.timeline)
    return found


def policy_document(named: NamedOutcome, price: float | None) -> dict[str, Any]:
    """The run under a policy, with what the policy comes to."""
    return {"policy": named.policy, "settings": dict(named.settings)} | document(
        named.outcome, price
    )


def _curve(timeline: Timeline) -> list[list[float | int]]:
    return [
        [at / _SECOND, executors, running, waiting]
        for at, executors, running, waiting in timeline.sampled(CURVE_POINTS)
    ]


def shown_time(milliseconds: int) -> str:
    """A stretch of time for people: ``1h02m``, ``3m20s``, ``12.5s``, ``0s``."""
    seconds = milliseconds / _SECOND
    if seconds >= 3600:
        return f"{int(seconds // 3600)}h{int(seconds % 3600 // 60):02d}m"
    if seconds >= 60:
        return f"{int(seconds // 60)}m{int(seconds % 60):02d}s"
    return f"{seconds:.1f}s" if seconds else "0s"
