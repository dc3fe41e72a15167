"""What budgets leave to one life of a driver: the bridge between its targets, its grants and its pods.

Theory of operation
-------------------
The allocation manager goes on as Spark's does: its targets know nothing of budgets, and what they say is what the
application asks the budgets for (`BudgetCap.demands`). What it is granted bounds the other end:

- *Growth.* What the pods allocator is told to keep (`BudgetCap.capped`) is the target or the grant, whichever is less;
  and in no round are more pods asked for than the grant has left, counting every pod that is there
  (`BudgetCap.round_caps`). A grant was given for what existed then: executors that have begun to leave since are still
  there, so `Grant.ceiling` bounds those that stay and those that leave together.
- *What is there stays*, unless the grant names how many of them may (`Grant.stays`). Then pending pods are withdrawn
  first, whatever their age, and after them running ones are drained (`BudgetCap.too_many` says how many, `surplus` which).
- *A profile without a grant*, because it is new or the operator is, keeps what it has and gets no more.

Executors that the allocator does not count though they run and stay (they are to be replaced because their node is
going) have a place in the budget all the same; while there are some, so many more are asked for.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from spark_allocation.core.budgets import Grant
from spark_allocation.core.executor_pods import ExecutorId, PodState
from spark_allocation.core.pod_size import NO_SIZE, PodSize
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_plan import PodsPlan, RequestBound, RoundCap
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

Grants = Mapping[ProfileId, Grant]

_NOTHING_MORE: Mapping[ProfileId, RoundCap] = {}


@dataclass(frozen=True, slots=True)
class ProfileDemand:
    """What one resource profile needs and has; counts of executors.

    Attributes:
        wanted: its target, and a replacement for each executor on a node that is about to go.
        minimum: its ``minExecutors``.
        running: executors that run and are to stay.
        pending: pods that do not run yet, and those that are being asked for.
        leaving: pods that are there and do not count any more.
        size: of the largest of its pods; nothing while there is none.
        seen: pods that are there and whose sizes are known.
        seen_size: of all of these together.
    """

    profile_id: ProfileId
    wanted: int
    minimum: int
    running: int = 0
    pending: int = 0
    leaving: int = 0
    size: PodSize = NO_SIZE
    seen: int = 0
    seen_size: PodSize = NO_SIZE


@dataclass(slots=True)
class _There:
    """The pods of one profile."""

    running: int = 0
    pending: int = 0
    leaving: int = 0
    replaced: int = 0
    going: int = 0
    milli_cores: int = 0
    memory_mib: int = 0
    seen: int = 0
    all_milli_cores: int = 0
    all_memory_mib: int = 0

    @property
    def held(self) -> int:
        return self.running + self.pending

    @property
    def counted(self) -> int:
        """As the pods allocator counts."""
        return self.held - self.replaced


@dataclass(slots=True)
class BudgetCap:
    """Of one life of a driver.

    Attributes:
        grants: None when no budget covers the application: then nothing here does anything.
    """

    grants: Grants | None = None
    _there: dict[ProfileId, _There] = field(default_factory=dict)
    _last_capped: Mapping[ProfileId, int] | None = None

    @property
    def applies(self) -> bool:
        """Some budget covers the application."""
        return self.grants is not None

    def granted(self, profile_id: ProfileId, otherwise: int) -> int:
        """Executors that a profile may have, or ``otherwise`` when no budget covers it."""
        if self.grants is None:
            return otherwise
        grant = self.grants.get(profile_id)
        return self._of(profile_id).held if grant is None else grant.granted

    def refuses_more_than(self, profile_id: ProfileId, target: int) -> bool:
        """Budgets were asked for more executors than the target, and have no place for all of them."""
        if self.grants is None:
            return True
        grant = self.grants.get(profile_id)
        return grant is not None and grant.budget != "" and grant.story.wanted > target

    def look(
        self,
        snapshot: ExecutorPodsSnapshot,
        pods: ExecutorPodsAllocator,
        *,
        leaving: AbstractSet[ExecutorId],
        replaced: AbstractSet[ExecutorId],
        going_nodes: AbstractSet[str],
    ) -> None:
        """Count the pods.

        Args:
            snapshot: the pods.
            pods: for those that were asked for and not seen yet, or withdrawn.
            leaving: executors that drain or that the driver has lost.
            replaced: executors that are to stay until another is there for them.
            going_nodes: nodes that are about to go.
        """
        there: dict[ProfileId, _There] = {}
        withdrawn = pods.withdrawn
        for pod in snapshot.pods.values():
            if not pod.occupies:
                continue
            profile = there.setdefault(pod.profile_id, _There())
            executor_id, size = pod.executor_id, pod.size
            profile.milli_cores = max(profile.milli_cores, size.milli_cores)
            profile.memory_mib = max(profile.memory_mib, size.memory_mib)
            profile.seen += 1
            profile.all_milli_cores += size.milli_cores
            profile.all_memory_mib += size.memory_mib
            if executor_id in leaving or executor_id in withdrawn:
                profile.leaving += 1
            elif pod.state is PodState.RUNNING:
                profile.running += 1
                profile.replaced += executor_id in replaced
                profile.going += pod.node in going_nodes
            elif pod.state is PodState.PENDING:
                profile.pending += 1
            else:
                profile.leaving += 1
        for unseen in (pods.unseen, pods.unseen_registered):
            for executor_id, asked in unseen.items():
                if executor_id not in snapshot.pods:
                    profile = there.setdefault(asked.profile_id, _There())
                    if executor_id in leaving:
                        profile.leaving += 1
                    else:
                        profile.pending += 1
        self._there = there

    # -- growth ------------------------------------------------------------------------------------------------------

    def capped(self, targets: Mapping[ProfileId, int]) -> Mapping[ProfileId, int]:
        """What the pods allocator is to keep, of these targets."""
        return {profile_id: self._capped(profile_id, n) for profile_id, n in targets.items()}

    def changed(self, capped: Mapping[ProfileId, int]) -> bool:
        """Whether these are others than the last time."""
        before, self._last_capped = self._last_capped, capped
        return before != capped

    def round_caps(self, targets: Iterable[ProfileId]) -> Mapping[ProfileId, RoundCap]:
        """What may be asked for in this round; nothing is named when no budget covers the application."""
        if self.grants is None:
            return _NOTHING_MORE
        return {profile_id: self._round_cap(profile_id) for profile_id in targets}

    def bounds(
        self, plan: PodsPlan, targets: Mapping[ProfileId, int]
    ) -> Mapping[ProfileId, RequestBound]:
        """Profiles that a budget alone keeps below these targets; one that has not been divided since is not to blame."""
        if self.grants is None:
            return {}
        return {
            profile_id: RequestBound.BUDGET
            for profile_id, profile in plan.profiles.items()
            if (grant := self.grants.get(profile_id)) is not None
            and grant.budget
            and profile.target < targets.get(profile_id, 0)
            and profile.bound in (RequestBound.NOTHING, RequestBound.BUDGET)
        }

    def _capped(self, profile_id: ProfileId, target: int) -> int:
        there = self._of(profile_id)
        grant = self.grants.get(profile_id) if self.grants is not None else None
        if grant is None:
            return min(target, there.counted)
        allowed = max(0, grant.granted - there.replaced)
        if target <= allowed:
            return target
        stays = there.counted if grant.stays is None else min(there.counted, grant.stays)
        return min(target, max(allowed, stays))

    def _round_cap(self, profile_id: ProfileId) -> RoundCap:
        there = self._of(profile_id)
        grant = self.grants.get(profile_id) if self.grants is not None else None
        if grant is None:
            return RoundCap(room=0)
        room = min(grant.granted, grant.ceiling - there.leaving) - there.held
        return RoundCap(max(0, room), grant.pending, withdraw_now=grant.stays is not None)

    # -- what has to go ----------------------------------------------------------------------------------------------

    def too_many(self) -> dict[ProfileId, int]:
        """Of each profile: running executors that would have to go for the sake of others even if none were pending."""
        found: dict[ProfileId, int] = {}
        for profile_id, grant in (self.grants or {}).items():
            if grant.stays is not None and self._of(profile_id).running > grant.stays:
                found[profile_id] = self._of(profile_id).running - grant.stays
        return found

    # -- what is told ------------------------------------------------------------------------------------------------

    def demands(
        self,
        targets: Mapping[ProfileId, int],
        plan: PodsPlan | None,
        *,
        minimum: Callable[[ProfileId], int],
        maximum: Callable[[ProfileId], int],
    ) -> tuple[ProfileDemand, ...]:
        """What budgets are asked for; pods that this plan asks for are there already.

        Args:
            targets: of the allocation manager.
            plan: of this step.
            minimum: ``minExecutors`` of a profile.
            maximum: ``maxExecutors`` of a profile.
        """
        asked = {} if plan is None else {each.profile_id: each.count for each in plan.create}
        found: list[ProfileDemand] = []
        for profile_id in sorted(targets.keys() | self._there.keys()):
            there = self._of(profile_id)
            target = targets.get(profile_id, 0)
            found.append(
                ProfileDemand(
                    profile_id=profile_id,
                    wanted=max(target, min(target + there.going, maximum(profile_id))),
                    minimum=minimum(profile_id) if profile_id in targets else 0,
                    running=there.running,
                    pending=there.pending + asked.get(profile_id, 0),
                    leaving=there.leaving,
                    size=PodSize(there.milli_cores, there.memory_mib),
                    seen=there.seen,
                    seen_size=PodSize(there.all_milli_cores, there.all_memory_mib),
                )
            )
        return tuple(found)

    def chain(self, profile_id: ProfileId, bound: RequestBound, asked: int, limit: str) -> str:
        """Why the profile has as many executors as it has, in one sentence; "" when no budget covers it.

        Args:
            profile_id: the profile.
            bound: what bounded the last round.
            asked: executors that are there or were asked for.
            limit: the words for a bound that is no budget's, such as "maxPendingPods 8"; "" for none.
        """
        if self.grants is None:
            return ""
        grant = self.grants.get(profile_id)
        if grant is None:
            return "the budgets are being divided"
        clauses = list(grant.clauses)
        if bound is RequestBound.BUDGET_PENDING_PODS:
            clauses.append(f"pending limit {grant.pending} of budget {grant.pending_budget}")
        elif limit:
            clauses.append(limit)
        else:
            return grant.reason
        return f"{', '.join(clauses)} → {asked}"

    def _of(self, profile_id: ProfileId) -> _There:
        return self._there.get(profile_id) or _There()
