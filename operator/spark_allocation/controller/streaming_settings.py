"""``spec.streaming`` and what policies say of it, as the core and the question to Prometheus need it.

What policies may set is resolved like every other setting. Freeze windows and PromQL are of the SparkAllocation alone, and so
are entries for single queries; but what these say is resolved as the last layer, so that locks and limits hold for them, too. An
entry says all of a policy that it names: what it leaves out has the default, not the application's value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from spark_allocation.api.field_types import seconds
from spark_allocation.api.policy_v1alpha1 import PrometheusServer as WrittenServer
from spark_allocation.api.spark_keys import setting_text, stated_values
from spark_allocation.api.streaming_v1alpha1 import FreezeWindow as WrittenWindow
from spark_allocation.api.streaming_v1alpha1 import (
    PromQuery,
    Streaming,
    StreamingQuery,
    Weekday,
)
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.core.setting_catalogue import (
    BY_FIELD,
    FOR_EVER,
    NO_LIMIT,
    STREAMING,
    STREAMING_SETTINGS,
)
from spark_allocation.core.setting_layers import Resolution
from spark_allocation.core.spark_conf import SECOND, InvalidSetting
from spark_allocation.core.streaming.observations import QueryName
from spark_allocation.core.streaming.settings import (
    BacklogSettings,
    BatchDurationSettings,
    FreezeWindow,
    Frozen,
    MissingMetrics,
    QuerySettings,
    RateSettings,
    Sizing,
    StepLimits,
    StreamingSettings,
    VanishedMetrics,
)
from spark_allocation.sources.promql import PrometheusServer

FIELD = "streaming."


@dataclass(frozen=True, slots=True)
class BacklogQuestions:
    """Where the backlog of queries is asked for.

    Attributes:
        common: for the one query that there is; None when nobody says so.
        of_queries: by name, for single ones.
        servers: that cluster policies grant, by name.
    """

    common: PromQuery | None = None
    of_queries: Mapping[QueryName, PromQuery] = field(default_factory=dict)
    servers: Mapping[str, PrometheusServer] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Somebody is to be asked."""
        return self.common is not None or bool(self.of_queries)


NO_QUESTIONS = BacklogQuestions()


def wished_streaming(spec: SparkAllocationSpec) -> dict[str, str]:
    """What a SparkAllocation asks for by naming it: streaming itself, and each policy, unless it says otherwise."""
    streaming = spec.streaming
    if streaming is None:
        return {}
    named = {
        STREAMING.field: streaming,
        f"{FIELD}batchDuration.enabled": streaming.batch_duration,
        f"{FIELD}rate.enabled": streaming.rate,
        f"{FIELD}backlog.enabled": streaming.backlog,
    }
    return {
        setting: "true"
        for setting, part in named.items()
        if part is not None and part.enabled is None
    }


def query_resolutions(
    spec: SparkAllocationSpec, resolve_with: Callable[[str, Mapping[str, str]], Resolution]
) -> dict[QueryName, Resolution]:
    """What holds for each query that has an entry.

    Args:
        resolve_with: puts all layers together with that of an entry of this name as the last.
    """
    written = (spec.streaming or Streaming()).queries or ()
    return {
        QueryName(each.name): resolve_with(f"queries[{each.name}]", _values_of_query(each))
        for each in written
    }


def streaming_settings(
    spec: SparkAllocationSpec, resolution: Resolution, queries: Mapping[QueryName, Resolution]
) -> StreamingSettings | None:
    """What holds; None when streams have no say.

    Args:
        queries: of each query that has an entry, as `query_resolutions` gave it.

    Raises:
        InvalidSetting: for values that make no sense together.
    """
    if not STREAMING.measure(resolution.value(STREAMING)):
        return None
    written = spec.streaming or Streaming()
    try:
        return _settings(written, _Values(resolution), queries)
    except InvalidSetting as error:
        raise InvalidSetting(f"{FIELD}{error.key}", error.value, error.rule) from None


def backlog_questions(
    spec: SparkAllocationSpec, servers: Mapping[str, WrittenServer]
) -> BacklogQuestions:
    """Where backlogs are asked for.

    Args:
        servers: that cluster policies grant the application.
    """
    streaming = spec.streaming
    if streaming is None:
        return NO_QUESTIONS
    return BacklogQuestions(
        None if streaming.backlog is None else streaming.backlog.prom_ql,
        {
            QueryName(each.name): each.backlog.prom_ql
            for each in streaming.queries or ()
            if each.backlog is not None and each.backlog.prom_ql is not None
        },
        {
            name: PrometheusServer(
                server.name,
                server.url.rstrip("/"),
                {each.label: each.value for each in server.required_matchers},
                server.access or "",
            )
            for name, server in servers.items()
        },
    )


