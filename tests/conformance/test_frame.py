"""The comparison itself: it must see a difference, make it small, and not mistake one for a departure."""

import copy
import json
from random import Random
from typing import Any

from tests.conformance import eam_compare
from tests.conformance.answer import answer
from tests.conformance.generators.eam import generate
from tests.conformance.outcome import Departed, Diverged, Same, first_difference
from tests.conformance.run import scenarios
from tests.conformance.shrink import shrink

GROWTH = {
    "id": "growth",
    "kind": "eam",
    "conf": {"spark.dynamicAllocation.minExecutors": "1"},
    "ops": [{"op": "stageSubmitted", "stage": 0, "tasks": 5}, {"op": "tick", "ms": 1000}],
}


def tampered(step: int, **fields: Any) -> dict[str, Any]:
    """An answer as real Spark would not give it."""
    theirs = copy.deepcopy(answer(GROWTH))
    theirs["steps"][step].update(fields)
    return theirs


def test_equal_answers_are_the_same() -> None:
    assert eam_compare.compare(GROWTH, answer(GROWTH), answer(GROWTH)) == Same(3)


def test_a_different_field_is_seen_where_it_is() -> None:
    outcome = eam_compare.compare(GROWTH, tampered(2, targets={"0": 3}), answer(GROWTH))

    assert outcome == Diverged(1, "targets.0", 3, 2)


def test_an_error_of_spark_is_no_departure_unless_it_is_a_known_one() -> None:
    def thrown(message: str) -> object:
        theirs = tampered(2, error={"class": "SparkException", "message": message})
        return eam_compare.compare(GROWTH, theirs, answer(GROWTH))

    assert isinstance(thrown("out of memory"), Diverged)
    assert thrown("ResourceProfileId 9 not found!") == Departed("unknown-profile-keeps-target", 1)
    assert thrown("key not found: 3") == Departed("profile-without-target", 1)


def test_a_refusal_on_one_side_only_is_a_divergence() -> None:
    refused = {"kind": "eam", "startError": {"class": "SparkException", "message": "no"}}

    assert isinstance(eam_compare.compare(GROWTH, refused, answer(GROWTH)), Diverged)
    ours = {"startError": {"class": "InvalidSetting", "message": "no", "key": "spark.x"}}
    assert isinstance(eam_compare.compare(GROWTH, answer(GROWTH), ours), Diverged)
    assert isinstance(eam_compare.compare(GROWTH, refused, ours), Same)


def test_lists_of_different_length_differ() -> None:
    assert first_difference({"a": [1]}, {"a": [1, 2]}) == ("a", [1], [1, 2])
    assert first_difference({"a": 1}, {}) == ("a", 1, "absent")
    assert first_difference([{"a": 1}], [{"a": 2}]) == ("[0].a", 1, 2)


def test_a_divergence_is_made_small() -> None:
    scenario = {
        "conf": {"needed": "1", "other": "2"},
        "ops": [{"op": "noise", "n": n} for n in range(20)]
        + [{"op": "first"}, {"op": "x"}, {"op": "second"}],
    }

    def diverges(smaller: dict[str, Any]) -> bool:
        names = [operation["op"] for operation in smaller["ops"]]
        return "needed" in smaller["conf"] and "first" in names and "second" in names

    assert shrink(scenario, diverges) == {
        "conf": {"needed": "1"},
        "ops": [{"op": "first"}, {"op": "second"}],
    }


def test_a_scenario_has_a_number_and_is_always_the_same() -> None:
    one, two = scenarios("eam", 2, "4.1.4", seed=3)

    assert one["id"] == "3/0"
    assert next(scenarios("eam", 1, "4.1.4", seed=3, first=1)) == two
    assert json.loads(json.dumps(one)) == one


def test_scenarios_are_of_every_sort() -> None:
    operations = {
        operation["op"]
        for number in range(80)
        for operation in generate(Random(number), "4.1.4")["ops"]
    }

    assert operations >= {
        "advance", "tick", "reset", "client", "rp", "jobStart", "jobEnd", "stageSubmitted", "stageCompleted",
        "taskStart", "taskEnd", "speculativeSubmitted", "unschedulableAdded", "unschedulableRemoved", "executorAdded",
        "executorRemoved", "blockUpdated", "unpersist", "shuffleCleaned",
    }  # fmt: skip
