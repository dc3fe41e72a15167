"""What waits for what in a simulated run, and what is computed again."""

from dataclasses import replace

from tests.unit.simulated_applications import (
    KEPT,
    application,
    shuffle_read_again,
    spark,
    stage,
    under,
)

from spark_allocation.core.listener_events import StageSubmitted


def test_stages_wait_for_what_they_read_and_then_for_their_pause() -> None:
    child = replace(stage(1, [1, 1], parents=(0,)), pause_ms=500)
    run = application([stage(0, [1, 3], writes=True), child])
    outcome, heard = under(run, spark(run, **KEPT))
    submitted = {e.stage.stage_id: at for at, e in heard if isinstance(e, StageSubmitted)}
    assert submitted == {0: 0, 1: 3500}
    assert outcome.makespan_ms == 4500


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


def test_shuffle_data_elsewhere_goes_with_nobody() -> None:
    run = shuffle_read_again()
    run = replace(run, properties={**run.properties, "spark.shuffle.service.enabled": "true"})
    outcome, _ = under(run, spark(run, maxExecutors=4, executorIdleTimeout="10s"))
    assert outcome.drains > 0
    assert outcome.recomputed_ms == 0
