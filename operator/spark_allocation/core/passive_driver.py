"""A driver that leaves allocation to the operator: its settings, and what to say when they are otherwise.

Theory of operation
-------------------
An unmodified driver stays passive when dynamic allocation is on but can neither ask for executors nor dismiss them:

- nothing to start with (``minExecutors``, ``initialExecutors`` and ``spark.executor.instances`` are 0), so the target
  of its own allocator is 0 for ever;
- a backlog timer that never ends, so that target never rises;
- an idle timeout that never ends: it keeps the driver's manager from killing idle executors *and* its pods allocator
  from deleting our pending pods, all of which are surplus against a target of 0.

Dynamic allocation must be *on* because Spark refuses stage-level profiles without it, and because then the driver
publishes ``numberMaxNeededExecutors``, the exact need. The longest timeout that Spark can add to its clock without
overflow is 2147483647 s; a longer one wraps around and fires at once.

Sources: ``ExecutorAllocationManager``, ``ExecutorPodsAllocator.onNewSnapshots``, ``ExecutorFailureTracker``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from spark_allocation.core.spark_conf import INT_MAX, SECOND, InvalidSetting, SparkConf

NEVER = f"{INT_MAX}s"
_TEN_YEARS_SECONDS = 10 * 365 * 86400

DYNAMIC_ALLOCATION = "spark.dynamicAllocation.enabled"
FAILURE_LIMIT = "spark.executor.maxNumFailures"


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the driver's configuration and why it is there."""

    key: str
    value: str
    why: str


PASSIVE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        DYNAMIC_ALLOCATION, "true", "profiles and the gauge of needed executors exist only with it"
    ),
    Setting(
        "spark.dynamicAllocation.minExecutors", "0", "the driver asks for no executor of its own"
    ),
    Setting("spark.dynamicAllocation.initialExecutors", "0", "nor at its start"),
    Setting("spark.executor.instances", "0", "nor because of this key"),
    Setting("spark.dynamicAllocation.schedulerBacklogTimeout", NEVER, "nor because tasks wait"),
    Setting(
        "spark.dynamicAllocation.sustainedSchedulerBacklogTimeout",
        NEVER,
        "nor because they go on waiting",
    ),
    Setting(
        "spark.dynamicAllocation.executorIdleTimeout",
        NEVER,
        "the driver dismisses no idle executor",
    ),
    Setting(
        "spark.dynamicAllocation.cachedExecutorIdleTimeout", NEVER, "nor one with cached blocks"
    ),
    Setting(
        "spark.dynamicAllocation.shuffleTracking.enabled",
        "true",
        "Spark demands it without a shuffle service",
    ),
    Setting(
        "spark.dynamicAllocation.executorAllocationRatio",
        "1.0",
        "the operator applies its own ratio",
    ),
    Setting(
        FAILURE_LIMIT,
        str(INT_MAX),
        "failed executors are the operator's to judge; the driver does not exit",
    ),
    Setting(
        "spark.kubernetes.executor.deleteOnTermination",
        "false",
        "the operator deletes pods, the driver none",
    ),
    Setting("spark.decommission.enabled", "true", "executors that leave finish their tasks first"),
    Setting(
        "spark.scheduler.maxRetainedRemovedDecommissionExecutors",
        "1000",
        "fetches from drained executors",
    ),
    Setting(
        "spark.scheduler.maxRetainedUnknownDecommissionExecutors",
        "1000",
        "drains before registration",
    ),
    Setting(
        "spark.stage.ignoreDecommissionFetchFailure", "true", "a drain never counts against a stage"
    ),
    Setting(
        "spark.ui.enabled", "true", "the operator reads what tasks need from the UI's REST API"
    ),
)

MIGRATION_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "spark.storage.decommission.enabled", "true", "a draining executor hands on what it stores"
    ),
    Setting("spark.storage.decommission.rddBlocks.enabled", "true", "cached blocks"),
    Setting("spark.storage.decommission.shuffleBlocks.enabled", "true", "shuffle files"),
)


