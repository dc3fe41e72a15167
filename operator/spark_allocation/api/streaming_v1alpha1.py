"""``spec.streaming`` and ``status.streaming``, v1alpha1: executors for Structured Streaming by latency, rate and backlog.

What a policy may set as default or lock are single values; lists and queries to Prometheus are of one SparkAllocation.
Defaults, with the reason for each, are in `spark_allocation.core.streaming.settings`.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from spark_allocation.api.api_model import ApiModel
from spark_allocation.api.field_types import (
    ExecutorCount,
    PositiveCount,
    ServerName,
    SparkDuration,
    cel_rules,
    keyed_list,
    milliseconds,
)
from spark_allocation.core.streaming.settings import Frozen, MissingMetrics, Sizing

LONGEST_QUERY_NAME = 253
LONGEST_PROMQL = 2048
MOST_QUERIES = 16
MOST_FREEZE_WINDOWS = 16

_BAND_BELOW_TARGET = "band must be below targetUtilization"
_LOW_ABOVE_TARGET = "low must not be above target"
_FIXED_NEEDS_EXECUTORS = "behaviour Fixed needs executors"

_BAND_RULE = cel_rules(
    (
        "!has(self.band) || !has(self.targetUtilization) || self.band < self.targetUtilization",
        _BAND_BELOW_TARGET,
    )
)

Share = Annotated[float, Field(gt=0, le=1)]
"""Above 0 and at most 1."""
Surplus = Annotated[float, Field(ge=0, le=1000)]
"""A share that may be above 1."""


class Weekday(StrEnum):
    """A day of the week."""

    MONDAY = "Monday"
    TUESDAY = "Tuesday"
    WEDNESDAY = "Wednesday"
    THURSDAY = "Thursday"
    FRIDAY = "Friday"
    SATURDAY = "Saturday"
    SUNDAY = "Sunday"


class StreamingBatchDurationOfQuery(ApiModel):
    """Executors by how much of its trigger interval a batch takes."""

    model_config = ConfigDict(json_schema_extra=_BAND_RULE)

    target_utilization: Share | None = None
    """Share of the trigger interval that a batch is to take (0.75 if left out)."""
    band: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Utilisation within target ± band changes nothing (0.1 if left out)."""
    sizing: Sizing | None = None
    """Proportional (if left out): to where utilisation would be at its target. Step: by so many executors at a time."""
    step: PositiveCount | None = None
    """Executors of one step, with sizing Step (1 if left out)."""

    @model_validator(mode="after")
    def _band_below_target(self) -> Self:
        _check_band(self.band, self.target_utilization)
        return self


class StreamingBatchDuration(StreamingBatchDurationOfQuery):
    """Executors by how much of its trigger interval a batch takes."""

    enabled: bool | None = None
    """Whether this policy has a say. Left out: yes in a SparkAllocation that has batchDuration at all, else no; it stands in for a query of which no other policy has anything to say."""


