"""Who may leave now, and in which order: nothing that an executor holds is lost for want of a rule."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.served_driver import EPOCH_MS, executor

from spark_allocation.core.drains import PLAIN_DELETION_FRESH_MS, DrainConf, Drains
from spark_allocation.core.driver_report import DriverReport, ExecutorReport
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.shuffle_holders import ShuffleHoldConf, ShuffleHolders
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

STRICT = ShuffleHoldConf()
MIGRATION = ShuffleHoldConf(hands_over=True, migrates=True)
FALLBACK = ShuffleHoldConf(hands_over=True, migrates=True, fallback_storage=True)


def running(
    number: int, *, node: str = "n", deleting: bool = False, node_silent: bool = False
) -> ExecutorPod:
    return ExecutorPod(
        uid=f"uid-{number}",
        name=f"app-exec-{number}",
        namespace="jobs",
        executor_id=ExecutorId(number),
        profile_id=ProfileId(0),
        state=PodState.RUNNING,
        created_at=0,
        deleting=deleting,
        node=node,
        node_silent=node_silent,
    )


def looked_at(
    pods: Iterable[ExecutorPod],
    reports: Iterable[ExecutorReport],
    shuffle: ShuffleHoldConf = STRICT,
    conf: DrainConf | None = None,
    going: Iterable[str] = (),
) -> Drains:
    """Drains that have seen these pods and this answer of the driver."""
    executors = {each.id: each for each in reports}
    holders = ShuffleHolders(shuffle, lambda _: 2**62)
    drains = Drains(conf or DrainConf(), holders, lambda: executors)
    snapshot = ExecutorPodsSnapshot.replaced(pods, at=EPOCH_MS)
    drains.take(snapshot, going_nodes=frozenset(going), now_ns=0)
    holders.take(
        DriverReport((), tuple(executors.values()), (), None),
        leaving=drains.leaving,
        now_ms=EPOCH_MS,
    )
    return drains


def begun(drains: Drains, *numbers: int, age_ms: int = 500) -> list[int]:
    pods = drains.begin_idle([str(number) for number in numbers], report_age_ms=age_ms)
    return [int(pod.executor_id) for pod in pods]


# -- the last that could take blocks over -----------------------------------------------------------------------------


def test_of_executors_that_hand_on_what_they_hold_one_stays() -> None:
    drains = looked_at(
        [running(1), running(2), running(3)],
        [executor(1, shuffle=9), executor(2, shuffle=9), executor(3, shuffle=9)],
        MIGRATION,
    )
    assert begun(drains, 1, 2, 3) == [1, 2]


def test_one_that_holds_nothing_goes_even_when_nobody_stays() -> None:
    drains = looked_at([running(1), running(2)], [executor(1), executor(2)], MIGRATION)
    assert begun(drains, 1, 2) == [1, 2]


def test_who_leaves_already_takes_nothing_over() -> None:
    drains = looked_at(
        [running(1), running(2, deleting=True), running(3)],
        [executor(1, shuffle=9), executor(2), executor(3, shuffle=9)],
        MIGRATION,
    )
    assert begun(drains, 1, 3) == [1]


def test_nor_does_one_whose_node_is_about_to_go() -> None:
    drains = looked_at(
        [running(1), running(2, node="old")],
        [executor(1, shuffle=9), executor(2)],
        MIGRATION,
        going=["old"],
    )
    assert begun(drains, 1) == []


def test_nor_one_whose_node_does_not_report() -> None:
    drains = looked_at(
        [running(1), running(2, node_silent=True)],
        [executor(1, shuffle=9), executor(2)],
        MIGRATION,
    )
    assert begun(drains, 1) == []


def test_nor_one_that_the_driver_does_not_list() -> None:
    drains = looked_at(
        [running(1), running(2), running(3)],
        [executor(1, shuffle=9), executor(2, shuffle=9)],
        MIGRATION,
    )
    assert begun(drains, 1, 2) == [1]


def test_the_last_one_stays_also_when_it_holds_nothing_itself() -> None:
    drains = looked_at([running(1), running(5)], [executor(1), executor(5, shuffle=7)], MIGRATION)
    assert begun(drains, 5, 1) == [5]


def test_nor_does_it_go_while_a_holder_that_was_asked_to_leave_before_is_on_its_way() -> None:
    drains = looked_at([running(1), running(5)], [executor(1), executor(5, shuffle=7)], MIGRATION)
    assert begun(drains, 5) == [5]
    assert begun(drains, 1) == [], "there is no new answer of the driver yet"


def test_one_that_takes_nothing_over_need_not_stay_for_others() -> None:
    drains = looked_at(
        [running(1), running(2, node="old"), running(3)],
        [executor(1, shuffle=9), executor(2), executor(3)],
        MIGRATION,
        going=["old"],
    )
    assert begun(drains, 1, 2, 3) == [1, 2]


def test_with_a_storage_to_fall_back_on_all_go() -> None:
    drains = looked_at(
        [running(1), running(2)], [executor(1, shuffle=9), executor(2, shuffle=9)], FALLBACK
    )
    assert begun(drains, 1, 2) == [1, 2]


# -- how many at once -------------------------------------------------------------------------------------------------


def test_those_under_way_count_whoever_asked_them_to_go() -> None:
    drains = looked_at(
        [running(1, deleting=True), running(2), running(3), running(4)],
        [executor(number) for number in (1, 2, 3, 4)],
        conf=DrainConf(max_concurrent=2),
    )
    assert begun(drains, 2, 3, 4) == [2]


def test_one_that_has_ended_gives_its_place_back() -> None:
    drains = looked_at(
        [running(1), running(2)],
        [executor(1), executor(2)],
        conf=DrainConf(max_concurrent=1),
    )
    assert begun(drains, 1, 2) == [1]
    drains.take(ExecutorPodsSnapshot.replaced([running(2)], at=EPOCH_MS), now_ns=1)
    assert begun(drains, 2) == [2]


# -- a driver that cannot decommission --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_ms", "goes"),
    [(0, [1]), (PLAIN_DELETION_FRESH_MS, [1]), (PLAIN_DELETION_FRESH_MS + 1, [])],
)
def test_without_decommissioning_the_answer_has_to_be_fresh(age_ms: int, goes: list[int]) -> None:
    drains = looked_at([running(1)], [executor(1)], conf=DrainConf(decommissions=False))
    assert begun(drains, 1, age_ms=age_ms) == goes


def test_without_decommissioning_a_busy_executor_stays() -> None:
    drains = looked_at(
        [running(1), running(2)],
        [executor(1, active=1), executor(2)],
        conf=DrainConf(decommissions=False),
    )
    assert begun(drains, 1, 2) == [2]


# -- which first ------------------------------------------------------------------------------------------------------


def order(drains: Drains, *numbers: int) -> list[int]:
    timed_out = sorted((str(number), ProfileId(0)) for number in numbers)
    found = drains.in_order(timed_out, all_may_go=False)
    return [int(executor_id) for executor_id, _ in found]


def test_the_fewest_cached_bytes_go_first() -> None:
    drains = looked_at(
        [running(1), running(2), running(3)],
        [executor(1, blocks=30), executor(2), executor(3, blocks=20)],
    )
    assert order(drains, 1, 2, 3) == [2, 3, 1]


def test_among_equals_those_whose_removal_empties_a_node() -> None:
    drains = looked_at(
        [running(1, node="a"), running(2, node="a"), running(3, node="b"), running(4, node="b")],
        [executor(number) for number in (1, 2, 3, 4)],
    )
    # 1 stays on its node whatever happens; 3 and 4 are all there is on theirs
    assert order(drains, 2, 3, 4) == [3, 4, 2]


def test_of_nodes_that_can_be_emptied_the_emptiest_first() -> None:
    drains = looked_at(
        [running(1, node="a"), running(2, node="a"), running(3, node="b")],
        [executor(number) for number in (1, 2, 3)],
    )
    assert order(drains, 1, 2, 3) == [3, 1, 2]


def test_between_equals_sparks_order_decides() -> None:
    drains = looked_at(
        [running(number) for number in (2, 9, 10)], [executor(number) for number in (2, 9, 10)]
    )
    assert order(drains, 2, 9, 10) == [10, 2, 9], "by id as text"


def test_before_all_those_whose_node_is_about_to_go() -> None:
    drains = looked_at(
        [running(1), running(2, node="old")],
        [executor(1), executor(2, blocks=9)],
        going=["old"],
    )
    assert order(drains, 1, 2) == [2, 1]


# -- whatever happens -------------------------------------------------------------------------------------------------

_pods = st.lists(
    st.builds(running, st.integers(1, 6), node=st.sampled_from("abc"), deleting=st.booleans()),
    unique_by=lambda pod: pod.executor_id,
)
_reports = st.lists(
    st.builds(
        executor,
        st.integers(1, 6),
        active=st.integers(0, 1),
        blocks=st.integers(0, 2),
        shuffle=st.sampled_from([0, 7]),
    ),
    unique_by=lambda each: each.id,
)
_confs = st.builds(
    DrainConf, decommissions=st.booleans(), max_concurrent=st.none() | st.integers(1, 3)
)


@given(
    pods=_pods,
    reports=_reports,
    conf=_confs,
    shuffle=st.sampled_from([STRICT, MIGRATION, FALLBACK]),
    going=st.frozensets(st.sampled_from("abc"), max_size=2),
    candidates=st.lists(st.integers(1, 6), unique=True),
)
def test_whoever_goes_may_go(
    *,
    pods: list[ExecutorPod],
    reports: list[ExecutorReport],
    conf: DrainConf,
    shuffle: ShuffleHoldConf,
    going: frozenset[str],
    candidates: list[int],
) -> None:
    drains = looked_at(pods, reports, shuffle, conf, going)
    left_before = set(drains.leaving)
    hands_on = drains._holders.hands_on
    gone = set(begun(drains, *candidates))

    listed = {each.id: each for each in reports}
    by_id = {pod.executor_id: pod for pod in pods}
    assert gone <= set(candidates) & set(by_id)
    assert not gone & left_before, "nobody is asked twice"
    if conf.max_concurrent is not None and gone:
        assert len(drains.leaving) <= conf.max_concurrent
    if not conf.decommissions:
        assert all(listed[ExecutorId(number)].active_tasks == 0 for number in gone)
    if shuffle is MIGRATION and hands_on:
        handing_on = {
            number for number in gone if listed.get(number, executor(0)).shuffle_write_bytes
        }
        stays = {
            number
            for number in listed.keys() & by_id.keys()
            if number not in drains.leaving and by_id[number].node not in going
        }
        assert not handing_on or stays, "somebody is there to take over what they hold"


@given(
    pods=_pods, reports=_reports, candidates=st.lists(st.integers(1, 6), unique=True, min_size=1)
)
def test_an_order_loses_and_invents_nobody(
    pods: list[ExecutorPod], reports: list[ExecutorReport], candidates: list[int]
) -> None:
    drains = looked_at(pods, reports)
    found = order(drains, *candidates)
    assert sorted(found) == sorted(candidates)
    cached = {each.id: each.cached_bytes for each in reports}
    bytes_in_order = [cached.get(ExecutorId(number), 0) for number in found]
    assert bytes_in_order == sorted(bytes_in_order)
