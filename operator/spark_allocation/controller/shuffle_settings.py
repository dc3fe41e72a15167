"""From a SparkAllocation and its driver's configuration to the rules by which executors are held for their shuffle data."""

from spark_allocation.core import passive_driver
from spark_allocation.core.dynamic_allocation_conf import SHUFFLE_TRACKING_ENABLED
from spark_allocation.core.setting_catalogue import MIGRATE, SHUFFLE_HOLD
from spark_allocation.core.setting_layers import Resolution
from spark_allocation.core.shuffle_holders import ShuffleHold, ShuffleHoldConf
from spark_allocation.core.shuffle_storage import ShuffleStorage, shuffle_storage
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf


def shuffle_hold_conf(
    resolution: Resolution, driver_conf: SparkConf, conf: SparkConf
) -> ShuffleHoldConf:
    """Who is held for shuffle data.

    Args:
        resolution: what all layers make of shuffleHold and migrate.
        driver_conf: the driver's effective Spark properties.
        conf: what dynamic allocation is decided by: the same without the keys that keep a driver passive, and with the
            wishes of all layers.

    Raises:
        InvalidSetting: nobody would be held, and the data would go with the executors.
    """
    storage = shuffle_storage(driver_conf)
    obstacle = passive_driver.migration_obstacle(driver_conf)
    wanted = resolution.value(MIGRATE) == "true"
    # who is deleted at once hands nothing on, whatever the driver is set to
    hands_over = not obstacle and passive_driver.drains(conf)
    migrates = wanted and hands_over
    tracked = conf.boolean(SHUFFLE_TRACKING_ENABLED, True)
    if storage is ShuffleStorage.LOCAL and not tracked and not migrates:
        raise InvalidSetting(
            SHUFFLE_TRACKING_ENABLED,
            "false",
            "shuffle data is on the executors and would go with them. Leave shuffle tracking on, or let executors hand "
            "their data on (decommission.migrate, with a driver that migrates shuffle blocks)",
        )
    return ShuffleHoldConf(
        local=storage.goes_with_executors,
        hold=ShuffleHold(resolution.value(SHUFFLE_HOLD)),
        hands_over=hands_over,
        migrates=migrates,
        migration_obstacle=obstacle if wanted else "",
        fallback_storage="spark.storage.decommission.fallbackStorage.path" in driver_conf,
        cached_too=driver_conf.boolean("spark.storage.decommission.rddBlocks.enabled", True),
    )
