"""How long the running batch takes at least, by how far its tasks are: what is foreseen, and what must never be."""

import heapq
import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spark_allocation.core.streaming.batch_progress import (
    BATCHES_TO_BELIEVE,
    DOUBT,
    FARTHEST,
    MOST_KNOWN_APART,
    BatchProgress,
    StageTasks,
    left_s,
)
from spark_allocation.core.streaming.executors_over_time import ExecutorsOverTime
from spark_allocation.core.streaming.observations import RunningBatch, StageProgress


class Stage:
    """Tasks of these lengths, put on slots in order."""

    def __init__(self, lengths: Sequence[float], slots: int) -> None:
        self.spans: list[tuple[float, float]] = []
        free = [0.0] * slots
        for length in lengths:
            began = heapq.heappop(free)
            self.spans.append((began, began + length))
            heapq.heappush(free, began + length)
        self.took_s = max(ended for _, ended in self.spans)

    def at(self, moment: float, number: int = 1) -> StageProgress:
        completed = sum(ended <= moment + 1e-9 for _, ended in self.spans)
        begun = sum(began <= moment + 1e-9 for began, _ in self.spans)
        return StageProgress(number, len(self.spans), completed, begun - completed, moment)

    def looks(self, every_s: float) -> list[float]:
        return [every_s * place for place in range(1, math.ceil(self.took_s / every_s))]


class Query:
    """Batches of one stage on executors of one slot, looked at each second."""

    def __init__(self, executors: int) -> None:
        self.progress = BatchProgress()
        self.executors = ExecutorsOverTime()
        self.executors.note(0.0, executors)
        self.now = 100.0
        self.number = 0

    def look(self, running: RunningBatch | None, *, warm: bool = True) -> None:
        self.progress.look(
            running,
            at=self.now,
            executors=self.executors,
            tasks_per_executor=1,
            warm=warm,
        )

    def batch(self, stage: Stage, *, every_s: float = 1.0) -> list[tuple[float, float]]:
        """Runs it to its end; what was foreseen at which age."""
        self.number += 1
        began_at, found = self.now, []
        for age in stage.looks(every_s):
            self.now = began_at + age
            self.look(RunningBatch(age, self.number, stages=(stage.at(age),)))
            found.append((age, self.progress.at_least_s(age)))
        self.now = began_at + stage.took_s
        self.progress.ended(self.number, ended_at=self.now, duration_s=stage.took_s)
        self.now += 1.0
        self.look(None)
        return found

    def believing(self, lengths: Sequence[float] = ()) -> "Query":
        """Some batches have ended, of four waves if nothing else is said."""
        slots = self.executors.now
        for _ in range(BATCHES_TO_BELIEVE):
            self.batch(Stage(lengths or [1.0] * (4 * slots), slots), every_s=0.25)
        return self


waves = st.integers(1, 8)
slots_of = st.integers(1, 12)
task_s = st.floats(2.0, 60.0)


# -- of one stage -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), slots_of, task_s)
def test_tasks_of_equal_length_are_foreseen_once_a_wave_is_complete(
    tasks: int, slots: int, length: float
) -> None:
    stage = Stage([length] * tasks, slots)
    seen = StageTasks.first_seen(stage.at(0.0), at=0.0, slots=slots)
    for moment in stage.looks(length / 200):
        assert seen.look(stage.at(moment), at=moment)
        foreseen = moment + seen.left_s(slots)
        assert foreseen <= stage.took_s * 1.000001
        if moment > length * 1.01:
            assert foreseen >= stage.took_s * 0.97


@given(st.integers(1, 60), slots_of, task_s, st.floats(0.1, 5.0))
def test_however_seldom_they_are_looked_at_they_are_never_foreseen_to_take_longer(
    tasks: int, slots: int, length: float, every_s: float
) -> None:
    stage = Stage([length] * tasks, slots)
    seen: StageTasks | None = None
    for moment in stage.looks(every_s):
        told = stage.at(moment)
        if seen is None:
            seen = StageTasks.first_seen(told, at=moment, slots=slots)
        else:
            assert seen.look(told, at=moment)
        assert moment + seen.left_s(slots) <= stage.took_s * 1.000001


@given(st.integers(1, 60), slots_of, task_s)
def test_before_a_task_has_completed_each_wave_takes_as_long_as_the_first_has_run(
    tasks: int, slots: int, age: float
) -> None:
    active = min(tasks, slots)
    seen = StageTasks.first_seen(StageProgress(1, tasks, 0, active, age), at=age, slots=slots)
    assert age + seen.left_s(slots) == pytest.approx(age * math.ceil(tasks / slots))


def test_where_each_task_has_a_slot_nothing_is_known_before_the_end() -> None:
    seen = StageTasks.first_seen(StageProgress(1, 8, 0, 8, 30.0), at=30.0, slots=8)
    assert seen.left_s(8) == 0.0


