"""The demand of a trace before another policy: the real core decides, executors come and go, tasks are as many as they were.

Theory of operation
-------------------
At each beat of a poll the driver is supposed to have as many tasks as it had at that moment of the trace
(`core.trace.demand`). Those for which executors have places run, the others wait. Tasks stay where they are while there
are as many; which executors get new ones, and which become free, is drawn by chance, as Spark spreads tasks. What the
trace tells to have begun in between has worked somewhere, so an executor is idle only as long as it would have been.
Executors that worked while shuffle data was written or blocks were cached hold some.

The demand is given: executors that are missing do not make the work last longer, nor do more of them end it sooner. How
much of the recorded work was done (`Outcome.busy_ms` of both) says how far that is from the truth.

Beats at which nothing can come out otherwise are left out, as in `hosts`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spark_allocation.core.allocation import Allocation
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.driver_report import DriverReport, ExecutorReport, StageReport
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.simulation.cluster import ClusterModel, mixed
from spark_allocation.core.simulation.outcome import ExecutorLane, Outcome
from spark_allocation.core.simulation.simulated_executors import SimulatedPods
from spark_allocation.core.simulation.timeline import Timeline
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.trace.demand import Demand, DemandMoment

BEAT_MS = 1_000
_NANOSECONDS_PER_MILLISECOND = 1_000_000
_NOTHING = DemandMoment(0, (), (), None, {}, shuffles=False, caches=False)

Settings = Sequence[tuple[int, AllocationSettings]]


@dataclass(slots=True)
class _Executor:
    """One executor, from the request for its pod on."""

    id: ExecutorId
    profile_id: ProfileId
    slots: int
    cores: int
    ready_ms: int
    registered: bool = False
    gone_ms: int | None = None
    leaves_ms: int | None = None
    tasks: int = 0
    total: int = 0
    shuffle: int = 0
    blocks: int = 0
    busy_since_ms: int | None = None
    busy: list[tuple[int, int]] = field(default_factory=list)


class DemandRun:
    """One run.

    Args:
        settings: those that hold, each with the milliseconds from which on; the first from 0.
        cluster: how fast pods start.
    """

    def __init__(self, demand: Demand, settings: Settings, cluster: ClusterModel) -> None:
        self._demand = demand
        self._settings = list(settings)
        self._cluster = cluster
        self._origin_ms = demand.life.now_ms
        self._profiles = ResourceProfileManager(SparkConf(demand.life.properties))
        for profile in demand.profiles:
            self._profiles.add(profile)
        self._allocation = Allocation(self._settings.pop(0)[1], self._profiles, now_ns=self._ns(0))
        self._pods = SimulatedPods()
        self._there: dict[ExecutorId, _Executor] = {}
        self._all: list[_Executor] = []
        self._next_start_ms = 0.0
        self._moment = _NOTHING
        self._turn = 0
        self._timeline = Timeline()
        self._executor_ms = self._core_ms = self._slot_ms = 0
        self._busy_ms = self._backlog_ms = self._drains = 0
        self._wake_ms: int | None = 0

    def run(self) -> Outcome:
        """Run it to its end."""
        end = self._demand.recorded.makespan_ms
        moments = iter(self._demand.moments)
        coming = next(moments, None)
        last = 0
        for now in range(0, end + 1, BEAT_MS):
            news = self._wake_ms is not None and self._wake_ms <= now
            begun: dict[ProfileId, int] = {}
            shuffles = False
            while coming is not None and coming.at_ms <= now:
                news = True
                for profile_id, count in coming.begun.items():
                    begun[profile_id] = begun.get(profile_id, 0) + count
                shuffles = shuffles or coming.shuffles
                self._moment = coming
                coming = next(moments, None)
            news = self._follow_cluster(now) or news
            while self._settings and self._settings[0][0] <= now:
                self._allocation.reconfigure(self._settings.pop(0)[1], self._ns(now))
                news = True
            if not news:
                continue
            self._integrate(last, now)
            last = now
            self._place_tasks(now, begun, shuffles=shuffles)
            self._decide(now)
            self._timeline.add(now, *self._counts())
        self._integrate(last, end)
        return self._outcome(end)

    # -- time --------------------------------------------------------------------------------------------------------

    def _ns(self, now_ms: int) -> int:
        return self._demand.life.now_ns + now_ms * _NANOSECONDS_PER_MILLISECOND

    def _integrate(self, since_ms: int, now_ms: int) -> None:
        passed = now_ms - since_ms
        registered = [each for each in self._there.values() if each.registered]
        self._executor_ms += passed * len(registered)
        self._core_ms += passed * sum(each.cores for each in registered)
        self._slot_ms += passed * sum(each.slots for each in registered)
        _, running, waiting = self._counts()
        self._busy_ms += passed * running
        self._backlog_ms += passed if waiting else 0

    def _counts(self) -> tuple[int, int, int]:
        registered = [each for each in self._there.values() if each.registered]
        running = sum(each.tasks for each in registered)
        wanted = sum(stage.num_tasks for stage in self._moment.stages)
        return len(registered), running, max(0, wanted - running)

    # -- the cluster -------------------------------------------------------------------------------------------------

    def _follow_cluster(self, now_ms: int) -> bool:
        """Executors register, and those that leave are gone; whether any did."""
        changed = False
        for each in list(self._there.values()):
            if each.leaves_ms is not None and each.leaves_ms <= now_ms:
                each.gone_ms = now_ms
                _set_tasks(each, 0, now_ms)
                self._pods.vanish(each.id)
                del self._there[each.id]
                changed = True
            elif not each.registered and each.ready_ms <= now_ms:
                each.registered = True
                self._pods.runs(each.id)
                changed = True
        return changed

    def _create(self, profile_id: ProfileId, now_ms: int) -> ExecutorId:
        number = len(self._all)
        begins = max(float(now_ms), self._next_start_ms)
        self._next_start_ms = begins + self._cluster.pause_between_pods_ms
        made = _Executor(
            id=ExecutorId(number + 1),
            profile_id=profile_id,
            slots=self._demand.slots.get(profile_id, 1),
            cores=self._demand.cores.get(profile_id, 1),
            ready_ms=round(begins) + self._cluster.start_delay_ms(number),
        )
        self._all.append(made)
        self._there[made.id] = made
        self._pods.add(made.id, profile_id, self._origin_ms + now_ms)
        return made.id

    def _leave(self, executor_id: ExecutorId, now_ms: int) -> None:
        each = self._there[executor_id]
        each.leaves_ms = now_ms + self._cluster.leaves_after_ms
        self._pods.is_deleted(executor_id)
        self._drains += 1

    # -- tasks -------------------------------------------------------------------------------------------------------

    def _place_tasks(self, now_ms: int, begun: Mapping[ProfileId, int], *, shuffles: bool) -> None:
        moment = self._moment
        wanted: dict[ProfileId, int] = {}
        for stage in moment.stages:
            wanted[stage.profile_id] = wanted.get(stage.profile_id, 0) + stage.num_tasks
        by_profile: dict[ProfileId, list[_Executor]] = {}
        for each in self._there.values():
            if each.registered and each.leaves_ms is None:
                by_profile.setdefault(each.profile_id, []).append(each)
            elif not each.registered or each.tasks:
                _set_tasks(each, 0, now_ms)
        for profile_id, executors in by_profile.items():
            self._turn += 1
            first = mixed(self._cluster.seed, self._turn) % len(executors)
            order = executors[first:] + executors[:first]
            before = sum(each.tasks for each in order)
            tasks = min(wanted.get(profile_id, 0), sum(each.slots for each in order))
            _spread(order, tasks - before, now_ms)
            worked = {each.id for each in order if each.tasks}
            # tasks that began and are none of those that are more now: others have ended in between
            in_between = begun.get(profile_id, 0) - max(0, tasks - before)
            for each in order[: max(0, in_between)]:
                each.total += 1
                worked.add(each.id)
            for each in order:
                if each.id in worked:
                    each.shuffle += shuffles
                    each.blocks = max(each.blocks, int(moment.caches))
                if not moment.caches:
                    each.blocks = 0

    # -- decisions ---------------------------------------------------------------------------------------------------

    def _decide(self, now_ms: int) -> None:
        allocation, epoch_ms = self._allocation, self._origin_ms + now_ms
        allocation.take_report(self._report(), now_ns=self._ns(now_ms), now_ms=epoch_ms)
        step = allocation.step(
            self._pods.snapshot(epoch_ms),
            vanished=self._pods.take_vanished(),
            now_ns=self._ns(now_ms),
            now_ms=epoch_ms,
            report_is_fresh=True,
        )
        wake = [] if step.wake_at_ns is None else [step.wake_at_ns]
        self._wake_ms = min(
            (
                max(now_ms + 1, -(-(at - self._ns(0)) // _NANOSECONDS_PER_MILLISECOND))
                for at in wake
            ),
            default=None,
        )
        for pod in (*step.drains, *step.evacuations, *step.surplus, *step.above_maximum):
            self._leave(pod.executor_id, now_ms)
            self._wake_ms = now_ms + 1
        for deletion in step.delete:
            self._pods.vanish(deletion.pod.executor_id)
            self._there.pop(deletion.pod.executor_id, None)
        if step.plan is None:
            return
        for excess in step.plan.withdraw:
            for executor_id in excess.executor_ids:
                self._pods.vanish(executor_id)
                self._there.pop(executor_id, None)
        for request in step.plan.create:
            for _ in range(request.count):
                executor_id = self._create(request.profile_id, now_ms)
                allocation.creation_started(executor_id, request.profile_id, epoch_ms)
                allocation.pods.pod_created(executor_id, epoch_ms, uid=f"uid-{executor_id}")
                self._wake_ms = now_ms + 1

    def _report(self) -> DriverReport:
        moment = self._moment
        places: dict[ProfileId, int] = {}
        for each in self._there.values():
            if each.registered:
                places[each.profile_id] = places.get(each.profile_id, 0) + each.tasks
        stages = []
        for stage in moment.stages:
            active = min(stage.num_tasks, places.get(stage.profile_id, 0))
            places[stage.profile_id] = places.get(stage.profile_id, 0) - active
            stages.append(
                StageReport(
                    stage.stage_id, stage.attempt_id, stage.profile_id, stage.num_tasks, 0, active
                )
            )
        return DriverReport(
            stages=tuple(stages),
            executors=tuple(
                ExecutorReport(
                    id=each.id,
                    profile_id=each.profile_id,
                    active=True,
                    active_tasks=each.tasks,
                    max_tasks=each.slots,
                    total_tasks=each.total,
                    failed_tasks=0,
                    rdd_blocks=each.blocks,
                    cached_bytes=each.blocks,
                    shuffle_write_bytes=each.shuffle,
                    added_at_ms=self._origin_ms + each.ready_ms,
                )
                for each in self._there.values()
                if each.registered
            ),
            running_jobs=moment.jobs,
            max_needed_executors=moment.gauge,
        )

    def _outcome(self, end_ms: int) -> Outcome:
        for each in self._there.values():
            _set_tasks(each, 0, end_ms)
        return Outcome(
            finished=True,
            makespan_ms=end_ms,
            executor_ms=self._executor_ms,
            core_ms=self._core_ms,
            slot_ms=self._slot_ms,
            busy_ms=self._busy_ms,
            backlog_ms=self._backlog_ms,
            drains=self._drains,
            recomputed_ms=0,
            asked=len(self._all),
            timeline=self._timeline,
            lanes=tuple(
                ExecutorLane(
                    str(each.id),
                    each.ready_ms,
                    end_ms if each.gone_ms is None else each.gone_ms,
                    tuple(each.busy),
                )
                for each in self._all
                if each.registered
            ),
        )


def _spread(order: Sequence[_Executor], more: int, now_ms: int) -> None:
    """Give so many tasks more, or take so many away, one at each executor in turn."""
    step = 1 if more > 0 else -1
    left = abs(more)
    while left:
        for each in order:
            has_place = each.tasks < each.slots if step > 0 else each.tasks > 0
            if left and has_place:
                _set_tasks(each, each.tasks + step, now_ms)
                each.total += step > 0
                left -= 1


def _set_tasks(each: _Executor, tasks: int, now_ms: int) -> None:
    if tasks and not each.tasks:
        each.busy_since_ms = now_ms
    elif each.tasks and not tasks and each.busy_since_ms is not None:
        each.busy.append((each.busy_since_ms, now_ms))
        each.busy_since_ms = None
    each.tasks = tasks
