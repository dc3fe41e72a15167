"""From a SparkAllocation and its driver's configuration to the settings of the core."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from spark_allocation.api.spark_keys import INERT_KEYS, wished_settings
from spark_allocation.api.v1alpha1 import Mode, SparkAllocationSpec
from spark_allocation.controller.policy_directory import NO_POLICIES, SelectedPolicies
from spark_allocation.controller.shuffle_settings import shuffle_hold_conf
from spark_allocation.core import passive_driver
from spark_allocation.core.allocation import AllocationSettings
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.failure_tracker import FailureLimitConf
from spark_allocation.core.lifecycle_manager import LifecycleConf
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf, default_batch_size
from spark_allocation.core.setting_catalogue import (
    BATCH_SIZE,
    GRACE_PERIOD,
    MAX_CONCURRENT,
    NO_LIMIT,
    fields_of,
)
from spark_allocation.core.setting_layers import Resolution
from spark_allocation.core.setting_resolution import resolve
from spark_allocation.core.spark_conf import SECOND, InvalidSetting, SparkConf
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
        resolution: each setting with who set it, and the limits and locks that bit.
        policies: that it is subject to.
    """

    core: AllocationSettings
    mode: Mode
    drain_grace_seconds: int | None
    resolution: Resolution
    policies: SelectedPolicies = NO_POLICIES


def resolution_of(
    spec: SparkAllocationSpec,
    driver_conf: Mapping[str, str],
    version: SparkVersion,
    policies: SelectedPolicies = NO_POLICIES,
    user: str = "",
) -> Resolution:
    """All layers put together.

    Args:
        driver_conf: the driver's effective Spark properties.
        policies: that are for this application.
        user: whose defaults hold.
    """
    return resolve(
        driver=fields_of(driver_conf, without=INERT_KEYS),
        policies=policies.policies,
        user=user,
        allocation=wished_settings(spec),
        defaults={BATCH_SIZE.field: str(default_batch_size(version))},
    )


def effective_settings(
    spec: SparkAllocationSpec,
    driver_conf: SparkConf,
    version: SparkVersion,
    policies: SelectedPolicies = NO_POLICIES,
    user: str = "",
) -> EffectiveSettings | InvalidSetting:
    """Put the settings together; what Spark would refuse comes back as the error that names key, value and rule.

    Args:
        driver_conf: the driver's effective Spark properties.
        policies: that are for this application.
        user: whose defaults hold.
    """
    resolution = resolution_of(spec, driver_conf, version, policies, user)
    inherited = {key: value for key, value in driver_conf.items() if key not in INERT_KEYS}
    conf = SparkConf({**inherited, **resolution.spark_properties()})
    most_drains = resolution.value(MAX_CONCURRENT)
    try:
        drains = passive_driver.drains(driver_conf)
        core = AllocationSettings(
            dynamic=DynamicAllocationConf.from_spark_conf(conf),
            # the key tells a passive driver to leave pods alone; whether ended ones go, the object says
            pods=replace(
                PodsAllocatorConf.from_spark_conf(conf, version),
                delete_on_termination=keeps_no_ended_pods(spec),
                repair_known_faults=True,
            ),
            lifecycle=replace(
                LifecycleConf.from_spark_conf(conf, version),
                delete_on_termination=keeps_no_ended_pods(spec),
            ),
            shuffle=shuffle_hold_conf(resolution, driver_conf, conf),
            failures=FailureLimitConf.from_spark_conf(conf),
            max_concurrent_drains=None if most_drains == NO_LIMIT else int(most_drains),
        )
    except InvalidSetting as error:
        return error
    grace_seconds = round(GRACE_PERIOD.measure(resolution.value(GRACE_PERIOD)) / SECOND)
    return EffectiveSettings(
        core=core,
        mode=spec.mode or Mode.ALLOCATE,
        drain_grace_seconds=max(1, grace_seconds) if drains else None,
        resolution=resolution,
        policies=policies,
    )


def keeps_no_ended_pods(spec: SparkAllocationSpec) -> bool:
    """Whether pods that have ended are deleted (``spark.kubernetes.executor.deleteOnTermination``)."""
    return spec.executor is None or spec.executor.delete_on_termination is not False