@given(st.integers(2, 60), st.integers(0, 40), slots_of, task_s)
def test_the_more_has_completed_the_less_is_left(
    tasks: int, completed: int, slots: int, age: float
) -> None:
    assume(completed < tasks)

    def left(done: int) -> float:
        told = StageProgress(1, tasks, done, min(slots, tasks - done), age)
        return StageTasks.first_seen(told, at=age, slots=slots).left_s(slots)

    assert left(completed + 1) <= left(completed) * 1.000001


@given(st.integers(1, 60), st.integers(0, 60), slots_of, task_s)
def test_more_tasks_never_take_less_and_more_slots_never_longer(
    tasks: int, completed: int, slots: int, age: float
) -> None:
    assume(completed <= tasks)

    def left(of: int, on: int) -> float:
        told = StageProgress(1, of, completed, min(slots, tasks - completed), age)
        return StageTasks.first_seen(told, at=age, slots=slots).left_s(on)

    assert left(tasks + 1, slots) >= left(tasks, slots)
    assert left(tasks, slots + 1) <= left(tasks, slots)


def test_slots_that_came_on_the_way_have_run_only_since() -> None:
    """Two slots for ten seconds, then eight: twelve tasks of five seconds on each."""
    seen = StageTasks.first_seen(StageProgress(1, 40, 0, 2, 1.0), at=1.0, slots=2)
    for moment in range(2, 11):
        seen.look(StageProgress(1, 40, 2 * (moment // 5), 2, moment), at=moment)
    for moment in range(11, 16):
        seen.look(StageProgress(1, 40, 4 + 8 * ((moment - 10) // 5), 8, moment), at=moment)
    assert seen.task_s() <= 5.0
    assert seen.task_s() >= 3.5


def test_a_stage_first_seen_late_has_had_no_more_slots_than_there_were() -> None:
    """Eight run now, but for most of its hundred seconds there were two executors on average."""
    seen = StageTasks.first_seen(StageProgress(1, 80, 32, 8, 100.0), at=100.0, slots=2)
    assert seen.task_s() == pytest.approx(200 / 40)


def test_stages_that_run_at_once_share_the_slots() -> None:
    stages = [
        StageTasks.first_seen(StageProgress(number, 8, 0, 2, 5.0), at=5.0, slots=4)
        for number in (1, 2)
    ]
    assert left_s(stages, 4) == pytest.approx(2 * 6 * 5.0 / 4)
    assert left_s(stages[:1], 4) == pytest.approx(2 * 5.0)
    assert left_s((), 4) == 0.0


def test_numbers_of_any_size_cost_nothing() -> None:
    most = 2**31 - 1
    seen = StageTasks.first_seen(StageProgress(1, most, 0, most, 5.0), at=5.0, slots=4)
    seen.look(StageProgress(1, most, most // 2, most, 6.0), at=6.0)
    assert seen.left_s(4) >= 0.0


# -- of a query -------------------------------------------------------------------------------------------------------


def test_nothing_is_foreseen_of_a_query_whose_batches_have_not_shown_their_tasks() -> None:
    query = Query(4)
    for _ in range(BATCHES_TO_BELIEVE):
        assert all(age == least for age, least in query.batch(Stage([5.0] * 16, 4)))
    assert any(age < least for age, least in query.batch(Stage([5.0] * 16, 4)))


def test_a_batch_of_four_times_the_rows_is_foreseen_before_it_is_as_old_as_the_former_ones() -> (
    None
):
    """Forty tasks on four slots, and batches of ten seconds until now."""
    query = Query(4).believing([1.0] * 40)
    found = query.batch(Stage([4.0] * 40, 4))
    assert next(age for age, least in found if least > 15.0) <= 5.0
    assert next(age for age, least in found if least > 30.0) <= 10.0


def test_a_query_whose_heavy_tasks_come_first_never_looks_longer_than_it_is() -> None:
    heavy_first = Stage([6.0, 6.0] + [0.5] * 14, 2)
    query = Query(2)
    for _ in range(12):
        for _, least in query.batch(heavy_first):
            assert least <= heavy_first.took_s


@given(
    st.lists(st.floats(0.2, 8.0), min_size=1, max_size=30),
    slots_of,
    st.sampled_from([0.5, 1.0, 3.0]),
)
def test_a_stream_that_is_as_it_was_never_looks_longer_than_it_is(
    lengths: list[float], slots: int, every_s: float
) -> None:
    stage = Stage(lengths, slots)
    query = Query(slots)
    for _ in range(BATCHES_TO_BELIEVE + 2):
        for age, least in query.batch(stage, every_s=every_s):
            assert age <= least <= max(age, stage.took_s * 1.000001)


@given(
    st.lists(
        st.tuples(
            st.floats(),
            st.integers(-5, 300),
            st.integers(-5, 300),
            st.integers(-5, 99),
            st.floats(),
        ),
        max_size=12,
    )
)
def test_whatever_is_told_no_batch_is_foreseen_below_its_age_or_far_beyond(
    told: list[tuple[float, int, int, int, float]],
) -> None:
    query = Query(3).believing()
    for place, (age, tasks, completed, active, stage_age) in enumerate(told):
        query.now += 1.0
        stages = (StageProgress(place % 2, tasks, completed, active, stage_age),)
        query.look(RunningBatch(age, stages=stages))
        for now_s in (0.0, 1.0, 50.0):
            assert now_s <= query.progress.at_least_s(now_s) <= FARTHEST * now_s


def test_batches_whose_tasks_each_have_a_slot_say_nothing_of_how_good_estimates_are() -> None:
    query = Query(8)
    for _ in range(2 * BATCHES_TO_BELIEVE):
        query.batch(Stage([5.0] * 8, 8))
    assert query.progress.believed is None


def test_a_batch_without_a_number_that_ended_is_not_the_one_that_has_just_begun() -> None:
    query = Query(2).believing()
    believed = query.progress.believed
    for age in (0.6, 0.7, 0.8):
        query.look(RunningBatch(age, stages=(StageProgress(7, 40, 0, 2, age),)))
    query.progress.ended(None, ended_at=query.now, duration_s=9.0)
    assert query.progress.believed == believed


def test_executors_that_come_on_the_way_do_not_make_estimates_less_believed() -> None:
    query = Query(1).believing()
    believed = query.progress.believed
    # given a batch that looks long on one executor, and is over soon because seven come
    query.number += 1
    for age in (1.0, 2.0, 3.0, 4.0):
        query.now += 1.0
        query.look(RunningBatch(age, 99, stages=(StageProgress(7, 32, int(age) - 1, 1, age),)))
    query.executors.note(query.now, 8)
    query.now += 1.0
    query.look(RunningBatch(5.0, 99, stages=(StageProgress(7, 32, 5, 8, 5.0),)))
    query.progress.ended(99, ended_at=query.now + 3.0, duration_s=8.0)
    # then
    assert query.progress.believed == believed


def test_nothing_is_foreseen_and_nothing_learned_while_executors_are_slow_at_first() -> None:
    query = Query(2).believing()
    believed = query.progress.believed
    told = RunningBatch(4.0, 99, stages=(StageProgress(7, 16, 0, 2, 4.0),))
    query.now += 4.0
    query.look(told)
    query.look(told)
    assert query.progress.at_least_s(10.0) > 20.0
    query.look(told, warm=False)
    assert query.progress.at_least_s(10.0) == 10.0
    query.progress.ended(99, ended_at=query.now + 1.0, duration_s=5.0)
    assert query.progress.believed == believed


def test_what_one_look_alone_shows_is_not_believed() -> None:
    """Eight of thirty-two tasks were done in two seconds, and for a while no other is."""
    query = Query(2).believing([0.5] * 32)
    began_at, found = query.now, []
    for age in (1.9, 2.0, 3.0, 4.0):
        query.now = began_at + age
        query.look(RunningBatch(age, 99, stages=(StageProgress(7, 32, 8, 2, age),)))
        found.append(query.progress.at_least_s(4.0))
    assert found[2] == pytest.approx(found[1], rel=0.06)
    assert found[3] > 1.2 * found[2]


@given(st.integers(4, 200), slots_of, task_s)
def test_the_fewer_tasks_have_begun_the_less_is_foreseen_of_those_that_are_left(
    tasks: int, slots: int, age: float
) -> None:
    assume(tasks > slots)
    query = Query(slots).believing()
    for _ in range(2):
        query.look(RunningBatch(age, 99, stages=(StageProgress(7, tasks, 0, slots, age),)))
    waits = math.ceil(tasks / slots) - 1
    sure = min(age * (1 + waits * (1 - DOUBT / math.sqrt(slots))), FARTHEST * age)
    assert query.progress.at_least_s(age) == pytest.approx(sure)


def test_another_run_of_the_query_has_to_show_itself_again() -> None:
    query = Query(4).believing()
    query.progress.anew()
    assert query.progress.believed is None


def test_estimates_rise_with_time_while_no_task_completes() -> None:
    query = Query(4).believing()
    found = query.batch(Stage([20.0] * 16, 4))
    assert all(before <= after for (_, before), (_, after) in pairwise(found[:19]))


def test_tasks_that_come_and_go_without_completing_leave_nothing_behind() -> None:
    # given a stage of which one task runs, is lost with its executor, runs again, and so on
    stage = StageTasks.first_seen(StageProgress(1, 100, 0, 1, 1.0), at=1.0, slots=1)
    for number in range(2, 2_000):
        assert stage.look(StageProgress(1, 100, 0, number % 2, float(number)), at=float(number))
        assert sum(each.tasks for each in stage._began) == number % 2


def test_however_slowly_tasks_begin_only_so_many_moments_are_known_apart() -> None:
    stage = StageTasks.first_seen(StageProgress(1, 5_000, 0, 1, 1.0), at=1.0, slots=1)
    for number in range(2, 2_000):
        assert stage.look(StageProgress(1, 5_000, 0, number, float(number)), at=float(number))
    assert len(stage._began) <= MOST_KNOWN_APART
    assert sum(each.tasks for each in stage._began) == 1_999
