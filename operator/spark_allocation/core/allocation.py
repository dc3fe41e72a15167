"""One life of one driver: everything that decides, put together.

Theory of operation
-------------------
    poll of the driver ─► feeder ─► executor monitor ─► allocation manager ─► targets ─► pods allocator ─► plan
    snapshot of pods ───────────────────────────────────────────────────────────────────────┘

`Allocation` is both ends of the manager: its workload comes from the feeder, and the `ExecutorAllocationClient` that
the manager asks is this object, which writes down what it would do instead of doing it. `step` returns all of that as
one value; the caller carries it out and reports back to `pods`.

What the operator adds to Spark's rules, each time for the sake of running work:

- With an answer of the driver that is too old nothing is decided: targets stay, nobody is drained. Pods that were lost
  are still replaced.
- Only an executor whose pod runs and is ours can be drained, and only so many at once.
- A pod that is being deleted is leaving, whoever deletes it: it counts neither as running nor as excess, since a
  deletion cannot be undone.
- Targets survive a restart of the operator: they are taken from where they were last published, and the initial number
  is not asked for a second time.

Source: ``ExecutorAllocationManager.schedule``, ``KubernetesClusterSchedulerBackend.doRequestTotalExecutors``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from spark_allocation.core.allocation_decisions import ProfileDecision, SparkLogLine, TickResult
from spark_allocation.core.allocation_manager import ExecutorAllocationManager
from spark_allocation.core.driver_feeder import DriverFeeder
from spark_allocation.core.driver_report import DriverReport
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_exits import FailureClass, failure_class, start_problem
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.executor_tracker import HeldBy
from spark_allocation.core.failure_tracker import FailureBackoff
from spark_allocation.core.jvm_numbers import LONG_MAX
from spark_allocation.core.lifecycle_manager import (
    DriverExecutor,
    DriverExecutors,
    ExecutorPodsLifecycleManager,
    ExecutorRemoval,
    LifecycleConf,
    PodDeletion,
)
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.pods_plan import PodRequests, PodsPlan, RequestBound
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

_NANOSECONDS_PER_MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class AllocationSettings:
    """What decides how many executors there are and how they come and go.

    Attributes:
        local_shuffle: shuffle data lies on executors, and goes with them.
        max_concurrent_drains: executors that may be leaving at once, at least one; None for no limit.
    """

    dynamic: DynamicAllocationConf
    pods: PodsAllocatorConf
    lifecycle: LifecycleConf = field(default_factory=LifecycleConf)
    local_shuffle: bool = True
    max_concurrent_drains: int | None = None


@dataclass(frozen=True, slots=True)
class ProfileState:
    """One resource profile as status, metrics and logs show it; counts of executors."""

    profile_id: ProfileId
    desired: int
    target: int
    running: int
    registered: int
    pending: int
    unacknowledged: int
    idle: int
    held_by_shuffle: int
    held_by_cache: int
    decommissioning: int
    pending_tasks: int
    running_tasks: int
    reason: str
    bound: RequestBound = RequestBound.NOTHING


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what to do, what was decided, and when to come again at the latest.

    Attributes:
        plan: pods to ask for and to withdraw; None when no round was due.
        drains: running executors to remove because they are idle.
        delete: pods that have ended or that the driver has lost.
        removals: executors that ended since the last step, each told once.
        held_back: classes of repeated failures that keep pods from being asked for.
        decisions: per profile; empty when the driver's answer was too old to decide.
        log: sentences in Spark's words.
        wake_at_ns: when a timer runs out; None when only news can change anything.
    """

    plan: PodsPlan | None
    drains: tuple[ExecutorPod, ...]
    delete: tuple[PodDeletion, ...]
    removals: tuple[ExecutorRemoval, ...]
    held_back: frozenset[FailureClass]
    decisions: Mapping[ProfileId, ProfileDecision]
    profiles: tuple[ProfileState, ...]
    log: tuple[SparkLogLine, ...] = ()
    wake_at_ns: int | None = None


@dataclass(slots=True)
class _Asked:
    """What the manager asked of its client during one tick."""

    drains: list[ExecutorPod] = field(default_factory=list)
    plan_now: bool = False


