"""Every setting that Spark knows is given to its own classes: those that change the executor pod are those of our table."""

import json
import re
from typing import Any

import pytest
from tests.conformance.oracle_jvm import SPARK_VERSIONS, batch
from tests.documents.keys_of_spark import (
    KUBERNETES_KEYS,
    SPARK_KEYS,
    all_keys,
    documented_keys,
    kubernetes_keys,
)

from spark_allocation.core.executor_java_options import is_executor_startup_conf
from spark_allocation.core.executor_pod_settings import POD_SETTINGS
from spark_allocation.core.spark_version import SparkVersion

pytestmark = pytest.mark.spark

EXECUTOR = "spark.kubernetes.executor."
CLAIM = EXECUTOR + "volumes.persistentVolumeClaim.c."
VALUES = ("true", "7777", "1g", "a:b")
BASE = {
    EXECUTOR + "podNamePrefix": "p",
    "spark.kubernetes.container.image": "spark:1",
    "spark.driver.port": "7078",
    CLAIM + "mount.path": "/c",
    CLAIM + "options.claimName": "OnDemand",
    CLAIM + "options.storageClass": "fast",
    CLAIM + "options.sizeLimit": "1Gi",
}
BESIDE = {
    **BASE,
    EXECUTOR + "useDriverPodIP": "true",
    "spark.authenticate": "true",
    "spark.authenticate.secret": "s",
    "spark.decommission.enabled": "true",
    "spark.kubernetes.resource.type": "python",
    "spark.memory.offHeap.size": "1g",
}
"""What gives other settings an effect."""
_RANDOM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _form(answer: dict[str, Any]) -> str | None:
    """The pod as text without what is drawn by lot; None when Spark refused to build it."""
    if "pod" not in answer:
        return None
    return _RANDOM.sub("", json.dumps([answer["pod"], answer["resources"]], sort_keys=True))


def _in_the_table(key: str, version: SparkVersion) -> bool:
    return is_executor_startup_conf(key, version) or any(
        key.startswith(setting.key) if setting.is_family else key == setting.key
        for setting in POD_SETTINGS
        if not setting.since or version.at_least(*map(int, setting.since.split(".")))
    )


@pytest.mark.parametrize("version", SPARK_VERSIONS)
def test_no_other_setting_of_spark_changes_the_pod(version: str) -> None:
    keys = sorted(all_keys(version))
    assert len(keys) > 400
    asked = [
        (key, base, {**base, key + ("x" if key.endswith(".") else ""): value})
        for key in keys
        for base in (BASE, BESIDE)
        for value in VALUES
    ]
    scenarios = [{"kind": "pod", "conf": conf} for conf in (BASE, BESIDE)]
    scenarios += [{"kind": "pod", "conf": conf} for _, _, conf in asked]
    plain, beside, *answers = map(_form, batch(scenarios, version))
    assert plain is not None
    assert beside is not None
    changed = {
        key
        for (key, base, _), form in zip(asked, answers, strict=True)
        if form is not None and form != (plain if base is BASE else beside)
    }
    told = SparkVersion.parse(version)
    assert {key for key in changed if not _in_the_table(key, told)} == WITHOUT_EFFECT_ON_OURS
    assert len(changed) > 40


WITHOUT_EFFECT_ON_OURS = {"spark.authenticate.secret"}
"""Spark puts the secret into the pod; the operator refuses to make such a pod."""


def test_the_list_of_kubernetes_settings_is_that_of_the_jars() -> None:
    known = set().union(*map(kubernetes_keys, SPARK_VERSIONS))
    assert set(KUBERNETES_KEYS.read_text().split()) == known


def test_the_list_for_the_documentation_is_that_of_the_jars() -> None:
    assert set(SPARK_KEYS.read_text().split()) == documented_keys()
