"""What a trace tells of the work: how many tasks waited or ran, moment by moment.

Theory of operation
-------------------
Each answer of the driver tells, for each stage, how many tasks are left, and for each executor what it runs. The sum of
what is left is the *demand*: what executors are asked for because of it follows from the core, so another policy can be
put before the same demand (`core.simulation.demand_run`). What the same answers tell of executors is the recorded
`Outcome`, beside which the others stand.

A life of a driver is one demand, however often the operator was restarted in it. How long each task took is not in a trace:
demand does not come sooner because there are more executors, nor later because there are fewer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.driver_report import DriverReport, StageReport
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.resource_profiles import (
    CORES,
    ProfileId,
    ResourceProfile,
    ResourceProfileManager,
)
from spark_allocation.core.simulation.outcome import ExecutorLane, Outcome
from spark_allocation.core.simulation.timeline import Timeline
from spark_allocation.core.trace.inputs import (
    CreationStarted,
    DrainNotBegun,
    DrainRefused,
    LifeBegun,
    ProfilesLearned,
    ReportTaken,
    SettingsChanged,
    StreamsSeen,
)
from spark_allocation.core.trace.replay import Entry, Gap, StepTaken


@dataclass(frozen=True, slots=True)
class DemandMoment:
    """What there was to do from this moment on.

    Attributes:
        at_ms: milliseconds since the life began.
        stages: active ones, with their tasks that are left as `num_tasks`.
        jobs: that run.
        gauge: executors needed as the driver says; None when it does not.
        begun: tasks that began since the moment before.
        shuffles: executors have written shuffle data since then.
        caches: some executor holds cached blocks.
    """

    at_ms: int
    stages: tuple[StageReport, ...]
    jobs: tuple[int, ...]
    gauge: int | None
    begun: Mapping[ProfileId, int]
    shuffles: bool
    caches: bool


@dataclass(frozen=True, slots=True)
class Demand:
    """The work of one life of a driver, and what it was served with.

    Attributes:
        life: as it began.
        profiles: all that were named.
        moments: in order.
        settings: those that held, each with the milliseconds from which on.
        start_delays_ms: from the request for a pod to a registered executor, in the order of registration.
        slots: tasks that run at once on an executor, by profile.
        cores: of an executor, by profile.
        recorded: the run as it was.
        streams: queries were seen.
        budgets: grants held at some time.
        gaps: something is missing.
    """

    life: LifeBegun
    profiles: tuple[ResourceProfile, ...]
    moments: tuple[DemandMoment, ...]
    settings: tuple[tuple[int, AllocationSettings], ...]
    start_delays_ms: tuple[int, ...]
    slots: Mapping[ProfileId, int]
    cores: Mapping[ProfileId, int]
    recorded: Outcome
    streams: bool = False
    budgets: bool = False
    gaps: int = 0


class DemandReading:
    """Takes the entries of one life, beginning with `LifeBegun`; a restart of the operator is another of these.

    Raises:
        InvalidSetting, InvalidProfile: Spark would refuse what the life began with.
    """

    def __init__(self, life: LifeBegun) -> None:
        self.life = life
        self._profiles = life.known_profiles()
        self._now_ms = 0
        self._settings = [(0, life.settings)]
        self._moments: list[DemandMoment] = []
        self._asked_at: dict[ExecutorId, int] = {}
        self._delays: list[int] = []
        self._slots: dict[ProfileId, int] = {}
        self._totals: dict[ExecutorId, int] = {}
        self._written: dict[ExecutorId, int] = {}
        self._lanes: dict[ExecutorId, tuple[int, int]] = {}
        self._timeline = Timeline()
        self._last = _Now()
        self._sums = _Sums()
        self._streams = self._budgets = False
        self._gaps = 0

    def take(self, entry: Entry) -> None:
        """Take the next entry."""
        match entry:
            case LifeBegun():
                self._at(entry.now_ms)
                self._settings.append((self._now_ms, entry.settings))
                self._learn(entry.profiles)
            case ProfilesLearned():
                self._learn(entry.profiles)
            case SettingsChanged():
                self._settings.append((self._now_ms, entry.settings))
            case CreationStarted():
                self._at(entry.now_ms)
                self._asked_at[entry.executor_id] = self._now_ms
                self._sums.asked += 1
            case ReportTaken():
                self._at(entry.now_ms)
                self._report(entry.report)
            case StepTaken():
                self._at(entry.asked.now_ms)
                came = entry.decided
                self._sums.drains += sum(map(len, (came.drains, came.evacuations, came.surplus, came.above_maximum, came.above_streams)))  # fmt: skip
                self._budgets = self._budgets or entry.asked.grants is not None
            case DrainNotBegun() | DrainRefused():
                self._sums.drains -= 1
            case StreamsSeen():
                self._streams = self._streams or bool(entry.observation.queries)
            case Gap():
                self._gaps += 1

    def finish(self) -> Demand:
        """All of it."""
        self._integrate(self._now_ms)
        sums, end = self._sums, self._now_ms
        return Demand(
            life=self.life,
            profiles=tuple(self._profiles),
            moments=tuple(self._moments),
            settings=tuple(self._settings),
            start_delays_ms=tuple(self._delays),
            slots={each.id: self._slots_of(each.id) for each in self._profiles},
            cores={each.id: cores_of(each, self._profiles) for each in self._profiles},
            recorded=Outcome(
                finished=True,
                makespan_ms=end,
                executor_ms=sums.executor_ms,
                core_ms=sums.core_ms,
                slot_ms=sums.slot_ms,
                busy_ms=sums.busy_ms,
                backlog_ms=sums.backlog_ms,
                drains=max(0, sums.drains),
                recomputed_ms=0,
                asked=sums.asked,
                timeline=self._timeline,
                lanes=tuple(
                    ExecutorLane(str(executor_id), begin, last)
                    for executor_id, (begin, last) in self._lanes.items()
                ),
            ),
            streams=self._streams,
            budgets=self._budgets,
            gaps=self._gaps,
        )

    # -- inside ------------------------------------------------------------------------------------------------------

    def _at(self, epoch_ms: int) -> None:
        self._now_ms = max(self._now_ms, epoch_ms - self.life.now_ms)

    def _learn(self, profiles: tuple[ResourceProfile, ...]) -> None:
        for profile in profiles:
            self._profiles.add(profile)

    def _slots_of(self, profile_id: ProfileId) -> int:
        capacity = self._profiles.capacity(profile_id)
        return self._slots.get(profile_id, max(1, capacity.tasks if capacity is not None else 1))

    def _report(self, report: DriverReport) -> None:
        now = self._now_ms
        self._integrate(now)
        begun: dict[ProfileId, int] = {}
        shuffles = False
        seen = _Now(at_ms=now)
        for executor in report.executors:
            key, profile_id = executor.id, executor.profile_id
            if key not in self._lanes and key in self._asked_at:
                self._delays.append(now - self._asked_at[key])
            self._lanes[key] = (self._lanes.get(key, (now, now))[0], now)
            slots = self._slots[profile_id] = executor.max_tasks or self._slots_of(profile_id)
            more = executor.total_tasks - self._totals.get(key, 0)
            begun[profile_id] = begun.get(profile_id, 0) + max(0, more)
            shuffles = shuffles or executor.shuffle_write_bytes > self._written.get(key, 0)
            self._totals[key] = executor.total_tasks
            self._written[key] = executor.shuffle_write_bytes
            seen.executors += 1
            seen.slots += slots
            profile = self._profiles.get(profile_id)
            seen.cores += 1 if profile is None else cores_of(profile, self._profiles)
            seen.running += min(executor.active_tasks, slots)
        left = tuple(
            StageReport(
                stage_id=stage.stage_id,
                attempt_id=stage.attempt_id,
                profile_id=stage.profile_id,
                num_tasks=max(0, stage.num_tasks - stage.completed_indices),
                completed_indices=0,
                active_tasks=0,
            )
            for stage in report.stages
        )
        seen.waiting = max(0, sum(stage.num_tasks for stage in left) - seen.running)
        self._last = seen
        self._timeline.add(now, seen.executors, seen.running, seen.waiting)
        self._moments.append(
            DemandMoment(
                at_ms=now,
                stages=left,
                jobs=report.running_jobs,
                gauge=report.max_needed_executors,
                begun=begun,
                shuffles=shuffles,
                caches=any(executor.rdd_blocks > 0 for executor in report.executors),
            )
        )

    def _integrate(self, now_ms: int) -> None:
        last, sums = self._last, self._sums
        passed = now_ms - last.at_ms
        sums.executor_ms += passed * last.executors
        sums.core_ms += passed * last.cores
        sums.slot_ms += passed * last.slots
        sums.busy_ms += passed * last.running
        sums.backlog_ms += passed if last.waiting else 0
        last.at_ms = now_ms


def cores_of(profile: ResourceProfile, profiles: ResourceProfileManager) -> int:
    """Cores of an executor of this profile; a profile of tasks alone has those of the default one."""
    if CORES in profile.executor_resources:
        return profile.executor_resources[CORES].amount
    default = next(iter(profiles))
    return default.executor_resources[CORES].amount if CORES in default.executor_resources else 1


@dataclass(slots=True)
class _Now:
    """What the driver said last."""

    at_ms: int = 0
    executors: int = 0
    slots: int = 0
    cores: int = 0
    running: int = 0
    waiting: int = 0


@dataclass(slots=True)
class _Sums:
    """Over all moments."""

    executor_ms: int = 0
    core_ms: int = 0
    slot_ms: int = 0
    busy_ms: int = 0
    backlog_ms: int = 0
    drains: int = 0
    asked: int = 0
