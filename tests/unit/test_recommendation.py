"""Spark's own allocation beside ours: counts at a moment, and executor-hours over time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.served_driver import ServedDriver, executor, report

from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.profile_states import ProfileState
from spark_allocation.core.recommendation import (
    LONGEST_INTERVAL_NS,
    Comparison,
    ExecutorHours,
    would_have,
)
from spark_allocation.core.resource_profiles import ProfileId

SECOND = 1_000_000_000
HOUR = 3600


def profile(*, target: int, registered: int) -> ProfileState:
    return ProfileState(
        ProfileId(0), desired=target, target=target, running=0, registered=registered,
        pending=0, unacknowledged=0, idle=0, held_by_shuffle=0, held_by_cache=0, decommissioning=0,
        pending_tasks=0, running_tasks=0, reason="",
    )  # fmt: skip


# -- at a moment ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "registered", "would_leave", "most", "ours"),
    [
        (4, 0, 0, 99, 4),
        (0, 8, 8, 99, 0),
        (0, 8, 3, 99, 5),
        (2, 8, 8, 99, 2),
        (5, 20, 0, 5, 5),
    ],
    ids=["what tasks need", "all idle", "some are held", "the target stays", "at most our maximum"],
)
def test_ours_is_what_tasks_need_and_what_we_would_keep(
    target: int, registered: int, would_leave: int, most: int, ours: int
) -> None:
    state = profile(target=target, registered=registered)
    assert would_have(state, would_leave=would_leave, most=most) == ours


def test_executors_that_would_go_are_told_and_nothing_is_done() -> None:
    # given a driver with two executors that have had nothing to do for longer than the idle timeout
    driver = ServedDriver()
    driver.says(report(executors=(executor(1, active=1), executor(2))))
    driver.step(acts=False)
    driver.later(120)
    driver.says(report(executors=(executor(1, active=1), executor(2))))
    step = driver.step(acts=False)
    # then one of them would go, again and again, and the driver's own executors are nobody's failures
    assert step.would_leave == {ProfileId(0): 1}
    assert (step.plan, step.drains, step.delete, step.removals, step.log) == (None, (), (), (), ())
    driver.says(report(executors=(executor(1, active=1), executor(2))))
    assert driver.step(acts=False).would_leave == {ProfileId(0): 1}
    assert ExecutorId(2) in driver.allocation.feeder.executors


# -- over time --------------------------------------------------------------------------------------------------------


def test_each_interval_has_the_counts_of_its_beginning() -> None:
    hours = ExecutorHours()
    hours.take(Comparison(10, 4), 0)
    hours.take(Comparison(2, 2), 18 * SECOND)
    hours.take(Comparison(0, 0), 36 * SECOND)
    assert hours.spark == pytest.approx((10 * 18 + 2 * 18) / HOUR)
    assert hours.ours == pytest.approx((4 * 18 + 2 * 18) / HOUR)
    assert hours.saved == pytest.approx(6 * 18 / HOUR)


def test_a_time_in_which_nobody_looked_counts_for_neither() -> None:
    hours = ExecutorHours()
    hours.take(Comparison(10, 4), 0)
    hours.take(Comparison(10, 4), LONGEST_INTERVAL_NS + SECOND)
    assert (hours.spark, hours.ours) == (0.0, 0.0)
    hours.take(None, LONGEST_INTERVAL_NS + 2 * SECOND)
    counted = hours.spark
    hours.take(Comparison(10, 4), LONGEST_INTERVAL_NS + 3 * SECOND)
    assert hours.spark == counted, "the driver did not answer in between"


def test_sums_go_on_where_an_earlier_run_left_them() -> None:
    hours = ExecutorHours(spark=7.5, ours=5.25)
    hours.take(Comparison(36, 0), 0)
    hours.take(Comparison(36, 0), 10 * SECOND)
    assert hours.spark == pytest.approx(7.6)
    assert hours.saved == pytest.approx(2.35)


@given(
    st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(0, 60 * SECOND)), max_size=30
    )
)  # fmt: skip
def test_sums_never_fall_and_never_exceed_the_most_that_was_there(
    looks: list[tuple[int, int, int]],
) -> None:
    hours, now, most = ExecutorHours(), 0, 0
    before = (0.0, 0.0)
    for spark, ours, pause in looks:
        now += pause
        hours.take(Comparison(spark, ours), now)
        most = max(most, spark, ours)
        assert hours.spark >= before[0]
        assert hours.ours >= before[1]
        before = (hours.spark, hours.ours)
    assert max(before) <= most * now / SECOND / HOUR + 1e-9
