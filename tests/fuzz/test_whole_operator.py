"""Two SparkAllocations of one operator: whatever the documents of the one are, nothing dies, and the other goes on."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.fuzz.hostile import Document, spoilt, spoilt_bytes
from tests.fuzz.raw_driver import RawDriver
from tests.fuzz.test_texts import SPEC
from tests.unit.executor_pod_documents import driver_document, executor_document
from tests.unit.runner_world import Operator, Stop

from spark_allocation.controller import allocation_runner, driver_life
from spark_allocation.controller.allocation_runner import AllocationRunner
from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.testing.driver import FakeDriver

GOOD, BAD = "good", "bad"
SOME = settings(
    max_examples=max(12, settings().max_examples // 10),
    # an example takes half a second: to make a failure smaller would take longer than to read it
    phases=[Phase.generate],
    print_blob=True,
)
PATHS = sorted(RawDriver().documents)
BODY: Document = {
    "apiVersion": "sparkallocation.dev/v1alpha1",
    "kind": "SparkAllocation",
    "metadata": {
        "name": BAD,
        "namespace": "jobs",
        "uid": "uid-bad",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "resourceVersion": "5",
    },
    "spec": SPEC,
    "status": {
        "observedGeneration": 1, "state": "Running", "driverPod": "bad", "driverPodUid": "uid", "incarnation": "0a1b2c3d",
        "nextExecutorId": 7, "finishedAt": "2026-01-01T00:00:00Z",
        "profiles": [{"id": 0, "target": 2, "desired": 2, "reason": "Backlog"}],
        "conditions": [{"type": "Finished", "status": "True", "reason": "DriverGone", "message": "m",
                        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}],
        "decisions": [{"time": "2026-01-01T00:00:00Z", "profile": 0, "target": 2, "reason": "Backlog", "message": "m"}],
    },
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """The same behaviour, faster."""
    with ExitStack() as stack:
        for module, name, value in (
            (allocation_runner, "LOOK_AGAIN_SECONDS", 0.05),
            (allocation_runner, "WHILE_STARTING_SECONDS", 0.05),
            (allocation_runner, "LONG_PAUSE_SECONDS", 0.1),
            (allocation_runner, "STOP_PATIENCE_SECONDS", 0.2),
            (driver_life, "SHORTEST_PAUSE_SECONDS", 0.005),
        ):
            stack.enter_context(mock.patch.object(module, name, value))
        yield


@SOME
@given(data=st.data())
def test_the_answers_of_a_driver(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(PATHS))
    first, then = (data.draw(spoilt_bytes(RawDriver().documents[path])) for _ in range(2))

    async def scenario(operator: Operator, driver: FakeDriver) -> None:
        async with RawDriver() as bad:
            operator.pods.put(driver_document(BAD, ui_port=bad.port))
            bad.spoilt = {path: first}
            operator.allocations.put(BAD, {"driver": {"podName": BAD}})
            operator.start(BAD)
            await asked(operator, bad)
            # well for a while, then spoilt again in the middle of its life
            bad.spoilt = {}
            await asyncio.sleep(0.15)
            bad.spoilt = {path: then}
            await asyncio.sleep(0.15)
            await goes_on(operator, driver)

    run(scenario)


@SOME
@given(data=st.data())
def test_the_pods_of_a_driver(data: st.DataObject) -> None:
    pods = [
        data.draw(spoilt(executor_document(3, driver_uid="uid-bad-driver", name="stranger")))
        for _ in range(3)
    ]
    driver_pod = data.draw(spoilt(driver_document(BAD, uid="uid-bad-driver")))

    async def scenario(operator: Operator, driver: FakeDriver) -> None:
        async with RawDriver() as bad:
            operator.pods.put(driver_document(BAD, uid="uid-bad-driver", ui_port=bad.port))
            operator.allocations.put(BAD, {"driver": {"podName": BAD}})
            operator.start(BAD)
            await asked(operator, bad)
            for pod in (*pods, driver_pod):
                operator.pods.say(json.dumps({"type": "MODIFIED", "object": pod}).encode())
                await asyncio.sleep(0.01)
            await goes_on(operator, driver)

    run(scenario)


@SOME
@given(body=spoilt(BODY["spec"]), status=spoilt(BODY["status"]), newer=spoilt(BODY["spec"]))
def test_what_a_user_or_another_version_wrote(body: Any, status: Any, newer: Any) -> None:
    async def scenario(operator: Operator, driver: FakeDriver) -> None:
        operator.pods.put(driver_document("driver", uid="other"))
        document = {**BODY, "spec": body, "status": status}
        operator.allocations.objects["jobs", BAD] = document
        operator.claims.introduce("uid-bad", "2026-01-01T00:00:00Z", BAD, "")
        runner, stop = AllocationRunner(document, operator.around), Stop()
        operator.tasks.append(asyncio.create_task(runner.run(stop)))
        await asyncio.sleep(0.1)
        metadata = {**BODY["metadata"], "generation": 2}
        runner.seen({**document, "metadata": metadata, "spec": newer})
        await asyncio.sleep(0.1)
        await goes_on(operator, driver)

    run(scenario)


def run(scenario: Any) -> None:
    """One operator that serves a good driver, with a scenario beside it."""

    async def served() -> None:
        async with open_driver_session() as session, FakeDriver() as driver:
            driver.properties["spark.kubernetes.allocation.batch.delay"] = "101ms"
            operator = Operator(session)
            operator.tasks = [asyncio.create_task(watch.run()) for watch in operator.watches]
            try:
                operator.pods.put(driver_document(GOOD, ui_port=driver.port))
                operator.allocations.put(GOOD, wish(1))
                operator.runner = operator.start(GOOD)[0]  # type: ignore[attr-defined]
                await operator.until(lambda: mine(operator) == 1, within=60)
                await scenario(operator, driver)
                for task in operator.tasks:
                    assert not task.done(), task.exception()
            finally:
                for task in operator.tasks:
                    task.cancel()
                await asyncio.gather(*operator.tasks, return_exceptions=True)

    asyncio.run(served())


def wish(executors: int) -> Document:
    return {"driver": {"podName": GOOD}, "dynamicAllocation": {"minExecutors": executors}}


def mine(operator: Operator) -> int:
    owners = [
        owner["name"]
        for pod in operator.executors
        for owner in pod["metadata"].get("ownerReferences") or ()
    ]
    return owners.count(GOOD)


async def asked(operator: Operator, bad: RawDriver) -> None:
    """The operator has looked at the bad one, and has said something of it."""
    await operator.until(lambda: operator.allocations.status(BAD).get("conditions"), within=60)


async def goes_on(operator: Operator, driver: FakeDriver) -> None:
    """The other one follows a change, and what is said of the bad one is no error of ours."""
    operator.allocations.put(GOOD, wish(2))
    operator.runner.seen(operator.body(GOOD))  # type: ignore[attr-defined]
    await operator.until(lambda: mine(operator) == 2, within=60)
    said = json.dumps(operator.allocations.objects["jobs", BAD].get("status"))
    assert "InternalError" not in said, said
