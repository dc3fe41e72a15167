"""What happens on the day: two hundred applications of five kinds, and the windows of faults.

A day of 24 hours is run in `minutes`. Arrivals and lifetimes are compressed with it; tasks, timeouts and polls are not,
so that the operator works at its real pace on a day that has more work in an hour than a real one.
"""

import itertools
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tests.faults.fault_schedule import OF_FAKE_DRIVERS, DeedKind, FaultSchedule, Shape
from tests.fleet.applications import JobPlan, StagePlan

Document = dict[str, Any]
HOURS = 24
TEAMS = ("finance", "logistics", "marketing", "science")
KINDS = {"stream": 0.08, "nightly": 0.32, "hourly": 0.26, "notebook": 0.26, "profiled": 0.08}
"""Share of each kind."""
WINDOW_SECONDS = 45.0
MINUTES_BETWEEN_WINDOWS = 7.0
POSSIBLE_DEEDS = (
    *(each for each in OF_FAKE_DRIVERS if each is not DeedKind.SET_CLOCK),
    *(DeedKind.EVICT, DeedKind.EVICT, DeedKind.DELETE_POD, DeedKind.GC_PAUSE),
)
"""A clock that is set would change when finished objects go, which the day judges."""
NEVER_IN_BETWEEN = frozenset({DeedKind.KILL, DeedKind.KILL_AT, DeedKind.RESTART_API})
"""Where memory is measured: a new process has new memory, and an operator that loses its Lease ends."""


@dataclass(frozen=True, slots=True)
class PlannedApplication:
    """One application of the day.

    Attributes:
        starts: seconds of the run.
        lasts: seconds; None for until its jobs are done.
        managed: its driver pod is labelled, and the operator makes the SparkAllocation.
        fails: its driver ends as Failed.
        dynamic: ``spec.dynamicAllocation`` besides the bounds.
        ttl: ``ttlSecondsAfterFinished``; None when its user deletes the object.
    """

    name: str
    kind: str
    team: str
    starts: float
    lasts: float | None
    jobs: tuple[JobPlan, ...]
    slots: dict[int, int]
    minimum: int
    maximum: int
    managed: bool
    fails: bool
    ttl: int | None
    dynamic: Document = field(default_factory=dict)


@dataclass(frozen=True)
class Day:
    """The whole day, in seconds of the run."""

    seed: int
    minutes: float
    applications: tuple[PlannedApplication, ...]
    windows: tuple[tuple[float, FaultSchedule], ...]

    @property
    def seconds(self) -> float:
        return 60 * self.minutes

    @classmethod
    def from_seed(cls, seed: int, *, minutes: float, count: int = 200) -> "Day":
        """The day of this seed."""
        chance = Random(f"day {seed}")
        kinds = list(_kinds(count))
        chance.shuffle(kinds)
        names = (f"{kind}-{number:03d}" for number, kind in enumerate(kinds))
        planned = [_application(chance, *each, minutes) for each in zip(names, kinds, strict=True)]
        return cls(
            seed,
            minutes,
            tuple(sorted(planned, key=lambda each: each.starts)),
            tuple(_windows(seed, minutes)),
        )


def _kinds(count: int) -> Iterator[str]:
    for kind, share in KINDS.items():
        yield from itertools.repeat(kind, round(share * count))


