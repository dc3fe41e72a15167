"""Executors that hand on what they hold, under any order of events: nothing that is held goes with the last one.

What becomes of shuffle data is played as Spark plays it: it moves from an executor that leaves to peers that stay, and is
lost where there are none. The operator sees polls, pods and answers to its deletions, which may be lost.
"""

from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit import served_driver
from tests.unit.served_driver import ServedDriver, executor, report, stage

from spark_allocation.core.executor_pods import PodState
from spark_allocation.core.shuffle_holders import ShuffleHoldConf

MOST = 4
MIGRATION = ShuffleHoldConf(hands_over=True, migrates=True)
ANY = st.integers(0, 7)
OUTCOMES = st.lists(st.sampled_from(["done", "done", "refused", "done, unheard"]), min_size=4)
"""What becomes of deletions."""


@dataclass
class Truth:
    """What is so of an executor, whoever knows of it."""

    active: int = 0
    total: int = 0
    written: int = 0
    holds: set[int] = field(default_factory=set)
    leaves: bool = False
    heard_while_leaving: set[int] = field(default_factory=set)


class HandedOn(RuleBasedStateMachine):
    """One application with migration, whose executors may go after a second without a task."""

    @initialize(executors=st.integers(2, MOST), holders=st.integers(0, 2))
    def begin(self, executors: int, holders: int) -> None:
        self.life = ServedDriver(self._settings(MOST))
        self.truth: dict[int, Truth] = {}
        self.dead: dict[int, Truth] = {}
        self.outputs = 0
        self.lost: list[str] = []
        self.most = MOST
        self.unclear: set[int] = set()
        for _ in range(executors):
            self.truth[self.life.create()] = Truth()
        for each in sorted(self.truth)[:holders]:
            self._ends(each, writes=True)

    def _settings(self, most: int) -> served_driver.AllocationSettings:
        return served_driver.settings(
            executor_idle_timeout_s=1, max_executors=most, shuffle=MIGRATION
        )

    def _one(self, number: int, *, staying: bool) -> int | None:
        found = [each for each, so in sorted(self.truth.items()) if so.leaves is not staying]
        return found[number % len(found)] if found else None

    # -- the application ---------------------------------------------------------------------------------------------

    @rule(number=ANY)
    def a_task_begins(self, number: int) -> None:
        chosen = self._one(number, staying=True)
        if chosen is not None:
            self.truth[chosen].active = 1

    @rule(number=ANY, writes=st.booleans())
    def a_task_ends(self, number: int, writes: bool) -> None:
        busy = [each for each, so in sorted(self.truth.items()) if so.active]
        if busy:
            self._ends(busy[number % len(busy)], writes=writes)

    def _ends(self, chosen: int, *, writes: bool) -> None:
        so = self.truth[chosen]
        so.active, so.total = 0, so.total + 1
        if writes:
            so.written += 100
            self.outputs += 1
            so.holds.add(self.outputs)

    # -- the operator ------------------------------------------------------------------------------------------------

    @rule(polls=st.integers(1, 4), seconds=st.sampled_from([1, 2, 15]), outcomes=OUTCOMES)
    def some_time_passes(self, polls: int, seconds: int, outcomes: list[str]) -> None:
        for _ in range(polls):
            self._poll_and_decide(seconds, outcomes)

    def _poll_and_decide(self, seconds: int, outcomes: list[str]) -> None:
        working = [so for so in self.truth.values() if so.active]
        running = (stage(tasks=99, done=1, active=len(working), shuffle=100),) if working else ()
        self.life.later(seconds)
        self.life.says(
            report(
                *running,
                gauge=len(working),
                executors=tuple(
                    executor(each, active=so.active, total=so.total, shuffle=so.written)
                    for each, so in sorted(self.truth.items())
                ),
                dead=tuple(
                    executor(each, total=so.total, shuffle=so.written, alive=False)
                    for each, so in sorted(self.dead.items())
                ),
            )
        )
        for so in self.truth.values():
            if so.leaves:
                so.heard_while_leaving |= self.truth.keys()
        step = self.life.step()
        for pod, outcome in zip(
            (*step.drains, *step.above_maximum), [*outcomes, *["done"] * 9], strict=False
        ):
            if outcome == "refused":
                self.life.allocation.drain_not_begun(pod.executor_id)
                continue
            self.truth[pod.executor_id].leaves = True
            if outcome == "done":
                self.life.set(pod.executor_id, deleting=True)
            else:
                # it counts as leaving until somebody has looked
                self.unclear.add(pod.executor_id)
        for request in step.plan.create if step.plan is not None else ():
            for _ in range(request.count):
                self.truth[self.life.create(request.profile_id)] = Truth()
        for excess in step.plan.withdraw if step.plan is not None else ():
            for each in excess.executor_ids:
                self.life.lose(each)

    @rule()
    def the_watch_tells(self) -> None:
        for each in self.unclear & self.life.pods.keys():
            self.life.set(each, deleting=True)
        self.unclear.clear()

    @rule(most=st.integers(1, MOST))
    def the_maximum_is_another(self, most: int) -> None:
        self.most = most
        self.life.allocation.reconfigure(self._settings(most), self.life.now_ns)

    @rule()
    def the_operator_starts_anew(self) -> None:
        self.the_watch_tells()
        before = self.life
        self.life = ServedDriver(
            self._settings(self.most), targets=dict(before.allocation.manager.targets)
        )
        self.life.now_ns, self.life.pods, self.life.ids = before.now_ns, before.pods, before.ids

    # -- Spark -------------------------------------------------------------------------------------------------------

    @rule(number=ANY, peer=ANY)
    def one_has_handed_on_what_it_holds(self, number: int, peer: int) -> None:
        chosen = self._one(number, staying=False)
        if chosen is None:
            return
        if self.truth[chosen].active:
            self._ends(chosen, writes=True)
        if not self.truth[chosen].heard_while_leaving:
            self._poll_and_decide(1, [])
        so = self.truth.pop(chosen)
        peers = [
            each
            for each, other in sorted(self.truth.items())
            if not other.leaves and each in so.heard_while_leaving
        ]
        if peers:
            self.truth[peers[peer % len(peers)]].holds |= so.holds
        elif so.holds:
            self.lost.append(f"{so.holds} went with executor {chosen}")
        self.dead[chosen] = replace(so, holds=set())
        self.unclear.discard(chosen)
        self.life.lose(chosen)

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "lost"):
            assert self.lost == []

    @invariant()
    def somebody_stays_for_those_that_hand_on(self) -> None:
        if hasattr(self, "truth") and any(so.leaves and so.holds for so in self.truth.values()):
            assert any(not so.leaves for so in self.truth.values())

    @invariant()
    def pods_and_truth_agree(self) -> None:
        if hasattr(self, "truth"):
            assert self.truth.keys() == self.life.pods.keys()
            assert all(pod.state is PodState.RUNNING for pod in self.life.pods.values())


HandedOn.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHandedOn = HandedOn.TestCase
