"""Keys of spec.sparkConf that make no difference are told; those that the operator reads are none of them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.documents.settings_without_effect import (
    ABOUT_SUBMISSION,
    ABOUT_THE_DRIVER_POD,
    SETTINGS_WITHOUT_EFFECT,
)

from spark_allocation.core.executor_pod_settings import POD_SETTINGS
from spark_allocation.core.heeded_keys import is_heeded, not_heeded
from spark_allocation.core.passive_driver import PASSIVE_SETTINGS

CODE = Path(__file__).parents[2] / "operator/spark_allocation"

READ_OF_THE_DRIVER = {
    # what a driver has to be started with, and what `doctor` and `driver-conf` tell about it
    "spark.cleaner.periodicGC.interval",
    "spark.default.parallelism",
    # when it shows a task that has begun
    "spark.executor.heartbeatInterval",
    "spark.ui.liveUpdate.minFlushPeriod",
    "spark.ui.liveUpdate.period",
    "spark.master",
    "spark.properties",
    "spark.sql.adaptive.coalescePartitions.minPartitionNum",
    "spark.sql.leafNodeDefaultParallelism",
    "spark.streaming.dynamicAllocation.enabled",
    "spark.streaming.dynamicAllocation.maxExecutors",
    *(setting.key for setting in PASSIVE_SETTINGS),
    # what a Spark job of `simulate` is set to, and what a policy for it may name
    "spark.task.maxFailures",
    "spark.dynamicAllocation.testing",
}
"""Keys in the code that ``sparkConf`` cannot set: the driver has read them before."""


def keys_in(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
                if text.startswith("spark.") and text.replace(".", "").isalnum() and text.count(".") > 1:  # fmt: skip
                    yield text


BEGINNINGS = {"spark.kubernetes.", "spark.kubernetes.allocation", "spark.dynamicAllocation."}
"""Of which the code makes keys."""


def test_every_key_that_the_code_reads_is_heeded() -> None:
    read = {key for part in ("core", "controller") for key in keys_in(CODE / part)} - BEGINNINGS
    assert len(read) > 60
    unknown = {key for key in read if not is_heeded(f"{key}x" if key.endswith(".") else key)}
    assert unknown <= READ_OF_THE_DRIVER


@pytest.mark.parametrize("setting", POD_SETTINGS, ids=lambda setting: setting.key)
def test_every_setting_of_the_pod_is_heeded(setting) -> None:
    assert is_heeded(f"{setting.key}x" if setting.is_family else setting.key)


@pytest.mark.parametrize(
    "key",
    ["spark.sql.shuffle.partitions", "spark.serializer", "spark.driver.memory", "spark.executor.memoryy", "foo", "", "spark.",
     "spark.kubernetes.executor", "executor.port"],
)  # fmt: skip
def test_what_only_others_read_is_not(key: str) -> None:
    assert not is_heeded(key)


def test_what_is_about_the_driver_pod_is_not() -> None:
    about = (ABOUT_SUBMISSION, ABOUT_THE_DRIVER_POD)
    keys = [key for key, reason in SETTINGS_WITHOUT_EFFECT if reason in about]
    assert len(keys) > 20
    assert [key for key in keys if is_heeded(f"{key}x" if key.endswith(".") else key)] == []


def test_a_key_that_another_value_refers_to_makes_a_difference() -> None:
    conf = {"spark.my.folder": "/x", "spark.your.folder": "/y", "spark.executor.extraClassPath": "${spark.my.folder}/a.jar"}  # fmt: skip
    assert not_heeded(conf, conf) == ("spark.your.folder",)
