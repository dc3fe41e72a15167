"""How tasks are counted from events; the rest of the counting is specified through the manager's tests."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.allocation_builders import Application, profile

from spark_allocation.core.listener_events import (
    BlockUpdated,
    OtherBlock,
    RddBlock,
    ShuffleCleaned,
    ShuffleDataBlock,
    TaskEndReason,
    UnpersistRdd,
)
from spark_allocation.core.listener_feeder import StageWorkload
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId
from spark_allocation.core.workload import NO_TASKS, ProfileWorkload

FAILED = TaskEndReason.FAILED


def workload(app: Application, profile_id: int = 0) -> ProfileWorkload:
    return app.feeder.workload.of_profile(ProfileId(profile_id))


def test_a_profile_without_stages_has_no_tasks() -> None:
    assert workload(Application(), 7) is NO_TASKS


def test_a_stage_is_counted_under_its_profile() -> None:
    app = Application()
    app.add_profile(profile(1))
    app.submit(0, tasks=3)
    app.submit(1, tasks=5, profile_id=1)
    app.start(1, 0, 1)

    assert workload(app, 0) == ProfileWorkload(pending=3)
    assert workload(app, 1) == ProfileWorkload(pending=3, running=2)


def test_pending_tasks_may_fall_below_zero() -> None:
    """A start that belongs to no known submission: Spark does not clamp, and another stage makes up for it."""
    app = Application()
    app.submit(0, tasks=1)
    app.start(0, 0, 1, 2)

    assert workload(app).pending == -2


def test_a_resubmitted_task_counts_a_running_one_down() -> None:
    app = Application()
    app.submit(0, tasks=3)
    app.start(0, 0, 1)
    app.end(0, 0)

    app.end(0, 0, reason=FAILED)

    assert workload(app) == ProfileWorkload(pending=2, running=0)


def test_a_killed_task_does_not_wait_again() -> None:
    app = Application()
    app.submit(0, tasks=2)
    app.start(0, 0)
    app.end(0, 0, reason=TaskEndReason.KILLED)

    assert workload(app).pending == 1


def test_a_failure_starts_the_backlog_timer() -> None:
    app = Application()
    app.submit(0, tasks=1)
    app.start(0, 0)
    assert app.manager.add_time is None

    app.end(0, 0, reason=FAILED)

    assert app.manager.add_time is not None


def test_completion_stops_the_timer_when_no_stage_is_left() -> None:
    app = Application()
    app.submit(0, tasks=5)
    app.submit(1, tasks=5)
    app.complete(0)
    assert app.manager.add_time is not None

    app.complete(1)

    assert app.manager.add_time is None
    assert workload(app) == NO_TASKS


def test_a_retry_counts_its_own_tasks() -> None:
    app = Application()
    app.submit(0, tasks=10)
    app.start(0, *range(4))
    app.complete(0)
    app.submit(0, tasks=3, attempt=1)

    assert workload(app) == ProfileWorkload(pending=3, running=4)


def test_an_unschedulable_stage_counts_while_it_is_known() -> None:
    app = Application()
    app.unschedulable(0)
    assert workload(app).unschedulable == 0

    app.submit(0, tasks=1)
    assert workload(app).unschedulable == 1
    app.complete(0)
    assert workload(app).unschedulable == 0


def test_nothing_is_remembered_of_finished_stages() -> None:
    app = Application()
    for stage in range(20):
        app.submit(stage, tasks=2)
        app.start(stage, 0, 1)
        app.speculate(stage, 0)
        app.start(stage, 0, speculative=True)
        app.end(stage, 0, 1)
        app.complete(stage)
        app.end(stage, 0, speculative=True, reason=TaskEndReason.KILLED)

    assert app.feeder.workload._attempts == {}
    assert not app.feeder.workload.has_pending_tasks


def test_blocks_reach_the_monitor() -> None:
    app = Application(shuffle_service_enabled=False, cached_executor_idle_timeout_s=100)
    app.register(1, 2, 3)
    app.post(BlockUpdated("1", RddBlock(0, 0)))
    app.post(BlockUpdated("2", ShuffleDataBlock(5)))
    app.post(BlockUpdated("3", OtherBlock()))

    def due() -> list[str]:
        return [executor for executor, _ in app.monitor.timed_out_executors(app.now_ns)]

    app.advance(3)
    assert due() == ["3"]
    app.post(UnpersistRdd(0))
    assert due() == ["1", "3"]
    app.post(ShuffleCleaned(5))
    assert due() == ["1", "2", "3"]


@given(
    tasks=st.integers(0, 20),
    events=st.lists(
        st.tuples(
            st.sampled_from(["start", "end", "fail", "speculate", "copy", "copy ends"]),
            st.integers(0, 9),
        )
    ),
)
def test_the_short_cuts_agree_with_a_recount(tasks: int, events: list[tuple[str, int]]) -> None:
    """Whether tasks wait is kept up to date with every event instead of being recounted as Spark does."""
    counted = StageWorkload()
    key = (0, 0)
    counted.stage_submitted(key, tasks, DEFAULT_PROFILE_ID)
    for name, index in events:
        match name:
            case "start" | "copy":
                counted.task_started(key, index, speculative=name == "copy")
            case "end" | "copy ends":
                counted.task_left(key, index, speculative=name == "copy ends")
                counted.copy_not_needed(key, index)
            case "fail":
                counted.task_left(key, index, speculative=False)
                counted.task_waits_again(key, index)
            case "speculate":
                counted.speculative_submitted(key, index)
        load = counted.of_profile(DEFAULT_PROFILE_ID)
        assert counted.has_pending_tasks == (load.pending > 0 or load.pending_speculative > 0)
        assert load.running >= 0
