"""What a person can learn of a driver from outside: its configuration, through the API server's way to its pod."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from spark_allocation.api.group import USER_LABEL
from spark_allocation.controller.driver_polling import add_profiles
from spark_allocation.core.driver_report import Environment
from spark_allocation.core.resource_profiles import ResourceProfileManager
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion
from spark_allocation.kube.api_client import ApiAnswer
from spark_allocation.kube.cluster_reading import ClusterReading
from spark_allocation.sources.driver_answers import environment_in

UI_PORT = 4040
UNKNOWN_VERSION = SparkVersion.parse("4.1.0")


@dataclass(frozen=True, slots=True)
class SeenDriver:
    """A driver as far as it could be read.

    Attributes:
        properties: its Spark properties; None when they could not be read.
        why_not: then, the reason.
        user: whose defaults of policies hold; "" when unknown.
        profiles: that it has named; None when they could not be read.
    """

    pod_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] | None = None
    why_not: str = ""
    user: str = ""
    version: SparkVersion = UNKNOWN_VERSION
    profiles: ResourceProfileManager | None = None


async def see_driver(
    reading: ClusterReading, namespace: str, pod_name: str, ui_port: int | None
) -> SeenDriver:
    """Look.

    Raises:
        ApiUnavailable: the API server does not answer.
    """
    if not pod_name:
        return SeenDriver(why_not="no driver pod is served")
    pod = await reading.pod(namespace, pod_name)
    if pod is None:
        return SeenDriver(pod_name, why_not=f"pod {pod_name} is not there, or may not be read")
    labels = pod["metadata"].get("labels") or {}
    user = labels.get(USER_LABEL, "")
    port = ui_port or _declared_port(pod)
    listed = await reading.through_pod(namespace, pod_name, port, "/api/v1/applications")
    application = _first_application(listed)
    if application is None:
        return SeenDriver(
            pod_name,
            labels,
            why_not=f"port {port} of pod {pod_name} could not be asked through the API server (right: get pods/proxy)",
            user=user,
        )
    attempt = application["attempts"][0]
    path = f"/api/v1/applications/{quote(str(application.get('id', '')), safe='')}/environment"
    answer = await reading.through_pod(namespace, pod_name, port, path)
    environment = environment_in(bytes(answer.body)) if answer is not None else None
    if environment is not None and not environment.spark_properties:
        environment = None
    try:
        version = SparkVersion.parse(str(attempt.get("appSparkVersion") or ""))
    except ValueError:
        environment, version = None, UNKNOWN_VERSION
    return SeenDriver(
        pod_name,
        labels,
        environment.spark_properties if environment is not None else None,
        "" if environment is not None else "the driver's environment could not be read",
        user or str(attempt.get("sparkUser") or ""),
        version,
        _profiles(environment),
    )


def _profiles(environment: Environment | None) -> ResourceProfileManager | None:
    if environment is None:
        return None
    try:
        profiles = ResourceProfileManager(SparkConf(environment.spark_properties))
    except ValueError:
        return None  # Spark itself would not start with these
    add_profiles(profiles, environment.resource_profiles)
    return profiles


def _declared_port(pod: Mapping[str, Any]) -> int:
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == "spark-ui":
                return int(port["containerPort"])
    return UI_PORT


def _decoded(answer: ApiAnswer | None) -> Any:
    if answer is None:
        return None
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _first_application(answer: ApiAnswer | None) -> dict[str, Any] | None:
    listed = _decoded(answer)
    if not isinstance(listed, list) or not listed or not isinstance(listed[0], dict):
        return None
    attempts = listed[0].get("attempts")
    told = isinstance(attempts, list) and attempts and isinstance(attempts[0], dict)
    return listed[0] if told else None
