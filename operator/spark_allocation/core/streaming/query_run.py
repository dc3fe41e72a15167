"""One run of a query: those of its batches that count.

Theory of operation
-------------------
*What counts.* A sample counts once, and only if its times are numbers that can be. A rate that is negative or no number is
unknown (Spark gives NaN for a rate over no time). Where the run id of a query or its batch ids begin anew another run begins:
nothing is compared with what was before.

*When rows arrived.* A batch has the rows since the trigger of the one before. That is its *fill*: one trigger interval while
batches are in time, as long as the former batch when that was late. After a pause without data it is one interval, whatever the
pause, because a row that had been there would have begun a batch. Then:

    input rate = (rows + what is left more than after the batch before) ÷ fill

A trigger interval that nobody tells is the time between the triggers of batches that had to wait for theirs.

*Idleness.* A query that is idle has a batch of nothing in each interval, to have it forgotten how busy it was. It comes back as it went:
once a batch runs again for some time, and from its end on, these count no more. Who was idle for long begins anew.
"""

import math
import statistics
from collections import deque
from dataclasses import dataclass

from spark_allocation.core.streaming.observations import BatchSample, QueryObservation
from spark_allocation.core.streaming.possible_numbers import count, number

LONGEST_BATCH_S = 1e8
SHORTEST_INTERVAL_S = 0.001
"""Spark counts milliseconds; less is none."""
BATCHES_KEPT = 16
WAITED_S = 0.5
WAITS_TO_BELIEVE = 3
"""Batches that waited, from which a trigger interval is known that nobody tells."""
TRIGGER_SLACK_S = 1.0
"""A batch begins so much after its trigger without having been late."""
AWAKE_SHARE = 0.25
"""Of its interval a batch has run before an idle query counts as awake."""
LONG_IDLENESS_S = 3600.0
IDLE_SECONDS = 10.0
"""Between two batches of nothing, of an idle query whose interval is unknown."""
BATCHES_MEASURED = 3
"""The last ones, of which it is said what they process."""


@dataclass(frozen=True, slots=True)
class MeasuredBatch:
    """A batch that counts.

    Attributes:
        fill_s: seconds in which its rows arrived; None for the first one, which may have any number of them.
        waited: it began later than the one before had ended: for its trigger, or for data.
        rows: None when unknown.
        executors: on average, while it ran, in executors that have warmed up.
        tasks: of its largest stage.
    """

    ended_at: float
    duration_s: float
    fill_s: float | None
    rows: float | None
    input_rate: float | None
    executors: float
    tasks: int | None
    waited: bool = False

    @property
    def began_at(self) -> float:
        """Its trigger."""
        return self.ended_at - self.duration_s

    @property
    def span_s(self) -> float:
        """The time that it speaks for."""
        return self.duration_s if self.fill_s is None else self.fill_s


@dataclass(frozen=True, slots=True)
class Throughput:
    """What some batches have processed.

    Attributes:
        rows: of all.
        duration_s: of all.
        executors: on average.
        slots: of these executors.
        tasks: of the largest stage; None when unknown.
    """

    rows: float
    duration_s: float
    executors: float
    slots: float
    tasks: int | None
    batches: int

    def rate(self, fixed_s: float) -> float:
        """Rows a second while busy, but for so many seconds that each batch costs by itself: at most half of what it took."""
        return self.rows / (self.duration_s - min(fixed_s * self.batches, self.duration_s / 2))


