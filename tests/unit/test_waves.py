"""A wave is asked for at once, unless somebody has said how (docs/designs/0012-waves.md)."""

import pytest
from tests.unit.served_driver import ServedDriver, report, settings, stage

from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.effective_settings import EffectiveSettings, effective_settings
from spark_allocation.core.executor_pods import ExecutorId, PodState
from spark_allocation.core.exit_reasons import ExecutorExitReason
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import EMPTY_SNAPSHOT
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion

PROFILE = ProfileId(0)


def pods_conf(driver: dict[str, str], allocation: dict[str, object]) -> PodsAllocatorConf:
    spec = SparkAllocationSpec.model_validate(
        {"driver": {"podName": "driver"}, "allocation": allocation}
    )
    found = effective_settings(spec, SparkConf(driver), SparkVersion.parse("4.1.4"))
    assert isinstance(found, EffectiveSettings), found
    return found.core.pods


def test_where_nobody_says_how_rounds_are_large_and_made_at_once() -> None:
    conf = pods_conf({}, {})
    assert (conf.batch_size, conf.round_at_once) == (100, True)


@pytest.mark.parametrize(
    ("driver", "allocation", "size"),
    [
        ({"spark.kubernetes.allocation.batch.size": "7"}, {}, 7),
        ({}, {"batchSize": 7}, 7),
        ({"spark.kubernetes.allocation.batch.delay": "5s"}, {}, 100),
        ({}, {"podAllocationDelay": "5s"}, 100),
    ],
)
def test_a_batch_size_or_a_pause_that_somebody_sets_is_kept(
    driver: dict[str, str], allocation: dict[str, object], size: int
) -> None:
    conf = pods_conf(driver, allocation)
    assert (conf.batch_size, conf.round_at_once) == (size, False)


def wave() -> list[float]:
    """Seconds at which pods of a job with many tasks are asked for, of which all stay pending."""
    driver = ServedDriver(settings(max_executors=64, batch_size=100, round_at_once=True))
    came: list[float] = []
    for turn in range(120):
        driver.later(0.13)
        driver.says(report(stage(tasks=1000)))
        step = driver.step()
        driver.carry_out(step, state=PodState.PENDING)
        came += [0.13 * (turn + 1)] * driver.requested(step)
    return came


def test_each_step_of_the_ramp_is_acted_on_at_once() -> None:
    came = wave()
    # given 1, 2, 4, 8, 16, 32 and one more, a second and a look apart
    assert len(came) == 64
    assert came[-1] - came[0] <= 6 * 1.13 + 0.01


@pytest.mark.parametrize("at_once", [True, False])
def test_a_raised_target_waits_for_pods_of_the_last_round_as_in_spark_or_not(at_once: bool) -> None:
    allocator = ExecutorPodsAllocator(PodsAllocatorConf(batch_size=100, round_at_once=at_once))
    assert allocator.expect({PROFILE: 1})
    allocator.plan(EMPTY_SNAPSHOT, registered=frozenset(), now=1_000)
    allocator.creation_started(ExecutorId(1), PROFILE, 1_000)
    assert allocator.expect({PROFILE: 3}) is at_once


@pytest.mark.parametrize("seen", ["pending", "not seen yet"])
def test_pods_that_are_withdrawn_count_as_let_go_and_not_as_failed(seen: str) -> None:
    # given a wave of which nobody starts
    driver = ServedDriver(
        settings(max_executors=8, initial_executors=8, batch_size=100, executor_idle_timeout_s=2)
    )
    driver.says(report(stage(tasks=8)))
    first = driver.step()
    driver.carry_out(first, state=PodState.PENDING)
    assert len(driver.pods) == 8
    hidden = dict(driver.pods) if seen == "not seen yet" else {}
    for executor_id in hidden:
        del driver.pods[executor_id]
    # when the job is cancelled
    ends = []
    for _ in range(12):
        driver.later(10.0)
        driver.says(report())
        step = driver.step()
        withdrawn = [] if step.plan is None else [each for each in step.plan.withdraw if each.count]
        if hidden and withdrawn:
            driver.pods.update(hidden)  # the watch shows them as they go
            hidden = {}
            driver.step()
        driver.carry_out(step, state=PodState.PENDING)
        ends += [removal.exit.reason for removal in step.removals]
    # then all have gone, none of them by itself
    assert ends == [ExecutorExitReason.DRAINED] * 8
    assert step.failures.ended == 0
