"""When executors are idle, what holds them, and when they time out: Spark's ExecutorMonitorSuite restated, and ours."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.strategies import monitor_operations

from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf, ProfileOverrides
from spark_allocation.core.executor_monitor import ExecutorMonitor, RemovalCounters
from spark_allocation.core.executor_tracker import ExecutorView, HeldBy
from spark_allocation.core.resource_profiles import (
    DEFAULT_PROFILE_ID,
    UNKNOWN_PROFILE_ID,
    ProfileId,
)
from spark_allocation.core.spark_conf import LONG_MAX, SECOND

RDD = 7
OTHER_PROFILE = ProfileId(1)


class Monitor(ExecutorMonitor):
    """A monitor in seconds: idle 60 s, cached 120 s, shuffle 240 s."""

    def __init__(self, **settings: object) -> None:
        defaults: dict[str, object] = {
            "executor_idle_timeout_s": 60,
            "cached_executor_idle_timeout_s": 120,
            "shuffle_tracking_timeout_ms": 240_000,
        }
        self.conf = DynamicAllocationConf(**{**defaults, **settings})  # type: ignore[arg-type]
        self.inactive: set[str] = set()
        super().__init__(self.conf, lambda executor_id: executor_id not in self.inactive)

    def add(self, *executors: str, at: int = 0, profile_id: int = 0) -> None:
        for executor in executors:
            self.executor_added(executor, ProfileId(profile_id), at * SECOND)

    def start(self, executor: str, at: int = 0) -> None:
        self.task_started(executor, at * SECOND)

    def end(self, executor: str, at: int = 0, *, stage: int = 0, succeeded: bool = True) -> None:
        self.task_ended(executor, stage, at * SECOND, succeeded=succeeded)

    def cache(
        self, executor: str, split: int = 0, *, rdd: int = RDD, on_disk: bool = False
    ) -> None:
        self.rdd_block_updated(executor, rdd, split, stored=True, on_disk=on_disk)

    def drop(self, executor: str, split: int = 0, *, rdd: int = RDD) -> None:
        self.rdd_block_updated(executor, rdd, split, stored=False, on_disk=False)

    def due(self, at: int) -> list[str]:
        return [executor for executor, _ in self.timed_out_executors(at * SECOND)]

    def idle(self, executor: str) -> bool:
        return self.view(executor).idle

    def view(self, executor: str) -> ExecutorView:
        view = self.executor(executor)
        assert view is not None
        return view


def test_a_registered_executor_is_idle_and_times_out() -> None:
    monitor = Monitor()
    monitor.add("1")

    assert monitor.idle("1")
    assert monitor.executor_count(DEFAULT_PROFILE_ID) == 1
    assert monitor.due(59) == []
    assert monitor.due(60) == ["1"]


def test_only_tracked_executors_are_known() -> None:
    monitor = Monitor()
    monitor.add("1")

    assert monitor.view("1").id == "1"
    assert monitor.executor("2") is None


def test_without_an_idle_timeout_an_executor_is_due_when_it_becomes_idle() -> None:
    monitor = Monitor(executor_idle_timeout_s=0)
    monitor.add("1")

    assert monitor.due(0) == ["1"]


class TestOutOfOrder:
    """SPARK-4951, SPARK-26927, SPARK-37688."""

    def test_a_task_may_start_before_its_executor_registers(self) -> None:
        monitor = Monitor()
        monitor.start("1")
        assert monitor.executor_count(UNKNOWN_PROFILE_ID) == 1

        monitor.add("1", profile_id=1)

        assert monitor.executor_count(UNKNOWN_PROFILE_ID) == 0
        assert monitor.executor_count(OTHER_PROFILE) == 1
        assert not monitor.idle("1")

    @pytest.mark.parametrize(
        "arrives",
        [
            lambda monitor: monitor.cache("1"),
            lambda monitor: monitor.shuffle_block_added("1", 3),
            lambda monitor: monitor.other_block_updated("1"),
        ],
        ids=["cached block", "migrated shuffle block", "other block"],
    )
    def test_a_block_may_arrive_before_its_executor_registers(
        self, arrives: Callable[[Monitor], None]
    ) -> None:
        monitor = Monitor()
        arrives(monitor)
        assert monitor.executor_count(UNKNOWN_PROFILE_ID) == 1

        monitor.add("1", profile_id=1)

        assert monitor.remaining_counts() == {OTHER_PROFILE: 1}

    def test_a_late_registration_adds_to_those_of_its_profile(self) -> None:
        monitor = Monitor()
        monitor.add("1", "2", profile_id=1)
        monitor.start("3")
        monitor.start("3")
        assert monitor.remaining_counts() == {OTHER_PROFILE: 2, UNKNOWN_PROFILE_ID: 1}

        monitor.add("3", profile_id=1)

        assert monitor.remaining_counts() == {OTHER_PROFILE: 3}

    def test_the_first_registration_decides_the_profile(self) -> None:
        monitor = Monitor()
        monitor.add("1", profile_id=1)

        monitor.add("1", profile_id=2)

        assert monitor.view("1").profile_id == OTHER_PROFILE
        assert monitor.remaining_counts() == {OTHER_PROFILE: 1}

    def test_a_late_start_does_not_bring_an_executor_back(self) -> None:
        monitor = Monitor()
        monitor.add("1")
        monitor.executor_removed("1", "lost")
        monitor.inactive.add("1")

        monitor.start("1")
        monitor.cache("1")
        monitor.shuffle_block_added("1", 3)
        monitor.other_block_updated("1")

        assert monitor.executor_count() == 0


def test_overlapping_tasks_keep_an_executor_busy() -> None:
    monitor = Monitor()
    monitor.add("1")
    monitor.start("1", at=10)
    monitor.start("1", at=11)
    monitor.end("1", at=12)
    assert not monitor.idle("1")

    monitor.end("1", at=100)

    assert monitor.idle("1")
    assert monitor.due(159) == []
    assert monitor.due(160) == ["1"]


def test_an_end_without_a_start_restarts_the_idle_time() -> None:
    monitor = Monitor()
    monitor.add("1")

    monitor.end("1", at=30)

    assert monitor.due(60) == []
    assert monitor.due(90) == ["1"]


class TestCachedBlocks:
    def test_hold_an_executor_longer(self) -> None:
        monitor = Monitor()
        monitor.add("1")
        monitor.cache("1")
        assert monitor.due(60) == []
        assert monitor.due(120) == ["1"]

        monitor.drop("1")
        assert monitor.due(61) == ["1"]

        monitor.start("1", at=130)
        assert not monitor.idle("1")
        monitor.cache("1")
        assert monitor.due(10_000) == []

    def test_of_several_rdds_the_last_one_counts(self) -> None:
        monitor = Monitor()
        monitor.add("1")
        monitor.cache("1", 0, rdd=1)
        monitor.cache("1", 1, rdd=1)
        monitor.cache("1", 0, rdd=2)
        monitor.drop("1", 0, rdd=1)
        monitor.drop("1", 1, rdd=1)
        monitor.drop("1", 9, rdd=3)
        assert monitor.due(60) == []

        monitor.rdd_unpersisted(2)

        assert monitor.due(60) == ["1"], "counted from the original idle start"

    def test_on_several_executors(self) -> None:
        monitor = Monitor()
        monitor.add("1")
        monitor.add("2", at=30)
        monitor.cache("2")
        monitor.add("3", at=60)
        monitor.cache("3")
        assert monitor.due(60) == ["1"]

        monitor.drop("3")
        assert monitor.due(140) == ["1", "3"]
        assert monitor.due(150) == ["1", "2", "3"]

    @pytest.mark.parametrize(("from_service", "cached"), [(False, True), (True, False)])
    def test_spark_27677_blocks_that_a_service_can_serve_do_not_count(
        self, from_service: bool, cached: bool
    ) -> None:
        monitor = Monitor(
            shuffle_service_enabled=True, shuffle_service_fetch_rdd_enabled=from_service
        )
        monitor.add("1")
        monitor.cache("1", on_disk=True)

        assert (monitor.due(60) == []) == cached
        monitor.cache("1", on_disk=False)
        assert monitor.due(60) == []


def test_the_order_is_that_of_the_ids_as_text() -> None:
    """SPARK-38019."""
    monitor = Monitor()
    monitor.add("2", "10", "1")

    assert monitor.due(60) == ["1", "10", "2"]


def test_executors_that_are_being_removed_are_not_listed() -> None:
    monitor = Monitor()
    monitor.add("1", "2")
    monitor.add("3", profile_id=1)
    assert monitor.due(60) == ["1", "2", "3"]

    monitor.executors_killed(["1", "unknown"])
    assert monitor.due(60) == ["2", "3"]
    assert monitor.due(61) == ["2", "3"]
    monitor.start("2", at=62)
    assert monitor.due(62) == ["3"]
    monitor.executors_decommissioned(["3"])
    assert monitor.due(63) == []

    assert monitor.pending_removal_count() == 1
    assert monitor.pending_removal_count(OTHER_PROFILE) == 0
    assert monitor.decommissioning_count(OTHER_PROFILE) == 1
    monitor.end("2", at=70)
    assert monitor.due(129) == []
    assert monitor.due(130) == ["2"]
    assert monitor.remaining_counts() == {0: 1, 1: 0}


@pytest.mark.parametrize("decommission", [True, False])
def test_a_removal_that_did_not_happen_can_be_taken_back(decommission: bool) -> None:
    monitor = Monitor()
    monitor.add("1")
    mark = monitor.executors_decommissioned if decommission else monitor.executors_killed
    mark(["1"])
    assert monitor.due(60) == []

    monitor.executors_kept(["1", "unknown"])

    assert monitor.due(60) == ["1"]
    assert monitor.remaining_counts() == {0: 1}


class TestShuffle:
    def test_data_of_a_running_job_holds_an_executor(self) -> None:
        monitor = Monitor()
        monitor.job_started(1, [(1, 0)])
        monitor.job_started(2, [(2, 1)])
        monitor.add("1")
        monitor.start("1")
        monitor.end("1", stage=1, succeeded=False)
        assert monitor.idle("1"), "a failed task leaves no data"

        monitor.start("1")
        monitor.end("1", stage=1)
        monitor.start("1")
        monitor.end("1", stage=2)
        assert not monitor.idle("1")
        assert monitor.due(10_000) == []

        monitor.job_ended(1)
        assert monitor.due(10_000) == []
        monitor.job_ended(2)
        assert monitor.due(239) == []
        assert monitor.due(240) == ["1"]

        monitor.job_started(3, [(3, 1)])
        assert monitor.due(240) == []
        monitor.job_ended(3)
        monitor.shuffle_cleaned(0)
        assert monitor.due(239) == []
        monitor.shuffle_cleaned(1)
        assert monitor.due(60) == ["1"]

    def test_each_executor_is_held_by_its_own_jobs(self) -> None:
        monitor = Monitor()
        monitor.job_started(1, [(1, 0)])
        monitor.job_started(2, [(2, 1)])
        for executor, stage in (("1", 1), ("2", 2)):
            monitor.add(executor)
            monitor.start(executor)
            monitor.end(executor, stage=stage)

        monitor.job_ended(1)
        assert monitor.due(240) == ["1"]
        monitor.job_ended(2)
        assert monitor.due(240) == ["1", "2"]
        monitor.shuffle_cleaned(0)
        monitor.shuffle_cleaned(1)
        assert monitor.due(60) == ["1", "2"]

    def test_spark_28455_forever_does_not_overflow(self) -> None:
        monitor = Monitor(shuffle_tracking_timeout_ms=LONG_MAX)
        monitor.add("1", at=1)
        monitor.shuffle_block_added("1", 0)
        monitor.job_started(1, [(1, 0)])
        monitor.job_ended(1)

        assert monitor.due(2**31) == []

    def test_spark_28839_is_not_tracked_with_a_shuffle_service(self) -> None:
        monitor = Monitor(shuffle_service_enabled=True)
        monitor.job_started(1, [(1, 0)])
        monitor.add("1")
        monitor.start("1")
        monitor.end("1", stage=1)
        monitor.shuffle_block_added("1", 0)
        monitor.shuffle_cleaned(0)
        monitor.job_ended(1)

        assert monitor.due(60) == ["1"]

    @pytest.mark.parametrize(("tracking", "due"), [(True, 240), (False, 120)])
    def test_spark_43398_the_longest_timeout_counts(self, tracking: bool, due: int) -> None:
        monitor = Monitor(shuffle_tracking_enabled=tracking, decommission_enabled=True)
        monitor.job_started(1, [(1, 0)])
        monitor.add("1")
        monitor.start("1")
        monitor.end("1", stage=1)
        monitor.cache("1")
        monitor.job_ended(1)

        assert monitor.due(due - 1) == []
        assert monitor.due(due) == ["1"]

    def test_a_job_without_shuffle_releases_nothing(self) -> None:
        """As in Spark: only a shuffle that loses its last job makes the monitor look."""
        monitor = Monitor()
        monitor.add("1")
        monitor.shuffle_block_added("1", 5)
        monitor.job_started(1, [])

        monitor.job_ended(1)

        assert monitor.due(240) == []

    def test_a_shuffle_that_no_known_job_has_used_holds_nobody_when_a_job_brings_it(self) -> None:
        """As in Spark: only the reuse of a shuffle by a later job wakes its holders."""
        monitor = Monitor()
        monitor.add("1")
        monitor.shuffle_block_added("1", 5)
        monitor.job_started(1, [(1, 0)])
        monitor.job_ended(1)
        assert monitor.due(240) == ["1"]

        monitor.job_started(2, [(2, 5)])

        assert monitor.due(240) == ["1"]

    def test_a_shuffle_that_was_cleaned_belongs_to_no_job_any_more(self) -> None:
        monitor = Monitor()
        monitor.job_started(1, [(1, 0)])
        monitor.job_started(2, [(2, 1)])
        monitor.shuffle_cleaned(0)
        monitor.add("1")
        monitor.shuffle_block_added("1", 0)
        assert monitor.due(240) == []

        monitor.job_ended(2)

        assert monitor.due(240) == ["1"], "job 1 still runs, but its shuffle is gone"

    def test_a_task_that_ends_after_its_job_leaves_no_data(self) -> None:
        monitor = Monitor()
        monitor.job_started(1, [(1, 0)])
        monitor.add("1")
        monitor.start("1")
        monitor.job_ended(1)

        monitor.end("1", stage=1)

        assert monitor.due(60) == ["1"]

    def test_jobs_may_share_a_stage(self) -> None:
        monitor = Monitor()
        monitor.job_started(1, [(1, 0)])
        monitor.job_started(2, [(1, 0)])
        monitor.add("1")
        monitor.start("1")
        monitor.end("1", stage=1)

        monitor.job_ended(1)
        assert monitor.due(240) == []
        monitor.job_ended(2)
        assert monitor.due(240) == ["1"]

    def test_a_migrated_block_is_noticed_at_the_next_scan_only(self) -> None:
        """As in Spark: an executor that is on the list already stays on it."""
        monitor = Monitor()
        monitor.add("1", "2")
        assert monitor.due(60) == ["1", "2"]

        monitor.shuffle_block_added("1", 0)
        assert monitor.due(60) == ["1", "2"]

        monitor.executor_removed("2", "lost")
        assert monitor.due(60) == []


class TestCounters:
    @pytest.mark.parametrize(
        ("mark", "reason", "counted"),
        [
            ("", "lost", RemovalCounters(exited_unexpectedly=1)),
            ("killed", "lost", RemovalCounters(driver_killed=1)),
            ("decommissioned", "lost", RemovalCounters(decommission_unfinished=1)),
            (
                "decommissioned",
                "Finished decommissioning",
                RemovalCounters(gracefully_decommissioned=1),
            ),
            (
                "",
                "Executor decommission: spark scale down",
                RemovalCounters(gracefully_decommissioned=1),
            ),
        ],
    )
    def test_each_removal_is_counted_once(
        self, mark: str, reason: str, counted: RemovalCounters
    ) -> None:
        monitor = Monitor()
        monitor.add("1")
        if mark == "killed":
            monitor.executors_killed(["1"])
        if mark == "decommissioned":
            monitor.executors_decommissioned(["1"])

        monitor.executor_removed("1", reason)
        monitor.executor_removed("1", reason)

        assert monitor.counters == counted
        assert monitor.executor_count(DEFAULT_PROFILE_ID) == 0

    def test_removals_add_up(self) -> None:
        monitor = Monitor()
        for executor in ("1", "2"):
            monitor.add(*(f"{end}-{executor}" for end in ("done", "broken", "killed", "lost")))
            monitor.executors_decommissioned([f"done-{executor}", f"broken-{executor}"])
            monitor.executors_killed([f"killed-{executor}"])
            monitor.executor_removed(f"done-{executor}", "Finished decommissioning")
            for end in ("broken", "killed", "lost"):
                monitor.executor_removed(f"{end}-{executor}", "lost")

        assert monitor.counters == RemovalCounters(
            gracefully_decommissioned=2,
            decommission_unfinished=2,
            driver_killed=2,
            exited_unexpectedly=2,
        )


class TestObservation:
    """Ours: a driver that is polled shows numbers, not events."""

    def test_idle_time_runs_from_the_first_look_without_tasks(self) -> None:
        monitor = Monitor()
        monitor.add("1")
        monitor.observe_running_tasks("1", 2, 10 * SECOND)
        monitor.observe_running_tasks("1", 0, 20 * SECOND)
        monitor.observe_running_tasks("1", 0, 50 * SECOND)

        assert monitor.due(79) == []
        assert monitor.due(80) == ["1"]

    def test_work_between_two_looks_restarts_it(self) -> None:
        monitor = Monitor()
        monitor.add("1")
        monitor.observe_running_tasks("1", 0, 50 * SECOND, worked_since=True)

        assert monitor.due(60) == []
        assert monitor.due(110) == ["1"]

    def test_shuffle_of_a_running_job_takes_effect_at_once(self) -> None:
        monitor = Monitor()
        monitor.add("1")
        assert monitor.due(60) == ["1"]

        monitor.observe_shuffle("1", held=True, active=True)
        assert monitor.due(60) == []
        monitor.observe_shuffle("1", held=True, active=False)
        assert monitor.due(239) == []
        assert monitor.due(240) == ["1"]
        monitor.observe_shuffle("1", held=False, active=False)
        assert monitor.due(60) == ["1"]

    def test_what_is_not_tracked_is_left_alone(self) -> None:
        monitor = Monitor()
        monitor.observe_running_tasks("1", 1, 0)
        monitor.observe_cached_blocks("1", cached=True)
        monitor.observe_shuffle("1", held=True, active=True)

        assert monitor.executor_count() == 0

    def test_what_holds_an_executor_is_told(self) -> None:
        monitor = Monitor()
        monitor.add("1")

        def held() -> HeldBy:
            return monitor.view("1").held_by

        assert held() is HeldBy.NONE
        monitor.observe_cached_blocks("1", cached=True)
        assert held() is HeldBy.CACHE
        monitor.observe_shuffle("1", held=True, active=False)
        assert held() is HeldBy.SHUFFLE
        monitor.observe_cached_blocks("1", cached=False)
        monitor.observe_running_tasks("1", 1, 0)
        assert held() is HeldBy.NONE, "a busy executor is not held"

    def test_views_tell_since_when_and_until_when(self) -> None:
        monitor = Monitor()
        monitor.add("1", at=5)
        view = monitor.view("1")
        assert (view.idle_since_ns, view.timeout_at_ns) == (5 * SECOND, 65 * SECOND)

        monitor.observe_shuffle("1", held=True, active=True)
        view = monitor.view("1")
        assert (view.idle_since_ns, view.timeout_at_ns) == (5 * SECOND, None)

    def test_what_an_executor_no_longer_holds_keeps_it_no_longer(self) -> None:
        monitor = Monitor()
        monitor.add("1")
        monitor.observe_cached_blocks("1", cached=True)
        assert monitor.view("1").timeout_at_ns == 120 * SECOND
        monitor.observe_cached_blocks("1", cached=False)
        assert monitor.view("1").timeout_at_ns == 60 * SECOND

        monitor.observe_shuffle("1", held=True, active=False)
        assert monitor.view("1").timeout_at_ns == 240 * SECOND
        monitor.observe_shuffle("1", held=False, active=False)
        assert monitor.view("1").timeout_at_ns == 60 * SECOND

    def test_only_what_outlasts_the_idle_timeout_is_told_to_hold(self) -> None:
        monitor = Monitor(cached_executor_idle_timeout_s=60, shuffle_tracking_timeout_ms=30_000)
        monitor.add("1")
        monitor.observe_cached_blocks("1", cached=True)
        assert monitor.view("1").held_by is HeldBy.NONE

        monitor.observe_shuffle("1", held=True, active=False)
        assert monitor.view("1").held_by is HeldBy.NONE

        monitor.observe_shuffle("1", held=True, active=True)
        assert monitor.view("1").held_by is HeldBy.SHUFFLE, "a running job outlasts any timeout"

    def test_of_equally_long_holds_shuffle_is_told(self) -> None:
        monitor = Monitor(cached_executor_idle_timeout_s=240)
        monitor.add("1")
        monitor.observe_cached_blocks("1", cached=True)
        monitor.observe_shuffle("1", held=True, active=False)

        assert monitor.view("1").held_by is HeldBy.SHUFFLE

    def test_nothing_holds_an_empty_executor_however_short_the_idle_timeout(self) -> None:
        monitor = Monitor(executor_idle_timeout_s=0)
        monitor.add("1")

        assert monitor.view("1").held_by is HeldBy.NONE

    def test_views_tell_whether_it_works_is_held_or_leaves(self) -> None:
        monitor = Monitor()
        monitor.add("idle", "busy", "held", "killed", "leaving")
        monitor.observe_running_tasks("busy", 2, 0)
        monitor.observe_shuffle("held", held=True, active=True)
        monitor.executors_killed(["killed"])
        monitor.executors_decommissioned(["leaving"])

        told = {
            view.id: (
                view.idle,
                view.idle_since_ns,
                view.has_active_shuffle,
                view.pending_removal,
                view.decommissioning,
            )
            for view in monitor.executors()
        }

        assert told == {
            "idle": (True, 0, False, False, False),
            "busy": (False, None, False, False, False),
            "held": (False, 0, True, False, False),
            "killed": (True, 0, False, True, False),
            "leaving": (True, 0, False, False, True),
        }


class TestReconfiguration:
    def test_deadlines_count_from_the_idle_start(self) -> None:
        monitor = Monitor()
        monitor.add("1", "2")
        monitor.cache("2")
        monitor.reconfigure(
            DynamicAllocationConf(executor_idle_timeout_s=10, cached_executor_idle_timeout_s=20)
        )

        assert monitor.due(10) == ["1"]
        assert monitor.due(20) == ["1", "2"]

    def test_a_longer_timeout_takes_executors_off_the_list(self) -> None:
        monitor = Monitor()
        monitor.add("1")
        assert monitor.due(60) == ["1"]

        monitor.reconfigure(DynamicAllocationConf(executor_idle_timeout_s=100))

        assert monitor.due(61) == []

    def test_without_tracking_shuffle_no_longer_holds(self) -> None:
        monitor = Monitor()
        monitor.job_started(1, [(1, 0)])
        monitor.add("1")
        monitor.start("1")
        monitor.end("1", stage=1)

        monitor.reconfigure(DynamicAllocationConf(shuffle_service_enabled=True))

        assert monitor.due(60) == ["1"]

    def test_while_shuffle_stays_tracked_jobs_and_stages_stay_known(self) -> None:
        monitor = Monitor()
        monitor.job_started(1, [(1, 0)])
        monitor.add("1")
        monitor.start("1")

        monitor.reconfigure(DynamicAllocationConf(shuffle_tracking_timeout_ms=90_000))
        monitor.end("1", stage=1)
        assert monitor.due(240) == []

        monitor.job_ended(1)
        assert monitor.due(89) == []
        assert monitor.due(90) == ["1"]

    def test_what_was_known_of_shuffle_does_not_survive_a_time_without_tracking(self) -> None:
        monitor = Monitor()
        monitor.job_started(1, [(1, 0)])
        monitor.add("1")
        monitor.start("1")

        monitor.reconfigure(DynamicAllocationConf(shuffle_service_enabled=True))
        monitor.reconfigure(DynamicAllocationConf(shuffle_tracking_timeout_ms=90_000))
        monitor.end("1", stage=1)

        assert monitor.due(60) == ["1"]

    def test_a_profiles_own_timeouts_come_into_force(self) -> None:
        monitor = Monitor()
        monitor.add("1")
        monitor.add("2", profile_id=1)

        monitor.reconfigure(
            DynamicAllocationConf(
                overrides={OTHER_PROFILE: ProfileOverrides(executor_idle_timeout_s=5)}
            )
        )

        assert monitor.due(5) == ["2"]

    def test_a_registered_executor_has_its_profiles_timeouts_at_once(self) -> None:
        monitor = Monitor(overrides={OTHER_PROFILE: ProfileOverrides(executor_idle_timeout_s=5)})
        monitor.add("1")
        monitor.add("2", profile_id=1)

        assert monitor.due(5) == ["2"]

    def test_a_profile_may_have_its_own_timeouts(self) -> None:
        monitor = Monitor(overrides={OTHER_PROFILE: ProfileOverrides(executor_idle_timeout_s=5)})
        monitor.add("1")
        monitor.start("2")
        monitor.end("2")
        monitor.add("2", profile_id=1)

        assert monitor.due(5) == ["2"]


def test_nothing_is_scanned_before_something_can_be_due() -> None:
    monitor = Monitor()
    monitor.add("1")
    monitor.add("2", at=30)

    assert monitor.next_timeout_ns == 60 * SECOND
    monitor.due(60)
    assert monitor.next_timeout_ns == 90 * SECOND
    monitor.due(90)
    assert monitor.next_timeout_ns == LONG_MAX
    monitor.reset()
    assert monitor.due(100) == []


@given(st.lists(monitor_operations(), max_size=40))
def test_the_remembered_list_is_what_a_look_at_every_executor_gives(
    operations: list[tuple[str, str, int]],
) -> None:
    monitor = Monitor(
        executor_idle_timeout_s=2,
        cached_executor_idle_timeout_s=4,
        shuffle_tracking_timeout_ms=6000,
    )
    now = 0
    for name, executor, number in operations:
        match name:
            case "add":
                monitor.add(executor, at=now)
            case "start":
                monitor.start(executor, at=now)
            case "end":
                monitor.end(executor, at=now, stage=number)
            case "cache":
                monitor.cache(executor, number)
            case "drop":
                monitor.drop(executor, number)
            case "unpersist":
                monitor.rdd_unpersisted(RDD)
            case "remove":
                monitor.executor_removed(executor, "lost")
            case "kill":
                monitor.executors_killed([executor])
            case "job":
                monitor.job_started(number, [(number, number % 2)])
            case "job end":
                monitor.job_ended(number)
            case "clean":
                monitor.shuffle_cleaned(number)
            case "wait":
                now += number
        looked_at = [
            view.id
            for view in monitor.executors()
            if not view.pending_removal
            and view.timeout_at_ns is not None
            and view.timeout_at_ns <= now * SECOND
        ]
        assert monitor.due(now) == sorted(looked_at)
