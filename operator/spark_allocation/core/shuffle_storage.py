"""Where an application's shuffle data lies: on its executors, or somewhere that outlives them.

Theory of operation
-------------------
Only shuffle data that goes with its executor is a reason to keep the executor. REST does not tell the difference: a
remote shuffle manager reports the bytes that it writes like the local one does. The driver's configuration tells it:

- an external shuffle service serves what executors have written after they are gone;
- a remote shuffle manager, or a plug-in of the local one that keeps its files elsewhere, is known by its class.

A class that is not known here counts as local: held too long costs an executor, held too short costs a stage. Of Spark's
own plug-ins ``KubernetesLocalDiskShuffleDataIO`` is local too: it finds files of former executors on volumes that are
used again, which is no promise.

Source: ``ShuffleManager``, ``ShuffleDriverComponents.supportsReliableStorage``, ``ExecutorAllocationManager.validateSettings``.
"""

from enum import StrEnum

from spark_allocation.core.spark_conf import SparkConf

SHUFFLE_MANAGER = "spark.shuffle.manager"
SHUFFLE_PLUGIN = "spark.shuffle.sort.io.plugin.class"

_LOCAL_MANAGERS = frozenset(
    {"sort", "tungsten-sort", "org.apache.spark.shuffle.sort.sortshufflemanager"}
)
_LOCAL_PLUGINS = frozenset(
    {
        "",
        "org.apache.spark.shuffle.sort.io.localdiskshuffledataio",
        "org.apache.spark.shuffle.kuberneteslocaldiskshuffledataio",
    }
)
_REMOTE_MANAGERS = (
    "org.apache.spark.shuffle.celeborn.",  # Apache Celeborn
    "org.apache.spark.shuffle.rss.",  # its predecessor
    "org.apache.spark.shuffle.rssshufflemanager",  # Apache Uniffle, Uber's RSS
    "org.apache.spark.shuffle.css.",  # CloudShuffleService
    "org.apache.spark.shuffle.sort.s3shufflemanager",  # spark-s3-shuffle
)
_REMOTE_PLUGINS = (
    "org.apache.spark.shuffle.celeborn.",
    "org.apache.spark.shuffle.rssshuffledataio",
    "org.apache.spark.shuffle.s3shuffledataio",
)


class ShuffleStorage(StrEnum):
    """Where shuffle data lies."""

    LOCAL = "Local"
    """On the executors, and goes with them."""
    UNKNOWN = "Unknown"
    """With a shuffle manager or plug-in that is not known: treated as local."""
    SERVICE = "Service"
    """Served by an external shuffle service."""
    REMOTE = "Remote"
    """On other machines or in an object store."""

    @property
    def goes_with_executors(self) -> bool:
        """An executor that leaves takes what it wrote along, for all that is known."""
        return self in (ShuffleStorage.LOCAL, ShuffleStorage.UNKNOWN)


def shuffle_storage(conf: SparkConf) -> ShuffleStorage:
    """Where the shuffle data of an application with this configuration lies.

    Raises:
        InvalidSetting: where Spark refuses a flag.
    """
    if conf.boolean("spark.shuffle.service.enabled", False):
        return ShuffleStorage.SERVICE
    manager = conf.get(SHUFFLE_MANAGER, "sort").strip().lower()
    plugin = conf.get(SHUFFLE_PLUGIN, "").strip().lower()
    if manager.startswith(_REMOTE_MANAGERS) or plugin.startswith(_REMOTE_PLUGINS):
        return ShuffleStorage.REMOTE
    if manager in _LOCAL_MANAGERS and plugin in _LOCAL_PLUGINS:
        return ShuffleStorage.LOCAL
    return ShuffleStorage.UNKNOWN
