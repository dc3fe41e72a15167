"""What a simulated run does as a whole: how executors rise and fall, and rules that hold for every run."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.simulated_applications import (
    application,
    executors_at,
    job,
    log_of,
    operator,
    spark,
    stage,
    under,
)

from spark_allocation.controller.policy_files import PolicyFile
from spark_allocation.controller.what_if import (
    curve_difference,
    policy_for,
    recorded_outcome,
    simulated,
)
from spark_allocation.core.listener_events import (
    TaskEnd,
    TaskEndReason,
    TaskStart,
)
from spark_allocation.core.simulation.application import (
    RecordedApplication,
)
from spark_allocation.core.simulation.cluster import ClusterModel, chance
from spark_allocation.core.simulation.timeline import Timeline, area_between
from spark_allocation.sources.event_log.log_files import find_logs
from spark_allocation.sources.event_log.reading import read_log

# -- the rise and the fall --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [spark, operator])
def test_executors_rise_by_one_two_four_eight_each_backlog_timeout(host) -> None:
    run = application([stage(0, [60] * 100)], [job(0, 0, pause=2)])
    policy = (
        spark(run, maxExecutors=100)
        if host is spark
        else operator(run, dynamicAllocation={"maxExecutors": 100})
    )
    outcome, _ = under(run, policy)
    # waiting since second 2, the first executor comes a second later
    assert executors_at(outcome, 2.9, 3.2, 4.2, 5.2, 6.2) == [0, 1, 3, 7, 15]


def test_an_idle_executor_goes_after_its_timeout_and_not_before() -> None:
    run = application([stage(0, [10])], tail=200)
    outcome, _ = under(run, spark(run, maxExecutors=1, executorIdleTimeout="120s"))
    # asked for at second 1, busy until 11
    assert executors_at(outcome, 11, 130.9, 131.2) == [1, 1, 0]
    assert outcome.drains == 1


@pytest.mark.parametrize("host", [spark, operator])
def test_the_minimum_stays(host) -> None:
    run = application([stage(0, [1] * 8)], tail=300)
    bounds = {"minExecutors": 2, "initialExecutors": 3, "maxExecutors": 8}
    policy = spark(run, **bounds) if host is spark else operator(run, dynamicAllocation=bounds)
    outcome, _ = under(run, policy)
    assert executors_at(outcome, 0.5, 200) == [3, 2]


def test_who_never_asks_for_an_executor_never_ends() -> None:
    run = application([stage(0, [1])])
    outcome, _ = under(run, spark(run, maxExecutors=1, schedulerBacklogTimeout="1000d"))
    assert not outcome.finished
    assert "nobody asks for an executor" in outcome.why_not_finished


# -- rules ------------------------------------------------------------------------------------------------------------


@st.composite
def applications(draw: st.DrawFn) -> RecordedApplication:
    """Some jobs of some stages; some stages write shuffle data that later ones, also of later jobs, read."""
    stages, jobs = [], []
    for number in range(draw(st.integers(1, 4))):
        own = []
        for _ in range(draw(st.integers(1, 3))):
            stage_id = len(stages)
            writers = [each.stage_id for each in stages if each.writes_shuffle]
            parents = draw(st.lists(st.sampled_from(writers), unique=True, max_size=2)) if writers else []  # fmt: skip
            seconds = draw(st.lists(st.sampled_from([0.3, 1, 4, 20]), min_size=1, max_size=12))
            cached = draw(st.sampled_from([(), (), (1,)]))
            stages.append(
                stage(
                    stage_id,
                    seconds,
                    parents=tuple(parents),
                    writes=draw(st.booleans()),
                    cached=cached,
                )
            )
            own.append(stage_id)
        reads = {each for one in own for each in stages[one].parents if each not in own}
        jobs.append(
            job(
                number,
                *own,
                pause=draw(st.sampled_from([0, 0.2, 5, 40])),
                reads=tuple(sorted(reads)),
            )
        )
    return application(stages, jobs, tail=1)


SETTINGS = st.fixed_dictionaries(
    {
        "minExecutors": st.integers(0, 2),
        "maxExecutors": st.integers(2, 9),
        "executorIdleTimeout": st.sampled_from(["1s", "10s", "60s"]),
        "cachedExecutorIdleTimeout": st.sampled_from(["5s", "1h"]),
    },
    optional={
        "shuffleTracking.timeout": st.sampled_from(["5s", "1h"]),
        "schedulerBacklogTimeout": st.sampled_from(["1s", "3s"]),
    },
)
CLUSTERS = st.builds(
    ClusterModel,
    start_delays_ms=st.sampled_from([(0,), (2_000,), (1_000, 5_000)]),
    pods_per_minute=st.sampled_from([None, 30.0]),
    failures_per_hour=st.sampled_from([0.0, 0.0, 6.0]),
    seed=st.integers(0, 3),
)


def written(settings: dict[str, object]) -> dict[str, str]:
    found = {f"spark.dynamicAllocation.{key}": str(value) for key, value in settings.items()}
    return {"spark.dynamicAllocation.enabled": "true", **found}


@hypothesis_settings(max_examples=20, deadline=None)
@given(run=applications(), wishes=SETTINGS, cluster=CLUSTERS, by_operator=st.booleans())
def test_every_task_succeeds_and_nothing_happens_twice(
    run: RecordedApplication, wishes: dict[str, object], cluster: ClusterModel, by_operator: bool
) -> None:
    if by_operator:
        dynamic = {key: value for key, value in wishes.items() if "." not in key}
        policy = operator(run, dynamicAllocation=dynamic)
    else:
        policy = policy_for(run, PolicyFile("p", (written(wishes),)))
    outcome, heard = under(run, policy, cluster)
    assert outcome.finished
    done = {
        (e.stage_id, e.index)
        for _, e in heard
        if isinstance(e, TaskEnd) and e.reason is TaskEndReason.SUCCESS
    }
    assert len(done) == run.num_tasks
    assert outcome.peak_executors <= int(str(wishes["maxExecutors"])) + outcome.drains + outcome.losses  # fmt: skip
    assert 0 <= outcome.busy_ms <= outcome.slot_ms
    work = sum(sum(each.durations_ms) for each in run.stages.values())
    assert outcome.busy_ms == work + outcome.recomputed_ms
    again, _ = under(run, policy, cluster)
    assert list(again.timeline) == list(outcome.timeline)
    running: dict[str, int] = {}
    for _, event in heard:
        if isinstance(event, TaskStart):
            running[event.executor_id] = running.get(event.executor_id, 0) + 1
            assert running[event.executor_id] <= 1
        elif isinstance(event, TaskEnd) and running.get(event.executor_id):
            running[event.executor_id] -= 1


@hypothesis_settings(max_examples=25, deadline=None)
@given(run=applications(), wishes=SETTINGS, by_operator=st.booleans())
def test_the_log_of_a_run_simulated_with_its_settings_is_that_run(
    tmp_path_factory: pytest.TempPathFactory,
    run: RecordedApplication,
    wishes: dict[str, object],
    by_operator: bool,
) -> None:
    """The reader, the settings and the simulation together: nothing of a run is lost on the way through its log."""
    cluster = ClusterModel(start_delays_ms=(2_000,))
    properties = written(wishes)
    dynamic = {key: value for key, value in wishes.items() if "." not in key}
    document = {"kind": "SparkAllocation", "spec": {"driver": {"podName": "d"}, "dynamicAllocation": dynamic}}  # fmt: skip
    file = PolicyFile("p", (document if by_operator else properties,))
    outcome, heard = under(run, policy_for(run, file), cluster)
    path = log_of(run, heard, outcome, properties).write(tmp_path_factory.mktemp("log") / "log")
    (files,) = find_logs(str(path))
    read = read_log(files)
    assert read.notes.sentences() == []
    recorded = recorded_outcome(read.application)
    assert (recorded.makespan_ms, recorded.executor_ms) == (outcome.makespan_ms, outcome.executor_ms)  # fmt: skip
    # two executors that begin with longer tasks than come later look as if they had warmed up
    warm_ups = read.application.warm_ups_ms()
    cluster = replace(cluster, warm_ups_ms=tuple(warm_ups) or (0,))
    again = simulated(read.application, policy_for(read.application, file), cluster)
    if outcome.recomputed_ms == 0:
        assert again.makespan_ms == outcome.makespan_ms
        assert curve_difference(again, recorded) in (None, 0.0)
    assert again.finished
    if any(warm_ups):
        return
    # what was computed again belongs to the recorded run: what there is to do is told as it was
    assert {
        stage_id: list(each.durations_ms)
        for stage_id, each in read.application.stages.items()
        if not each.cached_rdds
    } == {
        stage_id: list(each.durations_ms)
        for stage_id, each in run.stages.items()
        if not each.cached_rdds
    }


def test_the_area_between_two_curves() -> None:
    one, other = Timeline(), Timeline()
    for timeline, points in ((one, [(0, 1), (4, 3)]), (other, [(2, 2)])):
        for at, executors in points:
            timeline.add(at * 1000, executors, 0, 0)
    # 0-2: 1 against 0; 2-4: 1 against 2; 4-10: 3 against 2
    assert area_between(one, other, 10_000) == 2000 + 2000 + 6000
    assert area_between(one, one, 10_000) == 0
    assert one.executor_ms(10_000) == 4000 + 18_000


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=4))
def test_chance_is_above_nothing_and_the_same_again(keys: list[int]) -> None:
    assert 0 < chance(*keys) <= 1
    assert chance(*keys) == chance(*keys)


def test_chance_is_spread_evenly() -> None:
    drawn = sorted(chance(1, number) for number in range(4000))
    assert all(abs(value - place / 4000) < 0.03 for place, value in enumerate(drawn))
