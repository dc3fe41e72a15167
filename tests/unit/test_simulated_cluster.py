"""When the executors of a simulated run register, take tasks and are lost."""

from dataclasses import replace

from tests.unit.simulated_applications import (
    AT_ONCE,
    KEPT,
    application,
    executors_at,
    spark,
    stage,
    under,
)

from spark_allocation.core.listener_events import TaskEnd, TaskEndReason, TaskStart
from spark_allocation.core.simulation.cluster import ClusterModel


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


def test_tasks_of_a_lost_executor_run_again_elsewhere() -> None:
    run = application([stage(0, [600] * 4)])
    cluster = replace(AT_ONCE, failures_per_hour=12.0, seed=5)
    outcome, heard = under(run, spark(run, **KEPT), cluster)
    assert outcome.finished
    assert outcome.losses > 0
    assert outcome.recomputed_ms > 0
    succeeded = [e.index for _, e in heard if isinstance(e, TaskEnd) and e.reason is TaskEndReason.SUCCESS]  # fmt: skip
    assert sorted(succeeded) == [0, 1, 2, 3]


def test_who_lost_several_tasks_at_once_has_them_run_again_in_the_same_order_each_time() -> None:
    run = application([stage(0, [400] * 30)], properties={"spark.executor.cores": "8"})
    cluster = replace(AT_ONCE, failures_per_hour=12.0, seed=5)
    policy = spark(run, **KEPT)
    first, *others = (under(run, policy, cluster) for _ in range(5))
    assert first[0].losses > 0
    for other in others:
        assert other[1] == first[1]
