"""Whatever executors do, they are replaced a bounded number of times an hour.

Hours of a driver's life are simulated. Each executor has a fate: how long it lives, whether it registers and finishes a
task before it ends, and how it ends. docs/guarantees.md states the bound that is checked here.
"""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.served_driver import SECOND_NS, ServedDriver, executor, report, settings, stage

from spark_allocation.core.driver_report import ExecutorReport
from spark_allocation.core.executor_pods import ContainerEnd, ExecutorId, PodState
from spark_allocation.core.exit_reasons import FailureClass
from spark_allocation.core.failure_tracker import (
    PAUSE_ABOVE_LIMIT_MS,
    FailureLimit,
    FailureLimitConf,
)
from spark_allocation.core.resource_profiles import ProfileId

HOUR_S = 3_600
STEP_S = 5
SPARK = "spark-kubernetes-executor"


@dataclass(frozen=True)
class Fate:
    """How one executor's life goes.

    Attributes:
        seconds: from its creation to its end.
        end: exit code of its container, or None when somebody deletes the pod.
        works: the driver lists it, and it has finished a task, before it ends.
    """

    seconds: int
    end: int | None
    works: bool = False


fates = st.builds(
    Fate,
    st.sampled_from([0, 5, 10, 30, 60, 300]),
    st.sampled_from([None, 0, 1, 52, 137, 143]),
    st.booleans(),
)

CRASHES_AT_ONCE = Fate(0, 1)
ENDS_WELL_AT_ONCE = Fate(0, 0)
DELETED_AT_ONCE = Fate(0, None)
DIES_OF_ITS_SECOND_TASK = Fate(10, 52, works=True)


@dataclass
class Loop:
    """A driver that always wants the same number of executors, whose fates repeat."""

    driver: ServedDriver
    fates: list[Fate]
    wanted: int

    def __post_init__(self) -> None:
        self.ends_at: dict[int, float] = {}
        self.created_at: list[float] = []
        self.now = 0.0

    def fate(self, executor_id: int) -> Fate:
        return self.fates[executor_id % len(self.fates)]

    def run(self, seconds: int) -> None:
        while self.now < seconds:
            self.turn()

    def turn(self) -> None:
        self.now += STEP_S
        self.driver.later(STEP_S)
        self._bring_fates_about()
        self.driver.says(report(stage(tasks=self.wanted), executors=self._listed(), gauge=None))
        before = set(self.driver.pods)
        self.driver.carry_out(self.driver.step())
        for executor_id in set(self.driver.pods) - before:
            self.created_at.append(self.now)
            self.ends_at[executor_id] = self.now + self.fate(executor_id).seconds

    def _bring_fates_about(self) -> None:
        for executor_id in list(self.driver.pods):
            if self.driver.pods[executor_id].state is not PodState.RUNNING:
                continue
            if self.now >= self.ends_at[executor_id]:
                code = self.fate(executor_id).end
                if code is None:
                    self.driver.lose(executor_id)
                else:
                    state = PodState.FAILED if code else PodState.SUCCEEDED
                    self.driver.set(executor_id, state=state, ends=(ContainerEnd(SPARK, code),))

    def _listed(self) -> tuple[ExecutorReport, ...]:
        return tuple(
            executor(pod.executor_id, active=1, total=2)
            for pod in self.driver.pods.values()
            if pod.state is PodState.RUNNING and self.fate(pod.executor_id).works
        )

    def most_in_an_hour(self) -> int:
        return max(
            sum(1 for each in self.created_at if at <= each < at + HOUR_S) for at in self.created_at
        )


def loop(wanted: int, *repeating: Fate, max_executors: int | None = None) -> Loop:
    bounds = {"min_executors": wanted, "initial_executors": wanted}
    if max_executors is not None:
        bounds["max_executors"] = max_executors
    return Loop(ServedDriver(settings(**bounds)), list(repeating), wanted)


def bound(limit: int, wanted: int) -> int:
    return limit + 2 * wanted + HOUR_S * 1000 // PAUSE_ABOVE_LIMIT_MS


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.lists(fates, min_size=1, max_size=5))
def test_no_hour_sees_more_pods_than_the_bound(wanted: int, repeating: list[Fate]) -> None:
    life = loop(wanted, *repeating)
    life.run(2 * HOUR_S)
    assert life.most_in_an_hour() <= bound(max(3, 2 * wanted), wanted)


@pytest.mark.parametrize("fate", [DELETED_AT_ONCE, DIES_OF_ITS_SECOND_TASK])
def test_a_loop_that_no_back_off_sees_is_bounded_by_the_limit_alone(fate: Fate) -> None:
    """Each of these would be created anew every few seconds: some hundreds of pods an hour."""
    life = loop(4, fate)
    life.run(2 * HOUR_S)
    assert 60 <= life.most_in_an_hour() <= bound(8, 4)
    assert life.created_at[-1] > 2 * HOUR_S - 120, "and it is still tried"


