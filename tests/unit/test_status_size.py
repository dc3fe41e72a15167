"""A status stays small, and what it loses first is what is read least."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.api.conditions import CONDITION_ORDER
from spark_allocation.kube.status_size import LARGEST_STATUS_BYTES, within_size


def size(status: dict[str, Any]) -> int:
    return len(json.dumps({**status, "nextExecutorId": 2**31 - 1}, separators=(",", ":")))


def condition(kind: str, message: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "False",
        "reason": "BadAnswer",
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }


def profile(number: int) -> dict[str, Any]:
    counts = ("desired", "target", "running", "registered", "pending", "unacknowledged", "idle")
    return {"id": number, **dict.fromkeys(counts, 1000), "reason": "Backlog"}


def decision(number: int, message: str) -> dict[str, Any]:
    return {"time": "2026-01-01T00:00:00Z", "profile": 0, "target": number, "message": message}


def test_a_status_of_usual_size_is_written_as_it_is() -> None:
    status = {
        "state": "Running",
        "message": "5 of 5 executors run",
        "profiles": [profile(0), profile(1)],
        "conditions": [condition("Ready", "all well")],
        "decisions": [decision(number, "more tasks") for number in range(10)],
    }
    assert within_size(status) == status


def test_old_decisions_go_before_anything_else() -> None:
    long = "x" * 500
    status = {
        "conditions": [condition(kind, long) for kind in ("Ready", "Stalled")],
        "decisions": [decision(number, long) for number in range(20)],
    }
    written = within_size(status)
    assert size(written) <= LARGEST_STATUS_BYTES
    assert written["conditions"] == status["conditions"]
    kept = [each["target"] for each in written["decisions"]]
    assert kept == list(range(len(kept)))
    assert len(kept) > 5


def test_every_condition_keeps_its_reason_when_sentences_are_long() -> None:
    kinds = [f"Condition{number}" for number in range(9)]
    written = within_size({"conditions": [condition(kind, "é" * 1024) for kind in kinds]})
    assert size(written) <= LARGEST_STATUS_BYTES
    assert [each["type"] for each in written["conditions"]] == kinds
    assert all(each["reason"] == "BadAnswer" for each in written["conditions"])


def test_ids_that_a_driver_made_up_are_cut() -> None:
    written = within_size({"applicationId": "a" * 10_000_000, "sparkVersion": "4" * 5000})
    assert len(written["applicationId"]) == len(written["sparkVersion"]) == 253


def test_the_first_profiles_stay() -> None:
    written = within_size({"profiles": [profile(number) for number in range(64)]})
    assert size(written) <= LARGEST_STATUS_BYTES
    numbers = [each["id"] for each in written["profiles"]]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 32


texts = st.text(max_size=2000)


@given(
    state=texts,
    message=texts,
    conditions=st.lists(st.builds(condition, st.sampled_from(CONDITION_ORDER), texts), max_size=9),
    decisions=st.lists(st.builds(decision, st.integers(0, 10**6), texts), max_size=10),
    profiles=st.integers(0, 64),
)
def test_no_status_is_larger_than_eight_kibibytes(
    state, message, conditions, decisions, profiles
) -> None:
    status = {
        "state": state,
        "message": message,
        "applicationId": message,
        "conditions": conditions,
        "decisions": decisions,
        "profiles": [profile(number) for number in range(profiles)],
    }
    before = json.dumps(status)
    assert size(within_size(status)) <= LARGEST_STATUS_BYTES
    assert json.dumps(status) == before
