"""When a round of asking for pods is due, and what it finds."""

import pytest

from spark_allocation.core.budget_cap import BudgetCap
from spark_allocation.core.executor_failures import ExecutorFailures
from spark_allocation.core.pod_rounds import PodRounds
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import EMPTY_SNAPSHOT

DELAY_MS = 1_000
BEGIN_MS = 1_700_000_000_000
PROFILE = ProfileId(0)


class Rounds:
    """The rounds of an application without any pod."""

    def __init__(self) -> None:
        self.pods = ExecutorPodsAllocator(PodsAllocatorConf(batch_size=5))
        self.rounds = PodRounds(DELAY_MS, self.pods, ExecutorFailures(), BudgetCap())

    def plan(self, now_ms: int) -> int:
        """How many pods are asked for."""
        plan = self.rounds.plan(
            EMPTY_SNAPSHOT,
            registered=frozenset(),
            not_counted=frozenset(),
            targets=self.pods.expected,
            now_ms=now_ms,
        )
        return sum(request.count for request in plan.create)


@pytest.fixture
def made() -> Rounds:
    return Rounds()


def test_the_first_round_is_due_at_once(made: Rounds) -> None:
    assert made.rounds.is_due(BEGIN_MS)
    assert made.rounds.next_at_ms(EMPTY_SNAPSHOT, frozenset()) is None


@pytest.mark.parametrize(
    ("later_ms", "due"),
    [(0, False), (DELAY_MS - 1, False), (DELAY_MS, True), (-1, True)],
    ids=["the same moment", "within the pause", "after the pause", "the clock was set back"],
)
def test_the_next_round_is_due_after_the_pause(made: Rounds, later_ms: int, due: bool) -> None:
    made.plan(BEGIN_MS)
    assert made.rounds.is_due(BEGIN_MS + later_ms) is due


def test_another_pause_holds_at_once(made: Rounds) -> None:
    made.plan(BEGIN_MS)
    made.rounds.reconfigure(delay_ms=10)
    assert made.rounds.is_due(BEGIN_MS + 10)


def test_a_round_asks_for_what_lacks_and_the_next_one_is_awaited(made: Rounds) -> None:
    made.pods.expect({PROFILE: 7})
    assert made.plan(BEGIN_MS) == 5
    assert made.rounds.next_at_ms(EMPTY_SNAPSHOT, frozenset()) == BEGIN_MS + DELAY_MS
    assert PROFILE in made.rounds.bounds


def test_nobody_waits_for_a_round_that_finds_the_same(made: Rounds) -> None:
    made.pods.expect({PROFILE: 0})
    assert made.plan(BEGIN_MS) == 0
    assert made.rounds.next_at_ms(EMPTY_SNAPSHOT, frozenset()) is None
