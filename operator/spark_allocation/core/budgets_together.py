"""Several budgets, of which more than one may cover an application: the smallest grant holds.

Theory of operation
-------------------
Each budget is divided by itself. What an application cannot use in one budget because another grants it less is free
for the others: its demand is lowered to its smallest grant, never below what it has, and the budgets that this concerns
are divided again. Demands only fall, so this comes to rest; after `ROUNDS` rounds what is left over stays left over
until the next division.

Neither is anything taken back in one budget for somebody who could not have it by his fair part of another: whatever is granted at
the moment, no demand is greater than the smallest of these parts. Else others would be drained for him, and get their
executors again when it turned out that he has no use for the room, over and over.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from spark_allocation.core.budgets import (
    Budget,
    BudgetDivision,
    BudgetState,
    Demand,
    Grant,
    divide_budget,
)
from spark_allocation.core.fair_division import ClaimKey

ROUNDS = 3

BudgetKey = str


@dataclass(frozen=True, slots=True)
class CoveredBudget:
    """A budget and what it covers.

    Attributes:
        key: unique among the budgets; its name need not be.
        state: that the last division of this budget left.
    """

    key: BudgetKey
    budget: Budget
    demands: Sequence[Demand]
    state: BudgetState


@dataclass(frozen=True, slots=True)
class JointDivision:
    """All budgets divided.

    Attributes:
        grants: the smallest of each profile, as far as some budget covers it.
        divisions: of each budget by itself.
        again_at_ms: when to divide again though nothing changes.
    """

    grants: Mapping[ClaimKey, Grant]
    divisions: Mapping[BudgetKey, BudgetDivision]
    again_at_ms: int | None = None


def divide_together(budgets: Iterable[CoveredBudget], *, now_ms: int) -> JointDivision:
    """Divide all budgets.

    Args:
        budgets: each with the demands that it covers; of one profile they differ in weight alone.
        now_ms: milliseconds of any steady clock.
    """
    covered = {each.key: each for each in sorted(budgets, key=lambda each: each.key)}
    divisions = {key: _divided(each, now_ms) for key, each in covered.items()}
    if len(divisions) == 1:
        ((_, only),) = divisions.items()
        return JointDivision(only.grants, divisions, only.again_at_ms)
    several = _covered_twice(covered.values())
    for _ in range(ROUNDS - 1 if several else 0):
        changed = [key for key in covered if _lower(covered, divisions, key, several)]
        if not changed:
            break
        for key in changed:
            divisions[key] = _divided(covered[key], now_ms)
    grants: dict[ClaimKey, Grant] = {}
    for division in divisions.values():
        for claim, grant in division.grants.items():
            grants[claim] = _smaller(grants[claim], grant) if claim in grants else grant
    moments = [each.again_at_ms for each in divisions.values() if each.again_at_ms is not None]
    return JointDivision(grants, divisions, min(moments, default=None))


def _divided(covered: CoveredBudget, now_ms: int) -> BudgetDivision:
    return divide_budget(covered.budget, covered.demands, covered.state, now_ms=now_ms)


def _covered_twice(budgets: Iterable[CoveredBudget]) -> set[ClaimKey]:
    once: set[ClaimKey] = set()
    twice: set[ClaimKey] = set()
    for each in budgets:
        keys = {demand.key for demand in each.demands}
        twice |= once & keys
        once |= keys
    return twice


def _lower(
    covered: dict[BudgetKey, CoveredBudget],
    divisions: Mapping[BudgetKey, BudgetDivision],
    key: BudgetKey,
    several: set[ClaimKey],
) -> bool:
    """Lower the demands of this budget that another one grants less; returns whether there are any."""
    own = divisions[key].grants
    least = {
        claim: min(
            division.grants[claim].granted
            for division in divisions.values()
            if claim in division.grants
        )
        for claim in several & own.keys()
    }
    reachable = {
        claim: min(
            division.fair[claim]
            for other, division in divisions.items()
            if other != key and claim in division.fair
        )
        for claim in least
    }
    fair = divisions[key].fair
    lowered = []
    for demand in covered[key].demands:
        claim = demand.key
        if claim in least and own[claim].granted > least[claim]:
            lowered.append(_at_most(demand, least[claim]))
        elif claim in least and fair[claim] > reachable[claim]:
            lowered.append(_at_most(demand, reachable[claim]))
        else:
            lowered.append(demand)
    if lowered == list(covered[key].demands):
        return False
    covered[key] = replace(covered[key], demands=lowered)
    return True


def _at_most(demand: Demand, granted: int) -> Demand:
    useful = max(granted, demand.held)
    return replace(demand, wanted=min(demand.wanted, useful), minimum=min(demand.minimum, useful))


def _smaller(first: Grant, second: Grant) -> Grant:
    """What both allow; the words of the one that allows less."""
    words = min((first, second), key=lambda grant: (grant.granted, not grant.budget))
    caps = [each for each in (first, second) if each.pending is not None]
    pending = min(caps, key=lambda grant: grant.pending or 0) if caps else None
    stays = [each.stays for each in (first, second) if each.stays is not None]
    return Grant(
        granted=words.granted,
        pending=None if pending is None else pending.pending,
        story=words.story,
        ceiling=min(first.ceiling, second.ceiling),
        stays=min(stays, default=None),
        budget=words.budget,
        pending_budget="" if pending is None else pending.pending_budget,
        below_minimum=first.below_minimum or second.below_minimum,
    )
