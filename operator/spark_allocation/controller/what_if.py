"""A recorded application under another policy: from files and a log to the core's settings, and to what comes of them.

A policy is one of two things. A SparkAllocation, with the policies that stand beside it in its file, means that this operator
allocates, and the driver is passive. Spark properties mean that the driver allocates for itself, with these on top of the
recorded ones. Both are read as they are for real applications, and refused in the same words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median_low

from spark_allocation.api.group import KIND
from spark_allocation.controller.effective_settings import effective_settings
from spark_allocation.controller.policy_directory import PolicyDirectory
from spark_allocation.controller.policy_files import (
    PolicyFile,
    RefusedPolicy,
    metadata_of,
    property_text,
)
from spark_allocation.controller.spec_reading import InvalidSpec, read_spec
from spark_allocation.core import passive_driver
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.dynamic_allocation_conf import (
    EXECUTOR_INSTANCES,
    INITIAL_EXECUTORS,
    MAX_EXECUTORS,
    MIN_EXECUTORS,
    DynamicAllocationConf,
)
from spark_allocation.core.listener_events import ListenerEvent
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.resource_profiles import InvalidProfile, ResourceProfileManager
from spark_allocation.core.setting_catalogue import BY_SPARK_KEY
from spark_allocation.core.setting_layers import Layer
from spark_allocation.core.shuffle_storage import ShuffleStorage, shuffle_storage
from spark_allocation.core.simulation.application import RecordedApplication
from spark_allocation.core.simulation.cluster import ClusterModel
from spark_allocation.core.simulation.executor_data import DataRules
from spark_allocation.core.simulation.hosts import AllocationHost, OperatorHost, SparkDriverHost
from spark_allocation.core.simulation.outcome import ExecutorLane, Outcome
from spark_allocation.core.simulation.run import Simulation
from spark_allocation.core.simulation.timeline import area_between
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion

AS_RECORDED = "as recorded"
RECORDED = "recorded"
DEFAULT_START_DELAY_MS = 5_000
FIXED_EXECUTORS = 2
"""``spark.executor.instances`` where nobody sets it and dynamic allocation is off."""
_NEWEST = SparkVersion.parse("4.1.0")


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy for one application.

    Attributes:
        by_operator: what the operator does; None when the driver allocates for itself.
        by_driver: what the driver does; None when the operator allocates.
        conf: the driver's properties.
        data: what becomes of what executors hold.
        settings: what was stated, by field, with the values that hold.
    """

    name: str
    conf: SparkConf
    data: DataRules
    by_operator: AllocationSettings | None = None
    by_driver: tuple[DynamicAllocationConf, PodsAllocatorConf] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def host(self, profiles: ResourceProfileManager) -> AllocationHost:
        """Who allocates under it."""
        if self.by_operator is not None:
            return OperatorHost(self.by_operator, profiles)
        assert self.by_driver is not None
        return SparkDriverHost(*self.by_driver, profiles)


def policy_for(application: RecordedApplication, file: PolicyFile) -> Policy:
    """A policy for this application.

    Raises:
        RefusedPolicy: when it cannot be.
    """
    first = file.documents[0]
    try:
        if first.get("kind") == KIND:
            return _operator_policy(application, file)
        properties = {str(key): property_text(value) for key, value in first.items()}
        conf = SparkConf({**application.properties, **properties})
        return _driver_policy(application, file.name, conf, stated=properties)
    except (InvalidSetting, InvalidProfile) as refused:
        raise file.refused(refused) from None


def as_recorded(application: RecordedApplication) -> Policy:
    """The settings that the application ran with, as far as its log tells them.

    A passive driver's log does not tell what the operator was set to: it then counts as set to nothing.

    Raises:
        RefusedPolicy: when Spark would not have started with what the log says.
    """
    conf = SparkConf(application.properties)
    if not passive_driver.offences(conf):
        empty = {"kind": KIND, "spec": {"driver": {"podName": "recorded"}}}
        return policy_for(application, PolicyFile(AS_RECORDED, (empty,)))
    stated = {key: value for key, value in conf.items() if key in BY_SPARK_KEY}
    try:
        return _driver_policy(application, AS_RECORDED, conf, stated=stated)
    except (InvalidSetting, InvalidProfile) as refused:
        raise RefusedPolicy(f"the log's own settings: {refused}") from None


def cluster_of(
    application: RecordedApplication,
    *,
    start_delay_ms: int | None = None,
    pods_per_minute: float | None = None,
    failures_per_hour: float = 0.0,
    seed: int = 0,
) -> ClusterModel:
    """The cluster that the application met, where nothing else is said: executors start as they did."""
    first_tasks = application.first_task_delays_ms()
    delays = tuple(application.start_delays_ms()) if start_delay_ms is None else (start_delay_ms,)
    return ClusterModel(
        start_delays_ms=delays or (DEFAULT_START_DELAY_MS,),
        delays_count_from_target=start_delay_ms is None and bool(delays),
        warm_ups_ms=tuple(application.warm_ups_ms()) or (0,),
        first_task_after_ms=(
            median_low(first_tasks) if first_tasks and start_delay_ms is None else 0
        ),
        pods_per_minute=pods_per_minute,
        failures_per_hour=failures_per_hour,
        seed=seed,
    )


