"""Name, labels, image, environment, ports and resources of an executor pod.

Source: ``org.apache.spark.deploy.k8s.features.BasicExecutorFeatureStep``, ``KubernetesExecutorConf``.
"""

import re
from typing import Any, ClassVar

from spark_allocation.core.executor_java_options import split_command_string, startup_options
from spark_allocation.core.executor_memory import executor_container_resources
from spark_allocation.core.executor_pod_context import ExecutorPodRequest, SparkPod, child, extend
from spark_allocation.core.feature_steps.feature_step import FeatureStepWithoutResources
from spark_allocation.core.pod_refusals import RefusalReason, refuse
from spark_allocation.core.quantities import check_quantity, quantity_amount
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID
from spark_allocation.core.spark_conf import INT_MAX, SECOND, InvalidSetting, SparkConf

DEFAULT_EXECUTOR_CONTAINER_NAME = "spark-kubernetes-executor"
SPARK_CONF_VOLUME = "spark-conf-volume-exec"
SPARK_CONF_DIR = "/opt/spark/conf"
LABEL_PREFIX = "spark.kubernetes.executor.label."
ANNOTATION_PREFIX = "spark.kubernetes.executor.annotation."
_CONTAINER_IMAGE = "spark.kubernetes.container.image"
_EXECUTOR_CONTAINER_IMAGE = "spark.kubernetes.executor.container.image"
_PULL_POLICY = "spark.kubernetes.container.image.pullPolicy"
_REQUEST_CORES = "spark.kubernetes.executor.request.cores"
_LIMIT_CORES = "spark.kubernetes.executor.limit.cores"
_GRACE = "spark.kubernetes.executor.terminationGracePeriodSeconds"
_BLOCK_MANAGER_PORT = "spark.blockManager.port"
_DEFAULT_BLOCK_MANAGER_PORT = 7079
_DEFAULT_DRIVER_PORT = 7078
_DNS_LABEL_MAX_LENGTH = 63
_CONFIG_FILE_MODE = 0o644
_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


