"""The table of settings and the code say the same: each setting changes the pod, and nothing else is read.

Two pods are built that differ in one setting. In the Spark versions in which the table gives it an effect they must
differ, and in older ones they must not. The other way round, every key that the builder asks for is in the table.
"""

import re
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from tests.conformance.generators.pod import generate
from tests.conformance.pod_answer import question
from tests.documents.executor_pod_configuration import EFFECT_TEST, PAGE, ROOT
from tests.documents.settings_without_effect import KEYS_OF_OTHER_PREFIXES, SETTINGS_WITHOUT_EFFECT

from spark_allocation.core.executor_java_options import is_executor_startup_conf
from spark_allocation.core.executor_pod_builder import build_executor_pod
from spark_allocation.core.executor_pod_context import (
    DriverPodFacts,
    ExecutorConfigMap,
    ExecutorPodContext,
)
from spark_allocation.core.executor_pod_settings import POD_SETTINGS, PodSetting
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ResourceProfile
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion

K8S = "spark.kubernetes."
EXECUTOR = K8S + "executor."
CLAIM = EXECUTOR + "volumes.persistentVolumeClaim.c."
VERSIONS = ("3.4.4", "3.5.9", "4.0.1", "4.1.4")
OPEN_PREFIXES = frozenset({"spark.auth", "spark.rpc", "spark.network", "spark.ssl"})
KEYS_OF_SPARK = (ROOT / "tests/documents/spark_kubernetes_keys.txt").read_text().split()
A_CLAIM = {
    CLAIM + "mount.path": "/c",
    CLAIM + "options.claimName": "OnDemand",
    CLAIM + "options.storageClass": "fast",
    CLAIM + "options.sizeLimit": "1Gi",
}
TEMPLATE = {"spec": {"containers": [{"name": "first"}, {"name": "second", "image": "second:1"}]}}


@dataclass(frozen=True)
class Sample:
    """A value that shows a setting's effect.

    Attributes:
        value: of the setting.
        rest: the end of a family's key.
        beside: other settings that it needs.
        template: the pod template that it needs.
        by_spark: only Spark's own pod shows it; ours has something of its own there.
        not_in_the_pod: it decides in the allocator.
    """

    value: str
    rest: str = ""
    beside: dict[str, str] = field(default_factory=dict)
    template: dict[str, Any] | None = None
    by_spark: bool = False
    not_in_the_pod: bool = False


