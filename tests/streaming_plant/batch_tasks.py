"""The tasks of a batch, as the driver's REST would show them while it runs.

Theory of operation
-------------------
How long a batch takes is the plant's affair: it works at a speed, and its tasks only show how far it is. A stage's tasks have lengths
that differ (noise for each task and batch, and heavy tasks that are the same ones in each batch) and are put on the slots in order,
the next one where one ends first. When the last one ends in this schedule, the stage has done its whole work in the plant; in between
both go on in proportion. With other slots what waits is put on those from then on. So tasks end in waves, stragglers are last, and
durations are the same as without them.

In half of the workloads a stage with fewer tasks comes before the largest one. While the fixed part of a batch passes no stage is
active.
"""

import heapq
import math
import random

from tests.streaming_plant.workload import Workload

from spark_allocation.core.streaming.observations import StageProgress


class _Stage:
    """Its tasks on slots; `share` is how much of its work the plant has done."""

    def __init__(self, lengths: list[float]) -> None:
        self.lengths = lengths
        self.begun = 0
        self.completed = 0
        self.slots = 0
        self.time = 0.0
        self.ends: list[float] = []
        self.planned_at = (0.0, 0.0, 0.0)
        """Share of the work and time when slots were other ones last, and the time at which all have ended."""

    def advance(self, share: float, slots: int) -> None:
        if not self.begun and slots:
            self._plan(0.0, slots)
        share_then, time_then, all_ended = self.planned_at
        if share_then < 1 and share > share_then:
            until = (share - share_then) / (1 - share_then)
            self._run(time_then + until * (all_ended - time_then))
        # without any slot nothing is done until there are some again
        if slots and slots != self.slots:
            self._plan(share, slots)

    def _plan(self, share: float, slots: int) -> None:
        self.slots = slots
        self._fill()
        self.planned_at = (share, self.time, self._all_ended())

    def _run(self, until: float) -> None:
        while self.ends and self.ends[0] <= until + 1e-9:
            self.time = heapq.heappop(self.ends)
            self.completed += 1
            self._fill()
        self.time = max(self.time, until)

    def _fill(self) -> None:
        while self.begun < len(self.lengths) and len(self.ends) < self.slots:
            heapq.heappush(self.ends, self.time + self.lengths[self.begun])
            self.begun += 1

    def _all_ended(self) -> float:
        # where slots were taken away, those that end first leave none free
        ends, last = heapq.nlargest(self.slots, self.ends), max(self.ends, default=self.time)
        heapq.heapify(ends)
        for length in self.lengths[self.begun :]:
            if len(ends) < self.slots:
                heapq.heappush(ends, self.time + length)
            else:
                heapq.heappush(ends, heapq.heappop(ends) + length)
        return max([last, *ends])


class BatchTasks:
    """Of one batch.

    Args:
        number: of the batch.
    """

    def __init__(self, work: Workload, number: int) -> None:
        chance = random.Random(f"tasks {work.seed} {number}")
        first = [work.first_stage_tasks] if work.first_stage_tasks else []
        self._shares = [work.first_stage_share, 1.0] if first else [1.0]
        self._stages = [_Stage(_lengths(work, tasks, chance)) for tasks in (*first, work.tasks)]
        self._number = number
        self._at = 0
        self._began_at = 0.0
        self._looked = (0.0, 0.0)

    def begin(self, now: float) -> None:
        """The first stage is submitted."""
        self._began_at = now
        self._looked = (now, 0.0)

    def seen(self, now: float, done: float, slots: int) -> tuple[StageProgress, ...]:
        """What is active.

        Args:
            done: share of the batch's work.
        """
        then, before = self._looked
        while done > self._shares[self._at] and self._at < len(self._stages) - 1:
            passed = (self._shares[self._at] - before) / (done - before)
            self._began_at = then + passed * (now - then)
            self._at += 1
        self._looked = (now, done)
        stage = self._stages[self._at]
        begin = self._shares[self._at - 1] if self._at else 0.0
        share = (done - begin) / (self._shares[self._at] - begin)
        stage.advance(min(1.0, max(0.0, share)), slots)
        return (
            StageProgress(
                2 * self._number + self._at,
                len(stage.lengths),
                stage.completed,
                len(stage.ends),
                now - self._began_at,
            ),
        )


def _lengths(work: Workload, tasks: int, chance: random.Random) -> list[float]:
    heavy = random.Random(f"heavy {work.seed} {tasks}")
    shape = math.sqrt(math.log(1 + work.task_noise**2))
    return [
        (work.heavy_factor if heavy.random() < work.heavy_share else 1.0)
        * chance.lognormvariate(0.0, shape)
        for _ in range(tasks)
    ]
