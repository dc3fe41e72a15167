"""Budgets over time: nothing granted twice, nothing taken back for a moment's need, and a sentence for each grant."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from spark_allocation.core.budgets import (
    RECLAIM_AFTER_MS,
    Budget,
    BudgetState,
    Demand,
    divide_budget,
)
from spark_allocation.core.fair_division import ClaimKey

TEAM = Budget("team-a", executors=20)
FRESH = BudgetState()


def grants(budget: Budget, *demands: Demand, state: BudgetState = FRESH, now_ms: int = 0):
    return divide_budget(budget, demands, state, now_ms=now_ms)


def test_each_grant_says_why() -> None:
    found = grants(TEAM, Demand("a", 0, wanted=40), Demand("b", 0, wanted=8))
    assert found.grants["a", 0].granted == 12
    assert found.grants["a", 0].reason == "wanted 40, budget team-a left 12 → 12"
    assert found.grants["b", 0].reason == "wanted 8 → 8"


def test_cores_and_memory_are_capped_too() -> None:
    small = Demand("a", 0, wanted=9, milli_cores=2000, memory_mib=2048)
    assert grants(Budget("b", milli_cores=5000), small).grants["a", 0].granted == 2
    assert grants(Budget("b", memory_mib=6144), small).grants["a", 0].granted == 3


def test_what_is_held_is_taken_back_only_when_others_have_wanted_it_for_long() -> None:
    holder = Demand("a", 0, wanted=20, running=20)
    newcomer = Demand("b", 0, wanted=20)
    first = grants(TEAM, holder, newcomer)
    assert (first.grants["a", 0].granted, first.grants["b", 0].granted) == (20, 0)
    assert first.again_at_ms == RECLAIM_AFTER_MS
    assert "taken back in 30 s" in first.grants["a", 0].reason
    gone = grants(TEAM, holder, state=first.state, now_ms=20_000)
    back = grants(TEAM, holder, newcomer, state=gone.state, now_ms=25_000)
    assert back.again_at_ms == 25_000 + RECLAIM_AFTER_MS, "the need had a break"
    taken = grants(TEAM, holder, newcomer, state=back.state, now_ms=25_000 + RECLAIM_AFTER_MS)
    assert taken.grants["a", 0].granted == 10
    assert taken.grants["b", 0].granted == 0, "its executors are still another's"
    assert "budget team-a left 10, 10 of them still taken → 0" in taken.grants["b", 0].reason
    drained = replace(holder, running=10, leaving=4)
    later = grants(TEAM, drained, newcomer, state=taken.state, now_ms=60_000)
    assert (later.grants["a", 0].granted, later.grants["b", 0].granted) == (10, 6)


def test_a_need_that_comes_and_goes_moves_nothing() -> None:
    """No flapping: five seconds of need in every ten, for ten minutes."""
    holder = Demand("a", 0, wanted=20, running=20)
    state = FRESH
    for second in range(0, 600, 5):
        others = [Demand("b", 0, wanted=20)] if second % 10 else []
        found = grants(TEAM, holder, *others, state=state, now_ms=second * 1000)
        state = found.state
        assert found.grants["a", 0].granted == 20


def test_a_budget_below_all_minima_holds_and_drains_nobody_below_its_minimum() -> None:
    first = Demand("a", 0, wanted=15, minimum=15, running=15)
    second = Demand("b", 0, wanted=15, minimum=15)
    found = grants(TEAM, first, second, now_ms=0)
    assert found.below_minima
    assert sum(grant.granted for grant in found.grants.values()) <= 20
    assert found.grants["a", 0].stays is None
    assert "is below the sum of all minExecutors" in found.grants["b", 0].reason


def test_pending_pods_are_divided_by_what_is_still_to_come() -> None:
    budget = Budget("team-a", pending_pods=6)
    waiting = Demand("a", 0, wanted=50, running=10)
    other = Demand("b", 0, wanted=2)
    found = grants(budget, waiting, other).grants
    assert (found["a", 0].granted, found["a", 0].pending) == (50, 4)
    assert (found["b", 0].granted, found["b", 0].pending) == (2, 2)


def test_the_longest_waiting_gets_what_comes_free() -> None:
    budget = Budget("two", executors=2)
    at_work = [Demand(name, 0, wanted=1, running=1) for name in "yz"]
    late = Demand("a", 0, wanted=1, waiting_since_ms=900)
    early = Demand("b", 0, wanted=1, waiting_since_ms=100)
    assert grants(budget, *at_work, late, early).grants["a", 0].granted == 0
    freed = grants(budget, at_work[0], late, early).grants
    assert (freed["a", 0].granted, freed["b", 0].granted) == (0, 1)


def test_what_nobody_needs_is_taken_back_once_others_have_been_short_of_it_for_long() -> None:
    """Idle executors that have not timed out, or never would: here twelve of twenty."""
    notebook = Demand("a", 0, wanted=2, running=14)
    newcomer = Demand("b", 0, wanted=10)
    first = grants(TEAM, notebook, newcomer)
    assert (first.grants["a", 0].stays, first.grants["b", 0].granted) == (None, 6)
    assert first.again_at_ms == RECLAIM_AFTER_MS
    grown = replace(newcomer, running=6)
    later = grants(TEAM, notebook, grown, state=first.state, now_ms=RECLAIM_AFTER_MS)
    assert later.grants["a", 0].stays == 10, "only as many as others lack"
    assert later.grants["b", 0].granted == 6, "not before they have gone"
    # and nobody is short of anything: nothing is taken back, however long
    alone = grants(TEAM, notebook, state=first.state, now_ms=10 * RECLAIM_AFTER_MS)
    assert alone.grants["a", 0].stays is None


def test_a_budget_lowered_below_what_exists_takes_idle_executors_first_and_leaves_the_minima() -> (
    None
):
    idle = Demand("a", 0, wanted=0, minimum=2, running=8)
    busy = Demand("b", 0, wanted=12, minimum=3, running=12)
    found = grants(Budget("team-a", executors=16), idle, busy).grants
    assert (found["a", 0].stays, found["b", 0].stays) == (4, None)
    found = grants(Budget("team-a", executors=9), idle, busy).grants
    assert (found["a", 0].stays, found["b", 0].stays) == (2, 7)
    found = grants(Budget("team-a", executors=1), idle, busy).grants
    assert (found["a", 0].stays, found["b", 0].stays) == (2, 3), "never below the minima"
    assert sum(each.granted for each in found.values()) <= 1


def test_what_cannot_be_drained_counts_and_the_others_share_what_it_leaves() -> None:
    paused = Demand("p", 0, wanted=0, running=12, fixed=True)
    first, second = Demand("a", 0, wanted=9, running=2), Demand("b", 0, wanted=9)
    found = grants(TEAM, paused, first, second, now_ms=0).grants
    assert (found["a", 0].granted, found["b", 0].granted) == (4, 4)
    assert found["p", 0].granted == 12
    lowered = grants(Budget("team-a", executors=5), paused, first, second).grants
    assert lowered["p", 0].stays is None
    assert (lowered["a", 0].granted, lowered["b", 0].granted) == (0, 0)


def test_larger_pods_to_come_cost_more_and_drain_nobody_who_fits_as_he_is() -> None:
    """Eight executors of one core each, and from now on they are made with two."""
    budget = Budget("team-a", milli_cores=10_000)
    mixed = Demand("a", 0, wanted=20, running=8, milli_cores=2000, smaller=(8000, 0))
    assert mixed.used == (8, 8000, 8 * 1024)
    found = grants(budget, mixed).grants["a", 0]
    assert (found.granted, found.stays) == (5, None), "none more is made, and none goes"
    # unless they do not even fit as they are
    lowered = grants(Budget("team-a", milli_cores=6_000), mixed).grants["a", 0]
    assert lowered.stays == 3


def test_no_more_pods_are_pending_than_the_budget_allows_whoever_had_them_first() -> None:
    budget = Budget("team-a", pending_pods=6)
    early = Demand("a", 0, wanted=50, pending=5)
    late = Demand("b", 0, wanted=50)
    found = grants(budget, early, late).grants
    assert (found["a", 0].pending, found["b", 0].pending) == (5, 1)
    # as those of the first begin to run, the other catches up
    found = grants(budget, replace(early, running=4, pending=1), late).grants
    assert (found["a", 0].pending, found["b", 0].pending) == (3, 3)


def test_what_nobody_needs_goes_when_the_budget_was_lowered_and_all_else_is_somebody_s_minimum() -> (
    None
):
    # given two executors that their minimum keeps, though it is more than their part, and one that nobody needs
    demands = [
        Demand("begins", 0, wanted=1, minimum=1),
        Demand("keeps", 0, wanted=2, minimum=2, running=2),
        Demand("idles", 0, wanted=0, running=1),
    ]
    found = divide_budget(Budget("b", executors=2), demands, BudgetState(), now_ms=0).grants
    assert {key[0]: grant.stays for key, grant in found.items()} == {
        "begins": None,
        "keeps": None,
        "idles": 0,
    }


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_executor_is_granted_once_at_most(data: st.DataObject) -> None:
    """What exists and what may be made stay within the budget together, or within what exists already."""
    numbers = st.integers(0, 6)
    demands = [
        Demand(name, 0, data.draw(st.integers(0, 12)), data.draw(st.integers(0, 2)), data.draw(numbers),
               data.draw(numbers), data.draw(numbers))
        for name in "abcd"
    ]  # fmt: skip
    budget = Budget("b", executors=data.draw(st.integers(0, 40)))
    now_ms = data.draw(st.sampled_from([0, RECLAIM_AFTER_MS]))
    state = BudgetState({demand.key: 0 for demand in demands})
    found = divide_budget(budget, demands, state, now_ms=now_ms).grants
    there = sum(demand.held + demand.leaving for demand in demands)
    made = sum(max(0, found[demand.key].granted - demand.held) for demand in demands)
    assert there + made <= max(budget.executors or 0, there)
    for demand in demands:
        grant = found[demand.key]
        assert there + max(0, grant.granted - demand.held) <= max(budget.executors or 0, there)
        if grant.stays is not None:
            assert min(demand.held, demand.minimum) <= grant.stays < demand.held
    # once everybody who is to go has gone, the budget holds, unless minima alone are more
    kept = sum(d.held if (s := found[d.key].stays) is None else s for d in demands)
    minima = sum(min(demand.held, demand.minimum) for demand in demands)
    assert kept <= max(budget.executors or 0, minima)


class BudgetOverTime(RuleBasedStateMachine):
    """Applications come, want and go; grants are carried out at once, drains take a while."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget("team-a", executors=12)
        self.demands: dict[ClaimKey, Demand] = {}
        self.state = FRESH
        self.now_ms = 0
        self.hungry_since: dict[ClaimKey, int] = {}

    @rule(name=st.sampled_from("abcdef"), wanted=st.integers(0, 15))
    def want(self, name: str, wanted: int) -> None:
        key = (name, 0)
        known = self.demands.get(key, Demand(name, 0, 0, waiting_since_ms=self.now_ms))
        self.demands[key] = replace(known, wanted=wanted)

    @precondition(lambda self: self.demands)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        del self.demands[data.draw(st.sampled_from(sorted(self.demands)))]

    @rule(seconds=st.integers(1, 40))
    def later(self, seconds: int) -> None:
        self.now_ms += seconds * 1000
        self.divide()
        for key, demand in list(self.demands.items()):
            grant = self.found.grants[key]
            running = demand.running
            if running > grant.granted:
                self.demands[key] = replace(
                    demand, running=grant.granted, leaving=demand.leaving + running - grant.granted
                )
            else:
                self.demands[key] = replace(demand, running=grant.granted)

    @rule()
    def drained(self) -> None:
        self.demands = {key: replace(each, leaving=0) for key, each in self.demands.items()}

    def divide(self) -> None:
        self.found = divide_budget(
            self.budget, self.demands.values(), self.state, now_ms=self.now_ms
        )
        self.state = self.found.state

    @invariant()
    def never_above_the_budget(self) -> None:
        assert sum(each.held + each.leaving for each in self.demands.values()) <= 12

    @invariant()
    def nobody_starves(self) -> None:
        """When nothing drains and every reclaim is due, whoever wants something has something, or all have at most one."""
        if not self.demands or any(each.leaving for each in self.demands.values()):
            return
        at_last = divide_budget(
            self.budget,
            self.demands.values(),
            BudgetState(dict.fromkeys(self.demands, self.now_ms - RECLAIM_AFTER_MS)),
            now_ms=self.now_ms,
        )
        settled = divide_budget(
            self.budget,
            [
                replace(each, running=min(each.running, at_last.grants[key].granted))
                for key, each in self.demands.items()
            ],
            FRESH,
            now_ms=self.now_ms,
        )
        for key, each in self.demands.items():
            if each.wanted:
                assert settled.grants[key].granted >= 1


BudgetOverTime.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestBudgetOverTime = BudgetOverTime.TestCase
