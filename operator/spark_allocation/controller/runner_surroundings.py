"""What a runner is given: the ports and stores that all runners share, and whether it has to stop."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

from spark_allocation.controller.budget_coordinator import BudgetCoordinator
from spark_allocation.controller.driver_connection import ANY_REACH
from spark_allocation.controller.driver_finding import DriverFinder
from spark_allocation.controller.going_nodes import GoingNodes
from spark_allocation.controller.pod_creation import Apis
from spark_allocation.controller.policy_directory import PolicyDirectory
from spark_allocation.controller.polling_turns import PollingTurns
from spark_allocation.controller.process_settings import ProcessSettings
from spark_allocation.kube.allocations_api import AllocationsApi
from spark_allocation.snapshots_store import ExecutorPodsSnapshotsStore
from spark_allocation.sources.driver_access import DriverReach
from spark_allocation.traces.recorder import TraceRecorder


class Stopper(Protocol):
    """Whether the runner has to stop, and whether because the object is being deleted."""

    def __bool__(self) -> bool: ...

    async def wait(self) -> None:
        """Return once the runner has to stop."""

    @property
    def object_deleted(self) -> bool:
        """The SparkAllocation is being deleted."""


class DriverClaims(Protocol):
    """Which SparkAllocation serves which driver."""

    def claim(self, driver_uid: str, allocation_uid: str) -> str:
        """Claim a driver; returns "" when it is ours, else the name of the SparkAllocation that has it."""

    async def forget_gone(self, driver_uid: str, allocations: AllocationsApi) -> None:
        """Forget whoever claims a driver and is no more, which a broken watch has not told.

        Raises:
            ApiUnavailable: nobody knows.
        """

    def serving(self, driver_uid: str, allocation_uid: str) -> None:
        """This allocation serves the driver from now on."""

    def release(self, allocation_uid: str) -> None:
        """Give up what this allocation has claimed."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What runners share."""

    apis: Apis
    store: ExecutorPodsSnapshotsStore
    finder: DriverFinder
    session: aiohttp.ClientSession
    claims: DriverClaims
    settings: ProcessSettings
    reach: DriverReach = ANY_REACH
    policies: PolicyDirectory = field(default_factory=PolicyDirectory)
    going_nodes: GoingNodes = field(default_factory=GoingNodes)
    budgets: BudgetCoordinator | None = None
    traces: TraceRecorder | None = None
    count_end: Callable[[str], None] = lambda _: None
    count_poll: Callable[[str, float], None] = lambda _outcome, _seconds: None
    count_backlog: Callable[[str], None] = lambda _: None
    turns: PollingTurns = field(default_factory=PollingTurns)
