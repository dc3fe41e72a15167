"""How targets grow and fall and what is removed: Spark's ExecutorAllocationManagerSuite restated, and our own rules."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.allocation_builders import Application, profile

from spark_allocation.core.allocation_client import ClusterManagerUnreachable
from spark_allocation.core.allocation_decisions import LogLevel, RemovalOutcome, TargetReason
from spark_allocation.core.allocation_manager import ExecutorAllocationManager
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf, ProfileOverrides
from spark_allocation.core.listener_events import TaskEndReason
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId
from spark_allocation.core.spark_conf import SECOND
from spark_allocation.core.workload import ProfileWorkload, ReportedWorkload

KILLED = TaskEndReason.KILLED
FAILED = TaskEndReason.FAILED
NEVER = {"executor_idle_timeout_s": 10**6}


def test_starts_with_the_initial_target_and_publishes_it() -> None:
    app = Application(1, 5, 1)

    assert app.cluster.totals == [{0: 1}]
    assert app.manager.targets == {0: 1}
    assert app.manager.to_add == {0: 1}
    assert app.manager.add_time is None
    assert app.manager.initializing
    assert app.monitor.pending_removal_count() == 0


def test_the_need_comes_from_the_workload_it_was_given() -> None:
    app = Application(0, 5, 0)
    waiting = ReportedWorkload({DEFAULT_PROFILE_ID: ProfileWorkload(pending=3)})

    manager = ExecutorAllocationManager(app.conf, app.cluster, app.monitor, app.profiles, waiting)

    assert manager.max_needed(DEFAULT_PROFILE_ID) == 3


class TestGrowth:
    def test_doubles_until_the_maximum(self) -> None:
        app = Application(1, 10, 1, **NEVER)
        app.submit(0, tasks=1000)

        seen = [(app.add(), app.target(), app.to_add()) for _ in range(5)]

        assert seen == [(1, 2, 2), (2, 4, 4), (4, 8, 8), (2, 10, 1), (0, 10, 1)]

    def test_registered_executors_do_not_change_a_target_at_the_maximum(self) -> None:
        app = Application(1, 10, 1, **NEVER)
        app.submit(0, tasks=1000)
        for _ in range(4):
            app.add()

        app.register(1, 1, 2, 3, 3, 4)

        assert (app.add(), app.target(), app.to_add()) == (0, 10, 1)

    def test_each_profile_grows_by_itself(self) -> None:
        app = Application(1, 10, 1, **NEVER)
        app.add_profile(profile(1, cores=4, gpus=4))
        app.submit(0, tasks=1000)
        app.submit(1, tasks=4000, profile_id=1)

        targets = []
        for _ in range(5):
            app.tick(after=2)
            targets.append((app.target(0), app.target(1)))

        assert targets == [(2, 2), (4, 4), (8, 8), (10, 10), (10, 10)]

    def test_a_new_profile_gets_the_initial_target_at_once(self) -> None:
        app = Application(0, 10, 2)
        app.add_profile(profile(1, cores=2, gpus=2))

        app.submit(0, tasks=4, profile_id=1)

        assert app.target(1) == 2
        assert app.cluster.totals == [{0: 2}, {0: 2, 1: 2}]

    def test_a_new_profile_is_published_also_with_a_single_initial_executor(self) -> None:
        app = Application(0, 10, 1)
        app.add_profile(profile(1))

        app.submit(0, tasks=4, profile_id=1)

        assert app.cluster.totals[-1] == {0: 1, 1: 1}

    def test_starts_from_what_runs_of_the_same_profile_only(self) -> None:
        app = Application(0, 100, 0, **NEVER)
        app.add_profile(profile(1))
        app.register(*range(15))
        app.submit(0, tasks=50, profile_id=1)

        app.tick(after=1)

        assert app.target(1) == 1

    @pytest.mark.parametrize(
        ("cores", "ratio", "target"),
        [(1, 0.5, 10), (1, 1 / 3, 7), (2, 1 / 3, 4), (1, 0.385, 8), (1, 1.0, 15), (4, 1 / 3, 3)],
    )
    def test_the_ratio_scales_the_need(self, cores: int, ratio: float, target: int) -> None:
        app = Application(3, 15, 3, cores=cores, executor_allocation_ratio=ratio)
        app.submit(0, tasks=20)

        for _ in range(6):
            app.add()

        assert app.target() == target

    def test_is_capped_by_the_waiting_tasks(self) -> None:
        app = Application(0, 10, 0)
        app.submit(0, tasks=5)
        assert [(app.add(), app.target(), app.to_add()) for _ in range(3)] == [
            (1, 1, 2),
            (2, 3, 4),
            (2, 5, 1),
        ]

        app.submit(1, tasks=3)
        app.start(1, 0)
        assert [(app.add(), app.target()) for _ in range(3)] == [(1, 6), (2, 8), (0, 8)]

        app.submit(2, tasks=3)
        app.start(2, 0, 0)
        assert [(app.add(), app.target(), app.to_add()) for _ in range(2)] == [
            (1, 9, 2),
            (1, 10, 1),
        ]

        app.start(2, 1)
        assert (app.add(), app.target()) == (0, 10)

    def test_speculative_tasks_count(self) -> None:
        app = Application(0, 10, 0)
        app.submit(0, tasks=2)
        app.speculate(0, 0)
        assert app.add() == 1

        app.speculate(0, 1, 2)
        assert [app.add(), app.add()] == [2, 2]
        assert (app.target(), app.to_add()) == (5, 1)

        app.start(0, 0)
        assert app.add() == 0
        app.start(0, 0, speculative=True)
        assert app.add() == 0

    def test_does_not_ramp_up_to_what_runs_already(self) -> None:
        app = Application(0, 100_000, 0, **NEVER)
        app.submit(0, tasks=1000)
        assert [app.add() for _ in range(4)] == [1, 2, 4, 8]
        app.register(*range(15))
        app.complete(0)
        app.tick(after=1)
        assert app.target() == 0

        app.submit(1, tasks=1000)
        app.tick(after=1)

        assert app.target() == 16

    def test_one_unschedulable_stage_gets_one_more_executor(self) -> None:
        app = Application(0, 5, 0, cores=2, **NEVER)
        app.submit(0, tasks=2)
        assert [app.add(), app.add()] == [1, 0]
        app.register(0)
        app.start(0, 0, 1, on="0")
        assert app.need() == 1

        app.unschedulable(0)
        app.tick(after=1)
        assert (app.target(), app.need()) == (2, 2)

        app.register(1)
        app.schedulable(0)
        app.tick(after=1)
        assert (app.target(), app.need()) == (1, 1)

    def test_several_unschedulable_stages(self) -> None:
        app = Application(0, 10, 0, cores=2, **NEVER)
        for stage in range(3):
            app.submit(stage, tasks=2)
        assert [app.add(), app.add(), app.add()] == [1, 2, 0]
        app.register(0, 1, 2)
        for stage in range(3):
            app.start(stage, 0, 1, on=str(stage))
        app.tick(after=1)
        assert (app.target(), app.need()) == (3, 3)

        app.end(0, 0, 1, on="0")
        app.complete(0)
        app.unschedulable(1, 2)
        app.tick(after=1)
        assert (app.target(), app.need()) == (4, 4)

        app.register(3)
        app.schedulable(1)
        app.tick(after=1)
        assert (app.target(), app.need()) == (4, 5)


@settings(max_examples=40)
@given(tasks=st.integers(0, 300), high=st.integers(1, 200), rounds=st.integers(1, 12))
def test_the_steps_are_powers_of_two_up_to_the_need_and_the_maximum(
    tasks: int, high: int, rounds: int
) -> None:
    app = Application(0, high, 0)
    app.submit(0, tasks=tasks)

    for _ in range(rounds):
        app.add()

    assert app.target() == min(2**rounds - 1, tasks, high)


@settings(max_examples=40)
@given(initial=st.integers(0, 50), low=st.integers(0, 50), need=st.integers(0, 60))
def test_a_target_above_the_need_falls_at_once(initial: int, low: int, need: int) -> None:
    app = Application(low, 100, max(low, initial))
    app.submit(0, tasks=need)

    app.tick()

    assert app.target() == max(low, min(initial, need))


@settings(max_examples=40)
@given(
    tasks=st.integers(1, 1000),
    cores=st.integers(1, 16),
    ratio=st.fractions(0, 1).filter(lambda ratio: ratio > 0).map(float),
)
def test_the_need_is_enough_and_not_one_too_many(tasks: int, cores: int, ratio: float) -> None:
    app = Application(cores=cores, executor_allocation_ratio=ratio)
    app.submit(0, tasks=tasks)

    assert (app.need() - 1) * cores < tasks * ratio <= app.need() * cores * (1 + 1e-12)


class TestNeed:
    def test_a_failed_task_waits_again(self) -> None:
        app = Application(1, 5, 1)
        assert app.need() == 0
        app.submit(0, tasks=1)
        assert app.need() == 1
        app.start(0, 0)
        assert app.need() == 1
        app.end(0, 0, reason=FAILED)
        assert app.need() == 1

    def test_a_copy_that_waits_is_dropped_when_its_original_ends(self) -> None:
        """SPARK-41192."""
        app = Application(0, 10, 0, cores=4)
        app.submit(0, tasks=40)
        assert [app.add() for _ in range(4)] == [1, 2, 4, 3]
        app.start(0, *range(40))

        app.end(0, *range(30))
        app.speculate(0, *range(30, 40))
        assert app.need() == 5
        app.end(0, *range(30, 35))
        assert app.need() == 3
        app.start(0, *range(35, 40), speculative=True)
        assert app.need() == 3
        app.end(0, *range(35, 39))
        app.end(0, *range(35, 39), speculative=True, reason=KILLED)
        assert app.need() == 1

    def test_copies_that_end(self) -> None:
        """SPARK-30511."""
        app = Application(0, 10, 0, cores=4)
        app.submit(0, tasks=40)
        assert [app.add() for _ in range(4)] == [1, 2, 4, 3]
        app.start(0, *range(40))
        app.end(0, *range(30))
        app.tick()
        assert app.target() == 3

        app.speculate(0, *range(30, 40))
        assert [app.add(), app.add()] == [1, 1]
        app.start(0, *range(30, 40), speculative=True)
        assert app.need() == 5
        app.end(0, *range(30, 36), speculative=True)
        assert app.need() == 4
        app.end(0, *range(30, 36), reason=KILLED)
        assert app.need() == 2
        app.end(0, 36)
        app.end(0, 36, speculative=True, reason=KILLED)
        assert app.need() == 2
        app.end(0, 37)
        app.end(0, 37, speculative=True)
        assert app.need() == 1

        app.end(0, 38, reason=FAILED)
        app.end(0, 39, speculative=True, reason=FAILED)
        app.speculate(0, 39)
        assert app.need() == 2, "a copy wants another host than its original"
        app.start(0, 39, speculative=True)
        assert app.need() == 1
        app.start(0, 38)
        for index in (38, 39):
            app.end(0, index)
            app.end(0, index, speculative=True, reason=KILLED)
        app.complete(0)
        assert app.need() == 0

    @pytest.mark.parametrize(
        ("cores", "ratio", "need"), [(1, 0.5, 1), (2, 1.0, 2)], ids=["one task", "two tasks"]
    )
    def test_a_copy_needs_a_second_executor_where_the_first_has_room_for_it(
        self, cores: int, ratio: float, need: int
    ) -> None:
        """As in Spark: the rule is for executors that could run original and copy side by side."""
        app = Application(cores=cores, executor_allocation_ratio=ratio)
        app.submit(0, tasks=1)
        app.start(0, 0)

        app.speculate(0, 0)

        assert app.need() == need

    def test_tasks_of_a_completed_stage_still_occupy_executors(self) -> None:
        app = Application(1, 5, 1)
        app.submit(0, tasks=5)
        app.start(0, 0, 1)
        app.complete(0)
        assert app.need() == 2
        app.end(0, 0)
        assert app.need() == 1
        app.submit(0, tasks=3, attempt=1)
        app.start(0, 0, 1, attempt=1)
        assert app.feeder.workload.of_profile(DEFAULT_PROFILE_ID).running == 3
        app.end(0, 1)
        app.end(0, 0, 1, attempt=1)
        assert app.feeder.workload.of_profile(DEFAULT_PROFILE_ID).running == 0

    def test_the_override_decides(self) -> None:
        app = Application(0, 10, 0)
        app.manager.max_needed_override = {DEFAULT_PROFILE_ID: 7}

        assert app.need() == 7

    def test_an_unknown_profile_has_no_need(self) -> None:
        assert Application().manager.max_needed(ProfileId(7)) is None


class TestFall:
    def test_waiting_requests_are_cancelled(self) -> None:
        app = Application(0, 10, 0)
        app.submit(0, tasks=5)
        app.add()
        app.add()
        app.start(0, 0)
        app.add()
        assert app.target() == 5

        app.start(0, 0)
        app.end(0, 0, 0)

        assert app.need() == 4
        assert app.tick().delta == -1

    def test_the_initial_target_stays_until_a_stage_is_submitted(self) -> None:
        app = Application(2, 5, 3)
        assert app.tick().decisions[DEFAULT_PROFILE_ID].reason is TargetReason.INITIALIZING
        assert app.target() == 3

        app.submit(0, tasks=2)
        app.tick()

        assert app.target() == 2

    def test_the_initial_target_stays_until_an_executor_times_out(self) -> None:
        app = Application(2, 5, 3)
        app.register(1, 2, 3)
        app.tick()
        assert app.target() == 3

        app.tick(after=3)

        assert app.target() == 2

    def test_spark_23365_does_not_fall_below_what_runs(self) -> None:
        app = Application(1, 2, 1)
        app.submit(0, tasks=2)
        app.tick(after=1)
        assert app.target() == 2
        app.register("executor-1", "executor-2")
        app.start(0, 0, on="executor-1")
        app.start(0, 1, on="executor-2")

        app.end(0, 0, on="executor-1")
        assert app.need() == 1
        assert app.removed(after=1) == ()
        assert app.target() == 1
        assert app.removed(after=3) == ("executor-1",)
        assert app.target() == 1

    def test_spark_26758_idle_executors_end_initializing(self) -> None:
        app = Application(1, 5, 3)
        app.register(1, 2, 3)

        app.tick(after=3)

        assert app.target() == 1


class TestTimer:
    def test_starts_once_and_stops_with_the_queue(self) -> None:
        app = Application()
        manager = app.manager
        manager.on_scheduler_backlogged(app.now_ns)
        first = app.now_ns + SECOND
        assert manager.add_time == first

        app.advance(0.5)
        manager.on_scheduler_backlogged(app.now_ns)
        assert manager.add_time == first

        manager.on_scheduler_queue_empty()
        assert manager.add_time is None
        app.advance(1)
        manager.on_scheduler_backlogged(app.now_ns)
        assert manager.add_time == app.now_ns + SECOND

    def test_may_start_in_the_past(self) -> None:
        app = Application()

        app.manager.on_scheduler_backlogged(app.now_ns, since_ns=app.now_ns - SECOND // 2)

        assert app.manager.add_time == app.now_ns + SECOND // 2

    def test_the_loop_without_events_keeps_still(self) -> None:
        app = Application(0, 20, 0)
        for _ in range(11):
            assert app.tick(after=1).delta == 0
        assert app.target() == 0

    def test_the_loop_under_backlog(self) -> None:
        app = Application(0, 20, 0)
        app.submit(0, tasks=1000)
        assert [(app.tick(after), app.target())[1] for after in (0.5, 1, 1, 1, 1, 1)] == [
            0,
            1,
            1,
            3,
            3,
            7,
        ]

        app.manager.on_scheduler_queue_empty()
        app.tick(after=5)
        assert app.target() == 7

        app.manager.on_scheduler_backlogged(app.now_ns)
        assert [(app.tick(after), app.target())[1] for after in (1, 2, 2, 2, 2)] == [
            8,
            10,
            14,
            20,
            20,
        ]

    def test_runs_while_any_task_waits(self) -> None:
        app = Application(0, 20, 0)
        app.submit(0, tasks=10)
        app.start(0, *range(9))
        assert app.manager.add_time is not None
        app.start(0, 9)
        assert app.manager.add_time is None

        app.submit(1, tasks=10)
        app.submit(2, tasks=10)
        app.start(1, *range(10))
        assert app.manager.add_time is not None
        app.start(2, *range(10))
        assert app.manager.add_time is None

    def test_an_absurd_timeout_wraps_and_fires_at_once(self) -> None:
        app = Application(0, 20, 0, scheduler_backlog_timeout_s=10**12)
        app.submit(0, tasks=5)

        assert app.tick().delta == 1

    def test_the_longest_sensible_timeout_does_not_fire(self) -> None:
        app = Application(0, 20, 0, scheduler_backlog_timeout_s=2**31 - 1)
        app.submit(0, tasks=5)

        assert app.tick(after=10**6).delta == 0


class TestRemoval:
    def test_keeps_the_minimum(self) -> None:
        app = Application(5, 10, 5)
        app.register(*range(1, 11))

        result = app.tick(after=3)

        assert result.removals == {
            RemovalOutcome.REMOVED: ("1", "10", "2", "3", "4"),
            RemovalOutcome.KEPT_MIN_EXECUTORS: ("5", "6", "7", "8", "9"),
        }
        app.lose(*result.removals[RemovalOutcome.REMOVED])
        assert app.removed(after=1) == ()
        assert app.monitor.pending_removal_count() == 0

    def test_every_profile_keeps_its_own_minimum(self) -> None:
        app = Application(5, 10, 5)
        for profile_id in (0, 1, 2):
            if profile_id:
                app.add_profile(profile(profile_id))
            app.submit(profile_id, tasks=1, profile_id=profile_id)
            app.register(*(f"{profile_id}-{n}" for n in range(10)), profile_id=profile_id)
            app.complete(profile_id)

        removed = app.removed(after=3)

        assert [sum(id_.startswith(f"{p}-") for id_ in removed) for p in (0, 1, 2)] == [5, 5, 5]
        assert app.removed(after=1) == ()

    def test_keeps_the_target(self) -> None:
        app = Application(5, 12, 5)
        app.submit(0, tasks=8)
        app.register(*range(1, 6))
        for index in range(5):
            app.start(0, index, on=str(index + 1))
        assert [app.add(), app.add()] == [1, 2]
        app.register(6, 7, 8)
        for index in range(5, 8):
            app.start(0, index, on=str(index + 1))
        assert app.removed(after=10) == ()

        app.end(0, 0, on="1")
        app.end(0, 1, on="2")
        app.end(0, 2, on="3")
        app.tick()
        assert app.target() == 5
        assert app.removed(after=3) == ("1", "2", "3")

        app.end(0, 3, on="4")
        result = app.tick(after=3)
        assert (app.need(), app.target()) == (4, 5)
        assert result.removals == {RemovalOutcome.KEPT_MIN_EXECUTORS: ("4",)}
        assert result.decisions[DEFAULT_PROFILE_ID].reason is TargetReason.FLOOR_MIN

    def test_the_target_also_holds_above_the_minimum(self) -> None:
        app = Application(0, 10, 0)
        app.submit(0, tasks=4)
        app.tick(after=1)
        app.tick(after=2)
        app.tick(after=2)
        app.register(1, 2, 3, 4)

        result = app.tick(after=3)

        assert result.removals == {RemovalOutcome.KEPT_TARGET: ("1", "2", "3", "4")}

    def test_each_profile_is_held_by_its_own_target(self) -> None:
        app = Application(0, 10, 0)
        app.add_profile(profile(1))
        app.submit(0, tasks=4)
        app.manager.restore_targets({DEFAULT_PROFILE_ID: 4, ProfileId(1): 0})
        app.register("needed", profile_id=0)
        app.register("spare", profile_id=1)

        assert app.tick(after=3).removals == {
            RemovalOutcome.KEPT_TARGET: ("needed",),
            RemovalOutcome.REMOVED: ("spare",),
        }

    def test_the_loop_removes_what_is_idle(self) -> None:
        app = Application(1, 20, 1)
        app.register(1, 2, 3)
        assert app.removed(after=1.5) == ()
        assert app.removed(after=1.6) == ("1", "2")
        assert app.monitor.pending_removal_count() == 2

        app.submit(0, tasks=1000)
        app.register(4, 5, 6, 7)
        app.start(0, 1, on="4")
        app.start(0, 2, on="5")
        app.start(0, 3, on="6")
        app.complete(0)
        app.manager.on_scheduler_queue_empty()
        assert app.removed() == ("3",)
        assert app.removed(after=3.1) == ("7",)
        assert app.monitor.pending_removal_count() == 4

        app.end(0, 1, on="4")
        app.end(0, 2, on="5")
        app.end(0, 3, on="6")
        assert app.removed() == ()
        assert app.removed(after=3.1) == ("4", "5")
        assert app.monitor.pending_removal_count() == 6

    def test_decommissions_when_that_is_enabled(self) -> None:
        app = Application(1, 20, 1, decommission_enabled=True)
        app.register(1, 2, 3)

        app.tick(after=3)

        assert app.cluster.decommissioned == [("1", "2")]
        assert app.cluster.killed == []
        assert app.monitor.decommissioning_count() == 2
        assert app.monitor.pending_removal_count() == 0

    def test_publishes_the_targets_again_after_a_removal(self) -> None:
        """SPARK-21834."""
        app = Application(1, 20, 1)
        app.register(1, 2)
        published = len(app.cluster.totals)

        app.tick(after=3)

        assert app.cluster.totals[published:] == [{0: 1}]

    def test_an_executor_that_is_not_granted_is_tried_again(self) -> None:
        app = Application(1, 20, 1)
        app.register(1, 2)
        app.cluster.grants_removals = False
        result = app.tick(after=3)
        assert result.removals[RemovalOutcome.NOT_GRANTED] == ("1",)
        assert any(line.level is LogLevel.WARNING for line in result.log)

        app.cluster.grants_removals = True

        assert app.removed(after=0.1) == ("1",)

    def test_unschedulable_tasks_release_their_executors_in_the_end(self) -> None:
        app = Application(0, 6, 0, cores=2)
        app.submit(0, tasks=10)
        assert [app.add() for _ in range(4)] == [1, 2, 2, 0]
        app.register(*range(5))
        for index in range(10):
            app.start(0, index, on=str(index // 2))
        for index in range(8):
            app.end(0, index, on=str(index // 2))
        app.tick()
        assert (app.need(), app.target()) == (1, 1)
        assert app.removed(after=3) == ("0", "1", "2", "3")
        app.lose(0, 1, 2, 3)

        app.unschedulable(0)
        app.tick(after=1)
        assert (app.need(), app.target()) == (2, 2)
        app.register(5)
        app.schedulable(0)
        app.tick()
        assert (app.need(), app.target()) == (1, 1)

        app.end(0, 8, 9, on="4")
        app.complete(0)
        app.tick()
        assert (app.need(), app.target()) == (0, 0)
        assert app.removed(after=3) == ("4", "5")

    def test_a_profile_without_a_target_is_judged_by_the_minimum(self) -> None:
        app = Application(1, 5, 1)
        app.register("a", "b", profile_id=3)

        assert app.tick(after=3).removals == {
            RemovalOutcome.REMOVED: ("a",),
            RemovalOutcome.KEPT_MIN_EXECUTORS: ("b",),
        }

    def test_without_a_minimum_nothing_keeps_executors_of_a_profile_without_a_target(self) -> None:
        app = Application(0, 5, 0)
        app.register("a", "b", profile_id=3)

        assert app.removed(after=3) == ("a", "b")

    def test_an_executor_of_an_unknown_profile_is_kept(self) -> None:
        app = Application(0, 5, 0)
        app.submit(0, tasks=1)
        app.start(0, 0, on="early")
        app.end(0, 0, on="early")
        app.complete(0)

        result = app.tick(after=3)

        assert result.removals == {RemovalOutcome.KEPT_UNKNOWN_PROFILE: ("early",)}
        assert (result.log[-1].level, result.log[-1].message) == (
            LogLevel.WARNING,
            "Not removing executor early because the ResourceProfile was UNKNOWN!",
        )


class TestRefusal:
    def test_a_refused_target_falls_back_but_not_the_step(self) -> None:
        app = Application(0, 10, 0)
        app.submit(0, tasks=10)
        app.add()
        add_time = app.manager.add_time
        app.cluster.acknowledges = False

        result = app.tick(after=2)

        assert result.decisions[DEFAULT_PROFILE_ID].reason is TargetReason.REFUSED
        assert (app.target(), app.to_add(), app.manager.add_time) == (1, 2, add_time)
        app.cluster.acknowledges = True
        assert app.tick(after=0.1).delta == 2

    def test_a_lost_request_counts_as_refused(self) -> None:
        app = Application(0, 10, 0)
        app.submit(0, tasks=10)
        app.cluster.reachable = False

        result = app.tick(after=1)

        assert app.target() == 0
        assert [line.level for line in result.log] == [LogLevel.INFO, LogLevel.WARNING]

    def test_a_profile_that_nobody_described_keeps_its_target(self) -> None:
        app = Application(0, 10, 2)
        app.submit(0, tasks=1, profile_id=9)
        app.submit(1, tasks=3)

        result = app.tick(after=1)

        assert result.decisions[ProfileId(9)].reason is TargetReason.UNKNOWN_PROFILE
        assert app.manager.targets == {0: 3, 9: 2}

    def test_nothing_is_requested_for_a_profile_that_nobody_described(self) -> None:
        app = Application(0, 10, 2)
        app.submit(0, tasks=1, profile_id=9)
        app.tick(after=1)
        published = len(app.cluster.totals)

        result = app.tick(after=2)

        assert result.decisions[ProfileId(9)].delta == 0
        assert result.log == ()
        assert len(app.cluster.totals) == published

    def test_a_lost_removal_is_not_marked(self) -> None:
        app = Application(1, 5, 2)
        app.submit(0, tasks=1)
        app.complete(0)
        app.tick()
        app.register(1, 2)
        app.cluster.reachable = False

        with pytest.raises(ClusterManagerUnreachable):
            app.tick(after=3)

        assert app.monitor.pending_removal_count() == 0


class TestExplanations:
    def test_growth_is_told_in_sparks_words(self) -> None:
        app = Application(0, 10, 0)
        app.submit(0, tasks=10)
        sentence = "Requesting {} because tasks are backlogged (new desired total will be {} for resource profile id: 0)"

        (one,) = app.tick(after=1).log
        (two,) = app.tick(after=2).log

        assert one.message == sentence.format("1 new executor", 1)
        assert two.message == sentence.format("2 new executors", 3)
        assert one.level is LogLevel.INFO

    def test_a_fall_is_told_in_sparks_words(self) -> None:
        app = Application(0, 10, 3)
        app.submit(0, tasks=1)

        (line,) = app.tick().log

        assert line.level is LogLevel.DEBUG
        assert line.message == (
            "Lowering target number of executors to 1 (previously 3 for resource profile id: 0) because not all "
            "requested executors are actually needed"
        )

    def test_a_refusal_is_told_in_sparks_words(self) -> None:
        app = Application(0, 10, 0)
        app.submit(0, tasks=10)
        app.cluster.reachable = False

        log = app.tick(after=1).log

        assert [(line.level, line.message) for line in log] == [
            (LogLevel.INFO, "Error reaching cluster manager."),
            (
                LogLevel.WARNING,
                "Unable to reach the cluster manager to request more executors!",
            ),
        ]

    def test_removals_are_told_in_sparks_words(self) -> None:
        app = Application(0, 5, 0)
        app.register(1, 2)
        app.cluster.grants_removals = False
        (refused,) = app.tick(after=3).log
        app.cluster.grants_removals = True
        (removed,) = app.tick().log

        assert (refused.level, refused.message) == (
            LogLevel.WARNING,
            "Unable to reach the cluster manager to kill executor/s 1,2 or no executor eligible to kill!",
        )
        assert (removed.level, removed.message) == (
            LogLevel.INFO,
            "Executors 1,2 removed due to idle timeout.",
        )

    def test_a_decision_tells_its_profile_and_the_next_step(self) -> None:
        app = Application(0, 10, 0)
        app.add_profile(profile(1))
        app.submit(0, tasks=10)
        app.submit(1, tasks=10, profile_id=1)
        app.tick(after=1)
        app.manager.max_needed_override = {ProfileId(1): 0}

        decisions = app.tick(after=2).decisions

        told = [(each.profile_id, each.target, each.to_add) for each in decisions.values()]
        assert told == [(0, 3, 4), (1, 0, 1)]

    def test_every_state_has_its_reason(self) -> None:
        app = Application(1, 3, 1)

        def reason(after: float = 0) -> TargetReason:
            return app.tick(after).decisions[DEFAULT_PROFILE_ID].reason

        assert reason() is TargetReason.INITIALIZING
        app.submit(0, tasks=9)
        assert reason() is TargetReason.WAITING_BACKLOG_TIMEOUT
        assert reason(after=1) is TargetReason.BACKLOG
        assert reason(after=1) is TargetReason.WAITING_SUSTAINED_BACKLOG_TIMEOUT
        assert reason(after=1) is TargetReason.CAPPED_BY_MAX
        app.start(0, *range(9))
        app.end(0, *range(6))
        assert reason() is TargetReason.SATISFIED
        app.end(0, 6)
        assert reason() is TargetReason.NOT_NEEDED
        app.end(0, 7, 8)
        assert reason() is TargetReason.FLOOR_MIN

    def test_running_tasks_alone_do_not_make_a_backlog(self) -> None:
        app = Application(0, 5, 0)
        app.submit(0, tasks=2)
        app.start(0, 0, 1)

        assert app.tick(after=5).decisions[DEFAULT_PROFILE_ID].reason is TargetReason.NO_BACKLOG


class TestReset:
    def test_returns_to_the_initial_targets_without_executors(self) -> None:
        app = Application(1, 5, 1)
        app.submit(0, tasks=10)
        assert [app.add(), app.add(), app.add()] == [1, 2, 1]
        app.register(1, 2, 3)

        app.manager.reset()

        assert (app.target(), app.to_add(), app.manager.add_time) == (1, 1, 0)
        assert app.monitor.executor_count() == 0
        assert app.removed(after=10) == ()


class TestImmediateRampUp:
    """Ours: Spark's steps double."""

    def test_the_target_is_the_need_in_the_first_round(self) -> None:
        app = Application(0, 20, 0, immediate_ramp_up=True)
        app.submit(0, tasks=13)

        assert app.target() == 0, "not before the backlog timeout"
        app.add()

        assert app.target() == 13

    def test_bounds_hold_as_ever(self) -> None:
        app = Application(0, 8, 0, immediate_ramp_up=True)
        app.submit(0, tasks=13)

        app.add()

        assert app.target() == 8


