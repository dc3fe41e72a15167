"""Resource profiles: what an executor offers and what a task takes.

Theory of operation
-------------------
A profile is a value with the id that the driver gave it. How many tasks an executor of a profile runs at once is decided
by its scarcest resource: cores divided by the cpus of a task (since Spark 4.3 these may be a fraction), and for every custom resource (GPUs, …) its amount divided
by the amount of a task, where a fraction of one half or less lets several tasks share one address.
`ResourceProfileManager` keeps the profiles of one application with the answers already computed, as Spark's class of
that name does: the numbers of a profile never change.

Source: ``org.apache.spark.resource.ResourceProfile`` (``calculateTasksAndLimitingResource``), ``TaskResourceProfile``,
``ResourceUtils``, ``ResourceProfileManager``; merging: ``DAGScheduler.mergeResourceProfilesForStage``.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NewType

from spark_allocation.core.jvm_numbers import INT_MAX, double_to_int, wrap_int
from spark_allocation.core.spark_conf import BYTE, MIB, InvalidSetting, SparkConf, trimmed

ProfileId = NewType("ProfileId", int)
DEFAULT_PROFILE_ID = ProfileId(0)
UNKNOWN_PROFILE_ID = ProfileId(-1)

CPUS = "cpus"
CORES = "cores"
MEMORY = "memory"
OFF_HEAP = "offHeap"
MEMORY_OVERHEAD = "memoryOverhead"
PYSPARK_MEMORY = "pyspark.memory"
BUILT_IN_EXECUTOR_RESOURCES = frozenset({CORES, MEMORY, MEMORY_OVERHEAD, PYSPARK_MEMORY, OFF_HEAP})

EXECUTOR_CORES = "spark.executor.cores"
TASK_CPUS = "spark.task.cpus"
_EXECUTOR_RESOURCE_PREFIX = "spark.executor.resource."
_TASK_RESOURCE_PREFIX = "spark.task.resource."
_DEFAULT_MEMORY_MIB = 1024
_LEAST_CPUS = 1e-9
_BILLION = 10**9


class InvalidProfile(ValueError):  # noqa: N818  (it is what the user reads)
    """Resources that Spark would refuse.

    Attributes:
        resource: the resource at fault.
        rule: what must hold, as a phrase.
    """

    def __init__(self, resource: str, rule: str) -> None:
        super().__init__(f"resource {resource}: {rule}")
        self.resource = resource
        self.rule = rule


@dataclass(frozen=True, slots=True)
class ExecutorResourceRequest:
    """An amount of one resource in each executor (``ExecutorResourceRequest``); memory amounts are in MiB."""

    resource_name: str
    amount: int
    discovery_script: str = ""
    vendor: str = ""


@dataclass(frozen=True, slots=True)
class TaskResourceRequest:
    """An amount of one resource for each task (``TaskResourceRequest``).

    Raises:
        InvalidProfile: when the amount is neither at most 1 nor whole; cpus may be any number (Spark 4.3).
    """

    resource_name: str
    amount: float

    def __post_init__(self) -> None:
        if self.resource_name != CPUS and not (self.amount <= 1.0 or self.amount % 1 == 0):
            raise InvalidProfile(
                self.resource_name,
                f"the amount {self.amount} must be at most 1.0, or a whole number",
            )


@dataclass(frozen=True, slots=True)
class ResourceProfile:
    """Executor and task resources under the id that the driver gave them (``org.apache.spark.resource.ResourceProfile``).

    Attributes:
        task_only: a ``TaskResourceProfile``: its executors are those of the default profile.

    Raises:
        InvalidProfile: when the amount of a task is neither at most 0.5 nor whole (not for ``task_only``, nor cpus).
    """

    id: ProfileId
    executor_resources: Mapping[str, ExecutorResourceRequest] = field(default_factory=dict)
    task_resources: Mapping[str, TaskResourceRequest] = field(default_factory=dict)
    task_only: bool = False

    def __post_init__(self) -> None:
        if self.task_only:
            return
        for request in self.custom_task_resources().values():
            if not (request.amount <= 0.5 or request.amount % 1 == 0):
                raise InvalidProfile(
                    request.resource_name,
                    f"the amount {request.amount} of a task must be at most 0.5, or a whole number",
                )

    def custom_executor_resources(self) -> dict[str, ExecutorResourceRequest]:
        """Executor resources beside cores and memory (``getCustomExecutorResources``)."""
        return {
            name: request
            for name, request in self.executor_resources.items()
            if name not in BUILT_IN_EXECUTOR_RESOURCES
        }

    def custom_task_resources(self) -> dict[str, TaskResourceRequest]:
        """Task resources beside cpus (``getCustomTaskResources``)."""
        return {name: request for name, request in self.task_resources.items() if name != CPUS}


@dataclass(frozen=True, slots=True)
class ExecutorCapacity:
    """How many tasks an executor of a profile runs at once, and why.

    Attributes:
        tasks: ``maxTasksPerExecutor``.
        limiting_resource: ``cpus``, the name of a custom resource, or empty when nothing limits.
        cores_limit_known: the number of cores took part (``isCoresLimitKnown``).
        unused: executor resources that no task asks for.
    """

    tasks: int
    limiting_resource: str
    cores_limit_known: bool
    unused: tuple[str, ...] = ()


def default_profile(conf: SparkConf) -> ResourceProfile:
    """The profile of the application's own settings (``ResourceProfile.getOrCreateDefaultProfile``).

    Raises:
        InvalidSetting: when an amount cannot be read.
        InvalidProfile: when an amount of a task is neither at most 0.5 nor whole.
    """
    task: dict[str, TaskResourceRequest] = {CPUS: TaskResourceRequest(CPUS, _task_cpus(conf))}
    for name, settings in _custom_resources(conf, _TASK_RESOURCE_PREFIX).items():
        fraction = settings.double("amount")
        if fraction > 0:
            task[name] = TaskResourceRequest(name, fraction)

    amounts: dict[str, int | None] = {
        MEMORY: conf.size("spark.executor.memory", _DEFAULT_MEMORY_MIB, MIB),
        MEMORY_OVERHEAD: conf.optional_size("spark.executor.memoryOverhead", MIB),
        PYSPARK_MEMORY: conf.optional_size("spark.executor.pyspark.memory", MIB),
        OFF_HEAP: _off_heap_mib(conf),
    }
    if EXECUTOR_CORES in conf or not _executors_take_whole_hosts(conf):
        amounts[CORES] = conf.integer(EXECUTOR_CORES, 1)
    executor = {
        name: ExecutorResourceRequest(name, amount)
        for name, amount in amounts.items()
        if amount is not None
    }
    for name, settings in _custom_resources(conf, _EXECUTOR_RESOURCE_PREFIX).items():
        whole = settings.integer("amount")
        if whole > 0:
            executor[name] = ExecutorResourceRequest(
                name, whole, settings.text("discoveryScript"), settings.text("vendor")
            )
    return ResourceProfile(DEFAULT_PROFILE_ID, executor, task)


def executor_capacity(
    profile: ResourceProfile, conf: SparkConf, *, dynamic_allocation: bool = True
) -> ExecutorCapacity:
    """How many tasks an executor of ``profile`` runs at once (``calculateTasksAndLimitingResource``).

    Args:
        profile: the profile.
        conf: the application's settings: what the profile leaves open.
        dynamic_allocation: without it a task-only profile shares the default profile's custom resources.

    Raises:
        InvalidProfile: when a task needs more than an executor has, or a resource that executors lack.
        InvalidSetting: when the application's cores cannot be read.
    """
    tasks: int | None = None
    limiting = ""
    cores_known = _cores_are_known(conf)
    if cores_known:
        tasks = _tasks_by_cores(profile, conf)
        limiting = CPUS
    wanted = profile.custom_task_resources()
    unused: list[str] = []
    for name, request in _offered(profile, conf, dynamic_allocation).items():
        task_amount = profile.task_resources[name].amount if name in profile.task_resources else 0.0
        if task_amount <= 0.0:
            unused.append(name)
            continue
        wanted.pop(name, None)
        by_this = _tasks_by_amount(request, task_amount)
        if tasks is None or by_this < tasks:
            tasks, limiting = by_this, name
    if wanted:
        name = min(wanted)
        raise InvalidProfile(name, "tasks ask for it, but executors do not have it")
    return ExecutorCapacity(1 if tasks is None else tasks, limiting, cores_known, tuple(unused))


class ResourceProfileManager:
    """The profiles of one application (``ResourceProfileManager``).

    Starts with the default profile. A profile never changes; the first one under an id stays.

    Raises:
        InvalidProfile: in `add`, when Spark would refuse the profile.
        InvalidSetting: when Spark would refuse the application's own resources.
    """

    def __init__(self, conf: SparkConf) -> None:
        self._conf = conf
        self._profiles: dict[ProfileId, ResourceProfile] = {}
        self._capacities: dict[ProfileId, ExecutorCapacity] = {}
        try:
            self.add(default_profile(conf))
        except InvalidProfile as refused:
            raise _of_the_settings(refused, conf) from refused

    def add(self, profile: ResourceProfile) -> None:
        """Make a profile known; one that is refused stays unknown."""
        if profile.id in self._profiles:
            return
        capacity = executor_capacity(profile, self._conf)
        self._profiles[profile.id] = profile
        self._capacities[profile.id] = capacity

    def __contains__(self, profile_id: object) -> bool:
        return profile_id in self._profiles

    def __iter__(self) -> Iterator[ResourceProfile]:
        return iter(self._profiles.values())

    def get(self, profile_id: ProfileId) -> ResourceProfile | None:
        """The profile, or None when the driver has not named it yet."""
        return self._profiles.get(profile_id)

    def capacity(self, profile_id: ProfileId) -> ExecutorCapacity | None:
        """How many tasks its executors run at once, or None when the profile is not known."""
        return self._capacities.get(profile_id)


class _ResourceSettings:
    """The entries of one custom resource: ``<prefix><name>.amount`` and its companions."""

    def __init__(self, prefix: str, entries: Mapping[str, str]) -> None:
        self._prefix = prefix
        self._conf = SparkConf({prefix + "." + key: value for key, value in entries.items()})

    def double(self, name: str) -> float:
        return self._required(name).double(self._key(name), 0.0)

    def integer(self, name: str) -> int:
        key = self._key(name)
        amount = self._required(name).integer(key, 0)
        if self._conf[key] != trimmed(self._conf[key]):
            raise InvalidSetting(key, self._conf[key], "must be a whole number without spaces")
        return amount

    def text(self, name: str) -> str:
        return self._conf.get(self._key(name), "")

    def _key(self, name: str) -> str:
        return f"{self._prefix}.{name}"

    def _required(self, name: str) -> SparkConf:
        key = self._key(name)
        if key not in self._conf:
            raise InvalidSetting(key, "", "an amount must be set for every custom resource")
        return self._conf


def _custom_resources(conf: SparkConf, prefix: str) -> dict[str, _ResourceSettings]:
    """``ResourceUtils.listResourceIds``: the names below a prefix."""
    entries: dict[str, dict[str, str]] = {}
    for key, value in conf.with_prefix(prefix).items():
        name, dot, setting = key.partition(".")
        if not dot:
            raise InvalidSetting(prefix + key, value, "must be written with .amount after the name")
        entries.setdefault(name, {})[setting] = value
    return {name: _ResourceSettings(prefix + name, found) for name, found in entries.items()}


def _off_heap_mib(conf: SparkConf) -> int:
    """``Utils.executorOffHeapMemorySizeAsMb``: 0 unless off-heap memory is enabled."""
    size_key = "spark.memory.offHeap.size"
    size = conf.size(size_key, 0, BYTE)
    if not conf.boolean("spark.memory.offHeap.enabled", False):
        return 0
    mebibytes = wrap_int(size // MIB)
    if mebibytes <= 0:
        raise InvalidSetting(
            size_key,
            conf.get(size_key, "0"),
            "must be at least 1m when spark.memory.offHeap.enabled is true",
        )
    return mebibytes


def _of_the_settings(refused: InvalidProfile, conf: SparkConf) -> InvalidSetting:
    """The refusal of the default profile, which is made of settings: with the key and the value as written."""
    key = f"{_TASK_RESOURCE_PREFIX}{refused.resource}.amount"
    if refused.resource in (CORES, CPUS):
        key = EXECUTOR_CORES if EXECUTOR_CORES in conf else TASK_CPUS
    return InvalidSetting(key, conf.get(key, ""), refused.rule)


def _cores_are_known(conf: SparkConf) -> bool:
    """``shouldCheckExecutorCores``: other cluster managers may give an executor all cores of a host."""
    master = conf.get("spark.master", "")
    return EXECUTOR_CORES in conf or master.lower() == "yarn" or master.startswith("k8s")


def _executors_take_whole_hosts(conf: SparkConf) -> bool:
    return conf.get("spark.master", "").startswith(("spark://", "local-cluster["))


def _tasks_by_cores(profile: ResourceProfile, conf: SparkConf) -> int:
    cpus = (
        profile.task_resources[CPUS].amount if CPUS in profile.task_resources else _task_cpus(conf)
    )
    if not _LEAST_CPUS <= cpus <= INT_MAX:
        raise InvalidProfile(CPUS, f"a task must take at least {_LEAST_CPUS} and at most {INT_MAX}")
    if CORES in profile.executor_resources:
        cores = wrap_int(profile.executor_resources[CORES].amount)
    else:
        cores = conf.integer(EXECUTOR_CORES, 1)
    if cores < cpus:
        raise InvalidProfile(
            CORES, f"an executor has {cores}, a task takes {cpus:g}: no task would fit"
        )
    # In billionths, as 7 / 0.7 is not 10 in floating point.
    return cores * _BILLION // round(cpus * _BILLION)


def _task_cpus(conf: SparkConf) -> float:
    cpus = conf.double(TASK_CPUS, 1.0)
    if not _LEAST_CPUS <= cpus <= INT_MAX:
        rule = f"must be at least {_LEAST_CPUS} and at most {INT_MAX}"
        raise InvalidSetting(TASK_CPUS, conf.get(TASK_CPUS, ""), rule)
    return cpus


def _offered(
    profile: ResourceProfile, conf: SparkConf, dynamic_allocation: bool
) -> dict[str, ExecutorResourceRequest]:
    if profile.task_only and not dynamic_allocation:
        return default_profile(conf).custom_executor_resources()
    return profile.custom_executor_resources()


def _tasks_by_amount(request: ExecutorResourceRequest, task_amount: float) -> int:
    """``ResourceUtils.calculateAmountAndPartsForFraction`` and the division that follows it."""
    if task_amount > request.amount:
        raise InvalidProfile(
            request.resource_name,
            f"an executor has {request.amount}, a task takes {task_amount}: no task would fit",
        )
    if task_amount <= 1.0:
        return wrap_int(request.amount * double_to_int(math.floor(1.0 / task_amount)))
    return wrap_int(request.amount // double_to_int(math.ceil(task_amount)))
