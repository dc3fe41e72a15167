"""One budget, many applications: what each profile is granted, and a sentence that says why.

Theory of operation
-------------------
A budget caps executors, cores and memory over all applications that it covers; `fair_division` divides it by weighted
max-min, minima first. Around that stand three rules that a division alone does not have:

- *Nobody loses what it holds to a passing need.* An executor above its owner's fair part is taken back only after others
  have wanted it without a break for `RECLAIM_AFTER_MS`. What is free is given at once.
- *Nothing is granted twice.* Executors that are to go still count until they have gone; who is to get them is granted
  them then. So executors that exist and executors that may be made never exceed the budget together, unless it was
  lowered below what exists.
- *Pending pods have a cap of their own*, divided in the same way among the pods that are still to come.

When the budget is below the sum of all ``minExecutors``, the budget holds: the minima are divided fairly, and everybody
who gets less than its minimum is told. Executors that exist already are not drained below the minimum for it.

The state between two divisions is a value, `BudgetState`; time is an argument.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from spark_allocation.core.fair_division import Claim, ClaimKey, divide, total

RECLAIM_AFTER_MS = 30_000

_KINDS = 3


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
        """In the order of `Demand.cost`."""
        return self.executors, self.milli_cores, self.memory_mib


@dataclass(frozen=True, slots=True)
class Demand:
    """What one profile of one application needs and has.

    Attributes:
        wanted: executors that it would have without the budget.
        minimum: its ``minExecutors``.
        running: executors that run and are to stay.
        pending: pods that exist and do not run yet.
        leaving: executors that drain.
        milli_cores: of one executor pod.
        memory_mib: of one executor pod.
        weight: of the application, above 0.
        waiting_since_ms: since when it has waited for its first executor.
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

    @property
    def key(self) -> ClaimKey:
        """Whose demand it is."""
        return self.application, self.profile

    @property
    def cost(self) -> tuple[int, ...]:
        """Of one executor: executors, thousandths of cores, MiB."""
        return 1, self.milli_cores, self.memory_mib

    @property
    def held(self) -> int:
        """Executors that exist and are to stay."""
        return self.running + self.pending


