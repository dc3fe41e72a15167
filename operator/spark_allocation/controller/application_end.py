"""The end: of an application, whose leftovers are swept, and of a SparkAllocation, whose policy says what stays.

While a driver pod is there and has not ended, its executors may hold results that it still waits for; a driver pod that
is being deleted counts as alive until its containers have ended. A pod that is gone takes all that it owned with it.
"""

import time

import structlog

from spark_allocation.api.v1alpha1 import DeletionPolicy, Mode, SparkAllocationSpec
from spark_allocation.controller.effective_settings import DRAIN_GRACE_SECONDS
from spark_allocation.controller.pod_creation import Apis
from spark_allocation.controller.sweep import operator_made, sweep_objects, sweep_pods
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore

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

    async def sweep(self, application_ids: set[str]) -> float:
        """Ask what is left to go; returns 0 when nothing is, else how many seconds to wait before asking again.

        Raises:
            ApiUnavailable: some may be left; call again.
        """
        left = operator_made(self._store, self._key)
        # also those that drain already, for up to ten minutes: nobody needs what they do any more
        waiting = [seen for seen in left if not seen.pod.deleting or seen.pod.uid not in self._told]
        await sweep_pods(self._apis.pods, waiting, grace_seconds=SWEEP_GRACE_SECONDS, hurry=True)
        self._told.update(seen.pod.uid for seen in waiting)
        if not self._objects_swept:
            applications = application_ids | {seen.application_id for seen in left}
            await sweep_objects(self._apis.objects, self._key, applications)
            self._objects_swept = True
        left = operator_made(self._store, self._key)
        if not left:
            return 0.0
        waited = time.monotonic() - self._began_at
        if waited > LEFT_TO_KUBELETS_AFTER_SECONDS and all(seen.pod.deleting for seen in left):
            log.warning("pods_left_terminating", driver_pod=self.driver.name, count=len(left))
            return 0.0
        pause, self._pause = self._pause, min(LONGEST_PAUSE_SECONDS, 2 * self._pause)
        return pause


def sweeps(spec: SparkAllocationSpec) -> bool:
    """Whether this mode touches what an ended application has left."""
    return spec.mode in (None, Mode.ALLOCATE)


async def let_go(
    spec: SparkAllocationSpec | None,
    driver: DriverPod | None,
    apis: Apis,
    store: ExecutorPodsSnapshotsStore,
    *,
    grace_seconds: int | None,
) -> None:
    """The SparkAllocation is deleted while its driver lives: executors stay with the driver, or drain.

    Raises:
        ApiUnavailable: some were not told; they stay with the driver.
    """
    policy = (spec.deletion_policy if spec is not None else None) or DeletionPolicy.ORPHAN
    log.info("allocation_deleted", policy=policy)
    if policy is DeletionPolicy.DRAIN and spec is not None and sweeps(spec) and driver is not None:
        key = DriverKey(driver.namespace, driver.uid)
        await sweep_pods(
            apis.pods,
            operator_made(store, key),
            grace_seconds=DRAIN_GRACE_SECONDS if grace_seconds is None else grace_seconds,
        )
