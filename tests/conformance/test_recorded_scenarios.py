"""Scenarios with the recorded answers of real Spark: replayed without a JVM.

Each line of ``scenarios/*.jsonl`` holds a scenario and Spark's answer per version, or one answer under ``all`` when the
versions agree.
"""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.answer import answer
from tests.conformance.oracle_jvm import SPARK_VERSIONS
from tests.conformance.outcome import Departed, Same

SCENARIOS = Path(__file__).parent / "scenarios"


def recorded() -> Iterator[Any]:
    for path in sorted(SCENARIOS.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            entry = json.loads(line)
            answers = entry["answers"]
            for version in SPARK_VERSIONS if "all" in answers else answers:
                name = f"{path.stem}-{entry['scenario'].get('id', number)}-{version}"
                theirs = answers.get("all") or answers[version]
                yield pytest.param(entry, version, theirs, id=name)


@pytest.mark.parametrize(("entry", "spark_version", "theirs"), list(recorded()))
def test_we_still_answer_as_spark_did(
    entry: dict[str, Any], spark_version: str, theirs: dict[str, Any]
) -> None:
    scenario = {**entry["scenario"], "sparkVersion": spark_version}
    compare = import_module(f"tests.conformance.{scenario['kind']}_compare").compare

    outcome = compare(scenario, theirs, answer(scenario))

    departures = entry.get("departures", {})
    if departure := entry.get("departure") or departures.get(spark_version):
        assert isinstance(outcome, Departed)
        assert outcome.name == departure
    else:
        assert isinstance(outcome, Same), str(outcome)
