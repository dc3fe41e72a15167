"""``spec.streaming`` as the core takes it: what is refused, and what single queries set for themselves."""

from collections.abc import Callable

import pytest
from tests.unit.streaming_world import CLICKS, ORDERS

from spark_allocation.core.spark_conf import InvalidSetting
from spark_allocation.core.streaming.settings import (
    BacklogSettings,
    BatchDurationSettings,
    FreezeWindow,
    MissingMetrics,
    QuerySettings,
    RateSettings,
    StepLimits,
    StreamingSettings,
    VanishedMetrics,
)


@pytest.mark.parametrize(
    ("build", "key"),
    [
        (lambda: BatchDurationSettings(target_utilization=0), "batchDuration.targetUtilization"),
        (lambda: BatchDurationSettings(target_utilization=1.1), "batchDuration.targetUtilization"),
        (lambda: BatchDurationSettings(band=0.75), "batchDuration.band"),
        (lambda: BatchDurationSettings(step=0), "batchDuration.step"),
        (lambda: RateSettings(target_utilization=float("nan")), "rate.targetUtilization"),
        (lambda: RateSettings(band=-0.1), "rate.band"),
        (lambda: RateSettings(catch_up=-1), "rate.catchUp"),
        (lambda: BacklogSettings(target_s=0), "backlog.target"),
        (lambda: BacklogSettings(target_s=5, low_s=10), "backlog.low"),
        (lambda: BacklogSettings(low_utilization=2), "backlog.lowUtilization"),
        (lambda: StepLimits(-1, 1), "step.share"),
        (lambda: StepLimits(1, 0), "step.executors"),
        (lambda: FreezeWindow(86_400, 60), "freezeWindows.start"),
        (lambda: FreezeWindow(0, 0), "freezeWindows.duration"),
        (lambda: FreezeWindow(0, 8 * 86_400), "freezeWindows.duration"),
        (lambda: FreezeWindow(0, 60, frozenset({7})), "freezeWindows.weekdays"),
        (lambda: FreezeWindow(0, 60, frozenset()), "freezeWindows.weekdays"),
        (lambda: VanishedMetrics(after_s=0), "onMissingMetrics.after"),
        (lambda: VanishedMetrics(MissingMetrics.FIXED), "onMissingMetrics.executors"),
        (lambda: VanishedMetrics(MissingMetrics.FIXED, -1), "onMissingMetrics.executors"),
        (lambda: QuerySettings(target_duration_s=0), "queries.targetDuration"),
        (lambda: QuerySettings(nominal_rate=-5), "queries.nominalRate"),
        (lambda: StreamingSettings(target_duration_s=0), "targetDuration"),
        (lambda: StreamingSettings(catch_up_time_s=0), "catchUpTime"),
        (lambda: StreamingSettings(nominal_rate=0), "nominalRate"),
        (lambda: StreamingSettings(stabilization_down_s=-1), "stabilization.down"),
        (lambda: StreamingSettings(stabilization_down_batches=-1), "stabilization.downBatches"),
        (lambda: StreamingSettings(cooldown_s=float("inf")), "cooldown"),
        (lambda: StreamingSettings(effective_share=2), "effectiveShare"),
        (lambda: StreamingSettings(step_down=StepLimits(2, 1)), "stepDown.share"),
    ],
)
def test_what_is_out_of_its_range_is_refused_with_its_name(
    build: Callable[[], object], key: str
) -> None:
    with pytest.raises(InvalidSetting) as refused:
        build()
    assert refused.value.key == key


def test_the_defaults_are_accepted_and_have_the_rate_policy_alone() -> None:
    settings = StreamingSettings()
    assert settings.rate is not None
    assert settings.batch_duration is None
    assert settings.backlog is None


def test_a_query_sets_for_itself_what_it_names_and_keeps_the_rest() -> None:
    settings = StreamingSettings(
        target_duration_s=10,
        catch_up_time_s=60,
        queries={
            ORDERS: QuerySettings(catch_up_time_s=600, backlog=BacklogSettings(target_s=5, low_s=1))
        },
    )
    orders = settings.of_query(ORDERS)
    assert (orders.target_duration_s, orders.catch_up_time_s) == (10, 600)
    assert orders.backlog == BacklogSettings(target_s=5, low_s=1)
    assert orders.rate == settings.rate
    assert settings.of_query(CLICKS) is settings


def test_a_query_may_be_ignored() -> None:
    settings = StreamingSettings(queries={ORDERS: QuerySettings(ignored=True)})
    assert settings.is_ignored(ORDERS)
    assert not settings.is_ignored(CLICKS)