class BasicExecutorFeatureStep(FeatureStepWithoutResources):
    """Everything an executor pod has in any case."""

    spark_class: ClassVar[str] = "org.apache.spark.deploy.k8s.features.BasicExecutorFeatureStep"

    def __init__(self, request: ExecutorPodRequest) -> None:
        self._request = request
        self._image = _image(request)
        self._block_manager_port = _block_manager_port(request.conf)
        self._driver_url = _driver_url(request)
        self._secret = _authentication_secret(request)
        self._is_default_profile = request.profile.id == DEFAULT_PROFILE_ID
        entries = request.entries
        self._mounts_conf = (
            not entries.boolean("spark.kubernetes.executor.disableConfigMap", default=False)
            and request.context.config_map is not None
        )
        self._resources = executor_container_resources(entries, request.profile, request.version)

    def configure(self, pod: SparkPod) -> None:
        """Extend the template's pod and container with what Spark decides."""
        self._configure_container(pod.container)
        self._configure_metadata(pod.metadata)
        self._configure_spec(pod.spec)

    def _configure_container(self, container: dict[str, Any]) -> None:
        request = self._request
        container["name"] = container.get("name") or DEFAULT_EXECUTOR_CONTAINER_NAME
        container["image"] = self._image
        container["imagePullPolicy"] = _pull_policy(request.entries)
        self._configure_resources(container)
        extend(container, "env", self._environment())
        if self._block_manager_port:
            extend(
                container,
                "ports",
                [{"name": "blockmanager", "containerPort": self._block_manager_port}],
            )
        extend(container, "args", ["executor"])
        if self._mounts_conf:
            extend(
                container,
                "volumeMounts",
                [{"name": SPARK_CONF_VOLUME, "mountPath": SPARK_CONF_DIR}],
            )
        if decommission_enabled(request.entries):
            script = request.entries.get("spark.kubernetes.decommission.script", "/opt/decom.sh")
            container["lifecycle"] = {"preStop": {"exec": {"command": [script]}}}

    def _configure_resources(self, container: dict[str, Any]) -> None:
        entries = self._request.entries
        if not self._is_default_profile:
            container.pop("resources", None)
        resources = child(container, "resources")
        requests, limits = child(resources, "requests"), child(resources, "limits")
        memory = f"{self._resources.total_memory_mib}Mi"
        requests["memory"] = limits["memory"] = memory
        cpu = str(self._resources.cores)
        if self._is_default_profile:
            cpu = entries.get(_REQUEST_CORES, cpu)
        requests["cpu"] = _quantity(_REQUEST_CORES, cpu)
        for name, resource in self._resources.custom.items():
            if not resource.vendor:
                refuse(
                    RefusalReason.INCOMPLETE_RESOURCE,
                    f"spark.executor.resource.{name}.vendor",
                    "",
                    f"the vendor of {name} must be set: its Kubernetes name is <vendor>/{name}",
                )
            limits[f"{resource.vendor}/{resource.resource_name}"] = str(resource.amount)
        limit = entries.get(_LIMIT_CORES)
        if self._is_default_profile and limit is not None:
            limits["cpu"] = _quantity(_LIMIT_CORES, limit)
            if self._request.version.at_least(4, 1):
                _check_limit(cpu, limit)

    def _environment(self) -> list[dict[str, Any]]:
        request, context = self._request, self._request.context
        variables: list[tuple[str, str]] = [
            ("SPARK_USER", context.driver.spark_user),
            ("SPARK_DRIVER_URL", self._driver_url),
            ("SPARK_EXECUTOR_CORES", str(self._resources.cores)),
            ("SPARK_EXECUTOR_MEMORY", f"{self._resources.memory_mib}m"),
            ("SPARK_APPLICATION_ID", context.application_id),
            ("SPARK_CONF_DIR", SPARK_CONF_DIR),
            ("SPARK_EXECUTOR_ID", str(request.executor_id)),
            ("SPARK_RESOURCE_PROFILE_ID", str(request.profile.id)),
        ]
        if request.version.at_least(4, 0) and "spark.ui.custom.executor.log.url" in request.entries:
            variables += [
                ("SPARK_EXECUTOR_ATTRIBUTE_APP_ID", context.application_id),
                ("SPARK_EXECUTOR_ATTRIBUTE_EXECUTOR_ID", str(request.executor_id)),
            ]
        variables += self._user_environment()
        if self._secret is not None:
            variables.append(("_SPARK_AUTH_SECRET", self._secret))
        class_path = self._class_path()
        if class_path:
            variables.append(("SPARK_CLASSPATH", ":".join(class_path)))
        library_path = request.entries.get("spark.executor.extraLibraryPath")
        if library_path is not None and request.version.at_least(4, 1):
            variables.append(("SPARK_EXECUTOR_LIBRARY_PATH", library_path))
        options = (*self._user_java_options(), *startup_options(request.conf, request.version))
        variables += [(f"SPARK_JAVA_OPT_{index}", option) for index, option in enumerate(options)]
        return [
            *({"name": name, "value": value} for name, value in variables),
            _from_field("SPARK_EXECUTOR_POD_IP", "status.podIP"),
            _from_field("SPARK_EXECUTOR_POD_NAME", "metadata.name"),
        ]

    def _class_path(self) -> list[str]:
        keys = ["spark.executor.extraClassPath"]
        if self._request.version.at_least(4, 0):
            keys.insert(0, "spark.executor.defaultExtraClassPath")
        entries = self._request.entries
        return [entries[key] for key in keys if key in entries]

    def _user_environment(self) -> list[tuple[str, str]]:
        request = self._request
        user = request.conf.with_prefix("spark.executorEnv.")
        if "SPARK_EXECUTOR_DIRS" in user:
            user["SPARK_EXECUTOR_DIRS"] = (
                user["SPARK_EXECUTOR_DIRS"]
                .replace("SPARK_APPLICATION_ID", request.context.application_id)
                .replace("SPARK_EXECUTOR_ID", str(request.executor_id))
            )
        return [(name, user[name]) for name in sorted(user) if _ENV_NAME.fullmatch(name)]

    def _user_java_options(self) -> list[str]:
        request = self._request
        parts = [
            request.entries[key]
            for key in ("spark.executor.defaultJavaOptions", "spark.executor.extraJavaOptions")
            if key in request.entries
        ]
        return split_command_string(request.with_ids(" ".join(parts)))

    def _configure_metadata(self, metadata: dict[str, Any]) -> None:
        request = self._request
        metadata["name"] = request.pod_name
        child(metadata, "labels").update(self._labels())
        annotations = request.conf.with_prefix(ANNOTATION_PREFIX)
        if annotations:
            child(metadata, "annotations").update(
                {key: request.with_ids(annotations[key]) for key in sorted(annotations)}
            )
        if request.context.driver.name:
            extend(metadata, "ownerReferences", [owner_reference(request)])

    def _labels(self) -> dict[str, str]:
        request = self._request
        preset = {
            "spark-version": request.version.text,
            "spark-exec-id": str(request.executor_id),
            "spark-app-selector": request.context.application_id,
            "spark-app-name": app_name_label(request.conf.get("spark.app.name", "spark")),
            "spark-role": "executor",
            "spark-exec-resourceprofile-id": str(request.profile.id),
        }
        custom = request.conf.with_prefix(LABEL_PREFIX)
        for key in preset:
            if key in custom:
                refuse(
                    RefusalReason.RESERVED_LABEL,
                    LABEL_PREFIX + key,
                    custom[key],
                    f"the label {key} is reserved for Spark",
                )
        replaces = request.version.at_least(4, 0)
        return {
            **{k: request.with_ids(custom[k]) if replaces else custom[k] for k in sorted(custom)},
            **preset,
        }

    def _configure_spec(self, spec: dict[str, Any]) -> None:
        request, entries = self._request, self._request.entries
        spec["hostname"] = hostname(request.pod_name)
        stateful = (
            entries.get("spark.kubernetes.allocation.pods.allocator", "direct") == "statefulset"
        )
        spec["restartPolicy"] = "Always" if stateful else "Never"
        if request.version.at_least(4, 1):
            spec["terminationGracePeriodSeconds"] = _grace_period(entries)
        for prefix in (
            "spark.kubernetes.node.selector.",
            "spark.kubernetes.executor.node.selector.",
        ):
            selector = request.conf.with_prefix(prefix)
            if selector:
                child(spec, "nodeSelector").update({key: selector[key] for key in sorted(selector)})
        secrets = sequence(entries, "spark.kubernetes.container.image.pullSecrets")
        extend(spec, "imagePullSecrets", [{"name": name} for name in secrets])
        if self._mounts_conf:
            extend(spec, "volumes", [_conf_volume(request)])
        scheduler = entries.get(
            "spark.kubernetes.executor.scheduler.name",
            entries.get("spark.kubernetes.scheduler.name"),
        )
        if scheduler is not None:
            spec["schedulerName"] = scheduler


