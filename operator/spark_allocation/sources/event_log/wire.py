"""The lines of an event log that a simulation needs, and of each line the fields that it needs.

Names are those of ``org.apache.spark.util.JsonProtocol``. Fields that some version does not write have a default; others
are passed over by the decoder without being made into objects.
"""

import msgspec


class Named(msgspec.Struct, rename={"name": "Event"}):
    """Any event."""

    name: str


class LogStart(msgspec.Struct, rename={"version": "Spark Version"}):
    """``SparkListenerLogStart``: the first line."""

    version: str


class ApplicationStart(
    msgspec.Struct, rename={"app_id": "App ID", "name": "App Name", "at": "Timestamp"}
):
    """``SparkListenerApplicationStart``."""

    name: str
    at: int
    app_id: str | None = None


class Timed(msgspec.Struct, rename={"at": "Timestamp"}):
    """``SparkListenerApplicationEnd``, and all of any other event that has a time."""

    at: int


class Environment(msgspec.Struct, rename={"properties": "Spark Properties"}):
    """``SparkListenerEnvironmentUpdate``."""

    properties: dict[str, str]


class ResourceRequest(msgspec.Struct, rename={"amount": "Amount"}):
    """An amount of a resource, of an executor or a task."""

    amount: float


class ResourceProfileAdded(
    msgspec.Struct,
    rename={
        "profile_id": "Resource Profile Id",
        "executor": "Executor Resource Requests",
        "task": "Task Resource Requests",
    },
):
    """``SparkListenerResourceProfileAdded``."""

    profile_id: int
    executor: dict[str, ResourceRequest] = {}
    task: dict[str, ResourceRequest] = {}


class ExecutorInfo(
    msgspec.Struct,
    rename={
        "cores": "Total Cores",
        "profile_id": "Resource Profile Id",
        "registered_at": "Registration Time",
        "requested_at": "Request Time",
    },
):
    """``ExecutorInfo``; times of request and registration since 3.4, and only where the driver itself has asked."""

    cores: int = 1
    profile_id: int = 0
    registered_at: int | None = None
    requested_at: int | None = None


class ExecutorAdded(
    msgspec.Struct,
    rename={"at": "Timestamp", "executor_id": "Executor ID", "info": "Executor Info"},
):
    """``SparkListenerExecutorAdded``."""

    at: int
    executor_id: str
    info: ExecutorInfo


class ExecutorRemoved(msgspec.Struct, rename={"at": "Timestamp", "executor_id": "Executor ID"}):
    """``SparkListenerExecutorRemoved``."""

    at: int
    executor_id: str


class StorageLevel(msgspec.Struct, rename={"disk": "Use Disk", "memory": "Use Memory"}):
    """``StorageLevel``; an RDD with neither is not persisted."""

    disk: bool = False
    memory: bool = False


class RddInfo(msgspec.Struct, rename={"rdd_id": "RDD ID", "level": "Storage Level"}):
    """``RDDInfo``."""

    rdd_id: int
    level: StorageLevel = msgspec.field(default_factory=StorageLevel)


class StageInfo(
    msgspec.Struct,
    rename={
        "stage_id": "Stage ID",
        "attempt": "Stage Attempt ID",
        "name": "Stage Name",
        "num_tasks": "Number of Tasks",
        "rdds": "RDD Info",
        "parents": "Parent IDs",
        "submitted_at": "Submission Time",
        "completed_at": "Completion Time",
        "failure": "Failure Reason",
        "profile_id": "Resource Profile Id",
    },
):
    """``StageInfo``; its own RDD is the first one. The profile is written since 3.1."""

    stage_id: int
    num_tasks: int
    attempt: int = 0
    name: str = ""
    rdds: list[RddInfo] = []
    parents: list[int] = []
    submitted_at: int | None = None
    completed_at: int | None = None
    failure: str | None = None
    profile_id: int = 0


class OfStage(msgspec.Struct, rename={"stage": "Stage Info"}):
    """``SparkListenerStageSubmitted`` and ``SparkListenerStageCompleted``."""

    stage: StageInfo