def _application(chance: Random, name: str, kind: str, minutes: float) -> PlannedApplication:
    hour = 60 * minutes / HOURS
    common: Document = {
        "name": name,
        "kind": kind,
        "team": chance.choice(TEAMS),
        "managed": chance.random() < 0.3,
        "fails": chance.random() < 0.05,
        "ttl": chance.choice((None, 10, 20)),
    }
    idle = {"executorIdleTimeout": "5s", "shuffleTracking": {"timeout": "8s"}}
    match kind:
        case "stream":
            starts, lasts = chance.uniform(0.0, 0.5) * hour, 23 * hour
            return PlannedApplication(
                **common, starts=starts, lasts=lasts, jobs=tuple(_batches(chance, lasts, hour)), slots={0: 2},
                minimum=1, maximum=8, dynamic={"executorIdleTimeout": "10s", "shuffleHold": "Timeout", "shuffleTracking": {"timeout": "8s"}},
            )  # fmt: skip
        case "nightly" | "profiled":
            starts = _clamped(chance.gauss(3.0, 1.2), 0.2, 7) * hour
            slots = {0: chance.choice((2, 4)), **({1: 1} if kind == "profiled" else {})}
            return PlannedApplication(
                **common, starts=starts, lasts=None, jobs=tuple(_pipeline(chance, slots, hour)), slots=slots,
                minimum=0, maximum=chance.randint(6, 20), dynamic=idle,
            )  # fmt: skip
        case "hourly":
            jobs = (JobPlan(1.0, tuple(_stages(chance, chance.randint(1, 2), 10, 60))),)
            return PlannedApplication(
                **common, starts=chance.uniform(0, 23) * hour, lasts=None, jobs=jobs, slots={0: 2},
                minimum=0, maximum=chance.randint(3, 10), dynamic=idle,
            )  # fmt: skip
        case _:
            starts = _clamped(chance.gauss(12.0, 2.5), 7, 17) * hour
            lasts = chance.uniform(2, 5) * hour
            return PlannedApplication(
                **common, starts=starts, lasts=lasts, jobs=tuple(_bursts(chance, lasts)), slots={0: 2},
                minimum=chance.randint(0, 1), maximum=chance.randint(4, 12),
                dynamic={
                    **idle, "cachedExecutorIdleTimeout": "20s",
                    "shuffleHold": chance.choice(("Strict", "Timeout")),
                },
            )  # fmt: skip


def _batches(chance: Random, lasts: float, hour: float) -> Iterator[JobPlan]:
    """Micro-batches all day: more by day than by night, and now and then far more."""
    level, phase = chance.uniform(2, 5), chance.uniform(-2, 2)
    at, burst_until = 1.0, 0.0
    while at < lasts:
        if chance.random() < 0.01:
            burst_until = at + 20
        tide = 1 + 0.8 * math.sin((at / hour - 8 + phase) / HOURS * 2 * math.pi)
        tasks = max(1, round(level * tide * (3 if at < burst_until else 1)))
        yield JobPlan(at, (StagePlan(tasks, 1.0, shuffle_bytes=20_000), StagePlan(2, 0.5)))
        at += 3.0


def _pipeline(chance: Random, slots: dict[int, int], hour: float) -> Iterator[JobPlan]:
    at = 1.0
    for _ in range(chance.randint(1, 3)):
        stages = [*_stages(chance, chance.randint(2, 4), 20, 150)]
        if 1 in slots:
            stages.append(StagePlan(chance.randint(3, 8), chance.uniform(2, 5), profile_id=1))
        yield JobPlan(at, tuple(stages))
        at += chance.uniform(0.2, 0.6) * hour


def _bursts(chance: Random, lasts: float) -> Iterator[JobPlan]:
    at = chance.uniform(1, 10)
    while at < lasts:
        yield JobPlan(at, tuple(_stages(chance, chance.randint(1, 3), 4, 60, cached=0.3)))
        at += chance.expovariate(1 / 35) + 5


def _stages(
    chance: Random, count: int, fewest: int, most: int, *, cached: float = 0.0
) -> Iterator[StagePlan]:
    for number in range(count):
        writes = number < count - 1
        yield StagePlan(
            tasks=chance.randint(fewest, most),
            seconds=chance.uniform(0.8, 4.0),
            shuffle_bytes=chance.randint(1, 64) << 20 if writes else 0,
            caches=chance.random() < cached,
        )


def _windows(seed: int, minutes: float) -> Iterator[tuple[float, FaultSchedule]]:
    """Windows of faults at equal distances; the operator is killed in the first one and in the last one only."""
    count = max(2, round(minutes / MINUTES_BETWEEN_WINDOWS))
    shape = Shape(
        seconds=WINDOW_SECONDS,
        longest=10.0,
        episodes=6,
        deeds=10,
        kills=2,
        disruptive=True,
        possible=POSSIBLE_DEEDS,
    )
    for number in range(count):
        at = (number + 0.5) / count * 60 * minutes
        if number == 0:
            at /= 2
        if number == count - 1:
            at = 0.94 * 60 * minutes
        schedule = FaultSchedule.from_seed(1000 * seed + number, shape)
        if 0 < number < count - 1:
            kept = [each for each in schedule.deeds if each.kind not in NEVER_IN_BETWEEN]
            schedule = replace(schedule, deeds=tuple(kept))
        yield at, schedule


def jobs_from(planned: PlannedApplication, now: float) -> deque[JobPlan]:
    """Its jobs, on a clock that shows `now` when it starts."""
    return deque(replace(each, at=each.at + now) for each in planned.jobs)


def _clamped(number: float, least: float, most: float) -> float:
    return max(least, min(most, number))
