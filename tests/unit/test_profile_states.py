"""What people are told of each profile: every pod, request and executor is counted once, where it belongs."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.served_driver import ServedDriver, executor, report

from spark_allocation.core.executor_pods import ExecutorId, PodState
from spark_allocation.core.profile_states import ProfileState
from spark_allocation.core.resource_profiles import ProfileId

_pods = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(PodState), st.booleans()), max_size=12
)


def by_profile(step_profiles: tuple[ProfileState, ...]) -> dict[int, ProfileState]:
    return {int(each.profile_id): each for each in step_profiles}


@given(_pods)
def test_each_pod_that_lives_is_running_pending_or_leaving(
    pods: list[tuple[int, PodState, bool]],
) -> None:
    driver = ServedDriver(profiles=(1, 2))
    for profile_id, state, deleting in pods:
        driver.set(driver.create(profile_id, state), deleting=deleting)

    states = by_profile(driver.step(acts=False).profiles)

    assert sorted(states) == list(states), "in the order of their ids"
    assert states.keys() == {0} | {profile_id for profile_id, _, _ in pods}
    for profile_id, told in states.items():
        alive = [
            (state, deleting)
            for each, state, deleting in pods
            if each == profile_id and state in (PodState.RUNNING, PodState.PENDING)
        ]
        assert told.running == alive.count((PodState.RUNNING, False))
        assert told.pending == alive.count((PodState.PENDING, False))
        assert told.decommissioning == sum(deleting for _, deleting in alive)


def test_a_pod_asked_for_is_unacknowledged_until_it_is_seen() -> None:
    driver = ServedDriver()
    driver.allocation.creation_started(ExecutorId(7), ProfileId(0), driver.now_ms)
    assert by_profile(driver.step(acts=False).profiles)[0].unacknowledged == 1

    driver.pods[7] = replace(driver.pods[driver.create()], executor_id=ExecutorId(7))
    assert by_profile(driver.step(acts=False).profiles)[0].unacknowledged == 0


def test_executors_are_counted_as_the_driver_lists_them() -> None:
    driver = ServedDriver(profiles=(1,))
    driver.says(
        report(
            executors=(
                executor(1, active=1),
                executor(2),
                executor(3, blocks=2),
                executor(4, shuffle=9, profile_id=1),
            )
        )
    )
    driver.later(61)
    states = by_profile(driver.step(acts=False).profiles)
    assert [(told.registered, told.idle) for told in states.values()] == [(3, 2), (1, 1)]
    assert [told.held_by_cache for told in states.values()] == [1, 0]
    assert [told.held_by_shuffle for told in states.values()] == [0, 1]
