"""Everything that ``spec.streaming`` may say, with defaults and the reason for each.

Theory of operation
-------------------
Three policies may be combined; one that is None is off, and one that lacks what it needs (rows, a backlog, an interval)
says nothing. Each says how many executors it wants for each query. The largest number wins, and is then moved by what
is around the policies, in the order of `StreamingSettings`' attributes.

Times are seconds. Shares are fractions of 1. What is out of its range is refused when a value is made.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

from spark_allocation.core.spark_conf import InvalidSetting
from spark_allocation.core.streaming.observations import QueryName

T = TypeVar("T")

_DAY_S = 86_400


class Sizing(StrEnum):
    """How far the batch duration policy goes once utilisation has left its band."""

    PROPORTIONAL = "Proportional"
    """To where utilisation would be at its target."""
    STEP = "Step"
    """By one step at a time."""


class MissingMetrics(StrEnum):
    """What is done when metrics have vanished."""

    HOLD = "Hold"
    """The target stays."""
    FIXED = "Fixed"
    """The target is a number that the user gave."""


class Frozen(StrEnum):
    """What a freeze window forbids."""

    ALL = "All"
    SCALE_DOWN = "ScaleDown"


@dataclass(frozen=True, slots=True)
class BatchDurationSettings:
    """Executors by how much of its trigger interval a batch takes.

    Attributes:
        target_utilization: share of the interval that a batch is to take. 0.75 leaves a batch a third more rows, or time,
            before it is late, which is what input that nobody announces needs.
        band: utilisation within target ± band changes nothing: batches of one size differ by some tenths, and an executor
            more or less is not worth a change for that.
        sizing: proportional, because a stream that is four times too slow should not wait for four steps.
        step: executors of one step, with `Sizing.STEP`.
    """

    target_utilization: float = 0.75
    band: float = 0.1
    sizing: Sizing = Sizing.PROPORTIONAL
    step: int = 1

    def __post_init__(self) -> None:
        _share("batchDuration.targetUtilization", self.target_utilization)
        _require(
            0 <= self.band < self.target_utilization,
            "batchDuration.band",
            self.band,
            "must be at least 0 and below targetUtilization",
        )
        _at_least(1, "batchDuration.step", self.step)


@dataclass(frozen=True, slots=True)
class RateSettings:
    """Executors by the rate of input, and by the rate that one executor was measured to process while busy.

    Attributes:
        target_utilization: share of the time that executors are to be busy. Higher than with batch durations, because
            what a batch costs without any row is counted apart here.
        band: as with batch durations.
        catch_up: share by which executors are to be faster than the input although nothing is known of a backlog. 0: what
            `target_utilization` leaves free catches up, and with a known backlog the catch-up time decides.
    """

    target_utilization: float = 0.8
    band: float = 0.1
    catch_up: float = 0.0

    def __post_init__(self) -> None:
        _share("rate.targetUtilization", self.target_utilization)
        _require(
            0 <= self.band < self.target_utilization,
            "rate.band",
            self.band,
            "must be at least 0 and below targetUtilization",
        )
        _not_negative("rate.catchUp", self.catch_up)


@dataclass(frozen=True, slots=True)
class BacklogSettings:
    """Executors by how long it would take to process what waits.

    Attributes:
        target_s: seconds of backlog that are no reason to do anything. A minute: less than a node takes to come.
        low_s: with less than this, and utilisation below `low_utilization`, there are too many executors.
        low_utilization: and so many remain that utilisation is at this.
    """

    target_s: float = 60.0
    low_s: float = 10.0
    low_utilization: float = 0.75

    def __post_init__(self) -> None:
        _positive("backlog.target", self.target_s)
        _require(
            0 <= self.low_s <= self.target_s,
            "backlog.low",
            self.low_s,
            "must be at least 0 and at most target",
        )
        _share("backlog.lowUtilization", self.low_utilization)


@dataclass(frozen=True, slots=True)
class StepLimits:
    """How far one change may go; of the two, the one that allows more holds.

    Attributes:
        share: of the executors there are.
        executors: in numbers, so that few executors can change at all; at least 1.
    """

    share: float
    executors: int

    def __post_init__(self) -> None:
        _not_negative("step.share", self.share)
        _at_least(1, "step.executors", self.executors)


@dataclass(frozen=True, slots=True)
class FreezeWindow:
    """A time of the week in which executors stay as many as they are.

    Attributes:
        weekdays: 0 for Monday to 6 for Sunday, on which it begins.
        start_s: seconds after midnight, UTC.
        duration_s: it may reach into following days; at most a week.
        frozen: what it forbids. Bounds, budgets and nodes that go are obeyed all the same.
    """

    start_s: int
    duration_s: int
    weekdays: frozenset[int] = frozenset(range(7))
    frozen: Frozen = Frozen.ALL

    def __post_init__(self) -> None:
        _require(
            0 <= self.start_s < _DAY_S, "freezeWindows.start", self.start_s, "must lie within a day"
        )
        _require(
            0 < self.duration_s <= 7 * _DAY_S,
            "freezeWindows.duration",
            self.duration_s,
            "must be above 0 and at most a week",
        )
        _require(
            bool(self.weekdays) and self.weekdays <= frozenset(range(7)),
            "freezeWindows.weekdays",
            sorted(self.weekdays),
            "must name days of the week",
        )


@dataclass(frozen=True, slots=True)
class VanishedMetrics:
    """What is done without metrics.

    Attributes:
        behaviour: to hold, because what ran well a minute ago is the best guess.
        executors: with `MissingMetrics.FIXED`.
        after_s: seconds without an observation. Two minutes are more than a driver's long garbage collection.
    """

    behaviour: MissingMetrics = MissingMetrics.HOLD
    executors: int | None = None
    after_s: float = 120.0

    def __post_init__(self) -> None:
        _positive("onMissingMetrics.after", self.after_s)
        if self.behaviour is MissingMetrics.FIXED:
            _require(
                self.executors is not None and self.executors >= 0,
                "onMissingMetrics.executors",
                self.executors,
                "must be a number of executors, at least 0",
            )


@dataclass(frozen=True, slots=True)
class QuerySettings:
    """What one query sets for itself; None keeps what holds for all.

    Attributes:
        ignored: the query has no say.
    """

    ignored: bool = False
    target_duration_s: float | None = None
    catch_up_time_s: float | None = None
    nominal_rate: float | None = None
    batch_duration: BatchDurationSettings | None = None
    rate: RateSettings | None = None
    backlog: BacklogSettings | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("queries.targetDuration", self.target_duration_s),
            ("queries.catchUpTime", self.catch_up_time_s),
            ("queries.nominalRate", self.nominal_rate),
        ):
            if value is not None:
                _positive(name, value)


@dataclass(frozen=True, slots=True)
class StreamingSettings:
    """``spec.streaming``.

    Attributes:
        batch_duration: off by default, but it stands in for a query of which no policy that is on has anything to say. Needs
            an interval, or `target_duration_s`.
        rate: on by default, because it is right at once, where the others come nearer with each change: of the three it
            was the cheapest at the least lag. Says nothing before it has seen three batches with rows.
        backlog: off by default: the rate policy has what waits in it already. For those who may let a minute wait.
        target_duration_s: how long a batch may take; stands for the trigger interval where that is 0 or unknown, and goes
            before it. Required unless the trigger interval is known.
        catch_up_time_s: within which a backlog is to be gone, counted from when all executors are there that were asked
            for. 150: shorter asks for many executors for a short time, whose start is then the greater part.
        nominal_rate: rows a second that one executor is to process: a scale-down that would leave executors with
            more than this to do each is refused or undone. None: no such safeguard.
        missing_metrics: see `VanishedMetrics`.
        stabilization_up_s: a larger number is wanted for so long before it is followed, and the smallest of that time is.
            0: a stream that is late is late now, and a batch is a long time by itself.
        stabilization_down_s: the largest number of that time is followed. Two minutes; after a scale-down that had to be
            undone the window is longer by itself (`pacing`), so it need not be long for everybody.
        stabilization_down_batches: and of at least so many batches, for queries with long ones.
        cooldown_s: no scale-down so soon after a change, and the scale-ups of so long a time are together at most one step.
            Half a minute: executors take so long to start.
        scale_down_interval_s: scale-downs are so far apart, and merged into one. Each hands state and blocks on.
        step_up: four times as many at most, or 12 more: once it is known what batches cost a step only delays. Before, executors double at
            most, as Spark's ramp and Kubernetes' autoscaler do (`pacing.FIRST_STEP`).
        step_down: takes half at most; or 2.
        ineffective_hold_s: after a scale-up without effect none follows for so long.
        effective_share: of the speed-up that as many executors should have brought, at least this has to be seen, or the
            scale-up had no effect.
        freeze_windows: see `FreezeWindow`.
        boundary_wait_s: with migration, a scale-down waits so long for a batch to end before it begins within one.
        queries: by name; names that no query has are told.
    """

    batch_duration: BatchDurationSettings | None = None
    rate: RateSettings | None = field(default_factory=RateSettings)
    backlog: BacklogSettings | None = None
    target_duration_s: float | None = None
    catch_up_time_s: float = 150.0
    nominal_rate: float | None = None
    missing_metrics: VanishedMetrics = field(default_factory=VanishedMetrics)
    stabilization_up_s: float = 0.0
    stabilization_down_s: float = 120.0
    stabilization_down_batches: int = 3
    cooldown_s: float = 30.0
    scale_down_interval_s: float = 60.0
    step_up: StepLimits = field(default_factory=lambda: StepLimits(3.0, 12))
    step_down: StepLimits = field(default_factory=lambda: StepLimits(0.5, 2))
    ineffective_hold_s: float = 900.0
    effective_share: float = 0.1
    freeze_windows: tuple[FreezeWindow, ...] = ()
    boundary_wait_s: float = 30.0
    queries: Mapping[QueryName, QuerySettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.target_duration_s is not None:
            _positive("targetDuration", self.target_duration_s)
        _positive("catchUpTime", self.catch_up_time_s)
        if self.nominal_rate is not None:
            _positive("nominalRate", self.nominal_rate)
        for name, value in (
            ("stabilization.up", self.stabilization_up_s),
            ("stabilization.down", self.stabilization_down_s),
            ("cooldown", self.cooldown_s),
            ("scaleDownInterval", self.scale_down_interval_s),
            ("ineffectiveHold", self.ineffective_hold_s),
            ("boundaryWait", self.boundary_wait_s),
        ):
            _not_negative(name, value)
        _at_least(0, "stabilization.downBatches", self.stabilization_down_batches)
        _require(
            0 <= self.effective_share <= 1,
            "effectiveShare",
            self.effective_share,
            "must be at least 0 and at most 1",
        )
        _require(
            self.step_down.share <= 1, "stepDown.share", self.step_down.share, "must be at most 1"
        )

    def of_query(self, name: QueryName) -> "StreamingSettings":
        """What holds for one query."""
        own = self.queries.get(name)
        if own is None:
            return self
        return replace(
            self,
            target_duration_s=_own(own.target_duration_s, self.target_duration_s),
            catch_up_time_s=_own(own.catch_up_time_s, self.catch_up_time_s),
            nominal_rate=_own(own.nominal_rate, self.nominal_rate),
            batch_duration=_own(own.batch_duration, self.batch_duration),
            rate=_own(own.rate, self.rate),
            backlog=_own(own.backlog, self.backlog),
        )

    def is_ignored(self, name: QueryName) -> bool:
        """The query has no say."""
        own = self.queries.get(name)
        return own is not None and own.ignored


def _own(own: T | None, common: T) -> T:
    return common if own is None else own


def _require(holds: bool, key: str, value: object, rule: str) -> None:
    if not holds:
        raise InvalidSetting(key, str(value), rule)


def _share(key: str, value: float) -> None:
    _require(0 < value <= 1, key, value, "must be above 0 and at most 1")


def _positive(key: str, value: float) -> None:
    _require(0 < value < math.inf, key, value, "must be above 0")


def _not_negative(key: str, value: float) -> None:
    _require(0 <= value < math.inf, key, value, "must be at least 0")


def _at_least(least: int, key: str, value: int) -> None:
    _require(value >= least, key, value, f"must be at least {least}")
