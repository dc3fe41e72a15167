"""The settings that policies, users and SparkAllocations may set: names, kinds, ranges and defaults.

Theory of operation
-------------------
A setting is named by its field path in a SparkAllocation, such as ``dynamicAllocation.maxExecutors``; most stand for
a Spark key. Values travel as text, as in Spark's configuration, and are compared by `Setting.measure`, which gives a
plain number: executors, nanoseconds, or a ratio. A bare number of a duration has the unit of Spark's ``ConfigEntry``.

Source of keys, units and defaults: ``org.apache.spark.internal.config.package``, ``deploy.k8s.Config``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from spark_allocation.core.spark_conf import (
    INT_MAX,
    LONG_MAX,
    MILLISECOND,
    NANOSECOND,
    SECOND,
    InvalidSetting,
    SparkConf,
    parse_time,
)
from spark_allocation.core.streaming.settings import (
    BacklogSettings,
    BatchDurationSettings,
    MissingMetrics,
    RateSettings,
    Sizing,
    StreamingSettings,
)

NO_LIMIT = str(INT_MAX)
FOR_EVER = f"{INT_MAX}s"
_FOR_EVER_NANOSECONDS = 2_000_000_000 * SECOND
"""Sixty-three years: what is longer is said as "for ever"."""


class Kind(Enum):
    """What kind of value a setting has."""

    COUNT = "count"
    DURATION = "duration"
    RATIO = "ratio"
    """Above 0 and at most 1."""
    NUMBER = "number"
    """At least 0, with decimals."""
    FLAG = "flag"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        field: its path in ``spec`` of a SparkAllocation.
        spark_key: the Spark key that it stands for; "" for the operator's own settings.
        default: what holds when nobody sets it.
        default_of: the field whose effective value is the default instead.
        least: the smallest value that makes sense, as `measure` gives it.
        bare_unit: nanoseconds in one unit of a duration without a unit.
        words: that a setting of words takes.
        unlimited: how the greatest count of all is shown, and the longest time of a setting that says otherwise.
        limitable: a policy may limit it. ``initialExecutors`` always lies between two settings that are limitable, a band
            within its target, and a flag or a word is locked, not limited.
        unset: a value that stands for none at all, which no limit moves; "" when there is no such value.
    """

    field: str
    spark_key: str
    kind: Kind
    default: str = ""
    default_of: str = ""
    least: int = 0
    bare_unit: int = SECOND
    words: tuple[str, ...] = ()
    limitable: bool = True
    unlimited: str = "no limit"
    unset: str = ""

    def measure(self, text: str) -> float:
        """The value as a number that can be compared.

        Raises:
            ValueError: with the rule, for a text that Spark would refuse or that is out of range.
        """
        key = self.spark_key or self.field
        conf = SparkConf({key: text})
        try:
            match self.kind:
                case Kind.COUNT:
                    number: float = conf.integer(key, 0)
                case Kind.DURATION:
                    number = _nanoseconds(text, self.bare_unit)
                case Kind.RATIO:
                    number = conf.double(key, 1.0)
                    if not 0 < number <= 1:
                        raise ValueError("must be greater than 0 and at most 1")
                case Kind.NUMBER:
                    number = conf.double(key, 0.0)
                    if not 0 <= number < INT_MAX:
                        raise ValueError("must be at least 0")
                case Kind.FLAG:
                    return float(conf.boolean(key, False))
                case Kind.WORD:
                    if text not in self.words:
                        raise ValueError(f"must be one of {', '.join(self.words)}")
                    return float(self.words.index(text))
        except InvalidSetting as error:
            raise ValueError(error.rule) from error
        if number < self.least:
            least = shown_duration(self.least) if self.kind is Kind.DURATION else self.least
            raise ValueError(f"must be at least {least}")
        return number

    def shown(self, text: str) -> str:
        """The value for people: ``2min`` for ``120000ms``, ``no limit`` for Spark's greatest number."""
        try:
            number = self.measure(text)
        except ValueError:
            return text
        if self.kind is Kind.COUNT and number >= INT_MAX:
            return self.unlimited
        if self.kind is Kind.DURATION:
            shown = shown_duration(int(number))
            return self.unlimited if shown == "for ever" and self.unlimited != "no limit" else shown
        return text


