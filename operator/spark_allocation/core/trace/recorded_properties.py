"""Which of a driver's properties may be in a trace.

A driver's configuration is full of what nobody else should see. A trace needs what an executor offers to tasks and what
Spark's allocation reads, all of which are numbers, sizes, times and flags. So a key has to be on the list, and its value
has to look like one of these: a text is left out whatever its key.
"""

import re
from collections.abc import Mapping

from spark_allocation.core.setting_catalogue import BY_SPARK_KEY

MASTER = "spark.master"
KUBERNETES_MASTER = "k8s"
"""Says that executors are pods: without its address."""

_KEYS = frozenset(
    {
        *BY_SPARK_KEY,
        "spark.decommission.enabled",
        "spark.dynamicAllocation.enabled",
        "spark.executor.cores",
        "spark.executor.instances",
        "spark.executor.memory",
        "spark.executor.memoryOverhead",
        "spark.executor.memoryOverheadFactor",
        "spark.executor.pyspark.memory",
        "spark.memory.offHeap.enabled",
        "spark.memory.offHeap.size",
        "spark.shuffle.service.enabled",
        "spark.storage.decommission.enabled",
        "spark.storage.decommission.rddBlocks.enabled",
        "spark.storage.decommission.shuffleBlocks.enabled",
        "spark.task.cpus",
    }
)
_AMOUNT = re.compile(r"spark\.(executor|task)\.resource\.[A-Za-z0-9_-]{1,63}\.amount")
_PLAIN = re.compile(r"\s*(-?[0-9]{1,19}(\.[0-9]{1,12})?[A-Za-z]{0,3}|true|false)\s*", re.IGNORECASE)


def recorded_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """Those that may be kept."""
    kept = {
        key: value
        for key, value in properties.items()
        if (key in _KEYS or _AMOUNT.fullmatch(key)) and _PLAIN.fullmatch(value)
    }
    if properties.get(MASTER, "").startswith(KUBERNETES_MASTER):
        kept[MASTER] = KUBERNETES_MASTER
    return kept
