"""Passive drivers that nobody allocates for: jobs that wait for executors which nobody is going to create.

A driver that left allocation to the operator and has no SparkAllocation looks like a job that hangs. It is found among
the driver pods that are watched anyway: it runs for a while, no SparkAllocation names it and no executor pod is its own.
One that is labelled as managed is known to be passive; any other is asked for its configuration, once a life, since an
ordinary driver that is idle looks the same. One at a time, so that two thousand of them cost nothing.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import aiohttp
import structlog

from spark_allocation.api.group import MANAGED_LABEL
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.core.passive_driver import offences
from spark_allocation.epoch_clock import epoch_seconds
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore
from spark_allocation.sources.driver_access import DriverReach
from spark_allocation.sources.driver_rest import find_driver, ui_ports
from spark_allocation.sources.unreachable import Unreachable

PATIENCE_SECONDS = 60.0
"""A driver that runs for less may still get its SparkAllocation."""
LOOK_EVERY_SECONDS = 15.0
ASK_EVERY_SECONDS = 1.0
ASK_AGAIN_SECONDS = 300.0
"""One that did not answer is asked again after this."""

log = structlog.get_logger("unallocated_drivers")

Life = tuple[str, int]


class Drivers(Protocol):
    """Where driver pods are known."""

    def all(self) -> list[DriverPod]:
        """Every driver pod that the watches report."""


class UnallocatedDrivers:
    """Knows how many there are. `run` it while this process serves SparkAllocations.

    Attributes:
        count: passive drivers that run, that no SparkAllocation names; 0 while this process does not serve.
    """

    def __init__(
        self,
        drivers: Drivers,
        store: ExecutorPodsSnapshotsStore,
        session: aiohttp.ClientSession,
        reach: DriverReach,
        *,
        is_served: Callable[[DriverPod], bool],
    ) -> None:
        """
        Args:
            is_served: whether a SparkAllocation names this pod.
        """
        self._drivers = drivers
        self._store = store
        self._session = session
        self._reach = reach
        self._is_served = is_served
        self._passive: dict[Life, bool] = {}
        self._asked_at: dict[Life, float] = {}
        self.count = 0

    async def run(self) -> None:
        """Look again and again until cancelled."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(LOOK_EVERY_SECONDS)
        finally:
            self.count = 0

    async def look(self) -> None:
        """Count once, and ask those of whom nothing is known."""
        waiting = [pod for pod in self._drivers.all() if self._waits(pod)]
        lives = {_life(pod) for pod in waiting}
        self._passive = {life: known for life, known in self._passive.items() if life in lives}
        self._asked_at = {life: at for life, at in self._asked_at.items() if life in lives}
        for pod in waiting:
            if not self._is_known(pod) and self._may_be_asked(pod):
                await self._ask(pod)
                await asyncio.sleep(ASK_EVERY_SECONDS)
        found = [pod for pod in waiting if self._is_passive(pod) and self._waits(pod)]
        if len(found) != self.count:
            log.info(
                "unallocated_drivers",
                count=len(found),
                drivers=[f"{pod.namespace}/{pod.name}" for pod in found[:10]],
            )
        self.count = len(found)

    def _waits(self, pod: DriverPod) -> bool:
        return (
            not pod.ended
            and not pod.deleting
            and bool(pod.ip)
            and pod.started_at is not None
            and epoch_seconds() - pod.started_at >= PATIENCE_SECONDS
            and not self._is_served(pod)
            and not self._store.has_pods(DriverKey(pod.namespace, pod.uid))
        )

    def _is_known(self, pod: DriverPod) -> bool:
        return pod.labels.get(MANAGED_LABEL) == "true" or _life(pod) in self._passive

    def _is_passive(self, pod: DriverPod) -> bool:
        return pod.labels.get(MANAGED_LABEL) == "true" or self._passive.get(_life(pod), False)

    def _may_be_asked(self, pod: DriverPod) -> bool:
        asked_at = self._asked_at.get(_life(pod))
        return asked_at is None or time.monotonic() - asked_at >= ASK_AGAIN_SECONDS

    async def _ask(self, pod: DriverPod) -> None:
        self._asked_at[_life(pod)] = time.monotonic()
        if self._reach.addresses.problem(pod.ip):
            return
        found = await find_driver(
            self._session,
            pod.ip,
            ui_ports(pod.ui_port, None),
            pod.labels.get("spark-app-selector", ""),
        )
        if isinstance(found, Unreachable):
            return
        environment = await found[0].environment()
        if not isinstance(environment, Unreachable):
            self._passive[_life(pod)] = not offences(environment.spark_properties)


def _life(pod: DriverPod) -> Life:
    return pod.uid, pod.restart_count
