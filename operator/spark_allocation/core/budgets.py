"""One budget, many applications: what each profile is granted, and a sentence that says why.

Theory of operation
-------------------
A budget caps executors, cores and memory over all applications that it covers; `fair_division` divides it by weighted
max-min, minima first. Around that stand five rules that a division alone does not have:

- *Nobody loses what it needs to a passing need.* An executor above its owner's fair part is taken back only after others
  have wanted it without a break for `RECLAIM_AFTER_MS`. What is free is given at once.
- *What nobody needs comes first.* Executors beyond what their own application wants (idle ones that have not timed out,
  or that never would) are no part of anybody's fair share. They are taken back when others have been short of them for
  as long, and at once when the budget was lowered below what exists.
- *Nothing is granted twice.* Executors that are to go still count until they have gone; who is to get them is granted
  them then. So executors that exist and executors that may be made never exceed the budget together, unless it was
  lowered below what exists.
- *Pending pods have a cap of their own*, divided in the same way among the pods that are still to come.
- *What is not served is not drained.* A `Demand.fixed` holds what it has until somebody serves it again.
- *Larger pods to come drain nobody.* An executor costs as much as the largest pod of its profile or the next one; while those
  that are there fit as they are, an application whose pods differ in size gives none back.

When the budget is below the sum of all ``minExecutors``, the budget holds: the minima are divided fairly, and everybody
who gets less than its minimum is told. Executors that exist already are not drained below the minimum for it.

The state between two divisions is a value, `BudgetState`; time is an argument.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from operator import add, attrgetter, lt, mul
from typing import NamedTuple

from spark_allocation.core.fair_division import Claimants, ClaimKey, divide_among

RECLAIM_AFTER_MS = 30_000


@dataclass(frozen=True, slots=True)
class Budget:
    """What there is; None for no cap.

    Attributes:
        executors: of all covered applications together.
        milli_cores: of their executors, in thousandths of a core.
        memory_mib: of their executor pods, in MiB.
        pending_pods: executor pods that do not run yet.
    """

    name: str
    executors: int | None = None
    milli_cores: int | None = None
    memory_mib: int | None = None
    pending_pods: int | None = None

    @property
    def capacities(self) -> tuple[int | None, ...]:
        """Of executors, thousandths of cores, MiB."""
        return self.executors, self.milli_cores, self.memory_mib


@dataclass(frozen=True, slots=True)
class Demand:
    """What one profile of one application needs and has.

    Attributes:
        wanted: executors that it would have without the budget.
        minimum: its ``minExecutors``.
        running: executors that run and are to stay.
        pending: pods that exist and do not run yet, and those that are being asked for.
        leaving: executors that drain, or whose pods are there for another reason without being counted.
        milli_cores: of one executor pod, the largest that there is or would be made.
        memory_mib: of one executor pod, likewise.
        smaller: what the pods that are there take less than so many of these would: thousandths of cores, MiB.
        weight: of the application, above 0.
        waiting_since_ms: since when it has waited for its first executor.
        fixed: none of its executors can be drained now (nobody serves it, its driver is silent, or it is paused), and
            what it wants is what it was granted before.
    """

    application: str
    profile: int
    wanted: int
    minimum: int = 0
    running: int = 0
    pending: int = 0
    leaving: int = 0
    milli_cores: int = 1000
    memory_mib: int = 1024
    weight: int = 1
    waiting_since_ms: int = 0
    fixed: bool = False
    smaller: tuple[int, int] = (0, 0)

    @property
    def key(self) -> ClaimKey:
        """Whose demand it is."""
        return self.application, self.profile

    @property
    def held(self) -> int:
        """Executors that exist and are to stay."""
        return self.running + self.pending

    @property
    def used(self) -> tuple[int, int, int]:
        """What all its pods take, those too that leave: executors, thousandths of cores, MiB."""
        there = self.held + self.leaving
        return (
            there,
            there * self.milli_cores - self.smaller[0],
            there * self.memory_mib - self.smaller[1],
        )

    @property
    def floor(self) -> int:
        """Executors that come before those of anybody who has its own."""
        return max(self.minimum, self.held, self.wanted) if self.fixed else self.minimum

    @property
    def most(self) -> int:
        """Executors that it has a use for, whatever the division says."""
        return max(self.wanted, self.floor)


class GrantStory(NamedTuple):
    """How a grant came about, kept as numbers: of a thousand grants a few are read.

    Attributes:
        budget: its name.
        wanted: executors.
        entitled: to these, once everybody else has what is his.
        minimum: when the budget is below the sum of all minima and the grant below its own; else None.
        spared_for_ms: others want some of what it holds, and have to wait for so long at least; None when not.
    """

    budget: str
    wanted: int
    entitled: int
    granted: int
    held: int
    minimum: int | None = None
    spared_for_ms: int | None = None

    @property
    def clauses(self) -> tuple[str, ...]:
        """Such as "wanted 40" and "budget team-a left 12"."""
        said = [f"wanted {self.wanted}"]
        if self.spared_for_ms is not None:
            seconds = -(-self.spared_for_ms // 1000)
            said.append(
                f"others want some of its {self.held}: they are taken back in {seconds} s at the soonest"
            )
        if self.minimum is not None:
            said.append(
                f"minExecutors {self.minimum}, budget {self.budget} is below the sum of all minExecutors"
            )
        elif self.granted < self.entitled:
            taken = self.entitled - self.granted
            said.append(f"budget {self.budget} left {self.entitled}, {taken} of them still taken")
        elif self.granted < self.wanted:
            said.append(f"budget {self.budget} left {self.granted}")
        return tuple(said)


class Grant(NamedTuple):
    """What a profile may have; a tuple, for thousands are made in each division.

    Attributes:
        granted: executors, counting those it has.
        pending: pods that may be pending at once; None for no cap.
        story: what led there.
        ceiling: executors that may be there, counting those that leave.
        stays: so many of those it has may stay, the others are to be drained; None when nobody has to go.
        budget: the one that allows no more; "" when all that is wanted is granted.
        pending_budget: the one that caps pending pods; "" when none does.
        below_minimum: the budget does not suffice for all minima, and this is less than its own.
    """

    granted: int
    pending: int | None
    story: GrantStory
    ceiling: int
    stays: int | None = None
    budget: str = ""
    pending_budget: str = ""
    below_minimum: bool = False

    @property
    def clauses(self) -> tuple[str, ...]:
        """What led there, such as "wanted 40" and "budget team-a left 12"."""
        return self.story.clauses

    @property
    def reason(self) -> str:
        """Such as "wanted 40, budget team-a left 12 → 12"."""
        return f"{', '.join(self.clauses)} → {self.granted}"

    @property
    def numbers(self) -> tuple[int | None, ...]:
        """What is acted on: without the words."""
        return self.granted, self.pending, self.ceiling, self.stays


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What one division leaves for the next, in milliseconds.

    Attributes:
        pressed_since_ms: since when others have wanted what a profile holds and needs.
        spare_since_ms: since when others have been short of what a profile holds beyond its need.
    """

    pressed_since_ms: Mapping[ClaimKey, int] = field(default_factory=dict)
    spare_since_ms: Mapping[ClaimKey, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BudgetDivision:
    """One division.

    Attributes:
        below_minima: the budget does not suffice for all minima.
        again_at_ms: when to divide again though nothing changes: something held can be taken back then.
        fair: executors that each would have once everybody who has more than his part had given it back.
    """

    grants: Mapping[ClaimKey, Grant]
    state: BudgetState
    below_minima: bool = False
    again_at_ms: int | None = None
    fair: Mapping[ClaimKey, int] = field(default_factory=dict)


def divide_budget(
    budget: Budget, demands: Iterable[Demand], state: BudgetState, *, now_ms: int
) -> BudgetDivision:
    """Divide a budget.

    Args:
        demands: one for each application and profile.
        state: of the last division.
        now_ms: milliseconds of any steady clock.
    """
    them = _Demands.of(demands)
    keys, held, most = them.claimants.keys, them.held, them.most
    capacities = budget.capacities
    fair = divide_among(them.claimants, capacities, them.floors, most)
    pressed = {
        key: state.pressed_since_ms.get(key, now_ms)
        for key, part, has, useful in zip(keys, fair, held, most, strict=True)
        if part < has and part < useful
    }
    spared = {key for key, since in pressed.items() if now_ms - since < RECLAIM_AFTER_MS}
    entitled = fair
    if spared:
        kept = [
            max(floor, min(has, useful)) if key in spared else floor
            for key, floor, has, useful in zip(keys, them.floors, held, most, strict=True)
        ]
        entitled = divide_among(them.claimants, capacities, them.floors, kept, most)
    granted = _without_what_is_still_there(capacities, them, entitled)
    pending = _pending(budget, them, granted)
    below = not _fits(capacities, them.cost_of([demand.minimum for demand in them.demands]))
    spare = _spare(them, entitled, granted, state, now_ms)
    due = {key for key, since in spare.items() if now_ms - since >= RECLAIM_AFTER_MS}
    stays = _stays(capacities, them, entitled, due)
    pending_budget = "" if budget.pending_pods is None else budget.name
    grants = {}
    for place, demand in enumerate(them.demands):
        key, count, useful, has = keys[place], granted[place], most[place], held[place]
        too_few = below and count < demand.minimum
        grants[key] = Grant(
            count,
            None if pending is None else pending[place],
            GrantStory(
                budget.name,
                useful,
                entitled[place],
                count,
                has,
                demand.minimum if too_few else None,
                RECLAIM_AFTER_MS - (now_ms - pressed[key]) if key in spared else None,
            ),
            max(count, has) + demand.leaving,
            stays.get(key),
            budget.name if count < useful else "",
            pending_budget,
            too_few,
        )
    moments = [pressed[key] + RECLAIM_AFTER_MS for key in spared]
    moments += [
        since + RECLAIM_AFTER_MS for since in spare.values() if now_ms - since < RECLAIM_AFTER_MS
    ]
    return BudgetDivision(
        grants,
        BudgetState(pressed, spare),
        below,
        min(moments, default=None),
        dict(zip(keys, fair, strict=True)),
    )


@dataclass(frozen=True, slots=True)
class _Demands:
    """All demands on one budget, in the order of their keys, and in columns what each division of it asks of them.

    Attributes:
        held: see `Demand.held`.
        floors: see `Demand.floor`.
        most: see `Demand.most`.
    """

    demands: list[Demand]
    claimants: Claimants
    held: list[int]
    floors: list[int]
    most: list[int]

    @classmethod
    def of(cls, demands: Iterable[Demand]) -> "_Demands":
        """These, in any order."""
        key_of = attrgetter("application", "profile")
        ordered = sorted(demands, key=key_of)
        held = [demand.held for demand in ordered]
        floors = [demand.floor if demand.fixed else demand.minimum for demand in ordered]
        claimants = Claimants(
            list(map(key_of, ordered)),
            costs=(
                [1] * len(ordered),
                [demand.milli_cores for demand in ordered],
                [demand.memory_mib for demand in ordered],
            ),
            held=held,
            weights=[demand.weight for demand in ordered],
            waiting_since=[demand.waiting_since_ms for demand in ordered],
        )
        wanted = [demand.wanted for demand in ordered]
        return cls(ordered, claimants, held, floors, list(map(max, wanted, floors)))

    def cost_of(self, executors: Sequence[int]) -> list[int]:
        """What so many executors of each take together, of each kind of capacity."""
        return [sum(map(mul, executors, column)) for column in self.claimants.costs]

    def used(self) -> list[int]:
        """What all pods take as they are, those too that leave, of each kind of capacity."""
        there = [has + each.leaving for has, each in zip(self.held, self.demands, strict=True)]
        executors, milli_cores, memory_mib = self.cost_of(there)
        return [
            executors,
            milli_cores - sum([each.smaller[0] for each in self.demands]),
            memory_mib - sum([each.smaller[1] for each in self.demands]),
        ]


def _without_what_is_still_there(
    capacities: Sequence[int | None], them: _Demands, entitled: list[int]
) -> list[int]:
    """What can be granted while executors that are to go are still there."""
    leaving = [demand.leaving for demand in them.demands]
    wished = list(map(add, map(max, entitled, them.held), leaving))
    if _fits(capacities, them.cost_of(wished)):
        return entitled
    there = list(map(add, them.held, leaving))
    room = [
        # what is used of it already, where that is more
        None if capacity is None else max(capacity, used)
        for capacity, used in zip(capacities, them.cost_of(there), strict=True)
    ]
    reached = divide_among(them.claimants, room, there, wished)
    return [
        min(count, max(0, most - gone))
        for count, most, gone in zip(entitled, reached, leaving, strict=True)
    ]


def _pending(budget: Budget, them: _Demands, granted: Sequence[int]) -> list[int] | None:
    """How many pods of each may be pending; what is pending already counts first, so nobody takes its place."""
    if budget.pending_pods is None:
        return None
    demands = them.demands
    pending = [demand.pending for demand in demands]
    claimants = Claimants(
        them.claimants.keys,
        costs=([1] * len(demands),),
        held=[0] * len(demands),
        weights=[demand.weight for demand in demands],
        waiting_since=[demand.waiting_since_ms for demand in demands],
    )
    to_come = [
        max(demand.pending, count - demand.running)
        for demand, count in zip(demands, granted, strict=True)
    ]
    return divide_among(claimants, (max(budget.pending_pods, sum(pending)),), pending, to_come)


def _spare(
    them: _Demands,
    entitled: Sequence[int],
    granted: Sequence[int],
    state: BudgetState,
    now_ms: int,
) -> dict[ClaimKey, int]:
    """Who holds more than it has a use for while somebody is short of it, and since when."""
    if not any(map(lt, granted, entitled)):
        return {}
    return {
        key: state.spare_since_ms.get(key, now_ms)
        for key, has, useful in zip(them.claimants.keys, them.held, them.most, strict=True)
        if has > useful
    }


def _stays(
    capacities: Sequence[int | None],
    them: _Demands,
    entitled: Sequence[int],
    due: AbstractSet[ClaimKey],
) -> dict[ClaimKey, int]:
    """Of those who have executors that are to be drained now: how many stay.

    Args:
        due: those who have held more than they need for so long that it is taken back.
    """
    held, keys = them.held, them.claimants.keys
    excess = [
        place
        for place, demand in enumerate(them.demands)
        if held[place] > entitled[place] and not demand.fixed
    ]
    differing = {place for place in excess if _sizes_differ(them.demands[place], capacities)}
    if differing and _fits(capacities, them.used()):
        excess = [place for place in excess if place not in differing]
    if not excess:
        return {}
    now = held
    if not _fits(capacities, them.cost_of(held)):
        now = _staying(capacities, them, held, entitled)
    soon = _staying(capacities, them, list(map(max, entitled, held)), entitled) if due else held
    found: dict[ClaimKey, int] = {}
    for place in excess:
        demand, key, has = them.demands[place], keys[place], held[place]
        stays = min(now[place], soon[place] if key in due else has)
        if has <= them.most[place]:
            # it needs them: others have been entitled to them for long enough, or the budget was lowered
            stays = entitled[place]
        stays = max(stays, min(has, demand.minimum))
        if stays < has:
            found[key] = stays
    return found


def _staying(
    capacities: Sequence[int | None],
    them: _Demands,
    wished: list[int],
    entitled: Sequence[int],
) -> list[int]:
    """What is left for executors beyond what their owners are entitled to, and beyond those that stay whatever is left."""
    stay_anyway = [
        has if demand.fixed else min(has, demand.minimum)
        for has, demand in zip(them.held, them.demands, strict=True)
    ]
    first = list(map(min, wished, map(max, entitled, stay_anyway)))
    return divide_among(them.claimants, capacities, first, wished)


def _sizes_differ(demand: Demand, capacities: Sequence[int | None]) -> bool:
    """As far as there are caps of what differs."""
    return any(
        less and capacity is not None
        for less, capacity in zip(demand.smaller, capacities[1:], strict=True)
    )


def _fits(capacities: Sequence[int | None], used: Sequence[int]) -> bool:
    return all(
        capacity is None or each <= capacity
        for capacity, each in zip(capacities, used, strict=True)
    )
