"""Which Spark keys the operator heeds, so that a user can be told of one that it does not.

Theory of operation
-------------------
``spec.sparkConf`` has the last word over the driver's own configuration where executor pods are built and executors are
counted. It does not reach the driver, which has read its configuration long before: a key that only tasks, SQL or the
driver would read is without effect there. Heeded are the settings of the pod (`executor_pod_settings`), the settings that
policies know (`setting_catalogue`), the few keys below, and any key that the value of another one refers to.
"""

from collections.abc import Iterable, Mapping

from spark_allocation.core.executor_pod_settings import POD_SETTINGS
from spark_allocation.core.setting_catalogue import BY_SPARK_KEY

_COUNTING = (
    "spark.excludeOnFailure.timeout",
    "spark.executor.instances",
    "spark.kubernetes.allocation.",
    "spark.kubernetes.executor.checkAllContainers",
    "spark.kubernetes.executor.missingPodDetectDelta",
    "spark.scheduler.resource.profileMergeConflicts",
    "spark.shuffle.manager",
    "spark.shuffle.service.enabled",
    "spark.shuffle.service.fetch.rdd.enabled",
    "spark.shuffle.sort.io.plugin.class",
    "spark.storage.decommission.",
    "spark.task.cpus",
    "spark.task.resource.",
)
"""Keys that decide how many executors there are, which of them may go, and how; a prefix ends in a dot."""

_START_UP = ("spark.auth", "spark.rpc", "spark.network", "spark.ssl")
"""Executors get keys that begin so on their command line (``SparkConf.isExecutorStartupConf``)."""


def is_heeded(key: str) -> bool:
    """Whether a value of this key can make a difference to the operator."""
    if key in BY_SPARK_KEY or key in _EXACTLY:
        return True
    if key.startswith((*_FAMILIES, *_START_UP)):
        return True
    return key.startswith("spark.") and key.endswith(".port")


def not_heeded(stated: Iterable[str], conf: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that make no difference, in order.

    Args:
        stated: what the user set.
        conf: everything that is set, in which a value may refer to a key as ``${key}``.
    """
    return tuple(
        key
        for key in sorted(stated)
        if not is_heeded(key) and not any(f"${{{key}}}" in text for text in conf.values())
    )


_KNOWN = (*(setting.key for setting in POD_SETTINGS), *_COUNTING)
_EXACTLY = frozenset(key for key in _KNOWN if not key.endswith("."))
_FAMILIES = tuple(key for key in _KNOWN if key.endswith("."))
