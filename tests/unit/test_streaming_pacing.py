"""How fast a wanted number of executors is followed, and in which moments executors of a stream may leave."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.streaming_world import MONDAY

from spark_allocation.core.streaming.batch_gap import BatchBoundaries, BatchGap, GapVerdict
from spark_allocation.core.streaming.decisions import StreamingReason
from spark_allocation.core.streaming.freeze_windows import frozen_at
from spark_allocation.core.streaming.pacing import Paced, Pacing
from spark_allocation.core.streaming.settings import (
    FreezeWindow,
    Frozen,
    StepLimits,
    StreamingSettings,
)

HOUR = 3600.0
DAY = 24 * HOUR
WIDE = StepLimits(10.0, 100)
SETTINGS = StreamingSettings(
    stabilization_up_s=0,
    stabilization_down_s=100,
    stabilization_down_batches=0,
    cooldown_s=30,
    scale_down_interval_s=60,
    step_up=WIDE,
    step_down=StepLimits(1.0, 1),
)


class Followed:
    """A number that is followed each ten seconds."""

    def __init__(self, settings: StreamingSettings = SETTINGS, present: int = 10) -> None:
        self.pacing = Pacing(settings)
        self.now = 0.0
        self.present = present
        self.batches = 0
        self.wall_clock_s = MONDAY

    def want(
        self,
        wanted: int,
        *,
        rate: float | None = None,
        useless: bool = False,
        new: bool = False,
        steady: bool = False,
        starting: bool = False,
        after: float = 10.0,
    ) -> Paced:
        self.now += after
        self.batches += 1
        paced = self.pacing.follow(
            wanted,
            self.present,
            now=self.now,
            wall_clock_s=self.wall_clock_s + self.now,
            batches=self.batches,
            input_rate=rate,
            more_is_useless=useless,
            just_begun=new,
            steady=steady,
            starting=starting,
        )
        self.pacing.changed(self.present, paced.executors, now=self.now, input_rate=rate)
        self.present = paced.executors
        return paced

    def wait_for(self, wanted: int, **about: float) -> float:
        """Seconds until it is followed."""
        began = self.now
        while self.want(wanted, **about).executors != wanted:  # type: ignore[arg-type]
            assert self.now - began < 10_000
        return self.now - began


# -- windows ----------------------------------------------------------------------------------------------------------


def test_more_is_followed_at_once() -> None:
    assert Followed().want(15) == Paced(15, StreamingReason.SCALED_UP)


def test_fewer_are_followed_once_they_have_been_wanted_for_the_window() -> None:
    followed = Followed()
    assert followed.want(4) == Paced(10, StreamingReason.STABILIZING)
    assert followed.wait_for(4) == 100


def test_the_largest_number_of_the_window_is_followed() -> None:
    followed = Followed()
    for wanted in (4, 4, 8, 4, 4, 4, 4, 4, 4, 4):
        followed.want(wanted)
    assert followed.want(4) == Paced(8, StreamingReason.SCALED_DOWN)


def test_a_restart_shortens_no_window() -> None:
    followed = Followed()
    assert followed.wait_for(2) == 110, "what was wanted before is taken to be what there was"


def test_more_waits_for_its_window_when_it_has_one() -> None:
    followed = Followed(replace(SETTINGS, stabilization_up_s=60))
    assert followed.want(15).reason is StreamingReason.STABILIZING
    assert followed.wait_for(15) == 60


def test_a_window_has_some_batches_in_it_however_long_these_are() -> None:
    followed = Followed(replace(SETTINGS, stabilization_down_batches=5))
    found = [followed.want(4, after=200.0).executors for _ in range(7)]
    assert found == [10, 10, 10, 10, 10, 4, 4]


# -- regret -----------------------------------------------------------------------------------------------------------


def test_after_a_scale_down_that_had_to_be_undone_there_are_no_so_few_again() -> None:
    followed = Followed()
    followed.wait_for(8, rate=1000.0)
    followed.want(10, rate=1000.0)
    for _ in range(60):
        followed.want(7, rate=1000.0)
    assert followed.present == 9


def test_also_when_the_rate_of_input_is_not_known() -> None:
    followed = Followed()
    followed.wait_for(8)
    followed.want(10)
    for _ in range(60):
        followed.want(7)
    assert followed.present == 9


def test_a_scale_up_for_more_input_is_nothing_to_regret() -> None:
    followed = Followed()
    followed.wait_for(9, rate=1000.0)
    followed.want(20, rate=2000.0)
    assert followed.wait_for(9, rate=2000.0) == 100


def test_a_scale_up_long_after_is_nothing_to_regret() -> None:
    followed = Followed()
    followed.wait_for(9, rate=1000.0)
    followed.want(9, rate=1000.0, after=500.0)
    followed.want(10, rate=1000.0)
    assert followed.wait_for(9, rate=1000.0) == 100


def test_with_less_input_it_is_tried_again() -> None:
    followed = Followed()
    followed.wait_for(9, rate=1000.0)
    followed.want(10, rate=1000.0)
    assert followed.wait_for(5, rate=500.0) == 100


def test_and_after_an_hour() -> None:
    followed = Followed()
    followed.wait_for(9, rate=1000.0)
    followed.want(10, rate=1000.0)
    followed.want(10, rate=1000.0, after=HOUR)
    assert followed.wait_for(9, rate=1000.0) == 100


def test_regret_forbids_no_scale_up_and_asks_for_none() -> None:
    followed = Followed()
    followed.wait_for(9, rate=1000.0)
    followed.want(12, rate=1000.0)
    assert followed.want(11, rate=1000.0).executors == 12
    assert followed.want(15, rate=1000.0).executors == 15


# -- cooldown, merging, steps -----------------------------------------------------------------------------------------


def test_no_scale_down_comes_soon_after_a_change() -> None:
    followed = Followed(replace(SETTINGS, stabilization_down_s=0))
    followed.want(12)
    assert followed.want(8).reason is StreamingReason.COOLDOWN
    assert followed.wait_for(8) == 20


def test_scale_downs_are_merged() -> None:
    followed = Followed(replace(SETTINGS, stabilization_down_s=0, cooldown_s=0))
    followed.wait_for(9)
    assert followed.want(8) == Paced(9, StreamingReason.SCALE_DOWN_DELAYED)
    assert followed.want(7).reason is StreamingReason.SCALE_DOWN_DELAYED
    assert followed.wait_for(5) == 40


def test_the_scale_ups_of_a_cooldown_are_together_one_step() -> None:
    followed = Followed(replace(SETTINGS, step_up=StepLimits(1.0, 4)))
    assert followed.want(14).reason is StreamingReason.SCALED_UP
    assert followed.want(50) == Paced(20, StreamingReason.STEP_LIMITED)
    assert followed.want(50) == Paced(20, StreamingReason.COOLDOWN)
    assert followed.want(50) == Paced(28, StreamingReason.STEP_LIMITED)


def test_while_little_is_known_executors_double_at_most_however_wide_a_step_is() -> None:
    followed = Followed(present=1)
    numbers = [
        followed.want(50, new=new, after=31.0).executors for new in (True, True, True, False)
    ]
    assert numbers == [3, 6, 12, 50]


def test_a_step_down_takes_a_share_or_a_number_whichever_is_more() -> None:
    followed = Followed(
        replace(SETTINGS, stabilization_down_s=0, step_down=StepLimits(0.25, 2)), present=20
    )
    found = [followed.want(0, after=100.0).executors for _ in range(8)]
    assert found == [15, 11, 8, 6, 4, 2, 0, 0]


# -- small corrections --------------------------------------------------------------------------------------------------


def test_under_steady_input_there_is_one_more_at_a_time_and_no_other_until_it_has_come() -> None:
    followed = Followed()
    assert followed.want(14, steady=True) == Paced(11, StreamingReason.STEP_LIMITED)
    for _ in range(5):
        assert followed.want(14, steady=True, starting=True) == Paced(11, StreamingReason.COOLDOWN)
    assert followed.want(14, steady=True).executors == 12


def test_and_one_fewer_at_a_time_however_wide_a_step_is() -> None:
    settings = replace(SETTINGS, stabilization_down_s=0, step_down=StepLimits(1.0, 10))
    followed = Followed(settings)
    found = [followed.want(6, steady=True, after=100.0).executors for _ in range(5)]
    assert found == [9, 8, 7, 6, 6]


def test_input_that_is_not_steady_is_followed_the_whole_way_also_while_executors_start() -> None:
    followed = Followed()
    followed.want(11, steady=True)
    assert followed.want(40, starting=True).executors == 40


def test_under_steady_input_one_that_is_needed_again_is_regretted_however_long_it_was_gone() -> (
    None
):
    followed = Followed()
    followed.wait_for(9, rate=1000.0)
    followed.want(9, rate=1000.0, steady=True, after=5000.0)
    followed.want(10, rate=1000.0, steady=True)
    for _ in range(60):
        followed.want(9, rate=1000.0, steady=True)
    assert followed.present == 10


def test_who_has_never_had_fewer_regrets_nothing() -> None:
    followed = Followed()
    followed.want(11, rate=1000.0, steady=True)
    assert followed.wait_for(10, rate=1000.0, steady=True) == 100


def test_after_a_scale_up_without_effect_none_follows_but_scale_downs_do() -> None:
    followed = Followed()
    assert followed.want(20, useless=True) == Paced(10, StreamingReason.SCALING_INEFFECTIVE)
    for _ in range(11):
        followed.want(5, useless=True)
    assert followed.present == 5


wishes = st.lists(st.tuples(st.integers(0, 100), st.integers(1, 400)), min_size=1, max_size=60)


@given(wishes, st.integers(0, 300), st.integers(0, 120), st.integers(0, 30))
def test_a_scale_down_never_comes_before_its_window_and_never_below_what_was_wanted_in_it(
    wanted: list[tuple[int, float]], window: int, cooldown: int, present: int
) -> None:
    settings = replace(SETTINGS, stabilization_down_s=window, cooldown_s=cooldown)
    followed = Followed(settings, present=present)
    noted = [(-1.0, present)]
    for number, after in wanted:
        before = followed.present
        noted.append((followed.now + after, number))
        paced = followed.want(number, after=after)
        if paced.executors < before:
            # a number holds until the next one is told
            since = followed.now - window
            inside = [n for at, n in noted if at > since]
            assert paced.executors >= max(inside, default=number)
            assert followed.now - noted[1][0] >= window


@given(wishes, st.integers(0, 40))
def test_a_change_lies_between_what_there_was_and_what_is_wanted_or_was(
    wanted: list[tuple[int, float]], present: int
) -> None:
    followed = Followed(replace(SETTINGS, step_up=StepLimits(1.0, 4)), present=present)
    seen = {present}
    for number, after in wanted:
        before = followed.present
        seen.add(number)
        executors = followed.want(number, after=after).executors
        assert min(seen) <= executors <= max(seen)
        assert executors <= before + max(4, before)


# -- freeze windows ---------------------------------------------------------------------------------------------------


def test_in_a_freeze_window_executors_stay_as_many_as_they_are() -> None:
    window = FreezeWindow(start_s=0, duration_s=3600)
    followed = Followed(replace(SETTINGS, freeze_windows=(window,)))
    assert followed.want(20) == Paced(10, StreamingReason.FROZEN)
    assert followed.want(20, after=HOUR).reason is StreamingReason.SCALED_UP


def test_a_freeze_may_be_of_scale_downs_alone() -> None:
    window = FreezeWindow(start_s=0, duration_s=3600, frozen=Frozen.SCALE_DOWN)
    followed = Followed(replace(SETTINGS, stabilization_down_s=0, freeze_windows=(window,)))
    assert followed.want(20).executors == 20
    assert followed.want(5, after=100.0) == Paced(20, StreamingReason.FROZEN)


@pytest.mark.parametrize(
    ("moment", "frozen"),
    [
        (0.0, None),
        (4 * DAY + 22 * HOUR, Frozen.ALL),
        (5 * DAY, Frozen.ALL),
        (5 * DAY + 5.99 * HOUR, Frozen.ALL),
        (5 * DAY + 6 * HOUR, None),
        (5 * DAY + 22 * HOUR, None),
        (11 * DAY + 23 * HOUR, Frozen.ALL),
    ],
    ids=[
        "Monday",
        "Friday night",
        "Saturday 0:00",
        "5:59",
        "6:00",
        "Saturday night",
        "next Friday",
    ],
)
def test_a_window_begins_on_its_days_and_reaches_into_the_next(
    moment: float, frozen: Frozen | None
) -> None:
    friday_night = FreezeWindow(int(22 * HOUR), int(8 * HOUR), frozenset({4}))
    assert frozen_at((friday_night,), MONDAY + moment) is frozen


def test_of_two_windows_the_stricter_holds() -> None:
    windows = (
        FreezeWindow(0, int(DAY), frozen=Frozen.SCALE_DOWN),
        FreezeWindow(0, int(HOUR), frozen=Frozen.ALL),
    )
    assert frozen_at(windows, MONDAY) is Frozen.ALL
    assert frozen_at(windows, MONDAY + 2 * HOUR) is Frozen.SCALE_DOWN


# -- who leaves when --------------------------------------------------------------------------------------------------

RUNNING = BatchBoundaries(running=True, ended_at=50.0, period_s=10.0)
MOMENT = BatchBoundaries(running=False, ended_at=98.0, next_at=None, period_s=10.0)
"""Between two batches, of which the next one may begin at once."""
GAP = BatchBoundaries(running=False, ended_at=98.0, next_at=105.0, period_s=10.0)


class Leaving:
    def __init__(self, *, migrates: bool) -> None:
        self.gap = BatchGap()
        self.migrates = migrates

    def at(
        self,
        now: float,
        boundaries: BatchBoundaries,
        surplus: int = 3,
        *,
        leaving: int = 0,
        idle: bool = True,
        free: int = 8,
    ) -> tuple[int, GapVerdict]:
        decided = self.gap.decide(
            surplus,
            boundaries,
            now=now,
            migrates=self.migrates,
            leaving=leaving,
            idle=idle,
            free=free,
            boundary_wait_s=30.0,
        )
        return decided.executors, decided.verdict


def test_with_migration_one_leaves_once_a_batch_has_ended() -> None:
    leaving = Leaving(migrates=True)
    assert leaving.at(100.0, RUNNING) == (0, GapVerdict.WAIT)
    assert leaving.at(110.0, replace(RUNNING, ended_at=108.0)) == (1, GapVerdict.GO)


def test_with_migration_one_leaves_during_a_batch_that_does_not_end_within_the_wait() -> None:
    leaving = Leaving(migrates=True)
    assert leaving.at(100.0, RUNNING) == (0, GapVerdict.WAIT)
    assert leaving.at(129.0, RUNNING) == (0, GapVerdict.WAIT)
    assert leaving.at(130.0, RUNNING) == (1, GapVerdict.GO)


def test_with_migration_the_next_one_waits_until_the_last_has_gone_and_for_a_boundary_again() -> (
    None
):
    leaving = Leaving(migrates=True)
    assert leaving.at(100.0, MOMENT) == (1, GapVerdict.GO)
    assert leaving.at(101.0, MOMENT, 2, leaving=1) == (0, GapVerdict.WAIT)
    assert leaving.at(130.0, RUNNING, 2) == (0, GapVerdict.WAIT)
    assert leaving.at(131.0, RUNNING, 2) == (1, GapVerdict.GO)


@pytest.mark.parametrize("migrates", [True, False])
def test_all_leave_together_between_two_batches(migrates: bool) -> None:
    leaving = Leaving(migrates=migrates)
    assert leaving.at(95.0, RUNNING) == (0, GapVerdict.WAIT)
    assert leaving.at(100.0, GAP) == (3, GapVerdict.GO)
    assert leaving.at(100.5, GAP, leaving=3) == (3, GapVerdict.GO), "others may follow"


@pytest.mark.parametrize("migrates", [True, False])
def test_but_one_after_the_other_where_a_query_keeps_state(migrates: bool) -> None:
    leaving, keeps = Leaving(migrates=migrates), replace(GAP, keeps_state=True)
    assert leaving.at(100.0, keeps) == (1, GapVerdict.GO)
    assert leaving.at(101.0, keeps, 2, leaving=1) == (0, GapVerdict.WAIT)
    assert leaving.at(102.0, keeps, 2) == (1, GapVerdict.GO)


def test_who_has_cached_blocks_is_handed_on_one_at_a_time_or_stays() -> None:
    assert Leaving(migrates=True).at(100.0, GAP, free=0) == (1, GapVerdict.GO)
    assert Leaving(migrates=True).at(100.0, GAP, free=2) == (2, GapVerdict.GO), "the others first"
    leaving = Leaving(migrates=False)
    assert leaving.at(100.0, GAP, free=0) == (0, GapVerdict.WAIT)
    assert leaving.at(140.0, replace(GAP, next_at=145.0), free=0) == (0, GapVerdict.NO_GAP)


@pytest.mark.parametrize(
    ("boundaries", "idle"),
    [
        (replace(GAP, next_at=101.0), True),
        (replace(GAP, next_at=None), True),
        (replace(GAP, running=True), True),
        (GAP, False),
    ],
    ids=["the next batch is near", "it may come at any moment", "a batch runs", "a job runs"],
)
def test_without_migration_nobody_leaves_in_any_other_moment_and_after_some_time_it_is_told(
    boundaries: BatchBoundaries, idle: bool
) -> None:
    leaving = Leaving(migrates=False)
    assert leaving.at(100.0, boundaries, idle=idle) == (0, GapVerdict.WAIT)
    later = replace(boundaries, next_at=boundaries.next_at and boundaries.next_at + 30)
    assert leaving.at(130.0, later, idle=idle) == (0, GapVerdict.NO_GAP)


def test_who_is_not_too_many_does_not_wait() -> None:
    leaving = Leaving(migrates=False)
    leaving.at(100.0, RUNNING)
    assert leaving.at(500.0, RUNNING, 0) == (0, GapVerdict.GO)
    assert leaving.at(501.0, RUNNING) == (0, GapVerdict.WAIT), "the wait begins anew"


@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 50),
            st.booleans(),
            st.booleans(),
            st.integers(0, 9),
            st.integers(0, 2),
            st.booleans(),
            st.integers(0, 9),
        ),
        max_size=40,
    )
)
def test_two_at_a_time_leave_in_a_gap_only_and_without_migration_nobody_leaves_elsewhere(
    moments: list[tuple[float, bool, bool, int, int, bool, int]],
) -> None:
    for migrates in (True, False):
        leaving, now = Leaving(migrates=migrates), 0.0
        for after, running, state, surplus, under_way, idle, free in moments:
            now += after
            next_at = None if running else now + 5
            boundaries = BatchBoundaries(running, now - 1, next_at, 10.0, keeps_state=state)
            count, _ = leaving.at(now, boundaries, surplus, leaving=under_way, idle=idle, free=free)
            assert 0 <= count <= surplus
            in_gap = idle and not running and free > 0
            if not in_gap or state:
                assert count + under_way <= max(1, under_way)
            if not in_gap and not migrates:
                assert count == 0