class QueryRun:
    """Of one query. Times are seconds of one clock.

    Args:
        query: as it was observed last.
        allowed_s: what a batch may take, when known.
    """

    def __init__(self, query: QueryObservation, allowed_s: float | None = None) -> None:
        self.query = query
        self.left_rows: float | None = None
        """That the last batch had to leave; None when unknown."""
        self._allowed_s = allowed_s
        self._last_id: int | None = None
        self._batches: deque[MeasuredBatch] = deque(maxlen=BATCHES_KEPT)
        self._idle: deque[MeasuredBatch] = deque(maxlen=BATCHES_KEPT)
        self._idle_since: float | None = None

    def anew(self) -> "QueryRun":
        """The run after this one: the same query, and no batches."""
        return QueryRun(self.query, self._allowed_s)

    # -- what comes in -----------------------------------------------------------------------------------------------

    def observed(self, query: QueryObservation, allowed_s: float | None) -> None:
        """The query as it is now; its batches are taken one by one (`take`)."""
        self.query, self._allowed_s = query, allowed_s

    def has(self, sample: BatchSample) -> bool:
        """It was told before, or is no later than what was."""
        last = self.last
        if last is not None and sample.ended_at <= last.ended_at:
            return True
        return sample.batch_id is not None and sample.batch_id == self._last_id

    def is_over(self, sample: BatchSample) -> bool:
        """The batch ids have begun anew."""
        return (
            sample.batch_id is not None
            and self._last_id is not None
            and sample.batch_id < self._last_id
        )

    def take(self, sample: BatchSample, executors: float) -> MeasuredBatch:
        """Take a batch whose times can be, and that the run does not have yet.

        Args:
            sample: the batch.
            executors: on average, while it ran, in executors that have warmed up.
        """
        ended_at, duration_s, before = sample.ended_at, sample.duration_s, self.last
        if self._idle_since is not None and ended_at - self._idle_since > LONG_IDLENESS_S:
            self._batches.clear()
        began_at = ended_at - duration_s
        fill_s = None
        if before is not None:
            fill_s = self._fill_s(before, began_at, self._batches_since_last(sample.batch_id))
            if fill_s is None:
                fill_s = self.trigger_interval_s
        self._idle.clear()
        self._idle_since = None
        rows = _rows(sample)
        left, left_before = number(sample.backlog_rows), self.left_rows
        self.left_rows = left
        arrived = rows
        if rows is not None and left is not None and left_before is not None:
            arrived = max(0.0, rows + left - left_before)
        batch = MeasuredBatch(
            ended_at=ended_at,
            duration_s=duration_s,
            fill_s=fill_s,
            rows=rows,
            input_rate=arrived / fill_s
            if arrived is not None and fill_s
            else number(sample.input_rate),
            executors=executors,
            tasks=count(sample.largest_stage_tasks) or self._partitions(),
            waited=before is not None and began_at > before.ended_at + WAITED_S,
        )
        self._batches.append(batch)
        self._last_id = sample.batch_id
        return batch

    def take_idleness(self, at: float, executors: int) -> bool:
        """A batch without rows for each interval that has passed; whether one has."""
        pause = self.usual_s or IDLE_SECONDS
        before = self.last
        if before is not None and at - before.ended_at < pause:
            return False
        if self._idle_since is None:
            self._idle_since = at
        self._idle.append(MeasuredBatch(at, 0.0, pause, 0.0, 0.0, float(executors), None))
        return True

    # -- what there is -----------------------------------------------------------------------------------------------

    @property
    def last(self) -> MeasuredBatch | None:
        """The last one that counts; one of nothing while the query is idle."""
        if self._idle:
            return self._idle[-1]
        return self._batches[-1] if self._batches else None

    def busy(self, age_s: float) -> list[MeasuredBatch]:
        """Those that say how busy the query is.

        Args:
            age_s: of the batch that runs; 0 when none does.
        """
        if self._idle and age_s < AWAKE_SHARE * (self.usual_s or IDLE_SECONDS):
            return [*self._batches, *self._idle]
        return list(self._batches)

    @property
    def trigger_interval_s(self) -> float | None:
        """As told; else between batches that waited for it; None when that is not known either. 0 is none."""
        told = self.query.trigger_interval_s
        if told is None:
            waited = [each.fill_s for each in self._batches if each.waited and each.fill_s]
            return statistics.median(waited) if len(waited) >= WAITS_TO_BELIEVE else None
        interval_s = number(told)
        if interval_s is None:
            return None
        return interval_s if SHORTEST_INTERVAL_S <= interval_s <= LONGEST_BATCH_S else 0.0

    @property
    def usual_s(self) -> float | None:
        """From one batch to the next while they are in time; None when that is not known."""
        return self.trigger_interval_s or self._allowed_s

    def fill_s(self, began_at: float) -> float | None:
        """Seconds in which the rows of a batch that began then have arrived; None without one before it."""
        last = self.last
        return None if last is None else self._fill_s(last, began_at)

    @property
    def tasks(self) -> int | None:
        """Of the largest stage of the last batches; None when unknown."""
        known = [each.tasks for each in self._batches if each.tasks is not None]
        running = self.query.running
        if running is not None and (tasks := count(running.largest_stage_tasks)) is not None:
            known.append(tasks)
        return max(known, default=None) or self._partitions()

    def processing(self) -> tuple[float | None, float]:
        """Rows a second while busy, and on how many executors; None when unknown."""
        told = [each for each in self._batches if each.rows and each.duration_s > 0]
        told = told[-BATCHES_MEASURED:]
        busy = sum(each.duration_s * each.executors for each in told)
        if not told or busy <= 0:
            return None, 0.0
        executors = told[-1].executors
        return sum(each.rows or 0.0 for each in told) / busy * executors, executors

    def throughput(
        self,
        *,
        since: float = -math.inf,
        least_executors: float = 0.0,
        most: int,
        tasks_per_executor: int,
    ) -> Throughput | None:
        """Of the last batches that began at a moment or later, on so many executors; None without any that tells."""
        told = [
            each
            for each in self._batches
            if each.began_at >= since
            and each.executors >= least_executors
            and each.executors > 0
            and each.rows
            and each.duration_s > 0
        ][-most:]
        if not told:
            return None
        executors = sum(each.executors for each in told) / len(told)
        return Throughput(
            rows=sum(each.rows or 0.0 for each in told),
            duration_s=sum(each.duration_s for each in told),
            executors=executors,
            slots=executors * tasks_per_executor,
            tasks=self.tasks,
            batches=len(told),
        )

    # -- inside ------------------------------------------------------------------------------------------------------

    def _fill_s(self, before: MeasuredBatch, began_at: float, batches: int = 1) -> float | None:
        if self._idle and (interval_s := self.trigger_interval_s):
            # the last look at it is no trigger: rows that had been there at the one before would have begun a batch
            return interval_s
        gap = began_at - before.began_at
        if gap <= 0:
            return None
        longest_s = max(self._longest_wait_s(), before.duration_s) + TRIGGER_SLACK_S
        return min(gap / batches, longest_s)

    def _batches_since_last(self, batch_id: int | None) -> int:
        """With those between that were not seen; they shared the time."""
        if batch_id is None or self._last_id is None:
            return 1
        return max(1, batch_id - self._last_id)

    def _longest_wait_s(self) -> float:
        """A batch that has waited for longer has waited for data."""
        told = number(self.query.trigger_interval_s)
        if told is not None:
            return self.trigger_interval_s or 0.0
        return self._allowed_s or 0.0

    def _partitions(self) -> int | None:
        return count(self.query.source_partitions) if self.query.map_only else None


def _rows(sample: BatchSample) -> float | None:
    rows = number(sample.input_rows)
    if rows is None:
        rate = number(sample.processing_rate)
        if rate is None:
            return None
        rows = rate * sample.duration_s
    # a rate over some milliseconds is not exact: less than a row is none
    return rows if rows >= 1 else 0.0
