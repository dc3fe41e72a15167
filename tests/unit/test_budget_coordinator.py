"""Several applications under one budget: divided fairly, handed out in time, and never more than there is."""

import asyncio
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.unit.budget_world import BudgetedApplication, BudgetWorld

from spark_allocation.controller import budget_coordinator
from spark_allocation.core.budgets import RECLAIM_AFTER_MS
from spark_allocation.core.executor_pods import PodState

TEAM = {"name": "team", "executors": 12}
RECLAIM_SECONDS = RECLAIM_AFTER_MS // 1000


def given_holders(world: BudgetWorld, **counts: int) -> list[BudgetedApplication]:
    """Applications that have so many executors, and so many tasks."""
    made = []
    for name, count in counts.items():
        each = world.application(name, tasks=count)
        for _ in range(count):
            each.life.create()
        each.show()
        made.append(each)
    return made


def test_three_applications_share_fairly_and_grow_when_one_ends() -> None:
    world = BudgetWorld(TEAM)
    first, second, third = (world.application(name, tasks=40) for name in "abc")
    world.settle()
    assert [each.there for each in (first, second, third)] == [4, 4, 4]
    assert first.last is not None
    assert first.last.profiles[0].grant_reason == "wanted 40, budget team left 4 → 4"
    # when one ends, the others have its part
    world.end("b")
    world.settle(3)
    assert [first.there, third.there] == [6, 6]
    (budget,) = world.coordinator.figures
    assert (budget.granted, budget.applications, budget.short) == (12, 2, 2)
    used = budget.used
    assert (used["executors"], used["cores"], used["memory_bytes"]) == (12, 12.0, 12 << 30)


def test_what_one_does_not_want_the_others_have() -> None:
    world = BudgetWorld(TEAM)
    modest, hungry = world.application("a", tasks=2), world.application("b", tasks=40)
    world.settle()
    assert [modest.there, hungry.there] == [2, 10]


def test_a_greater_weight_gets_a_greater_share() -> None:
    heavy = {"driverLabels": {"app": "a"}, "weight": 3}
    world = BudgetWorld({**TEAM, "weights": [heavy]})
    first, second = world.application("a", tasks=40), world.application("b", tasks=40)
    world.settle()
    assert [first.there, second.there] == [9, 3]


def test_a_lowered_budget_drains_down_to_the_minima_and_no_further() -> None:
    world = BudgetWorld(TEAM)
    first, second = world.application("a", tasks=40, minimum=2), world.application("b", tasks=40, minimum=2)  # fmt: skip
    world.settle()
    assert world.there == 12
    world.budget({"name": "team", "executors": 3})
    world.settle(4)
    for each in (first, second):
        each.drained()
    world.settle(4)
    assert [first.there, second.there] == [2, 2]
    assert world.coordinator.figures[0].below_minima
    # and raised again it is used again
    world.budget({"name": "team", "executors": 8})
    world.settle(4)
    assert world.there == 8


def test_a_budget_that_appears_acts_on_who_runs_already_and_one_that_goes_sets_free() -> None:
    world = BudgetWorld()
    free = world.application("a", tasks=20)
    world.settle()
    assert (free.there, free.member.grants) == (20, None)
    world.budget(TEAM)
    world.coordinator.divide()
    assert free.member.grants == {}
    world.settle(3)
    free.drained()
    assert free.there == 12
    world.budget()
    world.coordinator.divide()
    assert free.member.grants is None
    world.settle(3)
    assert free.there == 20


def test_nobody_gets_more_until_all_have_told_what_they_are_making() -> None:
    """Two are free and one of them is just making pods when a budget covers them."""
    world = BudgetWorld()
    busy, other = world.application("a", tasks=20), world.application("b", tasks=20)
    world.round()
    making = [busy.decide() for _ in range(1)]
    world.budget(TEAM)
    world.coordinator.divide()
    for _ in range(3):
        other.turn()
        world.coordinator.divide()
    before = other.there
    for step in making:
        busy.carry_out(step)
    assert world.there <= max(12, busy.there + before)
    world.settle()
    assert world.there <= max(12, busy.there)


def test_a_restart_gives_nobody_what_another_has() -> None:
    world = BudgetWorld(TEAM)
    first, second = given_holders(world, a=6, b=6)
    world.settle(2)
    world.restart()
    # when the first that is served again wants more before anybody else has told
    first.tasks = 40
    first.begin()
    for _ in range(6):
        world.later(1)
        first.turn()
        world.coordinator.divide()
    assert (first.there, second.there) == (6, 6)
    (budget,) = world.coordinator.figures
    assert (budget.used["executors"], budget.applications) == (12, 2)
    # then the other tells that it needs two alone, and what it can spare is divided once it has gone
    second.tasks = 2
    second.begin()
    world.settle(RECLAIM_SECONDS + 3)
    second.drained()
    world.settle(3)
    assert (first.there, second.there) == (10, 2)


