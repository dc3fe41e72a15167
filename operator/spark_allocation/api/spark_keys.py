"""From a SparkAllocation to Spark's own keys: the bridge between the user's fields and the core's configuration.

The core reads one `SparkConf`. It is put together here, later entries winning: Spark's defaults (by absence), the
driver's configuration without the keys that `core.passive_driver` makes inert, the fields of the SparkAllocation.
"""

from collections.abc import Callable, Mapping
from typing import Any

from spark_allocation.api.field_types import milliseconds
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.core.spark_conf import SparkConf

INERT_KEYS = frozenset(
    {
        "spark.dynamicAllocation.minExecutors",
        "spark.dynamicAllocation.initialExecutors",
        "spark.executor.instances",
        "spark.dynamicAllocation.schedulerBacklogTimeout",
        "spark.dynamicAllocation.sustainedSchedulerBacklogTimeout",
        "spark.dynamicAllocation.executorIdleTimeout",
        "spark.dynamicAllocation.cachedExecutorIdleTimeout",
        "spark.dynamicAllocation.shuffleTracking.enabled",
        "spark.dynamicAllocation.shuffleTracking.timeout",
        "spark.dynamicAllocation.executorAllocationRatio",
        "spark.executor.maxNumFailures",
    }
)
"""Keys that a passive driver sets to keep still; they say nothing about what its user wants."""


def _plain(value: Any) -> str:
    return str(value)


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _duration(value: str) -> str:
    return f"{milliseconds(value)}ms"


_KEYS: tuple[tuple[tuple[str, ...], str, Callable[[Any], str]], ...] = (
    (("dynamic_allocation", "min_executors"), "spark.dynamicAllocation.minExecutors", _plain),
    (
        ("dynamic_allocation", "initial_executors"),
        "spark.dynamicAllocation.initialExecutors",
        _plain,
    ),
    (("dynamic_allocation", "max_executors"), "spark.dynamicAllocation.maxExecutors", _plain),
    (
        ("dynamic_allocation", "executor_allocation_ratio"),
        "spark.dynamicAllocation.executorAllocationRatio",
        _plain,
    ),
    (
        ("dynamic_allocation", "scheduler_backlog_timeout"),
        "spark.dynamicAllocation.schedulerBacklogTimeout",
        _duration,
    ),
    (
        ("dynamic_allocation", "sustained_scheduler_backlog_timeout"),
        "spark.dynamicAllocation.sustainedSchedulerBacklogTimeout",
        _duration,
    ),
    (
        ("dynamic_allocation", "executor_idle_timeout"),
        "spark.dynamicAllocation.executorIdleTimeout",
        _duration,
    ),
    (
        ("dynamic_allocation", "cached_executor_idle_timeout"),
        "spark.dynamicAllocation.cachedExecutorIdleTimeout",
        _duration,
    ),
    (
        ("dynamic_allocation", "shuffle_tracking", "enabled"),
        "spark.dynamicAllocation.shuffleTracking.enabled",
        _boolean,
    ),
    (
        ("dynamic_allocation", "shuffle_tracking", "timeout"),
        "spark.dynamicAllocation.shuffleTracking.timeout",
        _duration,
    ),
    (("allocation", "batch_size"), "spark.kubernetes.allocation.batch.size", _plain),
    (("allocation", "pod_allocation_delay"), "spark.kubernetes.allocation.batch.delay", _duration),
    (
        ("allocation", "executor_creation_timeout"),
        "spark.kubernetes.allocation.executor.timeout",
        _duration,
    ),
    (("allocation", "max_pending_pods"), "spark.kubernetes.allocation.maxPendingPods", _plain),
    (
        ("allocation", "max_pending_pods_per_profile"),
        "spark.kubernetes.allocation.maxPendingPodsPerRp",
        _plain,
    ),
    (("allocation", "failures", "max"), "spark.executor.maxNumFailures", _plain),
    (("allocation", "failures", "window"), "spark.executor.failuresValidityInterval", _duration),
)


def wished_properties(spec: SparkAllocationSpec) -> dict[str, str]:
    """The Spark properties that the fields of a SparkAllocation stand for; only those that are set."""
    properties: dict[str, str] = {}
    for path, key, text in _KEYS:
        value: Any = spec
        for attribute in path:
            value = getattr(value, attribute) if value is not None else None
        if value is not None:
            properties[key] = text(value)
    return properties


def allocation_conf(driver: Mapping[str, str], spec: SparkAllocationSpec) -> SparkConf:
    """The configuration that decides how many executors there are.

    Args:
        driver: the driver's effective Spark properties.
    """
    inherited = {key: value for key, value in driver.items() if key not in INERT_KEYS}
    return SparkConf({**inherited, **wished_properties(spec)})
