"""From polls of a driver to what the allocation manager and the executor monitor are fed with.

Theory of operation
-------------------
Inside the driver the manager counts listener events. Outside there are polls, and this module turns the difference
between two of them into the same calls:

- *Tasks.* Per profile, over its active stages: pending = tasks − completed indices − active tasks, never below zero.
  Running is the smaller of two counts that err in opposite directions: what stages report, and what executors report
  clamped to the tasks that fit on each (REST counts an executor's next task before the end of the last one).
- *The gauge.* ``numberMaxNeededExecutors`` is the need as the driver computes it, with speculative copies and
  unschedulable task sets that REST does not show. With one profile at work it *is* the need. With several, what it
  says beyond the sum of our estimates goes to the profile with the most pending tasks.
- *The backlog.* Every newly seen stage attempt is a submission, and a submission is a backlog; so is any pending task.
  So is a gauge above all that the visible tasks need: then copies wait, or tasks that no executor may run, which REST
  does not show. A backlog began when the stage was submitted, not when it was noticed. With neither, the queue is empty.
- *Executors.* One that appears in the driver's list has registered, one that disappears is removed. Idle is 0 active
  tasks, since the poll that saw it first; when the total of tasks has changed, it worked in between and the idle time
  starts anew. That is never earlier than Spark's own idle start. Whether it is believed is judged by `idle_sight`.
- *Cached blocks and shuffle.* ``rddBlocks`` above 0 holds as a cached block does. Who is held for shuffle data is judged
  by `shuffle_holders`.

Each of these is at least as careful as Spark with what an executor stores; docs/guarantees.md lists where it is more.

Source: ``ExecutorAllocationListener``, ``status.AppStatusListener``, ``ExecutorMonitor``.
"""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from spark_allocation.core.driver_report import DriverReport, ExecutorReport, StageReport
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.idle_sight import IdleSight, IdleSightConf
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.shuffle_holders import ShuffleHolders
from spark_allocation.core.workload import NO_TASKS, ProfileWorkload

_NANOSECONDS_PER_MILLISECOND = 1_000_000


class BacklogHooks(Protocol):
    """What the feeder tells the allocation manager, and the one thing that it asks."""

    def max_needed(self, profile_id: ProfileId) -> int | None:
        """Executors that the visible tasks of a profile could use; None when the profile is not known."""
        ...

    def on_stage_submitted(self, profile_id: ProfileId, now_ns: int) -> None:
        """A stage attempt of this profile was submitted."""
        ...

    def on_scheduler_backlogged(self, now_ns: int, since_ns: int | None = None) -> None:
        """Tasks wait; no effect while the backlog timer runs."""
        ...

    def on_scheduler_queue_empty(self) -> None:
        """No task waits."""
        ...