def test_a_silent_driver_keeps_its_grant_and_gets_no_more() -> None:
    world = BudgetWorld(TEAM)
    silent, other = world.application("a", tasks=8), world.application("b")
    world.settle(8)
    silent.answers, silent.tasks, other.tasks = False, 40, 40
    world.settle(RECLAIM_SECONDS + 5)
    assert (silent.there, other.there) == (8, 4), "nothing is taken back from who cannot be asked"
    # an executor that it loses is replaced: its place is kept
    silent.life.lose(min(silent.pods))
    silent.show()
    world.settle(3)
    assert (silent.there, other.there) == (8, 4)
    # when it answers again it shares
    silent.answers = True
    world.settle(RECLAIM_SECONDS + 5)
    silent.drained()
    world.settle(3)
    assert (silent.there, other.there) == (6, 6)


def test_who_is_paused_keeps_its_executors_and_who_is_only_advised_has_its_own_counted() -> None:
    world = BudgetWorld(TEAM)
    paused, advised, hungry = given_holders(world, a=4, b=3, c=0)
    hungry.tasks = 40
    advised.operator_made = False
    advised.show()
    paused.acts = advised.acts = False
    world.settle(RECLAIM_SECONDS + 5)
    assert [each.there for each in (paused, advised, hungry)] == [4, 3, 5]
    # served again, it takes part again
    paused.acts = True
    paused.tasks = 40
    world.settle(RECLAIM_SECONDS + 5)
    for each in (paused, hungry):
        each.drained()
    world.settle(3)
    assert paused.there + hungry.there == 9
    assert abs(paused.there - hungry.there) == 1


def test_pods_of_a_driver_that_nobody_has_seen_count_and_nobody_is_drained_for_them() -> None:
    world = BudgetWorld({**TEAM, "selector": {"driverLabels": {"kind": "batch"}}})
    (known,) = given_holders(world, a=6)
    known.member.relabelled({"kind": "batch"})
    world.settle(2)
    (unknown,) = given_holders(world, z=10)
    world.coordinator.leave(unknown.member)
    del world.applications["z"]
    world.drivers.forget("drivers", unknown.key.driver_uid)
    world.later(60)
    known.tasks = 40
    world.settle(RECLAIM_SECONDS + 5)
    assert known.there == 6, "no more, and no fewer"
    # once its driver is seen, and is not of that kind, there is room
    world.application("z").acts = False
    world.settle(4)
    assert known.there == 12


def test_pods_that_were_being_made_when_a_life_ended_count_until_they_must_have_been_seen() -> None:
    world = BudgetWorld(TEAM)
    first, second = world.application("a", tasks=12), world.application("b")
    world.settle(2)
    step = first.decide()
    while not (step.plan and sum(each.count for each in step.plan.create)):
        world.coordinator.divide()
        world.later(1)
        step = first.decide()
    del world.applications["a"]
    world.coordinator.leave(first.member, in_order=False)
    second.tasks = 40
    world.settle(5)
    promised = sum(each.count for each in step.plan.create)
    first.carry_out(step)
    assert first.there == promised
    assert first.there + second.there <= 12
    world.settle(10)
    assert first.there + second.there == 12


def test_pending_pods_of_all_together_stay_below_their_limit() -> None:
    world = BudgetWorld({"name": "slow", "pendingPods": 5})
    first, second = world.application("a", tasks=40), world.application("b", tasks=40)
    for _ in range(8):
        world.later(1)
        for each in (first, second):
            each.carry_out(each.decide(), PodState.PENDING)
            world.coordinator.divide()
    assert sorted([first.there, second.there]) == [2, 3]
    assert first.last is not None
    assert "of budget slow →" in first.last.profiles[0].grant_reason


def test_only_those_whose_numbers_have_changed_are_woken() -> None:
    world = BudgetWorld(TEAM)
    first, second = world.application("a", tasks=6), world.application("b", tasks=6)
    world.settle()
    before = first.wakes, second.wakes
    world.settle(5)
    assert (first.wakes, second.wakes) == before


async def test_demands_that_come_in_a_burst_are_divided_once() -> None:
    world = BudgetWorld(TEAM)
    running = asyncio.create_task(world.coordinator.run())
    try:
        for name in "abcdefgh":
            world.application(name, tasks=3).decide()
        async with asyncio.timeout(30):
            while not all(each.member.grants for each in world.applications.values()):
                await asyncio.sleep(0.01)
        assert world.coordinator.divisions <= 2
    finally:
        running.cancel()


