"""How streams of one SparkAllocation fared over time, as its status or a trace of the operator tells it."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from spark_allocation.core.trace.replay import Entry, ReplayedStep, replayed
from spark_allocation.reports.streams import NOT_RUNNING
from spark_allocation.traces.looks import QueryPoint, StreamPoint


def point_of(status: Mapping[str, Any], at: float) -> StreamPoint:
    """What a status of a SparkAllocation says."""
    return StreamPoint(
        at,
        int(status.get("executors") or 0),
        int(status.get("target") or 0),
        tuple(
            QueryPoint(
                str(each.get("query")),
                _number(each.get("inputRate")),
                _number(each.get("batchSeconds")),
                _number(each.get("intervalSeconds")),
                _number(each.get("backlogSeconds")),
            )
            for each in status.get("streaming") or ()
            if isinstance(each, Mapping) and each.get("reason") != NOT_RUNNING
        ),
    )


def points_of(entries: Iterable[Entry]) -> Iterator[StreamPoint]:
    """What the steps of a trace come to.

    Raises:
        NoBeginning, InvalidSetting, InvalidProfile: it is none that can be put into the core again.
    """
    for step in replayed(entries):
        yield _point(step)


def _point(step: ReplayedStep) -> StreamPoint:
    profiles = step.step.profiles
    return StreamPoint(
        step.asked.now_ms / 1000,
        sum(each.running for each in profiles),
        sum(each.target for each in profiles),
        tuple(
            QueryPoint(
                each.query,
                _number(each.input_rate),
                _number(each.batch_duration_s),
                _number(each.interval_s),
                _number(each.backlog_s),
            )
            for decision in step.step.streaming
            for each in decision.queries
        ),
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