class DriverFeeder:
    """Feeds one life of a driver. It is a `WorkloadView` for the manager.

    Args:
        monitor: is told of executors, their tasks and what they store.
        holders: says who is held for shuffle data.
        sight: says who is believed to be idle.
    """

    def __init__(
        self, monitor: ExecutorMonitor, holders: ShuffleHolders, sight: IdleSight | None = None
    ) -> None:
        self._monitor = monitor
        self._holders = holders
        self._sight = sight or IdleSight(IdleSightConf())
        self._workload: dict[ProfileId, ProfileWorkload] = {}
        self._stages: dict[tuple[int, int], ProfileId] = {}
        self._executors: dict[ExecutorId, ExecutorReport] = {}
        self._registered: Counter[ProfileId] = Counter()
        self._polled_at_ns: int | None = None
        self._gauge: int | None = None

    def of_profile(self, profile_id: ProfileId) -> ProfileWorkload:
        """The tasks of one profile at the last poll."""
        return self._workload.get(profile_id, NO_TASKS)

    @property
    def workload(self) -> Mapping[ProfileId, ProfileWorkload]:
        """The tasks of each profile with active stages at the last poll."""
        return self._workload

    @property
    def executors(self) -> Mapping[ExecutorId, ExecutorReport]:
        """Executors that the driver listed as alive at the last poll."""
        return self._executors

    @property
    def registered(self) -> Counter[ProfileId]:
        """How many those are, by profile."""
        return self._registered

    @property
    def profiles_at_work(self) -> frozenset[ProfileId]:
        """Profiles with active stages."""
        return frozenset(self._stages.values())

    def needs_by_gauge(self, hooks: BacklogHooks) -> Mapping[ProfileId, int] | None:
        """Executors needed by profile, where the driver's own count says more than our estimate; None elsewhere.

        The count is a sum over all profiles: what is beyond our estimates is taken for the profile with the most waiting tasks.
        """
        at_work = self.profiles_at_work
        if self._gauge is None or not at_work:
            return None
        if len(at_work) == 1:
            return dict.fromkeys(at_work, self._gauge)
        estimates = {profile_id: hooks.max_needed(profile_id) or 0 for profile_id in at_work}
        surplus = self._gauge - sum(estimates.values())
        if surplus <= 0:
            return None
        neediest = max(
            at_work, key=lambda profile_id: (self.of_profile(profile_id).pending, profile_id)
        )
        return {neediest: estimates[neediest] + surplus}

    def take(
        self,
        report: DriverReport,
        hooks: BacklogHooks,
        *,
        leaving: AbstractSet[ExecutorId] = frozenset(),
        now_ns: int,
        now_ms: int,
    ) -> None:
        """Take one poll.

        Args:
            report: what the driver said.
            hooks: the manager.
            leaving: executors on their way out.
            now_ns: of the monotonic clock that the manager and the monitor use.
            now_ms: epoch milliseconds, to place the driver's own times.
        """
        self._holders.take(report, leaving=leaving, now_ms=now_ms)
        self._sight.take(report, now_ns)
        self._take_executors(report, leaving, now_ns)
        self._gauge = report.max_needed_executors
        self._workload = _workload(report)
        new = self._new_stages(report)
        for profile_id in dict.fromkeys(stage.profile_id for stage in new):
            hooks.on_stage_submitted(profile_id, now_ns)
        waiting = any(tasks.pending > 0 for tasks in self._workload.values())
        waiting = waiting or self._needs_more_than_it_shows(hooks)
        if new or waiting:
            hooks.on_scheduler_backlogged(now_ns, self._submitted_at(new, now_ns, now_ms))
        if not waiting:
            hooks.on_scheduler_queue_empty()
        self._polled_at_ns = now_ns

    def _needs_more_than_it_shows(self, hooks: BacklogHooks) -> bool:
        if self._gauge is None or not self._stages:
            return False
        visible = (hooks.max_needed(profile_id) or 0 for profile_id in self.profiles_at_work)
        return self._gauge > sum(visible)

    def _take_executors(
        self, report: DriverReport, leaving: AbstractSet[ExecutorId], now_ns: int
    ) -> None:
        listed = {executor.id: executor for executor in report.executors}
        reasons = {executor.id: executor.remove_reason for executor in report.dead_executors or ()}
        for gone in self._executors.keys() - listed.keys():
            self._monitor.executor_removed(str(gone), reasons.get(gone, ""))
        for executor in report.executors:
            before = self._executors.get(executor.id)
            name = str(executor.id)
            if before is None:
                self._monitor.executor_added(name, executor.profile_id, now_ns)
                if executor.id in leaving:
                    # it was asked to go before the driver ever told of it: it must not count as one that stays
                    self._monitor.executors_decommissioned([name])
            self._monitor.observe_running_tasks(
                name,
                executor.active_tasks,
                now_ns,
                worked_since=before is not None and before.total_tasks != executor.total_tasks,
                believed_at_ns=self._sight.believed_at_ns(executor),
            )
            self._monitor.observe_cached_blocks(name, cached=executor.rdd_blocks > 0)
            self._monitor.observe_shuffle(
                name,
                held=self._holders.is_held(executor),
                active=self._holders.is_active(executor),
            )
        self._executors = listed
        self._registered = Counter(executor.profile_id for executor in report.executors)

    def _new_stages(self, report: DriverReport) -> list[StageReport]:
        known = self._stages
        self._stages = {
            (stage.stage_id, stage.attempt_id): stage.profile_id for stage in report.stages
        }
        return [stage for stage in report.stages if (stage.stage_id, stage.attempt_id) not in known]

    def _submitted_at(self, new: list[StageReport], now_ns: int, now_ms: int) -> int | None:
        """When the earliest new stage was submitted, on our clock, and not before the last poll that missed it."""
        times = [stage.submitted_at_ms for stage in new if stage.submitted_at_ms is not None]
        if not times:
            return None
        since = now_ns - (now_ms - min(times)) * _NANOSECONDS_PER_MILLISECOND
        if self._polled_at_ns is not None:
            since = max(since, self._polled_at_ns)  # the driver's clock may differ from ours
        return min(since, now_ns)


def _workload(report: DriverReport) -> dict[ProfileId, ProfileWorkload]:
    pending: dict[ProfileId, int] = {}
    running_by_stages: dict[ProfileId, int] = {}
    for stage in report.stages:
        waiting = max(0, stage.num_tasks - stage.completed_indices - stage.active_tasks)
        pending[stage.profile_id] = pending.get(stage.profile_id, 0) + waiting
        running_by_stages[stage.profile_id] = (
            running_by_stages.get(stage.profile_id, 0) + stage.active_tasks
        )
    running_by_executors: dict[ProfileId, int] = {}
    for executor in report.executors:
        fits = executor.max_tasks if executor.max_tasks > 0 else executor.active_tasks
        running_by_executors[executor.profile_id] = running_by_executors.get(
            executor.profile_id, 0
        ) + min(executor.active_tasks, fits)
    return {
        profile_id: ProfileWorkload(
            pending=waiting,
            running=min(running_by_stages[profile_id], running_by_executors.get(profile_id, 0)),
        )
        for profile_id, waiting in pending.items()
    }
