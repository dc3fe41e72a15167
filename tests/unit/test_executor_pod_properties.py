"""What holds for every executor pod, over random configurations and templates."""

import json
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conformance.generators.pod import generate

from spark_allocation.core.executor_pod_builder import ExecutorPodManifest, build_executor_pod
from spark_allocation.core.executor_pod_context import (
    DriverPodFacts,
    ExecutorConfigMap,
    ExecutorPodContext,
)
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.pod_allow_list import offending_fields
from spark_allocation.core.pod_refusals import PodRefused
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId, ResourceProfile
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion

VERSIONS = ("3.4.4", "3.5.9", "4.0.1", "4.1.4")
OWN_LABEL = {"sparkallocation.dev/allocation-uid": "allocation-1"}
DRIVER = DriverPodFacts("driver", "driver-uid", "spark", "185")


def build(
    conf: dict[str, str],
    template: Any = None,
    *,
    version: str = "4.1.4",
    profile_id: int = DEFAULT_PROFILE_ID,
    executor_id: int = 7,
) -> ExecutorPodManifest | PodRefused:
    context = ExecutorPodContext(
        application_id="spark-app",
        spark_version=SparkVersion.parse(version),
        driver=DRIVER,
        pod_name_prefix="job-0a1b",
        config_map=ExecutorConfigMap("own"),
        pod_template=template,
        labels=OWN_LABEL,
        native_sidecars=True,
        termination_grace_period_seconds=120,
    )
    given_conf = {
        "spark.driver.host": "driver.svc",
        **conf,
        "spark.kubernetes.namespace": "spark",
        "spark.authenticate": "false",
    }
    return build_executor_pod(
        SparkConf(given_conf),
        ResourceProfile(ProfileId(profile_id)),
        ExecutorId(executor_id),
        context,
    )


def random_configuration(number: int) -> tuple[dict[str, str], Any]:
    scenario = generate(Random(number), "4.1.4")
    template = scenario.get("files", {}).get("t.yaml")
    return scenario["conf"], template if isinstance(template, dict) else None


@given(
    number=st.integers(0, 10**9), version=st.sampled_from(VERSIONS), profile_id=st.integers(0, 3)
)
@settings(max_examples=80, deadline=None)
def test_every_pod_keeps_the_contract_with_the_driver(
    number: int, version: str, profile_id: int
) -> None:
    """Violations can stop a driver: its allocator parses these labels of every executor it sees."""
    conf, template = random_configuration(number)
    manifest = build(conf, template, version=version, profile_id=profile_id)
    if isinstance(manifest, PodRefused):
        assert manifest.rule
        return
    metadata, spec = manifest.pod["metadata"], manifest.pod["spec"]
    executor = spec["containers"][-1]
    variables = {v["name"]: v.get("value") for v in executor["env"]}

    assert metadata["name"] == "job-0a1b-exec-7"
    assert metadata["namespace"] == "spark"
    assert metadata["labels"]["spark-role"] == "executor"
    assert metadata["labels"]["spark-exec-id"] == "7"
    assert metadata["labels"]["spark-app-selector"] == "spark-app"
    assert metadata["labels"]["spark-exec-resourceprofile-id"] == str(profile_id)
    assert OWN_LABEL.items() <= metadata["labels"].items()
    assert [owner["uid"] for owner in metadata["ownerReferences"]] == ["driver-uid"]
    assert spec["restartPolicy"] == "Never"
    assert spec["terminationGracePeriodSeconds"] == 120
    assert len(spec["containers"]) == 1
    assert executor["name"] == manifest.executor_container
    assert executor["args"][-1] == "executor"
    assert variables["SPARK_EXECUTOR_ID"] == "7"
    assert variables["SPARK_RESOURCE_PROFILE_ID"] == str(profile_id)
    assert "_SPARK_AUTH_SECRET" not in variables


@given(number=st.integers(0, 10**9), seed=st.integers())
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_configuration_does_not_matter(number: int, seed: int) -> None:
    conf, template = random_configuration(number)
    shuffled = list(conf.items())
    Random(seed).shuffle(shuffled)

    first, second = build(conf, template), build(dict(shuffled), template)

    if isinstance(first, ExecutorPodManifest):
        assert isinstance(second, ExecutorPodManifest)
        assert json.dumps([first.pod, first.resources]) == json.dumps(
            [second.pod, second.resources]
        )


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "a", "/x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "a", "mountPath"]), inner, max_size=2)
    ),
    max_leaves=4,
)
PATHS = [
    ("metadata", key) for key in ("labels", "annotations", "ownerReferences", "finalizers")
] + [
    ("spec", key)
    for key in (
        "containers",
        "initContainers",
        "volumes",
        "imagePullSecrets",
        "nodeSelector",
        "tolerations",
        "securityContext",
        "serviceAccountName",
        "priorityClassName",
    )
]
CONTAINER_FIELDS = [
    "name", "image", "env", "envFrom", "ports", "volumeMounts", "args", "command", "resources",
    "securityContext", "lifecycle", "livenessProbe",
]  # fmt: skip


@given(
    fields=st.dictionaries(st.sampled_from(PATHS), JUNK, max_size=3),
    container=st.dictionaries(st.sampled_from(CONTAINER_FIELDS), JUNK, max_size=3),
    whole=JUNK,
)
@settings(max_examples=120, deadline=None)
def test_no_template_makes_the_builder_or_the_limits_fail(
    fields: dict[tuple[str, str], Any], container: dict[str, Any], whole: Any
) -> None:
    """A template is free text to the API server's schema: whatever stands in it is built, or refused with a path."""
    template: dict[str, Any] = {"metadata": {}, "spec": {"containers": [container]}}
    for (part, key), value in fields.items():
        template[part][key] = value
    for given_template in (template, {"metadata": whole, "spec": whole}):
        manifest = build({"spark.kubernetes.container.image": "i"}, given_template)
        if isinstance(manifest, PodRefused):
            assert manifest.key.startswith("spec.executor.podTemplate")
        else:
            offending_fields(
                manifest.pod,
                {"metadata": {}, "spec": given_template["spec"]},
                template=given_template,
            )