def shown_duration(nanoseconds: int) -> str:
    """A duration in the largest unit that keeps it whole, such as ``90s`` or ``2min``."""
    if nanoseconds >= _FOR_EVER_NANOSECONDS:
        return "for ever"
    for suffix, unit in (("h", 3600 * SECOND), ("min", 60 * SECOND), ("s", SECOND)):
        if nanoseconds and nanoseconds % unit == 0:
            return f"{nanoseconds // unit}{suffix}"
    return f"{nanoseconds // MILLISECOND}ms" if nanoseconds else "0s"


_DYNAMIC = "spark.dynamicAllocation"
_PODS = "spark.kubernetes.allocation"

MIN_EXECUTORS = Setting(
    "dynamicAllocation.minExecutors", f"{_DYNAMIC}.minExecutors", Kind.COUNT, default="0"
)
MAX_EXECUTORS = Setting(
    "dynamicAllocation.maxExecutors",
    f"{_DYNAMIC}.maxExecutors",
    Kind.COUNT,
    default=NO_LIMIT,
    least=1,
)
INITIAL_EXECUTORS = Setting(
    "dynamicAllocation.initialExecutors",
    f"{_DYNAMIC}.initialExecutors",
    Kind.COUNT,
    default_of=MIN_EXECUTORS.field,
    limitable=False,
)
MAX_PENDING_PODS = Setting(
    "allocation.maxPendingPods", f"{_PODS}.maxPendingPods", Kind.COUNT, default=NO_LIMIT, least=1
)
MAX_PENDING_PODS_PER_PROFILE = Setting(
    "allocation.maxPendingPodsPerProfile",
    f"{_PODS}.maxPendingPodsPerRp",
    Kind.COUNT,
    default=NO_LIMIT,
    least=1,
)
MAX_FAILURES = Setting(
    "allocation.failures.max",
    "spark.executor.maxNumFailures",
    Kind.COUNT,
    default=NO_LIMIT,  # without maxExecutors; else twice that, see `setting_resolution`
    least=1,
    unlimited="twice the most wanted",
)
FAILURES_WINDOW = Setting(
    "allocation.failures.window",
    "spark.executor.failuresValidityInterval",
    Kind.DURATION,
    default="1h",
    least=SECOND,
    bare_unit=MILLISECOND,
)
GRACE_PERIOD = Setting("decommission.gracePeriod", "", Kind.DURATION, default="10min")
MAX_CONCURRENT = Setting("decommission.maxConcurrent", "", Kind.COUNT, default=NO_LIMIT, least=1)
BATCH_SIZE = Setting(
    "allocation.batchSize", f"{_PODS}.batch.size", Kind.COUNT, default="100", least=1
)
"""Spark creates pods one after the other on one thread and has 5, 10 or 20 by version. A hundred is what the operator's pacer
lets through in a second, so that a wave is there at once, and is decided about anew each second where it is larger."""

BATCH_DELAY = Setting(
    "allocation.podAllocationDelay",
    f"{_PODS}.batch.delay",
    Kind.DURATION,
    default="1s",
    least=101 * MILLISECOND,
    bare_unit=MILLISECOND,
)

RAMP_UP = Setting(
    "allocation.rampUp",
    "",
    Kind.WORD,
    default="Exponential",
    words=("Exponential", "Immediate"),
    limitable=False,
)
DECOMMISSION = Setting(
    "decommission.enabled",
    "spark.decommission.enabled",
    Kind.FLAG,
    default="false",
    limitable=False,
)
SHUFFLE_HOLD = Setting(
    "dynamicAllocation.shuffleHold",
    "",
    Kind.WORD,
    default="Strict",
    words=("Strict", "Timeout"),
    limitable=False,
)
MIGRATE = Setting("decommission.migrate", "", Kind.FLAG, default="false", limitable=False)

BACKLOG_LOW = "streaming.backlog.low"
BACKLOG_TARGET = "streaming.backlog.target"

_STREAMING = StreamingSettings()
_BATCH, _RATE, _BACKLOG = BatchDurationSettings(), RateSettings(), BacklogSettings()


