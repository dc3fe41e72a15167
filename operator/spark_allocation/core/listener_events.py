"""The events of Spark's listener bus that allocation looks at (``org.apache.spark.scheduler.SparkListenerEvent``).

Field names follow Spark's event classes; only what allocation reads is kept.
"""

from dataclasses import dataclass
from enum import StrEnum

from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId, ResourceProfile


class TaskEndReason(StrEnum):
    """How a task ended, as far as allocation cares (``TaskEndReason``)."""

    SUCCESS = "Success"
    KILLED = "TaskKilled"
    """Killed on purpose, such as the loser of a speculative pair."""
    FAILED = "Failed"
    """Every other end: exception, fetch failure, lost executor or result, resubmission, denied commit."""


@dataclass(frozen=True, slots=True)
class StageInfo:
    """A stage attempt.

    Attributes:
        shuffle_id: of the shuffle that a shuffle map stage writes; None for a result stage.
    """

    stage_id: int
    attempt: int = 0
    num_tasks: int = 1
    profile_id: ProfileId = DEFAULT_PROFILE_ID
    shuffle_id: int | None = None


@dataclass(frozen=True, slots=True)
class JobStart:
    """``SparkListenerJobStart``."""

    job_id: int
    stages: tuple[StageInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class JobEnd:
    """``SparkListenerJobEnd``."""

    job_id: int


@dataclass(frozen=True, slots=True)
class StageSubmitted:
    """``SparkListenerStageSubmitted``; a retried stage counts the tasks of this attempt only."""

    stage: StageInfo


@dataclass(frozen=True, slots=True)
class StageCompleted:
    """``SparkListenerStageCompleted``: success, failure and retry alike."""

    stage_id: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class TaskStart:
    """``SparkListenerTaskStart``; ``index`` is the task's place in its stage attempt."""

    stage_id: int
    attempt: int
    index: int
    executor_id: str
    speculative: bool = False


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """``SparkListenerTaskEnd``."""

    stage_id: int
    attempt: int
    index: int
    executor_id: str
    reason: TaskEndReason = TaskEndReason.SUCCESS
    speculative: bool = False


@dataclass(frozen=True, slots=True)
class SpeculativeTaskSubmitted:
    """``SparkListenerSpeculativeTaskSubmitted``."""

    stage_id: int
    attempt: int
    index: int


@dataclass(frozen=True, slots=True)
class UnschedulableTaskSetAdded:
    """``SparkListenerUnschedulableTaskSetAdded``."""

    stage_id: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class UnschedulableTaskSetRemoved:
    """``SparkListenerUnschedulableTaskSetRemoved``."""

    stage_id: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class ExecutorAdded:
    """``SparkListenerExecutorAdded``."""

    executor_id: str
    profile_id: ProfileId = DEFAULT_PROFILE_ID


@dataclass(frozen=True, slots=True)
class ExecutorRemoved:
    """``SparkListenerExecutorRemoved``; ``reason`` is the driver's sentence."""

    executor_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RddBlock:
    """``RDDBlockId``."""

    rdd_id: int
    split: int


@dataclass(frozen=True, slots=True)
class ShuffleDataBlock:
    """``ShuffleDataBlockId``: migrated shuffle data."""

    shuffle_id: int


@dataclass(frozen=True, slots=True)
class OtherBlock:
    """A block of a kind that allocation does not follow."""


@dataclass(frozen=True, slots=True)
class BlockUpdated:
    """``SparkListenerBlockUpdated``.

    Attributes:
        stored: the storage level is valid: the block is in memory or on disk.
        on_disk: the storage level uses the disk.
    """

    executor_id: str
    block: RddBlock | ShuffleDataBlock | OtherBlock
    stored: bool = True
    on_disk: bool = False


@dataclass(frozen=True, slots=True)
class UnpersistRdd:
    """``SparkListenerUnpersistRDD``."""

    rdd_id: int


@dataclass(frozen=True, slots=True)
class ShuffleCleaned:
    """The context cleaner has removed a shuffle (``ExecutorMonitor.ShuffleCleanedEvent``; never in event logs)."""

    shuffle_id: int


@dataclass(frozen=True, slots=True)
class ResourceProfileAdded:
    """``SparkListenerResourceProfileAdded``: always before the first stage of the profile."""

    profile: ResourceProfile


ListenerEvent = (
    JobStart
    | JobEnd
    | StageSubmitted
    | StageCompleted
    | TaskStart
    | TaskEnd
    | SpeculativeTaskSubmitted
    | UnschedulableTaskSetAdded
    | UnschedulableTaskSetRemoved
    | ExecutorAdded
    | ExecutorRemoved
    | BlockUpdated
    | UnpersistRdd
    | ShuffleCleaned
    | ResourceProfileAdded
)
