"""Streams whose tasks turn out to run in another resource profile than was thought go on being served there."""

from typing import Any, cast

from spark_allocation.controller.streaming_backlogs import BacklogAsking
from spark_allocation.controller.streaming_life import LifeStreams
from spark_allocation.controller.streaming_settings import BacklogQuestions
from spark_allocation.core.driver_report import DriverReport, StageReport
from spark_allocation.core.dynamic_allocation_conf import ExecutorBounds
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.streaming.observations import Slots
from spark_allocation.core.streaming.settings import StreamingSettings
from spark_allocation.core.streaming.streams import Streams
from spark_allocation.core.streaming_report import QueryGauges, StreamingJob, StreamingReport
from spark_allocation.sources.promql import PrometheusQueries

OTHER = ProfileId(1)


def answer(batch: int) -> DriverReport:
    """A batch of a second each; from the second answer on its tasks are seen, in another profile."""
    gauges = (QueryGauges("orders", 1000.0 + batch, 100.0, 100.0),)
    if batch == 0:
        return DriverReport((), (), (), None, streaming=StreamingReport(gauges))
    job = StreamingJob("run", "id", "orders", batch, (batch,), 8)
    stage = StageReport(batch, 0, OTHER, 8, 0, 0)
    return DriverReport(
        (stage,), (), (batch,), None, streaming=StreamingReport(gauges, jobs=(job,))
    )


def test_streams_that_turn_out_to_run_in_another_profile_are_served_in_it() -> None:
    # given a query whose first answer does not tell yet in which profile its tasks run
    settings = StreamingSettings(target_duration_s=10.0)
    seen = LifeStreams(BacklogAsking(PrometheusQueries(cast("Any", None)), "jobs"))
    seen.reconfigure(settings, BacklogQuestions())
    streams = Streams(settings)

    # when its batches go on
    slots = Slots(executors=4, tasks_per_executor=2, executors_asked=4)
    for batch in range(6):
        now = 10.0 * (batch + 1)
        for observed in seen.observe(answer(batch), answered_at_ns=int(now * 1e9), epoch_ms=0):
            streams.take(observed, slots)
        streams.decide(
            now=now,
            wall_clock_s=now,
            slots=lambda _: slots,
            bounds=lambda _: ExecutorBounds(0, 0, 10),
            finishes_tasks=True,
        )

    # then it is the other profile that has a target for streams
    assert [decision.profile_id for decision in streams.decisions] == [OTHER]
    assert streams.targets.keys() == {OTHER}
    assert streams.learned["orders"].is_known