SAMPLES: dict[str, Sample] = {
    "spark.app.name": Sample("other"),
    K8S + "namespace": Sample("elsewhere"),
    EXECUTOR + "podNamePrefix": Sample("Not-A-Name"),
    EXECUTOR + "label.": Sample("x", "team"),
    EXECUTOR + "annotation.": Sample("x", "note"),
    K8S + "container.image": Sample("other:1"),
    EXECUTOR + "container.image": Sample("other:1"),
    K8S + "container.image.pullPolicy": Sample("Always"),
    K8S + "container.image.pullSecrets": Sample("registry"),
    "spark.executor.cores": Sample("3"),
    EXECUTOR + "request.cores": Sample("500m"),
    EXECUTOR + "limit.cores": Sample("2"),
    "spark.executor.memory": Sample("3g"),
    "spark.executor.memoryOverhead": Sample("1g"),
    "spark.yarn.executor.memoryOverhead": Sample("1g"),
    "spark.executor.memoryOverheadFactor": Sample("0.9"),
    K8S + "memoryOverheadFactor": Sample("0.9"),
    "spark.executor.minMemoryOverhead": Sample("1g"),
    "spark.executor.pyspark.memory": Sample("1g", beside={K8S + "resource.type": "python"}),
    K8S + "resource.type": Sample("python", beside={"spark.executor.pyspark.memory": "1g"}),
    "spark.memory.offHeap.enabled": Sample("true", beside={"spark.memory.offHeap.size": "1g"}),
    "spark.unsafe.offHeap": Sample("true", beside={"spark.memory.offHeap.size": "1g"}),
    "spark.memory.offHeap.size": Sample("1g", beside={"spark.memory.offHeap.enabled": "true"}),
    "spark.executor.resource.": Sample(
        "2", "gpu.amount", beside={"spark.executor.resource.gpu.vendor": "nvidia.com"}
    ),
    "spark.executor.defaultJavaOptions": Sample("-Dx=1"),
    "spark.executor.extraJavaOptions": Sample("-Dx=1"),
    "spark.executor.defaultExtraClassPath": Sample("/a"),
    "spark.executor.extraClassPath": Sample("/a"),
    "spark.executor.extraLibraryPath": Sample("/a"),
    "spark.executorEnv.": Sample("1", "X"),
    "spark.driver.host": Sample("elsewhere"),
    "spark.driver.port": Sample("7000"),
    "spark.driver.bindAddress": Sample("10.0.0.9", beside={EXECUTOR + "useDriverPodIP": "true"}),
    EXECUTOR + "useDriverPodIP": Sample("true", beside={"spark.driver.bindAddress": "10.0.0.9"}),
    "spark.blockManager.port": Sample("7100"),
    "spark.auth": Sample("x", "enticate.enableSaslEncryption"),
    "spark.rpc": Sample("128", ".message.maxSize"),
    "spark.network": Sample("1s", ".timeout"),
    "spark.ssl": Sample("TLSv1.3", ".protocol"),
    "spark.port.": Sample("1", "maxRetries"),
    "spark.authenticate": Sample("true"),
    "spark.authenticate.secret.file": Sample("/s", beside={"spark.authenticate": "true"}),
    "spark.authenticate.secret.executor.file": Sample("/s", beside={"spark.authenticate": "true"}),
    "spark.ui.custom.executor.log.url": Sample("http://logs"),
    EXECUTOR + "disableConfigMap": Sample("true"),
    K8S + "authenticate.executor.serviceAccountName": Sample("executors"),
    K8S + "authenticate.driver.serviceAccountName": Sample("drivers"),
    EXECUTOR + "secrets.": Sample("/etc/db", "db"),
    EXECUTOR + "secretKeyRef.": Sample("db:password", "PASSWORD"),
    EXECUTOR + "volumes.": Sample("/scratch", "emptyDir.scratch.mount.path"),
    K8S + "legacy.useReadWriteOnceAccessMode": Sample("true", beside=A_CLAIM),
    K8S + "driver.ownPersistentVolumeClaim": Sample("false", beside=A_CLAIM),
    K8S + "driver.reusePersistentVolumeClaim": Sample("false", not_in_the_pod=True),
    K8S + "driver.waitToReusePersistentVolumeClaim": Sample("true", not_in_the_pod=True),
    EXECUTOR + "hadoopConfigMapName": Sample("hadoop"),
    "spark.local.dir": Sample("/scratch"),
    K8S + "local.dirs.tmpfs": Sample("true"),
    K8S + "node.selector.": Sample("ssd", "disk"),
    EXECUTOR + "node.selector.": Sample("ssd", "disk"),
    K8S + "scheduler.name": Sample("volcano"),
    EXECUTOR + "scheduler.name": Sample("volcano"),
    EXECUTOR + "podTemplateFile": Sample("/opt/template.yaml"),
    EXECUTOR + "podTemplateContainerName": Sample("second", template=TEMPLATE),
    K8S + "allocation.pods.allocator": Sample("statefulset", by_spark=True),
    EXECUTOR + "terminationGracePeriodSeconds": Sample("7"),
    "spark.decommission.enabled": Sample("true"),
    K8S + "decommission.script": Sample(
        "/own.sh", beside={"spark.decommission.enabled": "true"}, by_spark=True
    ),
    "spark.executor.decommission.signal": Sample(
        "USR1", beside={"spark.decommission.enabled": "true"}
    ),
    EXECUTOR + "pod.featureSteps": Sample(
        "org.apache.spark.deploy.k8s.features.VolcanoFeatureStep"
    ),
    EXECUTOR + "pod.excludedFeatureSteps": Sample(
        "org.apache.spark.deploy.k8s.features.LocalDirsFeatureStep"
    ),
}


BASE = {K8S + "container.image": "spark:1", "spark.driver.host": "driver"}


def pod(conf: dict[str, str], spark: str, sample: Sample) -> object:
    return built(SparkConf({**BASE, **conf}), spark, sample)


def built(conf: SparkConf, spark: str, sample: Sample) -> object:
    """The pod, its claims, or why there is none."""
    return build_executor_pod(
        conf,
        ResourceProfile(DEFAULT_PROFILE_ID),
        ExecutorId(1),
        ExecutorPodContext(
            application_id="app",
            spark_version=SparkVersion.parse(spark),
            driver=DriverPodFacts("driver", "uid", "default", "185", ip="10.0.0.1"),
            pod_name_prefix="job",
            config_map=ExecutorConfigMap("conf", ("log4j2.properties",)),
            pod_template=sample.template,
        ),
        as_spark=sample.by_spark,
    )


def claims(conf: dict[str, str], spark: str) -> object:
    return PodsAllocatorConf.from_spark_conf(SparkConf(conf), SparkVersion.parse(spark)).claims


@pytest.mark.parametrize("setting", POD_SETTINGS, ids=lambda setting: setting.key)
def test_each_setting_changes_the_pod_from_its_version_on(setting: PodSetting) -> None:
    sample = SAMPLES[setting.key]
    given = {setting.key + sample.rest: sample.value}
    for spark in VERSIONS:
        version = SparkVersion.parse(spark)
        if sample.not_in_the_pod:
            changed = claims(given, spark) != claims({}, spark)
        else:
            # written out, because before 4.0 what the setting asks for is the default
            legacy = {K8S + "legacy.useReadWriteOnceAccessMode": "false"}
            without = {**legacy, **sample.beside}
            changed = pod({**without, **given}, spark, sample) != pod(without, spark, sample)
        since = tuple(map(int, (setting.since or "3.4").split(".")))
        assert changed is version.at_least(*since), f"on Spark {spark}"


