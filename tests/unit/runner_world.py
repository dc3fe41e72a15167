"""Runners with everything around them real but for the API server, which is in memory, and the driver's tasks."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from tests.unit.executor_pod_documents import driver_document

from spark_allocation.controller.allocation_runner import AllocationRunner
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.controller.driver_finding import DriverFinder
from spark_allocation.controller.pod_creation import Apis
from spark_allocation.controller.polling_turns import PollingTurns
from spark_allocation.controller.process_settings import ProcessSettings
from spark_allocation.controller.runner_surroundings import Surroundings
from spark_allocation.controller.runners import Claims
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.kube.pacing import CreationPacer
from spark_allocation.snapshots_store import ExecutorPodsSnapshotsStore, SeenPod
from spark_allocation.sources.executor_pods import EXECUTOR_SELECTOR, driver_pod, seen_pod
from spark_allocation.sources.pods_watch import PodsWatch
from spark_allocation.testing.driver import FakeDriver
from spark_allocation.testing.objects import FakeAllocationsApi, FakeObjectsApi
from spark_allocation.testing.pods import FakePodsApi

Document = dict[str, Any]


class Stop:
    """Why a runner has to stop, as kopf would tell it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.object_deleted = False

    def __bool__(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()

    def now(self, *, deleted: bool = False) -> None:
        self.object_deleted = deleted
        self._event.set()


class Operator:
    """Everything around runners, real but for the API server."""

    def __init__(self, session: aiohttp.ClientSession, former: "Operator | None" = None) -> None:
        self.pods = FakePodsApi() if former is None else former.pods
        self.allocations = FakeAllocationsApi() if former is None else former.allocations
        self.objects = FakeObjectsApi() if former is None else former.objects
        self.store = ExecutorPodsSnapshotsStore()
        self.directory = DriverDirectory()
        self.claims = Claims()
        self.around = Surroundings(
            apis=Apis(self.pods, self.allocations, self.objects, CreationPacer(10_000)),
            store=self.store,
            finder=DriverFinder(self.directory, self.pods),
            session=session,
            claims=self.claims,
            settings=ProcessSettings(poll_seconds=0.06, idle_poll_seconds=0.06),
            # no test is one of turns because the machine is busy
            turns=PollingTurns(lambda: 0.0, time.monotonic),
        )
        self.watches: list[PodsWatch[Any]] = [
            PodsWatch[SeenPod](
                self.pods,
                namespace=None,
                selector=EXECUTOR_SELECTOR,
                project=seen_pod,
                sink=self.store,
                first_pause_seconds=0.01,
            ),
            PodsWatch[DriverPod](
                self.pods,
                namespace=None,
                selector="spark-role=driver",
                project=driver_pod,
                sink=self.directory,
                first_pause_seconds=0.01,
            ),
        ]
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, name: str) -> tuple[AllocationRunner, Stop, asyncio.Task[None]]:
        """kopf hands a SparkAllocation over."""
        body = self.body(name)
        metadata = body["metadata"]
        served = (body.get("status") or {}).get("driverPodUid") or ""
        self.claims.introduce(metadata["uid"], metadata["creationTimestamp"], name, served)
        runner, stop = AllocationRunner(body, self.around), Stop()
        task = asyncio.create_task(runner.run(stop))
        self.tasks.append(task)
        return runner, stop, task

    def body(self, name: str) -> Document:
        return dict(self.allocations.objects["jobs", name])

    def allocate(self, name: str = "job", **spec: Any) -> AllocationRunner:
        self.allocations.put(name, {"driver": {"podName": "driver"}, **spec})
        return self.start(name)[0]

    def change(self, runner: AllocationRunner, **spec: Any) -> None:
        """Somebody applies another spec."""
        self.allocations.put(runner.name, {"driver": {"podName": "driver"}, **spec})
        runner.seen(self.body(runner.name))

    def condition(self, kind: str, name: str = "job") -> Document:
        for each in self.allocations.status(name).get("conditions") or ():
            if each["type"] == kind:
                return dict(each)
        return {"status": "", "reason": "", "message": ""}

    def state(self, name: str = "job") -> str:
        return str(self.allocations.status(name).get("state", ""))

    @property
    def executors(self) -> list[Document]:
        return [
            pod
            for pod in self.pods.pods.values()
            if pod["metadata"]["labels"].get("spark-role") == "executor"
        ]

    @property
    def touched(self) -> list[Any]:
        return self.pods.made("create", "delete")

    async def until(self, holds: Callable[[], object], *, within: float = 3) -> None:
        try:
            async with asyncio.timeout(within):
                while not holds():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            status = self.allocations.objects.get(("jobs", "job"), {}).get("status")
            pytest.fail(f"never so; status: {status}")

    def kubelet(self, *, registers_with: FakeDriver | None = None) -> None:
        """Every executor pod starts, and registers with its driver."""
        for pod in self.executors:
            name = pod["metadata"]["name"]
            if pod["status"]["phase"] == "Pending":
                self.pods.run(name, "jobs")
        if registers_with is not None:
            registers_with.executors = [
                registers_with.executor(pod["metadata"]["labels"]["spark-exec-id"], active=1)
                for pod in self.executors
                if "deletionTimestamp" not in pod["metadata"]
            ]


@asynccontextmanager
async def running(former: Operator | None = None) -> AsyncIterator[Operator]:
    """An operator, or the process that comes after a former one that has ended."""
    async with aiohttp.ClientSession() as session:
        operator = Operator(session, former)
        operator.tasks = [asyncio.create_task(watch.run()) for watch in operator.watches]
        try:
            yield operator
        finally:
            for task in operator.tasks:
                task.cancel()
            await asyncio.gather(*operator.tasks, return_exceptions=True)


def put_driver(
    operator: Operator, driver: FakeDriver, name: str = "driver", **more: Any
) -> Document:
    return operator.pods.put(driver_document(name, ui_port=driver.port, **more))


async def served(
    operator: Operator, driver: FakeDriver, executors: int = 2, **spec: Any
) -> AllocationRunner:
    """A driver with so many tasks, and as many executors at work."""
    put_driver(operator, driver)
    driver.work(executors)
    spec.setdefault("dynamicAllocation", {"minExecutors": executors})
    runner = operator.allocate(**spec)
    await operator.until(lambda: len(operator.executors) == executors)
    operator.kubelet(registers_with=driver)
    await operator.until(lambda: operator.allocations.status("job").get("executors") == executors)
    return runner