async def test_a_division_that_fails_leaves_everybody_as_they_were(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    world = BudgetWorld(TEAM)
    first = world.application("a", tasks=6)
    world.settle()
    before = first.member.grants
    asked = asyncio.Event()

    def fails(*_: object, **__: object) -> None:
        asked.set()
        raise ArithmeticError("nobody thought of that")

    monkeypatch.setattr(budget_coordinator, "divide_together", fails)
    running = asyncio.create_task(world.coordinator.run())
    try:
        first.tasks = 9
        world.later(1)
        first.decide()
        async with asyncio.timeout(30):
            await asked.wait()
        await asyncio.sleep(0)
        assert not running.done()
        assert first.member.grants == before
    finally:
        running.cancel()


class SharedBudget(RuleBasedStateMachine):
    """Applications that come, want, lose, pause, fall silent and end, in any order; the operator restarts in the middle."""

    @initialize(executors=st.integers(1, 14))
    def begin(self, executors: int) -> None:
        self.world = BudgetWorld({"name": "team", "executors": executors})
        self.limit = executors

    names = st.sampled_from("abcd")

    def some(self, data: st.DataObject) -> BudgetedApplication:
        return self.world.applications[data.draw(st.sampled_from(sorted(self.world.applications)))]

    @rule(name=names, minimum=st.integers(0, 3), tasks=st.integers(0, 15))
    def submit(self, name: str, minimum: int, tasks: int) -> None:
        if name not in self.world.applications:
            self.world.application(name, minimum=minimum, tasks=tasks)

    @precondition(lambda self: self.world.applications)
    @rule(data=st.data(), tasks=st.integers(0, 15))
    def want(self, data: st.DataObject, tasks: int) -> None:
        self.some(data).tasks = tasks

    @precondition(lambda self: self.world.applications)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.world.end(self.some(data).name)

    @precondition(lambda self: self.world.applications)
    @rule(data=st.data(), answers=st.booleans(), acts=st.booleans())
    def change_of_mood(self, data: st.DataObject, answers: bool, acts: bool) -> None:
        each = self.some(data)
        each.answers, each.acts = answers, acts

    @precondition(lambda self: self.world.there)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        each = self.some(data)
        if each.pods:
            each.life.lose(data.draw(st.sampled_from(sorted(each.pods))))

    @precondition(lambda self: self.world.there)
    @rule(data=st.data())
    def somebody_deletes_a_pod(self, data: st.DataObject) -> None:
        each = self.some(data)
        if each.pods:
            each.life.set(data.draw(st.sampled_from(sorted(each.pods))), deleting=True)
            each.show()

    @precondition(lambda self: self.world.applications)
    @rule(data=st.data(), pending=st.booleans(), seconds=st.sampled_from([0.1, 1, 5, 40]))
    def step(self, data: st.DataObject, pending: bool, seconds: float) -> None:
        """One application alone takes a step, on whatever grant it has."""
        self.world.later(seconds)
        each = self.some(data)
        before = self.world.there
        decided = each.decide()
        each.carry_out(decided, PodState.PENDING if pending else PodState.RUNNING)
        assert self.world.there <= max(self.limit, before)

    @rule()
    def divide(self) -> None:
        self.world.coordinator.divide()

    @precondition(lambda self: self.world.applications)
    @rule(data=st.data())
    def drained(self, data: st.DataObject) -> None:
        self.some(data).drained()

    @rule(executors=st.integers(1, 14))
    def another_budget(self, executors: int) -> None:
        self.world.budget({"name": "team", "executors": executors})
        self.world.coordinator.divide()
        self.limit = executors

    @rule()
    def restart(self) -> None:
        """Another process: no runner is there yet, then they begin one after the other, or wait."""
        self.world.restart()
        for each in self.world.applications.values():
            each.show()
            each.begin()

    def teardown(self) -> None:
        """In the end all are well: nothing moves any more, nothing that somebody wants lies idle."""
        if not hasattr(self, "world") or not self.world.applications:
            return
        for each in self.world.applications.values():
            each.answers = each.acts = True
            for executor_id, pod in list(each.pods.items()):
                each.pods[executor_id] = replace(pod, state=PodState.RUNNING)
        for _ in range(4):
            self.world.settle(RECLAIM_SECONDS)
            for each in self.world.applications.values():
                each.drained()
        self.world.settle(70)
        for each in self.world.applications.values():
            each.drained()
        self.world.settle(5)
        counts = {name: each.there for name, each in self.world.applications.items()}
        self.world.settle(40)
        assert {name: each.there for name, each in self.world.applications.items()} == counts, (
            "no flapping"
        )
        minima = sum(each.minimum for each in self.world.applications.values())
        assert self.world.there <= max(self.limit, minima)
        wanted = {n: max(e.tasks, e.minimum) for n, e in self.world.applications.items()}
        if self.world.there < self.limit:
            assert counts == wanted, "nothing lies idle that somebody wants"


SharedBudget.TestCase.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
TestSharedBudget = SharedBudget.TestCase
