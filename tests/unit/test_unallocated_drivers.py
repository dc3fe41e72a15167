"""Passive drivers that nobody allocates for are counted; whoever is served, ends, or allocates for itself is not."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import msgspec
import pytest
from tests.unit.executor_pod_documents import executor_document

from spark_allocation.api.group import MANAGED_LABEL
from spark_allocation.controller import unallocated_drivers
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.controller.unallocated_drivers import UnallocatedDrivers
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.snapshots_store import ExecutorPodsSnapshotsStore
from spark_allocation.sources.driver_access import DriverReach
from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.sources.executor_pods import seen_pod
from spark_allocation.sources.wire import Pod
from spark_allocation.testing.driver import FakeDriver


class World:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.directory = DriverDirectory()
        self.store = ExecutorPodsSnapshotsStore()
        self.served: set[str] = set()
        self.counter = UnallocatedDrivers(
            self.directory,
            self.store,
            session,
            DriverReach(),
            is_served=lambda pod: pod.uid in self.served,
        )

    def put(self, driver: FakeDriver, *, managed: bool = False, age: float = 3600.0) -> DriverPod:
        pod = DriverPod(
            "jobs",
            f"driver-{driver.port}",
            f"uid-{driver.port}",
            "Running",
            False,
            "127.0.0.1",
            0,
            0.0,
            ui_port=driver.port,
            started_at=time.time() - age,
            labels={MANAGED_LABEL: "true"} if managed else {},
        )
        self.directory.update("drivers", pod)
        return pod

    async def count(self) -> int:
        await self.counter.look()
        return self.counter.count


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(unallocated_drivers, "ASK_EVERY_SECONDS", 0.0)
    async with open_driver_session() as session:
        yield World(session)


@pytest.fixture
async def driver() -> AsyncIterator[FakeDriver]:
    async with FakeDriver() as fake:
        yield fake


async def test_a_passive_driver_that_nobody_names_is_counted(world, driver) -> None:
    world.put(driver)
    assert await world.count() == 1


async def test_one_that_a_sparkallocation_names_is_not(world, driver) -> None:
    pod = world.put(driver)
    world.served.add(pod.uid)
    assert await world.count() == 0
    world.served.clear()  # it was deleted
    assert await world.count() == 1


async def test_a_labelled_one_needs_not_be_asked(world, driver) -> None:
    world.put(driver, managed=True)
    assert await world.count() == 1
    assert driver.asked == []


async def test_one_that_allocates_for_itself_is_not_and_is_asked_once(world, driver) -> None:
    driver.properties["spark.dynamicAllocation.executorIdleTimeout"] = "60s"
    world.put(driver)
    assert await world.count() == 0
    asked = len(driver.asked)
    assert asked > 0
    assert await world.count() == 0
    assert len(driver.asked) == asked


async def test_one_that_has_executors_is_not_even_asked(world, driver) -> None:
    pod = world.put(driver)
    document = executor_document(1, driver_uid=pod.uid, allocation_uid="")
    document["metadata"]["uid"] = "executor"
    seen = seen_pod(msgspec.convert(document, Pod))
    assert seen is not None
    world.store.update("executors", seen)
    assert await world.count() == 0
    assert driver.asked == []
    world.store.remove("executors", seen)
    assert await world.count() == 1


@pytest.mark.parametrize(
    "changes",
    [{"phase": "Succeeded"}, {"deleting": True}, {"ip": ""}, {"started_at": None}, {"ip": "169.254.169.254"}],
    ids=["ended", "deleting", "no address", "not started", "forged"],
)  # fmt: skip
async def test_one_that_does_not_run_is_not(world, driver, changes) -> None:
    world.directory.update("drivers", replace(world.put(driver), **changes))
    assert await world.count() == 0
    assert driver.asked == []


async def test_one_that_has_just_started_may_still_be_given_one(world, driver) -> None:
    world.put(driver, age=5.0)
    assert await world.count() == 0


async def test_one_that_does_not_answer_is_asked_again_later(world, driver, monkeypatch) -> None:
    world.put(driver)
    await driver.stop()
    assert await world.count() == 0
    monkeypatch.setattr(unallocated_drivers, "ASK_AGAIN_SECONDS", 0.0)
    async with driver:  # on the same port
        assert await world.count() == 1
