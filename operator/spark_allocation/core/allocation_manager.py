"""How many executors each resource profile should have, and which idle ones may go.

Theory of operation
-------------------
The manager keeps a *target* per resource profile: the wanted total, whatever runs at the moment. Every tick compares it
with the *need*, the executors that all running and waiting tasks could use:

- while *initializing*, the initial targets stay, until a stage is submitted or an executor times out;
- need < target: the target falls to the need at once, not below the minimum. Nothing is removed by that;
- otherwise, once tasks have waited for the backlog timeout, the target grows by 1, 2, 4, 8, … executors, one round per
  sustained backlog timeout, never beyond the need or the maximum, and starting from what already runs. The step
  falls back to 1 whenever a round was cut short.

All changes of a tick go out as one request; when it is refused, the targets fall back. Then executors that timed out are
removed as long as their profile keeps its minimum and its target.

Things of Spark's that look odd and are kept:

- There is one backlog timer for all profiles. Once it has fired and the need is met, nothing re-arms it until no task
  waits: work that arrives in between is granted on the next tick.
- The timer's moment is a wrapping 64-bit sum: an absurdly long backlog timeout fires at once.
- A refused request restores the targets but not the steps.

Departures from Spark, each listed in docs/differences-from-spark.md: profiles may have their own bounds, the target may
rise to the need at once instead of by 1, 2, 4, 8, … (`DynamicAllocationConf.immediate_ramp_up`), settings may change while running (`ExecutorAllocationManager.reconfigure`), a profile that the driver has not described keeps its
target instead of failing the tick, a timed-out executor of a profile without a target is judged by the minimum, and a
profile may have a target from elsewhere, in place of the one by need and ramp (`ExecutorAllocationManager.stream_targets`).

Source: ``org.apache.spark.ExecutorAllocationManager``.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from spark_allocation.core.allocation_client import (
    ClusterManagerUnreachable,
    ExecutorAllocationClient,
)
from spark_allocation.core.allocation_decisions import (
    LogLevel,
    ProfileDecision,
    RemovalOutcome,
    SparkLogLine,
    StreamTarget,
    TargetReason,
    TickResult,
)
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf, ExecutorBounds
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.jvm_numbers import LONG_MAX, double_to_int, wrap_int, wrap_long
from spark_allocation.core.resource_profiles import (
    DEFAULT_PROFILE_ID,
    UNKNOWN_PROFILE_ID,
    ProfileId,
    ResourceProfileManager,
)
from spark_allocation.core.workload import WorkloadView

_NOT_SET = LONG_MAX


RemovalOrder = Callable[[Sequence[tuple[str, ProfileId]], bool], Sequence[tuple[str, ProfileId]]]


class ExecutorAllocationManager:
    """Decides targets and removals for one application. Times are nanoseconds of any monotonic clock.

    Attributes:
        workload: where the need comes from; may be replaced at any time.
        max_needed_override: needs that replace the computed ones, such as the driver's own gauge when there is a single
            profile. None, or a missing profile, means: compute.
        stream_targets: targets that streams ask for, by profile; at once, within the bounds. Profiles that are missing are
            judged by their tasks.
        removal_order: puts executors that have timed out, of which some may go or (second argument) all, in the order
            in which they are to go. None means Spark's: by id as text.
    """

    def __init__(
        self,
        conf: DynamicAllocationConf,
        client: ExecutorAllocationClient,
        monitor: ExecutorMonitor,
        profiles: ResourceProfileManager,
        workload: WorkloadView,
    ) -> None:
        self.workload = workload
        self.max_needed_override: Mapping[ProfileId, int] | None = None
        self.stream_targets: Mapping[ProfileId, StreamTarget] = {}
        self.removal_order: RemovalOrder | None = None
        self._conf = conf
        self._client = client
        self._monitor = monitor
        self._profiles = profiles
        self._bounds: dict[ProfileId, ExecutorBounds] = {}
        self._targets = {DEFAULT_PROFILE_ID: self._bounds_of(DEFAULT_PROFILE_ID).initial_executors}
        self._to_add = {DEFAULT_PROFILE_ID: 1}
        self._add_time = _NOT_SET
        self._sustained = False
        self._initializing = True
        self._bounds_changed = False

    # -- state -------------------------------------------------------------------------------------------------------

    @property
    def conf(self) -> DynamicAllocationConf:
        """The settings in force."""
        return self._conf

    @property
    def monitor(self) -> ExecutorMonitor:
        """The executors."""
        return self._monitor

    @property
    def targets(self) -> Mapping[ProfileId, int]:
        """The wanted total per profile (``numExecutorsTargetPerResourceProfileId``)."""
        return dict(self._targets)

    @property
    def to_add(self) -> Mapping[ProfileId, int]:
        """How many the next round adds (``numExecutorsToAddPerResourceProfileId``)."""
        return dict(self._to_add)

    @property
    def add_time(self) -> int | None:
        """When executors are next added, or None while no task waits."""
        return None if self._add_time == _NOT_SET else self._add_time

    @property
    def initializing(self) -> bool:
        """Whether the initial targets are still kept."""
        return self._initializing

    def max_needed(self, profile_id: ProfileId) -> int | None:
        """Executors that all tasks of a profile could use (``maxNumExecutorsNeededPerResourceProfile``).

        Returns:
            The need before bounds; None when the driver has not described the profile.
        """
        if self.max_needed_override is not None and profile_id in self.max_needed_override:
            return self.max_needed_override[profile_id]
        capacity = self._profiles.capacity(profile_id)
        if capacity is None:
            return None
        tasks = self.workload.of_profile(profile_id)
        ratio = self._conf.executor_allocation_ratio
        running_or_pending = wrap_int(tasks.pending + tasks.pending_speculative + tasks.running)
        need = _executors_for(running_or_pending, ratio, capacity.tasks)
        if capacity.tasks > 1 and need == 1 and tasks.pending_speculative > 0:
            need = 2  # a speculative copy wants another host than its original
        if tasks.unschedulable > 0:
            for_unschedulable = _executors_for(tasks.unschedulable, ratio, capacity.tasks)
            live = self._monitor.executor_count(profile_id)
            need = max(need, wrap_int(live + for_unschedulable))
        return need

    # -- what happens ------------------------------------------------------------------------------------------------

    def start(self, now_ns: int) -> None:  # noqa: ARG002  (every hook takes the time)
        """Publish the initial targets.

        Raises:
            ClusterManagerUnreachable: from the client.
        """
        self._publish()

    def restore_targets(self, targets: Mapping[ProfileId, int]) -> None:
        """Go on with targets that an earlier run has published for the same application (ours).

        The initial executors were asked for then, so initializing is over; the next tick judges by the need. Bounds may
        have changed since, so it also moves the targets into them.
        """
        self._initializing = False
        self._bounds_changed = True
        for profile_id, target in targets.items():
            self._targets[profile_id] = target
            self._to_add.setdefault(profile_id, 1)

    def on_stage_submitted(self, profile_id: ProfileId, now_ns: int) -> None:  # noqa: ARG002
        """A stage of a profile was submitted: initializing ends, and a new profile gets its initial target at once.

        Spark's listener also calls `on_scheduler_backlogged` here; so must a caller of this method.

        Raises:
            ClusterManagerUnreachable: from the client.
        """
        self._initializing = False
        self._to_add.setdefault(profile_id, 1)
        if profile_id not in self._targets:
            initial = self._bounds_of(profile_id).initial_executors
            self._targets[profile_id] = initial
            if initial > 0:
                self._publish()

    def on_scheduler_backlogged(self, now_ns: int, since_ns: int | None = None) -> None:
        """Tasks wait for a place: the backlog timer starts unless it runs.

        Args:
            now_ns: now.
            since_ns: when they began to wait, if that was earlier.
        """
        if self._add_time == _NOT_SET:
            begin = now_ns if since_ns is None else min(since_ns, now_ns)
            self._add_time = wrap_long(begin + self._conf.scheduler_backlog_timeout_ns)
            self._sustained = False

    def on_scheduler_queue_empty(self) -> None:
        """No task waits: the backlog timer stops and every profile begins with one executor again."""
        self._add_time = _NOT_SET
        for profile_id in self._to_add:
            self._to_add[profile_id] = 1

    def reset(self) -> None:
        """Back to the initial targets, without executors; the backlog timer counts as expired (as in Spark)."""
        self._add_time = 0
        self._sustained = False
        for profile_id in self._targets:
            self._targets[profile_id] = self._bounds_of(profile_id).initial_executors
        for profile_id in self._to_add:
            self._to_add[profile_id] = 1
        self._monitor.reset()

    def reconfigure(self, conf: DynamicAllocationConf, now_ns: int) -> None:  # noqa: ARG002
        """Change settings while running (ours; Spark's are fixed).

        The next tick moves targets into the new bounds, also while initializing; then the normal rules apply. Timeouts
        of idle executors count from their idle start. A running backlog timer keeps its moment. A new initial number
        serves profiles that appear later.
        """
        self._conf = conf
        self._bounds.clear()
        self._bounds_changed = True
        self._monitor.reconfigure(conf)

    def tick(self, now_ns: int) -> TickResult:
        """Decide (``schedule``; Spark does so every 100 ms).

        Raises:
            ClusterManagerUnreachable: when removals or what follows them did not reach the cluster manager; targets
                are decided by then, and the executors stay candidates.
        """
        timed_out = self._monitor.timed_out_executors(now_ns)
        if timed_out:
            self._initializing = False
        decisions, log = self._update_targets(now_ns)
        if not timed_out:
            return TickResult(decisions, {}, tuple(log))
        removals = self._remove_executors(timed_out, log)
        return TickResult(decisions, removals, tuple(log))

    # -- targets -----------------------------------------------------------------------------------------------------

    def _update_targets(
        self, now_ns: int
    ) -> tuple[dict[ProfileId, ProfileDecision], list[SparkLogLine]]:
        """``updateAndSyncNumExecutorsTarget`` and ``doUpdateRequest``."""
        before = dict(self._targets)
        clamped = self._move_into_bounds()
        needs = {profile_id: self._need(profile_id) for profile_id in self._targets}
        reasons: dict[ProfileId, TargetReason] = {}
        deltas: dict[ProfileId, int] = {}
        for profile_id, need in needs.items():
            reasons[profile_id], delta = self._update_target(profile_id, need, now_ns)
            if delta != 0:
                deltas[profile_id] = delta
        for profile_id in clamped - deltas.keys():
            reasons[profile_id] = TargetReason.BOUNDS_CHANGED

        log: list[SparkLogLine] = []
        if deltas or clamped:
            if self._acknowledged(log):
                self._bounds_changed = False
                self._commit(deltas, now_ns, log)
            else:
                for profile_id in deltas.keys() | clamped:
                    self._targets[profile_id] = before[profile_id]
                    reasons[profile_id] = TargetReason.REFUSED
        else:
            self._bounds_changed = False
        decisions = {
            profile_id: ProfileDecision(
                profile_id=profile_id,
                need=needs[profile_id],
                previous_target=before[profile_id],
                target=target,
                to_add=self._to_add[profile_id],
                reason=reasons[profile_id],
            )
            for profile_id, target in self._targets.items()
        }
        return decisions, log

    def _move_into_bounds(self) -> set[ProfileId]:
        """After `reconfigure`: targets outside the new bounds move to the nearest one."""
        moved: set[ProfileId] = set()
        if self._bounds_changed:
            for profile_id, target in self._targets.items():
                bounds = self._bounds_of(profile_id)
                within = max(bounds.min_executors, min(target, bounds.max_executors))
                if within != target:
                    self._targets[profile_id] = within
                    moved.add(profile_id)
        return moved

    def _need(self, profile_id: ProfileId) -> int | None:
        streams = self.stream_targets.get(profile_id)
        return self.max_needed(profile_id) if streams is None else streams.need

    def _update_target(
        self, profile_id: ProfileId, need: int | None, now_ns: int
    ) -> tuple[TargetReason, int]:
        streams = self.stream_targets.get(profile_id)
        if streams is not None:
            return TargetReason.STREAMING, self._follow(profile_id, streams)
        if self._initializing:
            return TargetReason.INITIALIZING, 0
        if need is None:
            return TargetReason.UNKNOWN_PROFILE, 0
        bounds = self._bounds_of(profile_id)
        target = self._targets[profile_id]
        if need < target:
            delta = self._decrement(profile_id, need, bounds)
            at_floor = self._targets[profile_id] > need
            return (TargetReason.FLOOR_MIN if at_floor else TargetReason.NOT_NEEDED), delta
        delta = 0
        if self._add_time != _NOT_SET and now_ns >= self._add_time:
            delta = self._add(profile_id, need, bounds)
        return self._growth_reason(need, self._targets[profile_id], bounds, delta), delta

    def _follow(self, profile_id: ProfileId, streams: StreamTarget) -> int:
        bounds, old = self._bounds_of(profile_id), self._targets[profile_id]
        self._targets[profile_id] = max(
            bounds.min_executors, min(streams.executors, bounds.max_executors)
        )
        self._to_add[profile_id] = 1
        return self._targets[profile_id] - old

    def _growth_reason(
        self, need: int, target: int, bounds: ExecutorBounds, delta: int
    ) -> TargetReason:
        if need > target >= bounds.max_executors:
            return TargetReason.CAPPED_BY_MAX
        if delta != 0:
            return TargetReason.BACKLOG
        if need == target:
            return TargetReason.SATISFIED
        if self._add_time == _NOT_SET:
            return TargetReason.NO_BACKLOG
        if self._sustained:
            return TargetReason.WAITING_SUSTAINED_BACKLOG_TIMEOUT
        return TargetReason.WAITING_BACKLOG_TIMEOUT

    def _decrement(self, profile_id: ProfileId, need: int, bounds: ExecutorBounds) -> int:
        """``decrementExecutors``."""
        old = self._targets[profile_id]
        self._targets[profile_id] = max(need, bounds.min_executors)
        self._to_add[profile_id] = 1
        return self._targets[profile_id] - old

    def _add(self, profile_id: ProfileId, need: int, bounds: ExecutorBounds) -> int:
        """``addExecutors``."""
        old = self._targets[profile_id]
        if old >= bounds.max_executors:
            self._to_add[profile_id] = 1
            return 0
        if self._conf.immediate_ramp_up:
            target = need
        else:
            target = max(old, self._monitor.executor_count(profile_id))
            target = wrap_int(target + self._to_add[profile_id])
            target = min(target, need)
        target = max(min(target, bounds.max_executors), bounds.min_executors)
        self._targets[profile_id] = target
        if target == old:
            self._to_add[profile_id] = 1
        return wrap_int(target - old)

    def _acknowledged(self, log: list[SparkLogLine]) -> bool:
        try:
            acknowledged = self._publish()
        except ClusterManagerUnreachable as lost:
            log.append(
                SparkLogLine(LogLevel.INFO, f"Error reaching cluster manager. {lost}".rstrip())
            )
            acknowledged = False
        if not acknowledged:
            log.append(
                SparkLogLine(
                    LogLevel.WARNING,
                    "Unable to reach the cluster manager to request more executors!",
                )
            )
        return acknowledged

    def _commit(
        self, deltas: Mapping[ProfileId, int], now_ns: int, log: list[SparkLogLine]
    ) -> None:
        for profile_id, delta in deltas.items():
            target = self._targets[profile_id]
            if profile_id in self.stream_targets:
                log.append(
                    SparkLogLine(
                        LogLevel.INFO,
                        f"Target number of executors for streams is {target} (previously {target - delta} "
                        f"for resource profile id: {profile_id})",
                    )
                )
            elif delta > 0:
                step = self._to_add[profile_id]
                self._to_add[profile_id] = wrap_int(step * 2) if delta == step else 1
                self._add_time = wrap_long(
                    now_ns + self._conf.sustained_scheduler_backlog_timeout_ns
                )
                self._sustained = True
                noun = "executors" if delta > 1 else "executor"
                log.append(
                    SparkLogLine(
                        LogLevel.INFO,
                        f"Requesting {delta} new {noun} because tasks are backlogged "
                        f"(new desired total will be {target} for resource profile id: {profile_id})",
                    )
                )
            else:
                log.append(
                    SparkLogLine(
                        LogLevel.DEBUG,
                        f"Lowering target number of executors to {target} (previously {target - delta} "
                        f"for resource profile id: {profile_id}) because not all requested executors are actually needed",
                    )
                )

    def _publish(self) -> bool:
        return self._client.request_total_executors(dict(self._targets))

    # -- removals ----------------------------------------------------------------------------------------------------

    def _remove_executors(
        self, timed_out: Sequence[tuple[str, ProfileId]], log: list[SparkLogLine]
    ) -> dict[RemovalOutcome, tuple[str, ...]]:
        """``removeExecutors``."""
        chosen, kept = self._choose(timed_out)
        log.extend(
            SparkLogLine(
                LogLevel.WARNING,
                f"Not removing executor {executor_id} because the ResourceProfile was UNKNOWN!",
            )
            for executor_id in kept.get(RemovalOutcome.KEPT_UNKNOWN_PROFILE, ())
        )
        outcomes = {outcome: tuple(executor_ids) for outcome, executor_ids in kept.items()}
        if not chosen:
            return outcomes
        removed = self._remove(chosen)
        if removed:
            outcomes[RemovalOutcome.REMOVED] = tuple(removed)
            log.append(
                SparkLogLine(
                    LogLevel.INFO, f"Executors {','.join(removed)} removed due to idle timeout."
                )
            )
        else:
            log.append(
                SparkLogLine(
                    LogLevel.WARNING,
                    f"Unable to reach the cluster manager to kill executor/s {','.join(chosen)} "
                    "or no executor eligible to kill!",
                )
            )
        if len(removed) < len(chosen):
            granted = frozenset(removed)
            refused = tuple(executor_id for executor_id in chosen if executor_id not in granted)
            outcomes[RemovalOutcome.NOT_GRANTED] = refused
        return outcomes

    def _choose(
        self, timed_out: Sequence[tuple[str, ProfileId]]
    ) -> tuple[list[str], dict[RemovalOutcome, list[str]]]:
        chosen: list[str] = []
        kept: dict[RemovalOutcome, list[str]] = {}
        remaining = self._monitor.remaining_counts()
        # Of a profile's executors, of which there may be thousands, the first so many may go, and all others stay for
        # the same reason.
        may_go: dict[ProfileId, int] = {}
        stay: dict[ProfileId, list[str]] = {}
        candidates = Counter(profile_id for _, profile_id in timed_out)
        for profile_id in candidates:
            may_go[profile_id], outcome = self._may_go(profile_id, remaining[profile_id])
            stay[profile_id] = kept.setdefault(outcome, [])
        all_may_go = all(may_go[profile_id] >= count for profile_id, count in candidates.items())
        if self.removal_order is not None and any(count > 0 for count in may_go.values()):
            timed_out = self.removal_order(timed_out, all_may_go)
        if all_may_go:
            return [executor_id for executor_id, _ in timed_out], {}
        for executor_id, profile_id in timed_out:
            if may_go[profile_id] > 0:
                may_go[profile_id] -= 1
                chosen.append(executor_id)
            else:
                stay[profile_id].append(executor_id)
        return chosen, {
            outcome: executor_ids for outcome, executor_ids in kept.items() if executor_ids
        }

    def _may_go(self, profile_id: ProfileId, remaining: int) -> tuple[int, RemovalOutcome]:
        """How many executors of a profile may be removed, and why not one more."""
        if profile_id == UNKNOWN_PROFILE_ID:
            return 0, RemovalOutcome.KEPT_UNKNOWN_PROFILE
        min_executors = self._bounds_of(profile_id).min_executors
        floor = max(min_executors, self._targets.get(profile_id, 0))
        if min(remaining, floor) <= min_executors:
            return remaining - floor, RemovalOutcome.KEPT_MIN_EXECUTORS
        return remaining - floor, RemovalOutcome.KEPT_TARGET

    def _remove(self, chosen: Sequence[str]) -> Sequence[str]:
        if self._conf.decommission_enabled:
            removed = self._client.decommission_executors(chosen)
        else:
            removed = self._client.kill_executors(chosen)
        # A backend may lower the target with the removal (SPARK-21834), so it is told again what is wanted.
        self._publish()
        if removed:
            if self._conf.decommission_enabled:
                self._monitor.executors_decommissioned(removed)
            else:
                self._monitor.executors_killed(removed)
        return removed

    def _bounds_of(self, profile_id: ProfileId) -> ExecutorBounds:
        bounds = self._bounds.get(profile_id)
        if bounds is None:
            bounds = self._bounds[profile_id] = self._conf.bounds(profile_id)
        return bounds


def _executors_for(tasks: int, ratio: float, tasks_per_executor: int) -> int:
    exact = tasks * ratio / tasks_per_executor
    return double_to_int(exact) if math.isnan(exact) else double_to_int(math.ceil(exact))
