"""The last batches of one query: which samples count, and what they say together.

Theory of operation
-------------------
*What counts.* A sample counts once, and only if its times are numbers that can be. A rate that is negative or no number is
unknown (Spark gives NaN for a rate over no time), and of a query whose batch ids or run id begin anew nothing is compared with
what was before: what its batches cost by themselves is kept, because it is the same query.

*When rows arrived.* A batch has the rows since the trigger of the one before. That is its *fill*: one trigger interval while
batches are in time, as long as the former batch when that was late. After a pause without data it is one interval, whatever the
pause, because a row that had been there would have begun a batch. Then:

    input rate = (rows + what is left more than after the batch before) ÷ fill
    utilisation = duration ÷ interval × trigger interval ÷ fill (if that is longer)

A trigger interval that nobody tells is the time between the triggers of batches that had to wait for theirs.

*Beginnings.* Executors that have just come count for less, and so do all of them under the first batches of a run
(`run_beginning`). What such batches cost is not learned: it is a guess what they would have taken, and a few wrong ones in a row
carry off how much of it is fixed. Neither is it learned from the large batches with which a query that began late catches up: a
tenth of a batch of ten intervals is a whole interval, and then nothing would be left for rows. While a first batch runs nobody knows how many rows it
has; once it is late it counts as if they had come in one interval, but as no more than `FIRST_BATCH_MOST` intervals: executors
double each time that those asked for have come.

*Idleness.* A query that is idle has a batch of nothing in each interval, to have it forgotten how busy it was. It comes back as it went:
once a batch runs again for some time, and from its end on, these count no more. Who was idle for long begins anew.

*What waits.* Rows beyond those of one batch: what a consumer group says, but for what arrives while a batch runs; or else what
the last batch had left, and the input rate × what fill, or age of the running batch, has beyond one interval. That they are gone
within the catch-up time is a promise, so executors are for a share of it (`CATCH_UP_SHARE`). What a query costs of which little is known
is a guess, by which nothing is foretold: then they are for all of it, and for what waits now.

*Smoothing.* A batch weighs as much as all before it, a short one less: half of what is known is newer than `HALF_LIFE_S`. Two
batches in a row that are both higher than that are believed at once, and so is the age of a batch that has not ended: lower is
believed slowly.
"""

import math
import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.batch_progress import BatchProgress
from spark_allocation.core.streaming.executor_starts import Stretch
from spark_allocation.core.streaming.executors_over_time import ExecutorsOverTime
from spark_allocation.core.streaming.observations import (
    BatchSample,
    QueryName,
    QueryObservation,
    QueryState,
    RunningBatch,
)
from spark_allocation.core.streaming.query_picture import QueryPicture
from spark_allocation.core.streaming.run_beginning import RunBeginning
from spark_allocation.core.streaming.settings import StreamingSettings
from spark_allocation.core.streaming.task_waves import usable_slots

LARGEST_NUMBER = 1e15
"""Of rows, and of rows a second: more is no number that can be."""
LONGEST_BATCH_S = 1e8
SHORTEST_INTERVAL_S = 0.001
"""Spark counts milliseconds; less is none."""
BATCHES_KEPT = 16
HALF_LIFE_S = 20.0
LARGEST_WEIGHT = 0.5
WAITED_S = 0.5
WAITS_TO_BELIEVE = 3
"""Batches that waited, from which a trigger interval is known that nobody tells."""
TRIGGER_SLACK_S = 1.0
"""A batch begins so much after its trigger without having been late."""
CATCH_UP_SHARE = 0.4
"""Of the catch-up time, in which what waits is to be gone: executors are slow when they come, and rows are processed when their batch is."""
SLOW_BATCH = 1.05
"""A batch may take so many times what its rows should take, and nothing is wrong."""
BACKLOG_LOOKS = 12
SECONDS_BETWEEN_LOOKS = 5.0
AWAKE_SHARE = 0.25
"""Of its interval a batch has run before an idle query counts as awake."""
LONG_IDLENESS_S = 3600.0
FIRST_BATCH_MOST = 2.0
MOST_PERIODS = 2.0
"""So many times the rows of a usual batch are too many to learn from it what that costs."""
USUAL_BATCHES = 2.5
"""After so many, larger ones are learned from, too."""
LEAST_WARM = 0.85
"""Share of the executors that have to have warmed up before it is learned what a batch costs, and foreseen how long one takes."""
IDLE_SECONDS = 10.0
"""Between two batches of nothing, of an idle query whose interval is unknown."""


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


