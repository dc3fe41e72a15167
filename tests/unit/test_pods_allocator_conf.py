"""The allocator's settings, as each Spark version reads them."""

import pytest

from spark_allocation.core.pods_allocator_conf import ClaimsConf, PodsAllocatorConf
from spark_allocation.core.spark_conf import INT_MAX, InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion

ALLOCATION = "spark.kubernetes.allocation."


def read_keys(settings: dict[str, str], version: str = "4.1.4") -> PodsAllocatorConf:
    return PodsAllocatorConf.from_spark_conf(SparkConf(settings), SparkVersion.parse(version))


@pytest.mark.parametrize(
    ("version", "batch_size"),
    [("3.4.4", 5), ("3.5.9", 5), ("4.0.1", 10), ("4.1.4", 10), ("4.2.0", 20)],
)
def test_the_default_batch_size_grew_with_the_versions(version, batch_size):
    assert read_keys({}, version).batch_size == batch_size


def test_without_settings_spark_behaves_as_spark():
    conf = read_keys({"spark.dynamicAllocation.enabled": "true"})
    assert conf == PodsAllocatorConf(batch_size=10)
    assert conf.wait_for_previous_batch
    assert not conf.repair_known_faults


def test_the_creation_timeout_is_at_least_five_batch_delays():
    conf = read_keys({ALLOCATION + "batch.delay": "3min"})
    assert conf.creation_timeout_ms == 900_000
    assert conf.claims.minimum_age_ms == 900_000


def test_the_protection_of_young_requests_is_the_idle_timeout_in_seconds():
    assert (
        read_keys({"spark.dynamicAllocation.executorIdleTimeout": "90"}).idle_timeout_ms == 90_000
    )


def test_limits_that_a_version_does_not_know_are_ignored():
    settings = {ALLOCATION + "maxPendingPodsPerRp": "3", ALLOCATION + "maximum": "7"}
    old, new = read_keys(settings, "4.0.1"), read_keys(settings, "4.1.4")
    assert (old.max_pending_pods_per_profile, old.allocation_maximum) == (INT_MAX, INT_MAX)
    assert (new.max_pending_pods_per_profile, new.allocation_maximum) == (3, 7)


@pytest.mark.parametrize(
    ("version", "delay", "refused"),
    [
        ("3.5.9", "0", True),
        ("3.5.9", "1", False),
        ("4.0.1", "1", True),
        ("4.0.1", "100ms", True),
        ("4.0.1", "101ms", False),
    ],
)
def test_the_batch_delay_must_be_long_enough(version, delay, refused):
    settings = {ALLOCATION + "batch.delay": delay}
    if not refused:
        read_keys(settings, version)
        return
    with pytest.raises(InvalidSetting) as error:
        read_keys(settings, version)
    assert error.value.key == ALLOCATION + "batch.delay"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch.size", "0"),
        ("batch.size", "x"),
        ("executor.timeout", "0"),
        ("maxPendingPods", "-1"),
        ("maxPendingPodsPerRp", "0"),
        ("maximum", "0"),
    ],
)
def test_what_spark_refuses_is_refused_by_name(key, value):
    with pytest.raises(InvalidSetting) as error:
        read_keys({ALLOCATION + key: value})
    assert error.value.key == ALLOCATION + key
    assert error.value.value == value


def test_the_limit_per_profile_must_not_exceed_the_overall_one():
    settings = {ALLOCATION + "maxPendingPods": "2", ALLOCATION + "maxPendingPodsPerRp": "3"}
    with pytest.raises(InvalidSetting, match="must not exceed"):
        read_keys(settings)


@pytest.mark.parametrize(
    ("settings", "maximum"),
    [
        ({}, 2),
        ({"spark.executor.instances": "7"}, 7),
        ({"spark.dynamicAllocation.enabled": "true"}, INT_MAX),
        (
            {
                "spark.dynamicAllocation.enabled": "true",
                "spark.dynamicAllocation.maxExecutors": "9",
            },
            9,
        ),
    ],
)
def test_there_are_as_many_claims_as_there_may_be_executors(settings, maximum):
    assert read_keys(settings).claims.maximum == maximum


def test_waiting_for_claims_needs_all_three_settings():
    assert ClaimsConf(own=True, reuse=True, wait=True).waits_for_reuse
    for off in ("own", "reuse", "wait"):
        flags = {"own": True, "reuse": True, "wait": True, off: False}
        assert not ClaimsConf(**flags).waits_for_reuse
