"""An application under a manual clock, in words of the domain: for tests of the manager, the monitor and the feeder."""

from collections.abc import Mapping, Sequence

from spark_allocation.core.allocation_client import ClusterManagerUnreachable
from spark_allocation.core.allocation_decisions import RemovalOutcome, TickResult
from spark_allocation.core.allocation_manager import ExecutorAllocationManager
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.listener_events import (
    ExecutorAdded,
    ExecutorRemoved,
    ListenerEvent,
    ResourceProfileAdded,
    SpeculativeTaskSubmitted,
    StageCompleted,
    StageInfo,
    StageSubmitted,
    TaskEnd,
    TaskEndReason,
    TaskStart,
    UnschedulableTaskSetAdded,
    UnschedulableTaskSetRemoved,
)
from spark_allocation.core.listener_feeder import ListenerFeeder
from spark_allocation.core.resource_profiles import (
    CORES,
    CPUS,
    DEFAULT_PROFILE_ID,
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
    ResourceProfileManager,
    TaskResourceRequest,
)
from spark_allocation.core.spark_conf import SECOND, SparkConf
from spark_allocation.core.workload import ReportedWorkload


def profile(profile_id: int, *, cores: int = 1, gpus: int = 0) -> ResourceProfile:
    """A profile whose tasks take one core, and one GPU when it has some."""
    executor = {CORES: ExecutorResourceRequest(CORES, cores)}
    task = {CPUS: TaskResourceRequest(CPUS, 1)}
    if gpus:
        executor["gpu"] = ExecutorResourceRequest("gpu", gpus)
        task["gpu"] = TaskResourceRequest("gpu", 1)
    return ResourceProfile(ProfileId(profile_id), executor, task)


class ClusterManager:
    """Grants everything, unless told otherwise, and remembers what it was asked."""

    def __init__(self) -> None:
        self.totals: list[dict[ProfileId, int]] = []
        self.killed: list[tuple[str, ...]] = []
        self.decommissioned: list[tuple[str, ...]] = []
        self.acknowledges = True
        self.reachable = True
        self.grants_removals = True
        self.inactive: set[str] = set()

    def request_total_executors(self, totals: Mapping[ProfileId, int]) -> bool:
        if not self.reachable:
            raise ClusterManagerUnreachable
        self.totals.append(dict(totals))
        return self.acknowledges

    def kill_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        self.killed.append(tuple(executor_ids))
        return executor_ids if self.grants_removals else ()

    def decommission_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        self.decommissioned.append(tuple(executor_ids))
        return executor_ids if self.grants_removals else ()

    def is_executor_active(self, executor_id: str) -> bool:
        return executor_id not in self.inactive


class Application:
    """A driver's events, a cluster manager and the manager between them.

    Unless stated: one task per executor, backlog timeout 1 s, sustained 2 s, idle timeout 3 s, no shuffle tracking.
    """

    def __init__(
        self,
        min_executors: int = 1,
        max_executors: int = 5,
        initial_executors: int = 1,
        *,
        cores: int | None = None,
        **settings: object,
    ) -> None:
        defaults: dict[str, object] = {
            "scheduler_backlog_timeout_s": 1,
            "sustained_scheduler_backlog_timeout_s": 2,
            "executor_idle_timeout_s": 3,
            "shuffle_service_enabled": True,
        }
        self.conf = DynamicAllocationConf(
            min_executors=min_executors,
            max_executors=max_executors,
            initial_executors=initial_executors,
            **{**defaults, **settings},  # type: ignore[arg-type]
        )
        spark_conf = SparkConf({} if cores is None else {"spark.executor.cores": str(cores)})
        self.cluster = ClusterManager()
        self.profiles = ResourceProfileManager(spark_conf)
        self.monitor = ExecutorMonitor(self.conf, self.cluster.is_executor_active)
        self.manager = ExecutorAllocationManager(
            self.conf, self.cluster, self.monitor, self.profiles, ReportedWorkload()
        )
        self.feeder = ListenerFeeder(self.manager, self.profiles)
        self.now_ns = 10 * SECOND
        self.manager.start(self.now_ns)

    # -- time --------------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)

    def tick(self, after: float = 0) -> TickResult:
        self.advance(after)
        return self.manager.tick(self.now_ns)

    def add(self, profile_id: int = 0) -> int:
        """One round of growth: the timers have run out."""
        return self.tick(after=2).decisions[ProfileId(profile_id)].delta

    def removed(self, after: float = 0) -> tuple[str, ...]:
        return self.tick(after).removals.get(RemovalOutcome.REMOVED, ())

    # -- what is read ------------------------------------------------------------------------------------------------

    def target(self, profile_id: int = 0) -> int:
        return self.manager.targets[ProfileId(profile_id)]

    def to_add(self, profile_id: int = 0) -> int:
        return self.manager.to_add[ProfileId(profile_id)]

    def need(self, profile_id: int = 0) -> int:
        need = self.manager.max_needed(ProfileId(profile_id))
        assert need is not None
        return need

    # -- events ------------------------------------------------------------------------------------------------------

    def post(self, event: ListenerEvent) -> None:
        self.feeder.post(event, self.now_ns)

    def add_profile(self, added: ResourceProfile) -> None:
        self.post(ResourceProfileAdded(added))

    def submit(self, stage: int, tasks: int, *, profile_id: int = 0, attempt: int = 0) -> None:
        self.post(StageSubmitted(StageInfo(stage, attempt, tasks, ProfileId(profile_id))))

    def complete(self, stage: int, attempt: int = 0) -> None:
        self.post(StageCompleted(stage, attempt))

    def start(
        self,
        stage: int,
        *indices: int,
        on: str = "executor",
        speculative: bool = False,
        attempt: int = 0,
    ) -> None:
        for index in indices:
            self.post(TaskStart(stage, attempt, index, on, speculative))

    def end(
        self,
        stage: int,
        *indices: int,
        on: str = "executor",
        reason: TaskEndReason = TaskEndReason.SUCCESS,
        speculative: bool = False,
        attempt: int = 0,
    ) -> None:
        for index in indices:
            self.post(TaskEnd(stage, attempt, index, on, reason, speculative))

    def speculate(self, stage: int, *indices: int) -> None:
        for index in indices:
            self.post(SpeculativeTaskSubmitted(stage, 0, index))

    def unschedulable(self, *stages: int) -> None:
        for stage in stages:
            self.post(UnschedulableTaskSetAdded(stage))

    def schedulable(self, *stages: int) -> None:
        for stage in stages:
            self.post(UnschedulableTaskSetRemoved(stage))

    def register(self, *executors: object, profile_id: int = DEFAULT_PROFILE_ID) -> None:
        for executor in executors:
            self.post(ExecutorAdded(str(executor), ProfileId(profile_id)))

    def lose(self, *executors: object, reason: str = "lost") -> None:
        for executor in executors:
            self.post(ExecutorRemoved(str(executor), reason))
