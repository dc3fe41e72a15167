"""An executor that looks idle may run a task that its driver has not told of yet."""

from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit import served_driver
from tests.unit.served_driver import SECOND_NS, ServedDriver, executor, report, stage

from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.controller.effective_settings import EffectiveSettings, effective_settings
from spark_allocation.core.driver_report import DriverReport
from spark_allocation.core.idle_sight import BEHIND_EVENTS, IdleSightConf
from spark_allocation.core.jvm_numbers import LONG_MAX
from spark_allocation.core.passive_driver import PASSIVE_SETTINGS
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion

HEARTBEAT = 10.0
INVISIBLE = 12.1
"""Seconds: a heartbeat, the period of updates, and the margin."""


def driver_with(executors: int, *, idle_timeout: int = 2, **wishes: object) -> ServedDriver:
    driver = ServedDriver(
        served_driver.settings(executor_idle_timeout_s=idle_timeout, max_executors=10, **wishes)
    )
    for _ in range(executors):
        driver.create()
    return driver


def leave_after(driver: ServedDriver, told: DriverReport, *, within: float = 200.0) -> float | None:
    """After how many seconds of this answer, repeated every second, an executor begins to leave."""
    for second in range(int(within)):
        if driver.turn(told, after=0.0 if second == 0 else 1.0).drains:
            return float(second)
    return None


def one_runs_one_looks_idle() -> DriverReport:
    """A stage whose last task runs on the first executor, for all that can be seen."""
    return report(stage(tasks=1, active=1), executors=(executor(1, active=1), executor(2)))


def test_while_a_stage_runs_who_looks_idle_stays_until_a_heartbeat_would_have_told() -> None:
    driver = driver_with(2)
    assert leave_after(driver, one_runs_one_looks_idle()) == pytest.approx(INVISIBLE, abs=1)


def test_when_no_stage_runs_nobody_has_a_task() -> None:
    driver = driver_with(2)
    assert leave_after(driver, report(executors=(executor(1), executor(2)))) == 2


def test_nor_when_only_stages_of_another_profile_run() -> None:
    driver = driver_with(2)
    told = report(
        stage(tasks=1, active=1, profile_id=1),
        executors=(executor(1), executor(2), executor(3, profile_id=1, active=1)),
    )
    assert leave_after(driver, told) == 2


def test_who_was_waited_for_goes_as_soon_as_the_stage_is_over() -> None:
    driver = driver_with(2)
    for _ in range(5):
        assert driver.turn(one_runs_one_looks_idle()).drains == ()
    over = driver.turn(report(executors=(executor(1, total=1), executor(2))))
    assert [pod.executor_id for pod in over.drains] == [2]


def test_a_longer_idle_timeout_is_no_longer_for_it() -> None:
    driver = driver_with(2, idle_timeout=60)
    assert leave_after(driver, one_runs_one_looks_idle()) == 60


