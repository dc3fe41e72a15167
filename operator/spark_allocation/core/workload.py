"""What the tasks of an application ask for, per resource profile.

The manager reads a `WorkloadView` and does not know where it comes from: the listener feeder counts it from events, the
driver feeder sets whole values from each poll.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from spark_allocation.core.resource_profiles import ProfileId


@dataclass(frozen=True, slots=True)
class ProfileWorkload:
    """The tasks of one resource profile.

    Attributes:
        pending: regular tasks that wait for a place; Spark's own count can fall below 0.
        pending_speculative: speculative copies that wait for a place.
        running: tasks that run, copies included.
        unschedulable: stage attempts that no executor may run because all are excluded.
    """

    pending: int = 0
    pending_speculative: int = 0
    running: int = 0
    unschedulable: int = 0


NO_TASKS = ProfileWorkload()


class WorkloadView(Protocol):
    """The source of the need."""

    def of_profile(self, profile_id: ProfileId) -> ProfileWorkload:
        """The tasks of one profile; `NO_TASKS` for a profile without stages."""
        ...


@dataclass(frozen=True, slots=True)
class ReportedWorkload:
    """A workload that was observed as a whole, such as one poll of the driver."""

    by_profile: Mapping[ProfileId, ProfileWorkload] = field(default_factory=dict)

    def of_profile(self, profile_id: ProfileId) -> ProfileWorkload:
        """The tasks of one profile; `NO_TASKS` for a profile that was not reported."""
        return self.by_profile.get(profile_id, NO_TASKS)
