"""When the input of streams counts as steady, and what ends that."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.core.streaming.steady_input import (
    SAME_INPUT,
    STEADY_AFTER_S,
    SURELY_MORE,
    SteadyInput,
)

EACH_S = 10.0


class Input:
    """Looked at each ten seconds."""

    def __init__(self) -> None:
        self.steady = SteadyInput()
        self.now = 0.0

    def look(
        self, rate: float | None, at_present: float | None = None, *, late: bool = False
    ) -> bool:
        self.now += EACH_S
        return self.steady.look(
            self.now,
            of_batches=rate,
            at_present=rate if at_present is None else at_present,
            late=late,
        )

    def for_long(self, rate: float) -> "Input":
        while not self.look(rate):
            assert self.now < 3 * STEADY_AFTER_S
        return self

    def seconds_until_steady(self, rate: float) -> float:
        began = self.now
        self.for_long(rate)
        return self.now - began


def test_input_is_steady_once_it_has_been_the_same_for_ten_minutes() -> None:
    assert Input().seconds_until_steady(1000.0) == STEADY_AFTER_S + EACH_S


@pytest.mark.parametrize("factor", [1.3, 0.7])
def test_from_other_input_on_it_takes_as_long_again(factor: float) -> None:
    seen = Input().for_long(1000.0)
    assert not seen.look(1000.0 * factor)
    assert seen.seconds_until_steady(1000.0 * factor) == STEADY_AFTER_S


def test_batches_that_differ_a_little_end_nothing() -> None:
    seen = Input().for_long(1000.0)
    assert all(seen.look(1000.0 * factor) for factor in (1.1, 0.9, 1.14, 0.88) * 20)


def test_what_was_taken_for_the_rate_while_it_grew_is_mended_at_the_end() -> None:
    # given input whose rate was seen to be 900 at first
    seen = Input()
    seen.look(900.0)
    while not seen.look(1000.0):
        assert seen.now < 3 * STEADY_AFTER_S
    # then it is 1000 that it may differ from
    assert seen.look(1000.0 * SAME_INPUT * 0.999)


def test_one_batch_that_runs_for_long_is_no_growth_unless_it_shows_much_more_or_is_late() -> None:
    seen = Input().for_long(1000.0)
    assert seen.look(1000.0, at_present=1300.0)
    assert not seen.look(1000.0, at_present=1000.0 * SURELY_MORE * 1.01)
    assert not seen.look(1000.0, late=True)
    # and when it has ended as others do, all is as it was
    assert seen.look(1000.0)


def test_of_input_that_nobody_knows_nothing_is_said() -> None:
    seen = Input().for_long(1000.0)
    assert not seen.look(None)
    assert seen.seconds_until_steady(1000.0) == STEADY_AFTER_S + EACH_S


def test_it_is_judged_anew_when_that_is_wanted() -> None:
    seen = Input().for_long(1000.0)
    seen.steady.forget()
    assert seen.seconds_until_steady(1000.0) == STEADY_AFTER_S + EACH_S


rates = st.none() | st.floats(0, 1e9) | st.sampled_from([math.nan, math.inf])


@given(st.lists(st.tuples(rates, rates, st.booleans()), max_size=200))
def test_it_is_never_steady_within_ten_minutes_and_no_input_makes_it_fail(
    looks: list[tuple[float | None, float | None, bool]],
) -> None:
    steady = SteadyInput()
    for place, (of_batches, at_present, late) in enumerate(looks):
        now = 5.0 * place
        found = steady.look(now, of_batches=of_batches, at_present=at_present, late=late)
        assert not found or now >= STEADY_AFTER_S