class TestReconfiguration:
    """Ours: Spark's settings are fixed at start."""

    @staticmethod
    def change(app: Application, **settings: int) -> None:
        conf = DynamicAllocationConf(
            **{
                "min_executors": 0,
                "initial_executors": settings.get("min_executors", 0),
                "max_executors": 20,
                "shuffle_service_enabled": True,
                **settings,
            }
        )
        app.manager.reconfigure(conf, app.now_ns)

    def test_a_lower_maximum_lowers_the_target(self) -> None:
        app = Application(0, 20, 0)
        app.submit(0, tasks=1000)
        for _ in range(4):
            app.add()
        assert app.target() == 15

        self.change(app, max_executors=6)
        result = app.tick()

        assert app.target() == 6
        assert app.cluster.totals[-1] == {0: 6}
        assert result.decisions[DEFAULT_PROFILE_ID].need == 1000

    def test_a_higher_minimum_raises_the_target_even_while_initializing(self) -> None:
        app = Application(0, 20, 0)

        self.change(app, min_executors=4)
        result = app.tick()

        assert app.target() == 4
        assert result.decisions[DEFAULT_PROFILE_ID].reason is TargetReason.BOUNDS_CHANGED
        assert app.manager.initializing

    def test_a_refused_change_is_tried_again(self) -> None:
        app = Application(0, 20, 0)
        self.change(app, min_executors=4)
        app.cluster.acknowledges = False
        app.tick()
        assert app.target() == 0

        app.cluster.acknowledges = True
        app.tick()

        assert app.target() == 4

    def test_a_higher_maximum_lets_a_backlog_grow_on(self) -> None:
        app = Application(0, 3, 0)
        app.submit(0, tasks=1000)
        for _ in range(4):
            app.add()
        assert app.target() == 3

        self.change(app, max_executors=100)

        assert [app.add(), app.add()] == [1, 2]

    def test_a_shorter_idle_timeout_counts_from_the_idle_start(self) -> None:
        app = Application(0, 20, 0, executor_idle_timeout_s=600)
        app.register(1)
        assert app.removed(after=30) == ()

        self.change(app, executor_idle_timeout_s=20)

        assert app.removed() == ("1",)