class _Values:
    """Values of a resolution by the field below ``streaming``."""

    def __init__(self, resolution: Resolution) -> None:
        self._resolution = resolution

    def text(self, name: str) -> str:
        return self._resolution.settings[FIELD + name].value

    def number(self, name: str) -> float:
        try:
            return BY_FIELD[FIELD + name].measure(self.text(name))
        except ValueError as error:
            raise InvalidSetting(name, self.text(name), str(error)) from None

    def whole(self, name: str) -> int:
        return int(self.number(name))

    def seconds(self, name: str) -> float:
        return self.number(name) / SECOND

    def seconds_unless(self, absent: str, name: str) -> float | None:
        return None if self.text(name) == absent else self.seconds(name)

    def whole_unless(self, absent: str, name: str) -> int | None:
        return None if self.text(name) == absent else self.whole(name)

    def flag(self, name: str) -> bool:
        return bool(self.number(name))


def _settings(
    written: Streaming, of: _Values, queries: Mapping[QueryName, Resolution]
) -> StreamingSettings:
    nominal_rate = of.whole_unless(NO_LIMIT, "nominalRate")
    return StreamingSettings(
        batch_duration=_batch_duration(of) if of.flag("batchDuration.enabled") else None,
        rate=_rate(of) if of.flag("rate.enabled") else None,
        backlog=_backlog(of) if of.flag("backlog.enabled") else None,
        target_duration_s=of.seconds_unless(FOR_EVER, "targetDuration"),
        catch_up_time_s=of.seconds("catchUpTime"),
        nominal_rate=None if nominal_rate is None else float(nominal_rate),
        missing_metrics=VanishedMetrics(
            behaviour=MissingMetrics(of.text("onMissingMetrics.behaviour")),
            executors=of.whole_unless(NO_LIMIT, "onMissingMetrics.executors"),
            after_s=of.seconds("onMissingMetrics.after"),
        ),
        stabilization_up_s=of.seconds("stabilization.up"),
        stabilization_down_s=of.seconds("stabilization.down"),
        stabilization_down_batches=of.whole("stabilization.downBatches"),
        cooldown_s=of.seconds("cooldown"),
        scale_down_interval_s=of.seconds("scaleDownInterval"),
        step_up=StepLimits(of.number("stepUp.share"), of.whole("stepUp.executors")),
        step_down=StepLimits(of.number("stepDown.share"), of.whole("stepDown.executors")),
        ineffective_hold_s=of.seconds("ineffectiveHold"),
        effective_share=of.number("effectiveShare"),
        freeze_windows=tuple(map(_window, written.freeze_windows or ())),
        boundary_wait_s=of.seconds("boundaryWait"),
        queries={
            (name := QueryName(each.name)): _query(each, _Values(queries[name]))
            for each in written.queries or ()
        },
    )


def _window(written: WrittenWindow) -> FreezeWindow:
    hours, minutes = written.start.split(":")
    days = list(Weekday)
    return FreezeWindow(
        start_s=int(hours) * 3600 + int(minutes) * 60,
        duration_s=round(seconds(written.duration)),
        weekdays=frozenset(days.index(day) for day in written.weekdays or days),
        frozen=written.frozen or Frozen.ALL,
    )


def _values_of_query(written: StreamingQuery) -> dict[str, str]:
    """By field, with the defaults of what a policy that is named leaves out."""
    named = {
        "batchDuration": written.batch_duration,
        "rate": written.rate,
        "backlog": written.backlog,
    }
    whole = tuple(f"{FIELD}{policy}." for policy, part in named.items() if part is not None)
    return {
        **{
            setting.field: setting.default
            for setting in STREAMING_SETTINGS
            if setting.field.startswith(whole) and not setting.field.endswith(".enabled")
        },
        **{
            setting.field: setting_text(setting, value)
            for setting, value in stated_values(written, within=FIELD)
        },
    }


def _query(written: StreamingQuery, of: _Values) -> QuerySettings:
    try:
        return QuerySettings(
            ignored=bool(written.ignored),
            target_duration_s=None
            if written.target_duration is None
            else of.seconds("targetDuration"),
            catch_up_time_s=None if written.catch_up_time is None else of.seconds("catchUpTime"),
            nominal_rate=None if written.nominal_rate is None else of.number("nominalRate"),
            batch_duration=None if written.batch_duration is None else _batch_duration(of),
            rate=None if written.rate is None else _rate(of),
            backlog=None if written.backlog is None else _backlog(of),
        )
    except InvalidSetting as error:
        raise InvalidSetting(f"queries.{error.key}", error.value, error.rule) from None


def _batch_duration(of: _Values) -> BatchDurationSettings:
    return BatchDurationSettings(
        target_utilization=of.number("batchDuration.targetUtilization"),
        band=of.number("batchDuration.band"),
        sizing=Sizing(of.text("batchDuration.sizing")),
        step=of.whole("batchDuration.step"),
    )


def _rate(of: _Values) -> RateSettings:
    return RateSettings(
        target_utilization=of.number("rate.targetUtilization"),
        band=of.number("rate.band"),
        catch_up=of.number("rate.catchUp"),
    )


def _backlog(of: _Values) -> BacklogSettings:
    return BacklogSettings(
        target_s=of.seconds("backlog.target"),
        low_s=of.seconds("backlog.low"),
        low_utilization=of.number("backlog.lowUtilization"),
    )
