"""A life that is served again knows all its pods before it decides anything, however late the watch tells of them."""

import asyncio
from typing import Any

import pytest
from tests.unit.runner_world import Operator, put_driver, running

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.usefixtures("virtual_time")
LONG_ENOUGH_TO_DECIDE_SECONDS = 1.5
PATIENCE_SECONDS = 30.0


def ids(operator: Operator) -> list[int]:
    return sorted(int(pod["metadata"]["labels"]["spark-exec-id"]) for pod in operator.executors)


async def stays(operator: Operator, count: int) -> None:
    """For as long as a plan takes, nothing is made."""
    until = asyncio.get_running_loop().time() + LONG_ENOUGH_TO_DECIDE_SECONDS
    while asyncio.get_running_loop().time() < until:
        assert len(operator.executors) == count, ids(operator)
        await asyncio.sleep(0.01)


def bounds(least: int) -> dict[str, Any]:
    return {"dynamicAllocation": {"minExecutors": least, "maxExecutors": 3}}


async def served_until_the_watch_is_late(operator: Operator, driver: FakeDriver) -> str:
    """An allocation has three executors, of which the watch tells two, and is served no longer; returns its uid."""
    put_driver(operator, driver)
    operator.allocations.put("job", {"driver": {"podName": "driver"}, **bounds(2)})
    runner, stop, task = operator.start("job")
    await operator.until(
        lambda: len(operator.executors) == 2 and len(operator.store) == 2,
        within=PATIENCE_SECONDS,
    )
    executors_watch = operator.tasks[0]
    executors_watch.cancel()
    operator.change(runner, **bounds(3))
    await operator.until(lambda: len(operator.executors) == 3, within=PATIENCE_SECONDS)
    stop.now()
    await task
    return runner.uid


async def test_pods_that_the_watch_has_not_told_of_are_not_made_again() -> None:
    async with running() as operator, FakeDriver() as driver:
        await served_until_the_watch_is_late(operator, driver)
        operator.start("job")
        await stays(operator, 3)
        operator.tasks.append(asyncio.create_task(operator.watches[0].run()))
        await operator.until(
            lambda: operator.state() == "Allocating" or len(operator.store) == 3,
            within=PATIENCE_SECONDS,
        )
        await stays(operator, 3)
        assert ids(operator) == [1, 2, 3]


async def test_a_pod_that_goes_while_the_watch_is_late_is_not_waited_for() -> None:
    async with running() as operator, FakeDriver() as driver:
        await served_until_the_watch_is_late(operator, driver)
        unseen = max(operator.executors, key=lambda pod: pod["metadata"]["uid"])
        operator.start("job")
        operator.pods.remove(unseen["metadata"]["name"], "jobs")
        await operator.until(lambda: len(operator.executors) == 3, within=PATIENCE_SECONDS)
        assert len(set(ids(operator))) == 3


async def test_lives_that_another_process_served_are_answered_by_the_one_list_of_all_pods() -> None:
    async with FakeDriver() as driver:
        async with running() as former:
            put_driver(former, driver)
            former.allocations.put("job", {"driver": {"podName": "driver"}, **bounds(2)})
            _, stop, task = former.start("job")
            await former.until(
                lambda: former.state() == "ScalingUp" and len(former.executors) == 2,
                within=PATIENCE_SECONDS,
            )
            stop.now()
            await task
        former.pods.calls.clear()
        async with running(former) as operator:
            operator.start("job")
            await operator.until(lambda: operator.pods.made("watch"), within=PATIENCE_SECONDS)
            await stays(operator, 2)
            asked = [call.name for call in operator.pods.made("list_page")]
            assert sorted(asked) == ["spark-role=driver", "spark-role=executor"]


async def test_a_driver_that_another_allocation_served_in_this_process_is_looked_at_too() -> None:
    async with running() as operator, FakeDriver() as driver:
        uid = await served_until_the_watch_is_late(operator, driver)
        operator.claims.forget(uid)
        operator.allocations.put("again", {"driver": {"podName": "driver"}, **bounds(3)})
        operator.start("again")
        await stays(operator, 3)
