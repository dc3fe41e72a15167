"""One stream under one rule: batches, executors that come late and leave slowly, what it costs and how far it lags.

Theory of operation
-------------------
Time goes from event to event: the end of a batch, a trigger, an executor that has started, and every `STEP_S` the rule is asked.
A batch takes the rows that have arrived since (or as many as the limit allows), costs its fixed part whatever runs, and
then works at the speed of the executors that there are, also when these change on the way. How far its tasks are is seen
(`batch_tasks`); who wants to see it each second, as the operator asks a driver, says so (`Rule.looks`).

Nothing is at its speed from the first moment on. The query begins with executors that have yet to start, its first batches cost
more, and an executor is slow until it has worked for a while. While too many are there, the rule is asked every second who may
leave; one that was asked to is gone some time later, and works no more.

Costs count from the moment an executor is asked for until it is gone. *Lag* is the age of the oldest row that is not
processed yet. Up to two intervals of it are as it has to be: a row waits for its trigger, and then its batch may take one
interval. What is more is *excess lag*.
"""

import random
from dataclasses import dataclass, field
from typing import Protocol

from tests.streaming_plant.batch_tasks import BatchTasks
from tests.streaming_plant.workload import STEP_S, Workload

from spark_allocation.core.streaming.observations import StageProgress

LOOK_S = 1.0
WARMER_S = 1.0


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
    stages: tuple[StageProgress, ...]
    """Of the running batch, that are active."""
    ready: int
    asked: int
    """What the rule has said last."""
    leaving: int


class Rule(Protocol):
    """Says how many executors there are to be."""

    looks: bool
    """It looks each second, and not only when it is asked."""

    def look(self, view: View) -> None: ...

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
        self.warm = 0
        self.cold: list[float] = []
        """Seconds that those have worked which are not warm yet, the oldest first."""
        self.draining: list[float] = []
        self.taken = 0.0
        self.committed = 0.0
        self.number = 0
        self.began_at: float | None = None
        self.rows = 0.0
        self.fixed_left = 0.0
        self.work_left = 0.0
        self.work_whole = 1.0
        self.tasks = BatchTasks(work, 0)
        self.next_trigger = 0.0
        self.completed: list[Batch] = []
        self.rng = random.Random(f"starts {work.seed}")
        self.starting: list[float] = [self._started_at(0.0) for _ in range(executors)]
        self.run = Run()
        self.left = 0.0
        self.target = executors
        self._oldest_step = 0

    # -- executors ---------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> int:
        return self.warm + len(self.cold)

    @property
    def surplus(self) -> int:
        """Of those that are ready, how many are too many."""
        return max(0, self.ready - self.target)

    def _started_at(self, asked_at: float) -> float:
        return asked_at + self.work.start_s * self.rng.uniform(0.8, 1.3)

    def _speed(self) -> float:
        ready = self.ready
        speed = self.work.speeds[min(ready, self.work.max_executors)]
        if self.cold:
            speed *= (self.warm + sum(1 / self.work.slowness(s) for s in self.cold)) / ready
        return speed

    def _have_worked(self, seconds: float) -> None:
        worked = [each + seconds for each in self.cold]
        self.cold = [each for each in worked if each < self.work.warm_up_s]
        self.warm += len(worked) - len(self.cold)

    def ask(self, target: int) -> None:
        """Ask for more, or no longer wait for those that start."""
        self.target = target
        there = self.ready + len(self.starting)
        for _ in range(target - there):
            self.starting.append(self._started_at(self.now))
        if target < there:
            self.starting.sort()
            keep = max(0, len(self.starting) - (there - target))
            del self.starting[keep:]

    def leave(self, count: int) -> None:
        """The youngest go first."""
        for _ in range(count):
            if self.cold:
                self.cold.pop()
            else:
                self.warm -= 1
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
            if self.fixed_left > 0:
                moments.append(self.now + self.fixed_left)
            elif self.ready:
                moments.append(self.now + self.work_left / self._speed())
                if self.cold:
                    moments.append(self.now + WARMER_S)
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
                    self.tasks.begin(moment)
            else:
                self.work_left -= elapsed * self._speed()
                if self.cold:
                    self._have_worked(elapsed)
        self.now = moment
        if self.began_at is not None and self.fixed_left == 0.0 and self.work_left <= 1e-6:
            self._end_batch(self.began_at)
        started = [at for at in self.starting if at <= moment]
        if started:
            self.cold += [0.0] * len(started)
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
        self.fixed_left = work.fixed_of(self.number)
        self.work_whole = self.work_left = max(1e-9, rows * work.row_s * noise)
        self.tasks = BatchTasks(work, self.number)
        self.tasks.begin(self.now)

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
        remaining = 0.0 if self.began_at is None else self.work_left / self.work_whole
        stages: tuple[StageProgress, ...] = ()
        if self.began_at is not None and self.fixed_left == 0.0:
            slots = self.ready * self.work.tasks_per_executor
            stages = self.tasks.seen(self.now, 1 - remaining, slots)
        return View(
            now=self.now,
            batches=seen,
            running_since=self.began_at,
            running_number=self.number,
            remaining_share=remaining,
            stages=stages,
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
    """Run the whole workload under a rule, from the first batch of the query on."""
    plant = _Plant(work, work.first_executors)
    for _ in range(len(work.rates)):
        view = plant.view()
        rule.look(view)
        target = max(0, min(work.max_executors, rule.executors(view)))
        plant.ask(target)
        until = plant.now + STEP_S
        while (plant.surplus or rule.looks) and plant.now < until:
            if plant.now > view.now:
                view = plant.view()
                rule.look(view)
            if plant.surplus:
                plant.leave(min(plant.surplus, rule.may_leave(view, plant.surplus)))
            plant.advance(min(until, plant.now + LOOK_S))
        plant.advance(until)
        excess = plant.excess_lag()
        plant.run.excess += excess * STEP_S
        plant.run.targets.append(target)
        plant.run.ready.append(plant.ready)
        plant.run.lags.append(excess)
    return plant.run