def parallelism_settings(expected_cores: int) -> tuple[Setting, ...]:
    """What a driver that starts without executors cannot know: how many cores it is going to have.

    Args:
        expected_cores: at least 1.
    """
    cores = str(expected_cores)
    why = "without executors Spark plans for two cores"
    return (
        Setting("spark.default.parallelism", cores, why),
        Setting("spark.sql.leafNodeDefaultParallelism", cores, why),
        Setting("spark.sql.adaptive.coalescePartitions.minPartitionNum", cores, why),
    )


FALLBACK_SETTINGS: tuple[Setting, ...] = (
    Setting(
        DYNAMIC_ALLOCATION,
        "true",
        "the driver allocates for itself, as Spark does without the operator",
    ),
    Setting(
        "spark.dynamicAllocation.shuffleTracking.enabled",
        "true",
        "Spark demands it without a shuffle service",
    ),
    Setting("spark.decommission.enabled", "true", "executors that leave finish their tasks first"),
)


@dataclass(frozen=True, slots=True)
class Offence:
    """A key with which the driver would allocate for itself, or work against the operator."""

    key: str
    actual: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.key}: {self.actual} → {self.wanted}"


def offences(properties: Mapping[str, str]) -> tuple[Offence, ...]:
    """The keys that keep a driver from being passive, in the order of `PASSIVE_SETTINGS`.

    Args:
        properties: the driver's effective Spark properties.
    """
    conf = SparkConf(properties)
    found: list[Offence] = []

    def offend(key: str, wanted: str, default: str) -> None:
        found.append(Offence(key, conf.get(key, f"{default} (default)"), wanted))

    try:
        if not conf.boolean(DYNAMIC_ALLOCATION, False):
            offend(DYNAMIC_ALLOCATION, "true", "false")
        for key in (
            "spark.dynamicAllocation.minExecutors",
            "spark.dynamicAllocation.initialExecutors",
            "spark.executor.instances",
        ):
            if conf.integer(key, 0) != 0:
                offend(key, "0", "0")
        for key, default_seconds, default in (
            ("spark.dynamicAllocation.schedulerBacklogTimeout", 1, "1s"),
            (
                "spark.dynamicAllocation.sustainedSchedulerBacklogTimeout",
                INT_MAX,
                "schedulerBacklogTimeout",
            ),
            ("spark.dynamicAllocation.executorIdleTimeout", 60, "60s"),
            ("spark.dynamicAllocation.cachedExecutorIdleTimeout", INT_MAX, NEVER),
        ):
            if not _TEN_YEARS_SECONDS <= conf.time(key, default_seconds, SECOND) <= INT_MAX:
                offend(key, NEVER, default)
        if conf.double("spark.dynamicAllocation.executorAllocationRatio", 1.0) != 1.0:
            offend("spark.dynamicAllocation.executorAllocationRatio", "1.0", "1.0")
        limited = conf.integer("spark.dynamicAllocation.maxExecutors", INT_MAX) < INT_MAX // 2
        if FAILURE_LIMIT in conf:
            limited = conf.integer(FAILURE_LIMIT, INT_MAX) < 1_000_000
        if limited:
            offend(FAILURE_LIMIT, str(INT_MAX), "twice maxExecutors")
    except InvalidSetting as error:
        found.append(Offence(error.key, error.value, error.rule))
    return tuple(found)


def drains(properties: Mapping[str, str]) -> bool:
    """Whether executors of this driver can be told to finish their tasks and leave."""
    return SparkConf(properties).boolean("spark.decommission.enabled", False)


def migration_obstacle(properties: Mapping[str, str]) -> str:
    """What of the driver's configuration keeps executors from handing on their shuffle data; "" when they do."""
    conf = SparkConf(properties)
    for key, default in (
        ("spark.decommission.enabled", False),
        ("spark.storage.decommission.enabled", False),
        ("spark.storage.decommission.shuffleBlocks.enabled", True),
    ):
        if not conf.boolean(key, default):
            return f"{key} is false"
    return ""
