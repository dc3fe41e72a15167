"""Seeded workloads: how rows arrive, what batches cost, how executors come and go."""

import math
import random
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

STEP_S = 5.0
"""Input is constant for so long, and rules are asked so often."""


FIRST_BATCHES = 5
"""Of a query cost more than those after them."""


class Shape(StrEnum):
    """How input changes."""

    STEPS = "steps"
    """1 × → 4 × → 0.5 × of the base and the like, each for long enough to settle."""
    DAY = "day"
    """Up and down as in a day, compressed."""
    RAMP = "ramp"
    BURSTS = "bursts"
    """Some minutes of several times the base, again and again."""
    PAUSES = "pauses"
    """Nothing arrives for a while."""


@dataclass(frozen=True)
class Workload:
    """One stream.

    Attributes:
        trigger_s: the trigger interval; 0 for batches that follow each other.
        target_s: what a batch may take: the trigger interval unless that is 0.
        rates: rows a second, for each step of `STEP_S`.
        rows_limit: a batch takes no more (``maxOffsetsPerTrigger``); None for all that is there.
        backlog_is_told: by a helper in the driver, with each batch.
        fixed_s: what a batch costs without any row.
        row_s: seconds of one slot for a row.
        contention, coherence: of the universal scalability law, for slots.
        tasks: of the largest stage.
        in_waves: tasks are of equal length and run in whole waves; else slots are used as far as there are tasks.
        start_s: from asking for an executor until it works, on average.
        drain_s: from asking one to leave until it is gone.
        first_executors: there are when the query begins; they were asked for in that moment and have yet to start.
        warm_up_factor: an executor that has just started takes so many times as long for its first task (classes are loaded,
            code is compiled, Python workers begin).
        warm_up_s: of work until it no longer does.
        first_batch_factor: the first batch of the query costs so many times its fixed part (planning, first commits, state
            stores); less with each of the next ones.
        keeps_state: so executors leave one at a time.
        task_noise: standard deviation of what equal tasks take, as a share.
        heavy_share, heavy_factor: so many of the tasks, the same ones in each batch, take so many times as long.
        first_stage_tasks, first_stage_share: of the stage before the largest one, and its share of the work; no tasks, no stage.
        noise: standard deviation of what batches of one size take, as a share.
        hot_from: the step at which the first `change` has settled in the plan of `STEPS`; see `settled`.
    """

    seed: int
    shape: Shape
    trigger_s: float
    target_s: float
    rates: tuple[float, ...]
    changes: tuple[int, ...]
    rows_limit: float | None
    backlog_is_told: bool
    fixed_s: float
    row_s: float
    contention: float
    coherence: float
    tasks: int
    in_waves: bool
    tasks_per_executor: int
    start_s: float
    drain_s: float
    noise: float
    max_executors: int
    first_executors: int = 1
    warm_up_factor: float = 1.0
    warm_up_s: float = 1.0
    first_batch_factor: float = 1.0
    keeps_state: bool = False
    task_noise: float = 0.1
    heavy_share: float = 0.0
    heavy_factor: float = 1.0
    first_stage_tasks: int = 0
    first_stage_share: float = 0.0

    @property
    def duration_s(self) -> float:
        return len(self.rates) * STEP_S

    @cached_property
    def arrived(self) -> tuple[float, ...]:
        """Rows that have arrived by the beginning of each step, and at the end."""
        total, sums = 0.0, [0.0]
        for rate in self.rates:
            total += rate * STEP_S
            sums.append(total)
        return tuple(sums)

    def arrived_by(self, t: float) -> float:
        step = min(int(t / STEP_S), len(self.rates) - 1)
        return self.arrived[step] + self.rates[step] * (t - step * STEP_S)

    def speed(self, executors: int) -> float:
        """Slots' worth of work a second."""
        slots = executors * self.tasks_per_executor
        if slots < 1:
            return 0.0
        if self.in_waves:
            usable = self.tasks / math.ceil(self.tasks / slots)
        else:
            usable = float(min(slots, self.tasks))
        return usable / (
            1 + self.contention * (usable - 1) + self.coherence * usable * (usable - 1)
        )

    @cached_property
    def speeds(self) -> tuple[float, ...]:
        return tuple(self.speed(n) for n in range(self.max_executors + 1))

    def fixed_of(self, batch: int) -> float:
        """What a batch of the query costs without any row: the first ones more."""
        cold = max(0.0, 1 - batch / FIRST_BATCHES)
        return self.fixed_s * (1 + (self.first_batch_factor - 1) * cold)

    def slowness(self, worked_s: float) -> float:
        """How many times as long as others an executor takes that has worked for so long."""
        return 1 + (self.warm_up_factor - 1) * max(0.0, 1 - worked_s / self.warm_up_s)

    @cached_property
    def _noises(self) -> tuple[float, ...]:
        rng = random.Random(f"noise {self.seed}")
        period = self.trigger_s or self.target_s
        count = int(self.duration_s / period) + 2
        return tuple(
            min(max(rng.gauss(1.0, self.noise), 1 - 2.5 * self.noise), 1 + 2.5 * self.noise)
            for _ in range(count)
        )

    def noise_at(self, t: float) -> float:
        """What a batch that begins now takes more or less than others of its size: the same for every rule."""
        return self._noises[min(int(t / (self.trigger_s or self.target_s)), len(self._noises) - 1)]

    def needed(self, rate: float, share: float = 1.0, noise: float = 1.0) -> int:
        """The fewest executors with which batches take at most this share of what they may; at most the maximum."""
        if rate <= 0:
            return 0
        for executors in range(1, self.max_executors + 1):
            speed = self.speeds[executors]
            if self.trigger_s:
                enough = (
                    self.fixed_s + rate * self.trigger_s * self.row_s * noise / speed
                    <= share * self.target_s
                )
            else:
                busy = rate * self.row_s * noise / speed
                enough = busy < 1 and self.fixed_s / (1 - busy) <= share * self.target_s
            if enough:
                return executors
        return self.max_executors