class QueryHistory:
    """Of one query of one life of a driver.

    Args:
        cost: as learned earlier.
        has_begun: it was not there when its application was looked at before, so its first batches are yet to come.
    """

    def __init__(
        self, name: QueryName, cost: LearnedCost | None = None, *, has_begun: bool = False
    ) -> None:
        self.name = name
        self.cost = cost or LearnedCost()
        self.bad_samples = 0
        """Samples in a row that did not count because they could not be."""
        self.batches = 0
        """That counted."""
        self.last: QueryObservation = QueryObservation(name)
        self.seen_at = -math.inf
        self._run_id = ""
        self._interval_s: float | None = None
        self._last_id: int | None = None
        self._batches: deque[MeasuredBatch] = deque(maxlen=BATCHES_KEPT)
        self._idle: deque[MeasuredBatch] = deque(maxlen=BATCHES_KEPT)
        self._idle_since: float | None = None
        self._looks: deque[tuple[float, float]] = deque(maxlen=BACKLOG_LOOKS)
        self._sample_backlog: float | None = None
        self._tasks_per_executor = 1
        self._beginning = RunBeginning(seen=has_begun)
        self._progress = BatchProgress()

    # -- what comes in -----------------------------------------------------------------------------------------------

    def take(
        self,
        query: QueryObservation,
        *,
        at: float,
        executors: ExecutorsOverTime,
        tasks_per_executor: int,
        interval_s: float | None,
    ) -> None:
        """Take one observation.

        Args:
            at: when it was made.
            executors: up to then.
            tasks_per_executor: at least 1.
            interval_s: what a batch may take, when known.
        """
        self._tasks_per_executor = tasks_per_executor
        if query.run_id != self._run_id:
            self._begin_anew(query.run_id)
        self.last, self.seen_at = query, at
        self._interval_s = interval_s
        for sample in sorted(query.batches, key=_when):
            self._take_batch(sample, at, executors)
        self._look_at_progress(query.running, at, executors)
        if query.state is QueryState.IDLE:
            self._take_idleness(at, executors.now, interval_s)

    def _look_at_progress(
        self, running: RunningBatch | None, at: float, executors: ExecutorsOverTime
    ) -> None:
        began_at = at if running is None else at - (_number(running.age_s) or 0.0)
        there = executors.mean(began_at, at)
        self._progress.look(
            running,
            at=at,
            executors=executors,
            tasks_per_executor=self._tasks_per_executor,
            warm=self._beginning.worth(executors, began_at, at) >= LEAST_WARM * there,
        )

    def _begin_anew(self, run_id: str) -> None:
        if self._run_id:
            self._beginning.anew()
            self._progress.anew()
        self._run_id = run_id
        self._last_id = None
        self._batches.clear()
        self._no_longer_idle()
        self._looks.clear()
        self._sample_backlog = None

    def _take_batch(self, sample: BatchSample, now: float, executors: ExecutorsOverTime) -> None:
        ended_at, duration_s = sample.ended_at, sample.duration_s
        if not math.isfinite(ended_at) or not 0 <= duration_s <= LONGEST_BATCH_S:
            self.bad_samples += 1
            return
        ended_at = min(ended_at, now)
        before = self.last_batch
        if before is not None and ended_at <= before.ended_at:
            return
        if sample.batch_id is not None and self._last_id is not None:
            if sample.batch_id == self._last_id:
                return
            if sample.batch_id < self._last_id:
                self._begin_anew(self._run_id)
                before = None
        if self._idle_since is not None and ended_at - self._idle_since > LONG_IDLENESS_S:
            self._batches.clear()
        self._no_longer_idle()
        self._progress.ended(sample.batch_id, ended_at=ended_at, duration_s=duration_s)
        began_at = ended_at - duration_s
        fill_s = None if before is None else self._fill(sample.batch_id, began_at, before)
        if fill_s is None and before is not None:
            fill_s = self._trigger_interval()
        rows = _rows(sample)
        negative = (sample.input_rows, sample.input_rate, sample.processing_rate)
        if any(each is not None and each < 0 for each in negative):
            self.bad_samples += 1
        else:
            self.bad_samples = 0
        left, left_before = _number(sample.backlog_rows), self._sample_backlog
        self._sample_backlog = left
        arrived = rows
        if rows is not None and left is not None and left_before is not None:
            arrived = max(0.0, rows + left - left_before)
        self._beginning.numbered(sample.batch_id)
        there = executors.mean(began_at, ended_at)
        worth = self._beginning.worth(executors, began_at, ended_at)
        batch = MeasuredBatch(
            ended_at=ended_at,
            duration_s=duration_s,
            fill_s=fill_s,
            rows=rows,
            input_rate=arrived / fill_s
            if arrived is not None and fill_s
            else _number(sample.input_rate),
            executors=worth,
            tasks=_count(sample.largest_stage_tasks) or self._partitions(),
            waited=before is not None and began_at > before.ended_at + WAITED_S,
        )
        self._batches.append(batch)
        self._last_id = sample.batch_id
        self.batches += 1
        self._beginning.passed()
        slots = worth * self._tasks_per_executor
        if rows and slots > 0 and worth >= LEAST_WARM * there and self._is_usual(fill_s):
            self.cost = self.cost.after(
                rows=rows, usable=usable_slots(slots, batch.tasks), duration_s=duration_s
            )

    def _is_usual(self, fill_s: float | None) -> bool:
        """Of a size from which to learn what batches cost, or enough is known already to take any."""
        period_s = self._trigger_interval() or self._interval_s
        if fill_s is None or period_s is None or self.cost.batches >= USUAL_BATCHES:
            return True
        return fill_s <= MOST_PERIODS * period_s

    def _fill(self, batch_id: int | None, began_at: float, before: MeasuredBatch) -> float | None:
        gap = began_at - before.began_at
        if gap <= 0:
            return None
        interval = self._longest_wait_s()
        if batch_id is not None and self._last_id is not None and batch_id > self._last_id + 1:
            # some between were not seen; they shared the time
            gap /= batch_id - self._last_id
        return min(gap, max(interval, before.duration_s) + TRIGGER_SLACK_S)

    def _take_idleness(self, at: float, executors: int, interval_s: float | None) -> None:
        """A batch without rows for each interval that has passed, to have it forgotten how busy the query was."""
        pause = self._trigger_interval() or interval_s or IDLE_SECONDS
        before = self.last_batch
        if before is None or at - before.ended_at >= pause:
            if self._idle_since is None:
                self._idle_since = at
            self._idle.append(MeasuredBatch(at, 0.0, pause, 0.0, 0.0, float(executors), None))
            self.batches += 1

    def _no_longer_idle(self) -> None:
        self._idle.clear()
        self._idle_since = None

    # -- what it says ------------------------------------------------------------------------------------------------

    @property
    def last_batch(self) -> MeasuredBatch | None:
        """The last one that counts; one of nothing while the query is idle."""
        if self._idle:
            return self._idle[-1]
        return self._batches[-1] if self._batches else None

    def _counting(self, now: float) -> list[MeasuredBatch]:
        """Those that say how busy the query is."""
        if self._idle and self._age(now) < AWAKE_SHARE * (
            self._trigger_interval() or self._interval_s or IDLE_SECONDS
        ):
            return [*self._batches, *self._idle]
        return list(self._batches)

    def interval_s(self, settings: StreamingSettings) -> float | None:
        """What a batch may take; None when nobody has said."""
        return settings.target_duration_s or self._trigger_interval() or None

    def duration_s(self) -> float | None:
        """Of the last batch, or the age of the one that runs when that is greater."""
        last = self.last_batch
        known = [] if last is None else [last.duration_s]
        running = self.last.running
        age = None if running is None else _number(running.age_s)
        return max(known + ([] if age is None else [age]), default=None)

    def picture(
        self,
        settings: StreamingSettings,
        *,
        now: float,
        asked: int,
        executors: ExecutorsOverTime,
        until_more: tuple[Stretch, ...] = (),
    ) -> QueryPicture:
        """The query as policies see it.

        Args:
            settings: of this query.
            now: seconds.
            asked: executors that the profile is to have.
            executors: that it has had.
            until_more: executors that it will have, until one that is asked for now would be there.
        """
        interval_s = self.interval_s(settings)
        trigger_s = self._trigger_interval()
        period_s = trigger_s or interval_s
        input_rate = _smoothed(
            (each.input_rate, each.span_s)
            for each in self._counting(now)
            if each.input_rate is not None
        )
        at_least = self._rate_of_running(now, executors)
        if at_least is not None:
            input_rate = max(input_rate or 0.0, at_least)
        processing_rate, measured_on = self._processing()
        late_s = self._late_s(now, period_s)
        is_sure = self.cost.is_sure
        behind, known, growing = self._behind(now, period_s, late_s, input_rate)
        return QueryPicture(
            query=self.name,
            executors=asked,
            tasks_per_executor=self._tasks_per_executor,
            interval_s=interval_s,
            period_s=period_s,
            back_to_back=not trigger_s,
            busy_executors=self._busy(interval_s, executors, now),
            input_rate=input_rate,
            processing_rate=processing_rate,
            measured_on=measured_on,
            late_s=late_s,
            behind_rows=behind,
            behind_is_known=known,
            behind_is_growing=growing,
            catch_up_s=settings.catch_up_time_s * (CATCH_UP_SHARE if is_sure else 1.0),
            cost=self.cost,
            tasks=self.tasks,
            until_more=until_more if is_sure else (),
        )

    @property
    def tasks(self) -> int | None:
        """Of the largest stage of the last batches; None when unknown."""
        known = [each.tasks for each in self._batches if each.tasks is not None]
        running = self.last.running
        if running is not None and (count := _count(running.largest_stage_tasks)) is not None:
            known.append(count)
        return max(known, default=None) or self._partitions()

    def throughput(
        self, *, since: float = -math.inf, least_executors: float = 0.0, most: int
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
            slots=executors * self._tasks_per_executor,
            tasks=self.tasks,
            batches=len(told),
        )

    def _busy(
        self, interval_s: float | None, executors: ExecutorsOverTime, now: float
    ) -> float | None:
        if interval_s is None:
            return None
        trigger_s = self._trigger_interval()
        busy = _smoothed(
            (
                each.executors * _utilization(each.duration_s, each.fill_s, interval_s, trigger_s),
                each.span_s,
            )
            for each in self._counting(now)
        )
        last = self.last_batch
        age = self._age(now)
        if last is None and age > interval_s:
            intervals = min(age / interval_s, FIRST_BATCH_MOST)
            return self._beginning.worth(executors, now - age, now) * intervals
        if busy is not None and last is not None and self.last.running is not None:
            fill_s = self._fill_of_running(now - age, last)
            duration_s = self._progress.at_least_s(age)
            at_least = _utilization(duration_s, fill_s, interval_s, trigger_s)
            until = now - age + duration_s
            busy = max(busy, self._beginning.worth(executors, now - age, until) * at_least)
        return busy

    def _rate_of_running(self, now: float, executors: ExecutorsOverTime) -> float | None:
        """What has come at least, as the batch with it runs for so long; None while that says nothing."""
        last, age = self.last_batch, self._age(now)
        if last is None or last.rows is None or not self.cost.is_known:
            return None
        fill_s = self._fill_of_running(now - age, last) if self.last.running is not None else None
        duration_s = self._progress.at_least_s(age)
        worth = self._beginning.worth(executors, now - age, now - age + duration_s)
        slots = worth * self._tasks_per_executor
        if not fill_s or slots <= 0:
            return None
        busy_s = duration_s / SLOW_BATCH - self.cost.fixed_s
        rows = max(0.0, busy_s) * usable_slots(slots, self.tasks) / self.cost.per_row_s
        # what the batch before has left came earlier
        return max(0.0, rows - (self._sample_backlog or 0.0)) / fill_s

    def _fill_of_running(self, began_at: float, last: MeasuredBatch) -> float | None:
        gap = began_at - last.began_at
        if gap <= 0:
            return None
        return min(gap, max(self._longest_wait_s(), last.duration_s) + TRIGGER_SLACK_S)

    def _processing(self) -> tuple[float | None, float]:
        told = [each for each in self._batches if each.rows and each.duration_s > 0][-3:]
        busy = sum(each.duration_s * each.executors for each in told)
        if not told or busy <= 0:
            return None, 0.0
        executors = told[-1].executors
        return sum(each.rows or 0.0 for each in told) / busy * executors, executors

    def _age(self, now: float) -> float:
        """Of the batch that runs; 0 when none does."""
        running = self.last.running
        if running is None:
            return 0.0
        return (_number(running.age_s) or 0.0) + max(0.0, now - self.seen_at)

    def _late_s(self, now: float, period_s: float | None) -> float:
        last = self.last_batch
        if period_s is None or last is None:
            return 0.0
        fill_s = last.duration_s
        if self.last.running is not None:
            age = self._age(now)
            fill_s = max(self._fill_of_running(now - age, last) or 0.0, age)
        return max(0.0, fill_s - period_s)

    def _behind(
        self, now: float, period_s: float | None, late_s: float, input_rate: float | None
    ) -> tuple[float, bool, bool]:
        """Rows that wait beyond those of one batch, whether that is known, and whether they become more."""
        rate = input_rate or 0.0
        waiting = _number(self.last.backlog_rows)
        if waiting is not None and period_s is not None:
            behind = max(0.0, waiting - rate * (period_s + self._age(now)))
        elif period_s is not None and input_rate is not None:
            behind = (self._sample_backlog or 0.0) + rate * late_s
        else:
            return 0.0, False, False
        looks = self._looks
        if not looks or now - looks[-1][0] >= SECONDS_BETWEEN_LOOKS:
            looks.append((now, behind))
        earlier = [rows for _, rows in list(looks)[: max(1, len(looks) // 2)]]
        return behind, True, behind > sum(earlier) / len(earlier)

    def _trigger_interval(self) -> float | None:
        """As told; else between batches that waited for it; None when that is not known either. 0 is none."""
        told = self.last.trigger_interval_s
        if told is None:
            waited = [each.fill_s for each in self._batches if each.waited and each.fill_s]
            return statistics.median(waited) if len(waited) >= WAITS_TO_BELIEVE else None
        interval_s = _number(told)
        if interval_s is None:
            return None
        return interval_s if SHORTEST_INTERVAL_S <= interval_s <= LONGEST_BATCH_S else 0.0

    def _longest_wait_s(self) -> float:
        """A batch that has waited for longer has waited for data."""
        told = _number(self.last.trigger_interval_s)
        if told is not None:
            return self._trigger_interval() or 0.0
        return self._interval_s or 0.0

    def _partitions(self) -> int | None:
        return _count(self.last.source_partitions) if self.last.map_only else None


def _utilization(
    duration_s: float, fill_s: float | None, interval_s: float, trigger_s: float | None
) -> float:
    """Share of its interval that a batch with the rows of one period takes."""
    share, period_s = duration_s / interval_s, trigger_s or interval_s
    if fill_s and fill_s > period_s:
        share *= period_s / fill_s
    return share


def _smoothed(values: Iterable[tuple[float, float]]) -> float | None:
    """Of values and the seconds that each speaks for; the lower of the last two is the least that is believed."""
    smoothed = before = last = None
    for value, span_s in values:
        before, last = last, value
        if smoothed is None:
            smoothed = value
        else:
            weight = min(LARGEST_WEIGHT, 1 - 0.5 ** (span_s / HALF_LIFE_S))
            smoothed += weight * (value - smoothed)
    if smoothed is None or last is None:
        return None
    return max(smoothed, last if before is None else min(before, last))


def _when(sample: BatchSample) -> float:
    return sample.ended_at if math.isfinite(sample.ended_at) else -math.inf


def _number(value: float | None) -> float | None:
    """None unless it is a number that can be."""
    return value if value is not None and 0 <= value <= LARGEST_NUMBER else None


def _count(value: int | None) -> int | None:
    return value if value is not None and value >= 1 else None


def _rows(sample: BatchSample) -> float | None:
    rows = _number(sample.input_rows)
    if rows is None:
        rate = _number(sample.processing_rate)
        if rate is None:
            return None
        rows = rate * sample.duration_s
    # a rate over some milliseconds is not exact: less than a row is none
    return rows if rows >= 1 else 0.0
