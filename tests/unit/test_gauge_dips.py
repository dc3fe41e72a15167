"""The driver's gauge of its need dips for a poll or two, as between two stages: what that may and may not cost."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.served_driver import ServedDriver, report, settings, stage

from spark_allocation.core.executor_pods import PodState
from spark_allocation.core.resource_profiles import ProfileId

NEED = 8
IDLE_TIMEOUT = 60


def waiting_driver(**wishes: object) -> ServedDriver:
    """A driver that needs 8 executors, all of which wait for a node."""
    driver = ServedDriver(settings(batch_size=None, executor_idle_timeout_s=IDLE_TIMEOUT, **wishes))
    for _ in range(8):
        poll(driver, NEED)
    assert len(driver.pods) == NEED
    return driver


def poll(driver: ServedDriver, gauge: int | None, *, stages: bool = True) -> list[int]:
    """A second later the driver answers; returns the ids of the pods that were withdrawn."""
    told = report(*([stage(tasks=NEED)] if stages else []), gauge=gauge)
    driver.later(1)
    driver.says(told)
    step = driver.step()
    driver.carry_out(step, state=PodState.PENDING)
    excess = step.plan.withdraw if step.plan is not None else ()
    return [executor_id for each in excess for executor_id in each.executor_ids]


@given(
    st.lists(
        st.tuples(st.integers(0, NEED - 1), st.integers(1, 2), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_no_young_pending_pod_is_withdrawn_and_none_is_asked_for_twice(
    dips: list[tuple[int, int, bool]],
) -> None:
    driver = waiting_driver()
    begun = set(driver.pods)
    for depth, polls, stages in dips:
        for _ in range(polls):
            assert poll(driver, depth, stages=stages) == []
        for _ in range(3):
            assert poll(driver, NEED) == []
    assert set(driver.pods) == begun, "the pods of before the dips, and no others"


def test_after_a_dip_the_target_is_back_at_the_need_by_sparks_ramp() -> None:
    driver = waiting_driver()
    poll(driver, 0)
    assert driver.target() == 0, "the need of Spark's own manager, and so its target"
    targets = []
    for _ in range(6):
        poll(driver, NEED)
        targets.append(driver.target())
    assert targets[-1] == NEED
    assert targets == sorted(targets)


def test_a_pod_that_waits_longer_than_the_idle_timeout_is_excess_at_once_as_in_spark() -> None:
    driver = waiting_driver()
    driver.later(IDLE_TIMEOUT)
    assert sorted(poll(driver, 3)) == [4, 5, 6, 7, 8], "the youngest first"


def test_a_poll_without_the_gauge_is_no_dip() -> None:
    driver = waiting_driver()
    driver.later(IDLE_TIMEOUT)
    assert poll(driver, None) == []
    assert driver.target() == NEED


@given(st.integers(0, 12), st.integers(0, 6), st.integers(0, 6))
def test_the_need_that_is_served_is_never_below_the_gauge(
    gauge: int, tasks_0: int, tasks_1: int
) -> None:
    driver = ServedDriver(profiles=(1,))
    step = driver.turn(
        report(stage(0, tasks=tasks_0), stage(1, tasks=tasks_1, profile_id=1), gauge=gauge)
    )
    needs = [step.decisions[ProfileId(profile_id)].need or 0 for profile_id in (0, 1)]
    assert sum(needs) >= gauge

    alone = ServedDriver()
    step = alone.turn(report(stage(0, tasks=tasks_0), gauge=gauge))
    assert step.decisions[ProfileId(0)].need == gauge
