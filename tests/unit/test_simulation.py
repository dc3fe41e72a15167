"""What a simulated run does: places for tasks, what waits for what, and what goes with an executor."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.simulated_applications import (
    AT_ONCE,
    application,
    executors_at,
    job,
    log_of,
    operator,
    spark,
    stage,
    under,
)

from spark_allocation.controller.what_if import (
    PolicyFile,
    curve_difference,
    policy_for,
    recorded_outcome,
    simulated,
)
from spark_allocation.core.listener_events import (
    JobEnd,
    JobStart,
    StageSubmitted,
    TaskEnd,
    TaskEndReason,
    TaskStart,
)
from spark_allocation.core.resource_profiles import (
    CORES,
    CPUS,
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
    TaskResourceRequest,
)
from spark_allocation.core.simulation.application import (
    Follows,
    RecordedApplication,
    RecordedUnpersist,
)
from spark_allocation.core.simulation.cluster import ClusterModel, chance
from spark_allocation.core.simulation.timeline import Timeline, area_between
from spark_allocation.sources.event_log.log_files import find_logs
from spark_allocation.sources.event_log.reading import read_log

KEPT = {"minExecutors": 4, "maxExecutors": 4, "executorIdleTimeout": "1h"}


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


def test_what_starts_late_registers_late() -> None:
    run = application([stage(0, [5] * 4)])
    cluster = ClusterModel(start_delays_ms=(3_000, 7_000))
    outcome, _ = under(run, spark(run, **KEPT), cluster)
    assert executors_at(outcome, 2.9, 3, 6.9, 7) == [0, 2, 2, 4]


def test_delays_of_a_log_count_from_the_moment_at_which_executors_were_wanted() -> None:
    """Spark asks for ten pods a second; the last of thirty has waited two seconds when it is asked for."""
    run = application([stage(0, [60] * 30)])
    bounds = {"minExecutors": 30, "maxExecutors": 30}
    for counted, expected in ((False, [10, 20, 30]), (True, [30, 30, 30])):
        cluster = ClusterModel(start_delays_ms=(5_000,), delays_count_from_target=counted)
        outcome, _ = under(run, spark(run, **bounds), cluster)
        assert executors_at(outcome, 5.5, 6.5, 7.5) == expected


def test_an_executor_takes_tasks_a_while_after_it_registered() -> None:
    run = application([stage(0, [5])])
    cluster = ClusterModel(start_delays_ms=(2_000,), first_task_after_ms=700)
    outcome, heard = under(run, spark(run, **KEPT), cluster)
    assert [at for at, e in heard if isinstance(e, TaskStart)] == [2_700]
    assert executors_at(outcome, 2) == [4]


def test_only_so_many_pods_begin_to_start_in_a_minute() -> None:
    run = application([stage(0, [60] * 4)])
    cluster = ClusterModel(start_delays_ms=(1_000,), pods_per_minute=6)
    outcome, _ = under(run, spark(run, **KEPT), cluster)
    assert executors_at(outcome, 1, 10.9, 11, 21, 31) == [1, 1, 2, 3, 4]


# -- the order of work ------------------------------------------------------------------------------------------------


def test_stages_wait_for_what_they_read_and_then_for_their_pause() -> None:
    child = replace(stage(1, [1, 1], parents=(0,)), pause_ms=500)
    run = application([stage(0, [1, 3], writes=True), child])
    outcome, heard = under(run, spark(run, **KEPT))
    submitted = {e.stage.stage_id: at for at, e in heard if isinstance(e, StageSubmitted)}
    assert submitted == {0: 0, 1: 3500}
    assert outcome.makespan_ms == 4500


def test_jobs_follow_the_jobs_that_they_followed() -> None:
    stages = [stage(number, [seconds]) for number, seconds in enumerate((2, 4, 1))]
    jobs = [job(0, 0, after=0), job(1, 1, after=0), job(2, 2, after=2, pause=1)]
    run = application(stages, jobs, tail=2)
    outcome, heard = under(run, spark(run, **KEPT))
    assert {e.job_id: at for at, e in heard if isinstance(e, JobStart)} == {0: 0, 1: 0, 2: 5000}
    assert {e.job_id: at for at, e in heard if isinstance(e, JobEnd)} == {0: 2000, 1: 4000, 2: 6000}
    assert outcome.makespan_ms == 8000


def test_a_new_stage_spreads_over_all_free_executors() -> None:
    run = application(
        [stage(0, [9] * 4)], [job(0, 0, pause=1)], properties={"spark.executor.cores": "4"}
    )
    _, heard = under(run, spark(run, **KEPT))
    assert len({e.executor_id for _, e in heard if isinstance(e, TaskStart)}) == 4


def test_an_earlier_job_goes_first() -> None:
    jobs = [job(0, 0, after=0), job(1, 1, after=0)]
    run = application([stage(0, [1] * 3), stage(1, [1] * 3)], jobs)
    _, heard = under(run, spark(run, minExecutors=1, maxExecutors=1))
    assert [e.stage_id for _, e in heard if isinstance(e, TaskStart)] == [0, 0, 0, 1, 1, 1]


def test_a_task_that_failed_by_itself_takes_both_times() -> None:
    run = application([stage(0, [5], failures={0: (2000,)})])
    outcome, heard = under(run, spark(run, **KEPT))
    ends = [(at, e.reason) for at, e in heard if isinstance(e, TaskEnd)]
    assert ends == [(2000, TaskEndReason.FAILED), (7000, TaskEndReason.SUCCESS)]
    assert outcome.recomputed_ms == 0


def test_tasks_of_a_profile_run_on_its_own_executors() -> None:
    two_each = ResourceProfile(
        ProfileId(1),
        {CORES: ExecutorResourceRequest(CORES, 4)},
        {CPUS: TaskResourceRequest(CPUS, 2)},
    )
    run = replace(
        application([stage(0, [5] * 2), stage(1, [5] * 8, profile=1)]), profiles=(two_each,)
    )
    outcome, heard = under(run, spark(run, maxExecutors=4))
    used = {
        number: {
            e.executor_id for _, e in heard if isinstance(e, TaskStart) and e.stage_id == number
        }
        for number in (0, 1)
    }
    assert not used[0] & used[1]
    assert len(used[1]) == 4
    assert outcome.core_ms > outcome.executor_ms


def test_a_batch_of_a_stream_does_not_begin_before_its_time() -> None:
    jobs = [
        replace(job(n, n), follows=Follows(n, 0, "query"), not_before_ms=10_000 * (n + 1))
        for n in range(3)
    ]
    run = application([stage(0, [1]), stage(1, [15]), stage(2, [1])], jobs)
    _, heard = under(run, spark(run, **KEPT))
    assert [at for at, e in heard if isinstance(e, JobStart)] == [10_000, 20_000, 35_000]


# -- what goes with an executor ---------------------------------------------------------------------------------------


def shuffle_read_again(pause: float = 60) -> RecordedApplication:
    """A map stage, its reader, and after a pause another job that reads the same shuffle."""
    stages = [
        stage(0, [4] * 4, writes=True),
        stage(1, [1] * 4, parents=(0,)),
        stage(2, [1] * 4, parents=(0,)),
    ]
    return application(stages, [job(0, 0, 1), job(1, 2, pause=pause, reads=(0,))])


def test_shuffle_data_that_is_tracked_holds_its_executors() -> None:
    run = shuffle_read_again()
    outcome, _ = under(run, spark(run, maxExecutors=4, executorIdleTimeout="10s"))
    assert (outcome.drains, outcome.recomputed_ms) == (0, 0)


def test_what_goes_with_executors_is_computed_again() -> None:
    run = shuffle_read_again()
    settings = {"executorIdleTimeout": "10s", "shuffleTracking_timeout": "20s"}
    outcome, heard = under(run, spark(run, maxExecutors=4, **settings))
    assert outcome.recomputed_ms == 4 * 4000
    attempts = [e.stage.attempt for _, e in heard if isinstance(e, StageSubmitted) and e.stage.stage_id == 0]  # fmt: skip
    assert attempts == [0, 1]
    assert outcome.finished


def test_executors_that_hand_their_data_on_lose_nothing() -> None:
    run = shuffle_read_again()
    migration = {
        "spark.decommission.enabled": "true",
        "spark.storage.decommission.enabled": "true",
    }
    run = replace(run, properties={**run.properties, **migration})
    policy = spark(run, maxExecutors=4, minExecutors=1, executorIdleTimeout="10s", shuffleTracking_timeout="20s")  # fmt: skip
    outcome, _ = under(run, policy)
    assert outcome.drains > 0
    assert outcome.recomputed_ms == 0


def test_shuffle_data_elsewhere_goes_with_nobody() -> None:
    run = shuffle_read_again()
    run = replace(run, properties={**run.properties, "spark.shuffle.service.enabled": "true"})
    outcome, _ = under(run, spark(run, maxExecutors=4, executorIdleTimeout="10s"))
    assert outcome.drains > 0
    assert outcome.recomputed_ms == 0


def cached_read_again() -> RecordedApplication:
    return application(
        [stage(0, [4] * 4, cached=(7,)), stage(1, [1] * 4, cached=(7,))],
        [job(0, 0), job(1, 1, pause=60)],
    )


def test_cached_blocks_hold_their_executors_and_draw_their_tasks() -> None:
    run = cached_read_again()
    outcome, heard = under(run, spark(run, maxExecutors=4, executorIdleTimeout="10s"))
    assert (outcome.drains, outcome.recomputed_ms) == (0, 0)
    places = {
        number: {
            e.index: e.executor_id
            for _, e in heard
            if isinstance(e, TaskStart) and e.stage_id == number
        }
        for number in (0, 1)
    }
    assert places[0] == places[1]


def test_blocks_that_are_gone_are_computed_again() -> None:
    run = cached_read_again()
    policy = spark(run, maxExecutors=4, executorIdleTimeout="10s", cachedExecutorIdleTimeout="20s")
    outcome, _ = under(run, policy)
    assert outcome.recomputed_ms == 4 * 4000


def test_an_rdd_that_is_unpersisted_holds_nobody() -> None:
    run = replace(cached_read_again(), unpersists=(RecordedUnpersist(7, Follows(1, 1000)),))
    outcome, _ = under(run, spark(run, maxExecutors=4, executorIdleTimeout="10s"))
    assert outcome.drains > 0


def test_a_task_waits_for_its_executor_only_so_long() -> None:
    """The executor that has the block is busy for long: after three seconds another one may read it."""
    stages = [stage(0, [1], cached=(7,)), stage(1, [60] * 2), stage(2, [1], cached=(7,))]
    jobs = [job(0, 0), job(1, 1, after=1), job(2, 2, after=1, pause=1)]
    run = application(stages, jobs)
    outcome, heard = under(
        run, spark(run, minExecutors=2, maxExecutors=3, executorIdleTimeout="1h")
    )
    (began,) = (at for at, e in heard if isinstance(e, TaskStart) and e.stage_id == 2)
    (submitted,) = (
        at for at, e in heard if isinstance(e, StageSubmitted) and e.stage.stage_id == 2
    )
    assert 3000 <= began - submitted < 4000
    assert outcome.recomputed_ms == 0


def test_tasks_of_a_lost_executor_run_again_elsewhere() -> None:
    run = application([stage(0, [600] * 4)])
    cluster = replace(AT_ONCE, failures_per_hour=12.0, seed=5)
    outcome, heard = under(run, spark(run, **KEPT), cluster)
    assert outcome.finished
    assert outcome.losses > 0
    assert outcome.recomputed_ms > 0
    succeeded = [e.index for _, e in heard if isinstance(e, TaskEnd) and e.reason is TaskEndReason.SUCCESS]  # fmt: skip
    assert sorted(succeeded) == [0, 1, 2, 3]


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
    again = simulated(read.application, policy_for(read.application, file), cluster)
    if outcome.recomputed_ms == 0:
        assert again.makespan_ms == outcome.makespan_ms
        assert curve_difference(again, recorded) in (None, 0.0)
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
    assert again.finished


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
