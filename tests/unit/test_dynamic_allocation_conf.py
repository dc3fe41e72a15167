"""Which settings of dynamic allocation are accepted, and what a refusal says."""

import pytest

from spark_allocation.core.dynamic_allocation_conf import (
    DynamicAllocationConf,
    ExecutorBounds,
    ProfileOverrides,
)
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId
from spark_allocation.core.spark_conf import INT_MAX, LONG_MAX, SECOND, InvalidSetting, SparkConf

DYNAMIC = "spark.dynamicAllocation."
EIGHTEEN = 10**18


def read(**values: str) -> DynamicAllocationConf:
    return DynamicAllocationConf.from_spark_conf(
        SparkConf({DYNAMIC + key: value for key, value in values.items()})
    )


def test_defaults_are_sparks() -> None:
    conf = read()

    assert conf.bounds(DEFAULT_PROFILE_ID) == ExecutorBounds(0, 0, INT_MAX)
    timeouts = conf.timeouts(DEFAULT_PROFILE_ID)
    assert timeouts.idle_ns == 60 * SECOND
    assert timeouts.cached_ns == INT_MAX * SECOND
    assert timeouts.shuffle_ns == LONG_MAX
    assert conf.scheduler_backlog_timeout_ns == SECOND
    assert conf.sustained_scheduler_backlog_timeout_ns == SECOND
    assert conf.executor_allocation_ratio == 1.0
    assert conf.tracks_shuffle
    assert not conf.decommission_enabled


@pytest.mark.parametrize(
    ("values", "initial"),
    [
        ({DYNAMIC + "minExecutors": "3"}, 3),
        ({DYNAMIC + "minExecutors": "3", DYNAMIC + "initialExecutors": "5"}, 5),
        ({DYNAMIC + "minExecutors": "3", DYNAMIC + "initialExecutors": "1"}, 3),
        ({"spark.executor.instances": "7", DYNAMIC + "initialExecutors": "5"}, 7),
    ],
)
def test_the_initial_number_is_the_greatest_of_three(values: dict[str, str], initial: int) -> None:
    conf = DynamicAllocationConf.from_spark_conf(SparkConf(values))

    assert conf.initial_executors == initial


def test_the_sustained_timeout_follows_the_first() -> None:
    assert read(schedulerBacklogTimeout="5s").sustained_scheduler_backlog_timeout_ns == 5 * SECOND


def test_times_are_truncated_to_seconds() -> None:
    assert read(executorIdleTimeout="1999ms").timeouts(DEFAULT_PROFILE_ID).idle_ns == SECOND


