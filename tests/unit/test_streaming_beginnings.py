"""What executors are worth that have just come, and all of them under the first batches of a query."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.streaming_world import CLICKS, ORDERS, Stream, batch, query

from spark_allocation.core.streaming.decisions import StreamingReason
from spark_allocation.core.streaming.demand import StreamingDemand
from spark_allocation.core.streaming.executors_over_time import (
    FIRST_WORTH,
    WARM_UP_S,
    ExecutorsOverTime,
)
from spark_allocation.core.streaming.query_history import LEAST_WARM
from spark_allocation.core.streaming.run_beginning import LOSE_S, RunBeginning
from spark_allocation.core.streaming.settings import StreamingSettings

HALF = (1 + FIRST_WORTH) / 2
"""What one is worth on average over the time in which it warms up."""


def executors(*notes: tuple[float, int]) -> ExecutorsOverTime:
    told = ExecutorsOverTime()
    for at, count in notes:
        told.note(at, count)
    return told


# -- executors --------------------------------------------------------------------------------------------------------


def test_those_that_were_there_when_somebody_first_looked_count_as_a_whole() -> None:
    assert executors((100.0, 4)).worth(100.0, 110.0) == 4.0


def test_one_that_has_just_come_counts_for_less_until_it_has_warmed_up() -> None:
    told = executors((0.0, 0), (100.0, 2))
    assert told.worth(100.0, 100.0 + WARM_UP_S) == pytest.approx(2 * HALF)
    assert told.worth(100.0, 101.0) == pytest.approx(2 * FIRST_WORTH, rel=0.05)
    assert told.worth(100.0 + WARM_UP_S, 200.0) == 2.0
    assert told.mean(100.0, 110.0) == 2.0, "there they are"


def test_others_beside_it_count_as_ever() -> None:
    told = executors((0.0, 3), (100.0, 4))
    assert told.worth(100.0, 100.0 + WARM_UP_S) == pytest.approx(3 + HALF)


def test_the_youngest_are_taken_to_leave_first() -> None:
    told = executors((0.0, 3), (100.0, 5), (110.0, 4), (111.0, 3))
    assert told.worth(111.0, 120.0) == 3.0
    assert told.worth(100.0, 110.0) < 5.0, "what was, stays"


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 20)), min_size=1, max_size=20),
    st.floats(0, 1000),
    st.floats(0.1, 1000),
)
def test_they_are_worth_at_most_as_many_as_they_are_and_never_nothing(
    steps: list[tuple[float, int]], since: float, span: float
) -> None:
    told, now = ExecutorsOverTime(), 0.0
    for after, count in steps:
        now += after
        told.note(now, count)
    mean, worth = told.mean(since, since + span), told.worth(since, since + span)
    assert FIRST_WORTH * mean - 1e-9 <= worth <= mean + 1e-9


# -- first batches ----------------------------------------------------------------------------------------------------

FOUR = executors((0.0, 4))


def test_under_the_first_batches_of_a_run_that_was_seen_to_begin_executors_are_worth_less() -> None:
    begun = RunBeginning(seen=True)
    for lost in LOSE_S:
        assert begun.worth(FOUR, 100.0, 140.0) == pytest.approx(4 * (1 - lost / 40.0))
        assert begun.worth(FOUR, 100.0, 105.0) == 4 * max(FIRST_WORTH, 1 - lost / 5.0)
        begun.passed()
    assert begun.worth(FOUR, 100.0, 105.0) == 4.0


def test_a_first_batch_that_takes_minutes_is_believed() -> None:
    assert RunBeginning(seen=True).worth(FOUR, 100.0, 700.0) == pytest.approx(4.0, rel=0.03)


def test_a_run_that_has_been_there_for_nobody_knows_how_long_has_begun_long_ago() -> None:
    known = RunBeginning(seen=False)
    assert known.worth(FOUR, 100.0, 105.0) == 4.0
    known.numbered(17)
    assert known.worth(FOUR, 100.0, 105.0) == 4.0


def test_unless_its_batches_have_small_numbers_or_another_run_begins() -> None:
    numbered, again = RunBeginning(seen=False), RunBeginning(seen=False)
    numbered.numbered(0)
    again.anew()
    for each in (numbered, again):
        assert each.worth(FOUR, 100.0, 105.0) == 4 * FIRST_WORTH


def test_of_two_losses_the_greater_counts() -> None:
    young = executors((0.0, 0), (100.0, 4))
    begun = RunBeginning(seen=True)
    assert begun.worth(young, 100.0, 102.0) == pytest.approx(4 * FIRST_WORTH, rel=0.05)


# -- what comes of it -------------------------------------------------------------------------------------------------


def test_what_batches_cost_is_not_learned_from_those_in_which_something_had_just_begun() -> None:
    stream = Stream(executors=4)
    stream.tell()
    for lost in LOSE_S:
        stream.interval(30.0)
        if lost / 7.5 > 1 - LEAST_WARM:
            assert not stream.demand.learned[ORDERS].is_known
    stream.interval(30.0)
    assert stream.demand.learned[ORDERS].is_known
    known = stream.demand.learned[ORDERS]
    # and when half of the executors have just come
    stream.executors = stream.asked = 8
    stream.decide()
    stream.interval(30.0)
    assert stream.demand.learned[ORDERS] == known


def test_nor_from_the_large_batches_with_which_a_query_begins_that_catches_up() -> None:
    # given batches of thirty, twenty and ten seconds on one executor, with the rows of as long before
    stream = Stream(executors=1)
    for number, (began, lasts, rows) in enumerate(((0.0, 40.0, 400.0), (40.0, 30.0, 4000.0), (70.0, 25.0, 3000.0))):  # fmt: skip
        stream.now = 1000.0 + began + lasts
        stream.tell(query(batch(50 + number, stream.now, lasts, rows)))
    known = stream.demand.learned[ORDERS]
    assert known.batches == 1, "the first one, of which nobody knows how long its rows had waited"
    # and once they have the usual size
    for number in range(3):
        stream.now += 10.0
        stream.tell(query(batch(60 + number, stream.now, 9.0, 1000.0)))
    assert stream.demand.learned[ORDERS].batches > 2


def test_slow_first_batches_of_a_query_that_needs_no_more_bring_no_executors() -> None:
    # given an application without a query, and then one whose first batches take longer than later ones
    stream = Stream(executors=4)
    stream.tell()
    stream.decide()
    for work in (39.0, 37.0, 35.0, 30.0, 30.0, 30.0):
        stream.interval(work)
        assert stream.asked == 4


def test_the_same_batches_later_do() -> None:
    stream = Stream(executors=4)
    stream.intervals(6, work=30.0)
    stream.intervals(4, work=39.0, rows=1300.0)
    assert stream.asked > 4


def test_a_first_batch_that_does_not_end_gets_twice_the_executors_and_then_waits_for_them() -> None:
    # given a query of which no batch has ended yet, on two executors
    stream = Stream(executors=2, starts_at_once=False)
    stream.tell()
    began = stream.now
    asked = []
    for age in (5.0, 60.0, 120.0, 600.0):
        stream.now = began + age
        stream.tell(query(age=age))
        stream.decide()
        asked.append(stream.asked)
    # then what it shows is late, whatever it has to do, and no more than that
    assert asked[0] == 2
    assert asked[1] == 4
    assert asked[-1] <= 6
    # and when it ends, it counts as it was
    stream.tell(query(batch(0, stream.now, 600.0, 1000.0)))
    assert stream.decide().wanted is not None


def asked_while_none_comes(begun_with: int, ages: Iterable[float], **settings: Any) -> list[int]:
    """Of a query that has no executor yet, at these ages of its first batch."""
    stream = Stream(
        StreamingSettings(**settings), executors=begun_with, starts_at_once=False, maximum=1000
    )
    stream.executors = 0
    stream.tell()
    began, asked = stream.now, []
    for age in ages:
        stream.now = began + age
        stream.tell(query(age=age))
        stream.decide()
        asked.append(stream.asked)
    return asked


def test_while_no_executor_comes_there_are_more_for_what_waits_and_twice_as_many_at_most() -> None:
    # given a query of a batch each ten seconds that began with four executors, and a catch-up time of 150 s
    asked = asked_while_none_comes(4, (5.0, 9.0, 30.0, 85.0, 160.0, 900.0))
    # then what has waited for half of the catch-up time takes half as many again
    assert asked == [4, 4, 5, 6, 8, 8]


@pytest.mark.parametrize(("interval", "age"), [(10.0, 9.0), (None, 900.0)])
def test_a_first_batch_that_is_not_known_to_be_late_says_nothing(
    interval: float | None, age: float
) -> None:
    stream = nobody_comes(4)
    stream.now += age
    stream.tell(query(interval=interval, age=age))
    decision = stream.decide()
    assert (decision.executors, decision.reason) == (4, StreamingReason.WAITING_FOR_BATCHES)


def test_once_one_has_come_batches_tell_what_is_needed() -> None:
    stream = Stream(executors=4, starts_at_once=False)
    stream.executors = 0
    stream.tell()
    stream.now += 85.0
    stream.tell(query(age=85.0))
    assert stream.decide().executors == 6
    # when they come, and batches of what they need anyway follow
    stream.executors = 4
    for number in range(12):
        stream.now += 10.0
        stream.tell(query(batch(number, stream.now, 7.0, 1000.0)))
        stream.decide()
    assert stream.asked == 4


def nobody_comes(asked: int) -> Stream:
    """No query is there yet, nor an executor."""
    stream = Stream(executors=asked, starts_at_once=False, maximum=1000)
    stream.executors = 0
    stream.tell()
    return stream


def test_queries_that_begin_one_after_the_other_do_not_each_add_to_what_the_one_before_has_added() -> (
    None
):
    # given that what waits for an hour has brought twice as many
    stream = nobody_comes(4)
    stream.now += 3600.0
    stream.tell(query(age=3600.0))
    stream.decide()
    stream.now += 600.0
    stream.tell(query(age=4200.0))
    stream.decide()
    assert stream.asked == 8
    # when another query begins, and waits for as long
    for age in (1.0, 1800.0, 3600.0):
        stream.now += age
        stream.tell(query(age=4200.0 + stream.now), query(name=CLICKS, age=age))
        stream.decide()
    assert stream.asked == 8


def test_a_query_that_is_restarted_while_none_comes_does_not_add_to_what_was_added() -> None:
    stream = nobody_comes(4)
    for run in range(4):
        for age in (1.0, 300.0, 600.0):
            stream.now += age
            stream.tell(query(age=age, run=f"run-{run}"))
            stream.decide()
        # it is there, and no batch of it runs; and then not even that
        stream.now += 1.0
        stream.tell(query(run=f"run-{run}"))
        stream.decide()
        stream.now += 1.0
        stream.tell()
        stream.decide()
    assert stream.asked == 8


def test_after_a_restart_of_the_operator_as_many_are_waited_for_as_were_asked_for() -> None:
    # given an operator that has just started, and a query whose first batch has waited for an hour
    stream = Stream(executors=8, starts_at_once=False)
    stream.demand = StreamingDemand(StreamingSettings(), resumed=True)
    stream.executors = 0
    for age in (3600.0, 3700.0, 7200.0):
        stream.now += 600.0
        stream.tell(query(age=age))
        stream.decide()
        # then neither are there more for what waits, nor fewer because none of them works
        assert stream.asked == 8
    # and a query that begins when those have come and left is a beginning like any other
    stream.executors = 8
    stream.tell(query(age=7200.0))
    stream.decide()
    stream.executors = 0
    stream.now += 700.0
    stream.tell(query(age=600.0, run="run-2"))
    stream.decide()
    assert stream.asked > 8


@given(
    begun_with=st.integers(1, 50),
    ages=st.lists(st.floats(0.0, 1e4), min_size=1, max_size=20).map(sorted),
    catch_up=st.floats(1.0, 1e4),
)
def test_what_waits_for_the_first_executors_only_ever_adds_some(
    begun_with: int, ages: list[float], catch_up: float
) -> None:
    asked = asked_while_none_comes(begun_with, ages, catch_up_time_s=catch_up)
    assert asked == sorted(asked)
    assert begun_with <= asked[0] and asked[-1] <= 2 * begun_with
