"""What runs inside a driver: events of streaming queries become documents in gauges, and a job never notices.

The events are Spark's in form; that real ones come and real gauges show is tried in tests/e2e/test_streaming_helper.py.
"""

import ast
import json
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace as Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.driver import report_streaming_progress, streaming_progress
from spark_allocation.driver.streaming_progress import (
    GAUGE_PREFIX,
    MOST_QUERIES,
    Registry,
    Reporter,
    parsed_trigger,
    partitions,
    rows_behind,
)

ORDERS, RUN, NEXT_RUN = "11bdbfeb-5df5", "2ed1ba88-2a26", "68b3424f-51a5"
NOW = 1_795_268_150.5


class Gauges(Registry):
    """Those that a driver shows."""

    def __init__(self) -> None:
        self.shown: dict[str, str] = {}
        self.breaks = False

    def put(self, key: str, document: str) -> None:
        if self.breaks:
            raise RuntimeError("py4j lost its gateway")
        self.shown[key] = document

    def remove(self, key: str) -> None:
        del self.shown[key]

    def of(self, query: str) -> dict[str, Any]:
        return json.loads(self.shown[GAUGE_PREFIX + query])


@pytest.fixture
def gauges() -> Gauges:
    return Gauges()


@pytest.fixture
def reporter(gauges: Gauges) -> Reporter:
    return Reporter(gauges, lambda _: "ProcessingTimeTrigger(10000)", lambda: NOW)


def started(query: str = ORDERS, run: str = RUN, name: str | None = "orders") -> Event:
    return Event(id=query, runId=run, name=name, timestamp="2026-11-21T13:36:01.902Z")


def source(**fields: Any) -> Event:
    return Event(**{"endOffset": None, "latestOffset": None, "metrics": {}} | fields)


def kafka(end: dict[str, int], latest: dict[str, int]) -> Event:
    return source(
        endOffset=json.dumps({"orders": end}), latestOffset=json.dumps({"orders": latest})
    )


def progressed(query: str = ORDERS, run: str = RUN, **fields: Any) -> Event:
    progress = {
        "id": query,
        "runId": run,
        "name": "orders",
        "timestamp": "2026-11-21T13:36:01.902Z",
        "batchId": 7,
        "numInputRows": 480,
        "inputRowsPerSecond": 38.7,
        "processedRowsPerSecond": 100.0,
        "durationMs": {"triggerExecution": 4798, "addBatch": 4700},
        "sources": [],
    }
    return Event(progress=Event(**progress | fields))


def test_a_batch_is_told_with_its_number_rows_duration_and_what_is_left(
    reporter: Reporter, gauges: Gauges
) -> None:
    reporter.started(started())

    reporter.progressed(progressed(sources=[kafka({"0": 10, "1": 5}, {"0": 17, "1": 5})]))

    assert gauges.of(ORDERS) == {
        "format": 1,
        "event": "progress",
        "id": ORDERS,
        "runId": RUN,
        "name": "orders",
        "atMs": 1_795_268_150_500,
        "trigger": "ProcessingTime",
        "triggerIntervalMs": 10_000,
        "batchId": 7,
        "rows": 480,
        "inputRate": 38.7,
        "processingRate": 100.0,
        "durationMs": 4798,
        "batchStartedAt": "2026-11-21T13:36:01.902Z",
        "rowsBehind": 7,
        "partitions": 2,
    }


def test_an_idle_query_still_shows_its_last_batch(reporter: Reporter, gauges: Gauges) -> None:
    reporter.progressed(progressed())

    reporter.idle(Event(id=ORDERS, runId=RUN, timestamp=""))

    assert (gauges.of(ORDERS)["event"], gauges.of(ORDERS)["batchId"]) == ("idle", 7)


def test_a_trigger_of_spark_3_4_that_found_nothing_is_no_batch(
    reporter: Reporter, gauges: Gauges
) -> None:
    reporter.progressed(progressed(batchId=7))

    reporter.progressed(progressed(batchId=8, numInputRows=0, durationMs={"triggerExecution": 3}))

    assert (gauges.of(ORDERS)["event"], gauges.of(ORDERS)["batchId"]) == ("idle", 7)


def test_a_restarted_query_begins_anew(reporter: Reporter, gauges: Gauges) -> None:
    reporter.progressed(progressed())
    reporter.terminated(Event(id=ORDERS, runId=RUN, exception=None))

    reporter.started(started(run=NEXT_RUN))

    told = gauges.of(ORDERS)
    assert (told["event"], told["runId"], "batchId" in told) == ("started", NEXT_RUN, False)


