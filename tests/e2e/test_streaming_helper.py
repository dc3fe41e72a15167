"""A real stream that reports its progress: the operator sees batches and trigger, and gives it executors for its rate."""

import pytest
from tests.demo import manifests
from tests.e2e.test_drains import MIGRATION
from tests.e2e.waiting import eventually
from tests.e2e.workspace import PROPERTIES, RISE_AND_FALL, Workspace

DRIVER = "orders"
ALLOCATION = "orders"
STREAM = manifests.EXAMPLES / "jobs" / "orders_stream.py"
HELPER = manifests.ROOT / "operator/spark_allocation/driver/streaming_progress.py"
ROWS_PER_SECOND = 2000
"""Each waits for a millisecond, so two executors of one core are always at work."""
SECONDS = 300
START_SECONDS = 240
FOLLOWED_SECONDS = 240


@pytest.mark.slow
def test_a_stream_gets_executors_for_its_rate(space: Workspace) -> None:
    # given a stream with a trigger of ten seconds, which nobody says to the operator, and one executor to begin with
    space.put_job_files(RISE_AND_FALL, STREAM, HELPER, PROPERTIES)
    space.allocate(
        ALLOCATION,
        DRIVER,
        dynamicAllocation={"minExecutors": 1, "maxExecutors": 4},
        decommission={"migrate": True},
        streaming={"cooldown": "5s"},
    )
    space.start_driver(
        DRIVER, str(ROWS_PER_SECOND), str(SECONDS), job=STREAM, managed=False, conf=MIGRATION
    )
    # then the helper tells the trigger, and the rate policy comes to know what an executor does
    shown = eventually(
        lambda: next(iter(space.status(ALLOCATION).get("streaming") or ()), None),
        what="the query is in the status",
        within=START_SECONDS,
        explain=lambda: space.status(ALLOCATION),
    )
    assert (shown["query"], shown["intervalSeconds"]) == ("orders", 10)
    eventually(
        lambda: space.status(ALLOCATION).get("executors", 0) >= 3,
        what="three executors run",
        within=FOLLOWED_SECONDS,
        explain=lambda: space.status(ALLOCATION),
    )
    # and batches are in time again
    eventually(
        lambda: (
            (told := next(iter(space.status(ALLOCATION).get("streaming") or ()), {}))
            and told["batchSeconds"] < told["intervalSeconds"]
        ),
        what="a batch takes less than the interval",
        within=FOLLOWED_SECONDS,
        explain=lambda: space.status(ALLOCATION),
    )
    assert space.condition(ALLOCATION, "StreamingRefused") == {}
    assert space.await_end(DRIVER, within=SECONDS + START_SECONDS) == "Succeeded"
