"""The driver's effective configuration, and the facts of its pod that executor pods are built from.

In this order: what the driver says of itself over REST; for values that it masks, ``spark.properties`` in the config
maps that its pod mounts (with the module options that the driver adds to Java options rebuilt); the SparkAllocation's
``sparkConf``. A masked value that would change the executor pod and that none of these tells is refused by name: a pod
built from a mask would start and fail in strange ways. Contents of config maps are never logged.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from spark_allocation.controller.bounded_yaml import load_bounded_yaml
from spark_allocation.controller.hidden_values import hide
from spark_allocation.core.driver_report import Application, Environment
from spark_allocation.core.executor_java_options import rebuild_java_module_options
from spark_allocation.core.executor_pod_context import DriverPodFacts, ExecutorConfigMap
from spark_allocation.core.redacted_settings import REDACTED, required_keys_redacted
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion
from spark_allocation.kube.objects_api import ObjectsApi

EXTRA_JAVA_OPTIONS = "spark.executor.extraJavaOptions"
POD_TEMPLATE_FILE = "spark.kubernetes.executor.podTemplateFile"
DISABLE_CONFIG_MAP = "spark.kubernetes.executor.disableConfigMap"
SPARK_PROPERTIES = "spark.properties"
LONGEST_TEMPLATE = 256 * 1024
MOST_TEMPLATE_VALUES = 20_000


@dataclass(frozen=True, slots=True)
class DriverConfiguration:
    """What is known of a driver when its executors are to be built.

    Attributes:
        pod_template: from the driver's mounted template file; None when it names none.
    """

    conf: SparkConf
    version: SparkVersion
    facts: DriverPodFacts
    config_map: ExecutorConfigMap | None
    pod_template: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class UnreadableConfiguration:
    """Why executor pods cannot be built from what is known; one sentence with the remedy."""

    message: str


async def read_driver_configuration(
    *,
    driver_pod: Mapping[str, Any],
    application: Application,
    environment: Environment,
    spark_conf: Mapping[str, str],
    objects: ObjectsApi,
) -> DriverConfiguration | UnreadableConfiguration:
    """Put the configuration together.

    Args:
        driver_pod: the driver's pod as the API server has it.
        spark_conf: ``spec.sparkConf``.

    Raises:
        ApiUnavailable: the API server did not answer.
    """
    namespace = driver_pod["metadata"]["namespace"]
    try:
        version = SparkVersion.parse(application.spark_version)
    except ValueError as error:
        return UnreadableConfiguration(f"the driver reports an unknown Spark version: {error}")
    properties = dict(environment.spark_properties)
    mounted = _MountedFiles(driver_pod, objects, namespace)
    if required_keys_redacted(SparkConf(properties), version):
        properties = _unmasked(properties, await mounted.properties(), version)
    properties.update(spark_conf)
    conf = SparkConf(properties)
    masked = required_keys_redacted(conf, version)
    if masked:
        return UnreadableConfiguration(
            f"the driver masks {', '.join(masked)} and no config map of its pod holds the value: set it in "
            "spec.sparkConf"
        )
    template = None
    if POD_TEMPLATE_FILE in conf:
        template = await mounted.pod_template(conf[POD_TEMPLATE_FILE])
        if isinstance(template, str):
            return UnreadableConfiguration(template)
    config_map = None
    if not conf.boolean(DISABLE_CONFIG_MAP, False):
        config_map = await _executor_config_map(objects, driver_pod, application.id)
    return DriverConfiguration(
        conf=conf,
        version=version,
        facts=_facts(driver_pod, application),
        config_map=config_map,
        pod_template=template if isinstance(template, dict) else None,
    )


class _MountedFiles:
    """Files that config maps put into the driver pod; each config map is read once."""

    def __init__(self, driver_pod: Mapping[str, Any], objects: ObjectsApi, namespace: str) -> None:
        self._names = [
            volume["configMap"]["name"]
            for volume in driver_pod.get("spec", {}).get("volumes") or ()
            if volume.get("configMap", {}).get("name")
        ]
        self._objects = objects
        self._namespace = namespace
        self._files: dict[str, str] | None = None

    async def properties(self) -> dict[str, str]:
        """``spark.properties``, parsed; {} when no config map has it."""
        text = (await self._read()).get(SPARK_PROPERTIES)
        return parse_java_properties(text) if text is not None else {}

    async def pod_template(self, path: str) -> dict[str, Any] | str:
        """The pod template that the driver names, or a sentence saying why it cannot be read."""
        name = PurePosixPath(path).name
        text = (await self._read()).get(name)
        if text is None:
            return (
                f"{POD_TEMPLATE_FILE}={path} is in no config map that the driver pod mounts: give the template in "
                "spec.executor.podTemplate and leave the key out"
            )
        try:
            template = load_bounded_yaml(
                text, longest=LONGEST_TEMPLATE, most_values=MOST_TEMPLATE_VALUES
            )
        except ValueError as error:
            return f"{POD_TEMPLATE_FILE}={path}: {error}"
        if not isinstance(template, dict):
            return f"{POD_TEMPLATE_FILE}={path} is no pod"
        return template

    async def _read(self) -> dict[str, str]:
        if self._files is None:
            self._files = {}
            for name in self._names:
                config_map = await self._objects.get(self._namespace, "configmaps", name)
                self._files.update((config_map or {}).get("data") or {})
        return self._files


def parse_java_properties(text: str) -> dict[str, str]:
    """Parse what ``java.util.Properties.store`` writes: comments, continued lines, escapes."""
    properties: dict[str, str] = {}
    logical = ""
    for raw in text.splitlines():
        line = raw.lstrip()
        if not logical and (not line or line[0] in "#!"):
            continue
        if (len(line) - len(line.rstrip("\\"))) % 2:
            logical += line[:-1]
            continue
        key, value = _split_property(logical + line)
        properties[key] = value
        logical = ""
    return properties


def _split_property(line: str) -> tuple[str, str]:
    escaped = False
    for position, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in "=: \t":
            key, rest = line[:position], line[position:].lstrip(" \t")
            if rest[:1] in ("=", ":"):
                rest = rest[1:].lstrip(" \t")
            return _unescaped(key), _unescaped(rest)
    return _unescaped(line), ""


def _unescaped(text: str) -> str:
    result: list[str] = []
    characters = iter(text)
    for character in characters:
        if character != "\\":
            result.append(character)
            continue
        following = next(characters, "")
        if following == "u":
            digits = "".join(next(characters, "") for _ in range(4))
            is_code = len(digits) == 4 and all(each in string.hexdigits for each in digits)
            result.append(chr(int(digits, 16)) if is_code else "")
        else:
            result.append({"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(following, following))
    return "".join(result)


def _unmasked(
    properties: dict[str, str], mounted: Mapping[str, str], version: SparkVersion
) -> dict[str, str]:
    result = dict(properties)
    for key, value in properties.items():
        if REDACTED not in value or key not in mounted:
            continue
        if key == EXTRA_JAVA_OPTIONS:
            result[key] = f"{rebuild_java_module_options(version)} {mounted[key]}".strip()
        else:
            result[key] = mounted[key]
        hide([mounted[key]])
    return result


async def _executor_config_map(
    objects: ObjectsApi, driver_pod: Mapping[str, Any], application_id: str
) -> ExecutorConfigMap | None:
    """The newest config map that this driver made for its executors."""
    namespace, uid = driver_pod["metadata"]["namespace"], driver_pod["metadata"]["uid"]
    found = [
        item
        for item in await objects.list_named(
            namespace, "configmaps", f"spark-app-selector={application_id},spark-role=executor"
        )
        if any(owner.get("uid") == uid for owner in item["metadata"].get("ownerReferences") or ())
    ]
    if not found:
        return None
    newest = max(found, key=lambda item: item["metadata"].get("creationTimestamp", ""))
    return ExecutorConfigMap(newest["metadata"]["name"], tuple(sorted(newest.get("data") or ())))


def _facts(driver_pod: Mapping[str, Any], application: Application) -> DriverPodFacts:
    metadata, spec = driver_pod["metadata"], driver_pod.get("spec", {})
    environment = {
        variable.get("name"): variable.get("value")
        for container in spec.get("containers") or ()
        for variable in container.get("env") or ()
    }
    return DriverPodFacts(
        name=metadata["name"],
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        spark_user=environment.get("SPARK_USER") or application.spark_user,
        local_dirs=environment.get("SPARK_LOCAL_DIRS"),
        service_account=spec.get("serviceAccountName", ""),
        ip=driver_pod.get("status", {}).get("podIP", ""),
    )
