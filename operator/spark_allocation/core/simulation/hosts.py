"""Who allocates in a simulated run: Spark's driver for itself, or this operator from outside. Both are the real classes.

Theory of operation
-------------------
`SparkDriverHost` is what runs inside an ordinary driver: `ExecutorAllocationManager` and `ExecutorMonitor` hear every event, the
manager ticks every 100 ms, and `ExecutorPodsAllocator` makes its rounds. `OperatorHost` is what runs in the operator:
`Allocation`, which sees nothing but polls of the driver, once a second, and the pods.

Ticks and polls at which nothing can come out otherwise than at the last one are left out: nothing has happened since, and
no timer has run out. They keep the beat, so what is left out changes no moment of a decision.

A host asks the simulated cluster for pods and lets executors go there; the simulated driver tells it the rest (`Scene`).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from spark_allocation.core.allocation import Allocation
from spark_allocation.core.allocation_decisions import RemovalOutcome
from spark_allocation.core.allocation_manager import ExecutorAllocationManager
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.driver_report import DriverReport
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.jvm_numbers import LONG_MAX
from spark_allocation.core.listener_events import ListenerEvent
from spark_allocation.core.listener_feeder import ListenerFeeder
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.pods_plan import PodsPlan
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.workload import ReportedWorkload

TICK_MS = 100
POLL_MS = 1_000
_EPOCH_MS = 1_700_000_000_000
_ORIGIN_NS = 1_000_000_000_000
"""Of the simulated monotonic clock."""
_NANOSECONDS_PER_MILLISECOND = 1_000_000


class Cluster(Protocol):
    """The simulated cluster, as a host sees it."""

    def create(self, profile_id: ProfileId, wanted_since_ms: int | None = None) -> ExecutorId:
        """Ask for a pod; its executor's id.

        Args:
            wanted_since_ms: when the target rose to it, where that is known.
        """
        ...

    def withdraw(self, executor_id: ExecutorId) -> None:
        """Delete a pod that does not run yet."""
        ...

    def leave(self, executor_id: ExecutorId) -> None:
        """Let an executor go: it gets no more tasks and is gone when those that it runs have ended."""
        ...

    def delete_ended(self, executor_id: ExecutorId) -> None:
        """Delete a pod that has ended."""
        ...

    def snapshot(self, now_ms: int) -> ExecutorPodsSnapshot:
        """The pods; times are epoch milliseconds."""
        ...

    def take_vanished(self) -> Sequence[ExecutorPod]:
        """Pods that went since this was last asked."""
        ...


class Driver(Protocol):
    """The simulated driver, as a host sees it."""

    def is_idle(self, executor_id: ExecutorId) -> bool:
        """A registered executor that stays and runs no task."""
        ...

    def is_active(self, executor_id: ExecutorId) -> bool:
        """A registered executor that stays."""
        ...

    def registered(self) -> frozenset[ExecutorId]:
        """Executors that the driver lists."""
        ...

    def report(self) -> DriverReport:
        """What the driver's REST API says."""
        ...


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a host acts."""

    cluster: Cluster
    driver: Driver


class AllocationHost(Protocol):
    """Decides about the executors of the simulated application. Times are milliseconds since its start."""

    def begin(self, scene: Scene, now_ms: int) -> None:
        """The application starts."""
        ...

    def post(self, event: ListenerEvent, now_ms: int) -> None:
        """Something happened in the driver."""
        ...

    def next_at_ms(self, now_ms: int) -> int | None:
        """When to decide next; None: not before something happens."""
        ...

    def decide(self, now_ms: int) -> None:
        """Decide and act."""
        ...


def epoch_ms(now_ms: int) -> int:
    """A simulated moment as the pods' timestamps have it."""
    return _EPOCH_MS + now_ms


def _ns(now_ms: int) -> int:
    return _ORIGIN_NS + now_ms * _NANOSECONDS_PER_MILLISECOND


