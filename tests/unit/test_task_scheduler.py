"""Which executor a task of a simulated run gets, and how long it takes there."""

from dataclasses import replace

from tests.unit.simulated_applications import KEPT, application, job, spark, stage, under

from spark_allocation.core.listener_events import StageSubmitted, TaskEnd, TaskEndReason, TaskStart
from spark_allocation.core.resource_profiles import (
    CORES,
    CPUS,
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
    TaskResourceRequest,
)


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