@pytest.mark.parametrize(("exception", "failed"), [(None, False), ("boom", True)])
def test_the_end_is_told_with_whether_it_failed(
    reporter: Reporter, gauges: Gauges, exception: str | None, failed: bool
) -> None:
    reporter.started(started())

    reporter.terminated(Event(id=ORDERS, runId=RUN, exception=exception))

    assert (gauges.of(ORDERS)["event"], gauges.of(ORDERS)["failed"]) == ("terminated", failed)


def test_an_endless_rate_stays_json(reporter: Reporter, gauges: Gauges) -> None:
    reporter.progressed(
        progressed(inputRowsPerSecond=float("nan"), processedRowsPerSecond=float("inf"))
    )

    assert (gauges.of(ORDERS)["inputRate"], gauges.of(ORDERS)["processingRate"]) == (None, None)


def test_a_driver_that_starts_queries_without_end_shows_the_living_ones(
    reporter: Reporter, gauges: Gauges
) -> None:
    reporter.started(started("the-first-one"))
    for number in range(3 * MOST_QUERIES):
        reporter.started(started(f"short-{number}"))
        reporter.terminated(Event(id=f"short-{number}", runId=RUN, exception=None))

    assert len(gauges.shown) == MOST_QUERIES
    assert gauges.of("the-first-one")["event"] == "started"


def test_a_failure_is_logged_once_and_then_there_is_silence(
    reporter: Reporter, gauges: Gauges, caplog: pytest.LogCaptureFixture
) -> None:
    gauges.breaks = True

    for _ in range(3):
        reporter.progressed(progressed())
    gauges.breaks = False
    reporter.progressed(progressed())

    assert gauges.shown == {}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_an_event_of_another_form_does_not_reach_the_job(reporter: Reporter) -> None:
    reporter.progressed(Event(progress=None))


def test_a_session_without_a_jvm_is_told_and_harmless(caplog: pytest.LogCaptureFixture) -> None:
    assert report_streaming_progress(Event()) is False
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ProcessingTimeTrigger(10000)", ("ProcessingTime", 10_000)),
        ("ProcessingTimeTrigger(0)", ("ProcessingTime", 0)),
        ("ContinuousTrigger(1000)", ("Continuous", 1000)),
        ("AvailableNowTrigger", ("AvailableNow", None)),
        ("OneTimeTrigger", ("OneTime", None)),
        ("RealTimeTrigger(300000)", ("RealTime", 300_000)),
        ("", ("", None)),
        ("?!", ("", None)),
    ],
)
def test_triggers_are_read_as_spark_writes_them(
    text: str, expected: tuple[str, int | None]
) -> None:
    assert parsed_trigger(text) == expected


@pytest.mark.parametrize(
    ("sources", "behind", "counted"),
    [
        ([], None, None),
        ([source(endOffset="12", latestOffset="12")], None, None),
        ([kafka({"0": 3}, {"0": 10, "1": 4})], 7, 1),
        ([kafka({"0": 12}, {"0": 10})], 0, 1),
        ([source(endOffset='{"t": {"0": 3, "1": 4}}', metrics={"avgOffsetsBehindLatest": "2.5"})], 5, 2),
        ([source(metrics={"avgOffsetsBehindLatest": "NaN"})], None, None),
        ([source(metrics={"avgOffsetsBehindLatest": "Infinity"})], None, None),
        ([source(endOffset="[[[", latestOffset='{"t": 3}', metrics=None)], None, None),
        ([kafka({"0": 1}, {"0": 3}), source(endOffset="12"), kafka({"0": 1}, {"0": 5})], 6, 2),
    ],
    ids=[
        "no source",
        "the rate source",
        "a partition that is new",
        "a topic that was made anew",
        "a source that tells its lag",
        "a lag that is no number",
        "a lag without end",
        "offsets that nobody can read",
        "two topics and something else",
    ],
)  # fmt: skip
def test_what_is_left_is_counted_by_offsets(
    sources: list[Event], behind: int | None, counted: int | None
) -> None:
    assert (rows_behind(sources), partitions(sources)) == (behind, counted)


@given(st.dictionaries(st.integers(0, 20).map(str), st.tuples(st.integers(0, 10**12), st.integers(0, 10**6)), min_size=1))  # fmt: skip
def test_rows_behind_are_the_sum_over_partitions(of: dict[str, tuple[int, int]]) -> None:
    end = {partition: at for partition, (at, _) in of.items()}
    latest = {partition: at + left for partition, (at, left) in of.items()}

    assert rows_behind([kafka(end, latest)]) == sum(left for _, left in of.values())


def test_the_module_stands_alone_and_reads_on_python_3_8() -> None:
    text = Path(streaming_progress.__file__).read_text()

    ast.parse(text, feature_version=(3, 8))
    alone = [sys.executable, "-I", "-S", Path(streaming_progress.__file__)]
    assert subprocess.run(alone, check=False, capture_output=True).returncode == 0
