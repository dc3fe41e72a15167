"""What an executor pod is built from beside the configuration: facts of the driver pod, and this operator's choices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.resource_profiles import ResourceProfile
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion


@dataclass(frozen=True, slots=True)
class DriverPodFacts:
    """The driver pod as its executors need to know it.

    Attributes:
        name: with ``uid``, the only owner of each executor pod. Empty: no owner (a driver outside the cluster).
        namespace: where executors must live too; an owner in another namespace would have them collected as garbage.
        spark_user: the user that Spark runs as inside the driver (``Utils.getCurrentUserName``): the driver's
            SPARK_USER variable, else the name of its operating system user.
        local_dirs: the value of SPARK_LOCAL_DIRS in the Spark container of the driver pod. In cluster mode Spark set
            it there, and executors get the same directories.
        service_account: the driver's service account, for the comparison with what an executor may have.
        ip: the pod's address.
    """

    name: str
    uid: str
    namespace: str
    spark_user: str
    local_dirs: str | None = None
    service_account: str = ""
    ip: str = ""


@dataclass(frozen=True, slots=True)
class ExecutorConfigMap:
    """The ConfigMap of configuration files that the driver made for its executors (``spark-exec-…-conf-map``).

    Attributes:
        items: the files in it; each is mounted under its own name.
    """

    name: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExecutorPodContext:
    """Everything but the configuration and the profile.

    Attributes:
        pod_name_prefix: executor 7 is named ``<prefix>-exec-7``. The caller decides it, the builder checks it.
        config_map: None when the driver made none (``spark.kubernetes.executor.disableConfigMap``).
        pod_template: the parsed pod template; None when there is none.
        labels: this operator's own labels. They win over the configuration's.
        annotations: this operator's own annotations. They win over the configuration's.
        termination_grace_period_seconds: the pod's own grace period, which evictions and node drains use; None leaves
            it as Spark sets it (4.1) or as the API server defaults it.
        native_sidecars: turn the template's other containers into init containers that restart, so that they end with
            the pod and no graceful exit is counted as a failure.
        default_local_dir: the directory for local data when nothing names one. Spark takes
            ``/var/data/spark-<random uuid>``.
    """

    application_id: str
    spark_version: SparkVersion
    driver: DriverPodFacts
    pod_name_prefix: str
    config_map: ExecutorConfigMap | None = None
    pod_template: Mapping[str, Any] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    termination_grace_period_seconds: int | None = None
    native_sidecars: bool = False
    default_local_dir: str = "/var/data/spark-local"


@dataclass(frozen=True, slots=True)
class ExecutorPodRequest:
    """One pod to build: what every feature step is given (Spark: ``KubernetesExecutorConf``).

    Attributes:
        conf: the strings as the driver reports them.
        entries: the same with ``${…}`` replaced, for settings that Spark reads through their config entry.
        as_spark: build exactly Spark's pod, without this operator's additions.
    """

    conf: SparkConf
    entries: SparkConf
    profile: ResourceProfile
    executor_id: ExecutorId
    context: ExecutorPodContext
    as_spark: bool

    @property
    def version(self) -> SparkVersion:
        """The driver's Spark version."""
        return self.context.spark_version

    @property
    def pod_name(self) -> str:
        """``<prefix>-exec-<id>``."""
        return f"{self.context.pod_name_prefix}-exec-{self.executor_id}"

    def with_ids(self, text: str) -> str:
        """Replace Spark's placeholders for ids (``Utils.substituteAppNExecIds``)."""
        return text.replace("{{APP_ID}}", self.context.application_id).replace(
            "{{EXECUTOR_ID}}", str(self.executor_id)
        )


@dataclass(frozen=True, slots=True)
class SparkPod:
    """A pod without its Spark container, and that container (``org.apache.spark.deploy.k8s.SparkPod``).

    The dictionaries belong to the one pod that is being built; feature steps extend them in place.
    """

    pod: dict[str, Any]
    container: dict[str, Any]

    @property
    def metadata(self) -> dict[str, Any]:
        """The pod's metadata, made if missing."""
        return child(self.pod, "metadata")

    @property
    def spec(self) -> dict[str, Any]:
        """The pod's spec, made if missing."""
        return child(self.pod, "spec")


def child(parent: dict[str, Any], field_name: str) -> dict[str, Any]:
    """The object under a field; an empty one is put there when it is missing or null."""
    if parent.get(field_name) is None:
        parent[field_name] = {}
    found: dict[str, Any] = parent[field_name]
    return found


def extend(parent: dict[str, Any], field_name: str, additions: list[Any]) -> None:
    """Append to the list under a field; nothing is put there when there is nothing to append."""
    if additions:
        parent[field_name] = [*(parent.get(field_name) or []), *additions]