def test_a_time_beyond_64_bits_of_nanoseconds_is_held_at_the_limit() -> None:
    conf = read(schedulerBacklogTimeout=f"{EIGHTEEN}s", executorIdleTimeout=f"{EIGHTEEN}s")

    assert conf.scheduler_backlog_timeout_ns == LONG_MAX
    assert conf.timeouts(DEFAULT_PROFILE_ID).idle_ns == LONG_MAX


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("minExecutors", "-1", "at least 0"),
        ("minExecutors", "4gg", "whole number"),
        ("maxExecutors", "-1", "greater than 0"),
        ("maxExecutors", "0", "greater than 0"),
        ("maxExecutors", "2147483648", "32 bits"),
        ("schedulerBacklogTimeout", "0", "greater than 0"),
        ("schedulerBacklogTimeout", "-1s", "greater than 0"),
        ("schedulerBacklogTimeout", "999ms", "greater than 0"),
        ("schedulerBacklogTimeout", "4gg", "unknown time unit"),
        ("sustainedSchedulerBacklogTimeout", "0s", "greater than 0"),
        ("executorAllocationRatio", "0", "greater than 0"),
        ("executorAllocationRatio", "1.01", "at most 1"),
        ("executorAllocationRatio", "nan", "number"),
        ("executorAllocationRatio", "1_0", "number"),
        ("executorIdleTimeout", "-1s", "at least 0"),
        ("cachedExecutorIdleTimeout", "-5", "at least 0"),
        ("shuffleTracking.timeout", "-1", "at least 0"),
        ("shuffleTracking.enabled", "yes", "true or false"),
        ("shuffleTracking.enabled", "false", "needs one of"),
    ],
)
def test_a_refusal_names_key_value_and_rule(key: str, value: str, rule: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        read(**{key: value})

    assert refused.value.key == DYNAMIC + key
    assert refused.value.value == value
    assert rule in refused.value.rule
    assert str(refused.value) == f"{DYNAMIC}{key}={value!r}: {refused.value.rule}"


def test_the_minimum_may_not_exceed_the_maximum() -> None:
    with pytest.raises(
        InvalidSetting, match=r"minExecutors='2': must be at most .*maxExecutors \(1\)"
    ):
        read(minExecutors="2", maxExecutors="1")


def test_the_initial_number_may_not_exceed_the_maximum() -> None:
    with pytest.raises(InvalidSetting, match="initialExecutors='9'"):
        read(initialExecutors="9", maxExecutors="5")


def test_the_initial_number_may_come_from_the_instances() -> None:
    with pytest.raises(InvalidSetting, match=r"spark.executor.instances='9'"):
        DynamicAllocationConf.from_spark_conf(
            SparkConf({"spark.executor.instances": "9", DYNAMIC + "maxExecutors": "5"})
        )


@pytest.mark.parametrize(
    "safety",
    [
        {"spark.shuffle.service.enabled": "true"},
        {"spark.decommission.enabled": "true"},
        {
            "spark.decommission.enabled": "true",
            "spark.storage.decommission.shuffleBlocks.enabled": "true",
        },
    ],
)
def test_without_tracking_something_else_must_keep_shuffle_data(safety: dict[str, str]) -> None:
    conf = DynamicAllocationConf.from_spark_conf(
        SparkConf({DYNAMIC + "shuffleTracking.enabled": "false", **safety})
    )

    assert not conf.tracks_shuffle


def test_reliable_shuffle_storage_keeps_shuffle_data_too() -> None:
    without = SparkConf({DYNAMIC + "shuffleTracking.enabled": "false"})

    DynamicAllocationConf.from_spark_conf(without, reliable_shuffle_storage=True)
    with pytest.raises(InvalidSetting):
        DynamicAllocationConf.from_spark_conf(without)


def test_a_shuffle_service_ends_tracking() -> None:
    conf = DynamicAllocationConf.from_spark_conf(
        SparkConf({"spark.shuffle.service.enabled": "true"})
    )

    assert not conf.tracks_shuffle


class TestOverrides:
    def test_what_a_profile_does_not_set_is_the_applications(self) -> None:
        conf = DynamicAllocationConf(
            min_executors=1, initial_executors=2, max_executors=9
        ).with_overrides(
            {ProfileId(1): ProfileOverrides(max_executors=4, executor_idle_timeout_s=5)}
        )

        assert conf.bounds(ProfileId(1)) == ExecutorBounds(1, 2, 4)
        assert conf.timeouts(ProfileId(1)).idle_ns == 5 * SECOND
        assert conf.bounds(ProfileId(2)) == ExecutorBounds(1, 2, 9)

    def test_the_applications_initial_number_moves_into_the_bounds(self) -> None:
        conf = DynamicAllocationConf(initial_executors=5).with_overrides(
            {
                ProfileId(1): ProfileOverrides(max_executors=2),
                ProfileId(2): ProfileOverrides(min_executors=8),
            }
        )

        assert conf.bounds(ProfileId(1)).initial_executors == 2
        assert conf.bounds(ProfileId(2)).initial_executors == 8

    @pytest.mark.parametrize(
        ("overrides", "key"),
        [
            (ProfileOverrides(min_executors=-1), "minExecutors"),
            (ProfileOverrides(max_executors=0), "maxExecutors"),
            (ProfileOverrides(min_executors=3, max_executors=2), "minExecutors"),
            (ProfileOverrides(initial_executors=9, max_executors=2), "initialExecutors"),
            (ProfileOverrides(executor_idle_timeout_s=-1), "executorIdleTimeout"),
            (ProfileOverrides(cached_executor_idle_timeout_s=-1), "cachedExecutorIdleTimeout"),
            (ProfileOverrides(shuffle_tracking_timeout_ms=-1), "shuffleTracking.timeout"),
        ],
    )
    def test_follow_the_same_rules(self, overrides: ProfileOverrides, key: str) -> None:
        with pytest.raises(InvalidSetting) as refused:
            DynamicAllocationConf().with_overrides({ProfileId(1): overrides})

        assert refused.value.key == f"profile 1: {key}"
