"""A driver pod labelled ``sparkallocation.dev/managed: "true"`` gets its SparkAllocation made.

Nobody writes an object for each of two thousand nightly jobs. The object is named after the driver pod, owned by it,
and deleted some time after the application has ended. Annotations ``spec.sparkallocation.dev/<field>`` on the pod set
fields of the spec, their values read as YAML (``"20"`` is a number, ``30s`` a text). A SparkAllocation that already
serves the pod, written by hand, wins: then none is made. Of several installations the one makes it whose name the annotation
``spec.sparkallocation.dev/managedBy`` has.

The label is a state, not an event: as long as the pod lives it is to have a SparkAllocation, and is looked at again
every half minute. A resubmitted driver finds the object of its predecessor under its own name; that one goes with the
pod that owns it, and then there is room.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import ValidationError

from spark_allocation.api.group import (
    API_VERSION,
    FIELD_ANNOTATION_PREFIX,
    KIND,
    MADE_BY_LABEL,
    MANAGED_LABEL,
)
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.bounded_yaml import load_bounded_yaml
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.kube.allocations_api import AllocationsApi
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.objects_api import ObjectsApi
from spark_allocation.kube.write_outcomes import WriteResult
from spark_allocation.reports.events import REPORTER

MANAGED_SELECTOR = f"{MANAGED_LABEL}=true"
TTL_SECONDS_AFTER_FINISHED = 600
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_ANNOTATION = 16 * 1024
MOST_VALUES = 2_000
"""In one annotation, with YAML aliases counted as often as they are used."""

log = structlog.get_logger("managed_drivers")


class ManagedDrivers:
    """Makes SparkAllocations for labelled driver pods."""

    def __init__(
        self,
        allocations: AllocationsApi,
        objects: ObjectsApi,
        *,
        is_served: Callable[[DriverPod], bool],
        installation: str = "",
    ) -> None:
        """
        Args:
            is_served: whether a SparkAllocation names this pod already.
            installation: whose drivers these are: those that name it in the annotation of ``managedBy``.
        """
        self._installation = installation
        self._allocations = allocations
        self._objects = objects
        self._is_served = is_served
        self._pods: dict[str, _Managed] = {}
        self._wake = asyncio.Event()

    def seen(self, pod: DriverPod) -> None:
        """A driver pod was added or changed, or is gone."""
        if (
            pod.ended
            or pod.deleting
            or pod.labels.get(MANAGED_LABEL) != "true"
            or _installation_of(pod) != self._installation
        ):
            self._pods.pop(pod.uid, None)
            return
        known = self._pods.get(pod.uid)
        if known is None:
            self._pods[pod.uid] = _Managed(pod)
            self._wake.set()
        elif known.pod.annotations != pod.annotations:
            known.pod, known.pause, known.due_at = pod, FIRST_PAUSE_SECONDS, 0.0
            self._wake.set()

    async def run(self) -> None:
        """Make what is missing, until cancelled."""
        while True:
            self._wake.clear()
            now = time.monotonic()
            for managed in list(self._pods.values()):
                if managed.due_at <= now and managed.pod.uid in self._pods:
                    await self._look_at(managed)
            due_at = min((each.due_at for each in self._pods.values()), default=None)
            pause = None if due_at is None else max(0.05, due_at - time.monotonic())
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass  # somebody is due

    async def _look_at(self, managed: "_Managed") -> None:
        try:
            settled = self._is_served(managed.pod) or await self._make(managed)
        except ApiUnavailable as error:
            log.warning("api_unavailable", error=str(error))
            settled = False
        except Exception:
            # one pod's annotations must not end the process that serves everybody
            log.exception(
                "internal_error", driver_pod=managed.pod.name, namespace=managed.pod.namespace
            )
            settled = True
        managed.pause = (
            LONGEST_PAUSE_SECONDS if settled else min(LONGEST_PAUSE_SECONDS, 2 * managed.pause)
        )
        managed.due_at = time.monotonic() + managed.pause

    async def _make(self, managed: "_Managed") -> bool:
        """Make the object; returns whether there is nothing to do for a while."""
        pod = managed.pod
        body = managed_allocation(pod)
        if isinstance(body, str):
            log.warning(
                "annotations_refused", driver_pod=pod.name, namespace=pod.namespace, message=body
            )
            await self._tell(managed, "InvalidAnnotations", body)
            return True
        outcome = await self._allocations.create(pod.namespace, body)
        if outcome.done:
            log.info("allocation_made", driver_pod=pod.name, namespace=pod.namespace)
            return True
        if outcome.result is WriteResult.EXISTS:
            return False  # ours that nobody has handed over yet, or a predecessor's that is going
        log.warning(
            "allocation_not_made",
            driver_pod=pod.name,
            namespace=pod.namespace,
            message=outcome.message,
        )
        await self._tell(managed, "SparkAllocationNotMade", outcome.message)
        return True

    async def _tell(self, managed: "_Managed", reason: str, message: str) -> None:
        """An Event on the driver pod: where its owner looks. The same is said once."""
        pod = managed.pod
        if managed.told == (reason, message):
            return
        managed.told = (reason, message)
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


@dataclass(slots=True)
class _Managed:
    """A labelled driver pod that lives."""

    pod: DriverPod
    pause: float = FIRST_PAUSE_SECONDS
    due_at: float = 0.0
    told: tuple[str, str] = ("", "")


def managed_allocation(pod: DriverPod) -> dict[str, Any] | str:
    """The SparkAllocation of a labelled driver pod, or a sentence saying which annotation is wrong."""
    spec: dict[str, Any] = {"ttlSecondsAfterFinished": TTL_SECONDS_AFTER_FINISHED}
    for key, text in sorted(pod.annotations.items()):
        if not key.startswith(FIELD_ANNOTATION_PREFIX):
            continue
        path = key.removeprefix(FIELD_ANNOTATION_PREFIX).split(".")
        try:
            value = load_bounded_yaml(text, longest=LONGEST_ANNOTATION, most_values=MOST_VALUES)
        except ValueError as error:
            return f"annotation {key}: {error}"
        place = spec
        if not all(path):
            return f"annotation {key} names no field"
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


def _installation_of(pod: DriverPod) -> str:
    """Which installation a labelled driver asks for; "" for the one without a name."""
    return pod.annotations.get(f"{FIELD_ANNOTATION_PREFIX}managedBy", "").strip().strip("\"'")


def _options(driver: Any) -> dict[str, Any]:
    """What annotations may say of the driver: not which one it is."""
    if not isinstance(driver, dict):
        return {}
    return {key: value for key, value in driver.items() if key not in ("podName", "selector")}
