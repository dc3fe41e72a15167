"""Compares answers of kind ``eam``; every allowed difference has a name.

Not compared, because Kubernetes ignores it: locality hints (``locality``, and ``localityAware`` and ``hostToLocal`` of
calls). Not compared either: the constant flags of removal calls.
"""

import re
from typing import Any

from tests.conformance.outcome import Departed, Diverged, Outcome, Same, first_difference

UNKNOWN_PROFILE_KEEPS_TARGET = "unknown-profile-keeps-target"
PROFILE_WITHOUT_TARGET = "profile-without-target"
FRACTIONAL_TASK_CPUS = "fractional-task-cpus"
FLAGS_READ_AS_IN_SPARK_4 = "flags-read-as-in-spark-4"

_THROWN_BY_SPARK = (
    (re.compile(r"ResourceProfileId -?\d+ not found"), UNKNOWN_PROFILE_KEEPS_TARGET),
    (re.compile(r"key not found: -?\d+"), PROFILE_WITHOUT_TARGET),
)
_FLAGS = (
    "spark.dynamicAllocation.shuffleTracking.enabled",
    "spark.storage.decommission.shuffleBlocks.enabled",
)
_STUB_FAILURE = "stub: requestTotalExecutors"
_CALL_FIELDS = ("call", "totals", "ids", "returned", "ack")


def compare(scenario: dict[str, Any], theirs: dict[str, Any], ours: dict[str, Any]) -> Outcome:
    """Compare Spark's answer and ours."""
    if "fatal" in theirs:
        return Diverged(-1, "fatal", theirs["fatal"], None)
    if "startError" in theirs or "startError" in ours:
        return _compare_start(scenario, theirs, ours)
    operations = [{"op": "init"}, *scenario["ops"]]
    for done, (operation, their, our) in enumerate(
        zip(operations, theirs["steps"], ours["steps"], strict=True)
    ):
        error = their.get("error")
        if error is not None and not _same_error(error, our.get("error")):
            return _after_spark_threw(done, operation, error, our)
        found = first_difference(_comparable(their), _comparable(our))
        if found is not None:
            return Diverged(their["i"], *found)
    return Same(len(theirs["steps"]))


def _compare_start(
    scenario: dict[str, Any], theirs: dict[str, Any], ours: dict[str, Any]
) -> Outcome:
    if "startError" in theirs and "startError" in ours:
        return Same(1, ended_by_spark=True)
    refused = ours.get("startError")
    cpus = scenario["conf"].get("spark.task.cpus", "1")
    if (refused is None and _is_fraction(cpus)) or (
        # read as a fraction is, so only in ASCII digits
        refused is not None and refused.get("key") == "spark.task.cpus" and not cpus.isascii()
    ):
        return Departed(FRACTIONAL_TASK_CPUS, -1)
    old = scenario.get("sparkVersion", "").startswith("3.")
    if refused is not None and old and refused.get("key") in _FLAGS:
        return Departed(FLAGS_READ_AS_IN_SPARK_4, -1)
    return Diverged(-1, "startError", theirs.get("startError"), refused)


def _after_spark_threw(
    done: int, operation: dict[str, Any], error: dict[str, Any], our: dict[str, Any]
) -> Outcome:
    if operation["op"] == "rp":
        if "error" in our:
            return Same(done, ended_by_spark=True)
        if _is_fraction(operation["task"].get("cpus", 1)):
            return Departed(FRACTIONAL_TASK_CPUS, our["i"])
        return Diverged(our["i"], "error", error, None)
    for pattern, departure in _THROWN_BY_SPARK:
        if pattern.search(str(error.get("message"))):
            return Departed(departure, our["i"])
    return Diverged(our["i"], "error", error, our.get("error"))


def _is_fraction(cpus: float | str) -> bool:
    """Written as a number that is no integer: refused before Spark 4.3."""
    return re.fullmatch(r"\s*[+-]?\d+\s*", str(cpus)) is None


def _same_error(theirs: dict[str, Any], ours: dict[str, Any] | None) -> bool:
    """The stub's own failure, after which Spark's state is well defined."""
    return ours is not None and theirs.get("message") == ours["message"] == _STUB_FAILURE


def _comparable(step: dict[str, Any]) -> dict[str, Any]:
    compared = {key: value for key, value in step.items() if key not in ("locality", "error")}
    compared["error"] = bool(step.get("error"))
    compared["listenerErrors"] = bool(step.get("listenerErrors"))
    compared["calls"] = [
        {field: call[field] for field in _CALL_FIELDS if field in call} for call in step["calls"]
    ]
    if "load" in step:
        compared["load"] = {
            name: {
                profile: "error" if isinstance(value, dict) else value
                for profile, value in values.items()
            }
            for name, values in step["load"].items()
        }
    return compared
