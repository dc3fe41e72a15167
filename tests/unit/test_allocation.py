"""One life of a driver, decided step by step: what the operator adds to Spark's rules for the sake of running work."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.served_driver import ServedDriver, executor, report, settings, stage

from spark_allocation.core.drains import DRAIN_PAUSE_SECONDS
from spark_allocation.core.driver_report import DriverReport
from spark_allocation.core.executor_pods import ContainerEnd, ExecutorId, PodState
from spark_allocation.core.exit_reasons import ExecutorExitReason, FailureClass
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.shuffle_holders import ShuffleHoldConf

HOUR_MS = 3_600_000


def busy(driver: ServedDriver, tasks: int = 100) -> None:
    """A stage of so many tasks, and turns until the target has followed."""
    for _ in range(12):
        running = driver.alive(active=1, total=1)
        driver.turn(report(stage(tasks=tasks, active=len(running)), executors=running, gauge=tasks))


# -- the need ---------------------------------------------------------------------------------------------------------


def test_with_one_profile_at_work_the_gauge_is_the_need() -> None:
    driver = ServedDriver()
    driver.turn(report(stage(tasks=5, active=1), gauge=3))
    assert driver.turn(report(stage(tasks=5, active=1), gauge=3)).decisions[ProfileId(0)].need == 3


def test_without_a_gauge_the_need_is_estimated() -> None:
    driver = ServedDriver()
    step = driver.turn(report(stage(tasks=5)))
    assert step.decisions[ProfileId(0)].need == 5


def test_a_gauge_of_a_driver_without_stages_decides_nothing() -> None:
    driver = ServedDriver()
    assert driver.turn(report(gauge=7)).decisions[ProfileId(0)].need == 0


def test_what_the_gauge_says_beyond_the_estimates_goes_to_the_neediest_profile() -> None:
    driver = ServedDriver(profiles=(1,))
    step = driver.turn(
        report(stage(0, tasks=2, profile_id=0), stage(1, tasks=6, profile_id=1), gauge=11)
    )
    assert {int(key): each.need for key, each in step.decisions.items()} == {0: 2, 1: 9}


def test_a_gauge_below_the_estimates_of_several_profiles_changes_nothing() -> None:
    driver = ServedDriver(profiles=(1,))
    step = driver.turn(
        report(stage(0, tasks=2, profile_id=0), stage(1, tasks=6, profile_id=1), gauge=5)
    )
    assert {int(key): each.need for key, each in step.decisions.items()} == {0: 2, 1: 6}


def test_a_ratio_of_ours_is_applied_to_the_tasks_not_to_the_gauge() -> None:
    driver = ServedDriver(settings(executor_allocation_ratio=0.5))
    assert driver.turn(report(stage(tasks=10), gauge=10)).decisions[ProfileId(0)].need == 5


def test_the_gauge_of_an_earlier_poll_is_forgotten() -> None:
    driver = ServedDriver()
    driver.turn(report(stage(tasks=5), gauge=9))
    assert driver.turn(report(stage(tasks=5))).decisions[ProfileId(0)].need == 5


def test_a_speculative_copy_that_only_the_gauge_shows_gets_its_executor() -> None:
    driver = ServedDriver()
    busy(driver, tasks=4)
    last = report(stage(tasks=4, done=3, active=1), executors=driver.alive(), gauge=1)
    driver.turn(last)
    for _ in range(4):
        driver.turn(replace(last, max_needed_executors=3))
    assert driver.target() == 3


# -- the first executors ----------------------------------------------------------------------------------------------


def test_initial_executors_are_asked_for_once() -> None:
    driver = ServedDriver(settings(initial_executors=4))
    steps = [driver.turn(report(executors=driver.alive())) for _ in range(5)]
    assert [driver.requested(step) for step in steps] == [4, 0, 0, 0, 0]


def test_a_restart_does_not_ask_for_the_initial_executors_again() -> None:
    driver = ServedDriver(settings(initial_executors=4), targets={0: 0})
    assert driver.requested(driver.turn(report())) == 0


def test_restored_targets_are_within_the_bounds_of_now() -> None:
    """maxExecutors was lowered while no operator ran."""
    driver = ServedDriver(settings(max_executors=3), targets={0: 10})
    step = driver.step(fresh=False)
    assert driver.requested(step) == 3


# -- stale answers ----------------------------------------------------------------------------------------------------


def test_a_stale_answer_freezes_targets_and_drains() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    busy(driver, tasks=3)
    driver.turn(report(executors=driver.alive(total=1)))
    for _ in range(20):
        step = driver.turn()
        assert (step.drains, dict(step.decisions)) == ((), {})
    assert driver.target() == 0


def test_pods_that_are_lost_meanwhile_are_replaced() -> None:
    driver = ServedDriver()
    busy(driver, tasks=3)
    driver.lose(2)
    assert driver.requested(driver.turn()) == 1
    assert len(driver.pods) == 3


def test_executors_that_were_told_to_end_are_replaced_only_when_the_driver_still_answers() -> None:
    """A driver that stops ends its executors, and its REST API before them."""
    driver = ServedDriver(settings(min_executors=2, initial_executors=2))
    driver.turn(report())
    driver.turn(report(executors=driver.alive()))
    for executor_id in list(driver.pods):
        driver.set(executor_id, state=PodState.SUCCEEDED, ends=(ContainerEnd("e", 0, "Completed"),))
    for _ in range(10):
        assert driver.requested(driver.turn()) == 0
    assert driver.requested(driver.turn(report())) == 2


def test_executors_that_the_driver_has_lost_are_replaced_at_once_within_the_maximum() -> None:
    driver = ServedDriver(settings(max_executors=4))
    busy(driver, tasks=3)
    lost = driver.alive()[:2]

    def told() -> DriverReport:
        there = tuple(each for each in driver.alive() if each.id > 2)
        return report(stage(tasks=3), executors=there, dead=lost, gauge=3)

    # two have to be replaced, and there is room for one beside those that run on
    assert driver.requested(driver.turn(told())) == 1
    for _ in range(10):
        assert len([pod for pod in driver.pods.values() if not pod.deleting]) <= 4
        driver.turn(told())
    assert len(driver.pods) == 3


# -- leaving ----------------------------------------------------------------------------------------------------------


def idle(driver: ServedDriver, executors: int) -> None:
    """So many executors that have worked and are idle from now on."""
    busy(driver, tasks=executors)
    driver.turn(report(executors=driver.alive(total=1)))


def test_idle_executors_are_drained_when_they_time_out() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    idle(driver, 3)
    assert driver.turn(report(executors=driver.alive(total=1)), after=4).drains == ()
    assert len(driver.turn(report(executors=driver.alive(total=1)), after=1).drains) == 3


def test_an_executor_that_worked_between_two_polls_stays() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    idle(driver, 1)
    driver.turn(report(executors=driver.alive(total=2)), after=4)
    assert driver.turn(report(executors=driver.alive(total=2)), after=1).drains == ()


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param({"state": PodState.PENDING}, id="not running yet"),
        pytest.param({"deleting": True}, id="leaving already"),
        pytest.param({"state": PodState.FAILED}, id="ended"),
    ],
)
def test_only_an_executor_whose_pod_runs_is_drained(pod: dict[str, object]) -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    idle(driver, 1)
    driver.set(1, **pod)
    step = driver.turn(report(executors=(executor(1, total=1),)), after=20)
    assert step.drains == ()


def test_an_executor_without_a_pod_of_ours_is_never_drained() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    foreign = report(executors=(executor(7), executor(8)))
    driver.turn(foreign)
    assert driver.turn(foreign, after=60).drains == ()


def test_no_more_than_max_concurrent_leave_at_once() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5, max_concurrent_drains=2))
    idle(driver, 5)
    told = report(executors=driver.alive(total=1))
    assert [len(driver.turn(told, after=6).drains) for _ in range(3)] == [2, 0, 0]
    for executor_id in [each for each, pod in driver.pods.items() if pod.deleting]:
        driver.lose(executor_id)
    assert len(driver.turn(report(executors=driver.alive(total=1))).drains) == 2


def test_who_leaves_neither_counts_nor_is_withdrawn() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    idle(driver, 2)
    driver.turn(report(executors=driver.alive(total=1)), after=6)
    assert all(pod.deleting for pod in driver.pods.values())
    told = report(stage(tasks=1), executors=driver.alive(total=1), gauge=1)
    steps = [driver.turn(told) for _ in range(3)]
    assert sum(driver.requested(step) for step in steps) == 1
    assert not any(step.plan and step.plan.withdraw for step in steps)
    (state,) = steps[-1].profiles
    assert (state.running, state.decommissioning) == (1, 2)


def test_a_pod_that_somebody_else_deletes_is_replaced_at_once() -> None:
    driver = ServedDriver()
    busy(driver, tasks=2)
    driver.set(1, deleting=True)
    told = report(stage(tasks=2, active=2), executors=driver.alive(active=1), gauge=2)
    assert driver.requested(driver.turn(told)) == 1


def test_a_refused_drain_keeps_the_executor_and_is_not_tried_again_at_once() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    idle(driver, 2)
    driver.later(6)
    told = report(executors=driver.alive(total=1))
    driver.says(told)
    first = driver.step()
    for pod in first.drains:
        driver.allocation.drain_refused(pod.executor_id)
    for _ in range(DRAIN_PAUSE_SECONDS - 1):
        step = driver.turn(told)
        assert step.drains == ()
        (state,) = step.profiles
        assert (state.running, state.decommissioning) == (2, 0)
    assert len(driver.turn(told).drains) == 2


def test_a_drain_that_was_never_asked_for_is_decided_again() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    idle(driver, 1)
    driver.later(6)
    driver.says(report(executors=driver.alive(total=1)))
    (pod,) = driver.step().drains
    driver.allocation.drain_not_begun(pod.executor_id)
    assert len(driver.turn(report(executors=driver.alive(total=1))).drains) == 1


# -- what is held -----------------------------------------------------------------------------------------------------


def test_an_executor_counts_as_held_from_when_it_would_have_gone() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    idle(driver, 2)
    told = report(executors=(executor(1, total=1, shuffle=7), executor(2, total=1)))
    (young,) = driver.turn(told, after=1).profiles
    assert (young.idle, young.held_by_shuffle, young.reason) == (2, 0, "Satisfied")
    driver.turn(told, after=10)
    (held,) = driver.turn(told).profiles
    assert (held.idle, held.held_by_shuffle, held.reason) == (1, 1, "HeldByShuffle")


def test_one_that_only_holds_cached_blocks_is_told_apart() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    idle(driver, 1)
    told = report(executors=(executor(1, total=1, blocks=7),))
    driver.turn(told, after=10)
    (held,) = driver.turn(told).profiles
    assert (held.held_by_shuffle, held.held_by_cache, held.reason) == (0, 1, "HeldByCache")


def test_a_pending_pod_is_withdrawn_rather_than_an_executor_that_works() -> None:
    """Four are wanted of five, one of which is still pending: what runs is not touched."""
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    busy(driver, tasks=5)
    driver.set(5, state=PodState.PENDING)
    told = report(
        stage(tasks=4, active=4),
        executors=tuple(executor(number, active=1, total=1) for number in (1, 2, 3, 4)),
        gauge=4,
    )
    drained, withdrawn = [], []
    for _ in range(80):
        step = driver.turn(told)
        drained += step.drains
        withdrawn += [
            number
            for excess in (step.plan.withdraw if step.plan else ())
            for number in excess.executor_ids
        ]
    assert (drained, withdrawn) == ([], [5])


def test_with_migration_the_last_holder_of_shuffle_data_stays() -> None:
    driver = ServedDriver(
        settings(
            executor_idle_timeout_s=5,
            shuffle=ShuffleHoldConf(hands_over=True, migrates=True),
        )
    )
    idle(driver, 3)
    drained = []
    for _ in range(20):
        told = report(executors=driver.alive(total=1, shuffle=7))
        drained += driver.turn(told, after=6).drains
        for number in [each for each, pod in driver.pods.items() if pod.deleting]:
            driver.lose(number)
    assert len(drained) == 2
    (state,) = driver.turn(report(executors=driver.alive(total=1, shuffle=7))).profiles
    assert (state.running, state.held_by_shuffle) == (1, 1)


# -- what nobody carries out ------------------------------------------------------------------------------------------


def test_while_nothing_may_be_done_nothing_is_marked() -> None:
    """Excess and idle executors seen then are still withdrawn and drained when it may be done again."""
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    driver.says(report(stage(tasks=2), gauge=2))
    driver.carry_out(driver.step(), state=PodState.PENDING)
    busy(driver, tasks=2)
    driver.set(1, state=PodState.PENDING)
    empty = report(executors=(executor(2, total=1),))
    for _ in range(100):
        driver.later(1)
        driver.says(empty)
        step = driver.step(acts=False)
        assert (step.plan, step.drains, step.delete) == (None, (), ())
    step = driver.turn(empty)
    assert step.plan is not None
    assert [excess.executor_ids for excess in step.plan.withdraw] == [(1,)]
    assert [pod.executor_id for pod in step.drains] == [2]


# -- failures ---------------------------------------------------------------------------------------------------------


def fail(driver: ServedDriver, executor_id: int) -> None:
    ended = (ContainerEnd("spark-kubernetes-executor", 1, "Error"),)
    driver.set(executor_id, state=PodState.FAILED, ends=ended)


def test_executors_that_keep_failing_are_tried_one_at_a_time() -> None:
    driver = ServedDriver()
    told = report(stage(tasks=50), gauge=50)
    created: list[int] = []
    for _ in range(60):
        before = set(driver.pods)
        step = driver.turn(told)
        created.append(driver.requested(step))
        for executor_id in set(driver.pods) - before:
            fail(driver, executor_id)
    assert step.held_back == {FailureClass.APPLICATION}
    assert sum(created[10:]) <= 3


def test_old_executors_that_work_do_not_excuse_new_ones_that_fail() -> None:
    driver = ServedDriver(settings(max_executors=50))
    busy(driver, tasks=3)
    old = set(driver.pods)
    created = 0
    for number in range(60):
        running = driver.alive(active=1, total=10 + number)
        healthy = tuple(each for each in running if each.id in old)
        before = set(driver.pods)
        step = driver.turn(report(stage(tasks=50, active=3), executors=healthy, gauge=50))
        created += driver.requested(step)
        for executor_id in set(driver.pods) - before:
            fail(driver, executor_id)
    assert step.held_back
    assert created < 30


def test_pods_that_cannot_be_built_are_asked_for_ever_more_rarely() -> None:
    """Each attempt uses up an executor id, although no creation is ever started."""
    driver = ServedDriver(settings(min_executors=2, initial_executors=2))
    attempts = 0
    for _ in range(120):
        driver.later(1)
        driver.says(report())
        for _ in range(driver.requested(driver.step())):
            attempts += 1
            driver.allocation.creation_refused(
                ExecutorId(attempts), FailureClass.CONFIGURATION, driver.now_ms
            )
    assert 3 + 2 <= attempts <= 3 + 1 + 3, "until it opens, then after 10, 30 and 70 seconds"


def test_a_refused_creation_holds_back_until_an_executor_has_stood_for_a_minute() -> None:
    """minExecutors without any task: nobody finishes a task, and the quota has room again."""
    driver = ServedDriver(settings(min_executors=5, initial_executors=5))
    driver.later(1)
    driver.says(report())
    step = driver.step()
    under_way = [ExecutorId(number) for number in range(1, driver.requested(step) + 1)]
    for executor_id in under_way:
        driver.allocation.creation_started(executor_id, ProfileId(0), driver.now_ms)
    for executor_id in under_way:
        driver.allocation.creation_refused(executor_id, FailureClass.CAPACITY, driver.now_ms)
    assert driver.turn(report()).held_back == {FailureClass.CAPACITY}
    for _ in range(90):
        driver.turn(report(executors=driver.alive()))
    assert len(driver.pods) == 5


def test_the_last_sight_of_a_pod_that_came_and_went_tells_how_it_ended() -> None:
    driver = ServedDriver()
    driver.turn(report(stage(tasks=1), gauge=1))
    driver.turn(report(stage(tasks=1), gauge=1))
    fail(driver, 1)
    driver.lose(1)
    step = driver.turn(report(stage(tasks=1), gauge=1))
    assert [(each.executor_id, each.failed) for each in step.removals] == [(1, True)]
    assert step.removals[0].exit.reason is not ExecutorExitReason.DELETED


def test_a_pod_that_waits_for_long_is_told_with_the_scheduler_s_words() -> None:
    driver = ServedDriver()
    told = report(stage(tasks=1), gauge=1)
    driver.later(2)
    driver.says(told)
    driver.carry_out(driver.step(), state=PodState.PENDING)
    driver.later(2)
    driver.carry_out(driver.step(), state=PodState.PENDING)
    driver.set(1, reason="Unschedulable", message="0/3 nodes are available")
    assert driver.turn(told).start_problem is None, "not in the first moment"
    problem = driver.turn(told, after=6).start_problem
    assert problem is not None
    assert problem.reason is ExecutorExitReason.UNSCHEDULABLE
    assert "0/3 nodes are available" in problem.message


def test_a_pod_that_does_not_start_and_says_nothing_is_told_after_two_minutes() -> None:
    driver = ServedDriver()
    told = report(stage(tasks=1), gauge=1)
    driver.later(2)
    driver.says(told)
    driver.carry_out(driver.step(), state=PodState.PENDING)
    driver.later(2)
    driver.carry_out(driver.step(), state=PodState.PENDING)
    driver.set(1, reason="Unschedulable")
    assert driver.turn(told, after=100).start_problem is None
    driver.set(1, reason="Starting")
    for _ in range(12):
        assert driver.turn(told, after=10).start_problem is None, "counted from when it was placed"
    step = driver.turn(told, after=10)
    assert step.start_problem is not None
    assert step.start_problem.reason is ExecutorExitReason.STARTING_SLOWLY
    assert step.held_back == frozenset(), "it may still come"
    assert driver.requested(step) == 0


def test_executors_that_never_register_are_tried_one_at_a_time() -> None:
    driver = ServedDriver()
    told = report(stage(tasks=3), gauge=3)
    for _ in range(150):
        step = driver.turn(told)
    assert step.held_back == {FailureClass.INFRASTRUCTURE}


def test_a_pod_that_a_person_deletes_is_not_told_as_drained() -> None:
    driver = ServedDriver()
    busy(driver, tasks=1)
    driver.set(1, deleting=True)
    told = report(stage(tasks=1, active=1), executors=driver.alive(active=1), gauge=1)
    driver.turn(told)
    driver.lose(1)
    step = driver.turn(told)
    reasons = {removal.executor_id: removal.exit.reason for removal in step.removals}
    assert reasons[ExecutorId(1)] is ExecutorExitReason.DELETED


# -- live settings ----------------------------------------------------------------------------------------------------


def test_new_bounds_take_effect_on_the_next_step() -> None:
    driver = ServedDriver(settings(max_executors=3))
    busy(driver, tasks=20)
    assert driver.target() == 3
    driver.allocation.reconfigure(settings(max_executors=8), driver.now_ns)
    busy(driver, tasks=20)
    assert driver.target() == 8
    driver.allocation.reconfigure(settings(max_executors=2), driver.now_ns)
    step = driver.turn(report(stage(tasks=20, active=8), executors=driver.alive(active=1)))
    assert driver.target() == 2
    assert step.drains == (), "busy executors are not drained because a bound fell"


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_ms", [-HOUR_MS, HOUR_MS])
def test_a_wall_clock_that_jumps_costs_no_executor_and_adds_none(jump_ms: int) -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    busy(driver, tasks=6)
    driver.wall_clock_off_ms = jump_ms
    for _ in range(10):
        running = driver.alive(active=1, total=2)
        step = driver.turn(report(stage(tasks=6, active=6), executors=running, gauge=6))
        assert (step.drains, step.delete, step.removals) == ((), (), ())
        assert driver.requested(step) == 0
    assert len(driver.pods) == 6


def test_a_step_names_the_moment_of_the_next_timer() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=50))
    idle(driver, 2)
    step = driver.turn(report(executors=driver.alive(total=1)), after=10)
    assert step.wake_at_ns is not None
    assert driver.now_ns < step.wake_at_ns <= driver.now_ns + 40_000_000_000


def test_a_profile_that_lacks_executors_is_due_though_another_has_too_many() -> None:
    driver = ServedDriver(profiles=(1,))
    for _ in range(2):
        driver.create(0)
    driver.later(1)
    driver.says(report(stage(tasks=2, profile_id=1), executors=driver.alive(total=1)))
    driver.step()
    driver.later(1.1)
    driver.says(report(stage(tasks=2, profile_id=1), executors=driver.alive(total=1)))
    step = driver.step()
    assert driver.requested(step) == 1, "and now the creation fails"
    step = driver.step()
    assert step.wake_at_ns is not None
    assert step.wake_at_ns <= driver.now_ns + 1_000_000_000


def test_executors_that_leave_do_not_hide_the_next_that_times_out() -> None:
    driver = ServedDriver(settings(executor_idle_timeout_s=5))
    busy(driver, tasks=2)
    driver.turn(report(executors=(executor(1, total=1), executor(2, active=1, total=1))))
    driver.turn(report(executors=driver.alive(total=1)), after=3)
    step = driver.turn(report(executors=driver.alive(total=1)), after=2)
    assert [pod.executor_id for pod in step.drains] == [1]
    assert step.wake_at_ns is not None
    assert step.wake_at_ns <= driver.now_ns + 3_000_000_000


# -- rules --------------------------------------------------------------------------------------------------------------

_polls = st.lists(
    st.tuples(
        st.integers(0, 12),  # tasks of profile 0
        st.integers(0, 12),  # tasks of profile 1
        st.none() | st.integers(0, 25),  # the gauge
        st.booleans(),  # an answer, or none
        st.sampled_from([0.3, 1.0, 4.0, 15.0]),  # seconds since the last turn
        st.sampled_from(["", "lose", "fail", "evict"]),  # what happens to the oldest pod
    ),
    max_size=25,
)
_wishes = st.builds(
    lambda low, more, initial, idle_s, drains, batch: settings(
        min_executors=low,
        max_executors=low + more,
        initial_executors=min(low + more, low + initial),
        executor_idle_timeout_s=idle_s,
        max_concurrent_drains=drains,
        batch_size=batch,
    ),
    st.integers(0, 3),
    st.integers(1, 9),
    st.integers(0, 3),
    st.integers(0, 20),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 5),
)


def _live(driver: ServedDriver, polls: list[tuple]) -> None:  # type: ignore[type-arg]
    """Turn after turn; what must hold in each of them is asserted here."""
    bounds = driver.allocation.settings.dynamic.bounds(ProfileId(0))
    limit = driver.allocation.settings.max_concurrent_drains
    for tasks_0, tasks_1, gauge, answers, pause, fate in polls:
        if fate and driver.pods:
            oldest = min(driver.pods)
            if fate == "lose":
                driver.lose(oldest)
            elif fate == "fail":
                fail(driver, oldest)
            else:
                driver.set(oldest, deleting=True)
        stages = [
            stage(number, tasks=tasks, profile_id=number)
            for number, tasks in enumerate((tasks_0, tasks_1))
            if tasks
        ]
        listed = tuple(
            each
            for profile_id, tasks in enumerate((tasks_0, tasks_1))
            for number, each in enumerate(driver.alive(profile_id))
            for each in (replace(each, active_tasks=int(number < tasks), total_tasks=1),)
        )
        at_work = {each.id for each in listed if each.active_tasks}
        leaving_before = {pod.executor_id for pod in driver.pods.values() if pod.deleting}
        under_way = {
            number for number in leaving_before if driver.pods[number].state is PodState.RUNNING
        }
        step = driver.turn(
            report(*stages, executors=listed, gauge=gauge) if answers else None, after=pause
        )
        for profile_id in (0, 1):
            counted = [
                pod
                for pod in driver.pods.values()
                if pod.profile_id == profile_id
                and not pod.deleting
                and pod.state in (PodState.PENDING, PodState.RUNNING)
            ]
            assert driver.target(profile_id) <= bounds.max_executors
            if step.plan is not None:
                assert len(counted) <= bounds.max_executors
        drained = {pod.executor_id for pod in step.drains}
        assert drained <= driver.pods.keys()
        assert not drained & leaving_before
        if answers:
            assert not drained & at_work, "an executor that runs a task is not drained"
        else:
            assert not drained
        if limit is not None and drained:
            assert len(drained | (under_way & driver.pods.keys())) <= limit
        assert step.wake_at_ns is None or step.wake_at_ns > driver.now_ns
        for executor_id in [each for each, pod in driver.pods.items() if pod.deleting][:2]:
            driver.lose(executor_id)


@hypothesis_settings(max_examples=25, deadline=None)
@given(wishes=_wishes, polls=_polls)
def test_bounds_busy_executors_and_drains_are_respected_whatever_happens(wishes, polls) -> None:
    _live(ServedDriver(wishes, profiles=(1,)), polls)


@hypothesis_settings(max_examples=25, deadline=None)
@given(wishes=_wishes, polls=_polls)
def test_a_restart_plans_what_the_former_run_would_have_planned(wishes, polls) -> None:
    """Targets come back from the status, pods from the first full list."""
    driver = ServedDriver(wishes, profiles=(1,))
    _live(driver, polls)
    driver.later(2)
    restarted = ServedDriver(
        wishes,
        profiles=(1,),
        targets={int(key): n for key, n in driver.allocation.manager.targets.items()},
    )
    restarted.now_ns, restarted.full_sync_at = driver.now_ns, driver.now_ms
    restarted.pods = dict(driver.pods)
    driver.full_sync_at = driver.now_ms
    failures = driver.allocation.failures
    if failures.held_back or failures.toward_limit(driver.now_ms).reached:
        return  # the restarted one tries at once: nothing is known of earlier failures
    mine, theirs = driver.step(fresh=False), restarted.step(fresh=False)
    assert driver.requested(mine) == restarted.requested(theirs)
    assert mine.drains == theirs.drains == ()
    assert ExecutorId(0) not in driver.pods