def test_a_task_that_came_and_went_begins_the_time_anew() -> None:
    driver = driver_with(2)
    for second in range(40):
        told = report(
            stage(tasks=50, active=1),
            executors=(executor(1, active=1), executor(2, total=second // 8)),
        )
        assert driver.turn(told).drains == (), f"after {second} s"


def test_an_answer_of_a_driver_that_is_behind_lets_nobody_go() -> None:
    driver = driver_with(2)
    quiet = report(executors=(executor(1), executor(2)))
    assert leave_after(driver, replace(quiet, events_behind=BEHIND_EVENTS + 1), within=30) is None
    assert leave_after(driver, replace(quiet, events_behind=BEHIND_EVENTS), within=2) == 0


@pytest.mark.parametrize(
    ("properties", "told_within_s"),
    [
        ({}, INVISIBLE),
        ({"spark.executor.heartbeatInterval": "60s"}, 62.1),
        ({"spark.executor.heartbeatInterval": "500"}, 3.1),
        ({"spark.ui.liveUpdate.period": "5s"}, 17.0),
        ({"spark.ui.liveUpdate.minFlushPeriod": "20s"}, 22.1),
    ],
)
def test_how_long_a_task_can_run_unseen_follows_from_the_driver_s_configuration(
    properties: dict[str, str], told_within_s: float
) -> None:
    conf = IdleSightConf.from_spark_conf(SparkConf(properties))
    assert conf.told_within_ns == pytest.approx(told_within_s * SECOND_NS)


def test_a_driver_that_never_updates_its_rows_lets_nobody_go_while_a_stage_runs() -> None:
    conf = IdleSightConf.from_spark_conf(SparkConf({"spark.ui.liveUpdate.period": "-1"}))
    assert conf.told_within_ns == LONG_MAX
    driver = driver_with(2)
    driver.allocation.reconfigure(
        replace(driver.allocation.settings, idle_sight=conf), driver.now_ns
    )
    assert leave_after(driver, one_runs_one_looks_idle(), within=1000) is None
    assert leave_after(driver, report(executors=(executor(1), executor(2)))) == 0


def test_it_is_the_driver_s_own_configuration_that_decides() -> None:
    spec = SparkAllocationSpec.model_validate({"driver": {"podName": "driver"}})
    passive = {setting.key: setting.value for setting in PASSIVE_SETTINGS}
    slow = SparkConf(passive | {"spark.executor.heartbeatInterval": "60s"})
    found = effective_settings(spec, slow, SparkVersion.parse("4.1.1"))
    assert isinstance(found, EffectiveSettings)
    assert found.core.idle_sight == IdleSightConf.from_spark_conf(slow)
    assert found.core.idle_sight != IdleSightConf()


def test_a_period_that_spark_refuses_is_told() -> None:
    with pytest.raises(InvalidSetting):
        IdleSightConf.from_spark_conf(SparkConf({"spark.executor.heartbeatInterval": "often"}))


# -- a driver that writes its rows as Spark does ------------------------------------------------------------------------

UPDATE_PERIOD = 0.1


@dataclass
class Row:
    """What REST shows of an executor, and what is true; written as ``AppStatusListener`` writes (times in seconds)."""

    written_at: float
    active: int = 0
    total: int = 0
    shown_active: int = 0
    shown_total: int = 0

    def write(self, now: float) -> None:
        self.shown_active, self.shown_total, self.written_at = self.active, self.total, now

    def write_if_old(self, now: float) -> None:
        if now - self.written_at > UPDATE_PERIOD:
            self.write(now)

    def starts(self, now: float) -> None:
        self.active, self.total = self.active + 1, self.total + 1
        self.write_if_old(now)

    def ends(self, now: float) -> None:
        self.active -= 1
        if self.active == 0:
            self.write(now)
        else:
            self.write_if_old(now)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), idle_timeout=st.integers(0, 8), slots=st.integers(1, 2))
def test_nobody_is_asked_to_go_who_has_a_task_as_the_answer_is_given(
    seed: int, idle_timeout: int, slots: int
) -> None:
    """Tasks begin and end at any time, often within milliseconds of each other, on executors of one or two slots."""
    chance = Random(seed)
    driver = driver_with(2, idle_timeout=idle_timeout)
    rows = {1: Row(0.0), 2: Row(0.0)}
    ends: dict[float, int] = {}
    next_beat, next_poll, next_task = chance.uniform(0, HEARTBEAT), 1.0, 0.0
    now = 0.0
    while rows and now < 40.0:
        now = min(next_beat, next_poll, next_task, *ends)
        if now in ends:
            rows[ends.pop(now)].ends(now)
        elif now == next_beat:
            for row in rows.values():
                row.write_if_old(now)
            next_beat += HEARTBEAT
        elif now == next_task:
            free = [each for each, row in rows.items() if row.active < slots]
            if free:
                chosen = chance.choice(free)
                rows[chosen].starts(now)
                ends[now + chance.choice((0.02, 0.3, 2.0, 9.0, 15.0)) * chance.uniform(0.9, 1)] = (
                    chosen
                )
            next_task = now + chance.choice((0.01, 0.05, 0.2, 1.0, 3.0)) * chance.uniform(0.9, 1)
        else:
            listed = tuple(
                executor(each, active=row.shown_active, total=row.shown_total, fits=slots)
                for each, row in rows.items()
            )
            for pod in driver.turn(report(stage(tasks=0), executors=listed, jobs=1)).drains:
                assert rows.pop(pod.executor_id).active == 0, f"at {now:.2f} s"
                ends = {at: each for at, each in ends.items() if each != pod.executor_id}
            next_poll += 1.0
