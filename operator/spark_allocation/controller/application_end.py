"""The end: of an application, whose leftovers are swept, and of a SparkAllocation, whose policy says what stays.

While a driver pod is there and has not ended, its executors may hold results that it still waits for; a driver pod that
is being deleted counts as alive until its containers have ended. A pod that is gone takes all that it owned with it.
"""

import time
from collections.abc import Mapping
from typing import Any

import structlog

from spark_allocation.api.conditions import ConditionType
from spark_allocation.api.field_types import seconds
from spark_allocation.api.v1alpha1 import DeletionPolicy, Mode, SparkAllocationSpec
from spark_allocation.controller.effective_settings import (
    DRAIN_GRACE_SECONDS,
    keeps_no_ended_pods,
)
from spark_allocation.controller.pod_creation import Apis
from spark_allocation.controller.spec_reading import InvalidSpec, read_spec
from spark_allocation.controller.sweep import operator_made, sweep_objects, sweep_pods
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore, SeenPod

SWEEP_GRACE_SECONDS = 5
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
LEFT_TO_KUBELETS_AFTER_SECONDS = 60.0
"""Pods that were told to go and do not are a node's trouble, not the application's."""

log = structlog.get_logger("application_end")


class ApplicationEnd:
    """Sweeps after one driver pod has ended; call `sweep` until it says that nothing is left."""

    def __init__(self, apis: Apis, store: ExecutorPodsSnapshotsStore, driver: DriverPod) -> None:
        self._apis = apis
        self._store = store
        self.driver = driver
        self._key = DriverKey(driver.namespace, driver.uid)
        self._began_at = time.monotonic()
        self._pause = FIRST_PAUSE_SECONDS
        self._objects_swept = False
        self._told: set[str] = set()

    async def sweep(self, application_ids: set[str], *, keep_ended: bool = False) -> float:
        """Ask what is left to go; returns 0 when nothing is, else how many seconds to wait before asking again.

        Args:
            application_ids: of the application, in all its lives.
            keep_ended: pods that have ended stay, for their logs, until the driver pod is deleted.

        Raises:
            ApiUnavailable: some may be left; call again.
        """
        left = self._left(keep_ended)
        # also those that drain already, for up to ten minutes: nobody needs what they do any more
        waiting = [seen for seen in left if not seen.pod.deleting or seen.pod.uid not in self._told]
        await sweep_pods(self._apis.pods, waiting, grace_seconds=SWEEP_GRACE_SECONDS, hurry=True)
        self._told.update(seen.pod.uid for seen in waiting)
        if not self._objects_swept:
            applications = application_ids | {seen.application_id for seen in left}
            await sweep_objects(self._apis.objects, self._key, applications)
            self._objects_swept = True
        left = self._left(keep_ended)
        if not left:
            return 0.0
        waited = time.monotonic() - self._began_at
        if waited > LEFT_TO_KUBELETS_AFTER_SECONDS and all(seen.pod.deleting for seen in left):
            log.warning("pods_left_terminating", driver_pod=self.driver.name, count=len(left))
            return 0.0
        pause, self._pause = self._pause, min(LONGEST_PAUSE_SECONDS, 2 * self._pause)
        return pause

    def _left(self, keep_ended: bool) -> list[SeenPod]:
        return [
            seen
            for seen in operator_made(self._store, self._key)
            if not keep_ended or not seen.pod.state.is_final
        ]


def sweeps(spec: SparkAllocationSpec) -> bool:
    """Whether this mode touches what an ended application has left."""
    return spec.mode in (None, Mode.ALLOCATE)


async def let_go(
    spec: SparkAllocationSpec | None,
    key: DriverKey | None,
    apis: Apis,
    store: ExecutorPodsSnapshotsStore,
    *,
    grace_seconds: int | None,
) -> None:
    """The SparkAllocation is deleted while its driver lives: executors stay with the driver, or drain.

    Args:
        spec: the last that made sense; None when none ever did, and then nothing is touched.
        key: the driver pod that it serves; None when it serves none.
        grace_seconds: of a drain.

    Raises:
        ApiUnavailable: some were not told; they stay with the driver.
    """
    policy = (spec.deletion_policy if spec is not None else None) or DeletionPolicy.ORPHAN
    log.info("allocation_deleted", policy=policy)
    if policy is DeletionPolicy.DRAIN and spec is not None and sweeps(spec) and key is not None:
        await sweep_pods(
            apis.pods,
            operator_made(store, key),
            grace_seconds=DRAIN_GRACE_SECONDS if grace_seconds is None else grace_seconds,
        )


async def let_go_unserved(
    body: Mapping[str, Any], apis: Apis, store: ExecutorPodsSnapshotsStore
) -> None:
    """The SparkAllocation was deleted while no operator ran: what it last said of itself tells whom it served.

    An application that has ended meanwhile is swept, as it would have been at its end. The driver is not asked how its
    executors can leave: a pod has a hook that waits for its tasks if the driver decommissions, and else the grace makes
    no difference.

    Raises:
        ApiUnavailable: some were not told; they stay with the driver.
    """
    namespace = body["metadata"]["namespace"]
    status = body.get("status") or {}
    spec = read_spec(body)
    driver_uid = str(status.get("driverPodUid") or "")
    if isinstance(spec, InvalidSpec) or not driver_uid or _is_conflicted(status):
        log.info("allocation_deleted", policy=DeletionPolicy.ORPHAN)
        return
    key = DriverKey(namespace, driver_uid)
    driver = await apis.pods.get(namespace, str(status.get("driverPod") or "driver"))
    if (
        sweeps(spec)
        and driver is not None
        and driver["metadata"]["uid"] == driver_uid
        and (driver.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    ):
        log.info("application_swept", driver_pod=driver["metadata"]["name"])
        left = [
            seen
            for seen in operator_made(store, key)
            if keeps_no_ended_pods(spec) or not seen.pod.state.is_final
        ]
        await sweep_pods(apis.pods, left, grace_seconds=SWEEP_GRACE_SECONDS, hurry=True)
        await sweep_objects(apis.objects, key, {str(status.get("applicationId") or "")})
        return
    wished = spec.decommission.grace_period if spec.decommission is not None else None
    await let_go(
        spec,
        key,
        apis,
        store,
        grace_seconds=None if wished is None else max(1, round(seconds(wished))),
    )


def _is_conflicted(status: Mapping[str, Any]) -> bool:
    """Another one serves the driver: what this one once made is not its own any more."""
    return any(
        condition.get("type") == ConditionType.CONFLICTED and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )
