"""The last batches of a query: which samples count, and what they say together. Bad input has a defined outcome here."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.streaming_world import ORDERS, batch, query

from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.executor_starts import Stretch
from spark_allocation.core.streaming.executors_over_time import ExecutorsOverTime
from spark_allocation.core.streaming.observations import (
    BatchSample,
    QueryObservation,
    QueryState,
    RunningBatch,
    StageProgress,
    Trigger,
)
from spark_allocation.core.streaming.query_history import CATCH_UP_SHARE, QueryHistory
from spark_allocation.core.streaming.query_picture import QueryPicture
from spark_allocation.core.streaming.settings import StreamingSettings

NAN = math.nan


class Told:
    """A query that is told on four executors."""

    def __init__(self, cost: LearnedCost | None = None, executors: int = 4) -> None:
        self.history = QueryHistory(ORDERS, cost)
        self.executors = ExecutorsOverTime()
        self.executors.note(0.0, executors)
        self.now = 0.0

    def take(self, seen: QueryObservation, at: float | None = None) -> None:
        if at is None:
            at = max([self.now, *(each.ended_at for each in seen.batches if each.ended_at < 1e9)])
        self.now = at
        self.history.take(
            seen, at=at, executors=self.executors, tasks_per_executor=1, interval_s=10.0
        )

    def picture(
        self,
        settings: StreamingSettings | None = None,
        asked: int = 4,
        until_more: tuple[Stretch, ...] = (),
    ) -> QueryPicture:
        return self.history.picture(
            settings or StreamingSettings(),
            now=self.now,
            asked=asked,
            executors=self.executors,
            until_more=until_more,
        )


def in_time(count: int, *, duration: float = 5.0, rows: float = 1000.0) -> tuple[BatchSample, ...]:
    """Batches every ten seconds."""
    return tuple(
        batch(10 + number, 10.0 * number + duration, duration, rows)
        for number in range(1, count + 1)
    )


# -- what counts ------------------------------------------------------------------------------------------------------


def test_a_batch_counts_once_however_often_it_is_told() -> None:
    told = Told()
    for _ in range(3):
        told.take(query(*in_time(3)))
    assert told.history.batches == 3


def test_without_batch_ids_a_batch_is_known_by_its_end() -> None:
    told = Told()
    for _ in range(2):
        told.take(query(batch(None, 15.0, 5.0, 100.0), batch(None, 25.0, 5.0, 100.0)))
    assert told.history.batches == 2


@pytest.mark.parametrize(
    "bad",
    [batch(9, NAN, 5.0), batch(9, 95.0, NAN), batch(9, 95.0, -1.0), batch(9, math.inf, 5.0)],
    ids=["end is no number", "duration is no number", "negative duration", "endless"],
)
def test_a_sample_without_times_that_can_be_does_not_count(bad: BatchSample) -> None:
    told = Told()
    told.take(query(*in_time(3)))
    told.take(query(bad), at=100.0)
    assert told.history.batches == 3
    assert told.history.bad_samples == 1


@pytest.mark.parametrize(
    ("about", "bad"),
    [
        ({"processing_rate": NAN}, 0),
        ({"input_rate": NAN, "processing_rate": math.inf}, 0),
        ({"processing_rate": -5.0}, 1),
        ({"input_rate": -5.0}, 1),
    ],
    ids=["Spark's NaN", "a rate over no time", "negative", "negative input"],
)
def test_rates_that_cannot_be_are_unknown(about: dict[str, float], bad: int) -> None:
    told = Told()
    told.take(query(batch(1, 15.0, 5.0, **about)))  # type: ignore[arg-type]
    assert told.history.batches == 1
    assert told.history.bad_samples == bad
    assert told.picture().input_rate in (None, 0.0)
    assert not told.history.cost.is_known


def test_rows_are_the_processing_rate_over_the_duration_where_only_gauges_are_known() -> None:
    told = Told()
    for number in range(1, 4):
        told.take(query(batch(None, 10.0 * number + 5, 5.0, processing_rate=200.0)))
    assert told.picture().input_rate == pytest.approx(100.0)


def test_batch_ids_that_begin_anew_begin_the_query_anew_but_its_cost_is_kept() -> None:
    told = Told()
    told.take(query(*in_time(5)))
    known = told.history.cost
    told.take(query(batch(0, 205.0, 5.0, 9000.0)))
    assert told.picture().input_rate is None, "the first batch may have any number of rows"
    assert told.history.cost == known


def test_another_run_of_the_query_is_not_compared_with_the_one_before() -> None:
    told = Told()
    told.take(query(*in_time(5, duration=9.0)))
    told.take(query(batch(6, 205.0, 1.0, 10.0), run="run-2"))
    # of which the first second is worth half: it has just begun
    assert told.picture().utilization == pytest.approx(0.05)
    assert told.history.cost.is_known


def test_samples_out_of_order_are_put_in_order_and_older_ones_left_out() -> None:
    told = Told()
    first, second, third = in_time(3)
    told.take(query(third, second))
    told.take(query(first))
    assert told.history.batches == 2


@given(
    st.lists(
        st.builds(
            BatchSample,
            ended_at=st.floats(),
            duration_s=st.floats(),
            batch_id=st.none() | st.integers(-3, 50),
            input_rows=st.none() | st.floats(),
            input_rate=st.none() | st.floats(),
            processing_rate=st.none() | st.floats(),
            backlog_rows=st.none() | st.floats(),
            largest_stage_tasks=st.none() | st.integers(-3, 500),
        ),
        max_size=12,
    ),
    st.floats(),
    st.none() | st.floats(),
    st.none() | st.floats(),
    st.sampled_from(QueryState),
)
def test_whatever_is_told_the_picture_has_numbers_that_can_be(
    samples: list[BatchSample],
    age: float,
    interval: float | None,
    waiting: float | None,
    state: QueryState,
) -> None:
    told = Told()
    for place, sample in enumerate(samples):
        seen = QueryObservation(
            ORDERS,
            state=state,
            trigger_interval_s=interval,
            batches=(sample,),
            running=RunningBatch(age, largest_stage_tasks=-1),
            backlog_rows=waiting,
        )
        told.take(seen, at=100.0 * place)
        found = told.picture()
        for value in (
            found.interval_s,
            found.period_s,
            found.busy_executors,
            found.input_rate,
            found.processing_rate,
            found.late_s,
            found.behind_rows,
        ):
            assert value is None or value >= 0
        assert found.catch_up_s > 0
        assert found.tasks is None or found.tasks >= 1


# -- when rows arrived ------------------------------------------------------------------------------------------------


def test_input_rate_is_rows_over_the_time_since_the_trigger_before() -> None:
    told = Told()
    told.take(query(*in_time(4)))
    assert told.picture().input_rate == pytest.approx(100.0)


def test_a_late_batch_has_the_rows_of_the_time_that_the_former_one_took() -> None:
    """Twice too slow is what is to be seen, not that batches become longer and longer."""
    told = Told()
    told.take(
        query(batch(11, 10.0, 10.0, 500), batch(12, 30.0, 20.0, 1000), batch(13, 70.0, 40.0, 2000))
    )
    assert told.picture().utilization == pytest.approx(2.0)
    assert told.picture().input_rate == pytest.approx(100.0)


def test_after_a_pause_without_data_rows_arrived_within_one_interval() -> None:
    told = Told()
    told.take(query(*in_time(3)))
    told.take(query(batch(14, 1005.0, 5.0, 1000.0)))
    assert told.picture().input_rate == pytest.approx(95.0, rel=0.05)


def test_batches_that_were_not_seen_share_the_time() -> None:
    told = Told()
    told.take(query(batch(1, 15.0, 5.0, 1000.0), batch(4, 45.0, 5.0, 1000.0)))
    assert told.picture().input_rate == pytest.approx(100.0)


def test_what_a_limited_batch_leaves_has_arrived_too() -> None:
    told = Told()
    told.take(
        query(
            batch(1, 15.0, 5.0, 1000.0, backlog_rows=0.0),
            batch(2, 25.0, 5.0, 1000.0, backlog_rows=500.0),
            batch(3, 35.0, 5.0, 1000.0, backlog_rows=1000.0),
        )
    )
    assert told.picture().input_rate == pytest.approx(150.0)
    assert told.picture().behind_rows == pytest.approx(1000.0)


def test_idle_queries_are_forgotten_to_have_been_busy() -> None:
    told = Told()
    told.take(query(*in_time(5)))
    for after in range(1, 20):
        told.take(query(state=QueryState.IDLE), at=55.0 + 10 * after)
    assert told.picture().utilization == pytest.approx(0.0, abs=0.01)
    assert told.picture().input_rate == pytest.approx(0.0, abs=1)


# -- the running batch ------------------------------------------------------------------------------------------------


def test_a_batch_that_takes_long_is_known_before_it_ends() -> None:
    told = Told()
    told.take(query(*in_time(5)))
    told.take(query(age=30.0), at=90.0)
    found = told.picture()
    assert found.utilization is not None
    assert found.utilization == pytest.approx(3.0)
    assert told.history.duration_s() == 30.0
    assert found.input_rate is not None
    assert found.input_rate > 300, "it must have so many rows at least"


def test_a_batch_that_has_just_begun_says_nothing() -> None:
    told = Told()
    told.take(query(*in_time(5)))
    before = told.picture()
    told.take(query(age=1.0), at=61.0)
    assert told.picture().utilization == before.utilization
    assert told.picture().input_rate == before.input_rate


def looked_at(told: Told, number: int, *, takes: float, until: float) -> None:
    """A batch of sixteen equal tasks on four slots, every half second; batches begin every ten."""
    began_at = 10.0 * number
    for look in range(1, int(2 * until) + 1):
        age = look / 2
        completed = 4 * int(age / (takes / 4))
        stage = StageProgress(number, 16, completed, 4, age)
        told.take(replace(query(), running=RunningBatch(age, number, 16, (stage,))), began_at + age)


def test_a_batch_is_known_to_take_long_from_its_first_tasks() -> None:
    told = Told()
    for number in range(1, 6):
        looked_at(told, number, takes=5.0, until=4.5)
        told.take(query(batch(number, 10.0 * number + 5.0, 5.0, 1000.0, tasks=16)))
    usual = told.picture()
    # when a batch runs for no longer than the ones before, as usual
    looked_at(told, 6, takes=5.0, until=4.5)
    assert told.picture().utilization == pytest.approx(usual.utilization)
    assert told.picture().input_rate == pytest.approx(usual.input_rate)
    # and when one does whose tasks take four times as long
    told.take(query(batch(6, 65.0, 5.0, 1000.0, tasks=16)))
    looked_at(told, 7, takes=20.0, until=5.5)
    found = told.picture()
    assert found.utilization is not None
    assert found.input_rate is not None
    assert found.utilization > 1.5
    assert found.input_rate > 3 * 100
    assert told.history.duration_s() == 5.5, "what is shown is what was"
    assert found.late_s == 0.0, "nothing waits yet"


def test_the_first_batch_may_have_any_number_of_rows_and_counts_as_two_intervals_at_most() -> None:
    told = Told()
    told.take(query(age=9.0), at=9.0)
    assert told.picture().busy_executors is None
    told.take(query(age=600.0), at=600.0)
    assert told.picture().busy_executors == 2 * 4
    assert told.picture().input_rate is None


def test_executors_that_came_during_a_batch_count_for_their_time_and_for_less_while_they_are_young() -> (
    None
):
    told = Told()
    told.executors.note(15.0, 8)
    told.take(query(batch(11, 5.0, 5.0, 100.0), batch(12, 20.0, 10.0, 100.0)))
    # half of the ten seconds with four, half with eight, of whom four are worth little more than half
    assert told.history.last_batch is not None
    assert told.history.last_batch.executors == pytest.approx(4 + 4 / 2 * 0.54, abs=0.01)


# -- what waits -------------------------------------------------------------------------------------------------------


def test_the_lag_of_a_consumer_group_counts_less_what_arrives_during_a_batch() -> None:
    told = Told()
    told.take(query(*in_time(5), backlog_rows=1500.0))
    assert told.picture().behind_rows == pytest.approx(500.0)
    told.take(query(age=5.0, backlog_rows=1500.0), at=65.0)
    assert told.picture().behind_rows == pytest.approx(0.0, abs=10)


def test_what_waits_is_to_be_gone_well_within_the_catch_up_time_once_it_is_known_what_batches_cost() -> (
    None
):
    settings = StreamingSettings(catch_up_time_s=300)
    coming = (Stretch(40.0, 4), Stretch(20.0, 9))
    told = Told()
    told.take(query(*in_time(1)))
    shown = told.picture(settings, until_more=coming)
    assert not shown.is_measured
    assert shown.catch_up_s == 300.0
    assert shown.until_more == (), "nothing is foretold of a query of which little is known"
    told.take(query(*in_time(5)))
    shown = told.picture(settings, until_more=coming)
    assert shown.is_measured
    assert shown.catch_up_s == pytest.approx(300.0 * CATCH_UP_SHARE)
    assert shown.until_more == coming


# -- what it may take -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "target", "expected"),
    [
        (10.0, None, 10.0),
        (10.0, 4.0, 4.0),
        (0.0, 4.0, 4.0),
        (0.0, None, None),
        (None, None, None),
        (NAN, None, None),
    ],
)
def test_the_target_duration_goes_before_the_trigger_interval(
    interval: float | None, target: float | None, expected: float | None
) -> None:
    told = Told()
    told.take(query(*in_time(3), interval=interval))
    assert told.picture(StreamingSettings(target_duration_s=target)).interval_s == expected


@pytest.mark.parametrize(
    ("about", "tasks"),
    [
        ({"source_partitions": 12, "map_only": True}, 12),
        ({"source_partitions": 12}, None),
        ({"source_partitions": 0, "map_only": True}, None),
    ],
)
def test_partitions_of_the_sources_count_where_there_is_no_shuffle(
    about: dict[str, object], tasks: int | None
) -> None:
    told = Told()
    told.take(query(*in_time(3), **about))  # type: ignore[arg-type]
    assert told.picture().tasks == tasks


def test_the_largest_stage_of_the_last_batches_counts() -> None:
    told = Told()
    told.take(
        query(batch(1, 15, 5, 10, tasks=8), batch(2, 25, 5, 10, tasks=200), batch(3, 35, 5, 10))
    )
    assert told.picture().tasks == 200


# -- without the helper in the driver ---------------------------------------------------------------------------------


def told_by_gauges(*, interval: float, duration: float, count: int = 8) -> QueryPicture:
    """Nothing but gauges: no numbers, no interval; a batch may take ten seconds."""
    told = Told()
    for number in range(1, count + 1):
        ended = interval * number + duration
        sample = batch(None, ended, duration, processing_rate=100 * interval / duration)
        told.take(query(sample, interval=None, trigger=Trigger.UNKNOWN))
    return told.picture(StreamingSettings(target_duration_s=10.0))


def test_an_interval_that_nobody_tells_is_seen_from_batches_that_wait_for_it() -> None:
    found = told_by_gauges(interval=8.0, duration=4.0)
    assert found.period_s == pytest.approx(8.0)
    assert not found.back_to_back
    assert found.input_rate == pytest.approx(100.0)
    assert found.utilization == pytest.approx(0.4)


def test_batches_that_wait_for_nothing_follow_each_other() -> None:
    found = told_by_gauges(interval=4.0, duration=4.0)
    assert found.period_s == 10.0
    assert found.back_to_back
    assert found.input_rate == pytest.approx(100.0)


def test_of_few_batches_nothing_is_concluded() -> None:
    assert told_by_gauges(interval=8.0, duration=4.0, count=3).back_to_back


# -- idleness ---------------------------------------------------------------------------------------------------------


def idle_for(seconds: float) -> Told:
    """A query that was in time with half of its interval, and then idle."""
    told = Told()
    told.take(query(*in_time(5)))
    for at in range(70, int(60 + seconds), 10):
        told.take(query(state=QueryState.IDLE), at=float(at))
    return told


def test_a_query_that_was_idle_comes_back_as_it_went() -> None:
    told = idle_for(600)
    assert told.picture().input_rate == pytest.approx(0.0, abs=1)
    told.take(query(age=1.0), at=660.0)
    assert (told.picture().input_rate or 0) < 20, "it may be but a few rows"
    told.take(query(age=4.0), at=663.0)
    assert told.picture().input_rate == pytest.approx(100.0)
    assert told.picture().utilization == pytest.approx(0.5)
    told.take(query(batch(16, 665.0, 5.0, 1000.0)))
    assert told.picture().input_rate == pytest.approx(100.0, rel=0.1)


def test_but_not_after_hours() -> None:
    told = idle_for(2 * 3600)
    told.take(query(batch(16, 7300.0, 5.0, 200.0)))
    assert told.picture().input_rate in (None, pytest.approx(20.0, rel=0.2))


@pytest.mark.parametrize("after", [0.5, 2.0, 9.5])
def test_rows_that_wake_an_idle_query_came_in_one_interval(after: float) -> None:
    # given a query of known cost that nobody has seen a batch of, idle for a while
    told = Told(LearnedCost(10.0, 0.0, 0.016))
    for at in range(0, 101, 10):
        told.take(query(state=QueryState.IDLE), at=float(at))

    # when a batch of as many rows as usual runs, whenever its trigger was
    told.take(query(age=2.0), at=102.0 + after)
    at_work = told.picture().input_rate or 0
    told.take(query(batch(16, 104.0 + after, 4.0, 1000.0)))

    # then they came in the ten seconds between two triggers
    assert at_work <= 100.0
    assert told.picture().input_rate == pytest.approx(100.0)
