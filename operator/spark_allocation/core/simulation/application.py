"""A recorded application, as far as a simulation needs it: what there was to do, in which order, and how long it took.

Theory of operation
-------------------
Of a run, two things are kept apart. What belongs to the *application* is replayed under any policy: jobs and the pauses
between them, stages and what each waits for, the duration of every task, what stages write and cache. What belongs to
the *allocation* it ran with is only compared against: which executors there were and when.

Tasks are known by their place in the first attempt of their stage. Attempts that followed because data was lost belong to
the recorded allocation and are not replayed; tasks that failed by themselves are.

All times are milliseconds since the application's start.

Source: ``org.apache.spark.util.JsonProtocol``, ``SparkListenerEvent``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spark_allocation.core.resource_profiles import ProfileId, ResourceProfile
from spark_allocation.core.simulation.timeline import Timeline


@dataclass(frozen=True, slots=True)
class RecordedStage:
    """A stage that ran.

    Attributes:
        durations_ms: of each task, on an executor that has warmed up.
        failures_ms: of tasks that failed by themselves before they succeeded: how long each of those tries took.
        parents: stages that ran, in this job or an earlier one, and whose output it reads.
        writes_shuffle: others may read what its tasks leave on their executors.
        cached_rdds: persisted RDDs that its tasks read, or compute and keep; the nearest to what it computes first.
        pause_ms: from the moment at which it could have been submitted to its submission.
    """

    stage_id: int
    profile_id: ProfileId
    durations_ms: Sequence[int]
    parents: tuple[int, ...] = ()
    writes_shuffle: bool = False
    cached_rdds: tuple[int, ...] = ()
    pause_ms: int = 0
    failures_ms: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    name: str = ""

    @property
    def num_tasks(self) -> int:
        """How many tasks it has."""
        return len(self.durations_ms)


@dataclass(frozen=True, slots=True)
class Follows:
    """What the driver had seen end when it did something: jobs of one thread of work.

    Attributes:
        thread: jobs of a streaming query follow only each other; "" for all others.
        jobs: how many jobs of the thread had ended, in the order of their ends.
        pause_ms: from the end of the last of these, or from the application's start.
    """

    jobs: int = 0
    pause_ms: int = 0
    thread: str = ""


@dataclass(frozen=True, slots=True)
class RecordedJob:
    """A job.

    Attributes:
        stage_ids: those of its stages that ran.
        reads: stages of earlier jobs whose output it counts on, so that it skipped its own.
        rank: its place among the jobs of its thread, in the order of their ends.
        tail_ms: from the end of its last stage to its own end.
        not_before_ms: a batch of a streaming query does not begin before its time; None when nothing but other jobs
            holds the job back.
    """

    job_id: int
    stage_ids: tuple[int, ...]
    follows: Follows = Follows()
    rank: int = 0
    reads: tuple[int, ...] = ()
    tail_ms: int = 0
    not_before_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RecordedUnpersist:
    """An RDD is no longer cached."""

    rdd_id: int
    follows: Follows = Follows()


@dataclass(frozen=True, slots=True)
class RecordedExecutor:
    """An executor of the recorded run.

    Attributes:
        removed_ms: None when it was there to the end.
        start_ms: from its request to its registration, where the log tells it.
        first_task_ms: from its registration to its first task, where tasks were waiting for it.
        warm_up_ms: by which its first tasks took longer than they would have later, where the log tells it.
    """

    executor_id: str
    profile_id: ProfileId
    cores: int
    added_ms: int
    removed_ms: int | None = None
    start_ms: int | None = None
    first_task_ms: int | None = None
    warm_up_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """How the application really went.

    Attributes:
        busy_ms: of all tasks together.
        lost_ms: of these, tasks that were lost or had to be run again because data was lost.
        backlog_ms: how long tasks waited.
        timeline: executors, running tasks and waiting ones over time.
    """

    executors: tuple[RecordedExecutor, ...] = ()
    busy_ms: int = 0
    lost_ms: int = 0
    backlog_ms: int = 0
    timeline: Timeline = field(default_factory=Timeline)


@dataclass(frozen=True, slots=True)
class RecordedApplication:
    """One application from its log.

    Attributes:
        properties: its Spark properties, masked where Spark masks them.
        profiles: those beside the default one.
        jobs: in the order of their submission.
        stages: by id; only those that ran.
        started_at_ms: epoch milliseconds.
        duration_ms: to its end, or to the last event of a log that does not tell the end.
        tail_ms: from the end of its last job to its own end.
        ended: the log tells its end.
    """

    application_id: str
    name: str
    spark_version: str
    properties: Mapping[str, str]
    profiles: tuple[ResourceProfile, ...]
    jobs: tuple[RecordedJob, ...]
    stages: Mapping[int, RecordedStage]
    unpersists: tuple[RecordedUnpersist, ...] = ()
    run: RecordedRun = field(default_factory=RecordedRun)
    started_at_ms: int = 0
    duration_ms: int = 0
    tail_ms: int = 0
    ended: bool = True

    @property
    def num_tasks(self) -> int:
        """Tasks of all stages."""
        return sum(stage.num_tasks for stage in self.stages.values())

    def start_delays_ms(self) -> list[int]:
        """How long recorded executors took from request to registration, where the log tells it."""
        return [each.start_ms for each in self.run.executors if each.start_ms is not None]

    def first_task_delays_ms(self) -> list[int]:
        """How long recorded executors took from registration to their first task, where tasks waited for them."""
        return [each.first_task_ms for each in self.run.executors if each.first_task_ms is not None]

    def warm_ups_ms(self) -> list[int]:
        """By how much the first tasks of recorded executors took longer; 0 where the log does not tell it."""
        return [each.warm_up_ms or 0 for each in self.run.executors]