def _streaming(name: str, kind: Kind, default: str, **more: Any) -> Setting:
    limitable = kind not in (Kind.FLAG, Kind.WORD) and not name.endswith(".band")
    return Setting(f"streaming.{name}", "", kind, default=default, limitable=limitable, **more)


def _streaming_time(name: str, seconds: float, *, least: int = 0) -> Setting:
    return _streaming(name, Kind.DURATION, f"{round(seconds * 1000)}ms", least=least)


def _streaming_policy(name: str, default: object | None) -> Setting:
    return _streaming(f"{name}.enabled", Kind.FLAG, "false" if default is None else "true")


STREAMING = _streaming("enabled", Kind.FLAG, "false")

STREAMING_SETTINGS: tuple[Setting, ...] = (
    STREAMING,
    _streaming(
        "targetDuration",
        Kind.DURATION,
        FOR_EVER,
        least=MILLISECOND,
        unlimited="trigger interval",
        unset=FOR_EVER,
    ),
    _streaming_time("catchUpTime", _STREAMING.catch_up_time_s, least=MILLISECOND),
    _streaming("nominalRate", Kind.COUNT, NO_LIMIT, least=1, unlimited="none"),
    _streaming_policy("batchDuration", _STREAMING.batch_duration),
    _streaming("batchDuration.targetUtilization", Kind.RATIO, str(_BATCH.target_utilization)),
    _streaming("batchDuration.band", Kind.NUMBER, str(_BATCH.band)),
    _streaming("batchDuration.sizing", Kind.WORD, _BATCH.sizing, words=tuple(Sizing)),
    _streaming("batchDuration.step", Kind.COUNT, str(_BATCH.step), least=1),
    _streaming_policy("rate", _STREAMING.rate),
    _streaming("rate.targetUtilization", Kind.RATIO, str(_RATE.target_utilization)),
    _streaming("rate.band", Kind.NUMBER, str(_RATE.band)),
    _streaming("rate.catchUp", Kind.NUMBER, str(_RATE.catch_up)),
    _streaming_policy("backlog", _STREAMING.backlog),
    _streaming_time("backlog.target", _BACKLOG.target_s, least=MILLISECOND),
    _streaming_time("backlog.low", _BACKLOG.low_s),
    _streaming("backlog.lowUtilization", Kind.RATIO, str(_BACKLOG.low_utilization)),
    _streaming(
        "onMissingMetrics.behaviour",
        Kind.WORD,
        _STREAMING.missing_metrics.behaviour,
        words=tuple(MissingMetrics),
    ),
    _streaming(
        "onMissingMetrics.executors", Kind.COUNT, NO_LIMIT, unlimited="none", unset=NO_LIMIT
    ),
    _streaming_time("onMissingMetrics.after", _STREAMING.missing_metrics.after_s, least=SECOND),
    _streaming_time("stabilization.up", _STREAMING.stabilization_up_s),
    _streaming_time("stabilization.down", _STREAMING.stabilization_down_s),
    _streaming("stabilization.downBatches", Kind.COUNT, str(_STREAMING.stabilization_down_batches)),
    _streaming_time("cooldown", _STREAMING.cooldown_s),
    _streaming_time("scaleDownInterval", _STREAMING.scale_down_interval_s),
    _streaming("stepUp.share", Kind.NUMBER, str(_STREAMING.step_up.share)),
    _streaming("stepUp.executors", Kind.COUNT, str(_STREAMING.step_up.executors), least=1),
    _streaming("stepDown.share", Kind.NUMBER, str(_STREAMING.step_down.share)),
    _streaming("stepDown.executors", Kind.COUNT, str(_STREAMING.step_down.executors), least=1),
    _streaming_time("ineffectiveHold", _STREAMING.ineffective_hold_s),
    _streaming("effectiveShare", Kind.NUMBER, str(_STREAMING.effective_share)),
    _streaming_time("boundaryWait", _STREAMING.boundary_wait_s),
)
"""Of ``spec.streaming``; with defaults and their reasons in `core.streaming.settings`."""