def simulated(
    application: RecordedApplication,
    policy: Policy,
    cluster: ClusterModel,
    observer: Callable[[int, ListenerEvent], None] | None = None,
) -> Outcome:
    """What comes of the application under a policy."""
    profiles = ResourceProfileManager(policy.conf)
    host = policy.host(profiles)
    return Simulation(application, host, profiles, cluster, policy.data, observer=observer).run()


def recorded_outcome(application: RecordedApplication) -> Outcome:
    """The run as the log has it, in the same numbers."""
    run, end = application.run, application.duration_ms
    profiles = _profiles_of(application, SparkConf(application.properties))
    executor_ms = core_ms = slot_ms = drains = 0
    lanes = []
    for executor in run.executors:
        removed = end if executor.removed_ms is None else min(executor.removed_ms, end)
        lived = max(0, removed - executor.added_ms)
        capacity = profiles.capacity(executor.profile_id)
        executor_ms += lived
        core_ms += lived * executor.cores
        slot_ms += lived * (capacity.tasks if capacity is not None else executor.cores)
        drains += executor.removed_ms is not None and executor.removed_ms < end
        lanes.append(ExecutorLane(executor.executor_id, executor.added_ms, removed))
    return Outcome(
        finished=application.ended,
        makespan_ms=end,
        executor_ms=executor_ms,
        core_ms=core_ms,
        slot_ms=slot_ms,
        busy_ms=run.busy_ms,
        backlog_ms=run.backlog_ms,
        drains=drains,
        recomputed_ms=run.lost_ms,
        asked=len(run.executors),
        timeline=run.timeline,
        lanes=tuple(lanes),
        why_not_finished="" if application.ended else "the log ends before the application",
    )


def curve_difference(one: Outcome, other: Outcome) -> float | None:
    """The area between two curves of executors, as a share of the area below the second; None when that is empty."""
    both = min(one.makespan_ms, other.makespan_ms)
    longer = one if one.makespan_ms > both else other
    beyond = longer.timeline.executor_ms(longer.makespan_ms) - longer.timeline.executor_ms(both)
    below = other.timeline.executor_ms(other.makespan_ms)
    return (area_between(one.timeline, other.timeline, both) + beyond) / below if below else None


# -- inside ----------------------------------------------------------------------------------------------------------


def _operator_policy(application: RecordedApplication, file: PolicyFile) -> Policy:
    body, *others = file.documents
    directory = PolicyDirectory()
    for document in others:
        directory.update(str(document.get("kind")), dict(document))
    spec = read_spec(body, strict=True)
    if isinstance(spec, InvalidSpec):
        raise file.refused(spec)
    passive = {setting.key: setting.value for setting in passive_driver.PASSIVE_SETTINGS}
    conf = SparkConf({**application.properties, **passive})
    settings = effective_settings(
        spec,
        conf,
        _version(application),
        directory.selected(str(metadata_of(body).get("namespace") or "default"), {}),
        profiles=_profiles_of(application, conf),
    )
    if isinstance(settings, InvalidSetting):
        raise file.refused(settings)
    return Policy(
        name=file.name,
        conf=conf,
        data=_data_rules(conf),
        by_operator=settings.core,
        settings={
            each.setting.field: each.setting.shown(each.value)
            for each in settings.resolution.settings.values()
            if each.origin.layer > Layer.DRIVER
        },
    )


def _driver_policy(
    application: RecordedApplication, name: str, conf: SparkConf, *, stated: Mapping[str, str]
) -> Policy:
    if not conf.boolean(passive_driver.DYNAMIC_ALLOCATION, False):
        fixed = str(conf.integer(EXECUTOR_INSTANCES, FIXED_EXECUTORS))
        bounds = dict.fromkeys((MIN_EXECUTORS, INITIAL_EXECUTORS, MAX_EXECUTORS), fixed)
        conf = SparkConf({**conf, **bounds, "spark.dynamicAllocation.shuffleTracking.enabled": "true"})  # fmt: skip
    reliable = shuffle_storage(conf) is ShuffleStorage.REMOTE
    dynamic = DynamicAllocationConf.from_spark_conf(conf, reliable_shuffle_storage=reliable)
    return Policy(
        name=name,
        conf=conf,
        data=_data_rules(conf),
        by_driver=(dynamic, PodsAllocatorConf.from_spark_conf(conf, _version(application))),
        settings={
            BY_SPARK_KEY[key].field if key in BY_SPARK_KEY else key: value
            for key, value in stated.items()
        },
    )


def _data_rules(conf: SparkConf) -> DataRules:
    return DataRules(
        goes_with_executors=shuffle_storage(conf).goes_with_executors,
        migrates=not passive_driver.migration_obstacle(conf),
    )


def _profiles_of(application: RecordedApplication, conf: SparkConf) -> ResourceProfileManager:
    profiles = ResourceProfileManager(conf)
    for profile in application.profiles:
        try:
            profiles.add(profile)
        except InvalidProfile:
            continue  # Spark would have refused it: no stage can have it
    return profiles


def _version(application: RecordedApplication) -> SparkVersion:
    try:
        return SparkVersion.parse(application.spark_version)
    except ValueError:
        return _NEWEST
