"""A driver pod labelled ``sparkallocation.dev/managed: "true"`` gets its SparkAllocation made.

Nobody writes an object for each of two thousand nightly jobs. The object is named after the driver pod, owned by it,
and deleted some time after the application has ended. Annotations ``spec.sparkallocation.dev/<field>`` on the pod set
fields of the spec, their values read as YAML (``"20"`` is a number, ``30s`` a text). A SparkAllocation that already
serves the pod, written by hand, wins: then none is made.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
import yaml
from pydantic import ValidationError

from spark_allocation.api.group import (
    API_VERSION,
    FIELD_ANNOTATION_PREFIX,
    KIND,
    MADE_BY_LABEL,
    MANAGED_LABEL,
)
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.kube.allocations_api import AllocationsApi
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.objects_api import ObjectsApi
from spark_allocation.reports.events import REPORTER

MANAGED_SELECTOR = f"{MANAGED_LABEL}=true"
TTL_SECONDS_AFTER_FINISHED = 600
AGAIN_SECONDS = 5.0

log = structlog.get_logger("managed_drivers")


class ManagedDrivers:
    """Makes SparkAllocations for labelled driver pods."""

    def __init__(
        self,
        allocations: AllocationsApi,
        objects: ObjectsApi,
        *,
        is_served: Callable[[DriverPod], bool],
    ) -> None:
        """
        Args:
            is_served: whether a SparkAllocation names this pod already.
        """
        self._allocations = allocations
        self._objects = objects
        self._is_served = is_served
        self._waiting: dict[str, DriverPod] = {}
        self._done: set[str] = set()
        self._wake = asyncio.Event()

    def seen(self, pod: DriverPod) -> None:
        """A driver pod was added or changed."""
        if pod.ended or pod.deleting:
            self._waiting.pop(pod.uid, None)
            return
        if pod.labels.get(MANAGED_LABEL) == "true" and pod.uid not in self._done:
            self._waiting[pod.uid] = pod
            self._wake.set()

    async def run(self) -> None:
        """Make what is missing, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for pod in list(self._waiting.values()):
                try:
                    await self._make(pod)
                except ApiUnavailable as error:
                    log.warning("api_unavailable", error=str(error))
            if self._waiting:
                await asyncio.sleep(AGAIN_SECONDS)
                self._wake.set()

    async def _make(self, pod: DriverPod) -> None:
        if not self._is_served(pod):
            body = managed_allocation(pod)
            if isinstance(body, str):
                log.warning(
                    "annotations_refused",
                    driver_pod=pod.name,
                    namespace=pod.namespace,
                    message=body,
                )
                await self._tell(pod, "InvalidAnnotations", body)
            else:
                created, message = await self._allocations.create(pod.namespace, body)
                if message:
                    log.warning(
                        "allocation_not_made",
                        driver_pod=pod.name,
                        namespace=pod.namespace,
                        message=message,
                    )
                    await self._tell(pod, "SparkAllocationNotMade", message)
                if created:
                    log.info("allocation_made", driver_pod=pod.name, namespace=pod.namespace)
        self._done.add(pod.uid)
        self._waiting.pop(pod.uid, None)

    async def _tell(self, pod: DriverPod, reason: str, message: str) -> None:
        """An Event on the driver pod: where its owner looks."""
        await self._objects.post_event(
            pod.namespace,
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"generateName": f"{pod.name[:200]}.", "namespace": pod.namespace},
                "involvedObject": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "namespace": pod.namespace,
                    "name": pod.name,
                    "uid": pod.uid,
                },
                "reason": reason,
                "message": message[:1024],
                "type": "Warning",
                "source": {"component": REPORTER},
                "reportingComponent": REPORTER,
            },
        )


def managed_allocation(pod: DriverPod) -> dict[str, Any] | str:
    """The SparkAllocation of a labelled driver pod, or a sentence saying which annotation is wrong."""
    spec: dict[str, Any] = {"ttlSecondsAfterFinished": TTL_SECONDS_AFTER_FINISHED}
    for key, text in sorted(pod.annotations.items()):
        if not key.startswith(FIELD_ANNOTATION_PREFIX):
            continue
        path = key.removeprefix(FIELD_ANNOTATION_PREFIX).split(".")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            return f"annotation {key} is no YAML: {error}"
        place = spec
        for part in path[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                return f"annotation {key}: {part} is set by another annotation"
        place[path[-1]] = value
    spec["driver"] = {**_options(spec.get("driver")), "podName": pod.name}
    try:
        SparkAllocationSpec.model_validate(spec)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        return f"annotation {FIELD_ANNOTATION_PREFIX}{field}: {problem['msg']}"
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": pod.name,
            "namespace": pod.namespace,
            "labels": {MADE_BY_LABEL: REPORTER},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": pod.name,
                    "uid": pod.uid,
                    "controller": True,
                }
            ],
        },
        "spec": spec,
    }


def _options(driver: Any) -> dict[str, Any]:
    """What annotations may say of the driver: not which one it is."""
    if not isinstance(driver, dict):
        return {}
    return {key: value for key, value in driver.items() if key not in ("podName", "selector")}
