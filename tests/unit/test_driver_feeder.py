"""From polls to hooks: what the manager and the monitor hear when a driver is asked from outside."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.served_driver import EPOCH_MS, SECOND_NS, executor, report, stage

from spark_allocation.core.driver_feeder import DriverFeeder
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.executor_tracker import HeldBy
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.shuffle_holders import ShuffleHoldConf, ShuffleHolders
from spark_allocation.core.workload import ProfileWorkload

START_NS = 500 * SECOND_NS


class Manager:
    """Writes down what it hears."""

    def __init__(self, needs: dict[int, int] | None = None) -> None:
        self.submitted: list[int] = []
        self.backlogged: list[int | None] = []
        self.empty = 0
        self.needs = needs or {}

    def max_needed(self, profile_id: ProfileId) -> int | None:
        return self.needs.get(profile_id)

    def on_stage_submitted(self, profile_id: ProfileId, now_ns: int) -> None:
        self.submitted.append(profile_id)

    def on_scheduler_backlogged(self, now_ns: int, since_ns: int | None = None) -> None:
        self.backlogged.append(since_ns)

    def on_scheduler_queue_empty(self) -> None:
        self.empty += 1


class Polls:
    def __init__(self, shuffle: ShuffleHoldConf | None = None, **timeouts: int) -> None:
        conf = DynamicAllocationConf(**timeouts)  # type: ignore[arg-type]
        self.monitor = ExecutorMonitor(conf)
        self.holders = ShuffleHolders(
            shuffle or ShuffleHoldConf(), lambda profile_id: conf.timeouts(profile_id).shuffle_ns
        )
        self.feeder = DriverFeeder(self.monitor, self.holders)
        self.manager = Manager()
        self.now_ns = START_NS

    def poll(self, told, *, after: float = 1.0, driver_clock_ahead_ms: int = 0) -> None:
        self.now_ns += int(after * SECOND_NS)
        self.feeder.take(
            told,
            self.manager,
            now_ns=self.now_ns,
            now_ms=EPOCH_MS + self.now_ns // 1_000_000 - driver_clock_ahead_ms,
        )

    def timed_out(self, at_ns: int) -> list[str]:
        return [executor_id for executor_id, _ in self.monitor.timed_out_executors(at_ns)]


@pytest.fixture
def polls() -> Polls:
    return Polls()


def test_pending_is_what_is_neither_done_nor_running(polls: Polls) -> None:
    polls.poll(
        report(stage(tasks=10, done=3, active=2), executors=(executor(1, active=2, fits=4),))
    )
    assert polls.feeder.of_profile(ProfileId(0)) == ProfileWorkload(pending=5, running=2)


def test_an_index_counted_twice_by_the_driver_makes_no_negative_backlog(polls: Polls) -> None:
    polls.poll(report(stage(tasks=4, done=4, active=1)))
    assert polls.feeder.of_profile(ProfileId(0)).pending == 0


def test_an_executor_runs_no_more_tasks_than_fit_on_it(polls: Polls) -> None:
    """REST counts the next task before it has counted the end of the last one."""
    told = report(stage(tasks=10, active=3), executors=(executor(1, active=2, fits=1),))
    polls.poll(told)
    assert polls.feeder.of_profile(ProfileId(0)).running == 1


def test_stages_of_one_profile_are_added_up_and_profiles_kept_apart(polls: Polls) -> None:
    polls.poll(report(stage(0, tasks=4), stage(1, tasks=5), stage(2, tasks=7, profile_id=1)))
    assert {int(k): v.pending for k, v in polls.feeder.workload.items()} == {0: 9, 1: 7}
    assert polls.feeder.profiles_at_work == {0, 1}


def test_each_stage_attempt_is_submitted_once(polls: Polls) -> None:
    polls.poll(report(stage(0, tasks=4)))
    polls.poll(report(stage(0, tasks=4, active=2)))
    polls.poll(report(stage(0, tasks=4, attempt=1)))
    assert polls.manager.submitted == [0, 0]


def test_a_backlog_began_when_its_stage_was_submitted(polls: Polls) -> None:
    polls.poll(report())
    polls.poll(report(stage(tasks=4, submitted_at_ms=EPOCH_MS + polls.now_ns // 1_000_000 + 400)))
    assert polls.manager.backlogged == [polls.now_ns - 600_000_000]


@pytest.mark.parametrize("ahead_ms", [-3_600_000, 3_600_000])
def test_a_driver_whose_clock_is_wrong_gets_executors_neither_early_nor_late(
    polls: Polls, ahead_ms: int
) -> None:
    polls.poll(report())
    before = polls.now_ns
    submitted = EPOCH_MS + before // 1_000_000 + 500 + ahead_ms
    polls.poll(report(stage(tasks=4, submitted_at_ms=submitted)))
    (since,) = polls.manager.backlogged
    assert since is not None
    assert before <= since <= polls.now_ns


def test_a_backlog_ends_when_no_task_waits(polls: Polls) -> None:
    polls.poll(report(stage(tasks=4)))
    assert polls.manager.empty == 0
    polls.poll(report(stage(tasks=4, active=4)))
    assert polls.manager.empty == 1
    polls.poll(report())
    assert polls.manager.empty == 2


def test_copies_that_rest_does_not_show_are_a_backlog_too(polls: Polls) -> None:
    """The last task is slow and a copy of it waits: only the gauge tells."""
    polls.manager.needs = {0: 1}
    polls.poll(report(stage(tasks=4, done=3, active=1), gauge=2))
    polls.poll(report(stage(tasks=4, done=3, active=1), gauge=2))
    assert len(polls.manager.backlogged) == 2
    assert polls.manager.empty == 0


@pytest.mark.parametrize(
    ("gauge", "needs"),
    [(None, None), (5, None), (9, {ProfileId(1): 7})],
    ids=["the driver does not say", "no more than is estimated", "more than is estimated"],
)
def test_what_several_profiles_need_beyond_our_estimates_is_for_the_one_with_most_waiting(
    polls: Polls, gauge: int | None, needs: dict[ProfileId, int] | None
) -> None:
    polls.manager.needs = {0: 2, 1: 3}
    polls.poll(report(stage(0, tasks=2), stage(1, tasks=3, profile_id=1), gauge=gauge))
    assert polls.feeder.needs_by_gauge(polls.manager) == needs


def test_what_one_profile_needs_is_what_the_driver_says(polls: Polls) -> None:
    polls.manager.needs = {0: 8}
    polls.poll(report(stage(0, tasks=8), gauge=4))
    assert polls.feeder.needs_by_gauge(polls.manager) == {ProfileId(0): 4}


def test_a_gauge_without_stages_is_no_backlog(polls: Polls) -> None:
    polls.poll(report(gauge=3))
    assert polls.manager.backlogged == []


def test_an_executor_is_added_once_and_removed_when_it_is_not_listed(polls: Polls) -> None:
    polls.poll(report(executors=(executor(1),)))
    idle_since = polls.monitor.executor("1").idle_since_ns  # type: ignore[union-attr]
    polls.poll(report(executors=(executor(1),)))
    assert polls.monitor.executor("1").idle_since_ns == idle_since  # type: ignore[union-attr]
    polls.poll(report())
    assert polls.monitor.executor("1") is None


def test_why_an_executor_went_is_taken_from_the_list_of_the_dead(polls: Polls) -> None:
    polls.poll(report(executors=(executor(1),)))
    gone = executor(1, alive=False)
    polls.poll(report(dead=(gone,)))
    assert polls.monitor.counters.exited_unexpectedly == 1


def test_work_between_two_polls_restarts_the_idle_time() -> None:
    polls = Polls(executor_idle_timeout_s=10)
    polls.poll(report(executors=(executor(1, total=5),)))
    polls.poll(report(executors=(executor(1, total=6),)), after=9)
    assert polls.timed_out(START_NS + 12 * SECOND_NS) == []
    assert polls.timed_out(polls.now_ns + 10 * SECOND_NS) == ["1"]


def test_local_shuffle_holds_while_a_job_runs_and_by_its_timeout_afterwards() -> None:
    polls = Polls(executor_idle_timeout_s=10, shuffle_tracking_timeout_ms=100_000)
    wrote = executor(1, shuffle=1)
    polls.poll(report(executors=(wrote,), jobs=1))
    idle_since = polls.now_ns
    far = idle_since + 10_000 * SECOND_NS
    assert polls.timed_out(far) == []
    assert polls.monitor.executor("1").held_by is HeldBy.SHUFFLE  # type: ignore[union-attr]
    polls.poll(report(executors=(wrote,)))
    assert polls.timed_out(idle_since + 99 * SECOND_NS) == []
    assert polls.timed_out(idle_since + 100 * SECOND_NS) == ["1"]


def test_a_later_job_holds_shuffle_of_an_earlier_one() -> None:
    polls = Polls(executor_idle_timeout_s=10, shuffle_tracking_timeout_ms=20_000)
    wrote = executor(1, shuffle=1)
    polls.poll(report(executors=(wrote,), jobs=1))
    polls.poll(report(executors=(wrote,)))
    polls.poll(report(executors=(wrote,), jobs=1), after=30)
    assert polls.timed_out(polls.now_ns) == []


def test_shuffle_elsewhere_holds_nobody() -> None:
    polls = Polls(ShuffleHoldConf(local=False), executor_idle_timeout_s=10)
    polls.poll(report(executors=(executor(1, shuffle=1),), jobs=1))
    assert polls.timed_out(polls.now_ns + 10 * SECOND_NS) == ["1"]


def test_cached_blocks_hold_by_their_own_timeout() -> None:
    polls = Polls(executor_idle_timeout_s=10, cached_executor_idle_timeout_s=50)
    polls.poll(report(executors=(executor(1, blocks=1), executor(2))))
    assert polls.timed_out(polls.now_ns + 10 * SECOND_NS) == ["2"]
    assert polls.timed_out(polls.now_ns + 50 * SECOND_NS) == ["1", "2"]


_counts = st.integers(-3, 50)
_stages = st.lists(
    st.builds(
        stage,
        st.integers(0, 3),
        tasks=_counts,
        done=_counts,
        active=_counts,
        profile_id=st.integers(0, 2),
        submitted_at_ms=st.none() | st.integers(0, 4_000_000_000_000),
    ),
    max_size=4,
)
_executors = st.lists(
    st.builds(
        executor,
        st.integers(1, 4),
        active=_counts,
        total=_counts,
        profile_id=st.integers(0, 2),
        fits=st.integers(-1, 4),
        blocks=_counts,
        shuffle=_counts,
    ),
    max_size=4,
    unique_by=lambda each: each.id,
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda stages, executors, gauge: report(
                *stages, executors=tuple(executors), gauge=gauge
            ),
            _stages,
            _executors,
            st.none() | st.integers(0, 99),
        ),
        max_size=6,
    )
)
def test_whatever_a_driver_says_counts_stay_sensible(told) -> None:
    """Nothing below zero, no backlog from the future, and the monitor knows exactly the listed executors."""
    polls = Polls()
    for each in told:
        polls.poll(each)
        for tasks in polls.feeder.workload.values():
            assert tasks.pending >= 0
        assert {view.id for view in polls.monitor.executors()} == {
            str(listed.id) for listed in each.executors
        }
    assert all(since is None or since <= polls.now_ns for since in polls.manager.backlogged)
