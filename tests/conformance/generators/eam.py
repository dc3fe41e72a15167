"""Random scenarios of kind ``eam``."""

from random import Random
from typing import Any

from tests.conformance.generators.eam_closed_loop import ClosedLoop
from tests.conformance.generators.eam_senseless import Senseless
from tests.conformance.generators.eam_settings import bad_settings, settings

from spark_allocation.core.resource_profiles import InvalidProfile
from spark_allocation.core.spark_conf import InvalidSetting


def generate(random: Random, spark_version: str) -> dict[str, Any]:
    """A scenario: a cluster in a closed loop, senseless operations, or bad settings."""
    kind = random.random()
    scenario: dict[str, Any] = {"kind": "eam", "conf": settings(random)}
    if random.random() < 0.2:
        scenario["startMs"] = random.choice((0, 1, 100_000, 1_700_000_000_000, 4_000_000_000_000))
    if random.random() < 0.02:
        scenario["reliableShuffleStorage"] = True
    if kind < 0.45:
        try:
            scenario["ops"] = ClosedLoop(random, scenario).run(random.choice((20, 40, 80)))
        except (InvalidSetting, InvalidProfile):
            scenario["ops"] = [{"op": "tick", "ms": 100}]
    elif kind < 0.85:
        scenario["ops"] = Senseless(random).operations(random.choice((20, 60, 150)))
        if random.random() < 0.03:
            scenario["autoStart"] = False
            scenario["ops"].insert(random.randint(0, 20), {"op": "start"})
    else:
        scenario["conf"] = bad_settings(random)
        scenario["ops"] = Senseless(random).operations(10)
        if random.random() < 0.3:
            scenario["reliableShuffleStorage"] = random.random() < 0.5
    return scenario