class TestRestoredTargets:
    """Ours: an operator that starts again goes on where the last one stopped."""

    def test_the_initial_executors_are_not_asked_for_again(self) -> None:
        app = Application(0, 10, 5)
        app.manager.restore_targets({DEFAULT_PROFILE_ID: 2, ProfileId(1): 3})
        app.add_profile(profile(1))
        assert app.manager.targets == {0: 2, 1: 3}

        app.submit(0, tasks=4, profile_id=1)
        app.tick()

        assert app.manager.targets == {0: 0, 1: 3}

    def test_the_first_tick_judges_by_the_need_without_waiting_for_a_stage(self) -> None:
        app = Application(0, 10, 5)

        app.manager.restore_targets({DEFAULT_PROFILE_ID: 4})

        assert app.manager.initializing is False
        assert app.tick().decisions[DEFAULT_PROFILE_ID].reason is TargetReason.NOT_NEEDED
        assert app.target() == 0

    def test_a_restored_profile_grows_from_one_executor_again(self) -> None:
        app = Application(0, 10, 0)
        app.add_profile(profile(2))

        app.manager.restore_targets({ProfileId(2): 3})

        assert app.manager.to_add == {0: 1, 2: 1}

    def test_bounds_that_changed_in_between_hold(self) -> None:
        app = Application(0, 10, 0)
        app.submit(0, tasks=100)

        app.manager.restore_targets({DEFAULT_PROFILE_ID: 50})
        app.tick()

        assert app.target() == 10