SETTINGS: tuple[Setting, ...] = (
    MIN_EXECUTORS,
    MAX_EXECUTORS,
    INITIAL_EXECUTORS,
    Setting(
        "dynamicAllocation.executorAllocationRatio",
        f"{_DYNAMIC}.executorAllocationRatio",
        Kind.RATIO,
        default="1.0",
    ),
    Setting(
        "dynamicAllocation.schedulerBacklogTimeout",
        f"{_DYNAMIC}.schedulerBacklogTimeout",
        Kind.DURATION,
        default="1s",
        least=SECOND,
    ),
    Setting(
        "dynamicAllocation.sustainedSchedulerBacklogTimeout",
        f"{_DYNAMIC}.sustainedSchedulerBacklogTimeout",
        Kind.DURATION,
        default_of="dynamicAllocation.schedulerBacklogTimeout",
        least=SECOND,
    ),
    Setting(
        "dynamicAllocation.executorIdleTimeout",
        f"{_DYNAMIC}.executorIdleTimeout",
        Kind.DURATION,
        default="60s",
    ),
    Setting(
        "dynamicAllocation.cachedExecutorIdleTimeout",
        f"{_DYNAMIC}.cachedExecutorIdleTimeout",
        Kind.DURATION,
        default=FOR_EVER,
    ),
    Setting(
        "dynamicAllocation.shuffleTracking.enabled",
        f"{_DYNAMIC}.shuffleTracking.enabled",
        Kind.FLAG,
        default="true",
        limitable=False,
    ),
    Setting(
        "dynamicAllocation.shuffleTracking.timeout",
        f"{_DYNAMIC}.shuffleTracking.timeout",
        Kind.DURATION,
        default=f"{LONG_MAX}ms",
        bare_unit=MILLISECOND,
    ),
    SHUFFLE_HOLD,
    RAMP_UP,
    BATCH_SIZE,
    BATCH_DELAY,
    Setting(
        "allocation.executorCreationTimeout",
        f"{_PODS}.executor.timeout",
        Kind.DURATION,
        default="600s",
        least=MILLISECOND,
        bare_unit=MILLISECOND,
    ),
    MAX_PENDING_PODS,
    MAX_PENDING_PODS_PER_PROFILE,
    MAX_FAILURES,
    FAILURES_WINDOW,
    DECOMMISSION,
    GRACE_PERIOD,
    MAX_CONCURRENT,
    MIGRATE,
    *STREAMING_SETTINGS,
)

BY_FIELD: Mapping[str, Setting] = {setting.field: setting for setting in SETTINGS}
BY_SPARK_KEY: Mapping[str, Setting] = {
    setting.spark_key: setting for setting in SETTINGS if setting.spark_key
}
FIELD_OF_SPARK_KEY: Mapping[str, str] = {
    **{key: setting.field for key, setting in BY_SPARK_KEY.items()},
    "spark.kubernetes.executor.container.image": "executor.image",
    "spark.kubernetes.authenticate.executor.serviceAccountName": "executor.serviceAccountName",
    "spark.kubernetes.executor.podTemplateFile": "executor.podTemplate",
    "spark.kubernetes.executor.deleteOnTermination": "executor.deleteOnTermination",
    "spark.ui.port": "driver.uiPort",
}
"""Spark keys that have a field of their own in ``spec``, settings or not."""


def fields_of(properties: Mapping[str, str], *, without: Iterable[str] = ()) -> dict[str, str]:
    """Of Spark properties those that are settings, by field.

    Args:
        without: Spark keys that say nothing.
    """
    left_out = frozenset(without)
    return {
        setting.field: properties[key]
        for key, setting in BY_SPARK_KEY.items()
        if key in properties and key not in left_out
    }


def _nanoseconds(text: str, bare_unit: int) -> int:
    """Spark's duration without its 64-bit saturation: a ``Long.MaxValue`` of milliseconds stays what it is."""
    stripped = text.strip().lower()
    if stripped.removeprefix("-").isdigit():
        return parse_time(stripped, bare_unit) * bare_unit
    milliseconds = parse_time(stripped, MILLISECOND)
    if abs(milliseconds) >= LONG_MAX // MILLISECOND:
        return milliseconds * MILLISECOND
    return parse_time(stripped, NANOSECOND)
