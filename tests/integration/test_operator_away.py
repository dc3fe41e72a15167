"""While there is no operator nothing grows and nothing is lost; when it is back, the plan is stable within 30 s.

The absence is short here. That its length does not matter is argued in docs/guarantees.md: nothing that the operator
needs later is kept in its process, and nothing of it expires.
"""

import asyncio
import signal
import time
from pathlib import Path

import pytest
from tests.integration.operator_world import (
    Document,
    HostOperator,
    OperatorWorld,
    eventually,
)

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster
AWAY_SECONDS = 12.0
STABLE_WITHIN_SECONDS = 30.0
CALM_SECONDS = 6.0


async def pods(world: OperatorWorld) -> dict[str, Document]:
    """Executor pods that are not being deleted, by uid."""
    return {
        pod["metadata"]["uid"]: pod
        for pod in await world.pods()
        if "deletionTimestamp" not in pod["metadata"]
    }


async def kubelet(world: OperatorWorld, driver: FakeDriver, *, tasks: int) -> None:
    """Start every executor, which registers and works: so many tasks it has taken so far."""
    driver.executors = []
    for pod in (await pods(world)).values():
        if pod["status"]["phase"] == "Pending":
            container = pod["spec"]["containers"][-1]["name"]
            await world.run_pod(pod["metadata"]["name"], container)
        number = pod["metadata"]["labels"]["spark-exec-id"]
        driver.executors.append(driver.executor(number, active=1, total=tasks))


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(signal.SIGKILL, id="killed", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, id="stopped"),
    ],
)
async def test_nothing_is_lost_and_the_plan_is_stable_soon(
    world: OperatorWorld, tmp_path: Path, end: signal.Signals
) -> None:
    async with FakeDriver() as driver:
        # given a driver with three executors at work
        world.passive(driver)
        await world.put_driver()
        first = HostOperator(world, tmp_path, "first")
        driver.work(3)
        await world.allocate(
            "job",
            {
                "driver": {"podName": "driver", "uiPort": driver.port},
                "dynamicAllocation": {"maxExecutors": 5, "executorIdleTimeout": "60s"},
            },
        )

        async def three() -> bool:
            return len(await pods(world)) == 3

        await eventually(three, "three executors", within=40)
        await kubelet(world, driver, tasks=1)
        before = set(await pods(world))
        # when the operator is away, and the driver works on and needs more
        first.send(end)
        await first.ends()
        driver.work(5)
        away_until = time.monotonic() + AWAY_SECONDS
        tasks = 1
        while time.monotonic() < away_until:
            tasks += 1
            await kubelet(world, driver, tasks=tasks)
            assert set(await pods(world)) == before, "no growth, no loss"
            await asyncio.sleep(0.5)
        # then, once it is back, there is what is needed, with the same three among it
        second = HostOperator(world, tmp_path, "second")
        try:
            back_at = time.monotonic()

            async def five() -> bool:
                return len(await pods(world)) == 5

            await eventually(five, "five executors", within=STABLE_WITHIN_SECONDS)
            stable_after = time.monotonic() - back_at
            found = await pods(world)
            assert before <= found.keys()
            numbers = [int(pod["metadata"]["labels"]["spark-exec-id"]) for pod in found.values()]
            assert len(set(numbers)) == 5, "and no id is used twice"
            # and the plan stays as it is
            calm_until = time.monotonic() + CALM_SECONDS
            while time.monotonic() < calm_until:
                tasks += 1
                await kubelet(world, driver, tasks=tasks)
                assert set(await pods(world)) == set(found)
                await asyncio.sleep(0.5)
            assert (await world.status("job"))["target"] == 5
            print(f"stable {stable_after:.1f} s after its start")
        finally:
            second.close()
            first.close()
