"""One stream under one rule: batches, executors that come late and leave slowly, what it costs and how far it lags.

Theory of operation
-------------------
Time goes from event to event: the end of a batch, a trigger, an executor that has started, and every `STEP_S` the rule is asked.
A batch takes the rows that have arrived since (or as many as the limit allows), costs its fixed part whatever runs, and
then works at the speed of the executors that there are, also when these change on the way.

Costs count from the moment an executor is asked for until it is gone. *Lag* is the age of the oldest row that is not
processed yet. Up to two intervals of it are as it has to be: a row waits for its trigger, and then its batch may take one
interval. What is more is *excess lag*.
"""

import random
from dataclasses import dataclass, field
from typing import Protocol

from tests.streaming_plant.workload import STEP_S, Workload


@dataclass(frozen=True, slots=True)
class Batch:
    """One that has completed."""

    number: int
    began_at: float
    ended_at: float
    rows: float
    backlog_rows: float
    executors: int

    @property
    def duration_s(self) -> float:
        return self.ended_at - self.began_at


@dataclass(frozen=True, slots=True)
class View:
    """What a rule may see."""

    now: float
    batches: tuple[Batch, ...]
    """Completed since the rule was asked last."""
    running_since: float | None
    running_number: int
    remaining_share: float
    """Of the work of the running batch: what of its tasks has not ended."""
    ready: int
    asked: int
    """What the rule has said last."""
    leaving: int


class Rule(Protocol):
    """Says how many executors there are to be."""

    def executors(self, view: View) -> int: ...

    def may_leave(self, view: View, surplus: int) -> int:
        """How many of those that are too many begin to leave now."""
        ...


@dataclass(slots=True)
class Run:
    """What came of it.

    Attributes:
        cost: executor seconds.
        excess: seconds of excess lag, integrated over time.
        targets: what the rule said at each step.
        lags: excess lag at each step.
    """

    cost: float = 0.0
    excess: float = 0.0
    late_batches: int = 0
    batches: int = 0
    targets: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)

    @property
    def mean_excess_s(self) -> float:
        return self.excess / (len(self.lags) * STEP_S)

    @property
    def late_share(self) -> float:
        return self.late_batches / max(1, self.batches)


