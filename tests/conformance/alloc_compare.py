"""When an answer of kind ``alloc`` equals the oracle's.

Everything is compared: each request with its selectors and order, each set, each counter. What means nothing and is
therefore brought into one form first: the wording of refused settings, and the order of the volumes within a pod, which
Spark takes from a hash map.
"""

import copy
from typing import Any

from tests.conformance.outcome import Diverged, Outcome, Same, first_difference


def compare(scenario: dict[str, Any], theirs: dict[str, Any], ours: dict[str, Any]) -> Outcome:
    """Compare the answers to one scenario."""
    their_steps = canonical(theirs).get("steps")
    our_steps = canonical(ours).get("steps")
    if their_steps is None or our_steps is None:
        if their_steps is None and our_steps is None:
            return Same(0, ended_by_spark=True)
        return Diverged(-1, "startError", theirs.get("startError"), ours.get("startError"))
    for their, our in zip(their_steps, our_steps, strict=True):
        difference = first_difference(their, our)
        if difference is not None:
            return Diverged(their["i"], *difference)
    return Same(len(their_steps))


def canonical(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what means nothing."""
    result = copy.deepcopy(answer)
    for step in result.get("steps", []):
        for request in step["requests"]:
            for pod in (request.get("object"), *request.get("objects", [])):
                if pod is not None and "claims" in pod:
                    pod["claims"] = sorted(pod["claims"])
    return result
