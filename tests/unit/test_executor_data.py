"""What the executors of a simulated run hold: who has a block, and what becomes of it."""

from dataclasses import replace

from tests.unit.simulated_applications import (
    application,
    job,
    shuffle_read_again,
    spark,
    stage,
    under,
)

from spark_allocation.core.listener_events import TaskStart
from spark_allocation.core.simulation.application import (
    Follows,
    RecordedApplication,
    RecordedUnpersist,
)


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
