"""What ``spark-allocation simulate`` says of traces of the operator, and how it tells them from event logs."""

from collections.abc import Sequence
from typing import Any

from spark_allocation.cli.output import table
from spark_allocation.controller.trace_study import TraceStudy
from spark_allocation.controller.what_if import RECORDED
from spark_allocation.core.simulation.outcome import Outcome
from spark_allocation.reports.demand_table import (
    DEMAND_HEADS,
    demand_document,
    demand_policy_document,
    demand_row,
    work,
)
from spark_allocation.sources.event_log.log_files import LogFiles, NoLog, find_logs
from spark_allocation.traces.files import Trace, find_traces, names_of

_ENOUGH_WORK = 0.98


def found_at(places: Sequence[str]) -> tuple[list[LogFiles], list[Trace]]:
    """Event logs and traces at these places; what a file is, it says itself.

    Raises:
        NoLog: a place has neither.
        DamagedTrace: a trace cannot be read.
    """
    logs: list[LogFiles] = []
    traces: list[Trace] = []
    for where in places:
        of_place = find_traces(where)
        taken = names_of(of_place)
        try:
            found = find_logs(where)
        except NoLog:
            if not of_place:
                raise
            found = []
        logs += [log for log in found if taken.isdisjoint(log.parts)]
        traces += of_place
    return logs, traces


def trace_runs(study: TraceStudy) -> list[tuple[str, Outcome]]:
    """The recorded run and those that were simulated, by name."""
    recorded = [] if study.recorded is None else [(RECORDED, study.recorded)]
    return [*recorded, *((each.policy, each.outcome) for each in study.outcomes)]


def trace_title(study: TraceStudy) -> str:
    """Whose trace it is."""
    about = ", ".join(each for each in (study.application_id, study.spark_version) if each)
    return f"{study.trace} ({about})" if about else study.trace


def trace_text(study: TraceStudy, price: float | None) -> str:
    """A table for people, and what there is to say below it."""
    recorded = study.recorded
    if study.problem or recorded is None:
        return study.problem
    rows = [demand_row(name, outcome, recorded, price) for name, outcome in trace_runs(study)]
    heads: Sequence[str] = DEMAND_HEADS
    if price is None:
        cost = DEMAND_HEADS.index("COST")
        heads = DEMAND_HEADS[:cost] + DEMAND_HEADS[cost + 1 :]
        rows = [each[:cost] + each[cost + 1 :] for each in rows]
    notes = list(study.notes)
    if study.curve_difference is not None:
        notes.append(f"as recorded, the simulated executors are {study.curve_difference:.0%} apart from the recorded ones")  # fmt: skip
    late = [
        each.policy
        for each in study.outcomes
        if work(each.outcome, recorded) < _ENOUGH_WORK * work(recorded, recorded)
    ]
    if late:
        notes.append(f"less was done in the same time under {', '.join(late)}: the application would have taken longer, and had executors for longer")  # fmt: skip
    steps = study.sameness.steps if study.sameness is not None else 0
    return "\n".join(
        [
            f"{trace_title(study)}: a trace of {steps} steps",
            "",
            table(heads, rows),
            "",
            *(f"- {note}" for note in notes),
        ]
    )


def trace_document(study: TraceStudy, price: float | None) -> dict[str, Any]:
    """The same for programs."""
    recorded, same = study.recorded, study.sameness
    if study.problem or recorded is None or same is None:
        return {"trace": study.trace, "problem": study.problem}
    return {
        "trace": study.trace,
        "applicationId": study.application_id,
        "spark": study.spark_version,
        "operator": study.operator,
        "seconds": recorded.makespan_ms / 1000,
        "steps": {"all": same.steps, "compared": same.exact, "different": same.different},
        "notes": list(study.notes),
        "recorded": demand_document(recorded, recorded, price),
        "curveDifference": study.curve_difference,
        "outcomes": [demand_policy_document(each, recorded, price) for each in study.outcomes],
    }
