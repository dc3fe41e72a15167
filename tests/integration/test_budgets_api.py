"""Several applications under one budget, on a real API server with an operator process; the test is kubelet and drivers."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from tests.cluster import Cluster
from tests.integration.operator_world import (
    CLUSTER_POLICIES,
    Document,
    HostOperator,
    OperatorWorld,
    eventually,
    operator_world,
)
from tests.machine.own_time import own_seconds

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster
NAMES = ("one", "two", "three")
SETTLED_WITHIN = 90
LIVE_SECONDS = 2.0
"""What a change of a budget may take until pods follow."""


class Jobs:
    """Three drivers whose executors the test starts, and a witness of how many executor pods there ever were."""

    def __init__(self, world: OperatorWorld) -> None:
        self.world = world
        self.drivers: dict[str, FakeDriver] = {}
        self.running: set[str] = set()
        self.there: set[str] = set()
        self.most = 0
        self.first_list = asyncio.Event()

    async def begin(self, stack: AsyncExitStack) -> None:
        for name in NAMES:
            driver = await stack.enter_async_context(FakeDriver(f"spark-{name}"))
            self.world.passive(driver)
            self.drivers[name] = driver
            await self.world.put_driver(f"driver-{name}")

    async def allocate(self, **bounds: int) -> None:
        for name in NAMES:
            wish = {"podName": f"driver-{name}", "uiPort": self.drivers[name].port}
            await self.world.allocate(name, {"driver": wish, "dynamicAllocation": bounds})

    async def budget(self, **caps: object) -> None:
        spec: Document = {
            "selector": {"namespaces": [self.world.namespace]},
            "budgets": [{"name": "team", **caps}],
        }
        path = f"{CLUSTER_POLICIES}/{self.world.namespace}"
        if (await self.world.request("PATCH", path, {"spec": spec})).status == 404:
            body = {
                "apiVersion": "sparkallocation.dev/v1alpha1",
                "kind": "ClusterSparkAllocationPolicy",
                "metadata": {"name": self.world.namespace},
                "spec": spec,
            }
            await self.world.did("POST", CLUSTER_POLICIES, body)

    async def kubelet(self) -> None:
        """Start every executor pod; its driver registers it and gives it a task."""
        while True:
            pods = [p for p in await self.world.pods() if "deletionTimestamp" not in p["metadata"]]
            for pod in pods:
                name = pod["metadata"]["name"]
                if name not in self.running:
                    with suppress(AssertionError):  # it may have been withdrawn meanwhile
                        await self.world.run_pod(name, "spark-kubernetes-executor")
                        self.running.add(name)
            for name, driver in self.drivers.items():
                driver.executors = [
                    driver.executor(pod["metadata"]["labels"]["spark-exec-id"], active=1)
                    for pod in pods
                    if owner(pod) == name and pod["metadata"]["name"] in self.running
                ]
            await asyncio.sleep(0.2)

    async def witness(self) -> None:
        """Follow every event: a count between two looks would overlook what was there for a moment."""
        listed = await self.world.did("GET", self.world.pods_path, labelSelector="spark-role=executor")  # fmt: skip
        self.there = {pod["metadata"]["uid"] for pod in listed["items"]}
        version = listed["metadata"]["resourceVersion"]
        self.first_list.set()
        query = {
            "watch": "true",
            "resourceVersion": version,
            "labelSelector": "spark-role=executor",
            "timeoutSeconds": "600",
        }
        async for line in self.world.api.stream(self.world.pods_path, query=query):
            event = json.loads(line)
            uid = event["object"]["metadata"]["uid"]
            if event["type"] == "DELETED":
                self.there.discard(uid)
            else:
                self.there.add(uid)
            self.most = max(self.most, len(self.there))

    async def counts(self) -> dict[str, int]:
        pods = [p for p in await self.world.pods() if "deletionTimestamp" not in p["metadata"]]
        found = Counter(map(owner, pods))
        return {name: found[name] for name in self.drivers}

    async def settle(self, *counts: int) -> float:
        """Wait until so many executors are there; returns after how many seconds."""
        began = own_seconds()

        async def are_there() -> bool:
            return tuple((await self.counts()).values()) == counts

        try:
            await eventually(are_there, f"{counts} executors", within=SETTLED_WITHIN)
        except AssertionError:
            pytest.fail(
                f"not {counts} but {await self.counts()}: {[await self.profile(n) for n in self.drivers]}"
            )

        return own_seconds() - began

    async def profile(self, name: str) -> Document:
        return dict(((await self.world.status(name)).get("profiles") or [{}])[0])

    async def says(self, name: str, reason: str) -> str:
        """Wait until the condition about budgets has this reason, and return its sentence."""

        async def said() -> str:
            for each in (await self.world.status(name)).get("conditions") or ():
                if (each["type"], each["reason"]) == ("BudgetLimited", reason):
                    return str(each["message"])
            return ""

        return str(await eventually(said, f"{name} says {reason}", within=SETTLED_WITHIN))


def owner(pod: Document) -> str:
    return str(pod["metadata"]["ownerReferences"][0]["name"]).removeprefix("driver-")


@pytest.fixture
async def jobs(cluster: Cluster) -> AsyncIterator[Jobs]:
    async with operator_world(cluster) as world, AsyncExitStack() as stack:
        made = Jobs(world)
        await made.begin(stack)
        tasks = [asyncio.create_task(made.kubelet()), asyncio.create_task(made.witness())]
        await made.first_list.wait()
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await world.request("DELETE", f"{CLUSTER_POLICIES}/{world.namespace}")


@pytest.fixture
def operator(jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("SPARK_ALLOCATION_WATCH_CLUSTER_POLICIES", "true")
    process = HostOperator(jobs.world, tmp_path, "operator")
    yield process
    process.close()


async def test_three_applications_share_one_budget_until_it_is_lowered_below_their_minima(
    jobs: Jobs, operator: HostOperator
) -> None:
    await jobs.budget(executors=12)
    await operator.says("lease_taken", within=SETTLED_WITHIN)
    await jobs.allocate(minExecutors=1)
    await jobs.settle(1, 1, 1)
    # when all have more work than there is room for
    for driver in jobs.drivers.values():
        driver.work(40)
    await jobs.settle(4, 4, 4)
    assert "budget team left 4 → 4" in await jobs.says("one", "BudgetExhausted")
    # and one of them ends, the others have its part
    gone = jobs.drivers.pop("two")
    await gone.stop()
    await jobs.world.did("DELETE", f"{jobs.world.pods_path}/driver-two", gracePeriodSeconds="0")
    await jobs.settle(6, 6)
    assert jobs.most <= 12
    # and the budget is lowered, the surplus goes
    await jobs.budget(executors=4)
    took = [await jobs.settle(2, 2)]
    # down to the minima and no further
    await jobs.budget(executors=0)
    took.append(await jobs.settle(1, 1))
    # the better of two: what else runs on the machine is no part of it
    assert min(took) < LIVE_SECONDS, took
    told = await jobs.says("one", "BudgetBelowMinima")
    assert "minExecutors 1, budget team is below the sum of all minExecutors" in told

    async def shown() -> bool:
        profile = await jobs.profile("one")
        return (profile["granted"], profile["running"], profile["target"]) == (0, 1, 1)

    await eventually(shown, "what is granted, runs and is wanted", within=SETTLED_WITHIN)


@pytest.mark.slow
async def test_an_operator_that_is_killed_while_they_grow_never_lets_them_exceed_the_budget(
    jobs: Jobs, operator: HostOperator, tmp_path: Path
) -> None:
    """Three times over: each new process knows only the pods, and serves one application after the other."""
    await jobs.budget(executors=9, pendingPods=4)
    await operator.says("lease_taken", within=SETTLED_WITHIN)
    await jobs.allocate(minExecutors=1)
    await jobs.settle(1, 1, 1)
    for driver in jobs.drivers.values():
        driver.work(40)
    process = operator
    for attempt in range(3):
        await process.says("driver_served", within=SETTLED_WITHIN)
        await asyncio.sleep(attempt)
        process.send(signal.SIGKILL)
        await process.ends()
        process = HostOperator(jobs.world, tmp_path, f"operator-{attempt}", lease=False)
    try:
        await jobs.settle(3, 3, 3)
        assert jobs.most <= 9

        # the policy says itself how far its budget is used
        async def shown() -> bool:
            found = await jobs.world.did("GET", f"{CLUSTER_POLICIES}/{jobs.world.namespace}")
            status = found.get("status") or {}
            return [
                (each["executors"], each["applications"], each["short"], each["cores"])
                for each in status.get("budgets") or ()
            ] == [(9, 3, 3, "9")] and status["allocations"] == 3

        await eventually(shown, "the budget's use in the policy", within=SETTLED_WITHIN)
    finally:
        process.close()
