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
- Only an executor whose pod runs and is ours can be drained, only so many at once, and never the last one that could take
  over what the others hand on (`drains`). A pod that is being deleted counts neither as running nor as excess.
- ``maxExecutors`` may be lowered while executors run, and tasks may keep all of them busy: those that are too many are
  drained, idle ones first, and none with whom something would be lost (`departures`).
- Executors on a node that is about to go are replaced first and drained then, and those that the driver has lost are
  replaced at once, within the maximum: while their pods run on they are not gone (`replacements`).
- Streams ask for executors by how long their batches take, what waits and at which rate it comes, not by waiting tasks
  (`streaming`). Executors beyond that are drained between two batches. Without settings for streams nothing of that happens.
- Budgets over several applications bound what is asked for, and may take executors back (`budget_cap`). Without one
  nothing of that happens.
- Targets survive a restart of the operator: they are taken from where they were last published, moved into the bounds
  that hold now, and the initial number is not asked for a second time.
- While nothing may be done (`Allocation.step` with ``acts=False``), targets are computed and shown, and no pod is
  marked for anything.

Source: ``ExecutorAllocationManager.schedule``, ``KubernetesClusterSchedulerBackend.doRequestTotalExecutors``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from spark_allocation.core.allocation_decisions import ProfileDecision, TickResult
from spark_allocation.core.allocation_manager import ExecutorAllocationManager
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.budget_cap import BudgetCap, Grants, ProfileDemand
from spark_allocation.core.departures import Departures
from spark_allocation.core.drains import Drains
from spark_allocation.core.driver_feeder import DriverFeeder
from spark_allocation.core.driver_report import DriverReport
from spark_allocation.core.executor_failures import ExecutorFailures
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.exit_reasons import FailureClass
from spark_allocation.core.idle_sight import IdleSight
from spark_allocation.core.jvm_numbers import LONG_MAX
from spark_allocation.core.lifecycle_manager import (
    DriverExecutor,
    DriverExecutors,
    ExecutorPodsLifecycleManager,
)
from spark_allocation.core.node_evacuation import Evacuation
from spark_allocation.core.pod_rounds import PodRounds
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_plan import PodsPlan
from spark_allocation.core.profile_states import profile_states
from spark_allocation.core.replacements import Replacements
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.shuffle_holders import ShuffleHolders
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.observations import QueryName, Slots, StreamingObservation
from spark_allocation.core.streaming.streams import Streams

_NANOSECONDS_PER_MILLISECOND = 1_000_000
_NANOSECONDS_PER_SECOND = 1_000_000_000


@dataclass(slots=True)
class _Asked:
    """What the manager asked of its client during one tick."""

    drains: list[ExecutorPod] = field(default_factory=list)
    plan_now: bool = False
    would_leave: Counter[ProfileId] = field(default_factory=Counter)


