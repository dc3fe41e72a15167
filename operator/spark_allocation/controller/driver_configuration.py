"""The driver's effective configuration, and the facts of its pod that executor pods are built from.

In this order: what the driver says of itself over REST; for values that it masks, ``spark.properties`` in the config
maps that its pod mounts (with the module options that the driver adds to Java options rebuilt); the SparkAllocation's
``sparkConf``. A masked value that would change the executor pod and that none of these tells is refused by name: a pod
built from a mask would start and fail in strange ways. Contents of config maps are never logged.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spark_allocation.controller.bounded_yaml import load_bounded_yaml
from spark_allocation.controller.hidden_values import hide
from spark_allocation.controller.mounted_files import MountedFiles
from spark_allocation.core.driver_report import Application, Environment
from spark_allocation.core.executor_java_options import rebuild_java_module_options
from spark_allocation.core.executor_pod_context import DriverPodFacts, ExecutorConfigMap
from spark_allocation.core.heeded_keys import not_heeded
from spark_allocation.core.pod_limits.comparison import driver_container
from spark_allocation.core.redacted_settings import REDACTED, required_keys_redacted
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion
from spark_allocation.kube.objects_api import ObjectsApi

EXTRA_JAVA_OPTIONS = "spark.executor.extraJavaOptions"
POD_TEMPLATE_FILE = "spark.kubernetes.executor.podTemplateFile"
DISABLE_CONFIG_MAP = "spark.kubernetes.executor.disableConfigMap"
SPARK_PROPERTIES = "spark.properties"
SPARK_CONF_DIR = "/opt/spark/conf"
LONGEST_TEMPLATE = 256 * 1024
MOST_TEMPLATE_VALUES = 20_000


@dataclass(frozen=True, slots=True)
class DriverConfiguration:
    """What is known of a driver when its executors are to be built.

    Attributes:
        pod_template: from the driver's mounted template file; None when it names none, or one that cannot be read.
        pod_template_problem: why not, and what to do; it matters when the SparkAllocation has no template of its own.
        without_effect: keys of ``spec.sparkConf`` that make no difference.
    """

    conf: SparkConf
    version: SparkVersion
    facts: DriverPodFacts
    config_map: ExecutorConfigMap | None
    pod_template: Mapping[str, Any] | None
    pod_template_problem: str = ""
    without_effect: tuple[str, ...] = ()


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
    try:
        version = SparkVersion.parse(application.spark_version)
    except ValueError as error:
        return UnreadableConfiguration(f"the driver reports an unknown Spark version: {error}")
    properties = dict(environment.spark_properties)
    container = driver_container(driver_pod.get("spec") or {})
    mounted = MountedFiles(driver_pod, container, objects)
    if required_keys_redacted(SparkConf(properties), version):
        properties = _unmasked(properties, await _properties(mounted, container), version)
    properties.update(spark_conf)
    conf = SparkConf(properties)
    masked = required_keys_redacted(conf, version)
    if masked:
        return UnreadableConfiguration(
            f"the driver masks {', '.join(masked)} and no config map of its pod holds the value: set it in "
            "spec.sparkConf"
        )
    template: dict[str, Any] | str | None = None
    if POD_TEMPLATE_FILE in conf:
        template = await _pod_template(mounted, conf[POD_TEMPLATE_FILE])
    config_map = None
    # a value that is no truth value is for the builder to refuse
    if conf.get(DISABLE_CONFIG_MAP, "false").strip().lower() != "true":
        config_map = await _executor_config_map(objects, driver_pod, application.id)
    return DriverConfiguration(
        conf=conf,
        version=version,
        facts=_facts(driver_pod, application),
        config_map=config_map,
        pod_template=template if isinstance(template, dict) else None,
        pod_template_problem=template if isinstance(template, str) else "",
        without_effect=not_heeded(spark_conf, conf),
    )


async def _properties(mounted: MountedFiles, container: Mapping[str, Any]) -> dict[str, str]:
    """``spark.properties`` of the driver's configuration directory; {} when no config map has it."""
    directory = _environment(container).get("SPARK_CONF_DIR") or SPARK_CONF_DIR
    text = await mounted.text(f"{directory}/{SPARK_PROPERTIES}")
    return parse_java_properties(text) if text is not None else {}


async def _pod_template(mounted: MountedFiles, path: str) -> dict[str, Any] | str:
    """The pod template that the driver names, or a sentence saying why it cannot be read."""
    remedy = "give the template in spec.executor.podTemplate"
    text = await mounted.text(path)
    if text is None:
        return (
            f"{POD_TEMPLATE_FILE}={path} is in no config map that the driver pod mounts: {remedy}"
        )
    try:
        template = load_bounded_yaml(
            text, longest=LONGEST_TEMPLATE, most_values=MOST_TEMPLATE_VALUES
        )
    except ValueError as error:
        return f"{POD_TEMPLATE_FILE}={path}: {error}: {remedy}"
    if not isinstance(template, dict):
        return f"{POD_TEMPLATE_FILE}={path} is no pod: {remedy}"
    return template


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
    environment = _environment(driver_container(driver_pod.get("spec") or {}))
    return DriverPodFacts(
        name=metadata["name"],
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        spark_user=environment.get("SPARK_USER") or application.spark_user,
        local_dirs=environment.get("SPARK_LOCAL_DIRS"),
        service_account=spec.get("serviceAccountName", ""),
        ip=driver_pod.get("status", {}).get("podIP", ""),
    )


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {
        str(variable.get("name")): variable["value"]
        for variable in container.get("env") or ()
        if variable.get("value") is not None
    }