class Allocation:
    """Decides for one life of a driver.

    Args:
        settings: may be replaced by `reconfigure`.
        profiles: the profiles that the driver has named; the caller adds new ones.
        targets: where an earlier run of the operator left the targets of this life; empty in a new life.
        now_ns: of a monotonic clock.
    """

    def __init__(
        self,
        settings: AllocationSettings,
        profiles: ResourceProfileManager,
        *,
        now_ns: int,
        targets: Mapping[ProfileId, int] | None = None,
    ) -> None:
        self._settings = settings
        self._asked = _Asked()
        self._snapshot = ExecutorPodsSnapshot.replaced((), at=0)
        self._draining: set[ExecutorId] = set()
        self._last_decisions: Mapping[ProfileId, ProfileDecision] = {}
        self._last_bounds: dict[ProfileId, RequestBound] = {}
        self._planned_at_ms: int | None = None
        self._driver_executors: DriverExecutors | None = None
        self._dead: dict[ExecutorId, DriverExecutor] = {}
        self._start_problems: dict[ExecutorId, FailureClass] = {}
        self.failed_executors = 0
        self.lifecycle = ExecutorPodsLifecycleManager(settings.lifecycle)
        self.backoff = FailureBackoff()
        self.pods = ExecutorPodsAllocator(settings.pods)
        self.monitor = ExecutorMonitor(settings.dynamic, self.is_executor_active)
        self.feeder = DriverFeeder(self.monitor, local_shuffle=settings.local_shuffle)
        self.manager = ExecutorAllocationManager(
            settings.dynamic, self, self.monitor, profiles, self.feeder
        )
        if targets:
            self.manager.restore_targets(targets)
        self.manager.start(now_ns)

    @property
    def settings(self) -> AllocationSettings:
        """The settings in force."""
        return self._settings

    def reconfigure(self, settings: AllocationSettings, now_ns: int) -> None:
        """Use other settings from the next step on; targets move into new bounds by the normal rules."""
        self._settings = settings
        self.manager.reconfigure(settings.dynamic, now_ns)
        self.pods.reconfigure(settings.pods)
        self.lifecycle.reconfigure(settings.lifecycle)

    def take_report(self, report: DriverReport, *, now_ns: int, now_ms: int) -> None:
        """Take one answer of the driver (``now_ms`` is epoch milliseconds)."""
        self.feeder.take(report, self.manager, now_ns=now_ns, now_ms=now_ms)
        self.manager.max_needed_override = self._needs_by_gauge()
        if report.dead_executors is not None:
            self._dead = {
                executor.id: DriverExecutor(active=False, added_at=executor.added_at_ms)
                for executor in report.dead_executors
            }
        alive = {
            executor.id: DriverExecutor(active=True, added_at=executor.added_at_ms)
            for executor in report.executors
        }
        self._driver_executors = DriverExecutors({**self._dead, **alive}, observed_at=now_ms)
        for executor in report.executors:
            if executor.total_tasks > executor.active_tasks + executor.failed_tasks:
                self.backoff.succeeded(executor.id)

    def step(
        self,
        snapshot: ExecutorPodsSnapshot,
        *,
        vanished: Sequence[ExecutorPod] = (),
        now_ns: int,
        now_ms: int,
        report_is_fresh: bool,
    ) -> Step:
        """Decide.

        Args:
            snapshot: the pods of this life.
            vanished: pods of this life that went away since the last step.
            now_ns: monotonic nanoseconds.
            now_ms: epoch milliseconds.
            report_is_fresh: the last answer of the driver is recent enough to decide on.
        """
        self._snapshot = snapshot
        self._note_leaving(snapshot)
        self._asked = _Asked()
        review = self.lifecycle.review(
            snapshot,
            self._driver_executors if report_is_fresh else None,
            now=now_ms,
            draining=self._draining,
        )
        self._note_failures(snapshot, review.removals, now_ms)
        tick = self.manager.tick(now_ns) if report_is_fresh else TickResult({})
        if tick.decisions:
            self._last_decisions = tick.decisions
        plan = None
        if self._round_is_due(now_ms):
            self._planned_at_ms = now_ms
            plan = self.pods.plan(
                snapshot,
                registered=self.feeder.executors.keys(),
                now=now_ms,
                vanished=vanished,
                not_counted=self._draining | review.driver_lost,
            )
            plan = replace(plan, create=self._held_back(plan.create, now_ms))
            self._last_bounds = {
                profile_id: profile.bound for profile_id, profile in plan.profiles.items()
            }
        return Step(
            plan=plan,
            drains=tuple(self._asked.drains),
            delete=review.delete,
            removals=review.removals,
            held_back=self.backoff.opened(),
            decisions=tick.decisions,
            profiles=self._profile_states(),
            log=tick.log,
            wake_at_ns=self._wake_at(now_ns, now_ms, review.wake_at),
        )

    def creation_started(self, executor_id: ExecutorId, profile_id: ProfileId, now_ms: int) -> None:
        """A pod is about to be asked for."""
        self.pods.creation_started(executor_id, profile_id, now_ms)
        self.backoff.created([executor_id], now_ms)

    def creation_refused(self, executor_id: ExecutorId, failure: FailureClass, now_ms: int) -> None:
        """The API server made no such pod, and will not soon."""
        self.pods.pod_creation_failed(executor_id)
        self.backoff.failed(failure, executor_id, now_ms)

    def drain_refused(self, executor_id: ExecutorId) -> None:
        """The deletion was not carried out: the executor stays, and times out again by the same rules."""
        self._draining.discard(executor_id)
        self.monitor.executors_kept([str(executor_id)])

    # -- the manager's client (`ExecutorAllocationClient`) -------------------------------------------------------------

    def request_total_executors(self, totals: Mapping[ProfileId, int]) -> bool:
        """Take over the targets; a round follows at once when nothing is outstanding, as in Spark."""
        if self.pods.expect(totals):
            self._asked.plan_now = True
        return True

    def kill_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        """Remove idle executors of a driver that cannot decommission."""
        return self._remove(executor_ids)

    def decommission_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        """Drain executors."""
        return self._remove(executor_ids)

    def is_executor_active(self, executor_id: str) -> bool:
        """Registered, and not on its way out."""
        number = ExecutorId(int(executor_id)) if executor_id.isdecimal() else None
        return number in self.feeder.executors and number not in self._draining

    # -- inside ------------------------------------------------------------------------------------------------------

    def _remove(self, executor_ids: Sequence[str]) -> list[str]:
        limit = self._settings.max_concurrent_drains
        accepted: list[str] = []
        for executor_id in executor_ids:
            if limit is not None and len(self._draining) >= limit:
                break
            pod = self._snapshot.pods.get(ExecutorId(int(executor_id)))
            if pod is None or pod.state is not PodState.RUNNING or pod.deleting:
                continue
            self._draining.add(pod.executor_id)
            self._asked.drains.append(pod)
            accepted.append(executor_id)
        return accepted

    def _note_leaving(self, snapshot: ExecutorPodsSnapshot) -> None:
        leaving = {
            pod.executor_id
            for pod in snapshot.pods.values()
            if pod.deleting or pod.executor_id in self._draining
        }
        news = leaving - self._draining
        self._draining = leaving
        if news:
            self.monitor.executors_decommissioned(map(str, news))

    def _note_failures(
        self,
        snapshot: ExecutorPodsSnapshot,
        removals: tuple[ExecutorRemoval, ...],
        now_ms: int,
    ) -> None:
        for removal in removals:
            self.failed_executors += removal.failed
            kind = failure_class(removal.exit.reason) if removal.failed else None
            if kind is not None:
                self.backoff.failed(kind, removal.executor_id, now_ms)
        problems: dict[ExecutorId, FailureClass] = {}
        for pod in snapshot.pods.values():
            problem = start_problem(pod) if pod.state is PodState.PENDING else None
            kind = failure_class(problem.reason) if problem is not None else None
            if kind is FailureClass.CONFIGURATION:
                problems[pod.executor_id] = kind
                if pod.executor_id not in self._start_problems:
                    self.backoff.failed(kind, pod.executor_id, now_ms)
        self._start_problems = problems

    def _held_back(self, requests: tuple[PodRequests, ...], now_ms: int) -> tuple[PodRequests, ...]:
        """Fewer pods while creations or starts keep failing: none, or one to try."""
        left = self.backoff.allowed(sum(request.count for request in requests), now_ms)
        capped: list[PodRequests] = []
        for request in requests:
            count = min(request.count, left)
            left -= count
            capped.append(replace(request, count=count))
        return tuple(capped)

    def _needs_by_gauge(self) -> Mapping[ProfileId, int] | None:
        """The driver's own need, where it says more than our estimate: see `driver_feeder`."""
        gauge = self.feeder.gauge
        at_work = self.feeder.profiles_at_work
        if gauge is None or not at_work or self._settings.dynamic.executor_allocation_ratio != 1.0:
            return None
        if len(at_work) == 1:
            return dict.fromkeys(at_work, gauge)
        self.manager.max_needed_override = None
        estimates = {profile_id: self.manager.max_needed(profile_id) or 0 for profile_id in at_work}
        surplus = gauge - sum(estimates.values())
        if surplus <= 0:
            return None
        neediest = max(
            at_work, key=lambda profile_id: (self.feeder.of_profile(profile_id).pending, profile_id)
        )
        return {neediest: estimates[neediest] + surplus}

    def _round_is_due(self, now_ms: int) -> bool:
        if self._asked.plan_now or self._planned_at_ms is None:
            return True
        elapsed = now_ms - self._planned_at_ms
        return elapsed >= self._settings.pods.batch_delay_ms or elapsed < 0

    def _wake_at(self, now_ns: int, now_ms: int, review_at_ms: int | None) -> int | None:
        moments = [self.manager.add_time, self.monitor.next_timeout_ns]
        moments += [
            now_ns + max(1, at_ms - now_ms) * _NANOSECONDS_PER_MILLISECOND
            for at_ms in (review_at_ms, self.backoff.retry_at(now_ms))
            if at_ms is not None
        ]
        if self._short_of_target() and self._planned_at_ms is not None:
            pause_ms = self._planned_at_ms + self._settings.pods.batch_delay_ms - now_ms
            moments.append(now_ns + max(1, pause_ms) * _NANOSECONDS_PER_MILLISECOND)
        later = [at for at in moments if at is not None and now_ns < at < LONG_MAX]
        return min(later, default=None)

    def _short_of_target(self) -> bool:
        wanted = sum(self.pods.expected.values())
        there = sum(
            1
            for pod in self._snapshot.pods.values()
            if pod.state in (PodState.RUNNING, PodState.PENDING)
            and pod.executor_id not in self._draining
        )
        return there < wanted or bool(self.pods.unseen)

    def _profile_states(self) -> tuple[ProfileState, ...]:
        pods: Counter[tuple[ProfileId, str]] = Counter()
        for pod in self._snapshot.pods.values():
            if pod.executor_id in self._draining and pod.state in (
                PodState.RUNNING,
                PodState.PENDING,
            ):
                pods[pod.profile_id, "leaving"] += 1
            else:
                pods[pod.profile_id, pod.state] += 1
        for unseen in self.pods.unseen.values():
            if unseen.executor_id not in self._snapshot.pods:
                pods[unseen.profile_id, "unseen"] += 1
        for executor in self.feeder.executors.values():
            pods[executor.profile_id, "registered"] += 1
        for view in self.monitor.executors():
            if view.running_tasks == 0 and not view.decommissioning and not view.pending_removal:
                pods[view.profile_id, "idle"] += 1
                if view.held_by is not HeldBy.NONE:
                    pods[view.profile_id, f"held by {view.held_by}"] += 1
        profile_ids = self.manager.targets.keys() | {profile_id for profile_id, _ in pods}
        return tuple(
            self._profile_state(profile_id, pods)
            for profile_id in sorted(profile_ids)
            if profile_id >= 0
        )

    def _profile_state(
        self, profile_id: ProfileId, pods: Counter[tuple[ProfileId, str]]
    ) -> ProfileState:
        decision = self._last_decisions.get(profile_id)
        tasks = self.feeder.of_profile(profile_id)
        return ProfileState(
            profile_id=profile_id,
            desired=(decision.need or 0) if decision is not None else 0,
            target=self.pods.expected.get(profile_id, 0),
            running=pods[profile_id, PodState.RUNNING],
            registered=pods[profile_id, "registered"],
            pending=pods[profile_id, PodState.PENDING],
            unacknowledged=pods[profile_id, "unseen"],
            idle=pods[profile_id, "idle"],
            held_by_shuffle=pods[profile_id, f"held by {HeldBy.SHUFFLE}"],
            held_by_cache=pods[profile_id, f"held by {HeldBy.CACHE}"],
            decommissioning=pods[profile_id, "leaving"],
            pending_tasks=tasks.pending,
            running_tasks=tasks.running,
            reason=decision.reason.value if decision is not None else "",
            bound=self._last_bounds.get(profile_id, RequestBound.NOTHING),
        )
