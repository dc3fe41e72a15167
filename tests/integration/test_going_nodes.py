"""Nodes that are about to go, on a real API server: nodes and pods are documents, the test is scheduler and kubelet."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import Cluster
from tests.integration.operator_world import (
    Document,
    HostOperator,
    OperatorWorld,
    eventually,
    operator_world,
)

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster
EXECUTOR = "spark-kubernetes-executor"

CORDONED = {"unschedulable": True}
DISRUPTED = {"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}
INTERRUPTED = {
    "taints": [
        {"key": "aws-node-termination-handler/spot-itn", "value": "1", "effect": "NoSchedule"}
    ]
}


class Nodes:
    """Two nodes without a kubelet, and what a scheduler and a kubelet would do on them."""

    def __init__(self, world: OperatorWorld, driver: FakeDriver) -> None:
        self.world = world
        self.driver = driver
        self.old, self.new = f"old-{world.namespace}", f"new-{world.namespace}"

    async def make(self) -> None:
        for name in (self.old, self.new):
            # nothing else of the cluster is to be put there
            taint = {"key": "only-documents", "effect": "NoSchedule"}
            spec = {"taints": [taint]}
            await self.world.did(
                "POST", "/api/v1/nodes", {"metadata": {"name": name}, "spec": spec}
            )

    async def change(self, name: str, **spec: Any) -> None:
        await self.world.did("PATCH", f"/api/v1/nodes/{name}", {"spec": spec})

    async def start(self, pods: list[Document], node: str) -> None:
        """Bind these pods, let them run, and let their executors register and work."""
        for pod in pods:
            name = pod["metadata"]["name"]
            target = {"apiVersion": "v1", "kind": "Node", "name": node}
            await self.world.did(
                "POST",
                f"{self.world.pods_path}/{name}/binding",
                {"metadata": {"name": name}, "target": target},
            )
            await self.world.run_pod(name, EXECUTOR)
            number = pod["metadata"]["labels"]["spark-exec-id"]
            self.driver.executors.append(self.driver.executor(number, active=1, total=1))

    async def pods(self, *, leaving: bool) -> list[Document]:
        return [
            pod
            for pod in await self.world.pods()
            if ("deletionTimestamp" in pod["metadata"]) == leaving
        ]

    async def staying(self, count: int) -> list[Document]:
        async def enough() -> list[Document]:
            found = await self.pods(leaving=False)
            return found if len(found) == count else []

        try:
            return list(await eventually(enough, f"{count} executor pods stay", within=30))
        except AssertionError:
            status = await self.world.status("job")
            pytest.fail(f"no {count} executor pods; status: {status}")

    async def decided(self, reason: str) -> None:
        async def told() -> bool:
            decisions = (await self.world.status("job")).get("decisions") or ()
            return reason in {each["reason"] for each in decisions}

        await eventually(told, f"a decision of reason {reason} in the status")

    async def clear(self) -> None:
        for pod in await self.world.pods():
            path = f"{self.world.pods_path}/{pod['metadata']['name']}"
            await self.world.request("DELETE", path, {"gracePeriodSeconds": 0})
        for name in (self.old, self.new):
            await self.world.request("DELETE", f"/api/v1/nodes/{name}")


@pytest.fixture
async def nodes(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Nodes]:
    """Two executors at work on the old node."""
    monkeypatch.setenv("SPARK_ALLOCATION_WATCH_NODES", "true")
    async with operator_world(cluster) as world, FakeDriver() as driver:
        world.passive(driver)
        await world.put_driver()
        nodes = Nodes(world, driver)
        await nodes.make()
        operator = HostOperator(world, tmp_path, "operator", lease=False)
        try:
            driver.work(2)
            await world.allocate(
                "job",
                {
                    "driver": {"podName": "driver", "uiPort": driver.port},
                    "dynamicAllocation": {"maxExecutors": 4},
                },
            )
            await nodes.start(await nodes.staying(2), nodes.old)
            yield nodes
        finally:
            operator.close()
            await nodes.clear()


@pytest.mark.parametrize("announced", [CORDONED, DISRUPTED, INTERRUPTED])
async def test_executors_of_a_node_that_is_about_to_go_are_replaced_and_then_drained(
    nodes: Nodes, announced: dict[str, Any]
) -> None:
    old = {pod["metadata"]["uid"] for pod in await nodes.pods(leaving=False)}
    # when the end of their node is announced
    await nodes.change(nodes.old, **announced)
    # then others are asked for, and nobody goes before those are there
    both = await nodes.staying(4)
    replacements = [pod for pod in both if pod["metadata"]["uid"] not in old]
    await asyncio.sleep(2)
    assert await nodes.pods(leaving=True) == []
    # and when they have registered, the old ones go, with time to finish
    await nodes.start(replacements, nodes.new)
    stayed = await nodes.staying(2)
    assert {pod["metadata"]["uid"] for pod in stayed}.isdisjoint(old)
    left = await nodes.pods(leaving=True)
    assert {pod["metadata"]["uid"] for pod in left} == old
    assert {pod["metadata"]["deletionGracePeriodSeconds"] for pod in left} == {600}
    # and the status says why, when it is next written
    await nodes.decided("NodeGoing")


async def test_an_executor_that_would_take_shuffle_data_along_is_replaced_and_stays(
    nodes: Nodes,
) -> None:
    for entry in nodes.driver.executors:
        entry["totalShuffleWrite"] = 1000
    await nodes.change(nodes.old, **DISRUPTED)
    both = await nodes.staying(4)
    on_old = {pod["metadata"]["uid"] for pod in both if pod["spec"].get("nodeName") == nodes.old}
    await nodes.start([pod for pod in both if pod["metadata"]["uid"] not in on_old], nodes.new)
    await asyncio.sleep(3)
    assert len(await nodes.pods(leaving=False)) == 4
    assert await nodes.pods(leaving=True) == []
