"""Divides the budgets among everybody they cover, and hands the grants out.

    lives tell demands ─┐
    the pods that exist ┼─► division ─► grants ─► lives, woken where theirs has changed
    policies ───────────┘

It lives in the process of the runners, for a grant is worth something only if nobody can have been told otherwise: a life
reads its grants and tells what it asks for in one breath, and no other code runs in between. Hence the rules:

- *What exists counts*, whoever tells of it. Executors of a driver that nobody serves (not yet after a start, not any
  more, paused, only advised) are counted from the pods, and nobody drains them. So a start of the operator needs no
  order: a life that tells first gets only what the pods of all others leave.
- *Who has told nothing gets nothing more than it has.* A driver that is silent keeps its grant and what it has.
- *Pods that were just being made* when a life ended may not be seen yet: what it told beyond what was seen counts for
  `LINGER_MS` more, or for `LINGER_BROKEN_OFF_MS` when it was broken off in the middle. A life that was free so far and is
  covered from now on may be making pods: until it has told what it has, and for no longer than `UNTOLD_MS`, nobody gets
  more.
- *Nobody is drained for something that is not known.* Where labels select and a driver's are not known, its executors
  count, but nothing is taken back for them.

Demands come in bursts. After a division the next one waits for `SHORTEST_PAUSE_SECONDS`, and longer the longer the last
one took, so that it uses no more than a twentieth of a processor. A policy that has changed does not wait.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import structlog

from spark_allocation.api.policies import StoredBudget
from spark_allocation.controller.budget_demands import (
    BudgetDemands,
    application_of,
    fixed_demands,
)
from spark_allocation.controller.budget_members import NOTHING_GRANTED, BudgetMember
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.controller.executor_holdings import ExecutorHoldings
from spark_allocation.controller.policy_directory import PolicyDirectory
from spark_allocation.core.budget_cap import Grants, ProfileDemand
from spark_allocation.core.budgets import BudgetState, Demand, Grant
from spark_allocation.core.budgets_together import CoveredBudget, divide_together
from spark_allocation.core.fair_division import ClaimKey
from spark_allocation.core.pod_size import PodSize
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.reports.budget_metrics import BudgetFigures, figures_after
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore

SHORTEST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
PAUSE_PER_SECOND_OF_WORK = 20.0
LINGER_MS = 2_000
LINGER_BROKEN_OFF_MS = 10_000
UNTOLD_MS = 5_000
RECOUNT_MS = 2_000
"""Nobody tells when executors end that nobody serves: so often they are counted while others wait for their places."""

log = structlog.get_logger("budgets")


@dataclass(frozen=True, slots=True)
class _Departed:
    """A life that has ended lately: it may have been making pods.

    Attributes:
        unseen: pods that it told of and that nobody had seen when it ended, by profile, with their size.
    """

    labels: Mapping[str, str]
    unseen: Mapping[ProfileId, tuple[int, PodSize]]
    until_ms: int


@dataclass(frozen=True, slots=True)
class _Coverage:
    """Which budgets cover somebody, by their places, with the weight in each."""

    labels: Mapping[str, str] | None
    weights: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Subject:
    """Somebody who has or wants executors.

    Attributes:
        labels: of the driver; None when they are not known.
    """

    key: DriverKey
    labels: Mapping[str, str] | None
    demands: Sequence[Demand]


class BudgetCoordinator:
    """Of one operator process."""

    def __init__(
        self,
        policies: PolicyDirectory,
        store: ExecutorPodsSnapshotsStore,
        drivers: DriverDirectory,
        *,
        now_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._policies = policies
        self._drivers = drivers
        self._now_ms = now_ms
        self._holdings = ExecutorHoldings(store)
        self._members: dict[DriverKey, BudgetMember] = {}
        self._departed: dict[DriverKey, _Departed] = {}
        self._states: dict[str, BudgetState] = {}
        self._budgets: tuple[StoredBudget, ...] = ()
        self._budgets_changed = True
        self._coverages: dict[DriverKey, _Coverage] = {}
        self._demands = BudgetDemands()
        self._urgent = asyncio.Event()
        self._news = asyncio.Event()
        self._again_at_ms: int | None = None
        self._pause_seconds = SHORTEST_PAUSE_SECONDS
        self.figures: tuple[BudgetFigures, ...] = ()
        """Of each budget, as it was after the last division."""
        self.divisions = 0
        """How often the budgets were divided."""
        self.seconds_spent = 0.0
        """Processor time that this took."""

    # -- members -----------------------------------------------------------------------------------------------------

    def join(
        self,
        name: str,
        key: DriverKey,
        labels: Mapping[str, str],
        *,
        wake: Callable[[], None],
        next_size: Callable[[ProfileId], PodSize],
    ) -> BudgetMember:
        """A life of a driver is served from now on.

        Args:
            name: of its SparkAllocation, for people.
            key: of its driver.
            labels: of its driver pod.
            wake: called when its grants have changed.
            next_size: of the pod that would be made next for a profile.
        """
        member = BudgetMember(name, key, labels, wake, next_size, self._news.set)
        self._departed.pop(key, None)
        self._members[key] = member
        self._read_policies()
        if self._coverage(key, labels).weights:
            member.grants = NOTHING_GRANTED
        self._news.set()
        return member

    @contextlib.contextmanager
    def membership(
        self,
        name: str,
        key: DriverKey,
        labels: Mapping[str, str],
        *,
        wake: Callable[[], None],
        next_size: Callable[[ProfileId], PodSize],
    ) -> Iterator[BudgetMember]:
        """See `join`; it leaves at the end."""
        member = self.join(name, key, labels, wake=wake, next_size=next_size)
        in_order = False
        try:
            yield member
            in_order = True
        finally:
            self.leave(member, in_order=in_order)

    def leave(self, member: BudgetMember, *, in_order: bool = True) -> None:
        """The life is not served any longer.

        Args:
            member: as it joined.
            in_order: what it had begun to do is done.
        """
        if self._members.get(member.key) is not member:
            return
        del self._members[member.key]
        self._holdings.refresh()
        seen = self._holdings.of(member.key, whoever_made_them=False)
        unseen: dict[ProfileId, tuple[int, PodSize]] = {}
        for told in member.demands or ():
            count = told.running + told.pending + told.leaving
            if told.profile_id in seen:
                count -= seen[told.profile_id].count
            if count > 0:
                unseen[told.profile_id] = (count, member.size(told))
        if unseen:
            linger_ms = LINGER_MS if in_order else LINGER_BROKEN_OFF_MS
            until_ms = self._now_ms() + linger_ms
            self._departed[member.key] = _Departed(member.labels, unseen, until_ms)
        self._news.set()

    # -- when --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Divide whenever there is news, until cancelled."""
        with self._policies.subscription(self.policies_changed):
            while True:
                await self._until_needed()
                self._news.clear()
                self._urgent.clear()
                began = time.thread_time()
                try:
                    self.divide()
                except Exception:
                    # everybody keeps the grant it has; without this, nobody would be served
                    log.exception("budgets_not_divided")
                    self._again_at_ms = self._now_ms() + RECOUNT_MS
                took = time.thread_time() - began
                self.seconds_spent += took
                self._pause_seconds = min(
                    LONGEST_PAUSE_SECONDS,
                    max(SHORTEST_PAUSE_SECONDS, PAUSE_PER_SECOND_OF_WORK * took),
                )
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_seconds):
                        await self._urgent.wait()

    async def _until_needed(self) -> None:
        pause = None
        if self._again_at_ms is not None:
            pause = max(0.0, (self._again_at_ms - self._now_ms()) / 1000)
        try:
            async with asyncio.timeout(pause):
                await self._news.wait()
        except TimeoutError:
            pass  # something that is held can be taken back now

    def policies_changed(self) -> None:
        """There may be other budgets: they are divided at once."""
        self._budgets_changed = True
        self._urgent.set()
        self._news.set()

    # -- dividing ----------------------------------------------------------------------------------------------------

    def divide(self) -> None:
        """Divide now."""
        self._read_policies()
        if not self._budgets:
            self._without_budgets()
            return
        now_ms = self._now_ms()
        self.divisions += 1
        self._departed = {
            key: gone for key, gone in self._departed.items() if now_ms < gone.until_ms
        }
        self._holdings.refresh()
        covered_now = self._note_who_is_covered(now_ms)
        subjects = self._subjects(now_ms)
        if len(self._coverages) > 2 * len(subjects) + 64:
            self._coverages.clear()  # of drivers that are gone
        self._demands.forget_gone(len(self._members))
        covered, unsure = self._covered(subjects)
        division = divide_together(covered, now_ms=now_ms)
        self._states = {key: each.state for key, each in division.divisions.items()}
        frozen = any(
            member.untold_since_ms is not None and now_ms - member.untold_since_ms < UNTOLD_MS
            for member in self._members.values()
        )
        self._hand_out(division.grants, covered_now, unsure, frozen=frozen)
        self.figures = tuple(
            figures_after(budget, each.demands, division.divisions[each.key])
            for budget, each in zip(self._budgets, covered, strict=True)
        )
        uncounted = any(demand.fixed for each in covered for demand in each.demands)
        waited_for = uncounted and any(each.short for each in self.figures)
        moments = [
            *([now_ms + RECOUNT_MS] if waited_for else []),
            *(gone.until_ms for gone in self._departed.values()),
            *([now_ms + UNTOLD_MS] if frozen else []),
            *([division.again_at_ms] if division.again_at_ms is not None else []),
        ]
        self._again_at_ms = min(moments, default=None)

    def _read_policies(self) -> None:
        if self._budgets_changed:
            self._budgets_changed = False
            found = [budget for policy in self._policies.all() for budget in policy.budgets]
            self._budgets = tuple(sorted(found, key=lambda budget: budget.key))
            self._coverages.clear()

    def _coverage(self, key: DriverKey, labels: Mapping[str, str] | None) -> _Coverage:
        known = self._coverages.get(key)
        if known is None or known.labels != labels:
            weights = tuple(
                (place, budget.weight(key.namespace, labels))
                for place, budget in enumerate(self._budgets)
                if budget.covers(key.namespace, labels)
            )
            known = self._coverages[key] = _Coverage(labels, weights)
        return known

    def _without_budgets(self) -> None:
        self.figures = ()
        self._states = {}
        self._departed.clear()
        self._demands.nobody_waits()
        self._again_at_ms = None
        for member in self._members.values():
            member.untold_since_ms = None
            if member.grants is not None:
                member.grants = None
                member.wake()

    def _note_who_is_covered(self, now_ms: int) -> list[BudgetMember]:
        """All members that some budget covers; who is so for the first time is asked what it has."""
        found: list[BudgetMember] = []
        for member in self._members.values():
            if self._coverage(member.key, member.labels).weights:
                found.append(member)
                if member.grants is None:
                    member.grants = NOTHING_GRANTED
                    member.demands = None
                    member.untold_since_ms = now_ms if member.acts else None
                    member.wake()
            elif member.grants is not None:
                member.grants = None
                member.untold_since_ms = None
                member.wake()
        return found

    def _subjects(self, now_ms: int) -> list[_Subject]:
        found: list[_Subject] = []
        for key, member in self._members.items():
            if member.demands is None:
                holdings = self._holdings.of(key, whoever_made_them=not member.acts)
                found.append(_Subject(key, member.labels, fixed_demands(key, holdings)))
            else:
                holdings = self._holdings.of(key, whoever_made_them=False)
                demands = self._demands.told(member, holdings, now_ms)
                found.append(_Subject(key, member.labels, demands))
        for key, gone in self._departed.items():
            holdings = self._holdings.of(key, whoever_made_them=False)
            found.append(_Subject(key, gone.labels, fixed_demands(key, holdings, gone.unseen)))
        for key, holdings in self._holdings.of_operator():
            if key not in self._members and key not in self._departed:
                driver = self._drivers.by_uid(key.driver_uid)
                labels = None if driver is None else driver.labels
                found.append(_Subject(key, labels, fixed_demands(key, holdings)))
        return found

    def _covered(self, subjects: Iterable[_Subject]) -> tuple[list[CoveredBudget], set[int]]:
        """What each budget covers, in their order, and the places of those of which that is not certain."""
        demands: list[list[Demand]] = [[] for _ in self._budgets]
        unsure: set[int] = set()
        for subject in subjects:
            if not subject.demands:
                continue
            for place, weight in self._coverage(subject.key, subject.labels).weights:
                if subject.labels is None and self._budgets[place].looks_at_labels:
                    unsure.add(place)
                demands[place] += (
                    subject.demands
                    if weight == 1
                    else [replace(demand, weight=weight) for demand in subject.demands]
                )
        covered = [
            CoveredBudget(
                budget.key, budget.budget, own, self._states.get(budget.key) or BudgetState()
            )
            for budget, own in zip(self._budgets, demands, strict=True)
        ]
        return covered, unsure

    def _hand_out(
        self,
        grants: Mapping[ClaimKey, Grant],
        members: Iterable[BudgetMember],
        unsure: AbstractSet[int],
        *,
        frozen: bool,
    ) -> None:
        for member in members:
            application = application_of(member.key)
            uncertain = bool(unsure) and any(
                place in unsure for place, _ in self._coverage(member.key, member.labels).weights
            )
            own: dict[ProfileId, Grant] = {}
            for demand in member.demands or ():
                grant = grants[application, demand.profile_id]
                if uncertain and grant.stays is not None:
                    grant = grant._replace(stays=None)
                if frozen:
                    grant = _no_more_than_there_is(grant, demand)
                own[demand.profile_id] = grant
            if _differ(own, member.grants):
                member.grants = own
                member.wake()
            else:
                member.grants = own  # the words may be others


def _no_more_than_there_is(grant: Grant, demand: ProfileDemand) -> Grant:
    held = demand.running + demand.pending
    if grant.granted <= held:
        return grant
    return grant._replace(granted=held, ceiling=held + demand.leaving)


def _differ(grants: Grants, before: Grants | None) -> bool:
    return (
        before is None
        or grants.keys() != before.keys()
        or any(grant.numbers != before[profile_id].numbers for profile_id, grant in grants.items())
    )