class _Plant:
    def __init__(self, work: Workload, executors: int) -> None:
        self.work = work
        self.now = 0.0
        self.ready = executors
        self.starting: list[float] = []
        self.draining: list[float] = []
        self.taken = 0.0
        self.committed = 0.0
        self.number = 0
        self.began_at: float | None = None
        self.rows = 0.0
        self.fixed_left = 0.0
        self.work_left = 0.0
        self.work_whole = 1.0
        self.next_trigger = 0.0
        self.completed: list[Batch] = []
        self.rng = random.Random(f"starts {work.seed}")
        self.run = Run()
        self.left = 0.0
        self.target = executors
        self._oldest_step = 0

    # -- executors ---------------------------------------------------------------------------------------------------

    def ask(self, target: int) -> int:
        """Ask for more, or no longer wait for those that start; returns how many that are ready are too many."""
        self.target = target
        there = self.ready + len(self.starting)
        for _ in range(target - there):
            delay = self.work.start_s * self.rng.uniform(0.8, 1.3)
            self.starting.append(self.now + delay)
        if target < there:
            self.starting.sort()
            keep = max(0, len(self.starting) - (there - target))
            del self.starting[keep:]
        return max(0, self.ready - target)

    def leave(self, count: int) -> None:
        for _ in range(count):
            self.ready -= 1
            self.draining.append(self.now + self.work.drain_s)

    # -- time --------------------------------------------------------------------------------------------------------

    def advance(self, until: float) -> None:
        while self.now < until:
            if self.began_at is None:
                self._begin_batch_if_due()
            moment = min(until, self._next_event())
            self._pass(moment)

    def _next_event(self) -> float:
        moments = [*self.starting, *self.draining]
        if self.began_at is not None:
            speed = self.work.speeds[min(self.ready, self.work.max_executors)]
            if self.fixed_left > 0:
                moments.append(self.now + self.fixed_left)
            elif speed > 0:
                moments.append(self.now + self.work_left / speed)
        else:
            moments.append(self.next_trigger)
        return min([at for at in moments if at > self.now], default=self.now + STEP_S)

    def _pass(self, moment: float) -> None:
        elapsed = moment - self.now
        self.run.cost += elapsed * (self.ready + len(self.starting) + len(self.draining))
        if self.began_at is not None:
            if self.fixed_left > 0:
                self.fixed_left = max(0.0, self.fixed_left - elapsed)
                if self.fixed_left < 1e-9:
                    self.fixed_left = 0.0
            else:
                speed = self.work.speeds[min(self.ready, self.work.max_executors)]
                self.work_left -= elapsed * speed
        self.now = moment
        if self.began_at is not None and self.fixed_left == 0.0 and self.work_left <= 1e-6:
            self._end_batch(self.began_at)
        started = [at for at in self.starting if at <= moment]
        if started:
            self.ready += len(started)
            self.starting = [at for at in self.starting if at > moment]
        if self.draining and min(self.draining) <= moment:
            self.draining = [at for at in self.draining if at > moment]

    # -- batches -----------------------------------------------------------------------------------------------------

    def _begin_batch_if_due(self) -> None:
        if self.now < self.next_trigger:
            return
        work = self.work
        rows = work.arrived_by(self.now) - self.taken
        if work.rows_limit is not None:
            rows = min(rows, work.rows_limit)
        trigger_s = work.trigger_s
        if trigger_s:
            self.next_trigger = (int(self.now / trigger_s + 1e-9) + 1) * trigger_s
        else:
            self.next_trigger = self.now + (0.5 if rows <= 1e-6 else 0.0)
        if rows <= 1e-6:
            return
        noise = work.noise_at(self.now)
        self.began_at = self.now
        self.rows = rows
        self.taken += rows
        self.left = max(0.0, work.arrived_by(self.now) - self.taken)
        self.fixed_left = work.fixed_s
        self.work_whole = self.work_left = max(1e-9, rows * work.row_s * noise)

    def _end_batch(self, began_at: float) -> None:
        self.committed = self.taken
        batch = Batch(self.number, began_at, self.now, self.rows, self.left, self.ready)
        self.completed.append(batch)
        self.number += 1
        self.began_at = None
        self.run.batches += 1
        if batch.duration_s > self.work.target_s * 1.0001:
            self.run.late_batches += 1

    # -- what is seen ------------------------------------------------------------------------------------------------

    def view(self) -> View:
        seen = tuple(self.completed)
        self.completed.clear()
        return View(
            now=self.now,
            batches=seen,
            running_since=self.began_at,
            running_number=self.number,
            remaining_share=0.0 if self.began_at is None else self.work_left / self.work_whole,
            ready=self.ready,
            asked=self.target,
            leaving=len(self.draining),
        )

    def excess_lag(self) -> float:
        work = self.work
        arrived = work.arrived
        if work.arrived_by(self.now) - self.committed <= 1e-6:
            return 0.0
        while (
            self._oldest_step + 1 < len(arrived)
            and arrived[self._oldest_step + 1] <= self.committed + 1e-9
        ):
            self._oldest_step += 1
        rate = work.rates[min(self._oldest_step, len(work.rates) - 1)]
        oldest = self._oldest_step * STEP_S
        if rate > 0:
            oldest += (self.committed - arrived[self._oldest_step]) / rate
        return max(0.0, self.now - oldest - 2 * work.target_s)


def simulate(work: Workload, rule: Rule) -> Run:
    """Run the whole workload under a rule, from as many executors as the first minutes need."""
    first = work.needed(work.rates[0], share=0.8)
    plant = _Plant(work, max(1, first))
    for _ in range(len(work.rates)):
        view = plant.view()
        target = max(0, min(work.max_executors, rule.executors(view)))
        surplus = plant.ask(target)
        if surplus:
            plant.leave(min(surplus, rule.may_leave(view, surplus)))
        plant.advance(plant.now + STEP_S)
        excess = plant.excess_lag()
        plant.run.excess += excess * STEP_S
        plant.run.targets.append(target)
        plant.run.ready.append(plant.ready)
        plant.run.lags.append(excess)
    return plant.run
