"""Manager and monitor under any order of events: what must hold whatever happens."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.allocation_builders import ClusterManager, profile
from tests.unit.strategies import dynamic_allocation_confs

from spark_allocation.core.allocation_decisions import RemovalOutcome, TickResult
from spark_allocation.core.allocation_manager import ExecutorAllocationManager
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_monitor import ExecutorMonitor, IdleCounts
from spark_allocation.core.executor_tracker import HeldBy
from spark_allocation.core.listener_events import (
    ExecutorAdded,
    ExecutorRemoved,
    JobEnd,
    JobStart,
    ResourceProfileAdded,
    SpeculativeTaskSubmitted,
    StageCompleted,
    StageInfo,
    StageSubmitted,
    TaskEnd,
    TaskEndReason,
    TaskStart,
)
from spark_allocation.core.listener_feeder import ListenerFeeder
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.spark_conf import SECOND, SparkConf
from spark_allocation.core.workload import ReportedWorkload

STAGES = st.integers(0, 4)
INDICES = st.integers(0, 4)
EXECUTORS = st.integers(1, 12).map(str)
PROFILES = st.sampled_from([ProfileId(0), ProfileId(1)])


class AllocationMachine(RuleBasedStateMachine):
    """A driver's events in any order, a cluster manager that sometimes refuses, and time that only goes forward."""

    @initialize(conf=dynamic_allocation_confs())
    def begin(self, conf: DynamicAllocationConf) -> None:
        self.conf = conf
        self.cluster = ClusterManager()
        self.profiles = ResourceProfileManager(SparkConf())
        self.monitor = ExecutorMonitor(conf)
        self.manager = ExecutorAllocationManager(
            conf, self.cluster, self.monitor, self.profiles, ReportedWorkload()
        )
        self.feeder = ListenerFeeder(self.manager, self.profiles)
        self.now = 0
        self.busy: dict[str, int] = {}
        self.post(ResourceProfileAdded(profile(1, cores=2)))
        self.manager.start(self.now)

    def post(self, event: object) -> None:
        self.feeder.post(event, self.now)  # type: ignore[arg-type]

    @rule(
        stage=STAGES,
        tasks=st.integers(0, 30),
        profile_id=PROFILES,
        shuffle=st.none() | st.integers(0, 2),
    )
    def submit(self, stage: int, tasks: int, profile_id: ProfileId, shuffle: int | None) -> None:
        info = StageInfo(stage, 0, tasks, profile_id, shuffle)
        self.post(JobStart(stage, (info,)))
        self.post(StageSubmitted(info))

    @rule(stage=STAGES)
    def complete(self, stage: int) -> None:
        self.post(StageCompleted(stage))
        self.post(JobEnd(stage))

    @rule(stage=STAGES, index=INDICES, executor=EXECUTORS, copy=st.booleans())
    def start(self, stage: int, index: int, executor: str, copy: bool) -> None:
        self.post(TaskStart(stage, 0, index, executor, copy))
        self.busy[executor] = self.busy.get(executor, 0) + 1

    @rule(
        stage=STAGES,
        index=INDICES,
        executor=EXECUTORS,
        reason=st.sampled_from(TaskEndReason),
        copy=st.booleans(),
    )
    def end(self, stage: int, index: int, executor: str, reason: TaskEndReason, copy: bool) -> None:
        self.post(TaskEnd(stage, 0, index, executor, reason, copy))
        self.busy[executor] = max(0, self.busy.get(executor, 0) - 1)

    @rule(stage=STAGES, index=INDICES)
    def speculate(self, stage: int, index: int) -> None:
        self.post(SpeculativeTaskSubmitted(stage, 0, index))

    @rule(executor=EXECUTORS, profile_id=PROFILES)
    def register(self, executor: str, profile_id: ProfileId) -> None:
        self.post(ExecutorAdded(executor, profile_id))

    @rule(executor=EXECUTORS)
    def lose(self, executor: str) -> None:
        self.post(ExecutorRemoved(executor, "lost"))
        self.busy.pop(executor, None)

    @rule(acknowledges=st.booleans(), grants=st.booleans())
    def change_of_mood(self, acknowledges: bool, grants: bool) -> None:
        self.cluster.acknowledges = acknowledges
        self.cluster.grants_removals = grants

    @rule(conf=dynamic_allocation_confs())
    def reconfigure(self, conf: DynamicAllocationConf) -> None:
        self.conf = conf
        self.manager.reconfigure(conf, self.now)

    @rule(seconds=st.sampled_from([0.1, 0.5, 1, 2, 5, 20]))
    def tick(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)
        before = self.manager.targets
        remaining = self.monitor.remaining_counts()
        result = self.manager.tick(self.now)
        self.check_targets(before, result)
        self.check_removals(dict(remaining), result)

    def check_targets(self, before: dict, result: TickResult) -> None:
        assert result.targets == self.manager.targets
        if not self.cluster.acknowledges:
            assert result.targets == before
            return
        for profile_id, decision in result.decisions.items():
            bounds = self.conf.bounds(profile_id)
            assert bounds.min_executors <= decision.target <= bounds.max_executors
            if decision.delta > 0:
                assert decision.target <= max(decision.need or 0, bounds.min_executors)
            if not self.manager.initializing:
                assert decision.need is not None
                assert decision.target <= max(decision.need, bounds.min_executors)
        if result.delta:
            assert self.cluster.totals[-1] == result.targets

    def check_removals(self, remaining: dict, result: TickResult) -> None:
        for executor in result.removals.get(RemovalOutcome.REMOVED, ()):
            view = self.monitor.executor(executor)
            assert view is not None
            assert view.running_tasks == 0 == self.busy.get(executor, 0)
            assert not view.has_active_shuffle
            assert view.timeout_at_ns is not None
            assert view.timeout_at_ns <= self.now
            remaining[view.profile_id] -= 1
            floor = max(
                self.conf.bounds(view.profile_id).min_executors,
                result.targets.get(view.profile_id, 0),
            )
            assert remaining[view.profile_id] >= floor

    @invariant()
    def the_counts_agree(self) -> None:
        if not hasattr(self, "monitor"):
            return
        views = list(self.monitor.executors())
        assert len(views) == self.monitor.executor_count()
        for profile_id in (ProfileId(-1), ProfileId(0), ProfileId(1)):
            counted = sum(view.profile_id == profile_id for view in views)
            assert self.monitor.executor_count(profile_id) == counted
            mine = [view for view in views if view.profile_id == profile_id]
            staying = [view for view in mine if not (view.pending_removal or view.decommissioning)]
            assert self.monitor.remaining_counts()[profile_id] == len(staying)
            at_rest = [view for view in staying if view.running_tasks == 0]
            idle_ns = self.conf.timeouts(profile_id).idle_ns
            past = [view for view in at_rest if self.now - (view.idle_since_ns or 0) >= idle_ns]
            idle = self.monitor.idle_counts(self.now).get(profile_id, IdleCounts())
            assert idle == IdleCounts(
                idle=len(at_rest),
                held_by_shuffle=sum(view.held_by is HeldBy.SHUFFLE for view in past),
                held_by_cache=sum(view.held_by is HeldBy.CACHE for view in past),
            )
        assert all(step >= 1 for step in self.manager.to_add.values())


AllocationMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAllocationMachine = AllocationMachine.TestCase
