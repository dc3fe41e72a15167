"""How long executors take to come, and what waits by then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.streaming_world import Stream, query

from spark_allocation.core.streaming.executor_starts import (
    KEPT,
    LONGEST_S,
    ExecutorStarts,
    Stretch,
)


def starts(*notes: tuple[float, int, int]) -> ExecutorStarts:
    told = ExecutorStarts()
    for at, executors, asked in notes:
        told.note(at, executors, asked)
    return told


def test_before_one_was_seen_to_start_nobody_knows() -> None:
    assert starts().until_more(0.0) == ()
    assert starts((0.0, 2, 4), (50.0, 2, 4)).until_more(50.0) == ()


def test_those_that_were_there_when_somebody_first_looked_say_nothing() -> None:
    assert starts((0.0, 4, 4)).mean_s is None


def test_each_one_counts_from_when_it_was_asked_for() -> None:
    # given two asked for at once and a third a quarter of a minute later
    told = starts((0.0, 1, 1), (10.0, 1, 3), (25.0, 1, 4), (40.0, 2, 4), (50.0, 4, 4))
    assert told.mean_s == pytest.approx((30 + 40 + 25) / 3)


def test_what_is_no_longer_asked_for_is_not_waited_for() -> None:
    told = starts((0.0, 1, 5), (10.0, 1, 3), (20.0, 3, 3), (100.0, 3, 5), (110.0, 5, 5))
    assert told.mean_s == pytest.approx((20 + 20 + 10 + 10) / 4)


def test_one_that_has_gone_without_being_told_to_is_asked_for_from_then_on() -> None:
    assert starts((0.0, 3, 3), (100.0, 2, 3), (130.0, 3, 3)).mean_s == 30.0


def test_who_waits_for_room_says_nothing_of_how_long_starts_take() -> None:
    assert starts((0.0, 0, 1), (4000.0, 1, 1)).mean_s == LONGEST_S


def test_what_was_long_ago_is_forgotten() -> None:
    told, now = starts((0.0, 0, 1), (90.0, 1, 1)), 90.0
    for count in range(1, KEPT + 1):
        told.note(now, count, count + 1)
        now += 20.0
        told.note(now, count + 1, count + 1)
    assert told.mean_s == 20.0


def test_until_one_more_would_be_there_those_come_that_were_asked_for_before() -> None:
    told = starts((0.0, 0, 2), (30.0, 2, 2), (100.0, 2, 6), (110.0, 2, 7))
    assert told.until_more(120.0) == (Stretch(10.0, 2), Stretch(10.0, 6), Stretch(10.0, 7))
    # and those that are overdue are taken to come now
    assert told.until_more(135.0) == (Stretch(5.0, 6), Stretch(25.0, 7))
    assert told.until_more(500.0) == (Stretch(30.0, 7),)


@given(
    st.lists(
        st.tuples(st.floats(0, 400), st.integers(0, 20), st.integers(0, 20)),
        min_size=1,
        max_size=30,
    )
)
def test_it_speaks_of_the_time_that_a_start_takes_and_of_as_many_as_there_are_or_were_asked_for(
    steps: list[tuple[float, int, int]],
) -> None:
    told, now = ExecutorStarts(), 0.0
    for after, executors, asked in steps:
        now += after
        told.note(now, executors, asked)
        mean_s = told.mean_s
        shown = told.until_more(now)
        if mean_s is None:
            assert shown == ()
            continue
        assert 0 <= mean_s <= LONGEST_S
        assert sum(each.seconds for each in shown) == pytest.approx(mean_s, abs=1e-6)
        counts = [each.executors for each in shown]
        assert counts == sorted(set(counts))
        assert all(executors <= count <= max(executors, asked) for count in counts)


# -- what comes of it -------------------------------------------------------------------------------------------------


def asked_after_a_step(*, start_s: float) -> int:
    """Of a stream that was busy to 80 % on four executors, once a batch runs for nearly twice as long."""
    stream = Stream(executors=3, starts_at_once=False)
    stream.asked = 4
    stream.decide()
    stream.now += start_s
    stream.executors = 4
    stream.intervals(8, work=32.0)
    assert stream.asked == 4
    stream.now += 14.0
    stream.tell(query(age=14.0))
    stream.decide()
    return stream.asked


def test_a_stream_whose_executors_take_long_to_start_asks_for_more_at_once() -> None:
    at_once, after_a_minute = (asked_after_a_step(start_s=each) for each in (1.0, 60.0))
    assert at_once < after_a_minute
