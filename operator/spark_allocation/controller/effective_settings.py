"""From a SparkAllocation and its driver's configuration to the settings of the core."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from spark_allocation.api.spark_keys import INERT_KEYS, wished_settings
from spark_allocation.api.v1alpha1 import Mode, SparkAllocationSpec
from spark_allocation.controller.policy_directory import NO_POLICIES, SelectedPolicies
from spark_allocation.controller.profile_settings import (
    NO_ENTRIES,
    ProfileSettings,
    profile_settings,
)
from spark_allocation.controller.shuffle_settings import shuffle_hold_conf
from spark_allocation.controller.streaming_settings import (
    NO_QUESTIONS,
    BacklogQuestions,
    backlog_questions,
    query_resolutions,
    streaming_settings,
    wished_streaming,
)
from spark_allocation.core import passive_driver
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.dynamic_allocation_conf import EXECUTOR_INSTANCES, DynamicAllocationConf
from spark_allocation.core.failure_tracker import FailureLimitConf
from spark_allocation.core.idle_sight import IdleSightConf
from spark_allocation.core.lifecycle_manager import LifecycleConf
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.resource_profiles import ResourceProfileManager
from spark_allocation.core.setting_catalogue import (
    BATCH_DELAY,
    BATCH_SIZE,
    BY_SPARK_KEY,
    DECOMMISSION,
    GRACE_PERIOD,
    MAX_CONCURRENT,
    NO_LIMIT,
    RAMP_UP,
    fields_of,
)
from spark_allocation.core.setting_layers import ALLOCATION, Layer, Origin, Resolution
from spark_allocation.core.setting_resolution import resolve
from spark_allocation.core.spark_conf import SECOND, InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion
from spark_allocation.core.streaming.observations import QueryName

DRAIN_GRACE_SECONDS = 600
"""How long a draining executor may finish its tasks unless the SparkAllocation says otherwise."""

AT_ONCE_GRACE_SECONDS = 5
"""Of executors that are not to finish anything: for their goodbye (as long as Spark itself waits for one that it kills)."""

EVICTION_GRACE_SECONDS = 120
"""An executor pod's own grace period: what evictions and node drains use. Moderate, so that a node drain is not held
up for ten minutes by one executor."""


@dataclass(frozen=True, slots=True)
class EffectiveSettings:
    """Everything that a change of the SparkAllocation changes while the driver runs.

    Attributes:
        drain_grace_seconds: of the deletion of an idle executor; None when the driver cannot decommission, and the
            pod's own grace period holds.
        drains: executors that leave finish their tasks first.
        nobody_allocates: the operator only advises, and the driver leaves allocation to it.
        resolution: each setting with who set it, and the limits and locks that bit.
        policies: that it is subject to.
        profiles: what holds for single resource profiles.
        queries: what holds for single streaming queries.
        backlogs: where the backlog of streams is asked for.
    """

    core: AllocationSettings
    mode: Mode
    drain_grace_seconds: int | None
    resolution: Resolution
    policies: SelectedPolicies = NO_POLICIES
    profiles: ProfileSettings = NO_ENTRIES
    drains: bool = True
    nobody_allocates: bool = False
    queries: Mapping[QueryName, Resolution] = field(default_factory=dict)
    backlogs: BacklogQuestions = NO_QUESTIONS


@dataclass(frozen=True, slots=True)
class Resolved:
    """Each setting with who set it: for the application, for single resource profiles, and for single streaming queries.

    Attributes:
        inert: keys of the driver that are there to keep it still, and say nothing.
    """

    common: Resolution
    profiles: ProfileSettings
    queries: Mapping[QueryName, Resolution]
    inert: frozenset[str]


def resolved(
    spec: SparkAllocationSpec,
    driver_conf: Mapping[str, str],
    policies: SelectedPolicies = NO_POLICIES,
    user: str = "",
    *,
    profiles: ResourceProfileManager | None = None,
) -> Resolved:
    """All layers put together.

    Args:
        driver_conf: the driver's effective Spark properties.
        policies: that are for this application.
        user: whose defaults hold.
        profiles: that the driver has named so far.
    """
    inert = _says_nothing(spec, driver_conf)
    driver = fields_of(driver_conf, without=inert)
    allocation = {**wished_settings(spec), **wished_streaming(spec)}

    def resolve_with(entry: str = "", settings: Mapping[str, str] | None = None) -> Resolution:
        return resolve(
            driver=driver,
            policies=policies.policies,
            user=user,
            allocation=allocation,
            profile=None if settings is None else (Origin(Layer.PROFILE, entry=entry), settings),
        )

    return Resolved(
        resolve_with(),
        profile_settings(spec, profiles, lambda each: resolve_with(each.name, each.settings)),
        query_resolutions(spec, resolve_with),
        inert,
    )


def effective_settings(
    spec: SparkAllocationSpec,
    driver_conf: SparkConf,
    version: SparkVersion,
    policies: SelectedPolicies = NO_POLICIES,
    user: str = "",
    *,
    profiles: ResourceProfileManager | None = None,
) -> EffectiveSettings | InvalidSetting:
    """Put the settings together; what Spark would refuse comes back as the error that names key, value and rule.

    Args:
        driver_conf: the driver's effective Spark properties.
        policies: that are for this application.
        user: whose defaults hold.
        profiles: that the driver has named so far.
    """
    found = resolved(spec, driver_conf, policies, user, profiles=profiles)
    resolution = found.common
    most_drains = resolution.value(MAX_CONCURRENT)
    try:
        can_drain = passive_driver.drains(driver_conf)
        drains = can_drain and _is_to_drain(resolution)
        conf = SparkConf(
            {
                **{key: value for key, value in driver_conf.items() if key not in found.inert},
                **resolution.spark_properties(),
                DECOMMISSION.spark_key: "true" if drains else "false",
            }
        )
        dynamic = DynamicAllocationConf.from_spark_conf(
            conf, immediate_ramp_up=resolution.value(RAMP_UP) == "Immediate"
        )
        core = AllocationSettings(
            # afterwards: what Spark would refuse of the driver's own values is told as what it is
            dynamic=dynamic.with_overrides(found.profiles.overrides()),
            # the key tells a passive driver to leave pods alone; whether ended ones go, the object says
            pods=replace(
                PodsAllocatorConf.from_spark_conf(conf, version),
                delete_on_termination=keeps_no_ended_pods(spec),
                batch_size=int(resolution.value(BATCH_SIZE)),
                wait_for_previous_batch=False,
                round_at_once=not any(
                    resolution.settings[each.field].stated for each in (BATCH_SIZE, BATCH_DELAY)
                ),
                repair_known_faults=True,
            ),
            lifecycle=replace(
                LifecycleConf.from_spark_conf(conf, version),
                delete_on_termination=keeps_no_ended_pods(spec),
            ),
            shuffle=shuffle_hold_conf(resolution, driver_conf, conf),
            failures=FailureLimitConf.from_spark_conf(conf),
            max_concurrent_drains=None if most_drains == NO_LIMIT else int(most_drains),
            streaming=streaming_settings(spec, resolution, found.queries),
            idle_sight=IdleSightConf.from_spark_conf(driver_conf),
        )
        drain_grace_seconds = _grace_seconds(resolution, drains) if can_drain else None
    except InvalidSetting as error:
        return _as_written(error, resolution)
    return EffectiveSettings(
        core=core,
        mode=spec.mode or Mode.ALLOCATE,
        drain_grace_seconds=drain_grace_seconds,
        resolution=resolution,
        policies=policies,
        profiles=found.profiles,
        queries=found.queries,
        drains=drains,
        nobody_allocates=spec.mode is Mode.RECOMMEND and not passive_driver.offences(driver_conf),
        backlogs=backlog_questions(spec, policies.prometheus_servers),
    )


def _is_to_drain(resolution: Resolution) -> bool:
    """Executors that can finish their tasks are to do so."""
    conf = SparkConf({DECOMMISSION.spark_key: resolution.value(DECOMMISSION)})
    return conf.boolean(DECOMMISSION.spark_key, default=True)


def _grace_seconds(resolution: Resolution, drains: bool) -> int:
    if not drains:
        return AT_ONCE_GRACE_SECONDS
    return max(1, round(GRACE_PERIOD.measure(resolution.value(GRACE_PERIOD)) / SECOND))


def _says_nothing(spec: SparkAllocationSpec, driver_conf: Mapping[str, str]) -> frozenset[str]:
    """Keys of the driver that are there to keep it still.

    A driver that allocates for itself means what it says, and only advice is given to it.
    """
    if spec.mode is not Mode.RECOMMEND or not passive_driver.offences(driver_conf):
        return INERT_KEYS
    if driver_conf.get(passive_driver.DYNAMIC_ALLOCATION, "false").strip().lower() == "true":
        return frozenset()
    # a fixed number of executors is what would be left behind
    return frozenset({EXECUTOR_INSTANCES})


def keeps_no_ended_pods(spec: SparkAllocationSpec) -> bool:
    """Whether pods that have ended are deleted (``spark.kubernetes.executor.deleteOnTermination``)."""
    return spec.executor is None or spec.executor.delete_on_termination is not False


def _as_written(error: InvalidSetting, resolution: Resolution) -> InvalidSetting:
    """The error under the name of the field, where the SparkAllocation set the value."""
    setting = BY_SPARK_KEY.get(error.key)
    if setting is None or resolution.settings[setting.field].origin != ALLOCATION:
        return error
    return InvalidSetting(f"spec.{setting.field} ({error.key})", error.value, error.rule)