@pytest.mark.parametrize("fate", [CRASHES_AT_ONCE, ENDS_WELL_AT_ONCE])
def test_executors_that_do_nothing_are_tried_a_few_times_an_hour(fate: Fate) -> None:
    life = loop(4, fate)
    life.run(3 * HOUR_S)
    first_hour = sum(1 for at in life.created_at if at < HOUR_S)
    last_hour = sum(1 for at in life.created_at if at >= 2 * HOUR_S)
    assert first_hour <= 4 + 4 + 10
    assert last_hour <= 6


def test_the_configured_limit_holds() -> None:
    driver = ServedDriver(
        replace(settings(min_executors=4, initial_executors=4), failures=FailureLimitConf(limit=20))
    )
    life = Loop(driver, [DELETED_AT_ONCE], 4)
    life.run(HOUR_S)
    assert 20 + 4 <= len(life.created_at) <= bound(20, 4)
    assert driver.step().failures.limit == 20


def test_when_the_window_has_passed_all_are_replaced_at_once_again() -> None:
    life = loop(4, DELETED_AT_ONCE)
    life.run(HOUR_S)
    assert life.driver.step().failures.reached
    life.fates = [Fate(10**9, 1, works=True)]
    for executor_id in life.driver.pods:
        life.ends_at[executor_id] = 1e12
    life.run(3 * HOUR_S)
    count = life.driver.step().failures
    assert (count.ended, count.reached) == (0, False)
    assert len(life.driver.pods) == 4
    created = len(life.created_at)
    for executor_id in list(life.driver.pods):
        life.driver.lose(executor_id)
    life.turn()
    assert len(life.created_at) == created + 4


def test_drained_executors_count_toward_nothing() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    for _ in range(12):
        running = driver.alive(active=1, total=1)
        driver.turn(report(stage(tasks=6, active=len(running)), executors=running, gauge=6))
    for _ in range(20):
        for executor_id in [pod.executor_id for pod in driver.pods.values() if pod.deleting]:
            driver.lose(executor_id)
        step = driver.turn(report(executors=driver.alive(total=1)))
    assert not driver.pods
    assert step.failures.ended == 0


def test_what_is_logged_is_what_is_asked_for() -> None:
    driver = ServedDriver(settings(min_executors=5, initial_executors=5))
    driver.later(1)
    for number in range(1, 4):
        driver.allocation.creation_refused(ExecutorId(number), FailureClass.CAPACITY, driver.now_ms)
    driver.says(report())
    driver.later(11)
    driver.says(report())
    step = driver.step()
    assert step.plan is not None
    (request,) = step.plan.create
    assert (request.count, request.held_back) == (1, 4)
    assert request.log_line.startswith("Going to request 1 executors from Kubernetes")
    assert request.log_line.endswith("4 more are held back because executors keep failing.")
    (profile,) = [each for each in step.profiles if each.profile_id == ProfileId(0)]
    assert profile.bound == "BackOff"


def test_what_is_said_of_the_next_attempt_does_not_change_while_nobody_is_wanted() -> None:
    """A sentence that changed with every look would be written with every look."""
    driver = ServedDriver(settings(min_executors=1, initial_executors=1))
    driver.says(report())
    for number in range(1, 4):
        driver.allocation.creation_refused(ExecutorId(number), FailureClass.CAPACITY, driver.now_ms)
    opened_at = driver.now_ms
    driver.allocation.reconfigure(settings(), driver.now_ns)
    said = set()
    for _ in range(30):
        driver.later(1)
        driver.says(report())
        said.add(driver.step(acts=False).retry_at_ms)
    assert said == {opened_at + 10_000}


def test_nobody_is_woken_for_an_attempt_that_nobody_wants() -> None:
    """Its time has come, and no executor is missing: each look would be followed by another at once."""
    driver = ServedDriver(settings())
    driver.says(report())
    for number in range(1, 4):
        driver.allocation.creation_refused(ExecutorId(number), FailureClass.CAPACITY, driver.now_ms)
    driver.later(11)
    driver.says(report())
    step = driver.step()
    assert step.held_back
    assert step.plan is not None
    assert not step.plan.create
    assert step.wake_at_ns is None or step.wake_at_ns >= driver.now_ns + SECOND_NS


class TestLimit:
    def test_without_a_limit_it_follows_the_most_executors_that_were_wanted(self) -> None:
        limit = FailureLimit(FailureLimitConf())
        assert limit.count(0).limit == 3
        limit.allowed(1, 0, executors_wanted=10)
        limit.allowed(1, 0, executors_wanted=2)
        assert limit.count(0).limit == 20

    def test_a_clock_that_goes_back_does_not_hold_executors_back_for_ever(self) -> None:
        limit = FailureLimit(FailureLimitConf(limit=0))
        limit.ended(10_000_000)
        limit.created(10_000_000)
        assert limit.allowed(5, 10_000_000, executors_wanted=5) == 0
        assert limit.allowed(5, 9_000_000, executors_wanted=5) == 1
