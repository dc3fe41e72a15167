"""Examples for the operators that submit drivers: what they pass on makes a driver that leaves allocation to us."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from spark_allocation.core.passive_driver import offences

EXAMPLES = Path(__file__).parents[2] / "examples"
LABEL = "sparkallocation.dev/managed"
BOUND = "spec.sparkallocation.dev/dynamicAllocation.maxExecutors"


def spec_of(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((EXAMPLES / name).read_text())["spec"])


@pytest.mark.parametrize("name", ["kubeflow-spark-application.yaml", "apache-spark-application.yaml"])  # fmt: skip
def test_the_driver_is_passive(name: str) -> None:
    conf = spec_of(name)["sparkConf"]
    assert all(isinstance(value, str) for value in conf.values()), "the kinds take texts alone"
    assert not offences(conf)


def test_kubeflow_labels_the_driver_and_adds_no_setting_of_its_own() -> None:
    spec = spec_of("kubeflow-spark-application.yaml")
    assert spec["driver"]["labels"][LABEL] == "true"
    assert BOUND in spec["driver"]["annotations"]
    # each would become a setting beside sparkConf
    assert "dynamicAllocation" not in spec
    assert "instances" not in spec["executor"]


def test_the_apache_operator_labels_the_driver() -> None:
    conf = spec_of("apache-spark-application.yaml")["sparkConf"]
    assert conf[f"spark.kubernetes.driver.label.{LABEL}"] == "true"
    assert f"spark.kubernetes.driver.annotation.{BOUND}" in conf
