"""A labelled driver from its start to after its end, on a real API server: every right of the operator is used on the way."""

from typing import Any

from tests.integration.operator_world import (
    ALLOCATIONS,
    NOBODY,
    Document,
    OperatorWorld,
    eventually,
)

from spark_allocation.api.group import FIELD_ANNOTATION_PREFIX, MANAGED_LABEL
from spark_allocation.controller.incarnation import incarnation_of, pod_name_prefix
from spark_allocation.core.driver_report import Application, DriverPod
from spark_allocation.core.redacted_settings import REDACTED
from spark_allocation.testing.driver import FakeDriver

HIDDEN = "hunter2-is-in-a-config-map"
"""In a property that the driver masks; it must never show."""
VOLUME = "spark.kubernetes.executor.volumes.persistentVolumeClaim.data"
EXECUTORS = 2


async def live(
    world: OperatorWorld,
    driver: FakeDriver,
    *,
    name: str = "driver",
    with_cluster_policy: bool = False,
) -> None:
    """Let a driver live and end; returns when its SparkAllocation is gone again.

    Args:
        with_cluster_policy: there is one, and the operator reads it.
    """
    policies = [f"{ALLOCATIONS}/namespaces/{world.namespace}/sparkallocationpolicies"]
    if with_cluster_policy:
        policies.append(f"{ALLOCATIONS}/clustersparkallocationpolicies")
    for path in policies:
        await _policy(world, path)
    core = f"/api/v1/namespaces/{world.namespace}"
    await _config_map(world, "conf", {"spark.properties": f"spark.executor.extraJavaOptions=-Dx={HIDDEN}\n"})  # fmt: skip
    world.passive(driver)
    driver.properties |= {
        "spark.executor.extraJavaOptions": REDACTED,
        f"{VOLUME}.options.claimName": "OnDemand",
        f"{VOLUME}.options.storageClass": "none",
        f"{VOLUME}.options.sizeLimit": "1Mi",
        f"{VOLUME}.mount.path": "/data",
    }
    pod = await _driver(world, driver, name)
    uid = pod["metadata"]["uid"]
    # given what the driver made for its executors, and a stranger's claim of the name that the first executor's will have
    owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid, "controller": True}
    selector = {"spark-app-selector": driver.application_id, "spark-role": "executor"}
    await _config_map(world, "executors", {"a": "b"}, labels=selector, ownerReferences=[owner])
    await world.did(
        "POST",
        f"{core}/persistentvolumeclaims",
        {
            "metadata": {"name": f"{_prefix(world, driver, uid)}-exec-1-pvc-0"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "none",
                "resources": {"requests": {"storage": "1Mi"}},
            },
        },
    )
    # when it runs, executors come
    await world.run_pod(name, "spark-kubernetes-driver")

    async def enough() -> bool:
        return len(await world.pods()) >= EXECUTORS

    try:
        await eventually(enough, "executor pods", within=40)
    except AssertionError:
        raise AssertionError(await world.status(name)) from None
    # its policies say for how many they are
    for path in policies:
        await eventually(
            lambda path=path: _has_status(world, path), "the policy has a status", within=60
        )
        await world.did("DELETE", f"{path}/{world.namespace}")
    # and when it ends, all that it left goes, and at last its SparkAllocation
    await world.did("PATCH", f"{core}/pods/{name}/status", {"status": {"phase": "Succeeded"}})

    async def swept() -> bool:
        found = await world.request("GET", f"{world.allocations_path}/{name}")
        return found.status == 404 and not await world.pods()

    await eventually(swept, "the application is swept", within=60)
    left = await world.request("GET", f"{core}/configmaps/executors")
    assert left.status == 404


async def _policy(world: OperatorWorld, path: str) -> None:
    kind = "SparkAllocationPolicy" if "/namespaces/" in path else "ClusterSparkAllocationPolicy"
    body: Document = {
        "apiVersion": "sparkallocation.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": world.namespace},
        "spec": {},
    }
    if kind == "ClusterSparkAllocationPolicy":
        body["spec"] = {"selector": {"namespaces": [world.namespace]}}
    await world.did("POST", path, body)


async def _has_status(world: OperatorWorld, path: str) -> bool:
    found = await world.did("GET", f"{path}/{world.namespace}")
    return (found.get("status") or {}).get("allocations") == 1


async def _driver(world: OperatorWorld, driver: FakeDriver, name: str) -> Document:
    fields = {
        "driver.uiPort": str(driver.port),
        "dynamicAllocation.minExecutors": str(EXECUTORS),
        "ttlSecondsAfterFinished": "1",
    }
    return await world.did(
        "POST",
        world.pods_path,
        {
            "metadata": {
                "name": name,
                "labels": {"spark-role": "driver", MANAGED_LABEL: "true"},
                "annotations": {FIELD_ANNOTATION_PREFIX + key: value for key, value in fields.items()},
            },
            "spec": {
                "schedulerName": NOBODY,
                "automountServiceAccountToken": False,
                "restartPolicy": "Never",
                "containers": [{"name": "spark-kubernetes-driver", "image": "spark:test"}],
                "volumes": [{"name": "conf", "configMap": {"name": "conf"}}],
            },
        },
    )  # fmt: skip


async def _config_map(
    world: OperatorWorld, name: str, data: dict[str, str], **metadata: Any
) -> None:
    await world.did(
        "POST",
        f"/api/v1/namespaces/{world.namespace}/configmaps",
        {"metadata": {"name": name, **metadata}, "data": data},
    )


def _prefix(world: OperatorWorld, driver: FakeDriver, uid: str) -> str:
    pod = DriverPod(world.namespace, "", uid, "", False, "", 0, 0.0)
    application = Application(driver.application_id, "", driver.started_at_ms, False, "", "")
    return pod_name_prefix(
        None, driver.properties["spark.app.name"], incarnation_of(pod, application)
    )
