"""Policies that no schema has seen: each is read or told as a problem, and settings come out or a sentence does."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.hostile import spoilt, texts
from tests.fuzz.test_texts import SPEC

from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.effective_settings import EffectiveSettings, effective_settings
from spark_allocation.controller.policy_directory import PolicyDirectory
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion

EXAMPLES = Path(__file__).parents[2] / "examples"
CLUSTER, NAMESPACED = (
    yaml.safe_load((EXAMPLES / f"{name}-policy.yaml").read_text()) for name in ("cluster", "namespace")
)  # fmt: skip
VERSION = SparkVersion.parse("4.1.4")
GOOD = SparkAllocationSpec.model_validate(
    {**SPEC, "driver": {"podName": "driver"}}
)  # what the policies are for


@given(
    cluster=spoilt(CLUSTER["spec"]),
    namespaced=spoilt(NAMESPACED["spec"]),
    labels=st.dictionaries(texts, texts, max_size=2),
    user=texts,
)
def test_policies(cluster: Any, namespaced: Any, labels: dict[str, str], user: str) -> None:
    directory = PolicyDirectory()
    namespace = NAMESPACED["metadata"].get("namespace", "jobs")
    for document, spec in ((CLUSTER, cluster), (NAMESPACED, namespaced)):
        metadata = {**document["metadata"], "uid": "u", "resourceVersion": "1"}
        for body in (document, {**document, "metadata": metadata, "spec": spec}):
            directory.update("scope", body)
    selected = directory.selected(namespace, labels)
    assert all(isinstance(problem, str) and problem for problem in selected.problems)
    settings = effective_settings(GOOD, SparkConf({}), VERSION, selected, user)
    assert isinstance(settings, EffectiveSettings | InvalidSetting)
    assert str(settings)
