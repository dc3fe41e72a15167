"""Streams of a profile put together: who wins, what bounds it, what happens without metrics, and what a user is told."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.streaming_world import CLICKS, ORDERS, Stream, batch, query

from spark_allocation.core.streaming.decisions import (
    StreamingCondition,
    StreamingDecision,
    StreamingPolicy,
    StreamingReason,
)
from spark_allocation.core.streaming.demand import LEARNED_QUERIES_KEPT, StreamingDemand
from spark_allocation.core.streaming.observations import (
    BatchSample,
    QueryName,
    QueryObservation,
    QueryState,
    RunningBatch,
    Slots,
    StreamingObservation,
    Trigger,
)
from spark_allocation.core.streaming.settings import (
    BacklogSettings,
    BatchDurationSettings,
    MissingMetrics,
    QuerySettings,
    StepLimits,
    StreamingSettings,
    VanishedMetrics,
)

BY_DURATION = StreamingSettings(
    rate=None, batch_duration=BatchDurationSettings(), step_up=StepLimits(10, 100)
)
DEFAULTS = StreamingSettings()


def conditions(decision: StreamingDecision) -> set[StreamingCondition]:
    return {problem.condition for problem in decision.problems}


# -- who wins ---------------------------------------------------------------------------------------------------------


def test_the_largest_over_queries_wins_never_the_sum() -> None:
    stream = Stream(BY_DURATION, executors=4)
    for number in range(3):
        stream.now += 10
        stream.tell(
            query(batch(50 + number, stream.now - 1, 9.0), name=ORDERS),
            query(batch(50 + number, stream.now - 1, 9.5), name=CLICKS),
        )
    decision = stream.decide()
    assert decision.executors == math.ceil(4 * 0.95 / 0.75)
    assert (decision.query, decision.policy) == (CLICKS, StreamingPolicy.BATCH_DURATION)


def test_the_largest_over_policies_wins_and_all_are_shown() -> None:
    settings = replace(
        DEFAULTS,
        batch_duration=BatchDurationSettings(target_utilization=0.5),
        backlog=BacklogSettings(),
    )
    decision = Stream(settings).intervals(5, work=32)
    (standing,) = decision.queries
    assert [want.policy for want in standing.wants] == [
        StreamingPolicy.BATCH_DURATION,
        StreamingPolicy.BACKLOG,
        StreamingPolicy.RATE,
    ]
    assert decision.policy is StreamingPolicy.BATCH_DURATION
    assert standing.desired == decision.wanted == standing.wants[0].executors


def test_the_batch_duration_policy_stands_in_while_no_policy_has_anything_to_say() -> None:
    stream = Stream(DEFAULTS)
    assert stream.interval(work=32, rows=None).policy is StreamingPolicy.BATCH_DURATION
    assert stream.intervals(6, work=32).policy is StreamingPolicy.RATE


def test_a_query_that_is_ignored_has_no_say() -> None:
    settings = replace(BY_DURATION, queries={CLICKS: QuerySettings(ignored=True)})
    stream = Stream(settings, executors=4)
    decision = stream.intervals(3, work=30, names=(CLICKS,))
    assert decision.executors is None
    assert decision.queries == ()


def test_a_query_may_have_a_target_duration_of_its_own() -> None:
    settings = replace(BY_DURATION, queries={CLICKS: QuerySettings(target_duration_s=5.0)})
    decision = Stream(settings, executors=4).intervals(2, work=30, names=(CLICKS, ORDERS))
    shown = {standing.query: standing for standing in decision.queries}
    assert (shown[CLICKS].interval_s, shown[ORDERS].interval_s) == (5.0, 10.0)
    assert decision.query == CLICKS


def test_below_the_nominal_rate_of_an_executor_nothing_goes() -> None:
    # 1000 rows in ten seconds, and an executor is to have 25 a second at most
    settings = replace(DEFAULTS, nominal_rate=25.0)
    stream = Stream(settings, executors=6)
    decision = stream.intervals(60, work=6)
    assert decision.executors == 4
    assert decision.policy is StreamingPolicy.NOMINAL_RATE


def test_a_scale_down_below_it_is_undone() -> None:
    stream = Stream(DEFAULTS, executors=6)
    stream.intervals(60, work=6)
    assert stream.asked == 1
    stream.demand.reconfigure(replace(DEFAULTS, nominal_rate=25.0))
    assert stream.interval(work=6).executors == 4


@hypothesis_settings(max_examples=30)
@given(st.permutations([("a", 3.0), ("b", 9.0), ("c", 9.0), ("d", 6.0)]), st.integers(1, 20))
def test_the_order_in_which_queries_are_told_does_not_matter(
    queries: list[tuple[str, float]], executors: int
) -> None:
    def decided(told: list[tuple[str, float]]) -> StreamingDecision:
        stream = Stream(DEFAULTS, executors=executors)
        for number in range(5):
            stream.now += 10
            stream.tell(
                *(
                    query(
                        batch(number, stream.now - 1, duration, 100 * duration),
                        name=QueryName(name),
                    )
                    for name, duration in told
                )
            )
        return stream.decide()

    assert decided(queries) == decided(sorted(queries))


# -- bounds, floors, cap ----------------------------------------------------------------------------------------------


def test_bounds_hold_and_say_so() -> None:
    assert Stream(BY_DURATION, maximum=5).intervals(3, work=39).executors == 5
    few = Stream(BY_DURATION, executors=8, minimum=6)
    decision = few.intervals(60, work=6)
    assert (decision.executors, decision.reason) == (6, StreamingReason.FLOOR_MIN)


def test_no_more_than_the_tasks_of_a_batch_can_use() -> None:
    stream = Stream(BY_DURATION, executors=6)
    decision = stream.intervals(4, work=120, tasks=8)
    assert (decision.executors, decision.reason) == (8, StreamingReason.CAPPED_BY_TASKS)
    decision = stream.interval(work=120, tasks=8)
    assert StreamingCondition.CAPPED_BY_TASKS in conditions(decision)


def test_queries_that_run_side_by_side_can_use_slots_for_the_tasks_of_each() -> None:
    decision = Stream(BY_DURATION, executors=12).intervals(
        4, work=240, tasks=8, names=(ORDERS, CLICKS)
    )
    assert decision.executors == 16


def test_a_batch_that_runs_has_one_executor_at_least() -> None:
    stream = Stream(DEFAULTS, executors=0)
    stream.tell(query(age=5.0))
    decision = stream.decide()
    assert (decision.executors, decision.reason) == (1, StreamingReason.WAITING_FOR_BATCHES)


def test_an_idle_query_may_go_to_the_minimum() -> None:
    stream = Stream(DEFAULTS, executors=4)
    stream.intervals(4, work=20)
    for _ in range(60):
        stream.now += 10
        stream.tell(query(state=QueryState.IDLE))
        decision = stream.decide()
    assert decision.executors == 0


def test_executors_that_cannot_finish_what_they_run_stay_while_it_runs() -> None:
    stream = Stream(DEFAULTS, executors=8, finishes_tasks=False)
    stream.running_tasks = 8
    decision = stream.intervals(60, work=6)
    assert (decision.executors, decision.reason) == (8, StreamingReason.RUNNING_TASKS)
    stream.running_tasks = 0
    assert stream.interval(work=6).executors == 4


sizes = st.floats(0, 1e4)


@hypothesis_settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 60), sizes, st.floats(0, 100)), min_size=1, max_size=25),
    st.integers(0, 5),
    st.integers(0, 20),
    st.none() | st.integers(1, 60),
    st.sampled_from(
        [DEFAULTS, BY_DURATION, replace(DEFAULTS, backlog=BacklogSettings(), rate=None)]
    ),
)
def test_whatever_is_told_the_number_lies_within_the_bounds(
    told: list[tuple[float, float, float]],
    least: int,
    more: int,
    tasks: int | None,
    settings: StreamingSettings,
) -> None:
    stream = Stream(settings, minimum=least, maximum=least + more + 1)
    for number, (duration, rows, waiting) in enumerate(told):
        stream.now += max(10.0, duration)
        sample = batch(number, stream.now, duration, rows, tasks=tasks)
        stream.tell(query(sample, backlog_rows=waiting))
        decision = stream.decide()
        assert decision.executors is not None
        assert least <= decision.executors <= least + more + 1


# -- effect -----------------------------------------------------------------------------------------------------------


def test_after_a_scale_up_without_effect_it_is_told_and_no_more_are_added() -> None:
    # given batches that take as long on any number of executors
    stream = Stream(BY_DURATION, executors=4)
    decision = None
    for number in range(12):
        stream.now += 10
        stream.tell(query(batch(number, stream.now - 0.5, 9.4, 1000.0)))
        decision = stream.decide()
    # then some were added, and then no more
    assert decision is not None
    assert decision.reason is StreamingReason.SCALING_INEFFECTIVE
    assert StreamingCondition.SCALING_INEFFECTIVE in conditions(decision)
    assert stream.asked <= 8
    # until the hold is over
    stream.now += BY_DURATION.ineffective_hold_s
    stream.tell(query(batch(99, stream.now - 0.5, 9.4, 1000.0)))
    stream.now += 10
    stream.tell(query(batch(100, stream.now - 0.5, 9.4, 1000.0)))
    held = stream.asked
    assert (stream.decide().executors or 0) > held


def test_what_may_be_chance_is_no_sign_that_more_does_not_help() -> None:
    # given a fourth executor beside three, and batches of one size of which some take longer than others
    stream = Stream(BY_DURATION, executors=3)
    stream.intervals(5, work=22.0)
    stream.intervals(2, work=27.0)
    assert stream.asked == 4
    # then a few that are no faster do not show that it does not help
    for _ in range(6):
        decision = stream.interval(work=33.5)
        assert StreamingCondition.SCALING_INEFFECTIVE not in conditions(decision)


def test_a_scale_up_that_helps_is_not_called_ineffective() -> None:
    stream = Stream(BY_DURATION, executors=2)
    for work in (18, 27, 40, 60):
        for _ in range(5):
            decision = stream.interval(work, rows=work * 10.0)
            assert StreamingCondition.SCALING_INEFFECTIVE not in conditions(decision)
    assert stream.asked == 8


# -- without metrics --------------------------------------------------------------------------------------------------


def test_without_metrics_the_number_stays_and_it_is_told() -> None:
    stream = Stream(DEFAULTS)
    stream.intervals(4, work=32)
    stream.now += 121
    decision = stream.decide()
    assert (decision.executors, decision.reason) == (4, StreamingReason.METRICS_MISSING)
    assert conditions(decision) == {StreamingCondition.METRICS_MISSING}
    assert stream.interval(work=32).reason is StreamingReason.STEADY


def test_or_it_is_the_one_that_was_given_for_that_within_the_bounds() -> None:
    vanished = VanishedMetrics(MissingMetrics.FIXED, executors=50)
    stream = Stream(replace(DEFAULTS, missing_metrics=vanished), maximum=30)
    stream.intervals(4, work=32)
    stream.now += 121
    assert stream.decide().executors == 30


def test_metrics_that_never_came_are_told_and_tasks_decide() -> None:
    stream = Stream(DEFAULTS)
    assert stream.decide().problems == ()
    stream.now += 121
    decision = stream.decide()
    assert decision.executors is None
    assert conditions(decision) == {StreamingCondition.METRICS_MISSING}


def test_a_query_without_a_known_interval_needs_a_target_duration() -> None:
    stream = Stream(DEFAULTS)
    stream.tell(query(batch(1, stream.now, 5.0, 100.0), interval=None))
    decision = stream.decide()
    assert decision.reason is StreamingReason.WAITING_FOR_BATCHES
    assert decision.executors == 4
    assert conditions(decision) == {StreamingCondition.NO_TARGET_DURATION}


def test_bad_samples_are_told_when_they_do_not_end() -> None:
    stream = Stream(DEFAULTS)
    stream.intervals(3, work=32)
    for count in range(1, 5):
        stream.now += 10
        stream.tell(query(batch(50 + count, math.nan, 5.0)))
        told = StreamingCondition.BAD_SAMPLES in conditions(stream.decide())
        assert told is (count >= 3)
    assert stream.interval(work=32).problems == ()


def test_observations_out_of_order_are_left_out() -> None:
    stream = Stream(DEFAULTS)
    stream.intervals(4, work=32)
    before = stream.decide()
    for at in (stream.now - 500, math.nan):
        stream.demand.take(StreamingObservation(at, (query(name=CLICKS),)), stream.slots)
    assert stream.decide() == before


# -- queries come and go ----------------------------------------------------------------------------------------------


def test_before_the_first_query_tasks_decide() -> None:
    stream = Stream(DEFAULTS)
    stream.tell()
    decision = stream.decide()
    assert (decision.executors, decision.reason) == (None, StreamingReason.NO_QUERY)


@pytest.mark.parametrize("how", ["gone", "terminated"])
def test_a_query_that_stops_keeps_its_executors_for_a_moment_in_case_it_restarts(how: str) -> None:
    stream = Stream(DEFAULTS)
    stream.intervals(4, work=32)
    ended = (query(state=QueryState.TERMINATED),) if how == "terminated" else ()
    stream.now += 10
    stream.tell(*ended)
    decision = stream.decide()
    assert (decision.executors, decision.reason) == (4, StreamingReason.NO_QUERY)
    stream.now += 130
    stream.tell(*ended)
    assert stream.decide().executors is None


def test_a_query_that_restarts_goes_on_with_what_its_batches_cost() -> None:
    stream = Stream(DEFAULTS)
    stream.intervals(6, work=32)
    learned = stream.demand.learned[ORDERS]
    stream.now += 60
    stream.tell()
    stream.decide()
    stream.now += 30
    stream.tell(query(batch(0, stream.now, 8.0, 1000.0), run="run-2"))
    assert stream.decide().executors == 4
    assert stream.demand.learned[ORDERS] == learned, "its first batches are no measure"


def test_what_was_learned_is_used_by_the_next_driver_from_its_second_batch_on() -> None:
    first = Stream(DEFAULTS)
    first.intervals(10, work=32)
    second = Stream(DEFAULTS, executors=1)
    second.demand = StreamingDemand(DEFAULTS, learned=first.demand.learned)
    second.now += 10
    second.tell(query(batch(0, second.now - 1, 8.0, 250.0)))
    second.now += 10
    second.tell(query(batch(1, second.now - 1, 8.0, 1000.0)))
    assert second.decide().policy is StreamingPolicy.RATE


def test_of_very_many_queries_the_newest_are_kept() -> None:
    stream = Stream(DEFAULTS)
    for number in range(LEARNED_QUERIES_KEPT + 20):
        stream.now += 10
        stream.tell(query(batch(1, stream.now, 5.0, 100.0), name=QueryName(f"q-{number}")))
    assert len(stream.demand.learned) == LEARNED_QUERIES_KEPT
    assert QueryName("q-0") not in stream.demand.learned


@pytest.mark.parametrize(
    ("trigger", "told"),
    [
        (Trigger.AVAILABLE_NOW, set()),
        (Trigger.ONCE, set()),
        (Trigger.CONTINUOUS, {StreamingCondition.CONTINUOUS_TRIGGER}),
    ],
)
def test_what_is_no_stream_of_batches_is_not_served_as_one(
    trigger: Trigger, told: set[StreamingCondition]
) -> None:
    stream = Stream(DEFAULTS)
    stream.tell(query(batch(1, stream.now, 5.0, 100.0), trigger=trigger))
    decision = stream.decide()
    assert (decision.executors, decision.reason) == (None, StreamingReason.BATCH_DEMAND)
    assert conditions(decision) == told


def test_a_stream_beside_one_that_is_not_served_decides() -> None:
    stream = Stream(DEFAULTS)
    for number in range(3):
        stream.now += 10
        stream.tell(
            query(batch(number, stream.now, 8.0, 100.0)),
            query(name=CLICKS, trigger=Trigger.CONTINUOUS),
        )
    decision = stream.decide()
    assert decision.executors is not None
    assert StreamingCondition.CONTINUOUS_TRIGGER in conditions(decision)


def test_settings_for_a_query_that_nobody_has_are_told_once_queries_are_there() -> None:
    settings = replace(DEFAULTS, queries={QueryName("order"): QuerySettings(catch_up_time_s=60)})
    stream = Stream(settings)
    stream.tell()
    assert conditions(stream.decide()) == set()
    decision = stream.interval(work=32)
    (problem,) = decision.problems
    assert (problem.condition, problem.query) == (StreamingCondition.UNKNOWN_QUERY, "order")


def test_a_batch_that_costs_too_much_by_itself_is_told() -> None:
    stream = Stream(DEFAULTS, executors=4)
    decision = None
    for work in (4, 8, 16, 2, 8, 4, 12, 6, 3, 9) * 3:
        decision = stream.interval(work=work / 4, rows=work * 100.0, fixed=9.0)
    assert decision is not None
    assert StreamingCondition.FIXED_COST in conditions(decision)


def test_settings_change_while_streams_run() -> None:
    stream = Stream(DEFAULTS, executors=4)
    stream.intervals(4, work=32)
    stream.demand.reconfigure(replace(DEFAULTS, target_duration_s=4.0))
    assert stream.interval(work=32).executors == 12


# -- between batches --------------------------------------------------------------------------------------------------


def test_boundaries_of_a_query_in_time() -> None:
    stream = Stream(DEFAULTS)
    stream.interval(work=20)
    stream.interval(work=20)
    boundaries = stream.demand.boundaries()
    assert not boundaries.running
    assert boundaries.ended_at == pytest.approx(stream.now - 5)
    assert boundaries.next_at == pytest.approx(stream.now)
    assert boundaries.is_gap(stream.now - 4)
    assert not boundaries.is_gap(stream.now - 1)


@pytest.mark.parametrize(
    "seen",
    [
        query(batch(2, 1020.0, 12.0), interval=10.0),
        query(batch(2, 1020.0, 5.0), interval=0.0),
        query(batch(2, 1020.0, 5.0), interval=None),
        query(batch(2, 1020.0, 5.0), interval=10.0, age=0.5),
    ],
    ids=["late", "back to back", "unknown interval", "running"],
)
def test_there_is_no_gap_where_the_next_batch_may_begin_at_any_moment(
    seen: QueryObservation,
) -> None:
    stream = Stream(DEFAULTS)
    stream.tell(query(batch(1, 1000.0, 5.0)))
    stream.now = 1020.0
    stream.tell(seen)
    assert not stream.demand.boundaries().is_gap(1020.0)


def test_without_any_query_nothing_is_known_of_batches() -> None:
    assert Stream(DEFAULTS).demand.boundaries().running


@hypothesis_settings(max_examples=40)
@given(
    st.lists(
        st.lists(
            st.builds(
                BatchSample,
                ended_at=st.floats(),
                duration_s=st.floats(),
                batch_id=st.none() | st.integers(),
                input_rows=st.none() | st.floats(),
                processing_rate=st.none() | st.floats(),
                backlog_rows=st.none() | st.floats(),
                largest_stage_tasks=st.none() | st.integers(-5, 10_000),
            ),
            max_size=3,
        ),
        max_size=12,
    ),
    st.none() | st.floats(),
    st.integers(0, 50),
)
def test_no_input_makes_it_fail(
    told: list[list[BatchSample]], interval: float | None, executors: int
) -> None:
    settings = replace(DEFAULTS, batch_duration=BatchDurationSettings(), backlog=BacklogSettings())
    demand = StreamingDemand(settings)
    for place, samples in enumerate(told):
        slots = Slots(executors, 0, -1, executors)
        seen = QueryObservation(ORDERS, batches=tuple(samples), trigger_interval_s=interval)
        demand.take(StreamingObservation(10.0 * place, (seen,)), slots)
        decision = demand.decide(
            now=10.0 * place, wall_clock_s=0.0, slots=slots, min_executors=0, max_executors=60
        )
        assert decision.executors is None or 0 <= decision.executors <= 60


def test_nobody_goes_while_the_first_batch_of_a_query_is_late() -> None:
    # given two queries that have waited for their first executors for five minutes
    demand = StreamingDemand(StreamingSettings())
    demand.take(StreamingObservation(0.0), Slots(0, 2, 0, 4))
    asked = 4
    for second in range(1, 600):
        now, there = float(second), asked if second >= 300 else 0
        late = QueryObservation(
            QueryName("late"), "1", trigger_interval_s=10.0, running=RunningBatch(now, 0, 64)
        )
        quick = QueryObservation(QueryName("quick"), "2", trigger_interval_s=10.0)
        if there and second % 10 == 0:
            done = BatchSample(now, 0.5 if second > 300 else now, second // 10, 10.0)
            quick = replace(quick, batches=(done,))
        elif not there:
            quick = replace(quick, running=RunningBatch(now, 0, 2))

        # when batches of the one go on and the other has not ended its first one
        slots = Slots(there, 2, 2 * there, asked)
        demand.take(StreamingObservation(now, (late, quick)), slots)
        decision = demand.decide(
            now=now, wall_clock_s=now, slots=slots, min_executors=0, max_executors=50
        )

        # then there are never fewer executors than before
        assert decision.executors is not None
        assert decision.executors >= asked
        asked = decision.executors
