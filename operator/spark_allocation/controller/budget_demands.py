"""What each driver wants and has, as demands on budgets: put together from what its life tells and from its pods.

A life tells what it needs and has. Its driver may have more pods than the life told of, made by an earlier run of the
operator or not seen by it yet: they count as leaving, so that nobody is granted their places. Executors that no life
speaks for are demands all the same, fixed ones: they count, and nobody drains them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spark_allocation.controller.budget_members import NOTHING_GRANTED, BudgetMember
from spark_allocation.controller.executor_holdings import Holding, Holdings
from spark_allocation.core.budget_cap import ProfileDemand
from spark_allocation.core.budgets import Demand
from spark_allocation.core.pod_size import NO_SIZE, PodSize
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.snapshots_store import DriverKey

NEVER_MS = 2**62

Unseen = Mapping[ProfileId, tuple[int, PodSize]]
"""Pods that nobody has seen yet: how many of each profile, and the size of one."""

_NONE_UNSEEN: Unseen = {}


@dataclass(frozen=True, slots=True)
class _Known:
    """What a member's demands were made of."""

    member: BudgetMember
    told: Sequence[ProfileDemand]
    holdings: Holdings
    sizes_version: int
    demands: Sequence[Demand]


class BudgetDemands:
    """Of the members of one coordinator; put together again only where something has changed."""

    def __init__(self) -> None:
        self._known: dict[DriverKey, _Known] = {}
        self._waiting_since: dict[str, int] = {}

    def told(self, member: BudgetMember, holdings: Holdings, now_ms: int) -> Sequence[Demand]:
        """What a member said, and what its driver has beyond that.

        Args:
            member: that has told its demands.
            holdings: the pods of its driver that the operator made.
            now_ms: of the coordinator's clock.
        """
        told: Sequence[ProfileDemand] = member.demands or ()
        known = self._known.get(member.key)
        if (
            known is not None
            and member.is_fresh
            and known.member is member
            and known.told is told
            and known.holdings is holdings
            and known.sizes_version == member.sizes_version
        ):
            return known.demands
        demands = self._put_together(member, told, dict(holdings), now_ms)
        self._known[member.key] = _Known(member, told, holdings, member.sizes_version, demands)
        return demands

    def forget_gone(self, members: int) -> None:
        """Begin anew when much is kept of members that are gone; so many there are."""
        if len(self._known) > 2 * members + 64:
            self._known.clear()

    def nobody_waits(self) -> None:
        """There is no budget that anybody could wait for."""
        self._waiting_since.clear()

    def _put_together(
        self,
        member: BudgetMember,
        told: Sequence[ProfileDemand],
        holdings: dict[ProfileId, Holding],
        now_ms: int,
    ) -> list[Demand]:
        application = application_of(member.key)
        has_some = any(each.running + each.pending for each in told)
        if has_some or not any(each.wanted for each in told):
            self._waiting_since.pop(application, None)
            waiting_since = NEVER_MS
        else:
            waiting_since = self._waiting_since.setdefault(application, now_ms)
        found: list[Demand] = []
        for each in told:
            holding = holdings.pop(each.profile_id, None)
            count = each.running + each.pending + each.leaving
            unknown = max(0, holding.count - count) if holding is not None else 0
            size = member.size(each)
            wanted = each.wanted
            if not member.is_fresh:
                grant = (member.grants or NOTHING_GRANTED).get(each.profile_id)
                wanted = min(wanted, grant.granted if grant is not None else 0)
            found.append(
                Demand(
                    application,
                    each.profile_id,
                    wanted=wanted,
                    minimum=each.minimum,
                    running=each.running,
                    pending=each.pending,
                    leaving=each.leaving + unknown,
                    milli_cores=size.milli_cores,
                    memory_mib=size.memory_mib,
                    waiting_since_ms=waiting_since,
                    fixed=not member.is_fresh,
                    smaller=(
                        each.seen * size.milli_cores - each.seen_size.milli_cores,
                        each.seen * size.memory_mib - each.seen_size.memory_mib,
                    ),
                )
            )
        return [*found, *fixed_demands(member.key, holdings)]


def application_of(key: DriverKey) -> str:
    """The name under which a driver's demands stand: of one life, and unique in the cluster."""
    return f"{key.namespace}/{key.driver_uid}"


def fixed_demands(
    key: DriverKey, holdings: Holdings, unseen: Unseen = _NONE_UNSEEN
) -> list[Demand]:
    """Executors that are there and that nobody can drain now, and pods that are not seen yet."""
    found: list[Demand] = []
    for profile_id in holdings.keys() | unseen.keys():
        holding = holdings.get(profile_id) or Holding()
        more, size = unseen.get(profile_id, (0, NO_SIZE))
        largest = holding.size.or_larger(size)
        found.append(
            Demand(
                application_of(key),
                profile_id,
                wanted=0,
                running=holding.running,
                pending=holding.pending + more,
                milli_cores=largest.milli_cores,
                memory_mib=largest.memory_mib,
                fixed=True,
                smaller=(
                    holding.count * largest.milli_cores - holding.all_milli_cores,
                    holding.count * largest.memory_mib - holding.all_memory_mib,
                ),
            )
        )
    return found