class TestOwnBoundsOfAProfile:
    """Ours: in Spark all profiles share the bounds."""

    def test_each_profile_has_its_floor_and_cap(self) -> None:
        overrides = {
            ProfileId(1): ProfileOverrides(min_executors=2, initial_executors=3, max_executors=4)
        }
        app = Application(0, 10, 0, overrides=overrides)
        app.add_profile(profile(1))
        app.submit(0, tasks=50)
        app.submit(1, tasks=50, profile_id=1)
        assert app.manager.targets == {0: 0, 1: 3}

        for _ in range(6):
            app.tick(after=2)
        assert app.manager.targets == {0: 10, 1: 4}

        app.complete(0)
        app.complete(1)
        app.tick()
        assert app.manager.targets == {0: 0, 1: 2}

    def test_the_default_profile_may_have_its_own_initial_number(self) -> None:
        overrides = {DEFAULT_PROFILE_ID: ProfileOverrides(initial_executors=3)}
        app = Application(0, 10, 1, overrides=overrides)
        assert app.cluster.totals == [{0: 3}]

        app.submit(0, tasks=10)
        app.add()
        assert app.target() == 4
        app.manager.reset()

        assert app.target() == 3

    def test_removals_keep_the_profiles_own_minimum(self) -> None:
        overrides = {ProfileId(1): ProfileOverrides(min_executors=2)}
        app = Application(0, 10, 0, overrides=overrides)
        app.register("a", "b", "c", profile_id=1)

        assert app.tick(after=3).removals == {
            RemovalOutcome.REMOVED: ("a",),
            RemovalOutcome.KEPT_MIN_EXECUTORS: ("b", "c"),
        }

    def test_new_bounds_of_one_profile_move_its_target_alone(self) -> None:
        app = Application(0, 10, 4)
        app.add_profile(profile(1))
        app.submit(0, tasks=4)
        app.submit(1, tasks=4, profile_id=1)

        app.manager.reconfigure(
            replace(app.conf, overrides={ProfileId(1): ProfileOverrides(max_executors=2)}),
            app.now_ns,
        )
        result = app.tick()

        assert app.manager.targets == {0: 4, 1: 2}
        assert result.decisions[ProfileId(1)].reason is TargetReason.BOUNDS_CHANGED


def test_whole_workloads_drive_the_same_manager() -> None:
    """A polled driver: no events, but values and hooks."""
    app = Application(0, 10, 0)
    manager = app.manager
    manager.workload = ReportedWorkload({DEFAULT_PROFILE_ID: ProfileWorkload(pending=4, running=1)})
    manager.on_stage_submitted(DEFAULT_PROFILE_ID, app.now_ns)
    manager.on_scheduler_backlogged(app.now_ns)

    assert [app.tick(after).targets[DEFAULT_PROFILE_ID] for after in (1, 2, 2)] == [1, 3, 5]

    manager.workload = ReportedWorkload({DEFAULT_PROFILE_ID: ProfileWorkload(running=2)})
    manager.on_scheduler_queue_empty()
    assert app.tick(after=1).targets == {0: 2}
    manager.workload = ReportedWorkload()
    assert app.tick(after=1).targets == {0: 0}
