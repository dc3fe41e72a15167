"""A value that Spark refuses is told under the name that whoever set it has written."""

import pytest

from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.effective_settings import effective_settings
from spark_allocation.core.passive_driver import PASSIVE_SETTINGS
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion

PASSIVE = {setting.key: setting.value for setting in PASSIVE_SETTINGS}


def refused(spec: dict, driver: dict[str, str]) -> str:
    wanted = SparkAllocationSpec.model_validate({"driver": {"podName": "driver"}, **spec})
    found = effective_settings(wanted, SparkConf({**PASSIVE, **driver}), SparkVersion.parse("4.1.4"))  # fmt: skip
    assert isinstance(found, InvalidSetting)
    return str(found)


def test_a_field_of_the_object_is_named_with_its_spark_key() -> None:
    told = refused({"allocation": {"podAllocationDelay": "1ms"}}, {})
    assert told == (
        "spec.allocation.podAllocationDelay (spark.kubernetes.allocation.batch.delay)='1ms': must be greater than 0.1s"
    )


@pytest.mark.parametrize("spec", [{}, {"allocation": {"batchSize": 3}}])
def test_a_key_of_the_driver_is_named_as_it_is(spec: dict) -> None:
    told = refused(spec, {"spark.kubernetes.allocation.batch.delay": "1ms"})
    assert told.startswith("spark.kubernetes.allocation.batch.delay='1ms'")
