"""Looks at the streams of a SparkAllocation from outside, as ``plot --record`` keeps them: lines of a trace like others."""

from dataclasses import dataclass


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
