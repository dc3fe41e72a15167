"""Our answer to a scenario of kind ``pod``.

It takes the same scenario that the real classes take (oracle/README.md) and builds the pod with this project's core, in
the mode that adds nothing of its own.
"""

import getpass
from dataclasses import dataclass
from typing import Any

import yaml
from tests.conformance.oracle_jvm import DEFAULT_VERSION

from spark_allocation.core.executor_pod_builder import build_executor_pod
from spark_allocation.core.executor_pod_context import (
    DriverPodFacts,
    ExecutorConfigMap,
    ExecutorPodContext,
)
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.pod_refusals import PodRefused
from spark_allocation.core.resource_profiles import (
    DEFAULT_PROFILE_ID,
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
)
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion

LOCAL_DIR = "/var/data/spark-UUID"
CONFIG_MAP = "spark-exec-UNIQUE-conf-map"
_TEMPLATE_FILE = "spark.kubernetes.executor.podTemplateFile"


@dataclass(frozen=True, slots=True)
class PodQuestion:
    """A scenario in the words of this project's core: the arguments of `build_executor_pod`."""

    conf: SparkConf
    profile: ResourceProfile
    executor_id: ExecutorId
    context: ExecutorPodContext


def question(scenario: dict[str, Any]) -> PodQuestion:
    """What the scenario asks the core."""
    conf = SparkConf(
        {
            "spark.master": "k8s://https://127.0.0.1:1",
            "spark.app.name": "oracle",
            "spark.driver.host": "driver.example",
            **{key: str(value) for key, value in scenario["conf"].items()},
        }
    )
    version = SparkVersion.parse(scenario.get("sparkVersion", DEFAULT_VERSION))
    driver_pod = scenario.get("driverPod") or {"metadata": {}}
    context = ExecutorPodContext(
        application_id=scenario.get("appId", "spark-oracle"),
        spark_version=version,
        driver=DriverPodFacts(
            name=driver_pod["metadata"].get("name", ""),
            uid=driver_pod["metadata"].get("uid", ""),
            namespace="default",
            spark_user=scenario.get("sparkUser") or getpass.getuser(),
        ),
        pod_name_prefix=conf.get("spark.kubernetes.executor.podNamePrefix", "oracle-random"),
        config_map=ExecutorConfigMap(CONFIG_MAP),
        pod_template=_template(scenario, conf),
        default_local_dir=LOCAL_DIR,
    )
    executor_id = ExecutorId(int(scenario.get("execId", "1")))
    return PodQuestion(conf, _profile(scenario), executor_id, context)


def answer(scenario: dict[str, Any]) -> dict[str, Any]:
    """Build the pod that the scenario asks for."""
    asked = question(scenario)
    built = build_executor_pod(
        asked.conf, asked.profile, asked.executor_id, asked.context, as_spark=True
    )
    head = {"id": scenario.get("id"), "kind": "pod"}
    if isinstance(built, PodRefused):
        error = {
            "reason": built.reason.value,
            "key": built.key,
            "value": built.value,
            "rule": built.rule,
        }
        return {**head, "error": error}
    return {
        **head,
        "pod": built.pod,
        "executorContainer": built.executor_container,
        "resources": list(built.resources),
    }


def _template(scenario: dict[str, Any], conf: SparkConf) -> dict[str, Any] | None:
    path = conf.get(_TEMPLATE_FILE)
    if path is None:
        return None
    found = scenario.get("files", {}).get(path.removeprefix("${DIR}/"))
    if isinstance(found, str):
        found = yaml.safe_load(found)
    return found if isinstance(found, dict) else {}


def _profile(scenario: dict[str, Any]) -> ResourceProfile:
    described = scenario.get("rp")
    if not described or described["id"] == 0:
        return ResourceProfile(id=DEFAULT_PROFILE_ID)
    requests = {}
    for name, request in described.get("executor", {}).items():
        if isinstance(request, dict):
            requests[name] = ExecutorResourceRequest(
                resource_name=name,
                amount=int(request.get("amount", 0)),
                discovery_script=request.get("discoveryScript", ""),
                vendor=request.get("vendor", ""),
            )
        else:
            requests[name] = ExecutorResourceRequest(resource_name=name, amount=int(request))
    return ResourceProfile(
        id=ProfileId(described["id"]),
        executor_resources={} if described.get("taskOnly") else requests,
        task_only=bool(described.get("taskOnly")),
    )
