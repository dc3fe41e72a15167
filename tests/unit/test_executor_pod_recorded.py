"""Executor pods against recorded answers of Spark's own classes (tests/conformance/scenarios/pod.jsonl).

A few configurations that together touch most settings, for machines without a JVM; tests/conformance/test_pod.py has
thousands. The file is written by tests/conformance/run.py's ``record``.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.outcome import Same
from tests.conformance.pod_answer import answer
from tests.conformance.pod_compare import compare

_FILE = Path(__file__).parents[1] / "conformance" / "scenarios" / "pod.jsonl"
_RECORDED = [json.loads(line) for line in _FILE.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("version", sorted(_RECORDED[0]["answers"]))
@pytest.mark.parametrize("recorded", _RECORDED, ids=lambda recorded: recorded["scenario"]["id"])
def test_the_recorded_answer_of_spark(recorded: dict[str, Any], version: str) -> None:
    scenario = recorded["scenario"]

    outcome = compare(
        scenario, recorded["answers"][version], answer({**scenario, "sparkVersion": version})
    )

    assert isinstance(outcome, Same), str(outcome)