class JobProperties(msgspec.Struct, rename={"query": "sql.streaming.queryId", "batch": "streaming.sql.batchId"}):  # fmt: skip
    """Of a job's properties those that tell to which streaming query and batch it belongs."""

    query: str | None = None
    batch: str | None = None


class JobStart(
    msgspec.Struct,
    rename={
        "job_id": "Job ID",
        "at": "Submission Time",
        "stages": "Stage Infos",
        "stage_ids": "Stage IDs",
        "properties": "Properties",
    },
):
    """``SparkListenerJobStart``."""

    job_id: int
    at: int
    stages: list[StageInfo] = []
    stage_ids: list[int] = []
    properties: JobProperties | None = None


class JobEnd(msgspec.Struct, rename={"job_id": "Job ID", "at": "Completion Time"}):
    """``SparkListenerJobEnd``."""

    job_id: int
    at: int


class TaskInfo(
    msgspec.Struct,
    rename={
        "index": "Index",
        "partition": "Partition ID",
        "launched_at": "Launch Time",
        "finished_at": "Finish Time",
        "executor_id": "Executor ID",
        "speculative": "Speculative",
    },
):
    """``TaskInfo``; the partition is written since 3.3, and -1 where it is not known."""

    index: int
    launched_at: int
    executor_id: str
    partition: int = -1
    finished_at: int = 0
    speculative: bool = False


class TaskStart(
    msgspec.Struct,
    rename={"stage_id": "Stage ID", "attempt": "Stage Attempt ID", "info": "Task Info"},
):
    """``SparkListenerTaskStart``."""

    stage_id: int
    info: TaskInfo
    attempt: int = 0


class EndReason(msgspec.Struct, rename={"name": "Reason"}):
    """``TaskEndReason``: ``Success``, ``TaskKilled``, ``FetchFailed``, …."""

    name: str


class TaskEnd(
    msgspec.Struct,
    rename={
        "stage_id": "Stage ID",
        "attempt": "Stage Attempt ID",
        "kind": "Task Type",
        "reason": "Task End Reason",
        "info": "Task Info",
    },
):
    """``SparkListenerTaskEnd``."""

    stage_id: int
    info: TaskInfo
    reason: EndReason
    kind: str = ""
    attempt: int = 0


class UnpersistRdd(msgspec.Struct, rename={"rdd_id": "RDD ID"}):
    """``SparkListenerUnpersistRDD``; it has no time."""

    rdd_id: int


KINDS: dict[bytes, type[msgspec.Struct]] = {
    b"LogStart": LogStart,
    b"ApplicationStart": ApplicationStart,
    b"ApplicationEnd": Timed,
    b"EnvironmentUpdate": Environment,
    b"ResourceProfileAdded": ResourceProfileAdded,
    b"ExecutorAdded": ExecutorAdded,
    b"ExecutorRemoved": ExecutorRemoved,
    b"StageSubmitted": OfStage,
    b"StageCompleted": OfStage,
    b"JobStart": JobStart,
    b"JobEnd": JobEnd,
    b"TaskStart": TaskStart,
    b"TaskEnd": TaskEnd,
    b"UnpersistRDD": UnpersistRdd,
}
"""Events that are read, by the name without ``SparkListener``."""

PASSED_OVER = frozenset(
    {
        b"TaskGettingResult",
        b"BlockManagerAdded",
        b"BlockManagerRemoved",
        b"BlockUpdated",
        b"ExecutorMetricsUpdate",
        b"StageExecutorMetrics",
        b"ExecutorBlacklisted",
        b"ExecutorUnblacklisted",
        b"ExecutorBlacklistedForStage",
        b"NodeBlacklisted",
        b"NodeUnblacklisted",
        b"NodeBlacklistedForStage",
        b"ExecutorExcluded",
        b"ExecutorUnexcluded",
        b"ExecutorExcludedForStage",
        b"NodeExcluded",
        b"NodeUnexcluded",
        b"NodeExcludedForStage",
        b"UnschedulableTaskSetAdded",
        b"UnschedulableTaskSetRemoved",
        b"SpeculativeTaskSubmitted",
        b"MiscellaneousProcessAdded",
    }
)
"""Events of Spark that say nothing about what there was to do."""
