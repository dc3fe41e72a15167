"""What the last batches of a query say together, with the one that runs.

Theory of operation
-------------------
Which batches count, and when the rows of each arrived, is known of each run of the query (`query_run`). Another run is not
compared with the one before; but what its batches cost by themselves is kept, because it is the same query.

*Utilisation.* The rows of a batch count against the time in which they arrived:

    utilisation = duration ÷ interval × trigger interval ÷ fill (if that is longer)

*Beginnings.* Executors that have just come count for less, and so do all of them under the first batches of a run
(`run_beginning`). What such batches cost is not learned: it is a guess what they would have taken, and a few wrong ones in a row
carry off how much of it is fixed. Neither is it learned from the large batches with which a query that began late catches up: a
tenth of a batch of ten intervals is a whole interval, and then nothing would be left for rows. While a first batch runs nobody knows how
many rows it has; as long as no executor has come at all, it is known how long rows have waited (`first_executors`). Once it is late it counts
as if they had come in one interval, but as no more than `FIRST_BATCH_MOST` intervals: executors double each time that those asked for
have come.

*What waits.* Rows beyond those of one batch: what a consumer group says, but for what arrives while a batch runs; or else what
the last batch had left, and the input rate × what fill, or age of the running batch, has beyond one interval. That they are gone
within the catch-up time is a promise, so executors are for a share of it (`CATCH_UP_SHARE`). What a query costs of which little is known
is a guess, by which nothing is foretold: then they are for all of it, and for what waits now.

*Smoothing.* A batch weighs as much as all before it, a short one less: half of what is known is newer than `HALF_LIFE_S`. Two
batches in a row that are both higher than that are believed at once, and so is the age of a batch that has not ended: lower is
believed slowly.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

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
from spark_allocation.core.streaming.possible_numbers import number
from spark_allocation.core.streaming.query_picture import QueryPicture
from spark_allocation.core.streaming.query_run import (
    LONGEST_BATCH_S,
    MeasuredBatch,
    QueryRun,
    Throughput,
)
from spark_allocation.core.streaming.run_beginning import RunBeginning
from spark_allocation.core.streaming.settings import StreamingSettings
from spark_allocation.core.streaming.task_waves import usable_slots

HALF_LIFE_S = 20.0
LARGEST_WEIGHT = 0.5
CATCH_UP_SHARE = 0.4
"""Of the catch-up time, in which what waits is to be gone: executors are slow when they come, and rows are processed when their batch is."""
SLOW_BATCH = 1.05
"""A batch may take so many times what its rows should take, and nothing is wrong."""
BACKLOG_LOOKS = 12
SECONDS_BETWEEN_LOOKS = 5.0
FIRST_BATCH_MOST = 2.0
MOST_PERIODS = 2.0
"""So many times the rows of a usual batch are too many to learn from it what that costs."""
USUAL_BATCHES = 2.5
"""After so many, larger ones are learned from, too."""
LEAST_WARM = 0.85
"""Share of the executors that have to have warmed up before it is learned what a batch costs, and foreseen how long one takes."""


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
        self.seen_at = -math.inf
        self._run = QueryRun(QueryObservation(name))
        self._looks: deque[tuple[float, float]] = deque(maxlen=BACKLOG_LOOKS)
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
        if query.run_id != self.last.run_id:
            self._begin_anew()
        self._run.observed(query, interval_s)
        self.seen_at = at
        for sample in sorted(query.batches, key=_when):
            self._take_batch(sample, at, executors)
        self._look_at_progress(query.running, at, executors)
        if query.state is QueryState.IDLE and self._run.take_idleness(at, executors.now):
            self.batches += 1

    def _look_at_progress(
        self, running: RunningBatch | None, at: float, executors: ExecutorsOverTime
    ) -> None:
        began_at = at if running is None else at - (number(running.age_s) or 0.0)
        there = executors.mean(began_at, at)
        self._progress.look(
            running,
            at=at,
            executors=executors,
            tasks_per_executor=self._tasks_per_executor,
            warm=self._beginning.worth(executors, began_at, at) >= LEAST_WARM * there,
        )

    def _begin_anew(self) -> None:
        if self.last.run_id:
            self._beginning.anew()
            self._progress.anew()
        self._run = self._run.anew()
        self._looks.clear()

    def _take_batch(self, sample: BatchSample, now: float, executors: ExecutorsOverTime) -> None:
        if not math.isfinite(sample.ended_at) or not 0 <= sample.duration_s <= LONGEST_BATCH_S:
            self.bad_samples += 1
            return
        if sample.ended_at > now:
            sample = replace(sample, ended_at=now)
        if self._run.has(sample):
            return
        if self._run.is_over(sample):
            self._begin_anew()
        negative = (sample.input_rows, sample.input_rate, sample.processing_rate)
        if any(each is not None and each < 0 for each in negative):
            self.bad_samples += 1
        else:
            self.bad_samples = 0
        ended_at, duration_s = sample.ended_at, sample.duration_s
        began_at = ended_at - duration_s
        self._progress.ended(sample.batch_id, ended_at=ended_at, duration_s=duration_s)
        self._beginning.numbered(sample.batch_id)
        there = executors.mean(began_at, ended_at)
        worth = self._beginning.worth(executors, began_at, ended_at)
        batch = self._run.take(sample, worth)
        self.batches += 1
        self._beginning.passed()
        if worth >= LEAST_WARM * there and self._is_usual(batch):
            self._learn(batch)

    def _learn(self, batch: MeasuredBatch) -> None:
        slots = batch.executors * self._tasks_per_executor
        if batch.rows and slots > 0:
            self.cost = self.cost.after(
                rows=batch.rows,
                usable=usable_slots(slots, batch.tasks),
                duration_s=batch.duration_s,
            )

    def _is_usual(self, batch: MeasuredBatch) -> bool:
        """Of a size from which to learn what batches cost, or enough is known already to take any."""
        fill_s, period_s = batch.fill_s, self._run.usual_s
        if fill_s is None or period_s is None or self.cost.batches >= USUAL_BATCHES:
            return True
        return fill_s <= MOST_PERIODS * period_s

    # -- what it says ------------------------------------------------------------------------------------------------

    @property
    def last(self) -> QueryObservation:
        """The query as it was observed last."""
        return self._run.query

    @property
    def last_batch(self) -> MeasuredBatch | None:
        """The last one that counts; one of nothing while the query is idle."""
        return self._run.last

    def interval_s(self, settings: StreamingSettings) -> float | None:
        """What a batch may take; None when nobody has said."""
        return settings.target_duration_s or self._run.trigger_interval_s or None

    def waits_for_the_first(self, executors: ExecutorsOverTime, now: float) -> bool:
        """A first batch runs, and there has been no executor yet on which it could."""
        age = self._age(now)
        return self.last_batch is None and age > 0 and not executors.mean(now - age, now)

    def first_is_late(self, settings: StreamingSettings, now: float) -> bool:
        """Its first batch runs for longer than it may, so nothing has been measured by which there could be too many executors."""
        interval_s = self.interval_s(settings)
        return self.last_batch is None and interval_s is not None and self._age(now) > interval_s

    def duration_s(self) -> float | None:
        """Of the last batch, or the age of the one that runs when that is greater."""
        last = self.last_batch
        known = [] if last is None else [last.duration_s]
        running = self.last.running
        age = None if running is None else number(running.age_s)
        return max(known + ([] if age is None else [age]), default=None)

    def picture(
        self,
        settings: StreamingSettings,
        *,
        now: float,
        asked: int,
        executors: ExecutorsOverTime,
        none_came_of: int | None = None,
        until_more: tuple[Stretch, ...] = (),
    ) -> QueryPicture:
        """The query as policies see it.

        Args:
            settings: of this query.
            now: seconds.
            asked: executors that the profile is to have.
            executors: that it has had.
            none_came_of: see `QueryPicture`.
            until_more: executors that it will have, until one that is asked for now would be there.
        """
        interval_s = self.interval_s(settings)
        trigger_s = self._run.trigger_interval_s
        period_s = trigger_s or interval_s
        rate_of_batches = _smoothed(
            (each.input_rate, each.span_s)
            for each in self._run.busy(self._age(now))
            if each.input_rate is not None
        )
        at_least = self._rate_of_running(now, executors)
        input_rate = rate_of_batches
        if at_least is not None:
            input_rate = max(input_rate or 0.0, at_least)
        processing_rate, measured_on = self._run.processing()
        late_s = self._late_s(now, period_s, nobody_came=none_came_of is not None)
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
            rate_of_batches=rate_of_batches,
            processing_rate=processing_rate,
            measured_on=measured_on,
            late_s=late_s,
            none_came_of=none_came_of,
            behind_rows=behind,
            behind_is_known=known,
            behind_is_growing=growing,
            catch_up_s=settings.catch_up_time_s * (CATCH_UP_SHARE if is_sure else 1.0),
            cost=self.cost,
            tasks=self._run.tasks,
            until_more=until_more if is_sure else (),
        )

    def throughput(
        self, *, since: float = -math.inf, least_executors: float = 0.0, most: int
    ) -> Throughput | None:
        """See `QueryRun.throughput`."""
        return self._run.throughput(
            since=since,
            least_executors=least_executors,
            most=most,
            tasks_per_executor=self._tasks_per_executor,
        )

    def _busy(
        self, interval_s: float | None, executors: ExecutorsOverTime, now: float
    ) -> float | None:
        if interval_s is None:
            return None
        trigger_s = self._run.trigger_interval_s
        busy = _smoothed(
            (
                each.executors * _utilization(each.duration_s, each.fill_s, interval_s, trigger_s),
                each.span_s,
            )
            for each in self._run.busy(self._age(now))
        )
        last = self.last_batch
        age = self._age(now)
        if last is None and age > interval_s:
            intervals = min(age / interval_s, FIRST_BATCH_MOST)
            return self._beginning.worth(executors, now - age, now) * intervals
        if busy is not None and last is not None and self.last.running is not None:
            fill_s = self._run.fill_s(now - age)
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
        fill_s = self._run.fill_s(now - age) if self.last.running is not None else None
        duration_s = self._progress.at_least_s(age)
        worth = self._beginning.worth(executors, now - age, now - age + duration_s)
        slots = worth * self._tasks_per_executor
        if not fill_s or slots <= 0:
            return None
        busy_s = duration_s / SLOW_BATCH - self.cost.fixed_s
        rows = max(0.0, busy_s) * usable_slots(slots, self._run.tasks) / self.cost.per_row_s
        # what the batch before has left came earlier
        return max(0.0, rows - (self._run.left_rows or 0.0)) / fill_s

    def _age(self, now: float) -> float:
        """Of the batch that runs; 0 when none does."""
        running = self.last.running
        if running is None:
            return 0.0
        return (number(running.age_s) or 0.0) + max(0.0, now - self.seen_at)

    def _late_s(self, now: float, period_s: float | None, *, nobody_came: bool) -> float:
        last = self.last_batch
        if period_s is not None and nobody_came:
            return max(0.0, self._age(now) - period_s)
        if period_s is None or last is None:
            return 0.0
        fill_s = last.duration_s
        if self.last.running is not None:
            age = self._age(now)
            fill_s = max(self._run.fill_s(now - age) or 0.0, age)
        return max(0.0, fill_s - period_s)

    def _behind(
        self, now: float, period_s: float | None, late_s: float, input_rate: float | None
    ) -> tuple[float, bool, bool]:
        """Rows that wait beyond those of one batch, whether that is known, and whether they become more."""
        rate = input_rate or 0.0
        waiting = number(self.last.backlog_rows)
        if waiting is not None and period_s is not None:
            behind = max(0.0, waiting - rate * (period_s + self._age(now)))
        elif period_s is not None and input_rate is not None:
            behind = (self._run.left_rows or 0.0) + rate * late_s
        else:
            return 0.0, False, False
        looks = self._looks
        if not looks or now - looks[-1][0] >= SECONDS_BETWEEN_LOOKS:
            looks.append((now, behind))
        earlier = [rows for _, rows in list(looks)[: max(1, len(looks) // 2)]]
        return behind, True, behind > sum(earlier) / len(earlier)


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
