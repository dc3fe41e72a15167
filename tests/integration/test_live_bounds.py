"""maxExecutors goes 2 → 6 → 1 on a busy application: what the operator asks of a real API server follows within two seconds."""

from pathlib import Path

import pytest
from tests.integration.operator_world import Document, HostOperator, OperatorWorld, eventually
from tests.machine.own_time import own_seconds

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster
LIVE_SECONDS = 2.0
MORE_ROUNDS = 2
"""On a busy machine: one that is late once has not missed it."""


@pytest.fixture
def operator(world: OperatorWorld, tmp_path: Path):
    process = HostOperator(world, tmp_path, "operator")
    yield process
    process.close()


async def staying(world: OperatorWorld) -> list[Document]:
    return [pod for pod in await world.pods() if "deletionTimestamp" not in pod["metadata"]]


async def have_work(world: OperatorWorld, driver: FakeDriver) -> None:
    """The kubelet starts what there is, and every executor gets a task."""
    pods = await staying(world)
    for pod in pods:
        if pod["status"]["phase"] == "Pending":
            await world.run_pod(pod["metadata"]["name"], "spark-kubernetes-executor")
    ids = [pod["metadata"]["labels"]["spark-exec-id"] for pod in pods]
    driver.executors = [driver.executor(each, active=1) for each in ids]
    # a task has ended, and has left no shuffle data behind
    driver.stages = [driver.stage(tasks=100, active=len(ids), done=1)]
    running = len(ids)

    async def counted() -> bool:
        return (await world.status("job")).get("executors") == running

    await eventually(counted, f"{running} executors run", within=40)


async def seconds_until(world: OperatorWorld, count: int, most: int) -> float:
    """Change the maximum; returns after how long so many pods are there to stay."""
    path = f"{world.allocations_path}/job"
    await world.did("PATCH", path, {"spec": {"dynamicAllocation": {"maxExecutors": most}}})
    began = own_seconds()

    async def follow() -> bool:
        return len(await staying(world)) == count

    await eventually(follow, f"{count} executors", within=30)
    return own_seconds() - began


async def test_pods_follow_a_changed_maximum(
    world: OperatorWorld, driver: FakeDriver, operator: HostOperator
) -> None:
    await operator.says("lease_taken", within=60)
    driver.work(100)
    await world.allocate(
        "job",
        {
            "driver": {"podName": "driver", "uiPort": driver.port},
            "dynamicAllocation": {"maxExecutors": 2},
            "allocation": {"rampUp": "Immediate"},
        },
    )

    async def two() -> bool:
        return len(await staying(world)) == 2

    await eventually(two, "two executors", within=60)
    await have_work(world, driver)
    first = {pod["metadata"]["uid"] for pod in await staying(world)}
    # more are asked for at once, and those that work stay
    raised_in = await seconds_until(world, 6, most=6)
    assert first < {pod["metadata"]["uid"] for pod in await staying(world)}
    await have_work(world, driver)
    # and fewer leave at once, though all of them have a task
    lowered_in = await seconds_until(world, 1, most=1)
    for _ in range(MORE_ROUNDS):
        if max(raised_in, lowered_in) < LIVE_SECONDS:
            break
        raised_in = min(raised_in, await seconds_until(world, 6, most=6))
        await have_work(world, driver)
        lowered_in = min(lowered_in, await seconds_until(world, 1, most=1))
    assert (raised_in < LIVE_SECONDS, lowered_in < LIVE_SECONDS) == (True, True), (
        f"raised in {raised_in:.2f} s, lowered in {lowered_in:.2f} s"
    )

    async def told() -> bool:
        decisions = (await world.status("job")).get("decisions") or ()
        return "AboveMaximum" in {each["reason"] for each in decisions}

    await eventually(told, "the decision is told")