def decommission_enabled(entries: SparkConf) -> bool:
    """Whether executors know how to decommission (``spark.decommission.enabled``)."""
    return entries.boolean("spark.decommission.enabled", default=False)


def sequence(entries: SparkConf, key: str) -> list[str]:
    """A comma-separated list without blanks and empty parts (``ConfigHelpers.stringToSeq``)."""
    return [part.strip() for part in entries.get(key, "").split(",") if part.strip()]


def hostname(pod_name: str) -> str:
    """The last 63 characters of the pod's name, made fit for a host name."""
    tail = re.sub(r"^[^A-Za-z0-9_]+", "", pod_name[-_DNS_LABEL_MAX_LENGTH:])
    return re.sub(r"[^A-Za-z0-9_-]+", "_", tail)


def app_name_label(app_name: str) -> str:
    """The application's name as a label value (``KubernetesConf.getAppNameLabel``)."""
    text = re.sub(r"[^a-z0-9-]", "-", java_trim(app_name).lower())
    text = re.sub(r"-+", "-", text)[:_DNS_LABEL_MAX_LENGTH]
    return text.removeprefix("-").removesuffix("-")


def java_trim(text: str) -> str:
    """``String.trim``: control characters and spaces go, other blanks stay."""
    return text.strip("".join(map(chr, range(33))))


def owner_reference(request: ExecutorPodRequest) -> dict[str, Any]:
    """The driver pod as the controlling owner; like Spark, without ``blockOwnerDeletion``."""
    driver = request.context.driver
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": driver.name,
        "uid": driver.uid,
        "controller": True,
    }


def _image(request: ExecutorPodRequest) -> str:
    image = request.entries.get(_EXECUTOR_CONTAINER_IMAGE, request.entries.get(_CONTAINER_IMAGE))
    if image is None:
        refuse(
            RefusalReason.IMAGE_MISSING, _CONTAINER_IMAGE, "", "the executor's image must be set"
        )
    if request.version.at_least(4, 1):
        image = image.replace("{{SPARK_VERSION}}", request.version.text)
    return image


