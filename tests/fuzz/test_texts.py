"""Texts that users write: properties files, pod templates, settings, and SparkAllocations that no schema has seen."""

import copy
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.fuzz.hostile import REDACTED, Document, spoilt, texts
from tests.fuzz.raw_driver import RawDriver
from tests.fuzz.test_driver_answers import built, with_driver
from tests.unit.executor_pod_documents import driver_document

from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.bounded_yaml import load_bounded_yaml
from spark_allocation.controller.driver_configuration import parse_java_properties
from spark_allocation.controller.driver_connection import Connection, Unconnected, connect
from spark_allocation.controller.pod_creation import Apis
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.kube.pacing import CreationPacer
from spark_allocation.testing.objects import FakeAllocationsApi, FakeObjectsApi
from spark_allocation.testing.pods import FakePodsApi

TEMPLATE: Document = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"labels": {"team": "a"}, "annotations": {"a": "b"}, "finalizers": []},
    "spec": {
        "containers": [
            {"name": "main", "image": "spark:test", "command": ["sh"], "args": ["-c"],
             "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
             "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
             "ports": [{"name": "p", "containerPort": 1}], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
             "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
             "securityContext": {"runAsUser": 1, "capabilities": {"drop": ["ALL"]}}}
        ],
        "initContainers": [{"name": "init", "image": "spark:test"}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "x"}},
                    {"name": "p", "projected": {"sources": [{"secret": {"name": "x"}}, {"serviceAccountToken": {"path": "t"}}]}}],
        "tolerations": [{"key": "a", "operator": "Exists"}], "nodeSelector": {"a": "b"},
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "imagePullSecrets": [{"name": "x"}], "hostAliases": [{"ip": "10.0.0.1"}], "securityContext": {"runAsUser": 1},
        "serviceAccountName": "default", "terminationGracePeriodSeconds": 30, "restartPolicy": "Never", "hostNetwork": False,
        "topologySpreadConstraints": [], "readinessGates": [], "resourceClaims": [], "dnsConfig": {}, "overhead": {},
    },
}  # fmt: skip
SPEC: Document = {
    "driver": {"podName": "driver", "uiPort": 4040, "access": "ui"},
    "mode": "Allocate",
    "dynamicAllocation": {"minExecutors": 1, "initialExecutors": 1, "maxExecutors": 3, "executorAllocationRatio": 0.5,
                          "schedulerBacklogTimeout": "1s", "executorIdleTimeout": "60s",
                          "shuffleTracking": {"enabled": True, "timeout": "1h"}},
    "allocation": {"batchSize": 5, "podAllocationDelay": "1s", "maxPendingPods": 10, "maxPendingPodsPerProfile": 5},
    "decommission": {"gracePeriod": "10min", "maxConcurrent": 2},
    "executor": {"podTemplate": {"spec": {"nodeSelector": {"a": "b"}}}},
    "streaming": {"targetDuration": "10s", "nominalRate": 5, "batchDuration": {"band": 0.1, "sizing": "Step"},
                  "backlog": {"low": "1s", "promQL": {"server": "m", "query": "sum(x)"}},
                  "freezeWindows": [{"start": "22:30", "duration": "2h", "weekdays": ["Monday"]}],
                  "queries": [{"name": "orders", "targetDuration": "5s", "rate": {"catchUp": 0.5}}]},
    "sparkConf": {"spark.executor.memory": "1g"},
    "deletionPolicy": "Drain",
    "ttlSecondsAfterFinished": 60,
}  # fmt: skip
POD = DriverPod("jobs", "driver", "driver", "Running", False, "127.0.0.1", 0, 0.0, None, 0.0)


@given(spec=spoilt(SPEC))
def test_a_specification_is_valid_or_says_what_is_wrong(spec: Any) -> None:
    try:
        SparkAllocationSpec.model_validate(spec)
    except ValidationError as error:
        assert all(problem["msg"] for problem in error.errors())


@given(text=st.text(alphabet="ab.=: \t\\\n\r#!u0041\x00é", max_size=80) | texts)
def test_properties_files(text: str) -> None:
    parsed = parse_java_properties(text)
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in parsed.items())


@given(text=st.text(alphabet="&*[]{}:,-!?|>#%@`'\"a1 \n\t~<", max_size=80) | texts)
def test_yaml(text: str) -> None:
    try:
        load_bounded_yaml(text, longest=1000, most_values=100)
    except ValueError as error:
        assert str(error)


async def _way(
    driver: RawDriver, session: Any, *, files: dict[str, str], spec: Document
) -> Connection | Unconnected:
    pods, objects = FakePodsApi(), FakeObjectsApi()
    document = driver_document(ui_port=driver.port, uid="driver")
    document["spec"]["volumes"] = [{"name": "conf", "configMap": {"name": "conf"}}]
    pods.put(document)
    objects.put("configmaps", {"metadata": {"name": "conf"}, "data": files}, namespace="jobs")
    wish = SparkAllocationSpec.model_validate(
        {"driver": {"podName": "driver", "uiPort": driver.port}, **spec}
    )
    return await connect(
        POD,
        wish,
        session,
        Apis(pods, FakeAllocationsApi(), objects, CreationPacer(1000)),
    )


@given(properties=st.text(alphabet="spark.exutomy=:\\\n u0", max_size=120) | texts)
def test_spark_properties_of_a_masked_driver(properties: str) -> None:
    async def ask(driver: RawDriver, session: Any) -> None:
        driver.good.properties["spark.executor.extraJavaOptions"] = REDACTED
        way = await _way(driver, session, files={"spark.properties": properties}, spec={})
        if isinstance(way, Connection):
            built(way)
        else:
            assert "spark.executor.extraJavaOptions" in way.message

    with_driver(ask)


@given(template=spoilt(TEMPLATE, most=4))
def test_a_template_in_a_specification(template: Any) -> None:
    async def ask(driver: RawDriver, session: Any) -> None:
        way = await _way(driver, session, files={}, spec={})
        assert isinstance(way, Connection)
        built(way, copy.deepcopy(template))

    if isinstance(template, dict):
        with_driver(ask)


@given(template=spoilt(TEMPLATE, most=4))
def test_a_template_in_a_driver_s_config_map(template: Any) -> None:
    text = yaml.safe_dump(template, allow_unicode=True)

    async def ask(driver: RawDriver, session: Any) -> None:
        driver.good.properties["spark.kubernetes.executor.podTemplateFile"] = "/opt/t.yaml"
        way = await _way(driver, session, files={"t.yaml": text}, spec={})
        if isinstance(way, Connection):
            built(way)

    with_driver(ask)


def test_the_documents_are_good_before_they_are_spoilt() -> None:
    async def ask(driver: RawDriver, session: Any) -> None:
        way = await _way(driver, session, files={}, spec={})
        assert isinstance(way, Connection)
        SparkAllocationSpec.model_validate(SPEC)

    with_driver(ask)
