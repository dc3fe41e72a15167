"""Who takes part in the division of budgets, and what each of them says it needs and has.

A life of a driver that is served is a member while it lasts. It tells its demand in the same moment in which it decides
what to ask for, before anything is asked for, so that what is being made is counted already when somebody else's share is
computed. Nothing here decides anything.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from spark_allocation.core.budget_cap import Grants, ProfileDemand
from spark_allocation.core.pod_size import NO_SIZE, PodSize
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.snapshots_store import DriverKey

NOTHING_GRANTED: Grants = {}


class Membership(Protocol):
    """How a life takes part: within the context it is a member."""

    def __call__(self, *, wake: Callable[[], None]) -> "AbstractContextManager[BudgetMember]":
        """Begin.

        Args:
            wake: called when its grants have changed.
        """


@dataclass(slots=True)
class BudgetMember:
    """One life of a driver, as budgets see it.

    Attributes:
        name: namespace and name of its SparkAllocation, for people.
        key: of its driver; its namespace and the labels decide which budgets cover it.
        wake: called when its grants have changed.
        next_size: of the pod that would be made next for a profile.
        grants: None while no budget covers it; a profile without one may have nothing more than it has.
        demands: as it told them last; None before that, and while it may not act.
        is_fresh: its driver answers.
        acts: it may make and drain executors.
        changed: called when it has told something new.
        sizes_version: another one when pods may be built otherwise.
        untold_since_ms: it has acted without a budget, has been covered since then, and has not told yet what it has.
    """

    name: str
    key: DriverKey
    labels: Mapping[str, str]
    wake: Callable[[], None]
    next_size: Callable[[ProfileId], PodSize]
    changed: Callable[[], None]
    grants: Grants | None = None
    demands: Sequence[ProfileDemand] | None = None
    is_fresh: bool = True
    acts: bool = True
    untold_since_ms: int | None = None
    sizes_version: int = 0
    _sizes: dict[ProfileId, PodSize] = field(default_factory=dict)
    _sizes_are_old: bool = False

    def tell(self, demands: Sequence[ProfileDemand], *, is_fresh: bool) -> None:
        """What it needs and has; executors that it asks for next are among those it has.

        Args:
            demands: one for each profile.
            is_fresh: its driver has answered lately.
        """
        news = not self.acts or self.demands != demands or self.is_fresh != is_fresh
        if self._look_at_sizes(demands):
            news = True
        self.acts, self.is_fresh = True, is_fresh
        if news:
            self.demands = demands
        if self.untold_since_ms is not None:
            self.untold_since_ms = None
            news = True
        if news:
            self.changed()

    @property
    def grants_now(self) -> Grants | None:
        """The grants, unless the next pods may be others than those they were given for."""
        if self._sizes_are_old and self.grants is not None:
            return NOTHING_GRANTED
        return self.grants

    def acts_freely(self) -> None:
        """It makes and drains executors, and no budget covers it so far."""
        self.acts, self.demands = True, None

    def stands_by(self) -> None:
        """It may not act: what its driver has counts, whoever made it, and nobody drains it."""
        if self.acts:
            self.acts, self.demands = False, None
            self.changed()

    def relabelled(self, labels: Mapping[str, str]) -> None:
        """The driver pod has other labels."""
        if labels != self.labels:
            self.labels = labels
            self.changed()

    def sizes_may_differ(self) -> None:
        """Pods may be built otherwise from now on: looked at when it tells next."""
        self._sizes_are_old = True

    def _look_at_sizes(self, demands: Sequence[ProfileDemand]) -> bool:
        """Build the next pod of each profile where that is due, in the member's own time; returns whether one differs."""
        due = [
            each.profile_id
            for each in demands
            if self._sizes_are_old or each.profile_id not in self._sizes
        ]
        self._sizes_are_old = False
        before = dict(self._sizes)
        self._sizes.update((profile_id, self.next_size(profile_id)) for profile_id in due)
        if before == self._sizes:
            return False
        self.sizes_version += 1
        if any(self._sizes[profile_id] != size for profile_id, size in before.items()):
            self.grants = NOTHING_GRANTED
        return True

    def size(self, demand: ProfileDemand) -> PodSize:
        """What one executor of the profile costs: the largest of those that are there and the next one."""
        return self._sizes.get(demand.profile_id, NO_SIZE).or_larger(demand.size)