def _pull_policy(entries: SparkConf) -> str:
    policy = entries.get(_PULL_POLICY, "IfNotPresent")
    if policy not in ("Always", "Never", "IfNotPresent"):
        raise InvalidSetting(_PULL_POLICY, policy, "must be Always, Never or IfNotPresent")
    return policy


def _block_manager_port(conf: SparkConf) -> int:
    port = _untrimmed_integer(conf, _BLOCK_MANAGER_PORT, _DEFAULT_BLOCK_MANAGER_PORT)
    if port != 0 and not 1024 <= port < 65536:
        raise InvalidSetting(
            _BLOCK_MANAGER_PORT, conf[_BLOCK_MANAGER_PORT], "must be 0 or in [1024, 65535]"
        )
    return port


def _driver_url(request: ExecutorPodRequest) -> str:
    entries = request.entries
    by_ip = request.version.at_least(4, 1) and entries.boolean(
        "spark.kubernetes.executor.useDriverPodIP", default=False
    )
    host_key = "spark.driver.host"
    if by_ip and "spark.driver.bindAddress" in entries:
        host_key = "spark.driver.bindAddress"
    host = entries.get(host_key)
    if host is None:
        refuse(RefusalReason.INVALID_VALUE, host_key, "", "the driver's host must be set")
    port = _untrimmed_integer(request.conf, "spark.driver.port", _DEFAULT_DRIVER_PORT)
    return f"spark://CoarseGrainedScheduler@{host}:{port}"


def _untrimmed_integer(conf: SparkConf, key: str, default: int) -> int:
    """An integer as ``SparkConf.getInt`` reads it: no blanks allowed, unlike through a config entry."""
    text = conf.get(key)
    if text is None:
        return default
    if not re.fullmatch(r"[+-]?[0-9]+", text) or not -INT_MAX - 1 <= int(text) <= INT_MAX:
        raise InvalidSetting(key, text, "must be a whole number")
    return int(text)


def _grace_period(entries: SparkConf) -> int:
    seconds = entries.time(_GRACE, 30, SECOND)
    if seconds < 0:
        raise InvalidSetting(_GRACE, entries[_GRACE], "must not be negative")
    return seconds


def _quantity(key: str, text: str) -> str:
    try:
        return check_quantity(text)
    except ValueError as error:
        raise InvalidSetting(key, text, str(error)) from error


def _check_limit(request: str, limit: str) -> None:
    try:
        below = quantity_amount(limit) < quantity_amount(request)
    except ValueError as error:
        raise InvalidSetting(_LIMIT_CORES, limit, str(error)) from error
    if below:
        refuse(
            RefusalReason.CPU_LIMIT_BELOW_REQUEST,
            _LIMIT_CORES,
            limit,
            f"must not be less than the cpu request ({request})",
        )


def _authentication_secret(request: ExecutorPodRequest) -> str | None:
    """The secret that executors get in their environment, when the driver has one and executors have no file.

    A driver on Kubernetes makes up its secret when it starts, so it cannot be known here: outside the comparison with
    Spark this configuration is refused.
    """
    entries = request.entries
    file_keys = ("spark.authenticate.secret.executor.file", "spark.authenticate.secret.file")
    authenticates = entries.boolean("spark.authenticate", default=False)
    if not authenticates or any(key in entries for key in file_keys):
        return None
    secret = request.conf.get("spark.authenticate.secret")
    if not request.as_spark or secret is None:
        refuse(
            RefusalReason.AUTH_SECRET_UNKNOWN,
            "spark.authenticate",
            entries["spark.authenticate"],
            "needs spark.authenticate.secret.file (driver and executors): the driver's random secret is unknown here",
        )
    return secret


def _from_field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _conf_volume(request: ExecutorPodRequest) -> dict[str, Any]:
    config_map = request.context.config_map
    assert config_map is not None
    source: dict[str, Any] = {"name": config_map.name}
    if config_map.items:
        source["items"] = [
            {"key": item, "mode": _CONFIG_FILE_MODE, "path": item}
            for item in sorted(config_map.items)
        ]
    return {"name": SPARK_CONF_VOLUME, "configMap": source}
