"""How a runner takes leave: of an application that has ended, of an object whose time is over, of one that is deleted."""

import asyncio
import time

import structlog

from spark_allocation.api.conditions import Reason
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.allocation_reporter import AllocationReporter
from spark_allocation.controller.allocation_statements import AllocationStatements
from spark_allocation.controller.application_end import ApplicationEnd, let_go, sweeps
from spark_allocation.controller.driver_connection import Connection
from spark_allocation.controller.effective_settings import keeps_no_ended_pods
from spark_allocation.controller.runner_surroundings import Surroundings
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.snapshots_store import DriverKey

LET_GO_SECONDS = 8.0

log = structlog.get_logger("leaving")


class Leaving:
    """Of one SparkAllocation.

    Args:
        around: what runners share.
        reporter: for the state while executors are swept.
        statements: for the end itself.
        allocation: namespace, name and uid.
    """

    def __init__(
        self,
        around: Surroundings,
        reporter: AllocationReporter,
        statements: AllocationStatements,
        allocation: tuple[str, str, str],
    ) -> None:
        self._around = around
        self._reporter = reporter
        self._statements = statements
        self._allocation = allocation
        self._end: ApplicationEnd | None = None

    def begin_anew(self) -> None:
        """Another driver: its end is another end."""
        self._end = None

    async def finish(
        self, spec: SparkAllocationSpec, driver: DriverPod, application_ids: set[str]
    ) -> float:
        """The driver has ended: sweep, then say so; returns how long to wait before this is asked again.

        Raises:
            ApiUnavailable: some may be left; call again.
        """
        untouched = ""
        if sweeps(spec):
            if self._end is None:
                self._end = ApplicationEnd(self._around.apis, self._around.store, driver)
            pause = await self._end.sweep(application_ids, keep_ended=not keeps_no_ended_pods(spec))
            if pause > 0:
                self._reporter.state("Finishing", "executor pods are swept")
                return pause
        else:
            untouched = f"; spec.mode is {spec.mode}: what it left was not touched"
        if driver.phase == "Failed":
            self._statements.finished(
                Reason.DRIVER_FAILED, f"the driver failed; see its log{untouched}"
            )
        else:
            self._statements.finished(Reason.DRIVER_SUCCEEDED, f"the driver succeeded{untouched}")
        return 0.0

    def expires_in(self, spec: SparkAllocationSpec) -> float | None:
        """Seconds until a finished object is to be deleted; None when it stays."""
        ttl = spec.ttl_seconds_after_finished
        finished_at = self._statements.finished_at
        if ttl is None or finished_at is None:
            return None
        return ttl - (time.time() - finished_at)

    async def expire(self) -> bool:
        """Delete the object; returns whether it is going.

        Raises:
            ApiUnavailable: nobody knows; call again.
        """
        log.info("allocation_expired")
        outcome = await self._around.apis.allocations.delete(*self._allocation)
        return outcome.done

    async def let_go(
        self,
        spec: SparkAllocationSpec | None,
        served: DriverPod | None,
        connection: Connection | None,
    ) -> None:
        """The object is being deleted: do within bounds what its policy says.

        Args:
            spec: the last that made sense.
            served: the driver pod that was served last.
            connection: to that driver.
        """
        if served is not None and self._around.claims.claim(served.uid, self._allocation[2]):
            served = None  # another one serves it now
        try:
            async with asyncio.timeout(LET_GO_SECONDS):
                await let_go(
                    spec,
                    DriverKey(served.namespace, served.uid) if served is not None else None,
                    self._around.apis,
                    self._around.store,
                    grace_seconds=connection.settings.drain_grace_seconds if connection else None,
                )
        except (ApiUnavailable, TimeoutError) as error:
            log.warning("drain_not_begun", error=str(error))
