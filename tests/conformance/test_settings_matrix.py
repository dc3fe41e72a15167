"""Which settings are refused, and what the accepted ones mean: as real Spark has it, value by value.

`test_recorded_scenarios` compares the recorded answers with ours; here the record is held against the rows and, where a JVM
is, against Spark itself, and refusals are held to what they must tell.
"""

from typing import Any

import pytest
from tests.conformance.answer import answer
from tests.conformance.oracle_jvm import SPARK_VERSIONS, Oracle
from tests.conformance.settings_matrix import recorded, rows

RECORDED = recorded()
ASKED_ONLY_TOGETHER = {
    "spark.dynamicAllocation.enabled",
    "spark.memory.offHeap.enabled",
    "spark.shuffle.service.fetch.rdd.enabled",
}


def answers_of(entry: dict[str, Any], spark_version: str) -> dict[str, Any]:
    answers = entry["answers"]
    return answers.get("all") or answers[spark_version]


def is_refusal(told: dict[str, Any]) -> bool:
    return "startError" in told or "error" in told


def test_each_row_has_its_answer_on_record() -> None:
    assert [entry["scenario"] for entry in RECORDED] == list(rows())


def test_the_matrix_holds_values_of_both_kinds_for_each_key() -> None:
    """A key of which everything passes, or nothing, would show nothing."""
    outcomes: dict[str, set[bool]] = {}
    for entry in RECORDED:
        *_, key = entry["scenario"]["conf"]
        outcomes.setdefault(key, set()).add(is_refusal(answers_of(entry, "4.1.4")))
    one_sided = {key for key, seen in outcomes.items() if len(seen) == 1}
    assert one_sided <= ASKED_ONLY_TOGETHER


@pytest.mark.parametrize("spark_version", SPARK_VERSIONS)
def test_a_refusal_names_the_key_the_value_and_the_rule(spark_version: str) -> None:
    refusals = 0
    for entry in RECORDED:
        scenario = entry["scenario"]
        told = answer({**scenario, "sparkVersion": spark_version})
        if not is_refusal(told):
            continue
        refusals += 1
        error = told.get("startError") or told["error"]
        message = error.get("message") or f"{error['key']}={error['value']!r}: {error['rule']}"
        head, _, rule = message.partition(": ")
        assert rule, message
        named = [f"{key}={value!r}" for key, value in scenario["conf"].items()]
        unset = "spark.memory.offHeap.size=''"  # asked for by another key, and not there
        assert head in (*named, unset), (scenario["id"], message)
    assert refusals > 300


@pytest.mark.spark
@pytest.mark.parametrize("spark_version", SPARK_VERSIONS)
def test_spark_still_answers_so(spark_version: str) -> None:
    with Oracle(spark_version) as oracle:
        asked = [entry["scenario"] for entry in RECORDED]
        changed = [
            scenario["id"]
            for entry, (scenario, told) in zip(RECORDED, oracle.ask_ahead(asked), strict=True)
            if told != answers_of(entry, spark_version)
        ]
    assert changed == []
