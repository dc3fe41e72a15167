"""What people of a namespace may write themselves: labels, owners, ids, addresses, a driver's answers. None of it moves what is another's."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.executor_pod_documents import driver_document, executor_document
from tests.unit.runner_world import Operator

from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.testing.driver import FakeDriver

SOME_LOOKS_SECONDS = 0.4


@pytest.fixture
async def operator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Operator]:
    monkeypatch.setattr("spark_allocation.controller.allocation_runner.LOOK_AGAIN_SECONDS", 0.05)
    async with open_driver_session() as session:
        made = Operator(session)
        made.tasks = [asyncio.create_task(watch.run()) for watch in made.watches]
        yield made
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)


@pytest.fixture
async def driver() -> AsyncIterator[FakeDriver]:
    async with FakeDriver() as fake:
        fake.properties["spark.kubernetes.allocation.batch.delay"] = "101ms"
        yield fake


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "not an address"])  # fmt: skip
async def test_a_forged_address_of_a_driver_is_not_asked(operator, driver, address: str) -> None:
    operator.pods.put(driver_document(ip=address, ui_port=driver.port))
    operator.allocate(dynamicAllocation={"minExecutors": 2})
    await operator.until(
        lambda: operator.condition("DriverReachable")["reason"] == "AddressNotAllowed", within=60
    )
    assert "pods/status" in operator.condition("DriverReachable")["message"] or (
        "no IP address" in operator.condition("DriverReachable")["message"]
    )
    assert driver.asked == []
    assert operator.touched == []


STRANGERS: dict[str, Any] = {
    "another driver's, with our label": {"driver_uid": "another"},
    "nobody's, with our label": {"driver_uid": ""},
    "our driver's, made by nobody we know": {"allocation_uid": ""},
}


@pytest.mark.parametrize("forged", STRANGERS.values(), ids=STRANGERS.keys())
async def test_a_pod_that_is_not_ours_is_neither_counted_nor_touched(
    operator, driver, forged
) -> None:
    operator.pods.put(driver_document(ui_port=driver.port, uid="driver-uid"))
    document = executor_document(1, **{"driver_uid": "driver-uid", "allocation_uid": "allocation-1", **forged})  # fmt: skip
    stranger = operator.pods.put(document)["metadata"]
    operator.allocate(dynamicAllocation={"minExecutors": 2})
    await operator.until(lambda: len(operator.executors) == 3, within=60)
    # and when the application ends, it is not swept either
    operator.pods.change("driver", "jobs", phase="Succeeded")
    await operator.until(lambda: len(operator.executors) == 1, within=60)
    await asyncio.sleep(SOME_LOOKS_SECONDS)
    assert [pod["metadata"]["uid"] for pod in operator.executors] == [stranger["uid"]]
    assert all(call.name != stranger["name"] for call in operator.pods.made("delete"))


@pytest.mark.parametrize("number", ["2147483647", "99999999999", "-1", "٣"])
async def test_a_forged_executor_id_uses_up_no_ids(operator, driver, number: str) -> None:
    operator.pods.put(driver_document(ui_port=driver.port, uid="driver-uid"))
    document = executor_document(1, driver_uid="driver-uid")
    document["metadata"]["labels"]["spark-exec-id"] = number
    document["metadata"]["annotations"]["sparkallocation.dev/next-executor-id"] = number
    operator.pods.put(document)
    operator.allocate(dynamicAllocation={"minExecutors": 2})
    made = lambda: operator.pods.made("create")  # noqa: E731
    await operator.until(lambda: len(made()) == 2, within=60)
    ids = {call.details["pod"]["metadata"]["labels"]["spark-exec-id"] for call in made()}
    assert ids == {"1", "2"}


async def test_a_driver_that_gives_itself_for_another_s_application_is_not_served(
    operator, driver
) -> None:
    labels = {"spark-app-selector": "spark-of-this-pod"}
    operator.pods.put(driver_document(ui_port=driver.port, labels=labels))
    operator.allocate(dynamicAllocation={"minExecutors": 2})
    await operator.until(
        lambda: operator.condition("DriverReachable")["reason"] == "NotASparkUi", within=60
    )
    assert operator.touched == []


async def test_what_is_another_s_under_our_application_s_name_is_not_swept(
    operator, driver
) -> None:
    operator.pods.put(driver_document(ui_port=driver.port, uid="driver-uid"))
    labels = {"spark-app-selector": driver.application_id, "spark-role": "executor"}
    for kind in ("configmaps", "persistentvolumeclaims"):
        owner = {"kind": "Pod", "name": "driver", "uid": "another", "controller": True}
        metadata = {"name": "theirs", "labels": labels, "ownerReferences": [owner]}
        operator.objects.put(kind, {"metadata": metadata}, namespace="jobs")
    operator.allocate(dynamicAllocation={"minExecutors": 1})
    await operator.until(lambda: len(operator.executors) == 1, within=60)
    operator.pods.change("driver", "jobs", phase="Failed")
    await operator.until(lambda: operator.state() == "Finished", within=60)
    assert operator.objects.made("delete") == []
