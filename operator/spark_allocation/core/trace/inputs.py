"""Everything that reaches `Allocation` in one life of a driver, each as a value.

Theory of operation
-------------------
`Allocation` knows no clock and does no I/O: what it decides follows from the calls that were made of it, in their order,
and from nothing else. So each call is a value here, with the call itself as `put_into`. The operator makes its calls
through these values (`driven_allocation`), a trace keeps them, and a replay puts the same values into another
`Allocation`: there is no second list of calls that could fall behind the first.

A life begins with `LifeBegun`. After a restart of the operator the same driver has another one, which says where the
targets stood.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from spark_allocation.core.allocation import Allocation
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.budget_cap import Grants
from spark_allocation.core.driver_report import DriverReport
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.exit_reasons import FailureClass
from spark_allocation.core.resource_profiles import (
    ProfileId,
    ResourceProfile,
    ResourceProfileManager,
)
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.observations import QueryName, StreamingObservation


class Input(Protocol):
    """One call."""

    def put_into(self, allocation: Allocation) -> None:
        """Make the call."""


@dataclass(frozen=True, slots=True)
class LifeBegun:
    """A driver is served from now on.

    Attributes:
        properties: those of the driver that say what its executors offer; see `recorded_properties`.
        now_ns: monotonic nanoseconds.
        now_ms: the same moment in epoch milliseconds.
        targets: where an earlier run left them in this same life; None in a new one.
        incarnation: of the life: the same after a restart of the operator, another one after a restart of the driver.
        in_the_middle: what was before is not there any more: what is decided from here on may differ for a while.
    """

    settings: AllocationSettings
    profiles: tuple[ResourceProfile, ...]
    properties: Mapping[str, str]
    now_ns: int
    now_ms: int
    targets: Mapping[ProfileId, int] | None = None
    learned_streams: Mapping[QueryName, LearnedCost] = field(default_factory=dict)
    application_id: str = ""
    spark_version: str = ""
    incarnation: str = ""
    in_the_middle: bool = False

    def known_profiles(self) -> ResourceProfileManager:
        """The profiles that the driver had named.

        Raises:
            InvalidSetting: Spark would refuse the properties.
            InvalidProfile: or a profile.
        """
        manager = ResourceProfileManager(SparkConf(self.properties))
        for profile in self.profiles:
            manager.add(profile)
        return manager

    def allocation(self, profiles: ResourceProfileManager) -> Allocation:
        """What decides in this life."""
        return Allocation(
            self.settings,
            profiles,
            now_ns=self.now_ns,
            targets=self.targets,
            learned_streams=self.learned_streams,
        )


@dataclass(frozen=True, slots=True)
class ProfilesLearned:
    """The driver has named further resource profiles: no call, for the allocation looks them up where they were added."""

    profiles: tuple[ResourceProfile, ...]

    def add_to(self, profiles: ResourceProfileManager) -> None:
        """Add them to those that the allocation looks things up in."""
        for profile in self.profiles:
            profiles.add(profile)


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """Other settings hold."""

    settings: AllocationSettings
    now_ns: int

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.reconfigure(self.settings, self.now_ns)


@dataclass(frozen=True, slots=True)
class ReportTaken:
    """The driver has answered; both moments are that of the answer."""

    report: DriverReport
    now_ns: int
    now_ms: int

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.take_report(self.report, now_ns=self.now_ns, now_ms=self.now_ms)


@dataclass(frozen=True, slots=True)
class StreamsSeen:
    """What the answer before it showed of streams."""

    observation: StreamingObservation

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.take_streaming(self.observation)


@dataclass(frozen=True, slots=True)
class StepAsked:
    """A step, with the grants that hold for it; the other attributes are those of `Allocation.step`."""

    snapshot: ExecutorPodsSnapshot
    now_ns: int
    now_ms: int
    report_is_fresh: bool
    vanished: tuple[ExecutorPod, ...] = ()
    going_nodes: AbstractSet[str] = frozenset()
    grants: Grants | None = None
    acts: bool = True

    def step_of(self, allocation: Allocation) -> Step:
        """Take the step."""
        allocation.grant(self.grants)
        return allocation.step(
            self.snapshot,
            vanished=self.vanished,
            going_nodes=self.going_nodes,
            now_ns=self.now_ns,
            now_ms=self.now_ms,
            report_is_fresh=self.report_is_fresh,
            acts=self.acts,
        )


# -- what became of a step ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreationStarted:
    """A pod is about to be asked for."""

    executor_id: ExecutorId
    profile_id: ProfileId
    now_ms: int

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.creation_started(self.executor_id, self.profile_id, self.now_ms)


@dataclass(frozen=True, slots=True)
class PodCreated:
    """It is there."""

    executor_id: ExecutorId
    now_ms: int
    uid: str

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.pods.pod_created(self.executor_id, self.now_ms, uid=self.uid)


@dataclass(frozen=True, slots=True)
class PodNotCreated:
    """It is not, and nobody is to blame: it may be asked for again at once."""

    executor_id: ExecutorId

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.pods.pod_creation_failed(self.executor_id)


@dataclass(frozen=True, slots=True)
class CreationRefused:
    """The API server made no such pod, or it could not be built."""

    executor_id: ExecutorId
    failure: FailureClass
    now_ms: int

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.creation_refused(self.executor_id, self.failure, self.now_ms)


@dataclass(frozen=True, slots=True)
class CreationUnclear:
    """The API server failed over it."""

    executor_id: ExecutorId
    failure: FailureClass
    now_ms: int

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.creation_unclear(self.executor_id, self.failure, self.now_ms)


@dataclass(frozen=True, slots=True)
class NotWithdrawn:
    """A pod that was to be withdrawn stays."""

    executor_id: ExecutorId

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.pods.withdrawal_refused(self.executor_id)


@dataclass(frozen=True, slots=True)
class DrainNotBegun:
    """Nobody was asked to let the executor go."""

    executor_id: ExecutorId

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.drain_not_begun(self.executor_id)


@dataclass(frozen=True, slots=True)
class DrainRefused:
    """The API server does not let the executor go."""

    executor_id: ExecutorId

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.drain_refused(self.executor_id)


@dataclass(frozen=True, slots=True)
class ClaimsFound:
    """So many persistent volume claims of the application are there."""

    count: int

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.pods.claims_found(self.count)


@dataclass(frozen=True, slots=True)
class ClaimMade:
    """One more was made."""

    def put_into(self, allocation: Allocation) -> None:
        """See `Input`."""
        allocation.pods.claim_made()
