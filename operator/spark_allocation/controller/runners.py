"""All runners by the uid of their SparkAllocation, and who of them serves which driver."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from spark_allocation.controller.allocation_runner import AllocationRunner, Stopper, Surroundings
from spark_allocation.core.driver_report import DriverPod

log = structlog.get_logger("runners")


class Claims:
    """One SparkAllocation serves one driver; of several the oldest wins, by creation time and then by uid."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        self._claims: dict[str, dict[str, str]] = {}

    def introduce(self, allocation_uid: str, created_at: str, name: str) -> None:
        """Make a SparkAllocation known."""
        self._known[allocation_uid] = (created_at, name)

    def claim(self, driver_uid: str, allocation_uid: str) -> str:
        """See `controller.allocation_runner.DriverClaims.claim`."""
        for other_driver, claimants in self._claims.items():
            if other_driver != driver_uid:
                claimants.pop(allocation_uid, None)
        _, name = self._known[allocation_uid]
        claimants = self._claims.setdefault(driver_uid, {})
        claimants[allocation_uid] = name
        oldest = min(claimants, key=lambda uid: (self._known[uid][0], uid))
        return "" if oldest == allocation_uid else claimants[oldest]

    def release(self, allocation_uid: str) -> None:
        """See `controller.allocation_runner.DriverClaims.release`."""
        for driver_uid in list(self._claims):
            self._claims[driver_uid].pop(allocation_uid, None)
            if not self._claims[driver_uid]:
                del self._claims[driver_uid]


class Runners:
    """Starts a runner for each SparkAllocation that kopf hands over."""

    def __init__(self, surroundings: Callable[[Claims], Surroundings]) -> None:
        self._claims = Claims()
        self._surroundings = surroundings(self._claims)
        self._runners: dict[str, AllocationRunner] = {}

    def __len__(self) -> int:
        return len(self._runners)

    def seen(self, uid: str, body: Mapping[str, Any], *, deleted: bool) -> None:
        """A SparkAllocation was added, changed or deleted; only wakes its runner."""
        runner = self._runners.get(uid)
        if runner is not None and not deleted:
            runner.seen(body)

    def serves(self, pod: DriverPod) -> bool:
        """Whether some SparkAllocation names this pod."""
        return any(runner.names(pod) for runner in self._runners.values())

    async def run(self, uid: str, body: Mapping[str, Any], stopper: Stopper) -> None:
        """Serve one SparkAllocation until it is deleted or the process ends."""
        metadata = body["metadata"]
        self._claims.introduce(uid, metadata["creationTimestamp"], metadata["name"])
        runner = AllocationRunner(body, self._surroundings)
        self._runners[uid] = runner
        try:
            await runner.run(stopper)
        finally:
            del self._runners[uid]
