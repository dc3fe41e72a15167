"""In which order things happen in a simulated run."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.core.simulation.agenda import Agenda, Order

THINGS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(Order)), max_size=30)


def all_of(agenda: Agenda) -> None:
    while agenda.next_at_ms is not None:
        agenda.pass_moment()


@given(THINGS)
def test_things_happen_by_time_then_kind_then_in_the_order_of_their_arrangement(things) -> None:
    agenda, happened = Agenda(), []
    for number, (at, order) in enumerate(things):
        agenda.later(at, order, partial(happened.append, (at, order, number)))
    all_of(agenda)
    assert happened == sorted(happened)
    assert len(happened) == len(things)


def test_what_is_arranged_for_the_same_moment_belongs_to_it() -> None:
    agenda, happened = Agenda(), []

    def first() -> None:
        agenda.later(7, Order.TASK_ENDS, partial(happened.append, agenda.now_ms))

    agenda.later(7, Order.DECIDE, first)
    agenda.pass_moment()
    assert happened == [7]
    assert agenda.next_at_ms is None


def test_what_is_arranged_for_the_past_happens_now() -> None:
    agenda, happened = Agenda(), []

    def late() -> None:
        agenda.later(3, Order.JOB_ENDS, lambda: happened.append(agenda.now_ms))

    agenda.later(10, Order.JOB_ENDS, late)
    all_of(agenda)
    assert happened == [10]
