"""From a SparkAllocation and its driver's configuration to the settings of the core."""

from dataclasses import dataclass, replace

from spark_allocation.api.field_types import seconds
from spark_allocation.api.spark_keys import allocation_conf
from spark_allocation.api.v1alpha1 import Mode, SparkAllocationSpec
from spark_allocation.controller.shuffle_settings import shuffle_hold_conf
from spark_allocation.core import passive_driver
from spark_allocation.core.allocation import AllocationSettings
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.failure_tracker import FailureLimitConf
from spark_allocation.core.lifecycle_manager import LifecycleConf
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion

DRAIN_GRACE_SECONDS = 600
"""How long a draining executor may finish its tasks unless the SparkAllocation says otherwise."""

EVICTION_GRACE_SECONDS = 120
"""An executor pod's own grace period: what evictions and node drains use. Moderate, so that a node drain is not held
up for ten minutes by one executor."""


@dataclass(frozen=True, slots=True)
class EffectiveSettings:
    """Everything that a change of the SparkAllocation changes while the driver runs.

    Attributes:
        drain_grace_seconds: of the deletion of an idle executor; None when the driver cannot decommission, and the
            pod's own grace period holds.
    """

    core: AllocationSettings
    mode: Mode
    drain_grace_seconds: int | None


def effective_settings(
    spec: SparkAllocationSpec, driver_conf: SparkConf, version: SparkVersion
) -> EffectiveSettings | InvalidSetting:
    """Put the settings together; what Spark would refuse comes back as the error that names key, value and rule."""
    conf = allocation_conf(driver_conf, spec)
    mode = spec.mode or Mode.ALLOCATE
    decommission = spec.decommission
    grace = (
        seconds(decommission.grace_period)
        if decommission is not None and decommission.grace_period is not None
        else DRAIN_GRACE_SECONDS
    )
    try:
        drains = passive_driver.drains(driver_conf)
        core = AllocationSettings(
            dynamic=DynamicAllocationConf.from_spark_conf(conf),
            # the key tells a passive driver to leave pods alone; deleting ended ones is ours
            pods=replace(
                PodsAllocatorConf.from_spark_conf(conf, version),
                delete_on_termination=True,
                repair_known_faults=True,
            ),
            lifecycle=replace(
                LifecycleConf.from_spark_conf(conf, version), delete_on_termination=True
            ),
            shuffle=shuffle_hold_conf(spec, driver_conf, conf),
            failures=FailureLimitConf.from_spark_conf(conf),
            max_concurrent_drains=decommission.max_concurrent if decommission else None,
        )
    except InvalidSetting as error:
        return error
    return EffectiveSettings(
        core=core, mode=mode, drain_grace_seconds=max(1, round(grace)) if drains else None
    )
