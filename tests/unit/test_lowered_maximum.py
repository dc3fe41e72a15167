"""maxExecutors is lowered while every executor has work: what is too many is drained, the safe way, idle ones first."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.served_driver import ServedDriver, executor, report, settings, stage

from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.driver_report import DriverReport, ExecutorReport
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.shuffle_holders import ShuffleHoldConf

BUSY = 6


def busy_driver(**wishes: object) -> ServedDriver:
    """Six executors with a task each, and many tasks that wait."""
    driver = ServedDriver(settings(max_executors=BUSY, **wishes))
    for _ in range(BUSY):
        driver.create()
    driver.turn(working(driver))
    return driver


def working(
    driver: ServedDriver, *executors: ExecutorReport, done: int = 1, shuffled: int = 0
) -> DriverReport:
    """A stage of which a task has ended, and left no shuffle data, unless said otherwise."""
    listed = executors or driver.alive(active=1)
    running = stage(tasks=500, done=done, active=len(listed), shuffle=shuffled)
    return report(running, executors=listed)


def lower(driver: ServedDriver, most: int) -> AllocationSettings:
    before = driver.allocation.settings
    after = replace(before, dynamic=replace(before.dynamic, max_executors=most))
    driver.allocation.reconfigure(after, driver.now_ns)
    return after


def gone(step: Step) -> list[int]:
    return [pod.executor_id for pod in step.above_maximum]


def test_what_is_too_many_leaves_at_once_though_it_has_work() -> None:
    driver = busy_driver()
    lower(driver, 1)
    step = driver.turn(working(driver))
    assert len(gone(step)) == BUSY - 1
    assert driver.target() == 1
    assert gone(driver.turn(working(driver, *driver.alive(active=1)))) == [], (
        "they are on their way"
    )


def test_nothing_leaves_while_the_maximum_is_what_it_was() -> None:
    driver = busy_driver()
    for _ in range(5):
        assert gone(driver.turn(working(driver))) == []


def test_nobody_at_work_goes_in_the_place_of_one_that_the_driver_has_lost() -> None:
    # given three of six executors that the driver has lost, whose pods are about to be deleted
    driver = busy_driver()
    lost, there = driver.alive(active=1)[:3], driver.alive(active=1)[3:]

    def told() -> DriverReport:
        return replace(working(driver, *there), dead_executors=tuple(lost))

    driver.turn(told())

    # when no more than three are allowed
    lower(driver, 3)

    # then the three that work stay, and nobody has to be made in their place
    for _ in range(10):
        step = driver.turn(told())
        assert gone(step) == []
        assert driver.requested(step) == 0
    assert sorted(driver.pods) == [4, 5, 6]


def test_idle_ones_go_first() -> None:
    driver = busy_driver()
    lower(driver, 4)
    at_rest = (2, 5)
    step = driver.turn(
        working(
            driver, *(executor(each, active=0 if each in at_rest else 1) for each in sorted(driver.pods))
        )
    )  # fmt: skip
    assert sorted(gone(step)) == sorted(at_rest)


def test_who_holds_what_would_be_lost_stays_until_its_own_timeout() -> None:
    driver = busy_driver()
    lower(driver, 1)
    holders = (1, 2, 3)
    step = driver.turn(
        working(
            driver,
            *(executor(each, active=1, shuffle=100 if each in holders else 0) for each in sorted(driver.pods)),
        )
    )  # fmt: skip
    assert sorted(gone(step)) == [4, 5, 6]


def test_who_is_about_to_write_what_would_be_lost_stays_too() -> None:
    """Its tasks would end well, and their output leave with it."""
    driver = busy_driver()
    lower(driver, 1)
    at_rest = executor(6)
    at_work = [executor(each, active=1) for each in (1, 2, 3, 4, 5)]
    step = driver.turn(working(driver, *at_work, at_rest, shuffled=100))
    assert gone(step) == [6]


def test_a_stage_of_which_no_task_has_ended_may_be_one_that_writes() -> None:
    driver = busy_driver()
    lower(driver, 1)
    assert gone(driver.turn(working(driver, done=0))) == []
    assert len(gone(driver.turn(working(driver, done=1)))) == BUSY - 1


def test_with_migration_those_that_write_may_go() -> None:
    driver = busy_driver(shuffle=ShuffleHoldConf(hands_over=True, migrates=True))
    lower(driver, 1)
    assert len(gone(driver.turn(working(driver, shuffled=100)))) == BUSY - 1


def test_so_they_may_where_shuffle_data_lies_elsewhere() -> None:
    driver = busy_driver(shuffle=ShuffleHoldConf(local=False))
    lower(driver, 1)
    assert len(gone(driver.turn(working(driver, shuffled=100)))) == BUSY - 1


def test_cached_blocks_stay_where_only_shuffle_data_is_handed_on() -> None:
    hands_on = ShuffleHoldConf(hands_over=True, migrates=True, cached_too=False)
    driver = busy_driver(shuffle=hands_on)
    lower(driver, 1)
    listed = (executor(1, active=1, blocks=3), *(executor(each, active=1) for each in range(2, 7)))
    assert 1 not in gone(driver.turn(working(driver, *listed)))


def test_a_driver_that_cannot_decommission_loses_idle_ones_alone() -> None:
    driver = busy_driver(decommission_enabled=False)
    lower(driver, 1)
    told = working(driver, *(executor(each, active=int(each != 4)) for each in sorted(driver.pods)))
    # a task that has just begun there would be lost, and might not be visible yet
    assert [gone(driver.turn(told)) for _ in range(12)] == [[]] * 12
    assert [each for _ in range(3) for each in gone(driver.turn(told))] == [4]


def test_an_old_answer_of_the_driver_lets_nobody_go() -> None:
    driver = busy_driver()
    lower(driver, 1)
    assert gone(driver.turn(None)) == []


def test_while_nothing_may_be_done_nothing_is() -> None:
    driver = busy_driver()
    lower(driver, 1)
    driver.says(working(driver))
    assert driver.step(acts=False).above_maximum == ()


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=12),
    st.integers(1, 12),
    st.one_of(st.none(), st.integers(1, 4)),
)
def test_no_more_leave_than_are_too_many_and_no_busier_one_before_an_idler(
    tasks: list[int], most: int, drains_at_once: int | None
) -> None:
    driver = ServedDriver(settings(max_executors=20, max_concurrent_drains=drains_at_once))
    ids = [driver.create() for _ in tasks]
    listed = tuple(
        executor(each, active=count, fits=4) for each, count in zip(ids, tasks, strict=True)
    )
    driver.turn(report(stage(tasks=500, done=1, active=sum(tasks)), executors=listed))
    lower(driver, most)
    step = driver.turn(report(stage(tasks=500, done=1, active=sum(tasks)), executors=listed))
    left = gone(step)
    assert len(left) <= max(0, len(ids) - most)
    if drains_at_once is not None:
        assert len(left) <= drains_at_once
    load = dict(zip(ids, tasks, strict=True))
    stay = [load[each] for each in ids if ExecutorId(each) not in left]
    if left and stay:
        assert max(load[each] for each in left) <= min(stay)
