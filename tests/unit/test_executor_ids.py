"""Executor ids: increasing, reserved before use, never given out twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pods import ExecutorId


def test_nothing_is_given_out_before_the_first_reservation():
    ids = ExecutorIds(block_size=10)
    assert ids.take() is None
    assert ids.needs_reservation(1)
    assert ids.proposal() == 11


def test_a_reserved_block_is_given_out_in_order_and_then_ends():
    ids = ExecutorIds(block_size=3)
    ids.reserved(ids.proposal())
    assert [ids.take() for _ in range(4)] == [1, 2, 3, None]


def test_the_next_block_can_be_reserved_ahead():
    ids = ExecutorIds(block_size=10)
    ids.reserved(11)
    assert not ids.needs_reservation(10)
    assert ids.needs_reservation(11)
    assert ids.proposal(ahead=25) == 31


@pytest.mark.parametrize(
    ("reserved_until", "pods", "driver", "first"),
    [(1, [], [], 1), (501, [3], [2], 501), (1, [7, 3], [2], 8), (5, [4], [40], 41)],
)
def test_after_a_restart_counting_goes_on_behind_everything_used(
    reserved_until, pods, driver, first
):
    ids = ExecutorIds.after_restart(
        reserved_until=reserved_until,
        seen_on_pods=map(ExecutorId, pods),
        listed_by_driver=map(ExecutorId, driver),
    )
    assert ids.next_id == first
    assert ids.take() is None, "the rest of the old block may be in use and is not reserved"


def test_a_foreign_id_is_skipped_and_a_reservation_below_it_is_void():
    ids = ExecutorIds(block_size=10)
    ids.reserved(11)
    ids.seen(ExecutorId(50))
    assert ids.take() is None
    ids.reserved(ids.proposal())
    assert ids.take() == 51


def test_an_id_that_was_given_out_here_changes_nothing_when_it_is_seen():
    ids = ExecutorIds(reserved_until=11)
    ids.take()
    ids.seen(ExecutorId(1))
    assert ids.take() == 2


def test_the_allocation_maximum_is_never_reached():
    ids = ExecutorIds(maximum=3, block_size=10)
    assert ids.proposal() == 3
    ids.reserved(3)
    assert [ids.take() for _ in range(3)] == [1, 2, None]
    assert ids.at_maximum
    assert not ids.needs_reservation(5)


@pytest.mark.parametrize("wrong", [{"next_id": 0}, {"block_size": 0}])
def test_senseless_counters_are_refused(wrong):
    with pytest.raises(ValueError, match="first executor id"):
        ExecutorIds(**wrong)


@given(st.lists(st.one_of(st.just("take"), st.just("crash"), st.integers(1, 30)), max_size=60))
def test_no_id_is_given_out_twice_whatever_crashes(events):
    """Reservations survive a crash; what was taken and not yet visible anywhere does not."""
    stored = 1
    ids = ExecutorIds(block_size=4)
    given_out: list[int] = []
    for event in events:
        if event == "crash":
            ids = ExecutorIds.after_restart(reserved_until=stored, block_size=4)
        elif event == "take":
            taken = ids.take()
            if taken is not None:
                given_out.append(taken)
        elif ids.needs_reservation(event):
            stored = ids.proposal(event)
            ids.reserved(stored)
            assert ids.available >= event
    assert given_out == sorted(set(given_out))
    assert all(taken < stored for taken in given_out)
