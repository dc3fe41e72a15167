"""Claims of executors on a real API server: made after their pods, owned by the driver, taken over, waited for.

Pods and claims are documents here: no node takes the one, no provisioner fills the other.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.operator_world import (
    Document,
    HostOperator,
    OperatorWorld,
    eventually,
)

from spark_allocation.kube.objects_api import KubernetesObjectsApi
from spark_allocation.kube.write_outcomes import WriteResult
from spark_allocation.testing.driver import APPLICATION_ID, FakeDriver

pytestmark = pytest.mark.cluster

VOLUME = "spark.kubernetes.executor.volumes.persistentVolumeClaim.spark-local-dir-1."
CLAIMS = {
    VOLUME + "mount.path": "/data",
    VOLUME + "options.claimName": "OnDemand",
    VOLUME + "options.storageClass": "fast",
    VOLUME + "options.sizeLimit": "1Gi",
    # a claim is free when it is older than this, and than five rounds
    "spark.kubernetes.allocation.executor.timeout": "1s",
}
OLD_ENOUGH_SECONDS = 5


@pytest.fixture
async def driver(world: OperatorWorld) -> AsyncIterator[FakeDriver]:
    async with FakeDriver() as fake:
        world.passive(fake)
        fake.properties.update(CLAIMS)
        await world.put_driver()
        yield fake


@pytest.fixture
def operator(world: OperatorWorld, tmp_path: Path):
    started = HostOperator(world, tmp_path, "operator")
    yield started
    started.close()


async def allocate(world: OperatorWorld, driver: FakeDriver, executors: int) -> None:
    bounds = {"minExecutors": executors, "maxExecutors": executors}
    wish = {"podName": "driver", "uiPort": driver.port}
    await world.allocate("job", {"driver": wish, "dynamicAllocation": bounds})


def claims_path(world: OperatorWorld) -> str:
    return f"/api/v1/namespaces/{world.namespace}/persistentvolumeclaims"


async def claims(world: OperatorWorld) -> dict[str, Document]:
    listed = await world.did("GET", claims_path(world))
    return {item["metadata"]["name"]: item for item in listed["items"]}


def claim_of(pod: Document) -> str:
    (name,) = (
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    )
    return str(name)


async def the_executor(world: OperatorWorld, *, other_than: str = "") -> Document:
    async def there() -> Any:
        found = [pod for pod in await world.pods() if pod["metadata"]["name"] != other_than]
        return found[0] if len(found) == 1 else None

    found: Document = await eventually(there, "one executor pod", within=40)
    return found


async def delete_now(world: OperatorWorld, pod: Document) -> None:
    await world.did(
        "DELETE", f"{world.pods_path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0}
    )


@asynccontextmanager
async def paused(world: OperatorWorld) -> AsyncIterator[None]:
    """Everything stays as it is meanwhile."""

    async def mode(name: str) -> None:
        await world.did("PATCH", f"{world.allocations_path}/job", {"spec": {"mode": name}})

    async def is_paused() -> bool:
        return (await world.status("job")).get("state") == "Paused"

    await mode("Paused")
    await eventually(is_paused, "the allocation is paused")
    yield
    await mode("Allocate")


async def is_old_enough(world: OperatorWorld) -> None:
    async def old() -> bool:
        created = [
            datetime.fromisoformat(each["metadata"]["creationTimestamp"]).timestamp()
            for each in (await claims(world)).values()
        ]
        return bool(created) and time.time() - max(created) > OLD_ENOUGH_SECONDS + 1

    await eventually(old, "the claims are old enough", within=20)


async def test_the_next_executor_takes_over_the_claim_of_one_that_has_gone(
    world: OperatorWorld, driver: FakeDriver, operator: HostOperator
) -> None:
    await allocate(world, driver, 1)
    first = await the_executor(world)
    name = claim_of(first)
    assert name == f"{first['metadata']['name']}-pvc-0"

    async def made() -> Any:
        return (await claims(world)).get(name)

    async def gone() -> bool:
        return not await world.pods()

    claim = await eventually(made, "the claim is made")
    (driver_pod,) = await world.pods("driver")
    (owner,) = claim["metadata"]["ownerReferences"]
    assert owner["uid"] == driver_pod["metadata"]["uid"], "it outlives its executor"
    assert claim["metadata"]["labels"]["spark-app-selector"] == APPLICATION_ID
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]

    await is_old_enough(world)
    # a pod that is being deleted still mounts its claim; what is asked for meanwhile gets a new one, as in Spark
    async with paused(world):
        await delete_now(world, first)
        await eventually(gone, "the executor pod has gone")
    second = await the_executor(world)
    assert claim_of(second) == name
    assert list(await claims(world)) == [name]


async def test_executors_wait_for_a_claim_that_is_old_enough_and_say_so(
    world: OperatorWorld, driver: FakeDriver, operator: HostOperator
) -> None:
    driver.properties["spark.kubernetes.driver.waitToReusePersistentVolumeClaim"] = "true"
    await allocate(world, driver, 1)
    first = await the_executor(world)
    await delete_now(world, first)

    async def waits() -> bool:
        found = (await world.status("job")).get("conditions") or []
        return any(
            each["type"] == "Stalled" and each["reason"] == "WaitingForClaims" for each in found
        )

    await eventually(waits, "Stalled: WaitingForClaims", within=20)
    second = await the_executor(world, other_than=first["metadata"]["name"])
    assert claim_of(second) == claim_of(first)
    assert len(await claims(world)) == 1


async def test_a_claim_of_another_driver_is_left_alone_whatever_its_label_says(
    world: OperatorWorld, driver: FakeDriver, operator: HostOperator
) -> None:
    forged = {
        "metadata": {"name": "payroll", "labels": {"spark-app-selector": APPLICATION_ID}},
        "spec": {
            "accessModes": ["ReadWriteOncePod"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    await world.did("POST", claims_path(world), forged)
    await is_old_enough(world)
    await allocate(world, driver, 1)
    assert claim_of(await the_executor(world)) != "payroll"


async def test_what_the_port_says_of_claims(world: OperatorWorld) -> None:
    objects = KubernetesObjectsApi(world.api)
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c", "labels": {"spark-app-selector": "a"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1024Mi"}},
        },
    }
    kind, namespace = "persistentvolumeclaims", world.namespace
    assert (await objects.create(namespace, kind, claim)).done
    assert (await objects.create(namespace, kind, claim)).result is WriteResult.EXISTS
    found = await objects.get(namespace, kind, "c")
    assert found is not None
    assert await objects.get(namespace, kind, "none") is None
    (listed,) = await objects.list_named(namespace, kind, "spark-app-selector=a")
    assert listed["metadata"]["uid"] == found["metadata"]["uid"]
    assert "creationTimestamp" in listed["metadata"]
    assert listed["spec"]["resources"]["requests"]["storage"] == "1Gi", "the server's own spelling"
    assert (await objects.delete(namespace, kind, "c", found["metadata"]["uid"])).done
