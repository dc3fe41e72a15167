"""Objects of which an operator keeps thousands: the same to everybody, in less memory."""

import sys

from tests.unit.test_decisions_ring import step

from spark_allocation.api.api_model import lean
from spark_allocation.api.conditions import ConditionType, Reason
from spark_allocation.api.v1alpha1 import Condition
from spark_allocation.reports.decisions import Decisions
from spark_allocation.reports.status import Conditions, Statement


def said() -> Condition:
    return Condition(
        type="Ready",
        status="True",
        reason="Serving",
        last_transition_time="2026-01-01T00:00:00Z",
    )


def test_a_lean_object_says_the_same() -> None:
    made = said()
    assert lean(made) == made
    for options in ({}, {"by_alias": True, "exclude_none": True}, {"mode": "json"}):
        assert lean(made).model_dump(**options) == made.model_dump(**options)


def test_lean_objects_share_the_names_of_their_fields() -> None:
    first, second = lean(said()), lean(said())
    assert first.model_fields_set is second.model_fields_set
    assert sys.getsizeof(said().model_fields_set) > 200


def test_a_change_of_one_is_none_of_the_others() -> None:
    first, second = lean(said()), lean(said())
    changed = first.model_copy(update={"reason": "Other"})
    assert (first.reason, second.reason, changed.reason) == ("Serving", "Serving", "Other")
    assert changed.model_fields_set is not first.model_fields_set


def test_conditions_and_decisions_that_are_kept_are_lean() -> None:
    conditions = Conditions({"conditions": [said().model_dump(by_alias=True)]})
    conditions.say(ConditionType.DRIVER_REACHABLE, Statement(True, Reason.ANSWERS), 1)
    first, second = conditions.all()
    assert first.model_fields_set is second.model_fields_set
    ring = Decisions([{"time": "2026-01-01T00:00:00Z", "profile": 0, "target": 1, "reason": "a"}])
    ring.take(step(0, 3))
    ring.take(step(3, 0))
    ring.take(step(0, 3))
    assert len({id(each.model_fields_set) for each in ring.newest_first}) == 1
