"""status.decisions: ten at most, in sentences, the same one once."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.served_driver import ServedDriver, report, stage

from spark_allocation.core.allocation_decisions import ProfileDecision, TargetReason
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.reports.decisions import DECISIONS_KEPT, Decisions


def step(
    before: int, after: int, profile_id: int = 0, *, reason: TargetReason | None = None
) -> Step:
    by_itself = TargetReason.BACKLOG if after > before else TargetReason.NOT_NEEDED
    decision = ProfileDecision(ProfileId(profile_id), after, before, after, 1, reason or by_itself)
    return Step(None, (), (), (), frozenset(), {ProfileId(profile_id): decision}, ())


def test_the_newest_stands_first_and_says_what_and_why() -> None:
    ring = Decisions()
    ring.take(step(0, 3))
    ring.take(step(3, 1))
    assert [each.message for each in ring.newest_first] == [
        "Lowering the total from 3 to 1 because fewer tasks need fewer executors (tasks need 1)",
        "Requesting 3 new executors because tasks are backlogged, new desired total is 3 (tasks need 3)",
    ]


def test_what_streams_ask_for_is_told_in_words() -> None:
    ring = Decisions()
    ring.take(step(2, 5, reason=TargetReason.STREAMING))
    (told,) = ring.newest_first
    assert "because streams ask for so many" in told.message


def test_the_same_decision_again_moves_to_the_front_and_is_counted() -> None:
    ring = Decisions()
    for _ in range(20):
        ring.take(step(0, 1))
        ring.take(step(1, 0))
    assert [(each.target, each.count) for each in ring.newest_first] == [(0, 20), (1, 20)]


def test_a_step_without_a_change_is_no_decision() -> None:
    ring = Decisions()
    ring.take(step(4, 4))
    assert ring.newest_first == []


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 2)), max_size=60))
def test_the_ring_is_bounded_has_no_double_and_survives_a_restart(
    moves: list[tuple[int, int, int]],
) -> None:
    ring = Decisions()
    for before, after, profile_id in moves:
        ring.take(step(before, after, profile_id))
    kept = ring.newest_first
    assert len(kept) <= DECISIONS_KEPT
    told = [(each.profile, each.message) for each in kept]
    assert len(told) == len(set(told))
    stored = [each.model_dump(mode="json", by_alias=True) for each in kept]
    assert Decisions(stored).newest_first == kept


def test_what_a_real_driver_brings_about_is_told() -> None:
    driver, ring = ServedDriver(), Decisions()
    for _ in range(4):
        ring.take(driver.turn(report(stage(tasks=6), executors=driver.alive(active=1))))
    assert ring.newest_first[-1].message.startswith("Requesting 1 new executors")
    assert len(ring.newest_first) > 1