def test_each_setting_has_a_sample_and_each_sample_a_setting() -> None:
    assert sorted(SAMPLES) == sorted(setting.key for setting in POD_SETTINGS)


class AskedConf(SparkConf):
    """A configuration that notes what it is asked for."""

    __slots__ = ("asked",)

    def __init__(self, values: Any, asked: set[str] | None = None) -> None:
        super().__init__(values)
        self.asked = set() if asked is None else asked

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def with_values(self, values: Any) -> SparkConf:
        return AskedConf({**self._values, **values}, self.asked)

    def with_prefix(self, prefix: str) -> dict[str, str]:
        self.asked.add(prefix)
        return super().with_prefix(prefix)

    def _read(self, key: str, default: Any, parse: Any) -> Any:
        self.asked.add(key)
        return super()._read(key, default, parse)


def in_the_table(key: str) -> bool:
    return is_executor_startup_conf(key, SparkVersion.parse("4.1.4")) or any(
        key.startswith(setting.key)
        if setting.is_family or setting.key in OPEN_PREFIXES
        else key == setting.key
        for setting in POD_SETTINGS
    )


def test_every_key_that_the_builder_asks_for_is_in_the_table() -> None:
    asked: set[str] = set()
    for number in range(300):
        version = VERSIONS[number % len(VERSIONS)]
        posed = question({**generate(Random(number), version), "sparkVersion": version})
        conf = AskedConf(dict(posed.conf), asked)
        build_executor_pod(conf, posed.profile, posed.executor_id, posed.context, as_spark=True)
    # our own pod: whether a value is masked is asked of every key that is there, so only known ones are
    for key, sample in SAMPLES.items():
        conf = AskedConf({**BASE, **sample.beside, key + sample.rest: sample.value}, asked)
        built(conf, "4.1.4", sample)
    unknown = sorted(key for key in asked if not in_the_table(key) and key not in EXPLAINED)
    assert unknown == []
    assert len(asked) > len(POD_SETTINGS)


EXPLAINED = frozenset({"spark.authenticate.secret", "spark.first", "spark.second"})
"""Asked for, without effect of their own: the secret itself never goes into a pod that the operator makes; the others
are what the generator's values refer to."""


def without_effect(key: str) -> bool:
    return any(
        key.startswith(other) if other.endswith(".") else key == other
        for other, _ in SETTINGS_WITHOUT_EFFECT
    )


@pytest.mark.parametrize("key", sorted(set(KEYS_OF_SPARK) - KEYS_OF_OTHER_PREFIXES))
def test_each_kubernetes_setting_of_spark_is_in_one_of_the_tables(key: str) -> None:
    assert in_the_table(key) is not without_effect(key)


@pytest.mark.parametrize(
    "key",
    [
        "spark.kubernetes.authenticate.submission.oauthToken",
        "spark.kubernetes.authenticate.driver.caCertFile",
        "spark.kubernetes.authenticate.driver.mounted.oauthTokenFile",
        "spark.kubernetes.authenticate.caCertFile",
        "spark.kubernetes.authenticate.executor.serviceAccountName",
        "spark.kubernetes.executor.volumes.nfs.images.options.server",
        "spark.kubernetes.driver.volumes.nfs.images.options.server",
        "spark.executor.resource.gpu.vendor",
        "spark.driver.resource.gpu.vendor",
        "spark.task.resource.gpu.amount",
        "spark.resources.discoveryPlugin",
    ],
)
def test_keys_that_only_spark_s_documentation_spells_out(key: str) -> None:
    assert in_the_table(key) is not without_effect(key)


def test_no_setting_is_said_to_have_no_effect_that_spark_does_not_have() -> None:
    prefix = "spark.kubernetes."
    of_ours = {key for key, _ in SETTINGS_WITHOUT_EFFECT if key.startswith(prefix)}
    known = set(KEYS_OF_SPARK)
    assert [
        key
        for key in sorted(of_ours)
        if key not in known
        and not any(each.startswith(key) for each in known)
        and not key.startswith("spark.kubernetes.authenticate.")
    ] == []


def test_the_tests_that_the_page_names_exist() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE.read_text(encoding="utf-8")))
    defined = {
        name
        for path in (ROOT / "tests" / "unit").glob("test_*.py")
        for name in re.findall(r"def (test_[a-z0-9_]+)\(", path.read_text(encoding="utf-8"))
    }
    assert named - defined == set()
    assert EFFECT_TEST in defined
    assert len(named) > 40


def test_every_row_of_the_page_names_a_test() -> None:
    table = PAGE.read_text(encoding="utf-8").split("## ", maxsplit=1)[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == len(POD_SETTINGS)
    assert [row for row in rows if "`test_" not in row] == []
