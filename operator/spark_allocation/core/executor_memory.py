"""Cores, memory and other resources of an executor container.

Theory of operation
-------------------
The default profile comes from the configuration. Any other profile *overrides* the default profile's numbers with its
own, with two surprises that are kept on purpose: the memory overhead is the default profile's unless the profile names
one (it is not computed from the profile's memory), and custom resources (GPUs) of the default profile are not
inherited.

    total = memory + overhead + off-heap + PySpark memory      (PySpark's only for Python applications)
    overhead = spark.executor.memoryOverhead, else max(factor x memory, minimum)

Source: ``ResourceProfile.getResourcesForClusterManager``, ``getDefaultProfileExecutorResources``,
``calculateOverHeadMemory``, ``ResourceUtils.parseResourceRequest``, ``Utils.checkOffHeapEnabled``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from spark_allocation.core.jvm_numbers import wrap_int, wrap_long
from spark_allocation.core.pod_refusals import RefusalReason, refuse
from spark_allocation.core.resource_profiles import (
    DEFAULT_PROFILE_ID,
    ExecutorResourceRequest,
    ResourceProfile,
)
from spark_allocation.core.spark_conf import BYTE, INT_MAX, MIB, InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion

MEMORY_OVERHEAD_MIN_MIB = 384
MEMORY_OVERHEAD_FACTOR = 0.1
RESOURCE_PREFIX = "spark.executor.resource."
_RESOURCE_TYPE = "spark.kubernetes.resource.type"
_MIN_OVERHEAD = "spark.executor.minMemoryOverhead"
_OFF_HEAP_SIZE = "spark.memory.offHeap.size"


@dataclass(frozen=True, slots=True)
class ExecutorContainerResources:
    """What one executor container asks for; memory in MiB (``ResourceProfile.ExecutorResourcesOrDefaults``)."""

    cores: int
    memory_mib: int
    total_memory_mib: int
    custom: Mapping[str, ExecutorResourceRequest]


def executor_container_resources(
    conf: SparkConf, profile: ResourceProfile, version: SparkVersion
) -> ExecutorContainerResources:
    """The resources of an executor of this profile.

    Raises:
        InvalidSetting: a number that Spark would refuse.
        PodNotBuildableError: a custom resource without its amount.
    """
    cores = conf.integer("spark.executor.cores", 1)
    memory = conf.size("spark.executor.memory", 1024, MIB)
    off_heap = default_off_heap_mib(conf)
    pyspark = conf.optional_size("spark.executor.pyspark.memory", MIB) or 0
    overhead = _default_overhead(conf, memory, version)
    custom = default_custom_resources(conf)
    if profile.id != DEFAULT_PROFILE_ID:
        custom = {}
        for name, request in profile.executor_resources.items():
            match name:
                case "cores":
                    cores = request.amount
                case "memory":
                    memory = request.amount
                case "memoryOverhead":
                    overhead = request.amount
                case "pyspark.memory":
                    pyspark = request.amount
                case "offHeap":
                    off_heap = _if_off_heap_enabled(conf, request.amount)
                case _:
                    custom[name] = request
    if _resource_type(conf) != "python":
        pyspark = 0
    return ExecutorContainerResources(
        cores=cores,
        memory_mib=memory,
        total_memory_mib=wrap_long(memory + overhead + off_heap + pyspark),
        custom=custom,
    )


def default_off_heap_mib(conf: SparkConf) -> int:
    """Off-heap memory of the default profile: ``spark.memory.offHeap.size`` when off-heap memory is enabled."""
    size = conf.size(_OFF_HEAP_SIZE, 0, BYTE)
    return _if_off_heap_enabled(conf, wrap_int(size // MIB))


def default_custom_resources(conf: SparkConf) -> dict[str, ExecutorResourceRequest]:
    """The custom resources of the default profile (``spark.executor.resource.<name>.*``) with an amount above zero."""
    settings = conf.with_prefix(RESOURCE_PREFIX)
    names: set[str] = set()
    for key in settings:
        if "." not in key:
            refuse(
                RefusalReason.INCOMPLETE_RESOURCE,
                RESOURCE_PREFIX + key,
                settings[key],
                "must be followed by .amount, .vendor or .discoveryScript",
            )
        names.add(key.partition(".")[0])
    requests = {}
    for name in sorted(names):
        amount_key = f"{RESOURCE_PREFIX}{name}.amount"
        if amount_key not in conf:
            refuse(
                RefusalReason.INCOMPLETE_RESOURCE,
                amount_key,
                "",
                f"the amount of {name} must be set",
            )
        amount = conf.integer(amount_key, 0)
        if amount > 0:
            requests[name] = ExecutorResourceRequest(
                resource_name=name,
                amount=amount,
                discovery_script=settings.get(f"{name}.discoveryScript", ""),
                vendor=settings.get(f"{name}.vendor", ""),
            )
    return requests


def _resource_type(conf: SparkConf) -> str | None:
    kind = conf.get(_RESOURCE_TYPE)
    if kind is not None and kind not in ("java", "python", "r"):
        raise InvalidSetting(_RESOURCE_TYPE, kind, "must be java, python or r")
    return kind


def _default_overhead(conf: SparkConf, memory: int, version: SparkVersion) -> int:
    factor = _overhead_factor(conf)
    minimum = MEMORY_OVERHEAD_MIN_MIB
    if version.at_least(4, 0):
        minimum = _least_overhead(conf)
    explicit = conf.optional_size("spark.executor.memoryOverhead", MIB)
    if explicit is not None:
        return explicit
    return max(_as_integer(factor * memory), minimum)


def _least_overhead(conf: SparkConf) -> int:
    """The least overhead; Spark lets a negative size pass here and nowhere else."""
    text = conf.get(_MIN_OVERHEAD, "")
    if not text.startswith("-"):
        return conf.size(_MIN_OVERHEAD, MEMORY_OVERHEAD_MIN_MIB, MIB)
    return -SparkConf({_MIN_OVERHEAD: text[1:]}).size(_MIN_OVERHEAD, MEMORY_OVERHEAD_MIN_MIB, MIB)


def _overhead_factor(conf: SparkConf) -> float:
    """The executor's own factor, which must be above zero, else Kubernetes' one, which may be zero."""
    key = "spark.executor.memoryOverheadFactor"
    if key in conf:
        factor = conf.double(key, MEMORY_OVERHEAD_FACTOR)
        if not factor > 0:
            raise InvalidSetting(key, conf[key], "must be greater than 0")
        return factor
    key = "spark.kubernetes.memoryOverheadFactor"
    factor = conf.double(key, MEMORY_OVERHEAD_FACTOR)
    if not factor >= 0:
        raise InvalidSetting(key, conf[key], "must not be negative")
    return factor


def _if_off_heap_enabled(conf: SparkConf, size_mib: int) -> int:
    if not conf.boolean("spark.memory.offHeap.enabled", default=False):
        return 0
    if size_mib <= 0:
        raise InvalidSetting(
            _OFF_HEAP_SIZE,
            conf.get(_OFF_HEAP_SIZE, ""),
            "must be at least 1m when spark.memory.offHeap.enabled is true",
        )
    return size_mib


def _as_integer(number: float) -> int:
    """A JVM conversion to a 32-bit integer that saturates (``Double.toInt``)."""
    return INT_MAX if number > INT_MAX else int(number)
