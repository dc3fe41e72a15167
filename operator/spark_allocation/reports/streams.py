"""What is said of streams: status entries, figures, and conditions with a sentence that helps.

Figures are rounded, so that a status does not change with every thousandth; what was learned of a query is kept as it is.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spark_allocation.api.conditions import ConditionType, Reason
from spark_allocation.api.streaming_v1alpha1 import (
    LONGEST_QUERY_NAME,
    MOST_QUERIES,
    StreamingDecisionStatus,
    StreamingQueryStatus,
)
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.decisions import (
    QueryStanding,
    StreamingCondition,
    StreamingDecision,
    StreamingProblem,
)
from spark_allocation.core.streaming.observations import QueryName

DIGITS = 3
LEARNED_DIGITS = 12
LARGEST_FIGURE = 1e15
MOST_DECISIONS = 4
PROBLEMS_TOLD = 4
NOT_RUNNING = "NotRunning"
"""In place of who wants executors for a query."""
LONGEST_NAME_TOLD = 60


@dataclass(frozen=True, slots=True)
class StreamingFigures:
    """What the streams of one SparkAllocation add to the metrics.

    Attributes:
        queries: that are served.
        late: of those whose batches take longer than they may.
        executors: that streams ask for.
        backlog_seconds: of the query with the longest; None when none is known.
    """

    queries: int = 0
    late: int = 0
    executors: int = 0
    backlog_seconds: float | None = None


NO_STREAMS = StreamingFigures()

_CONDITION: Mapping[StreamingCondition, tuple[ConditionType, Reason, str]] = {
    StreamingCondition.SCALING_INEFFECTIVE: (
        ConditionType.SCALING_INEFFECTIVE,
        Reason.SCALING_INEFFECTIVE,
        (
            "the last scale-up did not shorten its batches: short batches with state wait for the executor that holds it "
            "(lower spark.locality.wait), or something else than executors is slow"
        ),
    ),
    StreamingCondition.FIXED_COST: (
        ConditionType.SCALING_INEFFECTIVE,
        Reason.FIXED_COST,
        "what a batch costs without any row takes more than its share of the interval: use a longer trigger interval",
    ),
    StreamingCondition.CAPPED_BY_TASKS: (
        ConditionType.SCALING_INEFFECTIVE,
        Reason.CAPPED_BY_TASKS,
        "it is late and has a slot for each task of its batches: give it more partitions",
    ),
    StreamingCondition.NO_BATCH_GAP: (
        ConditionType.SCALING_INEFFECTIVE,
        Reason.NO_BATCH_GAP,
        (
            "fewer executors are wanted, but nothing takes over what they hold, and no gap between two batches comes: start the "
            "driver with what `spark-allocation driver-conf --migrate` prints and set decommission.migrate"
        ),
    ),
    StreamingCondition.UNKNOWN_QUERY: (
        ConditionType.STREAMING_REFUSED,
        Reason.UNKNOWN_QUERY,
        "spec.streaming.queries names it, and the application has no such query",
    ),
    StreamingCondition.NO_TARGET_DURATION: (
        ConditionType.STREAMING_REFUSED,
        Reason.NO_TARGET_DURATION,
        (
            "nobody says how long a batch may take: set spec.streaming.targetDuration, or call "
            "spark_allocation.driver.report_streaming_progress in the application"
        ),
    ),
    StreamingCondition.CONTINUOUS_TRIGGER: (
        ConditionType.STREAMING_REFUSED,
        Reason.CONTINUOUS_TRIGGER,
        "it runs without batches, so nothing can be measured: what its tasks need decides",
    ),
    StreamingCondition.METRICS_MISSING: (
        ConditionType.STREAMING_METRICS_MISSING,
        Reason.METRICS_MISSING,
        (
            "the driver tells nothing of its streams: start it with spark.sql.streaming.metricsEnabled=true, or call "
            "spark_allocation.driver.report_streaming_progress in the application"
        ),
    ),
    StreamingCondition.BAD_SAMPLES: (
        ConditionType.STREAMING_METRICS_MISSING,
        Reason.BAD_SAMPLES,
        "its metrics are no numbers, negative or out of order, and are left out",
    ),
}


@dataclass(frozen=True, slots=True)
class StreamingStatement:
    """Something that a condition says.

    Attributes:
        about: the query; "" for the application.
    """

    condition: ConditionType
    reason: Reason
    about: str
    message: str


def statements(problems: Iterable[StreamingProblem]) -> list[StreamingStatement]:
    """What is to be said of these problems."""
    told = []
    for problem in problems:
        condition, reason, message = _CONDITION[problem.condition]
        detail = f" ({problem.detail})" if problem.detail else ""
        told.append(StreamingStatement(condition, reason, problem.query or "", message + detail))
    return told


def message_of(of_condition: Sequence[StreamingStatement]) -> str:
    """The message of a condition: each problem once, with the queries that have it."""
    about: dict[str, list[str]] = {}
    for each in of_condition:
        name = each.about if len(each.about) <= LONGEST_NAME_TOLD else f"{each.about[:LONGEST_NAME_TOLD]}…"  # fmt: skip
        about.setdefault(each.message, []).append(name)
    parts = [
        f"{_queries(names)}{message}" for message, names in list(about.items())[:PROBLEMS_TOLD]
    ]
    more = len(about) - PROBLEMS_TOLD
    return "; ".join([*parts, *([f"and {more} more"] if more > 0 else [])])


def query_statuses(
    decisions: Iterable[StreamingDecision], learned: Mapping[QueryName, LearnedCost]
) -> list[StreamingQueryStatus]:
    """One entry for each query, by name; of queries that do not run now what was learned of them, as far as there is room."""
    standings = {each.query: each for decision in decisions for each in decision.queries}
    running = sorted(standings)[:MOST_QUERIES]
    gone = sorted(name for name in learned.keys() - standings.keys() if learned[name].is_known)
    told = [_query_status(standings[name], learned.get(name)) for name in running]
    told += [
        StreamingQueryStatus(
            query=name[:LONGEST_QUERY_NAME], reason=NOT_RUNNING, learned=_numbers(learned[name])
        )
        for name in gone[: MOST_QUERIES - len(running)]
    ]
    return sorted(told, key=lambda each: each.query)


def decision_statuses(decisions: Iterable[StreamingDecision]) -> list[StreamingDecisionStatus]:
    """One entry for each resource profile with streams."""
    return [
        StreamingDecisionStatus(
            profile=decision.profile_id,
            wanted=decision.wanted,
            executors=decision.executors,
            reason=decision.reason,
            query=None if decision.query is None else decision.query[:LONGEST_QUERY_NAME],
            policy=decision.policy,
        )
        for decision in list(decisions)[:MOST_DECISIONS]
    ]


def restored(queries: Iterable[Mapping[str, object]]) -> dict[QueryName, LearnedCost]:
    """What was learned, out of ``status.streaming``."""
    found = {}
    for query in queries:
        numbers, name = query.get("learned"), query.get("query")
        if isinstance(numbers, list) and isinstance(name, str):
            found[QueryName(name)] = LearnedCost.restored(numbers)
    return found


def figures(decisions: Iterable[StreamingDecision]) -> StreamingFigures:
    """For the metrics."""
    standings = [each for decision in decisions for each in decision.queries]
    backlogs = [each.backlog_s for each in standings if each.backlog_s is not None]
    return StreamingFigures(
        queries=len(standings),
        late=sum(map(_is_late, standings)),
        executors=sum(decision.executors or 0 for decision in decisions),
        backlog_seconds=max(backlogs, default=None),
    )


def _is_late(standing: QueryStanding) -> bool:
    duration_s, interval_s = standing.batch_duration_s, standing.interval_s
    return duration_s is not None and interval_s is not None and duration_s > interval_s


def _queries(names: Sequence[str]) -> str:
    named = [name for name in names if name]
    if not named:
        return ""
    shown = ", ".join(named[:PROBLEMS_TOLD])
    more = f" and {len(named) - PROBLEMS_TOLD} more" if len(named) > PROBLEMS_TOLD else ""
    return f"{'query' if len(named) == 1 else 'queries'} {shown}{more}: "


def _query_status(standing: QueryStanding, learned: LearnedCost | None) -> StreamingQueryStatus:
    return StreamingQueryStatus(
        query=standing.query[:LONGEST_QUERY_NAME],
        utilization=_rounded(standing.utilization),
        batch_seconds=_rounded(standing.batch_duration_s),
        interval_seconds=_rounded(standing.interval_s),
        input_rate=_rounded(standing.input_rate),
        processing_rate=_rounded(standing.processing_rate),
        rate_per_executor=_rounded(standing.true_rate),
        backlog_seconds=_rounded(standing.backlog_s),
        desired=standing.desired,
        reason=standing.wants[0].policy if standing.wants else "",
        learned=None if learned is None or not learned.is_known else _numbers(learned),
    )


def _numbers(learned: LearnedCost) -> list[float]:
    return [_rounded(each, LEARNED_DIGITS) or 0.0 for each in learned.numbers]


def _rounded(value: float | None, digits: int = DIGITS) -> float | None:
    """With so many digits that count; None for what is no number that a status can hold."""
    if value is None or not math.isfinite(value) or abs(value) > LARGEST_FIGURE:
        return None
    return float(f"{value:.{digits}g}")