class StreamingRateOfQuery(ApiModel):
    """Executors by the rate of input, and by the rate that one executor was measured to process."""

    model_config = ConfigDict(json_schema_extra=_BAND_RULE)

    target_utilization: Share | None = None
    """Share of the time that executors are to be busy (0.8 if left out)."""
    band: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Utilisation within target ± band changes nothing (0.1 if left out)."""
    catch_up: Surplus | None = None
    """Share by which executors are to be faster than the input, whether a backlog is known or not (0 if left out)."""

    @model_validator(mode="after")
    def _band_below_target(self) -> Self:
        _check_band(self.band, self.target_utilization)
        return self


class StreamingRate(StreamingRateOfQuery):
    """Executors by the rate of input, and by the rate that one executor was measured to process."""

    enabled: bool | None = None
    """Whether this policy has a say (true if left out). It says nothing before it has seen some batches with rows."""


class StreamingBacklogTimes(ApiModel):
    """Executors by how long it would take to process what waits."""

    target: SparkDuration | None = None
    """So much backlog, in time that it takes to process, is no reason to do anything (60s if left out)."""
    low: SparkDuration | None = None
    """With less than this, and low utilisation, executors are let go (10s if left out)."""
    low_utilization: Share | None = None
    """Utilisation below which they are (0.75 if left out)."""

    @model_validator(mode="after")
    def _low_below_target(self) -> Self:
        both = self.low is not None and self.target is not None
        if both and milliseconds(self.low or "0") > milliseconds(self.target or "0"):
            raise ValueError(_LOW_ABOVE_TARGET)
        return self


class PromQuery(ApiModel):
    """A question to a Prometheus server."""

    server: ServerName
    """Name of the server, as a cluster policy has it in prometheusServers."""
    query: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_PROMQL)]
    """PromQL that yields one number: rows that wait. Every selector in it must have the matchers that the policy demands, such as namespace="…"."""


class StreamingBacklogOfQuery(StreamingBacklogTimes):
    """Executors by how long it would take to process what waits."""

    prom_ql: Annotated[PromQuery | None, Field(alias="promQL")] = None
    """Where the backlog of the query is asked for, when the driver does not report it."""


class StreamingBacklogSettings(StreamingBacklogTimes):
    """Executors by how long it would take to process what waits."""

    enabled: bool | None = None
    """Whether this policy has a say. Left out: yes in a SparkAllocation that has backlog at all, else no; the rate policy counts what waits as well. It says nothing where no backlog is known."""


class StreamingBacklog(StreamingBacklogSettings):
    """Executors by how long it would take to process what waits."""

    prom_ql: Annotated[PromQuery | None, Field(alias="promQL")] = None
    """Where the backlog is asked for, when the driver does not report it: for an application with one query. With several, say it for each in queries."""


class StreamingMissingMetrics(ApiModel):
    """What is done when nothing is known of the streams."""

    model_config = ConfigDict(
        json_schema_extra=cel_rules(
            (
                "!has(self.behaviour) || self.behaviour != 'Fixed' || has(self.executors)",
                _FIXED_NEEDS_EXECUTORS,
            )
        )
    )

    behaviour: MissingMetrics | None = None
    """Hold (if left out): executors stay as many as they are. Fixed: as many as executors says."""
    executors: ExecutorCount | None = None
    """With behaviour Fixed."""
    after: SparkDuration | None = None
    """For how long nothing must be known (2min if left out)."""

    @model_validator(mode="after")
    def _fixed_to_a_number(self) -> Self:
        if self.behaviour is MissingMetrics.FIXED and self.executors is None:
            raise ValueError(_FIXED_NEEDS_EXECUTORS)
        return self


class StreamingStabilization(ApiModel):
    """For how long another number must be wanted before it is followed."""

    up: SparkDuration | None = None
    """More executors; the least that were wanted in this time come (0s if left out)."""
    down: SparkDuration | None = None
    """Fewer executors; the most that were wanted in this time stay (2min if left out)."""
    down_batches: ExecutorCount | None = None
    """And of at least so many batches (3 if left out)."""


class StreamingStepUp(ApiModel):
    """How far one scale-up may go; of the two, the one that allows more holds."""

    share: Annotated[float, Field(ge=0, le=100)] | None = None
    """Of the executors there are (3 if left out)."""
    executors: PositiveCount | None = None
    """In numbers (12 if left out)."""


class StreamingStepDown(ApiModel):
    """How far one scale-down may go; of the two, the one that allows more holds."""

    share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the executors there are (0.5 if left out)."""
    executors: PositiveCount | None = None
    """In numbers (2 if left out)."""


class FreezeWindow(ApiModel):
    """A time of the week in which executors stay as many as they are. Bounds, budgets and nodes that go are obeyed all the same."""

    start: Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
    """When it begins, in UTC, such as 22:30."""
    duration: SparkDuration
    """How long it lasts; it may reach into the next days, at most a week."""
    weekdays: Annotated[list[Weekday], Field(min_length=1, max_length=7)] | None = None
    """On which days it begins (all if left out)."""
    frozen: Frozen | None = None
    """All (if left out), or only ScaleDown."""


class StreamingQuery(ApiModel):
    """What holds for one query instead of the rest of spec.streaming. What is left out stays as it is there."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_QUERY_NAME)]
    """The query's name (queryName in the application), or its id when it has none."""
    ignored: bool | None = None
    """True: the query has no say."""
    target_duration: SparkDuration | None = None
    """How long a batch of it may take."""
    catch_up_time: SparkDuration | None = None
    """Within which its backlog is to be gone."""
    nominal_rate: PositiveCount | None = None
    """Rows a second that one executor is to process."""
    batch_duration: StreamingBatchDurationOfQuery | None = None
    """By how much of its trigger interval a batch takes. Says all of it: what is left out has its default."""
    rate: StreamingRateOfQuery | None = None
    """By the rate of input. Says all of it: what is left out has its default."""
    backlog: StreamingBacklogOfQuery | None = None
    """By how long it would take to process what waits. Says all of it: what is left out has its default."""


