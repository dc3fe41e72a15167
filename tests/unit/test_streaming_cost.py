"""What a batch costs, learned from batches, and slots of which tasks make use."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.task_waves import slots_for, usable_slots, whole_waves

positive = st.floats(0.001, 1e6)


def learned(
    batches: int, *, fixed: float, per_row: float, noise: float = 0.0, seed: int = 1
) -> LearnedCost:
    """From batches of different sizes."""
    rng, cost = random.Random(seed), LearnedCost()
    for _ in range(batches):
        rows, usable = rng.uniform(1_000, 20_000), rng.choice([4.0, 8.0, 16.0])
        duration = (fixed + per_row * rows / usable) * max(0.5, rng.gauss(1, noise))
        cost = cost.after(rows=rows, usable=usable, duration_s=duration)
    return cost


# -- the line ---------------------------------------------------------------------------------------------------------


def test_both_parts_are_found_from_batches_of_different_size() -> None:
    cost = learned(60, fixed=3.0, per_row=0.01)
    assert cost.fixed_s == pytest.approx(3.0, rel=0.15)
    assert cost.per_row_s == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_noise_does_not_carry_it_away(seed: int) -> None:
    cost = learned(200, fixed=3.0, per_row=0.01, noise=0.1, seed=seed)
    assert cost.duration_s(10_000, 8) == pytest.approx(15.5, rel=0.15)
    assert 0.5 < cost.fixed_s < 6


def test_while_all_batches_are_alike_what_is_known_of_both_parts_stays() -> None:
    rng = random.Random(1)
    cost = before = learned(60, fixed=3.0, per_row=0.01)
    for _ in range(500):
        cost = cost.after(rows=8000, usable=8, duration_s=13.0 * rng.gauss(1, 0.05))
    assert cost.fixed_s == pytest.approx(before.fixed_s, abs=1.0)
    assert cost.duration_s(8000, 8) == pytest.approx(13.0, rel=0.05)


def test_a_query_that_has_become_slower_is_learned_anew() -> None:
    cost = learned(60, fixed=3.0, per_row=0.01)
    rng = random.Random(2)
    for _ in range(40):
        rows = rng.uniform(1_000, 20_000)
        cost = cost.after(rows=rows, usable=8, duration_s=3.0 + 0.03 * rows / 8)
    assert cost.per_row_s == pytest.approx(0.03, rel=0.15)


def test_it_is_the_same_after_a_restart() -> None:
    cost = learned(20, fixed=3.0, per_row=0.01)
    assert LearnedCost.restored(cost.numbers) == cost


@pytest.mark.parametrize(
    "numbers",
    [
        (),
        (1.0, 2.0),
        (1.0, 2.0, 3.0, math.nan, 0.0, 1.0),
        (1.0, -2.0, 3.0, 1.0, 0.0, 1.0),
        (1.0, 2.0, 3.0, -1.0, 0.0, 1.0),
        (1.0, 2.0, 3.0, 1.0, 5.0, 1.0),
        (math.inf, 2.0, 3.0, 1.0, 0.0, 1.0),
        ("1", 2.0, 3.0, 1.0, 0.0, 1.0),
        (1.0, 2.0, 3.0, 1.0, 0.0, 1.0, 0.0),
    ],
    ids=[
        "none",
        "too few",
        "no number",
        "negative",
        "negative variance",
        "more covariance than there can be",
        "endless",
        "text",
        "too many",
    ],
)
def test_what_is_no_learned_cost_restores_to_nothing_learned(numbers: tuple[float, ...]) -> None:
    assert LearnedCost.restored(numbers) == LearnedCost()
    assert not LearnedCost.restored(numbers).is_known


@given(st.lists(st.tuples(positive, st.floats(0.5, 500), st.floats(0, 1e5)), max_size=40))
def test_whatever_comes_both_parts_are_numbers_that_can_be(
    batches: list[tuple[float, float, float]],
) -> None:
    cost = LearnedCost()
    for rows, usable, duration in batches:
        cost = cost.after(rows=rows, usable=usable, duration_s=duration)
        assert math.isfinite(cost.fixed_s)
        assert cost.fixed_s >= 0
        assert math.isfinite(cost.per_row_s)
        assert cost.per_row_s > 0
        assert cost.duration_s(rows, usable) > 0
        assert cost.is_known


# -- waves ------------------------------------------------------------------------------------------------------------


def test_sixteen_tasks_on_half_as_many_slots_take_two_waves_and_a_quarter_for_their_unequal_length() -> (
    None
):
    assert usable_slots(8, 16) == pytest.approx(16 / 2.25)
    assert whole_waves(8, 16) == whole_waves(15, 16) == 2


def test_more_slots_than_tasks_are_of_no_use() -> None:
    assert usable_slots(16, 16) == usable_slots(100, 16) == 16


def test_of_unknown_tasks_all_slots_are_of_use() -> None:
    assert usable_slots(7.5, None) == 7.5
    assert slots_for(7.5, None) == 7.5


def test_no_work_needs_no_slot() -> None:
    assert slots_for(0, 16) == slots_for(0, None) == 0


@given(st.floats(0.1, 1000), st.integers(1, 1000))
def test_usable_slots_are_at_most_slots_and_tasks_and_found_again(slots: float, tasks: int) -> None:
    usable = usable_slots(slots, tasks)
    assert 0 < usable <= min(slots, tasks) + 1e-9
    if slots < tasks:
        assert slots_for(usable, tasks) == pytest.approx(slots, rel=1e-6)


@given(st.floats(0.1, 500), st.floats(0.1, 500), st.integers(1, 1000))
def test_more_slots_are_never_of_less_use(a: float, b: float, tasks: int) -> None:
    few, many = sorted((a, b))
    assert usable_slots(few, tasks) <= usable_slots(many, tasks) + 1e-9
    assert slots_for(few, tasks) <= slots_for(many, tasks) + 1e-9
