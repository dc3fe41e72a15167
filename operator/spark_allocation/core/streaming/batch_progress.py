"""How long the batch that runs will take at least, by how far its tasks are: so a batch is known to be late before it is.

Theory of operation
-------------------
*Waves.* Of a stage it is seen how many tasks it has, how many have completed and how many run now. On slots that are all in use,
tasks of equal length end in waves. From the slot seconds that a stage has had, and the ages of the tasks that run, comes how long a task
takes at least; from that, how long those take that are left:

    task ≥ (slot seconds − ages of the tasks that run) ÷ completed        and        task ≥ slot seconds ÷ (completed + running)

The first is exact once a wave has completed, but for the time between two looks, of which the tasks that began between are given all. The
second takes the tasks that run for as good as done: without any that has completed, a task takes at least as long as those that run, so
each wave to come takes at least the age of the first.

*What is left out, because it can only make a batch longer:* stages that have not begun, of which nobody knows how long their tasks are; the
end of a batch after its last task; and what tasks that run now take beyond that. Slots that stand free now are taken to be used by the tasks that wait. Of executors
that have come meanwhile, only what they have run counts for slot seconds, but what is left is shared among all of them.

*How far it is believed.* Of few tasks it is known less well what the others take: of the time that is left, the standard error of a mean of those
that have begun is taken off (`DOUBT`). What one look shows may be a moment's: the lower of two in a row counts. And nothing is foreseen
further than `FARTHEST` times the age: that the tasks of the first wave hang for a moment says little of all the others.

Where the heavy tasks come first, each batch looks longer than it will be. Whether they do, the query shows itself: of each batch that has ended it
is known how much of the highest estimate it took, and all estimates are taken down to the least share of the last `BATCHES_KEPT`. So a
stream that is as it was never looks longer than it is. Nothing is foreseen before `BATCHES_TO_BELIEVE` batches have ended.

While executors are slow because they have just come, and in the first batches of a run (`run_beginning`), tasks that are left are quicker
than those that have completed: then nothing is foreseen, and nothing is learned of how good estimates are. Neither is it from what was expected before
executors came, because a batch is shorter with them, nor from batches in which there was nothing to foresee, because each task had a slot.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from spark_allocation.core.streaming.executors_over_time import ExecutorsOverTime
from spark_allocation.core.streaming.observations import RunningBatch, StageProgress

BATCHES_KEPT = 16
BATCHES_TO_BELIEVE = 3
FARTHEST = 4.0
"""Times its age: no batch is believed to take longer than that."""
DOUBT = 0.3
"""Standard deviation of what tasks of a stage take, as a share."""
FORESEEN = 1.1
"""Times its age: a batch of which no more was ever expected says nothing of how good estimates are."""
MOST_KNOWN_APART = 64
"""Moments at which tasks of a stage began that are known apart; later ones count as the last of them: as older than they are."""
LONGEST_S = 1e8
"""Older is no age that can be."""


@dataclass(slots=True)
class _Began:
    """So many tasks that run began since a moment."""

    at: float
    tasks: int


@dataclass(slots=True)
class StageTasks:
    """The tasks of one active stage, over the looks at it. Times are seconds of one clock.

    Attributes:
        slot_s: slot seconds that it has had, at least.
    """

    tasks: int
    completed: int
    active: int
    looked_at: float
    slot_s: float
    _began: deque[_Began] = field(default_factory=deque)
    """Those that run, the oldest first: which of them have completed nobody tells."""

    @classmethod
    def first_seen(cls, seen: StageProgress, *, at: float, slots: float) -> "StageTasks":
        """At its first look.

        Args:
            slots: that there were since it was submitted, on average.
        """
        active, age_s = seen.active_tasks, seen.age_s
        stage = cls(seen.tasks, seen.completed_tasks, active, at, min(active, slots) * age_s)
        stage._began.append(_Began(at - age_s, active))
        return stage

    def look(self, seen: StageProgress, *, at: float) -> bool:
        """Take another look at it; False when it is not the same any more: it is tried once more."""
        if seen.tasks != self.tasks or seen.completed_tasks < self.completed or at < self.looked_at:
            return False
        active = seen.active_tasks
        self.slot_s += min(self.active, active) * (at - self.looked_at)
        gone = left = seen.completed_tasks - self.completed
        while left and self._began:
            first = self._began[0]
            taken = min(left, first.tasks)
            first.tasks -= taken
            left -= taken
            if not first.tasks:
                self._began.popleft()
        stayed = min(max(0, self.active - gone), active)
        self._keep(stayed)
        if active > stayed and len(self._began) < MOST_KNOWN_APART:
            self._began.append(_Began(self.looked_at, active - stayed))
        elif active > stayed:
            self._began[-1].tasks += active - stayed
        self.completed, self.active, self.looked_at = seen.completed_tasks, active, at
        return True

    def _keep(self, running: int) -> None:
        """So many run of those that ran: the youngest of the others were lost with their executor, or were copies."""
        known = sum(each.tasks for each in self._began)
        while known > running:
            last = self._began[-1]
            taken = min(known - running, last.tasks)
            last.tasks -= taken
            known -= taken
            if not last.tasks:
                self._began.pop()

    def task_s(self) -> float:
        """How long one of its tasks takes, at least; 0 when none has begun."""
        seen = self.completed + self.active
        if not seen:
            return 0.0
        least = self.slot_s / seen
        if self.completed:
            running_s = sum(each.tasks * (self.looked_at - each.at) for each in self._began)
            least = max(least, (self.slot_s - running_s) / self.completed)
        return least

    def left_s(self, slots: int) -> float:
        """Until the last of its tasks ends on so many slots, at least."""
        task_s, waiting = self.task_s(), self._waiting
        lefts = [
            (max(0.0, task_s - (self.looked_at - each.at)), each.tasks) for each in self._began
        ]
        if not waiting:
            return max((left for left, _ in lefts), default=0.0)
        free = max(slots, self.active, 1)
        rounds, place = divmod(waiting - 1, free)
        # slots that stand free take the first, then those whose tasks are the oldest
        place -= free - self.active
        for left, tasks in lefts:
            if place < 0:
                break
            place -= tasks
            if place < 0:
                return left + (rounds + 1) * task_s
        return (rounds + 1) * task_s

    def work_s(self) -> float:
        """Slot seconds that are left, at least."""
        task_s = self.task_s()
        return self._waiting * task_s + sum(
            each.tasks * max(0.0, task_s - (self.looked_at - each.at)) for each in self._began
        )

    @property
    def _waiting(self) -> int:
        return max(0, self.tasks - self.completed - self.active)


def left_s(stages: Sequence[StageTasks], slots: int) -> float:
    """Until the last task of stages that share slots ends, at least."""
    if not stages:
        return 0.0
    shared = sum(each.work_s() for each in stages) / max(
        slots, sum(each.active for each in stages), 1
    )
    return max(shared if len(stages) > 1 else 0.0, *(each.left_s(slots) for each in stages))


@dataclass(slots=True)
class _Followed:
    """A batch while it runs."""

    batch_id: int | None
    began_at: float
    executors: int
    stages: dict[int, StageTasks] = field(default_factory=dict)
    looked_s: float = 0.0
    """As it looked last."""
    expected_s: float = 0.0
    """As the last two looks say."""
    highest_s: float = 0.0
    """That was expected, since executors came last; 0 while nothing was beyond its age."""
    was_cold: bool = False


class BatchProgress:
    """Of one query. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._running: _Followed | None = None
        self._ran: _Followed | None = None
        self._shares: deque[float] = deque(maxlen=BATCHES_KEPT)
        """Of their estimates, that batches took; at most 1."""

    def anew(self) -> None:
        """Another run of the query has begun: how its tasks are is to be seen once more."""
        self._running = self._ran = None
        self._shares.clear()

    @property
    def believed(self) -> float | None:
        """Share of an estimate that is sure; None while too few batches have shown it."""
        return min(self._shares) if len(self._shares) >= BATCHES_TO_BELIEVE else None

    def look(
        self,
        running: RunningBatch | None,
        *,
        at: float,
        executors: ExecutorsOverTime,
        tasks_per_executor: int,
        warm: bool,
    ) -> None:
        """Look at what runs.

        Args:
            running: None when none does.
            executors: up to now.
            warm: executors are as quick as they will be.
        """
        followed = self._running
        if running is None or not _is_age(running.age_s):
            self._ran, self._running = followed or self._ran, None
            return
        began_at = at - running.age_s
        if followed is None or not _is_same(followed, running, began_at):
            self._ran = followed or self._ran
            followed = self._running = _Followed(running.batch_id, began_at, executors.now)
        if executors.now > followed.executors:
            followed.highest_s = 0.0
        followed.executors = executors.now
        stages: dict[int, StageTasks] = {}
        for told in running.stages:
            seen = _sane(told, running.age_s)
            stage = followed.stages.get(seen.stage_id)
            if stage is None or not stage.look(seen, at=at):
                slots = executors.mean(at - seen.age_s, at) * tasks_per_executor
                stage = StageTasks.first_seen(seen, at=at, slots=slots)
            stages[seen.stage_id] = stage
        followed.stages = stages
        looks_s = running.age_s
        if warm:
            left = left_s(tuple(stages.values()), executors.now * tasks_per_executor)
            begun = sum(each.completed + each.active for each in stages.values())
            looks_s += left * (1 - DOUBT / math.sqrt(max(1, begun)))
        followed.expected_s = min(looks_s, followed.looked_s)
        followed.looked_s = looks_s
        followed.was_cold = followed.was_cold or not warm
        if followed.highest_s or followed.expected_s > FORESEEN * running.age_s:
            followed.highest_s = max(followed.highest_s, followed.expected_s)

    def ended(self, batch_id: int | None, *, ended_at: float, duration_s: float) -> None:
        """A batch has ended: how good was what was expected of it?"""
        for followed in (self._running, self._ran):
            if followed is None or not followed.highest_s or followed.was_cold:
                continue
            if batch_id is not None and followed.batch_id != batch_id:
                continue
            ran_s = ended_at - followed.began_at
            if batch_id is None and ran_s < duration_s / 2:
                # it is the one after it
                continue
            took_s = min(duration_s, ran_s)
            self._shares.append(min(1.0, max(0.0, took_s) / followed.highest_s))
            followed.highest_s = 0.0
            return

    def at_least_s(self, age_s: float) -> float:
        """The duration of the batch that runs, at least: never below its age.

        Args:
            age_s: now.
        """
        believed, followed = self.believed, self._running
        if believed is None or followed is None:
            return age_s
        return max(age_s, min(believed * followed.expected_s, FARTHEST * age_s))


def _is_same(followed: _Followed, running: RunningBatch, began_at: float) -> bool:
    if running.batch_id is not None or followed.batch_id is not None:
        return running.batch_id == followed.batch_id
    return math.isclose(began_at, followed.began_at, abs_tol=0.5)


def _is_age(value: float) -> bool:
    return 0 <= value <= LONGEST_S


def _sane(seen: StageProgress, batch_age_s: float) -> StageProgress:
    """Without numbers that cannot be."""
    age_s = min(seen.age_s, batch_age_s) if _is_age(seen.age_s) else 0.0
    return StageProgress(
        seen.stage_id,
        max(0, seen.tasks),
        max(0, min(seen.completed_tasks, seen.tasks)),
        max(0, seen.active_tasks),
        age_s,
    )
