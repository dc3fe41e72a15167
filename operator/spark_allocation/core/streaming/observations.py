"""What is seen of the streaming queries of an application, as values.

Theory of operation
-------------------
A query works in micro-batches. What is known of it comes once a *batch*, not once a poll: Spark's gauges show the last
batch that has completed, and go on showing it for as long as the next one runs. So an observation has, per query,

- a `BatchSample` for each batch that has completed since the last observation. A batch that is told twice counts once:
  by its batch id, or without one by when it ended;
- the age of the batch that runs now, from the jobs of the query, and how far its stages are. A batch that has already taken
  longer than the last one did is slow, and so is one that will have: one need not wait for its end to know it.

Times are seconds of one monotonic clock, on which the caller places the driver's own times. Numbers are as the driver
gave them, NaN and negative ones too: `spark_allocation.core.streaming.query_run` says what counts.

What an application has to run its batches on (`Slots`) is not in an observation: the allocation knows it itself.

Source: ``org.apache.spark.sql.execution.streaming.MetricsReporter``, ``StreamingQueryProgress``.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId

QueryName = NewType("QueryName", str)
"""``StreamingQuery.name``, or its ``id`` when it has no name: the same over restarts of the query."""


class QueryState(StrEnum):
    """What a query does."""

    ACTIVE = "Active"
    """A batch runs, or the next one will with the next trigger."""
    IDLE = "Idle"
    """It waits for data: no batch has run for longer than its trigger interval (``QueryIdleEvent``)."""
    TERMINATED = "Terminated"
    """It has stopped or failed (``QueryTerminatedEvent``)."""


class Trigger(StrEnum):
    """When a query begins a batch."""

    PROCESSING_TIME = "ProcessingTime"
    """Every interval; with an interval of 0 as soon as the last one has ended."""
    AVAILABLE_NOW = "AvailableNow"
    """All that is there now, in one or more batches, then it stops."""
    ONCE = "Once"
    """All that is there now in one batch, then it stops."""
    CONTINUOUS = "Continuous"
    """No batches: tasks that run for ever."""
    UNKNOWN = "Unknown"
    """Nobody has said; taken for ``PROCESSING_TIME``."""


@dataclass(frozen=True, slots=True)
class BatchSample:
    """One batch that has completed.

    Attributes:
        ended_at: seconds.
        duration_s: seconds from its trigger to its end (``durationMs.triggerExecution``, the gauge ``latency``).
        batch_id: counts up within a run of a query, and from where it was with the same checkpoint; None when only gauges
            are known.
        input_rows: that it read (``numInputRows``); None when unknown: then it is `processing_rate` × `duration_s`.
        input_rate: rows a second since the last trigger (``inputRowsPerSecond``, the gauge ``inputRate-total``).
        processing_rate: rows a second while it ran (``processedRowsPerSecond``, the gauge ``processingRate-total``).
        backlog_rows: rows that its sources had beyond those of this batch when it began (what the progress of a query gives
            as offsets behind the latest); above 0 only where a batch may take no more at once.
        largest_stage_tasks: tasks of its largest stage: more slots than that it could not have used.
    """

    ended_at: float
    duration_s: float
    batch_id: int | None = None
    input_rows: float | None = None
    input_rate: float | None = None
    processing_rate: float | None = None
    backlog_rows: float | None = None
    largest_stage_tasks: int | None = None


@dataclass(frozen=True, slots=True)
class StageProgress:
    """A stage of the running batch that is active: how far it is.

    Attributes:
        tasks: that it has (``StageData.numTasks``).
        completed_tasks: of these (``numCompletedIndices``).
        active_tasks: that run now (``numActiveTasks``), copies of slow ones among them.
        age_s: seconds since it was submitted; at most those of its batch.
    """

    stage_id: int
    tasks: int
    completed_tasks: int
    active_tasks: int
    age_s: float


@dataclass(frozen=True, slots=True)
class RunningBatch:
    """The batch that runs now.

    Attributes:
        age_s: seconds since its trigger.
        largest_stage_tasks: tasks of its largest stage so far.
        stages: that are active. What has ended is not among them, and neither is what has not begun.
    """

    age_s: float
    batch_id: int | None = None
    largest_stage_tasks: int | None = None
    stages: tuple[StageProgress, ...] = ()


@dataclass(frozen=True, slots=True)
class QueryObservation:
    """One query at one moment.

    Attributes:
        run_id: ``StreamingQuery.runId``: another one is a restarted query, whose batches are not compared with those before.
        trigger_interval_s: seconds between two triggers; 0 when one follows the other; None when unknown.
        batches: that have completed; those that were told before are left out by the core.
        running: None when none runs.
        backlog_rows: rows that wait in the sources now, or that are in the running batch (as a consumer group's lag is);
            None when unknown. It goes before `BatchSample.backlog_rows`.
        source_partitions: tasks with which it reads its sources.
        map_only: it has no shuffle, so no stage has more tasks than its sources have partitions.
        keeps_state: its state stores have rows; None when nobody says (the gauge ``states-rowsTotal``).
    """

    name: QueryName
    run_id: str = ""
    state: QueryState = QueryState.ACTIVE
    trigger: Trigger = Trigger.UNKNOWN
    trigger_interval_s: float | None = None
    batches: tuple[BatchSample, ...] = ()
    running: RunningBatch | None = None
    backlog_rows: float | None = None
    source_partitions: int | None = None
    map_only: bool = False
    keeps_state: bool | None = None


@dataclass(frozen=True, slots=True)
class StreamingObservation:
    """All queries of an application whose tasks run in one resource profile.

    The driver has answered, so without a query none is there. When the driver did not answer, or its answer had no
    metrics of streaming in it although there should be some, there is no observation: metrics have vanished.

    Attributes:
        observed_at: seconds, of the clock of all other times.
    """

    observed_at: float
    queries: tuple[QueryObservation, ...] = ()
    profile_id: ProfileId = DEFAULT_PROFILE_ID


@dataclass(frozen=True, slots=True)
class Slots:
    """What batches run on.

    Attributes:
        executors: of the profile that are registered and stay.
        tasks_per_executor: that run at once on one, at least 1.
        running_tasks: that run now.
        executors_asked: of the profile that are wanted; those above `executors` have yet to come.
    """

    executors: int
    tasks_per_executor: int = 1
    running_tasks: int = 0
    executors_asked: int = 0
