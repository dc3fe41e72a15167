"""An application whose streams say how many executors it is to have: targets, pods, and who leaves when."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.served_driver import SECOND_NS, ServedDriver, executor, report, settings, stage
from tests.unit.streaming_world import ORDERS, batch, query

from spark_allocation.core.allocation_decisions import TargetReason
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.driver_report import ExecutorReport
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.shuffle_holders import ShuffleHoldConf
from spark_allocation.core.streaming.decisions import StreamingCondition, StreamingReason
from spark_allocation.core.streaming.observations import QueryObservation, StreamingObservation
from spark_allocation.core.streaming.settings import StreamingSettings

DEFAULT = ProfileId(0)
MIGRATES = ShuffleHoldConf(hands_over=True, migrates=True)


def streaming(streams: StreamingSettings | None = None, **wishes: object) -> AllocationSettings:
    wishes = {"max_executors": 20, "batch_size": 100, **wishes}
    return replace(settings(**wishes), streaming=streams or StreamingSettings())


class StreamingDriver(ServedDriver):
    """A driver with a query whose batches take ``work`` executor seconds, every ten seconds."""

    def __init__(self, wishes: AllocationSettings, *, executors: int = 0, shuffle: int = 0) -> None:
        super().__init__(wishes, targets={0: executors} if executors else None)
        self.number = 0
        self.shuffle = shuffle
        for _ in range(executors):
            self.create()

    @property
    def now_s(self) -> float:
        return self.now_ns / SECOND_NS

    def tell(self, *queries: QueryObservation) -> None:
        self.allocation.take_streaming(StreamingObservation(self.now_s, queries))

    def listed(self, *, active: int = 0, blocks: int = 0) -> tuple[ExecutorReport, ...]:
        return tuple(
            executor(
                pod.executor_id,
                active=active,
                shuffle=self.shuffle,
                blocks=blocks,
                total=self.number,
            )
            for pod in self.pods.values()
        )

    def interval(
        self,
        work: float,
        *,
        rows: float = 1000.0,
        blocks: int = 0,
        state: bool | None = False,
        looks: tuple[float, ...] = (),
    ) -> list[Step]:
        """A batch that is in time: a look while it runs, one when it has ended, and so many more after that."""
        duration = min(9.0, work / max(1, len(self.pods)))
        began = self.now_s
        self.number += 1
        steps = []
        self.later(duration / 2)
        self.says(
            report(
                stage(self.number, tasks=8, active=len(self.pods)),
                executors=self.listed(active=1, blocks=blocks),
            )
        )
        self.tell(query(age=duration / 2, keeps_state=state))
        steps.append(self.step())
        self.carry_out(steps[-1])
        self.later(duration / 2 + 0.5)
        for pause in (0.0, *looks):
            self.later(pause)
            self.says(report(executors=self.listed(blocks=blocks)))
            self.tell(
                query(batch(self.number, began + duration, duration, rows), keeps_state=state)
            )
            steps.append(self.step())
            self.carry_out(steps[-1])
        self.now_ns = int((began + 10.0) * SECOND_NS)
        for pod in [pod for pod in self.pods.values() if pod.deleting]:
            self.lose(pod.executor_id)
        return steps

    def intervals(self, count: int, work: float, **about: object) -> list[Step]:
        return [step for _ in range(count) for step in self.interval(work, **about)]  # type: ignore[arg-type]


def problems(step: Step) -> set[StreamingCondition]:
    return {problem.condition for decision in step.streaming for problem in decision.problems}


# -- targets ----------------------------------------------------------------------------------------------------------


def test_a_stream_that_needs_more_gets_them_at_once_without_the_ramp() -> None:
    # given four executors, of whom batches take nine tenths and more of their interval
    driver = StreamingDriver(streaming(), executors=4)
    driver.intervals(4, work=39)
    # then there are as many as bring that to the target, asked for in one round
    assert driver.target() == 5
    decision = driver.allocation.step(
        driver_snapshot(driver), now_ns=driver.now_ns, now_ms=driver.now_ms, report_is_fresh=True
    ).decisions[DEFAULT]
    assert decision.reason is TargetReason.STREAMING


def driver_snapshot(driver: ServedDriver):  # type: ignore[no-untyped-def]
    from spark_allocation.core.snapshots import ExecutorPodsSnapshot

    return ExecutorPodsSnapshot.replaced(driver.pods.values(), at=driver.full_sync_at)


def test_waiting_tasks_of_a_stream_do_not_move_its_target() -> None:
    driver = StreamingDriver(streaming(), executors=4)
    driver.intervals(3, work=32)
    for _ in range(5):
        driver.turn(report(stage(99, tasks=500, active=4), executors=driver.listed(active=1)))
    assert driver.target() == 4


def test_before_the_first_query_tasks_decide_as_in_spark() -> None:
    plain, streams = (
        ServedDriver(settings(max_executors=20)),
        ServedDriver(streaming(batch_size=10)),
    )
    for driver in (plain, streams):
        for _ in range(4):
            driver.turn(report(stage(tasks=40, active=len(driver.pods)), executors=driver.alive()))
    assert plain.target() == streams.target() > 1


def test_without_settings_for_streams_what_is_told_of_them_does_nothing() -> None:
    driver = StreamingDriver(settings(max_executors=20), executors=4)
    steps = driver.intervals(5, work=39)
    assert all(step.streaming == () and step.above_streams == () for step in steps)
    assert {step.decisions[DEFAULT].reason for step in steps} <= {
        TargetReason.NOT_NEEDED,
        TargetReason.NO_BACKLOG,
        TargetReason.SATISFIED,
        TargetReason.WAITING_BACKLOG_TIMEOUT,
        TargetReason.BACKLOG,
    }


def test_streams_stay_within_the_bounds_also_when_these_change() -> None:
    driver = StreamingDriver(streaming(max_executors=5), executors=4)
    driver.intervals(4, work=60)
    assert driver.target() == 5
    driver.allocation.reconfigure(streaming(max_executors=3), driver.now_ns)
    driver.interval(work=60)
    assert driver.target() == 3


def test_an_answer_too_old_leaves_the_target() -> None:
    driver = StreamingDriver(streaming(), executors=4)
    driver.intervals(3, work=32)
    driver.later(600)
    step = driver.step(fresh=False)
    assert driver.target() == 4
    assert step.above_streams == ()


def test_what_was_learned_survives_a_restart() -> None:
    driver = StreamingDriver(streaming(), executors=4)
    driver.intervals(4, work=32)
    learned = driver.allocation.learned_streams
    assert learned[ORDERS].is_known
    driver.allocation.reconfigure(settings(), driver.now_ns)
    assert driver.allocation.learned_streams == learned


def test_a_restart_does_not_add_to_the_executors_that_a_stream_waits_for() -> None:
    # given targets of an earlier run, of which no executor has come in an hour
    driver = StreamingDriver(streaming(), executors=8)
    driver.pods.clear()
    for age in (3600.0, 4200.0, 4800.0):
        driver.later(600.0)
        driver.says(report(stage(1, tasks=50)))
        driver.tell(query(age=age))
        driver.step()
    assert driver.target() == 8


def test_streams_that_turn_out_to_run_in_another_profile_leave_the_first_one_to_its_tasks() -> None:
    driver = StreamingDriver(streaming(), executors=4)
    driver.intervals(4, work=32)
    learned = driver.allocation.learned_streams
    driver.later(1.0)
    seen = query(age=0.5)
    driver.allocation.take_streaming(StreamingObservation(driver.now_s, (seen,), ProfileId(1)))
    driver.says(report(executors=driver.listed()))
    step = driver.step()
    assert [decision.profile_id for decision in step.streaming] == [ProfileId(1)]
    assert step.decisions[DEFAULT].reason is TargetReason.NOT_NEEDED
    assert driver.allocation.learned_streams == learned


# -- who leaves -------------------------------------------------------------------------------------------------------


def scaled_down(driver: StreamingDriver, work: float = 6, **about: object) -> list[Step]:
    """Past the stabilisation window with far too many executors."""
    return driver.intervals(40, work=work, **about)


@pytest.mark.parametrize("about", [{"state": True}, {"state": None}, {"blocks": 3}])
def test_with_migration_executors_of_a_stream_leave_one_at_a_time(about: dict[str, Any]) -> None:
    driver = StreamingDriver(streaming(shuffle=MIGRATES), executors=8, shuffle=1000)
    steps = scaled_down(driver, **about)
    left = [len(step.above_streams) for step in steps]
    assert max(left) == 1
    assert sum(left) == 8 - driver.target()
    assert driver.target() == len(driver.pods) == 1


@pytest.mark.parametrize("shuffle", [MIGRATES, ShuffleHoldConf()])
def test_without_state_and_cached_blocks_they_leave_together_between_two_batches(
    shuffle: ShuffleHoldConf,
) -> None:
    driver = StreamingDriver(streaming(shuffle=shuffle), executors=8, shuffle=1000)
    steps = scaled_down(driver)
    during, after = steps[::2], steps[1::2]
    assert all(step.above_streams == () for step in during)
    left = [len(step.above_streams) for step in after if step.above_streams]
    assert left == [4, 2, 1], "half of them at a time"
    assert driver.target() == len(driver.pods) == 1
    # and whoever was chosen so is looked at once more before it goes
    for step in after:
        ids = {pod.executor_id for pod in step.above_streams}
        assert step.while_idle == step.between_batches == ids


def batches_without_a_gap(driver: StreamingDriver) -> Iterator[Step]:
    """Two hundred batches of two seconds, one after the other, on executors that all have a task whenever somebody looks."""
    for _ in range(200):
        driver.later(2.0)
        driver.number += 1
        driver.says(
            report(stage(driver.number, tasks=8, active=8), executors=driver.listed(active=1))
        )
        driver.tell(
            query(batch(driver.number, driver.now_s - 1.5, 0.4, 200.0), interval=2.0, age=0.1)
        )
        step = driver.step()
        driver.carry_out(step)
        yield step


def test_who_leaves_while_a_batch_runs_is_not_expected_to_be_idle() -> None:
    driver = StreamingDriver(streaming(shuffle=MIGRATES), executors=8, shuffle=1000)
    gone: list[Step] = []
    for step in batches_without_a_gap(driver):
        gone += [step] if step.above_streams else []
        for pod in [pod for pod in driver.pods.values() if pod.deleting]:
            driver.lose(pod.executor_id)
    assert gone
    assert all(step.while_idle == step.between_batches == frozenset() for step in gone)


def test_cached_blocks_hold_an_executor_of_a_stream() -> None:
    driver = StreamingDriver(streaming(), executors=8, shuffle=1000)
    steps = scaled_down(driver, blocks=3)
    assert all(step.above_streams == () for step in steps)
    assert driver.target() == 1
    assert len(driver.pods) == 8


def test_without_migration_and_without_a_gap_nobody_leaves_and_that_is_told() -> None:
    # given a batch every two seconds, on far more executors than it needs
    driver = StreamingDriver(streaming(), executors=8, shuffle=1000)
    *_, step = batches_without_a_gap(driver)
    assert driver.target() < 8
    assert len(driver.pods) == 8
    assert StreamingCondition.NO_BATCH_GAP in problems(step)


def test_while_nothing_may_be_done_nobody_is_drained() -> None:
    driver = StreamingDriver(streaming(shuffle=MIGRATES), executors=8, shuffle=1000)
    scaled_down(driver, work=64)
    for _ in range(60):
        driver.later(10)
        driver.number += 1
        driver.says(report(executors=driver.listed()))
        driver.tell(query(batch(driver.number, driver.now_s, 1.0, 1000.0)))
        step = driver.step(acts=False)
        assert step.above_streams == ()
    assert driver.target() < 8


def test_a_stream_is_told_with_its_reason() -> None:
    driver = StreamingDriver(streaming(), executors=4)
    (decision,) = driver.intervals(4, work=32)[-1].streaming
    assert decision.reason is StreamingReason.STEADY
    assert decision.query == ORDERS
    assert decision.queries[0].utilization is not None