class StreamingValues(ApiModel):
    """Executors for streams: values, as a policy may set them."""

    enabled: bool | None = None
    """Whether streaming queries decide how many executors there are (true if left out in a SparkAllocation that has spec.streaming at all; else false)."""
    target_duration: SparkDuration | None = None
    """How long a batch may take. Left out: as long as the trigger interval, which the driver has to report (spark_allocation.driver); required where it does not, or where queries have no interval."""
    catch_up_time: SparkDuration | None = None
    """Within which a backlog is to be gone, counted from when all executors are there that were asked for (150s if left out)."""
    nominal_rate: PositiveCount | None = None
    """Rows a second that one executor is to process: a scale-down that would leave more to each is refused or undone. Left out: no such safeguard."""
    batch_duration: StreamingBatchDuration | None = None
    """By how much of its trigger interval a batch takes."""
    rate: StreamingRate | None = None
    """By the rate of input."""
    backlog: StreamingBacklogSettings | None = None
    """By how long it would take to process what waits."""
    on_missing_metrics: StreamingMissingMetrics | None = None
    """What is done when nothing is known of the streams."""
    stabilization: StreamingStabilization | None = None
    """For how long another number must be wanted before it is followed."""
    cooldown: SparkDuration | None = None
    """No scale-down comes so soon after a change, and the scale-ups of so long a time go together no further than one step (30s if left out)."""
    scale_down_interval: SparkDuration | None = None
    """Scale-downs are so far apart, and those between are merged into one (60s if left out)."""
    step_up: StreamingStepUp | None = None
    """How far one scale-up may go."""
    step_down: StreamingStepDown | None = None
    """How far one scale-down may go."""
    ineffective_hold: SparkDuration | None = None
    """After a scale-up that had no effect none follows for so long (15min if left out)."""
    effective_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the speed-up that as many executors should have brought, at least this share has to be seen, or the scale-up had no effect (0.1 if left out)."""
    boundary_wait: SparkDuration | None = None
    """How long a scale-down waits for the end of a batch, when executors hand on what they hold (30s if left out)."""


class Streaming(StreamingValues):
    """Executors for streams by latency, rate and backlog. Of all policies and queries the one that wants most wins."""

    backlog: StreamingBacklog | None = None
    """By how long it would take to process what waits."""
    freeze_windows: Annotated[list[FreezeWindow], Field(max_length=MOST_FREEZE_WINDOWS)] | None = (
        None
    )
    """Times of the week in which executors stay as many as they are."""
    queries: (
        Annotated[
            list[StreamingQuery],
            Field(max_length=MOST_QUERIES, json_schema_extra=keyed_list("name")),
        ]
        | None
    ) = None
    """What holds for single queries."""


class StreamingQueryStatus(ApiModel):
    """One streaming query."""

    query: Annotated[str, Field(max_length=LONGEST_QUERY_NAME)]
    """Its name, or its id when it has none."""
    utilization: float | None = None
    """Share of the time in which its batches run; about 1 or above when they are late."""
    batch_seconds: float | None = None
    """How long the last batch took, or the one that runs now when that is longer."""
    interval_seconds: float | None = None
    """How long a batch may take."""
    input_rate: float | None = None
    """Rows a second that come."""
    processing_rate: float | None = None
    """Rows a second while a batch runs."""
    rate_per_executor: float | None = None
    """Rows a second that one executor processes, without what a batch costs by itself."""
    backlog_seconds: float | None = None
    """How long it would take to process what waits."""
    desired: int | None = None
    """Executors that are wanted for it."""
    reason: Annotated[str, Field(max_length=64)] = ""
    """Which policy wants most, in one word; NotRunning when the query does not run now."""
    learned: Annotated[list[float], Field(max_length=16)] | None = None
    """What its batches were found to cost, in a form of the operator's own: kept so that a restart of the operator does not forget it."""


class StreamingDecisionStatus(ApiModel):
    """What was decided for the streams of a resource profile."""

    profile: int
    """The resource profile that their tasks run in."""
    wanted: int | None = None
    """Executors that the policies want, before steps, windows and bounds. Absent when they say nothing."""
    executors: int | None = None
    """Executors that streams ask for. Absent where what tasks need decides."""
    reason: Annotated[str, Field(max_length=64)] = ""
    """Why, in one word: see docs/howto/streaming.md."""
    query: Annotated[str, Field(max_length=LONGEST_QUERY_NAME)] | None = None
    """The query that wants most."""
    policy: Annotated[str, Field(max_length=64)] | None = None
    """The policy that wants most."""


def _check_band(band: float | None, target: float | None) -> None:
    if band is not None and target is not None and band >= target:
        raise ValueError(_BAND_BELOW_TARGET)
