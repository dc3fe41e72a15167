"""How streams of one SparkAllocation fared over time, as its status told it: points that can be kept in a file.

A trace is a text file with one JSON object a line, so that one that was broken off is as good as it is long.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spark_allocation.reports.streams import NOT_RUNNING


@dataclass(frozen=True, slots=True)
class QueryPoint:
    """One query; None for what is not known.

    Attributes:
        input_rate: rows a second.
        batch_s: seconds of the last batch, or of the one that runs.
        interval_s: seconds that a batch may take.
        backlog_s: seconds that it would take to process what waits.
    """

    query: str
    input_rate: float | None = None
    batch_s: float | None = None
    interval_s: float | None = None
    backlog_s: float | None = None


@dataclass(frozen=True, slots=True)
class StreamPoint:
    """One moment.

    Attributes:
        at: epoch seconds.
        executors: that run.
        target: that are wanted.
    """

    at: float
    executors: int
    target: int
    queries: tuple[QueryPoint, ...] = ()

    @property
    def line(self) -> str:
        """As a trace has it."""
        return json.dumps(asdict(self))


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


def read_trace(lines: Iterable[str]) -> list[StreamPoint]:
    """The points of a trace.

    Raises:
        ValueError: a line is none of a trace; it names the line. The last line may be broken off.
    """
    points: list[StreamPoint] = []
    broken = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if broken:
            raise ValueError(f"line {broken} is none of a trace of streams")
        try:
            told = json.loads(line)
            queries = tuple(QueryPoint(**each) for each in told.pop("queries"))
            points.append(StreamPoint(**told, queries=queries))
        except (ValueError, TypeError, KeyError, AttributeError):
            broken = number
    if broken and not points:
        raise ValueError(f"line {broken} is none of a trace of streams")
    return points


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
