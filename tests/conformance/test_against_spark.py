"""Random scenarios, answered by real Spark and by us.

Needs a JDK and pyspark (built on first use, see oracle_jvm). ``SPARK_SCENARIOS`` is the number of scenarios for each kind
and Spark version (100), ``SPARK_VERSIONS`` the versions, ``SPARK_SEED`` the seed.
"""

import importlib.util
import os

import pytest
from tests.conformance.answer import KINDS
from tests.conformance.oracle_jvm import SPARK_VERSIONS
from tests.conformance.run import run

COUNT = int(os.environ.get("SPARK_SCENARIOS", "100"))
SEED = int(os.environ.get("SPARK_SEED", "1"))
VERSIONS = os.environ.get("SPARK_VERSIONS", " ".join(SPARK_VERSIONS)).split()


def generated_kinds() -> list[str]:
    return [
        kind
        for kind in KINDS
        if importlib.util.find_spec(f"tests.conformance.generators.{kind}")
        and importlib.util.find_spec(f"tests.conformance.{kind}_compare")
    ]


@pytest.mark.spark
@pytest.mark.parametrize("spark_version", VERSIONS)
@pytest.mark.parametrize("kind", generated_kinds())
def test_we_answer_as_spark_does(kind: str, spark_version: str) -> None:
    summary = run(kind, COUNT, spark_version, SEED)

    assert summary.scenarios == COUNT
    assert [str(divergence) for _, divergence in summary.divergences] == []
    assert summary.same > COUNT * 0.7, "most scenarios must be compared to their end"
