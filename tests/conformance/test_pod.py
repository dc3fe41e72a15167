"""Executor pods against Spark's own classes: random configurations, and the Java options that Spark adds."""

import subprocess
from pathlib import Path

import pytest
from tests.conformance.oracle_jvm import SPARK_VERSIONS, class_path, java
from tests.conformance.run import run

from spark_allocation.core.executor_java_options import default_module_options
from spark_allocation.core.spark_version import SparkVersion

pytestmark = pytest.mark.spark
_PRINTER = """\
public class Options {
    public static void main(String[] arguments) {
        System.out.println(org.apache.spark.launcher.JavaModuleOptions.defaultModuleOptions());
    }
}
"""


@pytest.mark.parametrize("version", SPARK_VERSIONS)
def test_random_configurations_make_the_same_pod(version: str) -> None:
    summary = run("pod", 200, version, seed=1)

    assert summary.divergences == []
    assert summary.same == 200
    assert 20 < summary.ended_by_spark < 120, "valid and refused configurations must both occur"


@pytest.mark.parametrize("version", SPARK_VERSIONS)
def test_the_rebuilt_java_options_are_those_of_spark(version: str, tmp_path: Path) -> None:
    program = tmp_path / "Options.java"
    program.write_text(_PRINTER)

    printed = subprocess.run(
        [java(), "-cp", class_path(version), str(program)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert tuple(printed.split()) == default_module_options(SparkVersion.parse(version))