@dataclass(frozen=True, slots=True)
class Grant:
    """What a profile may have.

    Attributes:
        granted: executors, counting those it has.
        keeps: executors that are not drained for the budget's sake: as many of its minimum as it has.
        pending: pods that may be pending at once; None for no cap.
        reason: such as "wanted 40, budget team-a left 12 → 12".
    """

    granted: int
    keeps: int
    pending: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What one division leaves for the next: since when others have wanted what a profile holds, in milliseconds."""

    pressed_since_ms: Mapping[ClaimKey, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BudgetDivision:
    """One division.

    Attributes:
        below_minima: the budget does not suffice for all minima.
        again_at_ms: when to divide again though nothing changes: something held can be taken back then.
    """

    grants: Mapping[ClaimKey, Grant]
    state: BudgetState
    below_minima: bool = False
    again_at_ms: int | None = None


def divide_budget(
    budget: Budget, demands: Iterable[Demand], state: BudgetState, *, now_ms: int
) -> BudgetDivision:
    """Divide a budget.

    Args:
        demands: one for each application and profile.
        state: of the last division.
        now_ms: milliseconds of any steady clock.
    """
    ordered = sorted(demands, key=lambda demand: demand.key)
    claims = [_claim(demand) for demand in ordered]
    capacities = budget.capacities
    fair = divide(capacities, claims)
    pressed = {
        demand.key: state.pressed_since_ms.get(demand.key, now_ms)
        for demand in ordered
        if fair[demand.key] < min(demand.held, max(demand.wanted, demand.minimum))
    }
    spared = {key for key, since in pressed.items() if now_ms - since < RECLAIM_AFTER_MS}
    entitled = fair
    if spared:
        entitled = divide(
            capacities,
            [
                replace(claim, kept=min(claim.held, claim.wanted)) if claim.key in spared else claim
                for claim in claims
            ],
        )
    granted = _without_what_is_still_there(capacities, ordered, claims, entitled)
    pending = _pending(budget, ordered, granted)
    minima = {claim.key: claim.floor for claim in claims}
    below = not _fits(capacities, total(claims, minima, _KINDS))
    grants = {
        demand.key: Grant(
            granted=granted[demand.key],
            keeps=min(demand.held, demand.minimum),
            pending=pending.get(demand.key),
            reason=_reason(
                budget,
                demand,
                entitled[demand.key],
                granted[demand.key],
                spared_for_ms=RECLAIM_AFTER_MS - (now_ms - pressed[demand.key])
                if demand.key in spared
                else None,
            ),
        )
        for demand in ordered
    }
    again = min((pressed[key] + RECLAIM_AFTER_MS for key in spared), default=None)
    return BudgetDivision(grants, BudgetState(pressed), below, again)


def _claim(demand: Demand) -> Claim:
    return Claim(
        application=demand.application,
        profile=demand.profile,
        wanted=max(demand.wanted, demand.minimum),
        cost=demand.cost,
        floor=demand.minimum,
        held=demand.held,
        weight=demand.weight,
        waiting_since=demand.waiting_since_ms,
    )


def _without_what_is_still_there(
    capacities: Sequence[int | None],
    demands: Sequence[Demand],
    claims: Sequence[Claim],
    entitled: Mapping[ClaimKey, int],
) -> dict[ClaimKey, int]:
    """What can be granted while executors that are to go are still there."""
    there = {demand.key: demand.held + demand.leaving for demand in demands}
    wished = {
        demand.key: max(entitled[demand.key], demand.held) + demand.leaving for demand in demands
    }
    if _fits(capacities, total(claims, wished, _KINDS)):
        return dict(entitled)
    occupied = total(claims, there, _KINDS)
    room = [
        None if capacity is None else max(capacity, used)
        for capacity, used in zip(capacities, occupied, strict=True)
    ]
    reached = divide(
        room,
        [
            replace(claim, wanted=wished[claim.key], floor=there[claim.key], kept=0)
            for claim in claims
        ],
    )
    leaving = {demand.key: demand.leaving for demand in demands}
    return {key: min(count, max(0, reached[key] - leaving[key])) for key, count in entitled.items()}


def _pending(
    budget: Budget, demands: Sequence[Demand], granted: Mapping[ClaimKey, int]
) -> dict[ClaimKey, int]:
    if budget.pending_pods is None:
        return {}
    return divide(
        (budget.pending_pods,),
        [
            Claim(
                application=demand.application,
                profile=demand.profile,
                wanted=max(0, granted[demand.key] - demand.running),
                cost=(1,),
                held=demand.pending,
                weight=demand.weight,
                waiting_since=demand.waiting_since_ms,
            )
            for demand in demands
        ],
    )


def _fits(capacities: Sequence[int | None], used: Sequence[int]) -> bool:
    return all(
        capacity is None or each <= capacity
        for capacity, each in zip(capacities, used, strict=True)
    )


def _reason(
    budget: Budget, demand: Demand, entitled: int, granted: int, *, spared_for_ms: int | None
) -> str:
    wanted = max(demand.wanted, demand.minimum)
    said = f"wanted {wanted}"
    if spared_for_ms is not None:
        seconds = -(-spared_for_ms // 1000)
        said += f", others want some of its {demand.held}: they are taken back in {seconds} s at the soonest"
    if granted < demand.minimum:
        return f"{said}, budget {budget.name} is below the sum of all minExecutors → {granted} of {demand.minimum}"
    if granted < entitled:
        return f"{said}, budget {budget.name} left {entitled}, {entitled - granted} of them still taken → {granted}"
    if granted < wanted:
        return f"{said}, budget {budget.name} left {granted} → {granted}"
    return f"{said} → {granted}"
