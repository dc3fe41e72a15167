"""All runners by the uid of their SparkAllocation, and who of them serves which driver."""

import asyncio
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import structlog

from spark_allocation.controller.allocation_runner import AllocationRunner
from spark_allocation.controller.application_end import let_go_unserved
from spark_allocation.controller.leaving import LET_GO_SECONDS
from spark_allocation.controller.other_installs import OtherInstalls
from spark_allocation.controller.policy_reporter import PolicySubject
from spark_allocation.controller.runner_surroundings import Stopper, Surroundings
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.kube.allocations_api import AllocationsApi
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.reports.metrics import AllocationFigures

log = structlog.get_logger("runners")


class Claims:
    """One SparkAllocation serves one driver; of several the oldest wins.

    Creation times have whole seconds. Of two that were made in the same second the one that serves the driver already
    keeps it, also after a restart of the operator; else the uid decides. Between two installations it always does.
    """

    def __init__(self, others: OtherInstalls | None = None) -> None:
        self._others = others
        self._known: dict[str, tuple[str, str]] = {}
        self._claims: dict[str, dict[str, str]] = {}
        self._claimed: dict[str, str] = {}
        """The driver that a SparkAllocation claims, by its uid: asked for at each step of each of a thousand of them."""
        self._served: dict[str, str] = {}

    def introduce(
        self, allocation_uid: str, created_at: str, name: str, served_driver_uid: str = ""
    ) -> None:
        """Make a SparkAllocation known, with the driver that it served before the operator restarted."""
        self._known[allocation_uid] = (created_at, name)
        self._served[allocation_uid] = served_driver_uid

    def claim(self, driver_uid: str, allocation_uid: str) -> str:
        """See `controller.runner_surroundings.DriverClaims.claim`."""
        if self._claimed.get(allocation_uid, driver_uid) != driver_uid:
            self.release(allocation_uid)
        self._claimed[allocation_uid] = driver_uid
        _, name = self._known[allocation_uid]
        claimants = self._claims.setdefault(driver_uid, {})
        claimants[allocation_uid] = name
        oldest = min(
            claimants, key=lambda uid: (self._known[uid][0], self._served[uid] != driver_uid, uid)
        )
        if oldest != allocation_uid:
            return claimants[oldest]
        # whom another installation serves at this moment is not known for sure: that must not decide
        own_age = (self._known[oldest][0], oldest)
        older = [
            other
            for other in (self._others.claimants(driver_uid) if self._others is not None else ())
            if (other.created_at, other.uid) < own_age
        ]
        return str(min(older, key=lambda other: (other.created_at, other.uid))) if older else ""

    async def forget_gone(self, driver_uid: str, allocations: AllocationsApi) -> None:
        """See `controller.runner_surroundings.DriverClaims.forget_gone`."""
        if self._others is not None:
            await self._others.forget_gone(driver_uid, allocations)

    def claimants(self, driver_uid: str) -> tuple[str, ...]:
        """Uids of the SparkAllocations that claim a driver."""
        return tuple(self._claims.get(driver_uid, ()))

    def serving(self, driver_uid: str, allocation_uid: str) -> None:
        """See `controller.runner_surroundings.DriverClaims.serving`."""
        for uid, served in self._served.items():
            if served == driver_uid:
                self._served[uid] = ""
        self._served[allocation_uid] = driver_uid

    def release(self, allocation_uid: str) -> None:
        """See `controller.runner_surroundings.DriverClaims.release`."""
        driver_uid = self._claimed.pop(allocation_uid, "")
        claimants = self._claims.get(driver_uid, {})
        claimants.pop(allocation_uid, None)
        if not claimants:
            self._claims.pop(driver_uid, None)

    def forget(self, allocation_uid: str) -> None:
        """The SparkAllocation is gone."""
        self.release(allocation_uid)
        self._known.pop(allocation_uid, None)
        self._served.pop(allocation_uid, None)


class Runners:
    """Starts a runner for each SparkAllocation that kopf hands over."""

    def __init__(
        self, surroundings: Callable[[Claims], Surroundings], others: OtherInstalls | None = None
    ) -> None:
        """
        Args:
            others: to note what other installations serve.
        """
        self._others = others
        self._claims = Claims(others)
        self._surroundings = surroundings(self._claims)
        self._runners: dict[str, AllocationRunner] = {}
        self._seen: set[str] = set()
        self._begun: set[str] = set()

    def figures(self) -> list[AllocationFigures]:
        """What each SparkAllocation adds to the metrics."""
        return [runner.figures for runner in self._runners.values()]

    def policy_subjects(self) -> list[PolicySubject]:
        """Each SparkAllocation, as policies select it."""
        return [runner.policy_subject for runner in self._runners.values()]

    def seen(self, uid: str, body: Mapping[str, Any], *, deleted: bool) -> None:
        """A SparkAllocation was added, changed or deleted; only wakes its runner."""
        self._seen.add(uid)
        if deleted:
            self._seen.discard(uid)
            self._begun.discard(uid)
        runner = self._runners.get(uid)
        if runner is not None and not deleted:
            runner.seen(body)

    def seen_of_others(self, uid: str, body: Mapping[str, Any], *, deleted: bool) -> None:
        """The same of a SparkAllocation that another installation serves: noted, never touched."""
        self._seen.add(uid)
        if deleted:
            self._seen.discard(uid)
        if self._others is not None:
            self._others.seen(uid, body, deleted=deleted)

    async def let_go_unserved(self, uid: str, body: Mapping[str, Any]) -> None:
        """A SparkAllocation is being deleted: if no runner of this process ever had it, do what its policy says.

        kopf starts no daemon for an object whose deletion it finds when it begins, and takes the finalizer away.
        """
        if uid in self._begun:
            return
        self._begun.add(uid)
        try:
            async with asyncio.timeout(LET_GO_SECONDS):
                await let_go_unserved(body, self._surroundings.apis, self._surroundings.store)
        except (ApiUnavailable, TimeoutError) as error:
            log.warning("drain_not_begun", allocation=body["metadata"]["name"], error=str(error))

    def have_seen(self, uids: AbstractSet[str]) -> bool:
        """All of these SparkAllocations have been handed over."""
        return uids <= self._seen

    def serves(self, pod: DriverPod) -> bool:
        """Whether some SparkAllocation names this pod."""
        likely = (self._runners.get(uid) for uid in self._claims.claimants(pod.uid))
        if any(runner is not None and runner.names(pod) for runner in likely):
            return True
        if any(runner.names(pod) for runner in self._runners.values()):
            return True
        return self._others is not None and any(self._others.naming(pod))

    async def run(self, uid: str, body: Mapping[str, Any], stopper: Stopper) -> None:
        """Serve one SparkAllocation until it is deleted or the process ends."""
        metadata = body["metadata"]
        self._seen.add(uid)
        self._begun.add(uid)
        self._claims.introduce(
            uid,
            metadata["creationTimestamp"],
            metadata["name"],
            (body.get("status") or {}).get("driverPodUid") or "",
        )
        runner = AllocationRunner(body, self._surroundings)
        self._runners[uid] = runner
        try:
            await runner.run(stopper)
        finally:
            del self._runners[uid]
            self._claims.forget(uid)
