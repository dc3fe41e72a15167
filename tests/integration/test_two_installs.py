"""Two installations of the operator side by side in one cluster: each touches what is its own, and nothing else."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.faults.fault_proxy import FaultProxy, Passage, api_kind, write_kubeconfig
from tests.integration.operator_world import Document, HostOperator, OperatorWorld, eventually

from spark_allocation.api.group import FINALIZER, finalizer_of
from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster
LEASES = "/apis/coordination.k8s.io/v1/namespaces"


@asynccontextmanager
async def installation(
    world: OperatorWorld, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[HostOperator, list[Passage]]]:
    """An operator under a name ("" for the one without), and all that it asks of the API server."""
    credentials = await world.api.credentials()
    label = name or "unnamed"
    async with FaultProxy(
        credentials.server,
        lambda _: None,
        by=label,
        tls=ssl.create_default_context(cafile=credentials.ca_path),
        token=credentials.token,
        kind_of=api_kind,
    ) as proxy:
        kubeconfig = folder / f"{label}.kubeconfig"
        write_kubeconfig(kubeconfig, proxy.url)
        monkeypatch.setenv("SPARK_ALLOCATION_MANAGED_BY", name)
        operator = HostOperator(world, folder, label, kubeconfig=kubeconfig, context="proxied")
        try:
            yield operator, proxy.passages
        finally:
            operator.close()


def writes(passages: list[Passage]) -> list[Passage]:
    return [
        each
        for each in passages
        if each.method not in ("GET", "HEAD")
        and not each.path.startswith("/apis/coordination.k8s.io")
        and "/events" not in each.path
    ]


def touched(passages: list[Passage]) -> set[str]:
    """Names of SparkAllocations that were written, and of drivers whose executors were."""
    names = set()
    for each in writes(passages):
        parts = each.path.split("/")
        if "sparkallocations" in parts:
            names.add(parts[parts.index("sparkallocations") + 1])
        else:
            (owner,) = each.body["metadata"]["ownerReferences"]
            names.add(owner["name"])
    return names


async def executors_of(world: OperatorWorld, driver: str) -> list[Document]:
    return [
        pod
        for pod in await world.pods()
        if pod["metadata"]["ownerReferences"][0]["name"] == driver
        and "deletionTimestamp" not in pod["metadata"]
    ]


async def executors(world: OperatorWorld, driver: str, count: int) -> None:
    async def enough() -> bool:
        return len(await executors_of(world, driver)) == count

    await eventually(enough, f"{driver} has {count} executors", within=60)


async def state(world: OperatorWorld, name: str, word: str) -> Document:
    async def said() -> Document | None:
        status = await world.status(name)
        return status if status.get("state") == word else None

    return dict(await eventually(said, f"{name} is {word}", within=60))


async def finalizers(world: OperatorWorld, name: str) -> list[str]:
    found = await world.did("GET", f"{world.allocations_path}/{name}")
    return list(found["metadata"].get("finalizers") or ())


async def another_second(world: OperatorWorld, name: str) -> None:
    """Wait until what is created now is younger: ages are told in whole seconds, and of one second the uid decides."""
    found = await world.did("GET", f"{world.allocations_path}/{name}")
    created = datetime.fromisoformat(found["metadata"]["creationTimestamp"])

    async def is_over() -> bool:
        return datetime.now(UTC) - created >= timedelta(seconds=1)

    await eventually(is_over, "another second")


async def test_each_serves_its_own_and_touches_nothing_of_the_other(
    world: OperatorWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        # given a driver for each of two installations
        for_unnamed, for_blue = [await stack.enter_async_context(FakeDriver()) for _ in range(2)]
        for name, fake in (("driver-1", for_unnamed), ("driver-2", for_blue)):
            world.passive(fake)
            await world.put_driver(name)
        unnamed, asked_by_unnamed = await stack.enter_async_context(
            installation(world, tmp_path, "", monkeypatch)
        )
        blue, asked_by_blue = await stack.enter_async_context(
            installation(world, tmp_path, "blue", monkeypatch)
        )
        # both lead: each has a Lease of its own
        await unnamed.says("lease_taken", within=60)
        await blue.says("lease_taken", within=60)
        first = {"podName": "driver-1", "uiPort": for_unnamed.port}
        second = {"podName": "driver-2", "uiPort": for_blue.port}
        two = {"minExecutors": 2}
        await world.allocate("plain", {"driver": first, "dynamicAllocation": two})
        await world.allocate(
            "bluish", {"driver": second, "dynamicAllocation": two, "managedBy": "blue"}
        )
        await executors(world, "driver-1", 2)
        await executors(world, "driver-2", 2)
        assert await finalizers(world, "plain") == [FINALIZER]
        assert await finalizers(world, "bluish") == [finalizer_of("blue")]

        # when an object of the one names the driver of the other, the older holds it
        await another_second(world, "plain")
        await world.allocate(
            "late", {"driver": first, "dynamicAllocation": {"minExecutors": 5}, "managedBy": "blue"}
        )
        status = await state(world, "late", "Conflicted")
        assert "plain (managed by the installation without a name)" in status["message"]

        # who manages an object is for life
        path = f"{world.allocations_path}/plain"
        refused = await world.request("PATCH", path, {"spec": {"managedBy": "blue"}})
        assert (refused.status, "managedBy cannot be changed" in refused.message) == (422, True)

        # and when an object of the one is deleted, the other's stay as they are
        await world.did("DELETE", path)

        async def gone() -> bool:
            return (await world.request("GET", path)).status == 404

        await eventually(gone, "plain is gone", within=30)
        # then its driver falls to the other, which goes on with the pods that are there
        await executors(world, "driver-1", 5)
        assert await finalizers(world, "bluish") == [finalizer_of("blue")]
        assert len(await executors_of(world, "driver-2")) == 2

    assert touched(asked_by_unnamed) == {"plain", "driver-1"}
    assert touched(asked_by_blue) == {"bluish", "late", "driver-1", "driver-2"}
    made_by_blue = [
        each.body["metadata"]["ownerReferences"][0]["name"]
        for each in writes(asked_by_blue)
        if each.method == "POST" and each.path.endswith("/pods")
    ]
    assert (made_by_blue.count("driver-1"), made_by_blue.count("driver-2")) == (3, 2)
    leases = await world.did("GET", f"{LEASES}/{world.namespace}/leases")
    assert {each["metadata"]["name"] for each in leases["items"]} == {
        "spark-allocation-operator",
        "spark-allocation-operator-blue",
    }