def _ms_not_before(at_ns: int) -> int:
    return -((_ORIGIN_NS - at_ns) // _NANOSECONDS_PER_MILLISECOND)


def _on_beat(at_ms: int, beat_ms: int) -> int:
    """The first beat that is not earlier."""
    return -(-at_ms // beat_ms) * beat_ms


class SparkDriverHost:
    """A driver that allocates for itself.

    Args:
        dynamic: its settings; with dynamic allocation off, a minimum that is the maximum.
        pods: of its pods allocator.
        profiles: learns of the application's profiles.
    """

    def __init__(
        self,
        dynamic: DynamicAllocationConf,
        pods: PodsAllocatorConf,
        profiles: ResourceProfileManager,
    ) -> None:
        self._scene: Scene | None = None
        self._decommissions = dynamic.decommission_enabled
        self._pause_ms = pods.batch_delay_ms
        self.monitor = ExecutorMonitor(dynamic, self.is_executor_active)
        self.manager = ExecutorAllocationManager(
            dynamic, self, self.monitor, profiles, ReportedWorkload()
        )
        self._feeder = ListenerFeeder(self.manager, profiles)
        self._allocator = ExecutorPodsAllocator(pods)
        self._news = True
        self._ticked_at_ms = -TICK_MS
        self._round_now = False
        self._planned_at_ms = -1
        self._planned_on: ExecutorPodsSnapshot | None = None
        self._now_ms = 0
        self._targets: dict[ProfileId, int] = {}
        self._wanted_since: dict[ProfileId, deque[int]] = {}

    # -- the host --------------------------------------------------------------------------------------------------------

    def begin(self, scene: Scene, now_ms: int) -> None:
        """The application starts: its initial executors are asked for."""
        self._scene = scene
        self._now_ms = now_ms
        self.manager.start(_ns(now_ms))

    def post(self, event: ListenerEvent, now_ms: int) -> None:
        """Manager and monitor hear it."""
        self._now_ms = now_ms
        self._feeder.post(event, _ns(now_ms))
        self._news = True

    def next_at_ms(self, now_ms: int) -> int | None:
        """The next tick that may change something, or the next round that does."""
        moments = []
        if self._news:
            moments.append(max(_on_beat(now_ms, TICK_MS), self._ticked_at_ms + TICK_MS))
        else:
            timers = (self.manager.add_time, self.monitor.next_timeout_ns)
            moments += [
                _on_beat(_ms_not_before(at_ns), TICK_MS)
                for at_ns in timers
                if at_ns is not None and _ns(self._ticked_at_ms) < at_ns < LONG_MAX
            ]
        if self._round_now:
            moments.append(now_ms)
        elif self._round_matters(now_ms):
            moments.append(_on_beat(max(now_ms, self._planned_at_ms + 1), self._pause_ms))
        return max(now_ms, min(moments)) if moments else None

    def decide(self, now_ms: int) -> None:
        """A tick of the manager, when it is due, and a round of the allocator."""
        self._now_ms = now_ms
        if now_ms % TICK_MS == 0 and now_ms > self._ticked_at_ms:
            self._ticked_at_ms = now_ms
            self._news = False
            result = self.manager.tick(_ns(now_ms))
            # what was done may make the next tick decide otherwise
            self._news = bool(result.removals.get(RemovalOutcome.REMOVED)) or any(
                each.delta for each in result.decisions.values()
            )
        on_beat = now_ms % self._pause_ms == 0 and now_ms > self._planned_at_ms
        if self._round_now or on_beat:
            self._plan(now_ms)

    # -- the manager's client ----------------------------------------------------------------------------------------------

    def request_total_executors(self, totals: Mapping[ProfileId, int]) -> bool:
        """Take over the targets; a round follows at once when nothing is outstanding."""
        for profile_id, target in totals.items():
            since = self._wanted_since.setdefault(profile_id, deque())
            rise = target - self._targets.get(profile_id, 0)
            since.extend([self._now_ms] * rise)
            for _ in range(min(len(since), -rise)):
                since.pop()
            self._targets[profile_id] = target
        if self._allocator.expect(totals):
            self._round_now = True
        return True

    def kill_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        """Let idle executors go; the scheduler's backend keeps those that took up a task."""
        return self._let_go(executor_ids, only_idle=True)

    def decommission_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        """Let executors go when their tasks have ended."""
        return self._let_go(executor_ids, only_idle=False)

    def is_executor_active(self, executor_id: str) -> bool:
        """Registered, and not on its way out."""
        return (
            self._scene is not None
            and executor_id.isdecimal()
            and self._scene.driver.is_active(ExecutorId(int(executor_id)))
        )

    # -- inside ------------------------------------------------------------------------------------------------------------

    @property
    def _there(self) -> Scene:
        assert self._scene is not None, "the application has not begun"
        return self._scene

    def _let_go(self, executor_ids: Sequence[str], *, only_idle: bool) -> list[str]:
        going = []
        for name in executor_ids:
            executor_id = ExecutorId(int(name))
            stays = self._there.driver.is_idle if only_idle else self._there.driver.is_active
            if stays(executor_id):
                self._there.cluster.leave(executor_id)
                going.append(name)
        return going

    def _plan(self, now_ms: int) -> None:
        self._round_now = False
        self._planned_at_ms = now_ms
        snapshot = self._there.cluster.snapshot(now_ms)
        changed = snapshot is not self._planned_on
        self._planned_on = snapshot
        now = epoch_ms(now_ms)
        plan = self._allocator.plan(
            snapshot if changed else None,
            registered=self._there.driver.registered(),
            now=now,
            vanished=self._there.cluster.take_vanished(),
        )
        for pod in snapshot.by_state.ended:
            self._there.cluster.delete_ended(pod.executor_id)
        for executor_id, profile_id in _carried_out(plan, self._there.cluster, self._wanted_since):
            self._allocator.creation_started(executor_id, profile_id, now)
            self._allocator.pod_created(executor_id, now)

    def _round_matters(self, now_ms: int) -> bool:
        """Some profile lacks executors, or has pods that it could withdraw, or a pod has ended."""
        if self._allocator.unseen:
            return True
        snapshot = self._there.cluster.snapshot(now_ms)
        if snapshot.by_state.ended:
            return True
        pods = snapshot.staying(frozenset())
        return any(
            (waiting := pods.waiting.get(profile_id, 0))
            + (running := pods.running.get(profile_id, 0))
            < target
            or (waiting > 0 and waiting + running > target)
            for profile_id, target in self._allocator.expected.items()
        )


class OperatorHost:
    """The operator, beside a driver that leaves allocation to it.

    Args:
        settings: of the SparkAllocation with its policies.
        profiles: learns of the application's profiles.
    """

    def __init__(self, settings: AllocationSettings, profiles: ResourceProfileManager) -> None:
        self._settings = settings
        self._profiles = profiles
        self._scene: Scene | None = None
        self._allocation: Allocation | None = None
        self._news = True
        self._decided_at_ms = -POLL_MS
        self._wake_at_ms: int | None = None

    @property
    def allocation(self) -> Allocation | None:
        """What decides; None before the application has begun."""
        return self._allocation

    def begin(self, scene: Scene, now_ms: int) -> None:
        """The driver is there and can be asked."""
        self._scene = scene
        self._allocation = Allocation(self._settings, self._profiles, now_ns=_ns(now_ms))

    def post(self, event: ListenerEvent, now_ms: int) -> None:  # noqa: ARG002
        """The next poll shows something else."""
        self._news = True

    def next_at_ms(self, now_ms: int) -> int | None:
        """The next poll that shows something else, or when a timer runs out."""
        moments = [self._wake_at_ms] if self._wake_at_ms is not None else []
        if self._news:
            moments.append(_on_beat(max(now_ms, self._decided_at_ms + 1), POLL_MS))
        return max(now_ms, min(moments)) if moments else None

    def decide(self, now_ms: int) -> None:
        """Poll, step, and carry out."""
        scene, allocation = self._scene, self._allocation
        assert scene is not None
        assert allocation is not None
        self._news = False
        self._decided_at_ms = now_ms
        now = epoch_ms(now_ms)
        allocation.take_report(scene.driver.report(), now_ns=_ns(now_ms), now_ms=now)
        step = allocation.step(
            scene.cluster.snapshot(now_ms),
            vanished=scene.cluster.take_vanished(),
            now_ns=_ns(now_ms),
            now_ms=now,
            report_is_fresh=True,
        )
        if step.plan is not None:
            for executor_id, profile_id in _carried_out(step.plan, scene.cluster):
                allocation.creation_started(executor_id, profile_id, now)
                allocation.pods.pod_created(executor_id, now, uid=f"uid-{executor_id}")
                self._news = True
        for pod in (*step.drains, *step.evacuations, *step.surplus, *step.above_maximum):
            scene.cluster.leave(pod.executor_id)
            self._news = True
        for deletion in step.delete:
            scene.cluster.delete_ended(deletion.pod.executor_id)
            self._news = True
        at_ns = step.wake_at_ns
        self._wake_at_ms = None if at_ns is None else max(now_ms + 1, _ms_not_before(at_ns))


def _carried_out(
    plan: PodsPlan, cluster: Cluster, wanted_since: Mapping[ProfileId, deque[int]] | None = None
) -> list[tuple[ExecutorId, ProfileId]]:
    """Withdraw and ask for what a plan says; returns who was asked for."""
    for excess in plan.withdraw:
        for executor_id in excess.executor_ids:
            cluster.withdraw(executor_id)
    asked = []
    for request in plan.create:
        since = (wanted_since or {}).get(request.profile_id)
        for _ in range(request.count):
            executor_id = cluster.create(request.profile_id, since.popleft() if since else None)
            asked.append((executor_id, request.profile_id))
    return asked
