"""Ends of executors as they are told: counted by reason, bounded, and with what is done about them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from spark_allocation.core.allocation_step import Step
from spark_allocation.core.executor_exits import ExecutorExit
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.exit_reasons import ExecutorExitReason, FailureClass
from spark_allocation.core.failure_tracker import FailureCount
from spark_allocation.core.lifecycle_manager import ExecutorRemoval
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.reports.executor_ends import (
    EVENT_PAUSE_SECONDS,
    LONGEST_MESSAGE,
    REASONS_KEPT,
    EndsEvent,
    ExecutorEnds,
)
from spark_allocation.reports.failure_words import reaction, too_few
from spark_allocation.reports.metrics import ExecutorEndCounters

Reason = ExecutorExitReason
NOON = 1_780_056_000.0


def end(reason: ExecutorExitReason, executor_id: int = 1, message: str = "") -> ExecutorRemoval:
    told = ExecutorExit(reason, 1, charged=True, message=message or f"Executor {executor_id} ended")
    return ExecutorRemoval(ExecutorId(executor_id), ProfileId(0), told, failed=True)


def step(
    *held_back: FailureClass, failures: FailureCount | None = None, retry_at_ms: int | None = None
) -> Step:
    return Step(
        plan=None,
        drains=(),
        delete=(),
        removals=(),
        held_back=frozenset(held_back),
        decisions={},
        profiles=(),
        failures=failures or FailureCount(),
        retry_at_ms=retry_at_ms,
    )


class Told:
    """Ends, and the reasons that the counters of the process were told."""

    def __init__(self) -> None:
        self.counted: list[str] = []
        self.ends = ExecutorEnds(self.counted.append)

    def take(self, *removals: ExecutorRemoval, at: float = 0.0) -> list[EndsEvent]:
        return self.ends.take(removals, NOON + at)

    def entries(self) -> dict[str, int]:
        return {entry.reason: entry.count for entry in self.ends.status(lambda _: "")}


class TestStatus:
    def test_ends_are_counted_by_reason_and_the_last_one_is_told(self) -> None:
        told = Told()
        told.take(end(Reason.OOM_KILLED, 1), end(Reason.EVICTED, 2))
        told.take(end(Reason.OOM_KILLED, 3), at=60)
        first, second = told.ends.status(lambda reason: f"about {reason}")
        assert (first.reason, first.count, first.last_message) == (
            "OOMKilled",
            2,
            "Executor 3 ended",
        )
        assert (first.first_time, first.last_time) == (
            "2026-05-29T12:00:00Z",
            "2026-05-29T12:01:00Z",
        )
        assert first.reaction == "about OOMKilled"
        assert (second.reason, second.count) == ("Evicted", 1)
        assert told.counted == ["OOMKilled", "Evicted", "OOMKilled"]

    def test_the_reasons_that_came_last_are_kept(self) -> None:
        told = Told()
        for number, reason in enumerate(Reason):
            told.take(end(reason), at=number)
        assert list(told.entries()) == [*reversed(Reason)][:REASONS_KEPT]

    def test_another_life_begins_anew(self) -> None:
        told = Told()
        told.take(end(Reason.OOM_KILLED))
        told.ends.begin_anew()
        assert told.entries() == {}

    def test_a_message_is_no_longer_than_the_schema_allows(self) -> None:
        told = Told()
        told.take(end(Reason.EVICTED, message="x" * 2_000))
        (entry,) = told.ends.status(lambda _: "")
        assert len(entry.last_message) == LONGEST_MESSAGE


class TestEvents:
    def test_a_new_reason_is_told_at_once(self) -> None:
        told = Told()
        assert told.take(end(Reason.OOM_KILLED, 7)) == [
            EndsEvent("ExecutorOOMKilled", "Executor 7 ended", warning=True)
        ]
        assert [event.reason for event in told.take(end(Reason.EVICTED), at=1)] == [
            "ExecutorEvicted"
        ]

    def test_the_same_reason_is_told_again_after_a_while_and_with_how_many(self) -> None:
        told = Told()
        told.take(end(Reason.OOM_KILLED))
        for number in range(2, 50):
            assert told.take(end(Reason.OOM_KILLED, number), at=number) == []
        (event,) = told.take(end(Reason.OOM_KILLED, 50), at=EVENT_PAUSE_SECONDS)
        assert event.message == (
            "49 more since 2026-05-29T12:00:00Z, the last one: Executor 50 ended"
        )

    def test_many_at_once_are_one_event(self) -> None:
        (event,) = Told().take(*(end(Reason.NODE_LOST, number) for number in range(1, 6)))
        assert event.message == "5 at once, the last one: Executor 5 ended"

    def test_an_executor_that_was_asked_to_go_is_no_event(self) -> None:
        assert Told().take(end(Reason.DRAINED)) == []

    def test_nor_is_one_that_ends_with_its_driver(self) -> None:
        assert Told().take(end(Reason.SUCCEEDED)) == []

    def test_a_deletion_is_no_warning(self) -> None:
        (event,) = Told().take(end(Reason.DELETED))
        assert not event.warning

    @given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(Reason)), max_size=200))
    def test_no_reason_is_told_twice_in_ten_minutes_and_no_end_goes_uncounted(
        self, ends: list[tuple[float, ExecutorExitReason]]
    ) -> None:
        told = Told()
        posted: dict[str, list[float]] = {}
        now = 0.0
        for pause, reason in ends:
            now += pause
            for event in told.take(end(reason), at=now):
                posted.setdefault(event.reason, []).append(now)
        for times in posted.values():
            assert all(
                later - earlier >= EVENT_PAUSE_SECONDS - 1e-3 for earlier, later in pairwise(times)
            )
        assert len(told.counted) == len(ends)


class TestWords:
    def test_while_a_class_is_held_back_it_says_when_the_next_one_is_tried(self) -> None:
        held = step(FailureClass.APPLICATION, retry_at_ms=int(NOON * 1000))
        assert reaction(Reason.OOM_KILLED, held) == (
            "held back: one is tried from 2026-05-29T12:00:00Z on, others follow when it works"
        )
        assert "one is being tried now" in reaction(
            Reason.OOM_KILLED, step(FailureClass.APPLICATION)
        )
        assert reaction(Reason.EVICTED, held).startswith("replaced at once")

    def test_above_the_limit_one_a_minute(self) -> None:
        above = step(failures=FailureCount(ended=9, limit=8, window_ms=3_600_000))
        assert "one a minute" in reaction(Reason.DELETED, above)
        sentence = too_few(above, "Executor 7 was deleted.")
        assert "9 executors ended unasked within 60 min, more than the limit of 8" in sentence
        assert "Executor 7 was deleted." in sentence
        assert "spec.allocation.failures.max" in sentence

    def test_what_keeps_failing_is_told_with_the_last_one(self) -> None:
        sentence = too_few(step(FailureClass.CONFIGURATION), "Executor 3: no such command.")
        assert sentence.startswith("executors keep failing (Configuration): one is being tried now")
        assert sentence.endswith("The last one: Executor 3: no such command.")


def test_the_counter_has_every_reason_from_the_start_and_no_other_label() -> None:
    registry = CollectorRegistry()
    counters = ExecutorEndCounters(registry)
    counters.count(Reason.OOM_KILLED)
    text = generate_latest(registry).decode()
    assert 'spark_allocation_executor_ends_total{reason="OOMKilled"} 1.0' in text
    for reason in Reason:
        assert f'spark_allocation_executor_ends_total{{reason="{reason}"}}' in text
