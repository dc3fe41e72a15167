"""The three policies: executors by batch duration, by rate, and by what waits."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.unit.streaming_world import ORDERS

from spark_allocation.core.streaming import backlog, batch_duration, rate
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.executor_starts import Stretch
from spark_allocation.core.streaming.query_picture import QueryPicture
from spark_allocation.core.streaming.settings import (
    BacklogSettings,
    BatchDurationSettings,
    RateSettings,
    Sizing,
)

DURATION = BatchDurationSettings(target_utilization=0.75, band=0.1)
RATE = RateSettings(target_utilization=0.8, band=0.1)
BACKLOG = BacklogSettings()
COST = LearnedCost(batches=10, fixed_s=1.0, per_row_s=0.01)
"""A second for the batch and ten milliseconds for a row."""


def picture(**about: object) -> QueryPicture:
    """Ten executors of one slot, a batch every ten seconds, nothing waits."""
    known: dict[str, object] = {
        "executors": 10,
        "interval_s": 10.0,
        "period_s": 10.0,
        "cost": COST,
        **about,
    }
    return QueryPicture(ORDERS, **known)  # type: ignore[arg-type]


# -- batch duration ---------------------------------------------------------------------------------------------------


def by_duration(
    busy: float, settings: BatchDurationSettings = DURATION, **about: object
) -> int | None:
    return batch_duration.wanted(settings, picture(busy_executors=busy, **about))


@pytest.mark.parametrize("busy", [6.5, 7.5, 8.5])
def test_within_the_band_nothing_changes(busy: float) -> None:
    assert by_duration(busy) == 10


@pytest.mark.parametrize(("busy", "wanted"), [(9.0, 12), (30.0, 40), (3.0, 4), (0.0, 0)])
def test_beyond_it_there_are_as_many_as_bring_it_to_the_target(busy: float, wanted: int) -> None:
    assert by_duration(busy) == wanted


def test_executors_that_are_still_starting_are_not_asked_for_again() -> None:
    """Busy executors are those that batches ran on: with twenty asked for, nine busy of ten are few."""
    assert by_duration(9.0, executors=12) == 12


@pytest.mark.parametrize(("busy", "wanted"), [(30.0, 13), (7.5, 10), (1.0, 7)])
def test_by_steps_it_goes_one_step_at_a_time(busy: float, wanted: int) -> None:
    assert by_duration(busy, replace(DURATION, sizing=Sizing.STEP, step=3)) == wanted


def test_steps_do_not_go_below_none() -> None:
    assert by_duration(0.0, replace(DURATION, sizing=Sizing.STEP, step=3), executors=2) == 0


def test_what_waits_is_processed_within_the_catch_up_time() -> None:
    assert by_duration(7.5, late_s=150.0, catch_up_s=300.0) == 15


@pytest.mark.parametrize(("busy", "wanted"), [(40.0, 12), (1.0, 8)])
def test_where_batches_follow_each_other_one_change_goes_by_a_fifth(
    busy: float, wanted: int
) -> None:
    assert by_duration(busy, back_to_back=True) == wanted


def test_but_of_late_ones_it_is_known_in_how_much_time_their_rows_came() -> None:
    assert by_duration(40.0, back_to_back=True, late_s=1.0) == 54


@pytest.mark.parametrize("unknown", [{"busy_executors": None}, {"interval_s": None}])
def test_without_a_batch_or_an_interval_the_policy_says_nothing(unknown: dict[str, None]) -> None:
    seen = replace(picture(busy_executors=30.0), **unknown)
    assert batch_duration.wanted(DURATION, seen) is None


@given(st.floats(0, 500), st.floats(0, 500), st.integers(0, 200), st.booleans())
def test_who_is_busier_never_wants_fewer(
    a: float, b: float, executors: int, back_to_back: bool
) -> None:
    less, more = sorted((a, b))
    found = [
        by_duration(busy, executors=executors, back_to_back=back_to_back) for busy in (less, more)
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert 0 <= found[0] <= found[1]


@given(st.floats(0, 500), st.integers(1, 200))
def test_what_is_wanted_is_within_the_band_or_the_fewest_that_reach_the_target(
    busy: float, executors: int
) -> None:
    wanted = by_duration(busy, executors=executors)
    assert wanted is not None
    if wanted == executors:
        return
    assert busy <= (wanted + batch_duration.NEGLIGIBLE) * DURATION.target_utilization + 1e-6
    assert wanted == 0 or busy > (wanted - 1) * DURATION.target_utilization - 1e-6


# -- rate -------------------------------------------------------------------------------------------------------------


def by_rate(input_rate: float | None, settings: RateSettings = RATE, **about: object) -> int | None:
    return rate.wanted(settings, picture(input_rate=input_rate, **about))


def test_executors_are_the_input_rate_over_the_true_rate_and_the_target() -> None:
    # a hundred rows a second for an executor; of ten seconds, eight less one for the batch itself are left for rows
    assert by_rate(2000.0) == math.ceil(2000 * 10 * 0.01 / 7)
    assert rate.true_rate(picture(input_rate=2000.0)) == pytest.approx(100.0)


def test_on_the_way_down_half_of_the_way_to_the_line_is_taken() -> None:
    exact, in_proportion = 100 * 10 * 0.01 / 7, (1 + 100 * 10 * 0.01 / 10) / 10 / 0.8 * 10
    assert by_rate(100.0) == math.ceil((exact + in_proportion) / 2)


@pytest.mark.parametrize("input_rate", [610.0, 700.0, 790.0])
def test_near_the_target_nothing_changes(input_rate: float) -> None:
    assert by_rate(input_rate) == 10


def test_what_waits_counts_as_input_over_the_catch_up_time() -> None:
    assert by_rate(1000.0, behind_rows=300_000.0, catch_up_s=300.0) == by_rate(2000.0)


def test_a_catch_up_share_counts_where_no_backlog_is_known() -> None:
    assert by_rate(1000.0, replace(RATE, catch_up=1.0)) == by_rate(2000.0)


def test_slots_of_an_executor_share_the_work() -> None:
    one, four = by_rate(3000.0), by_rate(3000.0, tasks_per_executor=4, executors=3)
    assert one == 43
    assert four == 11


def test_a_batch_whose_own_cost_takes_the_wanted_share_is_not_helped_by_executors() -> None:
    slow = replace(COST, fixed_s=8.5)
    assert by_rate(2000.0, cost=slow) is None
    assert rate.fixed_cost_is_too_large(RATE, picture(cost=slow))
    assert not rate.fixed_cost_is_too_large(RATE, picture())


def test_where_batches_follow_each_other_it_says_nothing() -> None:
    assert by_rate(2000.0, back_to_back=True) is None
    assert rate.true_rate(picture(input_rate=2000.0, back_to_back=True)) is None


@pytest.mark.parametrize(
    "unknown",
    [
        {"input_rate": None},
        {"interval_s": None},
        {"cost": None},
        {"cost": LearnedCost()},
        {"cost": replace(COST, batches=2.0)},
    ],
    ids=["rate", "interval", "cost", "nothing learned", "too few batches"],
)
def test_what_is_not_known_is_not_guessed(unknown: dict[str, object]) -> None:
    seen = replace(picture(input_rate=2000.0), **unknown)
    assert rate.wanted(RATE, seen) is None


rates = st.floats(0, 1e5)


@given(rates, rates, st.integers(0, 200), st.none() | st.integers(1, 400))
def test_more_input_never_wants_fewer(
    a: float, b: float, executors: int, tasks: int | None
) -> None:
    less, more = sorted((a, b))
    found = [by_rate(each, executors=executors, tasks=tasks) for each in (less, more)]
    assert found[0] is not None
    assert found[1] is not None
    assert 0 <= found[0] <= found[1]


@given(rates, st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 200))
def test_more_that_waits_never_wants_fewer(
    input_rate: float, a: float, b: float, executors: int
) -> None:
    less, more = sorted((a, b))
    found = [by_rate(input_rate, executors=executors, behind_rows=each) for each in (less, more)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0] <= found[1]


@given(st.floats(1, 1e4), st.integers(1, 200))
def test_following_it_comes_to_rest_and_batches_are_in_time(
    input_rate: float, executors: int
) -> None:
    for _ in range(12):
        wanted = by_rate(input_rate, executors=executors)
        assert wanted is not None
        if wanted == executors:
            break
        executors = wanted
    else:
        pytest.fail("it did not come to rest")
    assert COST.duration_s(input_rate * 10, executors) <= 9.0 + 1e-6


# -- what will wait ---------------------------------------------------------------------------------------------------


def test_what_comes_to_wait_while_executors_start_is_asked_for_at_once() -> None:
    # given twice as much as ten executors process, and a minute until one more is there
    starting = (Stretch(60.0, 10),)
    assert by_duration(20.0, catch_up_s=60.0) == 27
    assert by_duration(20.0, catch_up_s=60.0, until_more=starting) == 40
    # and the same for as long as those that were asked for are starting
    half_way = {"late_s": 15.0, "executors": 40, "until_more": (Stretch(30.0, 10), Stretch(30.0, 40))}  # fmt: skip
    assert by_duration(20.0, catch_up_s=60.0, **half_way) == 40


def test_what_is_gone_by_then_is_no_reason_for_more_but_one_to_keep_them() -> None:
    # given a minute of rows that ten executors have processed in a minute, beside what comes
    assert by_duration(5.0, late_s=60.0, catch_up_s=60.0) == 14
    assert by_duration(5.0, late_s=60.0, catch_up_s=60.0, until_more=(Stretch(60.0, 10),)) == 10


def test_so_it_is_by_rate() -> None:
    # ten executors process a thousand rows a second
    assert by_rate(2000.0, catch_up_s=60.0) == 29
    assert by_rate(2000.0, catch_up_s=60.0, until_more=(Stretch(60.0, 10),)) == 43
    waiting = {"behind_rows": 30000.0, "behind_is_known": True, "catch_up_s": 60.0}
    assert by_rate(500.0, **waiting) == 15
    assert by_rate(500.0, **waiting, until_more=(Stretch(60.0, 10),)) == 10


@given(
    st.floats(0, 500),
    st.floats(0, 1000),
    st.integers(1, 100),
    st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 100)), max_size=3),
)
def test_to_know_when_executors_come_asks_for_no_fewer_than_would_do_once_nothing_waits(
    busy: float, late_s: float, executors: int, coming: list[tuple[float, int]]
) -> None:
    stretches = tuple(Stretch(seconds, count) for seconds, count in coming)
    nothing, wanted = (
        by_duration(busy, late_s=late, executors=executors, until_more=known)
        for late, known in ((0.0, ()), (late_s, stretches))
    )
    assert nothing is not None
    assert wanted is not None
    assert wanted >= nothing


# -- backlog ----------------------------------------------------------------------------------------------------------


def by_backlog(waits_s: float, **about: object) -> int | None:
    """Ten executors process a thousand rows a second, and eight hundred come."""
    known: dict[str, object] = {
        "input_rate": 800.0,
        "processing_rate": 1000.0,
        "measured_on": 10.0,
        "busy_executors": 8.0,
        "behind_rows": waits_s * 1000.0,
        "behind_is_known": True,
        "behind_is_growing": True,
        **about,
    }
    return backlog.wanted(BACKLOG, picture(**known))


def test_a_growing_backlog_above_the_target_is_cleared_within_the_catch_up_time() -> None:
    # 800 rows a second and 120,000 within 300 s
    assert by_backlog(120.0) == 12


@pytest.mark.parametrize("waits_s", [0.0, 30.0, 60.0])
def test_a_backlog_below_the_target_is_no_reason_for_more(waits_s: float) -> None:
    assert by_backlog(waits_s) == 10


def test_a_backlog_that_will_be_gone_in_time_is_left_to_shrink() -> None:
    assert by_backlog(61.0, behind_is_growing=False, catch_up_s=400.0) == 10


def test_one_that_shrinks_too_slowly_is_not() -> None:
    assert by_backlog(120.0, behind_is_growing=False) == 12


def test_one_that_grows_never_means_fewer() -> None:
    assert by_backlog(120.0, executors=30) == 30


@pytest.mark.parametrize(
    ("waits_s", "busy", "wanted"), [(5.0, 4.0, 6), (5.0, 7.6, 10), (20.0, 4.0, 10)]
)
def test_executors_go_only_when_next_to_nothing_waits_and_they_have_little_to_do(
    waits_s: float, busy: float, wanted: int
) -> None:
    assert by_backlog(waits_s, busy_executors=busy) == wanted


@pytest.mark.parametrize(
    "unknown",
    [
        {"behind_is_known": False},
        {"processing_rate": None},
        {"processing_rate": 0.0},
        {"measured_on": 0.0},
    ],
)
def test_an_unknown_backlog_says_nothing(unknown: dict[str, object]) -> None:
    assert by_backlog(120.0, **unknown) is None


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(1, 1e4), st.booleans(), st.integers(1, 100))
def test_more_that_waits_never_wants_fewer_of_the_backlog_policy(
    a: float, b: float, input_rate: float, grows: bool, executors: int
) -> None:
    assume(input_rate > 0)
    less, more = sorted((a, b))
    found = [
        by_backlog(each, input_rate=input_rate, behind_is_growing=grows, executors=executors)
        for each in (less, more)
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert 0 <= found[0] <= found[1]
