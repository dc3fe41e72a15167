"""What a driver says of itself: one poll of its REST API and gauges, as values.

Nothing here is trusted to be consistent: the answers of one poll are read one after the other from a store that lags
behind the driver's own listeners (up to ten seconds for counters, at once for stages, jobs and idle executors).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfile
from spark_allocation.core.streaming_report import NO_STREAMS, StreamingReport


@dataclass(frozen=True, slots=True)
class DriverPod:
    """The driver pod, as far as allocation cares.

    Attributes:
        restart_count: restarts of its first container that runs Spark.
        ui_port: the container port named ``spark-ui``, if one is declared.
        created_at: epoch seconds.
        started_at: epoch seconds since when a container runs; None while none does.
    """

    namespace: str
    name: str
    uid: str
    phase: str
    deleting: bool
    ip: str
    restart_count: int
    created_at: float
    ui_port: int | None = None
    started_at: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """The pod has reached a final phase."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Application:
    """The application that a driver runs, and in which attempt.

    Attributes:
        started_at_ms: epoch milliseconds of the attempt's start; a restarted driver has another.
    """

    id: str
    name: str
    started_at_ms: int
    completed: bool
    spark_version: str
    spark_user: str


@dataclass(frozen=True, slots=True)
class Environment:
    """The driver's configuration (masked where Spark masks) and the resource profiles it knows."""

    spark_properties: Mapping[str, str]
    resource_profiles: Mapping[ProfileId, ResourceProfile]


@dataclass(frozen=True, slots=True)
class StageReport:
    """One active stage attempt (``status.api.v1.StageData``).

    Attributes:
        shuffle_write_bytes: of its tasks that have ended.
    """

    stage_id: int
    attempt_id: int
    profile_id: ProfileId
    num_tasks: int
    completed_indices: int
    active_tasks: int
    submitted_at_ms: int | None = None
    shuffle_write_bytes: int = 0

    @property
    def may_write_shuffle(self) -> bool:
        """Its tasks leave shuffle data behind, or none has ended that would tell."""
        return self.shuffle_write_bytes > 0 or self.completed_indices == 0


@dataclass(frozen=True, slots=True)
class ExecutorReport:
    """One executor as the driver sees it (``status.api.v1.ExecutorSummary``)."""

    id: ExecutorId
    profile_id: ProfileId
    active: bool
    active_tasks: int
    max_tasks: int
    total_tasks: int
    failed_tasks: int
    rdd_blocks: int
    cached_bytes: int
    shuffle_write_bytes: int
    added_at_ms: int | None = None
    remove_reason: str = ""


@dataclass(frozen=True, slots=True)
class DriverReport:
    """One poll.

    Attributes:
        running_jobs: ids of the running jobs.
        max_needed_executors: the gauge ``numberMaxNeededExecutors``: the need summed over all profiles as the driver
            itself computes it, with what REST cannot show. None when the driver has no such gauge.
        dead_executors: executors that the driver has removed, when this poll asked for them.
        streaming: what it tells of streaming queries.
        events_behind: events of the driver that its REST API does not show yet.
    """

    stages: tuple[StageReport, ...]
    executors: tuple[ExecutorReport, ...]
    running_jobs: tuple[int, ...]
    max_needed_executors: int | None
    dead_executors: tuple[ExecutorReport, ...] | None = None
    streaming: StreamingReport = NO_STREAMS
    events_behind: int = 0

    @property
    def waiting_profiles(self) -> frozenset[ProfileId]:
        """Resource profiles of which tasks wait."""
        return frozenset(
            stage.profile_id
            for stage in self.stages
            if stage.num_tasks > stage.active_tasks + stage.completed_indices
        )
