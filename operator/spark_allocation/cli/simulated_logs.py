"""What ``spark-allocation simulate`` says of event logs: tables for people, documents for programs."""

from collections.abc import Sequence
from typing import Any

import yaml

from spark_allocation.cli.output import table
from spark_allocation.controller.policy_search import Recommendation, document_of
from spark_allocation.controller.what_if import AS_RECORDED, RECORDED
from spark_allocation.controller.what_if_study import LogStudy
from spark_allocation.core.simulation.outcome import Outcome
from spark_allocation.reports.what_if_table import (
    HEADS,
    document,
    policy_document,
    row,
    shown_time,
    total_row,
)


def log_runs(result: LogStudy) -> list[tuple[str, Outcome]]:
    """The recorded run and those that were simulated, by name."""
    recorded = [] if result.recorded is None else [(RECORDED, result.recorded)]
    return [*recorded, *((each.policy, each.outcome) for each in result.outcomes)]


def log_title(result: LogStudy) -> str:
    """Whose log it is."""
    about = ", ".join(each for each in (result.application_id, result.spark_version) if each)
    return f"{result.name or result.log} ({about})" if about else result.name or result.log


def log_text(result: LogStudy, price: float | None) -> str:
    """A table for people, and what there is to say below it."""
    if result.problem:
        return result.problem
    rows = [row(name, outcome, price) for name, outcome in log_runs(result)]
    lines = [f"{log_title(result)}: {result.tasks} tasks", "", _table(rows, price)]
    notes = list(result.notes)
    if result.curve_difference is not None:
        notes.insert(0, f"as recorded, the simulated executors are {result.curve_difference:.0%} apart from the recorded ones")  # fmt: skip
    notes += [
        f"{name}: does not end: {outcome.why_not_finished}"
        for name, outcome in log_runs(result)
        if not outcome.finished and name != RECORDED
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)])


def _table(rows: Sequence[tuple[str, ...]], price: float | None) -> str:
    cost = HEADS.index("COST")
    if price is not None:
        return table(HEADS, rows)
    return table(
        HEADS[:cost] + HEADS[cost + 1 :], [each[:cost] + each[cost + 1 :] for each in rows]
    )


def totals_text(results: Sequence[LogStudy], price: float | None) -> str:
    """A table over all applications."""
    good = [result for result in results if not result.problem]
    runs = [dict(log_runs(result)) for result in good]
    names = {name for each in runs for name in each}
    # sums are of the same applications in each row
    everywhere = [each for each in runs if len(each) == len(names)]
    said = [f"{len(everywhere)} applications together"]
    if len(everywhere) < len(good):
        said.append(f"{len(good) - len(everywhere)} more could not be run under each policy")
    if len(good) < len(results):
        said.append(f"{len(results) - len(good)} logs could not be used")
    if not everywhere:
        return "; ".join(said)
    rows = [total_row(name, [each[name] for each in everywhere], price) for name in everywhere[0]]
    return f"{'; '.join(said)}\n\n{_table(rows, price)}"


def log_document(result: LogStudy, price: float | None) -> dict[str, Any]:
    """The same for programs."""
    if result.problem:
        return {"log": result.log, "problem": result.problem}
    return {
        "log": result.log,
        "applicationId": result.application_id,
        "name": result.name,
        "spark": result.spark_version,
        "tasks": result.tasks,
        "notes": list(result.notes),
        "recorded": None if result.recorded is None else document(result.recorded, price),
        "curveDifference": result.curve_difference,
        "outcomes": [policy_document(each, price) for each in result.outcomes],
    }


def recommendation_document(
    recommendation: Recommendation, share: float, price: float | None
) -> dict[str, Any]:
    """What the search found, for programs."""
    chosen, fastest = recommendation.chosen, recommendation.fastest
    return {
        "tried": recommendation.tried,
        "within": share,
        "allocation": None if chosen is None else document_of(chosen.wishes),
        "outcomes": []
        if chosen is None
        else [document(each, price, curve=False) for each in chosen.outcomes],
        "fastest": []
        if fastest is None
        else [document(each, price, curve=False) for each in fastest.outcomes],
    }


def recommendation_text(recommendation: Recommendation, share: float) -> str:
    """What the search found, for people."""
    chosen, fastest = recommendation.chosen, recommendation.fastest
    tried = f"{recommendation.tried} policies were tried"
    if chosen is None or fastest is None:
        return f"{tried}; the applications end under none of them"
    hours = sum(each.core_hours for each in chosen.outcomes)
    fast_hours = sum(each.core_hours for each in fastest.outcomes)
    return (
        f"{tried}; the cheapest within {share:.0%} of the fastest makespan takes "
        f"{shown_time(chosen.makespan_ms)} and {hours:.2f} core-hours (the fastest {shown_time(fastest.makespan_ms)} "
        f"and {fast_hours:.2f})"
    )


def allocation_yaml(recommendation: Recommendation, share: float) -> str:
    """The object to apply, with what to do with it."""
    assert recommendation.chosen is not None
    text = yaml.safe_dump(document_of(recommendation.chosen.wishes), sort_keys=False)
    return (
        f"# The cheapest of {recommendation.tried} simulated policies within {share:.0%} of the fastest makespan.\n"
        f"# Compared with the settings of the log under the name {AS_RECORDED!r} on the standard error.\n"
        "# Name the driver pod, then: kubectl apply -f\n" + text
    )