class Allocation:
    """Decides for one life of a driver.

    Args:
        settings: may be replaced by `reconfigure`.
        profiles: the profiles that the driver has named; the caller adds new ones.
        targets: where an earlier run of the operator left the targets of this life; empty in a new life.
        learned_streams: what `learned_streams` gave in an earlier life or run.
        now_ns: of a monotonic clock.
    """

    def __init__(
        self,
        settings: AllocationSettings,
        profiles: ResourceProfileManager,
        *,
        now_ns: int,
        targets: Mapping[ProfileId, int] | None = None,
        learned_streams: Mapping[QueryName, LearnedCost] | None = None,
    ) -> None:
        self._settings = settings
        self._asked = _Asked()
        self._streams = Streams(settings.streaming, learned_streams, resumed=bool(targets))
        self._jobs_run = False
        self._snapshot = ExecutorPodsSnapshot.replaced((), at=0)
        self._not_counted: frozenset[ExecutorId] = frozenset()
        self._last_decisions: Mapping[ProfileId, ProfileDecision] = {}
        self._driver_executors: DriverExecutors | None = None
        self._dead: dict[ExecutorId, DriverExecutor] = {}
        self._acts = True
        self.avoid_nodes: frozenset[str] = frozenset()
        """Nodes that the next pods should not go to."""
        self._profiles = profiles
        self.lifecycle = ExecutorPodsLifecycleManager(settings.lifecycle)
        self.failures = ExecutorFailures(settings.failures)
        self.pods = ExecutorPodsAllocator(settings.pods)
        self.monitor = ExecutorMonitor(settings.dynamic, self.is_executor_active)
        self._holders = ShuffleHolders(
            settings.shuffle,
            lambda profile_id: self._settings.dynamic.timeouts(profile_id).shuffle_ns,
        )
        self._sight = IdleSight(settings.idle_sight)
        self.feeder = DriverFeeder(self.monitor, self._holders, self._sight)
        self._drains = Drains(settings.drains, self._holders, lambda: self.feeder.executors)
        self._departures = Departures(
            settings.dynamic,
            self._drains,
            self._holders,
            self._sight,
            feeder=self.feeder,
            monitor=self.monitor,
        )
        self._cap = BudgetCap()
        self._rounds = PodRounds(settings.pods.batch_delay_ms, self.pods, self.failures, self._cap)
        self._replacements = Replacements(
            settings.dynamic, self._cap, self._departures.loses_something
        )
        self.manager = ExecutorAllocationManager(
            settings.dynamic, self, self.monitor, profiles, self.feeder
        )
        self.manager.removal_order = self._drains.in_order
        if targets:
            self.manager.restore_targets(
                {
                    profile_id: self._within_bounds(profile_id, n)
                    for profile_id, n in targets.items()
                }
            )
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
        self._holders.reconfigure(settings.shuffle)
        self._sight.reconfigure(settings.idle_sight)
        self._drains.reconfigure(settings.drains)
        self._departures.reconfigure(settings.dynamic)
        self._replacements.reconfigure(settings.dynamic)
        self._rounds.reconfigure(settings.pods.batch_delay_ms)
        self.failures.reconfigure(settings.failures)
        self._streams.reconfigure(settings.streaming)

    def grant(self, grants: Grants | None) -> None:
        """What budgets grant from the next step on; None when none covers the application, as in Spark."""
        if grants is None and self._cap.applies:
            self.pods.expect(self.manager.targets)
        self._cap.grants = grants

    @property
    def learned_streams(self) -> Mapping[QueryName, LearnedCost]:
        """What batches of each query cost: to be kept over restarts."""
        return self._streams.learned

    def take_streaming(self, observation: StreamingObservation) -> None:
        """Take what was seen of streams: after the driver's answer that it came with; times are seconds of the monotonic clock."""
        self._streams.take(observation, self._slots(observation.profile_id))

    def take_report(self, report: DriverReport, *, now_ns: int, now_ms: int) -> None:
        """Take one answer of the driver.

        Args:
            report: the answer.
            now_ns: monotonic nanoseconds at which the answer had arrived.
            now_ms: the same moment in epoch milliseconds.
        """
        if self._settings.dynamic.executor_allocation_ratio != 1.0:
            # the gauge knows nothing of our ratio, and the need of a profile cannot be told from a sum
            report = replace(report, max_needed_executors=None)
        self.manager.max_needed_override = None
        self.feeder.take(
            report, self.manager, leaving=self._drains.leaving, now_ns=now_ns, now_ms=now_ms
        )
        self.manager.max_needed_override = self.feeder.needs_by_gauge(self.manager)
        self._jobs_run = bool(report.running_jobs)
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
        self.failures.take_report(report, now_ns)

    def step(
        self,
        snapshot: ExecutorPodsSnapshot,
        *,
        vanished: Sequence[ExecutorPod] = (),
        going_nodes: AbstractSet[str] = frozenset(),
        now_ns: int,
        now_ms: int,
        report_is_fresh: bool,
        acts: bool = True,
    ) -> Step:
        """Decide.

        Args:
            snapshot: the pods of this life.
            vanished: pods of this life that went away since the last step.
            going_nodes: nodes that are about to go.
            now_ns: monotonic nanoseconds.
            now_ms: epoch milliseconds.
            report_is_fresh: the last answer of the driver is recent enough to decide on.
            acts: the caller is going to carry the step out. Otherwise there is no plan, no drain and no deletion in it.
        """
        self._snapshot = snapshot
        self._acts = acts
        news = self._drains.take(snapshot, going_nodes=going_nodes, now_ns=now_ns)
        if news:
            self.monitor.executors_decommissioned(map(str, news))
        executors = self._driver_executors
        self._departures.look(
            snapshot,
            going_nodes=going_nodes,
            report_age_ms=None if executors is None else now_ms - executors.observed_at,
            now_ns=now_ns,
        )
        self._asked = _Asked()
        review = self.lifecycle.review(
            snapshot,
            # while nothing may be done the driver's executors are its own, and the snapshot does not show them
            self._driver_executors if report_is_fresh and acts else None,
            now=now_ms,
            vanished=vanished,
            draining=self._drains.own | self.pods.asked_to_go,
        )
        self.avoid_nodes = review.avoid_nodes
        self.failures.take_ends(snapshot, review.removals, now_ms)
        self._drains.forget_gone()
        if report_is_fresh:
            self._ask_streams(now_ns, now_ms)
        tick = self.manager.tick(now_ns) if report_is_fresh else TickResult({})
        if tick.decisions:
            self._last_decisions = tick.decisions
        evacuation = self._replacements.evacuate(
            snapshot,
            going_nodes=going_nodes,
            leaving=self._drains.leaving,
            registered=self.feeder.executors.keys(),
            targets=self.manager.targets,
            now_ms=now_ms,
        )
        evacuations = self._evacuate(evacuation) if acts and report_is_fresh else ()
        leaving = frozenset(self._drains.leaving)
        lost = self._replacements.replaced_at_once(
            review.driver_lost - leaving - evacuation.replaced, evacuation, snapshot
        )
        self._not_counted = leaving | lost | evacuation.replaced
        if self._cap.applies:
            self._keep_within_budgets(leaving | lost, evacuation, going_nodes)
        plan = None
        self._rounds.remember(vanished, acts=acts)
        if acts and (self._asked.plan_now or self._rounds.is_due(now_ms)):
            plan = self._rounds.plan(
                snapshot,
                registered=self.feeder.executors.keys(),
                not_counted=self._not_counted,
                targets=self.manager.targets,
                now_ms=now_ms,
            )
        surplus: tuple[ExecutorPod, ...] = ()
        above_maximum: tuple[ExecutorPod, ...] = ()
        above_streams: tuple[ExecutorPod, ...] = ()
        between_batches: frozenset[ExecutorId] = frozenset()
        if acts and report_is_fresh:
            # whom the driver has lost goes by itself, whether there is room for another meanwhile or not
            going = review.driver_lost - self._not_counted
            surplus = self._departures.let_go(self._without(self._cap.too_many(), going))
            above_maximum = self._departures.let_go_above_maximum(self._not_counted | going)
            above_streams, between_batches = self._leave_streams()
        return Step(
            plan=plan,
            drains=tuple(self._asked.drains),
            evacuations=evacuations,
            surplus=surplus,
            above_maximum=above_maximum,
            streaming=self._streams.decisions,
            above_streams=above_streams,
            while_idle=frozenset(
                pod.executor_id
                for pod in (
                    *self._asked.drains,
                    *evacuations,
                    *surplus,
                    *above_maximum,
                    *above_streams,
                )
                if self._departures.is_idle(pod.executor_id)
            ),
            between_batches=between_batches,
            demands=self._demands(plan) if self._cap.applies else (),
            delete=review.delete if acts else (),
            removals=review.removals,
            held_back=self.failures.held_back,
            failures=self.failures.toward_limit(now_ms),
            avoid_nodes=self.avoid_nodes,
            retry_at_ms=self.failures.next_attempt_at,
            start_problem=self.failures.start_problem(snapshot, leaving=leaving, now_ns=now_ns),
            decisions=tick.decisions,
            profiles=profile_states(
                snapshot,
                leaving=leaving,
                pods=self.pods,
                monitor=self.monitor,
                feeder=self.feeder,
                decisions=self._last_decisions,
                bounds=self._rounds.bounds,
                targets=self.manager.targets,
                now_ns=now_ns,
                cap=self._cap,
            ),
            log=tick.log if acts else (),
            would_leave=self._asked.would_leave,
            busy_for_ms=self._holders.busy_for_ms(now_ms),
            wake_at_ns=self._wake_at(
                now_ns, now_ms, review.wake_at if acts else None, ticked=report_is_fresh
            ),
        )

    def creation_started(self, executor_id: ExecutorId, profile_id: ProfileId, now_ms: int) -> None:
        """A pod is about to be asked for."""
        self.pods.creation_started(executor_id, profile_id, now_ms)
        self.failures.creation_attempted(executor_id, now_ms)

    def creation_refused(self, executor_id: ExecutorId, failure: FailureClass, now_ms: int) -> None:
        """The API server made no such pod, and will not soon."""
        if executor_id not in self.pods.unseen:
            # it could not even be built: that too is the one attempt that the back-off allows
            self.failures.creation_attempted(executor_id, now_ms)
        self.pods.pod_creation_failed(executor_id)
        self.failures.creation_failed(failure, executor_id, now_ms)

    def creation_unclear(self, executor_id: ExecutorId, failure: FailureClass, now_ms: int) -> None:
        """The API server failed over it: the pod counts until somebody has looked, and the failure is remembered."""
        self.failures.creation_failed(failure, executor_id, now_ms)

    def drain_not_begun(self, executor_id: ExecutorId) -> None:
        """Nobody was asked to let the executor go: it stays, and times out again by the same rules."""
        self._drains.not_begun(executor_id)
        self.monitor.executors_kept([str(executor_id)])

    def drain_refused(self, executor_id: ExecutorId) -> None:
        """The API server does not let the executor go: nobody is asked again for a while."""
        self._drains.refused(executor_id)
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
        return number in self.feeder.executors and number not in self._drains.leaving

    # -- inside ------------------------------------------------------------------------------------------------------

    def _remove(self, executor_ids: Sequence[str]) -> list[str]:
        if not self._acts:
            self._asked.would_leave.update(
                self.feeder.executors[ExecutorId(int(each))].profile_id for each in executor_ids
            )
            return []
        begun = self._departures.begin_idle(executor_ids)
        self._asked.drains += begun
        return [str(pod.executor_id) for pod in begun]

    def _evacuate(self, evacuation: Evacuation) -> tuple[ExecutorPod, ...]:
        begun = self._drains.begin(evacuation.may_leave)
        if begun:
            self.monitor.executors_decommissioned(str(pod.executor_id) for pod in begun)
        return tuple(begun)

    # -- budgets -----------------------------------------------------------------------------------------------------

    def _without(
        self, too_many: Mapping[ProfileId, int], going: AbstractSet[ExecutorId]
    ) -> dict[ProfileId, int]:
        """So many fewer are too many when these have gone."""
        gone = Counter(self._snapshot.pods[each].profile_id for each in going)
        return {
            profile_id: count - gone[profile_id]
            for profile_id, count in too_many.items()
            if count > gone[profile_id]
        }

    def _keep_within_budgets(
        self,
        leaving: AbstractSet[ExecutorId],
        evacuation: Evacuation,
        going_nodes: AbstractSet[str],
    ) -> None:
        self._cap.look(
            self._snapshot,
            self.pods,
            leaving=leaving,
            replaced=evacuation.replaced,
            going_nodes=going_nodes,
        )
        capped = self._cap.capped(self.manager.targets)
        nothing_outstanding = self.pods.expect(capped)
        if self._cap.changed(capped) and nothing_outstanding:
            self._asked.plan_now = True

    # -- streams -----------------------------------------------------------------------------------------------------

    def _slots(self, profile_id: ProfileId) -> Slots:
        capacity = self._profiles.capacity(profile_id)
        return Slots(
            executors=len(self._departures.staying(profile_id)),
            tasks_per_executor=1 if capacity is None else max(1, capacity.tasks),
            running_tasks=self.feeder.of_profile(profile_id).running,
            executors_asked=self.manager.targets.get(profile_id, 0),
        )

    def _ask_streams(self, now_ns: int, now_ms: int) -> None:
        self._streams.decide(
            now=now_ns / _NANOSECONDS_PER_SECOND,
            wall_clock_s=now_ms / 1000,
            slots=self._slots,
            bounds=self._settings.dynamic.bounds,
            finishes_tasks=self._settings.dynamic.decommission_enabled,
        )
        self.manager.stream_targets = self._streams.targets

    def _leave_streams(self) -> tuple[tuple[ExecutorPod, ...], frozenset[ExecutorId]]:
        targets = self.manager.targets
        begun, between_batches = self._departures.let_go_above_streams(
            self._streams,
            {profile_id: targets.get(profile_id, 0) for profile_id in self.manager.stream_targets},
            self._not_counted,
            jobs_run=self._jobs_run,
        )
        return tuple(begun), between_batches

    def _demands(self, plan: PodsPlan | None) -> tuple[ProfileDemand, ...]:
        dynamic = self._settings.dynamic
        return self._cap.demands(
            self.manager.targets,
            plan,
            minimum=lambda profile_id: dynamic.bounds(profile_id).min_executors,
            maximum=lambda profile_id: dynamic.bounds(profile_id).max_executors,
        )

    def _within_bounds(self, profile_id: ProfileId, target: int) -> int:
        bounds = self._settings.dynamic.bounds(profile_id)
        return max(bounds.min_executors, min(target, bounds.max_executors))

    def _wake_at(
        self, now_ns: int, now_ms: int, review_at_ms: int | None, *, ticked: bool
    ) -> int | None:
        """When a timer runs out next, always later than now; None when only news can change anything."""
        moments = [self.manager.add_time]
        timeout_at = self.monitor.next_timeout_ns
        # below now: the monitor has not looked since something changed, and only a tick makes it look
        moments.append(timeout_at if timeout_at > now_ns or not ticked else now_ns + 1)
        if self._drains.paused_until_ns > now_ns:
            moments.append(self._drains.paused_until_ns)
        round_at_ms = None
        if self._acts:
            round_at_ms = self._rounds.next_at_ms(self._snapshot, self._not_counted)
        moments += [
            now_ns + max(1, at_ms - now_ms) * _NANOSECONDS_PER_MILLISECOND
            for at_ms in (review_at_ms, self.failures.retry_at(now_ms), round_at_ms)
            if at_ms is not None
        ]
        later = [at for at in moments if at is not None and now_ns < at < LONG_MAX]
        return min(later, default=None)
