"""Makes a diverging scenario small: fewer operations, fewer settings, as long as it still diverges."""

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


def shrink(scenario: Json, diverges: Callable[[Json], bool]) -> Json:
    """The smallest scenario found by removing chunks of operations and single settings."""
    scenario = _fewer_operations(scenario, diverges)
    for key in list(scenario.get("conf", {})):
        smaller = {**scenario, "conf": {k: v for k, v in scenario["conf"].items() if k != key}}
        if diverges(smaller):
            scenario = smaller
    return _fewer_operations(scenario, diverges)


def _fewer_operations(scenario: Json, diverges: Callable[[Json], bool]) -> Json:
    operations = scenario.get("ops")
    if not operations:
        return scenario
    chunk = len(operations)
    while chunk >= 1:
        start = 0
        while start < len(operations):
            fewer = operations[:start] + operations[start + chunk :]
            if fewer != operations and diverges({**scenario, "ops": fewer}):
                operations = fewer
            else:
                start += chunk
        chunk //= 2
    return {**scenario, "ops": operations}
