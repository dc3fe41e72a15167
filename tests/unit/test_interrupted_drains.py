"""Executors that were on their way out before this process knew of them, and drains that came to nothing."""

from dataclasses import replace

from tests.unit import served_driver
from tests.unit.served_driver import ServedDriver, executor, report

from spark_allocation.core.drains import SECOND_THOUGHTS_SECONDS


def three_idle(**wishes: object) -> ServedDriver:
    """Three executors that may go after two seconds, of which two have to stay."""
    driver = ServedDriver(
        served_driver.settings(
            min_executors=2, initial_executors=2, executor_idle_timeout_s=2, **wishes
        )
    )
    for _ in range(3):
        driver.create()
    return driver


def all_idle() -> tuple:
    return tuple(executor(number) for number in (1, 2, 3))


def gone(driver: ServedDriver, seconds: int = 10) -> set[int]:
    """Who begins to leave within so many seconds in which nothing happens."""
    found: set[int] = set()
    for _ in range(seconds):
        found |= {pod.executor_id for pod in driver.turn(report(executors=all_idle())).drains}
    return found


def test_who_was_asked_to_go_before_the_driver_was_heard_does_not_count_as_one_that_stays() -> None:
    # given an operator that starts in the middle of a drain, while the driver does not answer
    driver = three_idle()
    driver.set(1, deleting=True)
    driver.turn(None)
    # when the driver answers, and lists the executor that leaves like the others
    # then the other two are the minimum
    assert gone(driver) == set()


def test_nor_does_one_whose_pod_was_deleted_before_it_registered() -> None:
    driver = three_idle()
    driver.turn(report(executors=all_idle()[1:]))
    driver.set(1, deleting=True)
    driver.turn(report(executors=all_idle()[1:]))
    assert gone(driver) == set()


def test_one_that_is_on_its_way_after_a_restart_is_not_asked_again() -> None:
    driver = three_idle()
    driver.set(1, deleting=True)
    assert gone(driver) == set()


def idle_and_due() -> ServedDriver:
    driver = ServedDriver(served_driver.settings(executor_idle_timeout_s=2))
    driver.create()
    driver.turn(report(executors=(executor(1),)))
    return driver


def test_after_second_thoughts_nobody_is_asked_again_at_once() -> None:
    driver = idle_and_due()
    driver.later(5)
    driver.says(report(executors=(executor(1),)))
    (pod,) = driver.step().drains
    # when it is needed after all
    driver.allocation.drain_not_begun(pod.executor_id)
    # then the next look at it, and the next step at all, have time
    again = driver.step()
    assert again.drains == ()
    assert again.wake_at_ns is not None
    assert again.wake_at_ns - driver.now_ns >= 0.9e9
    driver.later(SECOND_THOUGHTS_SECONDS)
    driver.says(report(executors=(executor(1),)))
    assert [pod.executor_id for pod in driver.step().drains] == [1]


def test_second_thoughts_do_not_shorten_the_pause_after_a_refusal() -> None:
    driver = idle_and_due()
    driver.later(5)
    driver.says(report(executors=(executor(1),)))
    (pod,) = driver.step().drains
    driver.allocation.drain_refused(pod.executor_id)
    driver.allocation.drain_not_begun(pod.executor_id)
    driver.later(5)
    driver.says(report(executors=(executor(1),)))
    assert driver.step().drains == ()


def test_a_pod_that_is_gone_takes_its_mark_along() -> None:
    driver = three_idle()
    driver.set(1, deleting=True)
    driver.turn(report(executors=all_idle()))
    driver.lose(1)
    told = report(executors=all_idle()[1:])
    driver.turn(told)
    # another one takes its place
    driver.pods[4] = replace(driver.pods[2], executor_id=4, uid="uid-4", name="app-exec-4")
    told = report(executors=(*all_idle()[1:], executor(4)))
    found = {pod.executor_id for _ in range(10) for pod in driver.turn(told).drains}
    assert len(found) == 1
