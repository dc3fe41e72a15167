"""The settings of dynamic allocation, checked as Spark checks them.

Theory of operation
-------------------
`DynamicAllocationConf` holds every key that ``ExecutorAllocationManager`` and ``ExecutorMonitor`` read, in the unit of
Spark's entry. `DynamicAllocationConf.from_spark_conf` accepts and refuses exactly the configurations with which Spark's
own SparkContext starts or fails, and an `InvalidSetting` names the key, the value and the rule.

Spark gives every resource profile the same bounds and timeouts. Here a profile may have its own (`ProfileOverrides`);
without overrides the behaviour is Spark's.

Source: ``ExecutorAllocationManager.validateSettings``, ``org.apache.spark.internal.config.package``,
``Utils.getDynamicAllocationInitialExecutors``, ``SchedulerBackendUtils.getInitialTargetExecutorNumber``.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from spark_allocation.core.jvm_numbers import saturate_long
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.spark_conf import (
    INT_MAX,
    LONG_MAX,
    MILLISECOND,
    SECOND,
    InvalidSetting,
    SparkConf,
    trimmed,
)

MIN_EXECUTORS = "spark.dynamicAllocation.minExecutors"
INITIAL_EXECUTORS = "spark.dynamicAllocation.initialExecutors"
MAX_EXECUTORS = "spark.dynamicAllocation.maxExecutors"
EXECUTOR_INSTANCES = "spark.executor.instances"
EXECUTOR_ALLOCATION_RATIO = "spark.dynamicAllocation.executorAllocationRatio"
SCHEDULER_BACKLOG_TIMEOUT = "spark.dynamicAllocation.schedulerBacklogTimeout"
SUSTAINED_SCHEDULER_BACKLOG_TIMEOUT = "spark.dynamicAllocation.sustainedSchedulerBacklogTimeout"
EXECUTOR_IDLE_TIMEOUT = "spark.dynamicAllocation.executorIdleTimeout"
CACHED_EXECUTOR_IDLE_TIMEOUT = "spark.dynamicAllocation.cachedExecutorIdleTimeout"
SHUFFLE_TRACKING_ENABLED = "spark.dynamicAllocation.shuffleTracking.enabled"
SHUFFLE_TRACKING_TIMEOUT = "spark.dynamicAllocation.shuffleTracking.timeout"
SHUFFLE_SERVICE_ENABLED = "spark.shuffle.service.enabled"
SHUFFLE_SERVICE_FETCH_RDD_ENABLED = "spark.shuffle.service.fetch.rdd.enabled"
DECOMMISSION_ENABLED = "spark.decommission.enabled"
SHUFFLE_DECOMMISSION_ENABLED = "spark.storage.decommission.shuffleBlocks.enabled"


@dataclass(frozen=True, slots=True)
class ExecutorBounds:
    """How many executors a resource profile may have."""

    min_executors: int
    initial_executors: int
    max_executors: int


@dataclass(frozen=True, slots=True)
class IdleTimeouts:
    """How long an idle executor stays, in nanoseconds; ``LONG_MAX`` means forever.

    Attributes:
        idle_ns: one that holds nothing.
        cached_ns: one with cached blocks.
        shuffle_ns: one with shuffle data that no running job uses.
    """

    idle_ns: int
    cached_ns: int
    shuffle_ns: int


@dataclass(frozen=True, slots=True)
class ProfileOverrides:
    """What one resource profile sets for itself; None keeps the application's value.

    Attributes:
        executor_idle_timeout_s: seconds, at least 0.
        cached_executor_idle_timeout_s: seconds, at least 0.
        shuffle_tracking_timeout_ms: milliseconds, at least 0.
    """

    min_executors: int | None = None
    initial_executors: int | None = None
    max_executors: int | None = None
    executor_idle_timeout_s: int | None = None
    cached_executor_idle_timeout_s: int | None = None
    shuffle_tracking_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class DynamicAllocationConf:
    """The settings of ``ExecutorAllocationManager`` and ``ExecutorMonitor`` with Spark's defaults.

    Times are whole numbers in the unit of Spark's entry: seconds, and milliseconds for the shuffle tracking timeout.

    Attributes:
        initial_executors: the greatest of the minimum, ``initialExecutors`` and ``spark.executor.instances``.
        sustained_scheduler_backlog_timeout_s: None means the same as ``scheduler_backlog_timeout_s``.
        reliable_shuffle_storage: a shuffle data plug-in keeps shuffle outside the executors.
        immediate_ramp_up: the target rises to the need in one round (ours; Spark's doubles its steps).
        overrides: bounds and timeouts of single profiles.

    Raises:
        InvalidSetting: where Spark refuses to start; also for overrides by the same rules.
    """

    min_executors: int = 0
    initial_executors: int = 0
    max_executors: int = INT_MAX
    executor_allocation_ratio: float = 1.0
    scheduler_backlog_timeout_s: int = 1
    sustained_scheduler_backlog_timeout_s: int | None = None
    executor_idle_timeout_s: int = 60
    cached_executor_idle_timeout_s: int = INT_MAX
    shuffle_tracking_enabled: bool = True
    shuffle_tracking_timeout_ms: int = LONG_MAX
    shuffle_service_enabled: bool = False
    shuffle_service_fetch_rdd_enabled: bool = False
    decommission_enabled: bool = False
    shuffle_decommission_enabled: bool = True
    reliable_shuffle_storage: bool = False
    immediate_ramp_up: bool = False
    overrides: Mapping[ProfileId, ProfileOverrides] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_manager_settings()
        self._check_timeouts()
        self._check_initial_executors()
        for profile_id, overrides in self.overrides.items():
            self._check_overrides(profile_id, overrides)

    @classmethod
    def from_spark_conf(
        cls,
        conf: SparkConf,
        *,
        reliable_shuffle_storage: bool = False,
        immediate_ramp_up: bool = False,
        overrides: Mapping[ProfileId, ProfileOverrides] | None = None,
    ) -> "DynamicAllocationConf":
        """Read the settings from Spark properties.

        Raises:
            InvalidSetting: naming key, value and rule, exactly where Spark refuses.
        """
        min_executors = conf.integer(MIN_EXECUTORS, 0)
        service = conf.boolean(SHUFFLE_SERVICE_ENABLED, False)
        decommission = conf.boolean(DECOMMISSION_ENABLED, False)
        backlog = conf.time(SCHEDULER_BACKLOG_TIMEOUT, 1, SECOND)
        try:
            return cls(
                min_executors=min_executors,
                initial_executors=max(
                    min_executors,
                    conf.integer(INITIAL_EXECUTORS, min_executors),
                    conf.integer(EXECUTOR_INSTANCES, 0),
                ),
                max_executors=conf.integer(MAX_EXECUTORS, INT_MAX),
                executor_allocation_ratio=conf.double(EXECUTOR_ALLOCATION_RATIO, 1.0),
                scheduler_backlog_timeout_s=backlog,
                sustained_scheduler_backlog_timeout_s=conf.time(
                    SUSTAINED_SCHEDULER_BACKLOG_TIMEOUT, backlog, SECOND
                ),
                executor_idle_timeout_s=conf.time(EXECUTOR_IDLE_TIMEOUT, 60, SECOND),
                cached_executor_idle_timeout_s=conf.time(
                    CACHED_EXECUTOR_IDLE_TIMEOUT, INT_MAX, SECOND
                ),
                shuffle_tracking_enabled=conf.boolean(SHUFFLE_TRACKING_ENABLED, True),
                shuffle_tracking_timeout_ms=conf.time(
                    SHUFFLE_TRACKING_TIMEOUT, LONG_MAX, MILLISECOND
                ),
                shuffle_service_enabled=service,
                # Spark does not read, so does not refuse, these flags when they could not change the outcome.
                shuffle_service_fetch_rdd_enabled=(
                    service and conf.boolean(SHUFFLE_SERVICE_FETCH_RDD_ENABLED, False)
                ),
                decommission_enabled=decommission,
                shuffle_decommission_enabled=(
                    not decommission or conf.boolean(SHUFFLE_DECOMMISSION_ENABLED, True)
                ),
                reliable_shuffle_storage=reliable_shuffle_storage,
                immediate_ramp_up=immediate_ramp_up,
                overrides=overrides or {},
            )
        except InvalidSetting as refused:
            raise _as_written(refused, conf) from refused

    def with_overrides(
        self, overrides: Mapping[ProfileId, ProfileOverrides]
    ) -> "DynamicAllocationConf":
        """The same settings with other overrides."""
        return dataclasses.replace(self, overrides=overrides)

    @property
    def scheduler_backlog_timeout_ns(self) -> int:
        """Nanoseconds from the first waiting task to the first request."""
        return saturate_long(self.scheduler_backlog_timeout_s * SECOND)

    @property
    def sustained_scheduler_backlog_timeout_ns(self) -> int:
        """Nanoseconds from one request to the next while tasks wait."""
        seconds = self.sustained_scheduler_backlog_timeout_s
        if seconds is None:
            seconds = self.scheduler_backlog_timeout_s
        return saturate_long(seconds * SECOND)

    @property
    def tracks_shuffle(self) -> bool:
        """Executors with shuffle data are held (``ExecutorMonitor.shuffleTrackingEnabled``)."""
        return self.shuffle_tracking_enabled and not self.shuffle_service_enabled

    @property
    def fetches_rdd_blocks_from_service(self) -> bool:
        """Blocks on disk outlive their executor (``ExecutorMonitor.fetchFromShuffleSvcEnabled``)."""
        return self.shuffle_service_enabled and self.shuffle_service_fetch_rdd_enabled

    def bounds(self, profile_id: ProfileId) -> ExecutorBounds:
        """The executor bounds of one profile."""
        own = self.overrides.get(profile_id)
        if own is None:
            return ExecutorBounds(self.min_executors, self.initial_executors, self.max_executors)
        return self._bounds_with(own)

    def timeouts(self, profile_id: ProfileId) -> IdleTimeouts:
        """The idle timeouts of one profile."""
        own = self.overrides.get(profile_id) or ProfileOverrides()
        return IdleTimeouts(
            idle_ns=_nanoseconds(own.executor_idle_timeout_s, self.executor_idle_timeout_s, SECOND),
            cached_ns=_nanoseconds(
                own.cached_executor_idle_timeout_s, self.cached_executor_idle_timeout_s, SECOND
            ),
            shuffle_ns=_nanoseconds(
                own.shuffle_tracking_timeout_ms, self.shuffle_tracking_timeout_ms, MILLISECOND
            ),
        )

    def _bounds_with(self, own: ProfileOverrides) -> ExecutorBounds:
        min_executors = self.min_executors if own.min_executors is None else own.min_executors
        max_executors = self.max_executors if own.max_executors is None else own.max_executors
        # An application-wide initial number is moved into a profile's own bounds; one of the profile's own is checked.
        initial = (
            max(min_executors, min(self.initial_executors, max_executors))
            if own.initial_executors is None
            else max(min_executors, own.initial_executors)
        )
        return ExecutorBounds(min_executors, initial, max_executors)

    def _check_manager_settings(self) -> None:
        """``ExecutorAllocationManager.validateSettings``."""
        _check_bounds(MIN_EXECUTORS, self.min_executors, MAX_EXECUTORS, self.max_executors)
        _require(
            self.scheduler_backlog_timeout_s > 0,
            SCHEDULER_BACKLOG_TIMEOUT,
            self.scheduler_backlog_timeout_s,
            "must be greater than 0",
        )
        sustained = self.sustained_scheduler_backlog_timeout_s
        _require(
            sustained is None or sustained > 0,
            SUSTAINED_SCHEDULER_BACKLOG_TIMEOUT,
            sustained,
            "must be greater than 0",
        )
        # Not-a-number passes: Spark asks whether the ratio is <= 0 or > 1, and it is neither.
        _require(
            not (self.executor_allocation_ratio > 1.0 or self.executor_allocation_ratio <= 0.0),
            EXECUTOR_ALLOCATION_RATIO,
            self.executor_allocation_ratio,
            "must be greater than 0 and at most 1",
        )
        _require(
            self.shuffle_service_enabled
            or self.reliable_shuffle_storage
            or self.shuffle_tracking_enabled
            or (self.decommission_enabled and self.shuffle_decommission_enabled),
            SHUFFLE_TRACKING_ENABLED,
            "false",
            "dynamic allocation needs one of: shuffle tracking, "
            f"{DECOMMISSION_ENABLED} with {SHUFFLE_DECOMMISSION_ENABLED}, "
            f"{SHUFFLE_SERVICE_ENABLED}, or a shuffle data plug-in with reliable storage",
        )

    def _check_timeouts(self) -> None:
        """The checks of the configuration entries themselves."""
        for key, value in (
            (EXECUTOR_IDLE_TIMEOUT, self.executor_idle_timeout_s),
            (CACHED_EXECUTOR_IDLE_TIMEOUT, self.cached_executor_idle_timeout_s),
            (SHUFFLE_TRACKING_TIMEOUT, self.shuffle_tracking_timeout_ms),
        ):
            _require(value >= 0, key, value, "must be at least 0")

    def _check_initial_executors(self) -> None:
        """``SchedulerBackendUtils.getInitialTargetExecutorNumber``."""
        _require(
            self.min_executors <= self.initial_executors <= self.max_executors,
            INITIAL_EXECUTORS,
            self.initial_executors,
            f"the initial number of executors must lie between {MIN_EXECUTORS} ({self.min_executors}) "
            f"and {MAX_EXECUTORS} ({self.max_executors})",
        )

    def _check_overrides(self, profile_id: ProfileId, own: ProfileOverrides) -> None:
        def name(setting: str) -> str:
            return f"profile {profile_id}: {setting}"

        bounds = self._bounds_with(own)
        _check_bounds(
            name("minExecutors"), bounds.min_executors, name("maxExecutors"), bounds.max_executors
        )
        _require(
            bounds.initial_executors <= bounds.max_executors,
            name("initialExecutors"),
            bounds.initial_executors,
            f"must lie between minExecutors ({bounds.min_executors}) and maxExecutors ({bounds.max_executors})",
        )
        for setting, value in (
            ("executorIdleTimeout", own.executor_idle_timeout_s),
            ("cachedExecutorIdleTimeout", own.cached_executor_idle_timeout_s),
            ("shuffleTracking.timeout", own.shuffle_tracking_timeout_ms),
        ):
            _require(value is None or value >= 0, name(setting), value, "must be at least 0")


def _as_written(refused: InvalidSetting, conf: SparkConf) -> InvalidSetting:
    """The same refusal with the text that the user wrote."""
    key = refused.key
    instances = conf.get(EXECUTOR_INSTANCES)
    if key == INITIAL_EXECUTORS and instances is not None and trimmed(instances) == refused.value:
        key = EXECUTOR_INSTANCES
    return InvalidSetting(key, conf.get(key, refused.value), refused.rule)


def _check_bounds(min_key: str, min_executors: int, max_key: str, max_executors: int) -> None:
    _require(min_executors >= 0, min_key, min_executors, "must be at least 0")
    _require(max_executors > 0, max_key, max_executors, "must be greater than 0")
    _require(
        min_executors <= max_executors,
        min_key,
        min_executors,
        f"must be at most {max_key} ({max_executors})",
    )


def _require(holds: bool, key: str, value: object, rule: str) -> None:
    if not holds:
        raise InvalidSetting(key, str(value), rule)


def _nanoseconds(own: int | None, common: int, unit: int) -> int:
    return saturate_long((common if own is None else own) * unit)