def stepped_stream() -> Workload:
    """The stream of `tests.streams`: two minutes at the work of 1.2 executors, two at four times that, three at half of it.

    It begins with the one executor that there has to be.
    """
    minute = int(60 / STEP_S)
    return Workload(
        seed=0,
        shape=Shape.STEPS,
        trigger_s=10.0,
        target_s=10.0,
        rates=(12.0,) * (2 * minute) + (48.0,) * (2 * minute) + (6.0,) * (3 * minute),
        changes=(2 * minute, 4 * minute),
        rows_limit=None,
        backlog_is_told=False,
        fixed_s=0.5,
        row_s=0.1,
        contention=0.0,
        coherence=0.0,
        tasks=24,
        in_waves=True,
        tasks_per_executor=1,
        start_s=12.0,
        drain_s=40.0,
        noise=0.05,
        max_executors=8,
        warm_up_factor=3.0,
        warm_up_s=20.0,
        first_batch_factor=5.0,
    )


def workload(seed: int) -> Workload:
    """The workload of a seed."""
    rng = random.Random(seed)
    shape = rng.choice(
        [Shape.STEPS, Shape.STEPS, Shape.DAY, Shape.RAMP, Shape.BURSTS, Shape.PAUSES]
    )
    back_to_back = rng.random() < 0.1
    interval = rng.choice([5.0, 10.0, 10.0, 15.0, 30.0, 60.0])
    tasks_per_executor = rng.choice([1, 2, 4])
    tasks = rng.choice([16, 24, 32, 48, 64, 200, 200])
    steps = int(3 * 3600 / STEP_S)
    fixed_s = interval * rng.uniform(0.03, 0.25)
    contention, coherence = rng.uniform(0, 0.01), rng.uniform(0, 0.0001)
    in_waves = rng.random() < 0.4
    made = Workload(
        seed=seed,
        shape=shape,
        trigger_s=0.0 if back_to_back else interval,
        target_s=interval,
        rates=(1.0,) * steps,
        changes=(),
        rows_limit=None,
        backlog_is_told=rng.random() < 0.5,
        fixed_s=fixed_s,
        row_s=1.0,
        contention=contention,
        coherence=coherence,
        tasks=tasks,
        in_waves=in_waves,
        tasks_per_executor=tasks_per_executor,
        start_s=rng.uniform(15, 90),
        drain_s=rng.uniform(2, 15),
        noise=rng.uniform(0.03, 0.12),
        max_executors=40,
    )
    factors, changes = _factors(rng, shape, steps)
    peak = max(factors)
    # so many executors that the peak can be served with some to spare, and the base needs a few
    most_useful = min(made.max_executors, math.ceil(tasks / tasks_per_executor))
    at_peak = rng.uniform(min(4.0, most_useful * 0.5), most_useful * 0.7)
    speed = made.speed(max(1, int(at_peak)))
    room = 0.75 * interval - fixed_s
    rate = rng.choice([100.0, 1000.0, 20000.0])
    row_s = room * speed / (rate * peak * interval)
    rates = tuple(rate * factor for factor in factors)
    limited = rng.random() < 0.25
    of_starts = random.Random(f"starts cold {seed}")
    of_tasks = random.Random(f"tasks differ {seed}")
    fields = {
        **made.__dict__,
        "rates": rates,
        "changes": changes,
        "row_s": row_s,
        "rows_limit": rate * peak * interval * rng.uniform(1.5, 2.5) if limited else None,
        "backlog_is_told": made.backlog_is_told or limited,
        "drain_s": of_starts.uniform(4, 30),
        "warm_up_factor": of_starts.uniform(1.5, 3.5),
        "warm_up_s": of_starts.uniform(10, 30),
        "first_batch_factor": of_starts.uniform(1, 5),
        "keeps_state": of_starts.random() < 0.4,
        "task_noise": of_tasks.uniform(0.05, 0.4),
        "heavy_share": of_tasks.choice([0.0, of_tasks.uniform(0.05, 0.2)]),
        "heavy_factor": of_tasks.uniform(1.5, 4.0),
        "first_stage_tasks": of_tasks.choice([0, max(4, int(tasks * of_tasks.uniform(0.2, 1.0)))]),
        "first_stage_share": of_tasks.uniform(0.1, 0.5),
    }
    begun = Workload(**fields)
    return replace(begun, first_executors=max(1, begun.needed(begun.rates[0], share=0.8)))


