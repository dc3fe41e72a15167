"""Failed executors: Spark's count in a window, and how fast to try again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.exit_reasons import FailureClass
from spark_allocation.core.failure_tracker import (
    BackoffConf,
    ExecutorFailureTracker,
    FailureBackoff,
    FailureLimitConf,
    max_executor_failures,
)
from spark_allocation.core.spark_conf import INT_MAX, SparkConf

IMAGE, FULL = FailureClass.CONFIGURATION, FailureClass.CAPACITY
HOUR = 3_600_000


class TestWindow:
    def test_failures_expire_with_the_window_and_add_up_within_it(self):
        tracker = ExecutorFailureTracker(2_000)
        tracker.register_failure(0)
        tracker.register_failure(1_000)
        assert tracker.failed_executors(1_000) == 2
        assert tracker.failed_executors(2_000) == 2
        assert tracker.failed_executors(2_001) == 1
        assert tracker.failed_executors(3_001) == 0
        for at in (3_002, 3_003, 3_004):
            tracker.register_failure(at)
        assert tracker.failed_executors(3_004) == 3

    @pytest.mark.parametrize("settings", [{}, {"spark.executor.failuresValidityInterval": "0"}])
    def test_without_a_window_failures_never_expire(self, settings):
        tracker = ExecutorFailureTracker.from_spark_conf(SparkConf(settings))
        tracker.register_failure(0)
        assert tracker.failed_executors(10**15) == 1

    def test_the_window_is_read_from_spark(self):
        conf = SparkConf({"spark.executor.failuresValidityInterval": "1h"})
        tracker = ExecutorFailureTracker.from_spark_conf(conf)
        tracker.register_failure(0)
        assert tracker.failed_executors(HOUR) == 1
        assert tracker.failed_executors(HOUR + 1) == 0

    @given(st.lists(st.integers(0, 10_000), max_size=30), st.integers(1, 5_000))
    def test_on_a_clock_that_only_advances_exactly_the_failures_of_the_window_count(
        self, times, window
    ):
        tracker = ExecutorFailureTracker(window)
        for at in sorted(times):
            tracker.register_failure(at)
        assert tracker.failed_executors(10_000) == sum(at >= 10_000 - window for at in times)


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({}, 3),
        ({"spark.executor.instances": "7"}, 14),
        ({"spark.executor.maxNumFailures": "1"}, 1),
        ({"spark.dynamicAllocation.enabled": "true"}, INT_MAX),
        (
            {
                "spark.dynamicAllocation.enabled": "true",
                "spark.dynamicAllocation.maxExecutors": "1",
            },
            3,
        ),
        (
            {
                "spark.dynamicAllocation.enabled": "true",
                "spark.dynamicAllocation.maxExecutors": "9",
            },
            18,
        ),
        (
            {
                "spark.dynamicAllocation.enabled": "true",
                "spark.dynamicAllocation.maxExecutors": str(INT_MAX // 2),
            },
            INT_MAX - 1,
        ),
        (
            {
                "spark.streaming.dynamicAllocation.enabled": "true",
                "spark.streaming.dynamicAllocation.maxExecutors": "4",
            },
            8,
        ),
    ],
)
def test_as_many_failures_are_borne_as_spark_bears(settings, limit):
    assert max_executor_failures(SparkConf(settings)) == limit


def fail(backoff: FailureBackoff, *executor_ids: int, at: int, as_: FailureClass = IMAGE) -> None:
    for executor_id in executor_ids:
        backoff.failed(as_, ExecutorId(executor_id), at)


class TestBackoff:
    def test_a_few_failures_hold_nothing_back(self):
        backoff = FailureBackoff()
        fail(backoff, 1, 2, at=0)
        assert backoff.allowed(100, 0) == 100
        assert backoff.retry_at(0) is None

    def test_after_three_in_a_row_nothing_is_created_until_one_probe_may_go(self):
        backoff = FailureBackoff()
        fail(backoff, 1, 2, 3, at=0)
        assert backoff.opened() == {IMAGE}
        assert backoff.allowed(100, 9_999) == 0
        assert backoff.retry_at(0) == 10_000
        assert backoff.allowed(100, 10_000) == 1
        assert backoff.allowed(0, 10_000) == 0

    def test_while_the_probe_is_under_way_nothing_else_is_created(self):
        backoff = FailureBackoff()
        fail(backoff, 1, 2, 3, at=0)
        backoff.created([ExecutorId(4)], 10_000)
        assert backoff.allowed(100, 60_000) == 0

    def test_a_probe_that_works_ends_the_restraint(self):
        backoff = FailureBackoff()
        fail(backoff, 1, 2, 3, at=0)
        backoff.created([ExecutorId(4)], 10_000)
        backoff.succeeded(ExecutorId(4))
        assert backoff.allowed(100, 10_001) == 100
        assert backoff.opened() == frozenset()

    def test_a_probe_that_fails_doubles_the_delay_up_to_the_longest(self):
        backoff = FailureBackoff(BackoffConf(longest_delay_ms=30_000))
        fail(backoff, 1, 2, 3, at=0)
        now, delays = 0, []
        for executor_id in range(4, 8):
            retry_at = backoff.retry_at(now)
            delays.append(retry_at - now)
            now = retry_at
            backoff.created([ExecutorId(executor_id)], now)
            fail(backoff, executor_id, at=now)
        assert delays == [10_000, 20_000, 30_000, 30_000]

    def test_stragglers_of_the_first_wave_do_not_lengthen_the_delay(self):
        backoff = FailureBackoff()
        fail(backoff, *range(1, 200), at=0)
        assert backoff.retry_at(0) == 10_000

    def test_an_executor_that_works_though_it_is_no_probe_does_not_end_the_restraint(self):
        backoff = FailureBackoff()
        fail(backoff, 1, 2, 3, at=0)
        backoff.succeeded(ExecutorId(9))
        assert backoff.allowed(5, 0) == 0

    def test_a_success_between_failures_starts_the_count_anew(self):
        backoff = FailureBackoff()
        fail(backoff, 1, 2, at=0)
        backoff.succeeded(ExecutorId(3))
        fail(backoff, 4, 5, at=0)
        assert backoff.allowed(5, 0) == 5

    def test_classes_do_not_add_up(self):
        backoff = FailureBackoff()
        fail(backoff, 1, 2, at=0, as_=IMAGE)
        fail(backoff, 3, 4, at=0, as_=FULL)
        assert backoff.allowed(5, 0) == 5

    def test_every_open_class_must_agree(self):
        backoff = FailureBackoff()
        fail(backoff, 1, 2, 3, at=0, as_=IMAGE)
        fail(backoff, 4, 5, 6, at=5_000, as_=FULL)
        assert backoff.allowed(5, 10_000) == 0
        assert backoff.retry_at(0) == 15_000
        assert backoff.allowed(5, 15_000) == 1

    def test_a_probe_that_fails_for_another_reason_still_failed(self):
        backoff = FailureBackoff()
        fail(backoff, 1, 2, 3, at=0, as_=IMAGE)
        backoff.created([ExecutorId(4)], 10_000)
        fail(backoff, 4, at=11_000, as_=FULL)
        assert backoff.allowed(5, 30_999) == 0
        assert backoff.allowed(5, 31_000) == 1

    def test_a_probe_that_nobody_hears_of_is_given_up(self):
        backoff = FailureBackoff()
        fail(backoff, 1, 2, 3, at=0)
        backoff.created([ExecutorId(4)], 10_000)
        assert backoff.retry_at(10_000) == 610_000
        assert backoff.allowed(5, 610_000) == 0
        assert backoff.allowed(5, 610_001) == 0, "the probe is given up, the doubled delay begins"
        assert backoff.allowed(5, 630_001) == 1

    def test_refused_creations_without_an_executor_count_too(self):
        backoff = FailureBackoff()
        for _ in range(3):
            backoff.failed(FULL, None, 0)
        assert backoff.allowed(5, 0) == 0

    def test_creating_nothing_is_no_probe(self):
        backoff = FailureBackoff()
        fail(backoff, 1, 2, 3, at=0)
        backoff.created([], 10_000)
        assert backoff.allowed(5, 10_000) == 1


@given(
    st.integers(1, 400),
    st.lists(st.integers(0, 120_000), min_size=1, max_size=20),
    st.sampled_from(list(FailureClass)),
)
def test_a_crash_loop_makes_few_pods_an_hour(wave, lifetimes, failure_class):
    """Given an application of which every executor dies after a while, whatever the while is."""
    backoff = FailureBackoff()
    now, next_id, born = 0, 1, []
    while now < 4 * HOUR:
        allowed = backoff.allowed(wave, now)
        ids = [ExecutorId(next_id + index) for index in range(allowed)]
        backoff.created(ids, now)
        next_id += allowed
        born += [now] * allowed
        now += lifetimes[len(born) % len(lifetimes)] + 1
        for executor_id in ids:
            backoff.failed(failure_class, executor_id, now)
        now = backoff.retry_at(now) or now
    after_opening = [at for at in born if at > born[min(len(born) - 1, max(wave, 3) + 1)]]
    for begin in range(0, 4 * HOUR, HOUR):
        assert sum(begin <= at < begin + HOUR for at in after_opening) <= 10
    assert sum(3 * HOUR <= at < 4 * HOUR for at in after_opening) <= 7


@pytest.mark.parametrize(
    ("settings", "limit", "window_ms"),
    [
        ({}, 3, HOUR),
        ({"spark.dynamicAllocation.enabled": "true"}, None, HOUR),
        (
            {
                "spark.dynamicAllocation.enabled": "true",
                "spark.dynamicAllocation.maxExecutors": "20",
            },
            40,
            HOUR,
        ),
        (
            {
                "spark.executor.maxNumFailures": "7",
                "spark.executor.failuresValidityInterval": "10min",
            },
            7,
            600_000,
        ),
        ({"spark.executor.failuresValidityInterval": "0"}, 3, HOUR),
    ],
)
def test_the_limit_is_spark_s_and_the_window_is_an_hour_unless_set(settings, limit, window_ms):
    conf = FailureLimitConf.from_spark_conf(SparkConf(settings))
    assert conf == FailureLimitConf(limit=limit, window_ms=window_ms)
