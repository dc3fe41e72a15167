"""Which settings make an executor pod, what each does to it, and since which Spark.

One list serves three purposes: it says which settings Spark reads through a config entry (so that ``${…}`` in them is
replaced), which masked values would change the pod, and it is the source of
``docs/reference/executor-pod-configuration.md``.
"""

from dataclasses import dataclass

from spark_allocation.core.spark_conf import SparkConf


@dataclass(frozen=True, slots=True)
class PodSetting:
    """One setting, or a family of settings.

    Attributes:
        key: the key; a family's common prefix ends in a dot.
        effect: what it does to the pod, as a phrase.
        since: the Spark version from which it has this effect; empty when every supported version has it.
        entry: Spark reads it through a config entry.
        older_name_of: the setting that this one stands for where that one is not set (``ConfigBuilder.withAlternative``).
    """

    key: str
    effect: str
    since: str = ""
    entry: bool = True
    older_name_of: str = ""

    @property
    def is_family(self) -> bool:
        """Whether ``key`` is a prefix."""
        return self.key.endswith(".")


_K8S = "spark.kubernetes."
_EXECUTOR = _K8S + "executor."

POD_SETTINGS: tuple[PodSetting, ...] = (
    PodSetting("spark.app.name", "label `spark-app-name`", entry=False),
    PodSetting(_K8S + "namespace", "namespace; must be the driver pod's", entry=False),
    PodSetting(_EXECUTOR + "podNamePrefix", "pod name, hostname and names of on-demand claims"),
    PodSetting(
        _EXECUTOR + "label.",
        "labels; `{{APP_ID}}` and `{{EXECUTOR_ID}}` replaced since 4.0",
        entry=False,
    ),
    PodSetting(
        _EXECUTOR + "annotation.",
        "annotations; `{{APP_ID}}` and `{{EXECUTOR_ID}}` replaced",
        entry=False,
    ),
    PodSetting(_K8S + "container.image", "image; `{{SPARK_VERSION}}` replaced since 4.1"),
    PodSetting(_EXECUTOR + "container.image", "image of executors, before the general one"),
    PodSetting(_K8S + "container.image.pullPolicy", "imagePullPolicy, IfNotPresent by default"),
    PodSetting(_K8S + "container.image.pullSecrets", "imagePullSecrets, after the template's"),
    PodSetting("spark.executor.cores", "cpu request and SPARK_EXECUTOR_CORES"),
    PodSetting(_EXECUTOR + "request.cores", "cpu request (default profile only)"),
    PodSetting(
        _EXECUTOR + "limit.cores",
        "cpu limit (default profile only); below the request it is refused since 4.1",
    ),
    PodSetting("spark.executor.memory", "memory request and limit, SPARK_EXECUTOR_MEMORY"),
    PodSetting("spark.executor.memoryOverhead", "memory request and limit, instead of the factor"),
    PodSetting(
        "spark.yarn.executor.memoryOverhead",
        "the same, by its older name",
        older_name_of="spark.executor.memoryOverhead",
    ),
    PodSetting("spark.executor.memoryOverheadFactor", "memory request and limit"),
    PodSetting(
        _K8S + "memoryOverheadFactor",
        "memory request and limit, if the executor's factor is not set",
    ),
    PodSetting(
        "spark.executor.minMemoryOverhead",
        "least memory overhead (384 MiB by default)",
        since="4.0",
    ),
    PodSetting("spark.executor.pyspark.memory", "memory request and limit of Python applications"),
    PodSetting(_K8S + "resource.type", "`python`: PySpark memory counts"),
    PodSetting("spark.memory.offHeap.enabled", "off-heap memory counts"),
    PodSetting(
        "spark.unsafe.offHeap",
        "the same, by its older name",
        older_name_of="spark.memory.offHeap.enabled",
    ),
    PodSetting(
        "spark.memory.offHeap.size", "memory request and limit, when off-heap memory is enabled"
    ),
    PodSetting(
        "spark.executor.resource.", "limits `<vendor>/<name>` (default profile)", entry=False
    ),
    PodSetting("spark.executor.defaultJavaOptions", "first of the SPARK_JAVA_OPT_n"),
    PodSetting("spark.executor.extraJavaOptions", "SPARK_JAVA_OPT_n after the defaults"),
    PodSetting(
        "spark.executor.defaultExtraClassPath", "SPARK_CLASSPATH, before the next one", since="4.0"
    ),
    PodSetting("spark.executor.extraClassPath", "SPARK_CLASSPATH"),
    PodSetting("spark.executor.extraLibraryPath", "SPARK_EXECUTOR_LIBRARY_PATH", since="4.1"),
    PodSetting("spark.executorEnv.", "environment variables", entry=False),
    PodSetting("spark.driver.host", "SPARK_DRIVER_URL"),
    PodSetting("spark.driver.port", "SPARK_DRIVER_URL, and `-D`", entry=False),
    PodSetting("spark.driver.bindAddress", "SPARK_DRIVER_URL with useDriverPodIP", since="4.1"),
    PodSetting(
        _EXECUTOR + "useDriverPodIP",
        "SPARK_DRIVER_URL with the driver's address instead of its name",
        since="4.1",
    ),
    PodSetting(
        "spark.blockManager.port",
        "container port `blockmanager` (none for 0), and `-D`",
        entry=False,
    ),
    PodSetting("spark.auth", "`-D` options (never the secret itself)", entry=False),
    PodSetting("spark.rpc", "`-D` options", entry=False),
    PodSetting("spark.network", "`-D` options", entry=False),
    PodSetting("spark.ssl", "`-D` options (never passwords)", since="4.0", entry=False),
    PodSetting("spark.port.", "`-D` options, as for every key `spark.*.port`", entry=False),
    PodSetting(
        "spark.authenticate", "without a secret file for executors: refused, the secret is unknown"
    ),
    PodSetting(
        "spark.authenticate.secret.file",
        "executors read the secret from a file: nothing in the environment",
    ),
    PodSetting("spark.authenticate.secret.executor.file", "the same, executors only"),
    PodSetting(
        "spark.ui.custom.executor.log.url",
        "SPARK_EXECUTOR_ATTRIBUTE_APP_ID and _EXECUTOR_ID",
        since="4.0",
    ),
    PodSetting(_EXECUTOR + "disableConfigMap", "no volume of configuration files"),
    PodSetting(
        _K8S + "authenticate.executor.serviceAccountName",
        "service account, unless the template has one",
    ),
    PodSetting(
        _K8S + "authenticate.driver.serviceAccountName",
        "service account, if the executor's is not set",
    ),
    PodSetting(_EXECUTOR + "secrets.", "secret volumes", entry=False),
    PodSetting(_EXECUTOR + "secretKeyRef.", "variables from secrets", entry=False),
    PodSetting(_EXECUTOR + "volumes.", "volumes, mounts and claims to create", entry=False),
    PodSetting(
        _K8S + "legacy.useReadWriteOnceAccessMode",
        "access mode of created claims: ReadWriteOnce, by default before 4.0; ReadWriteOncePod otherwise",
    ),
    PodSetting(_K8S + "driver.ownPersistentVolumeClaim", "owner of created claims"),
    PodSetting(
        _K8S + "driver.reusePersistentVolumeClaim",
        "volumes use claims that ended executors left, instead of new ones",
        entry=False,
    ),
    PodSetting(
        _K8S + "driver.waitToReusePersistentVolumeClaim",
        "when there are as many claims as executors may be, no pod until one is free",
        entry=False,
    ),
    PodSetting(
        _EXECUTOR + "hadoopConfigMapName",
        "Hadoop configuration volume and HADOOP_CONF_DIR",
        since="3.5",
        entry=False,
    ),
    PodSetting(
        "spark.local.dir",
        "emptyDir volumes and SPARK_LOCAL_DIRS, if the driver has no SPARK_LOCAL_DIRS",
        entry=False,
    ),
    PodSetting(_K8S + "local.dirs.tmpfs", "those volumes in memory"),
    PodSetting(_K8S + "node.selector.", "nodeSelector", entry=False),
    PodSetting(_EXECUTOR + "node.selector.", "nodeSelector, over the general one", entry=False),
    PodSetting(_K8S + "scheduler.name", "schedulerName"),
    PodSetting(_EXECUTOR + "scheduler.name", "schedulerName, before the general one"),
    PodSetting(
        _EXECUTOR + "podTemplateFile",
        "the pod to start from; refused when the file cannot be read from outside",
    ),
    PodSetting(
        _EXECUTOR + "podTemplateContainerName", "which container of the template is Spark's"
    ),
    PodSetting(
        _K8S + "allocation.pods.allocator",
        "`statefulset`: restartPolicy Always in Spark; this operator's pods never restart",
    ),
    PodSetting(
        _EXECUTOR + "terminationGracePeriodSeconds",
        "terminationGracePeriodSeconds (30)",
        since="4.1",
    ),
    PodSetting("spark.decommission.enabled", "preStop hook"),
    PodSetting(_K8S + "decommission.script", "Spark's preStop hook; this operator brings its own"),
    PodSetting("spark.executor.decommission.signal", "the signal of the preStop hook"),
    PodSetting(
        _EXECUTOR + "pod.featureSteps",
        "Volcano's and YuniKorn's annotations; other classes are refused",
    ),
    PodSetting(_EXECUTOR + "pod.excludedFeatureSteps", "leaves steps out", since="4.1"),
)

ENTRY_KEYS: tuple[str, ...] = tuple(setting.key for setting in POD_SETTINGS if setting.entry)


def with_older_names_read(conf: SparkConf) -> SparkConf:
    """A copy in which settings that only their older name gives have their own."""
    found = {
        setting.older_name_of: conf[setting.key]
        for setting in POD_SETTINGS
        if setting.older_name_of and setting.key in conf and setting.older_name_of not in conf
    }
    return conf.with_values(found) if found else conf