def _factors(
    rng: random.Random, shape: Shape, steps: int
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Input as multiples of the base, and the steps at which it changes at once."""
    jitter = rng.uniform(0.0, 0.05)
    if shape is Shape.STEPS:
        levels = [1.0, rng.uniform(2.5, 4.0), rng.uniform(0.4, 0.7), rng.uniform(1.2, 2.5)]
        each = steps // len(levels)
        plan = [levels[min(step // each, len(levels) - 1)] for step in range(steps)]
        changes = tuple(each * place for place in range(1, len(levels)))
    elif shape is Shape.DAY:
        cycles, low = rng.choice([1, 2]), rng.uniform(0.1, 0.4)
        plan = [
            low + (1 - low) * (1 - math.cos(2 * math.pi * cycles * step / steps)) / 2
            for step in range(steps)
        ]
        changes = ()
    elif shape is Shape.RAMP:
        end = rng.uniform(2, 5)
        turn = rng.uniform(0.5, 0.8)
        plan = [
            1 + (end - 1) * min(step / (steps * turn), 1.0, (steps - step) / (steps * (1 - turn)))
            for step in range(steps)
        ]
        changes = ()
    elif shape is Shape.BURSTS:
        every, length = int(rng.uniform(240, 600)), int(rng.uniform(36, 120))
        height = rng.uniform(1.5, 3.0)
        plan = [height if step % every < length and step >= every else 1.0 for step in range(steps)]
        changes = ()
    else:
        every, length = int(rng.uniform(500, 900)), int(rng.uniform(60, 240))
        plan = [0.0 if step % every < length and step >= every else 1.0 for step in range(steps)]
        changes = ()
    noisy, drift = [], 0.0
    for factor in plan:
        drift = 0.9 * drift + rng.gauss(0, jitter) * 0.4
        noisy.append(max(0.0, factor * (1 + drift)))
    return tuple(noisy), changes
