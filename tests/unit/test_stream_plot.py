"""``spark-allocation plot``: what a status tells of streams over time, kept in a trace and drawn; and what a trace of the operator tells."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.test_salloc_commands import run, salloc
from tests.unit.traced_world import EPOCH_MS, RandomApplication
from typer.testing import CliRunner

from spark_allocation.cli import connection
from spark_allocation.cli.app import app
from spark_allocation.reports import pictures
from spark_allocation.reports.stream_trace import point_of
from spark_allocation.testing.api_server import FakeApiServer
from spark_allocation.traces.files import entries, find_traces, looks
from spark_allocation.traces.format import Heading, Writing
from spark_allocation.traces.looks import QueryPoint, StreamPoint
from spark_allocation.traces.recorder import Subject, TraceLimits, TraceRecorder

ORDERS = {"query": "orders", "inputRate": 480.0, "batchSeconds": 14.2, "intervalSeconds": 10.0}
_SECONDS = st.none() | st.floats(0, 1e9)
_POINTS = st.lists(
    st.builds(
        StreamPoint,
        st.floats(0, 2e9),
        st.integers(0, 1000),
        st.integers(0, 1000),
        st.lists(st.builds(QueryPoint, st.text(max_size=20), *([_SECONDS] * 4)), max_size=3).map(tuple),
    ),
    max_size=5,
)  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeApiServer:
    fake = FakeApiServer()

    async def opened(**_: Any) -> FakeApiServer:
        return fake

    monkeypatch.setattr(connection, "open_kubernetes_api", opened)
    return fake


def test_a_point_is_what_the_status_says() -> None:
    point = point_of({"executors": 3, "target": 5, "streaming": [ORDERS]}, 17.0)

    assert point == StreamPoint(17.0, 3, 5, (QueryPoint("orders", 480.0, 14.2, 10.0, None),))


@pytest.mark.parametrize("value", [None, "fast", True, math.nan, math.inf, [1]])
def test_what_is_no_number_is_a_gap(value: Any) -> None:
    point = point_of({"streaming": [{"query": "orders", "inputRate": value}, "odd"]}, 17.0)

    assert point.queries == (QueryPoint("orders"),)


@settings(max_examples=20, deadline=None)
@given(_POINTS.filter(bool))
def test_looks_are_read_from_a_trace_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, points: list[StreamPoint]
) -> None:
    file = looked_at(tmp_path_factory.mktemp("looks") / "trace", points)

    (trace,) = find_traces(str(file))

    assert list(looks(trace)) == points
    assert list(entries(trace)) == []


def looked_at(file: Path, points: list[StreamPoint]) -> Path:
    writing = Writing()
    lines = [Heading("jobs", "orders", "", 1, 1).line, *map(writing.told, points)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_a_trace_of_the_operator_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    traces = TraceRecorder(tmp_path, TraceLimits(), operator="test", epoch_ms=lambda: EPOCH_MS)
    traces.start()
    RandomApplication(1, traces.sink(Subject("jobs", "orders", "u")), streams=True).run(40)
    traces.close(60)
    picture = tmp_path / "orders.svg"

    drawn = plot("--trace", tmp_path, "-o", picture)

    assert drawn.exit_code == 0, drawn.output
    assert "jobs/orders" in picture.read_text()


def plot(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["plot", *map(str, arguments)])


def test_a_live_stream_is_drawn_and_kept(server: FakeApiServer, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    salloc(server)["status"]["streaming"] = [ORDERS, {"query": "audit"}]
    picture, record = tmp_path / "orders.svg", tmp_path / "orders.jsonl"

    seen = run(*f"plot job -n jobs --for 1s --interval 0.3 -o {picture} --record {record}".split())

    assert seen.exit_code == 0, seen.output
    assert "<svg" in picture.read_text()
    (trace,) = find_traces(str(record))
    points = list(looks(trace))
    assert trace.name == "jobs/job"
    assert len(points) >= 2
    assert points[0].queries[0].batch_s == 14.2

    again = tmp_path / "again.png"
    assert plot("--trace", record, "-o", again).exit_code == 0
    assert again.read_bytes().startswith(b"\x89PNG")


def test_a_look_that_fails_is_a_gap_and_ends_nothing(
    server: FakeApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    salloc(server)["status"]["streaming"] = [ORDERS]
    record, answered = tmp_path / "orders.jsonl", server.request
    looked = 0

    async def away_for_two_looks(*arguments: Any, **options: Any) -> Any:
        nonlocal looked
        looked += 1
        server.lost = looked in (2, 3)
        return await answered(*arguments, **options)

    monkeypatch.setattr(server, "request", away_for_two_looks)
    options = f"--for 2s --interval 0.2 -o {tmp_path / 'orders.png'} --record {record}"

    seen = run(*f"plot job -n jobs {options}".split())

    assert seen.exit_code == 0, seen.output
    assert seen.stderr.count("looking again: ") == 1
    (trace,) = find_traces(str(record))
    assert looked > 3
    assert len(list(looks(trace))) == looked - 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("plot", 2, "name a SparkAllocation"),
        ("plot job --trace x", 2, "name a SparkAllocation"),
        ("plot job -n jobs --for soon", 2, "--for"),
        ("plot job -n jobs --for -5s", 2, "--for -5s: must not be below zero"),
        ("plot gone -n jobs", 1, "no such SparkAllocation"),
        ("plot job -n jobs --for 0s", 1, "shows no streaming query"),
        ("plot --trace /not/there", 1, "/not/there: one trace is wanted here, and there are: none"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    server: FakeApiServer, arguments: str, code: int, words: str
) -> None:
    salloc(server)

    result = run(*arguments.split())

    assert (result.exit_code, words in result.output) == (code, True), result.output


@pytest.mark.parametrize(
    "options",
    [
        pytest.param("-o x.txt", id="no picture"),
        pytest.param("-o /not/there/x.png", id="no folder"),
        pytest.param("--record /not/there/x", id="nothing can be kept"),
    ],
)
def test_what_could_not_be_written_is_told_before_anybody_looks_for_ten_minutes(
    server: FakeApiServer, options: str
) -> None:
    pytest.importorskip("matplotlib")
    salloc(server)["status"]["streaming"] = [ORDERS]

    result = run(*f"plot job -n jobs --for 10min {options}".split())

    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 2
    assert options.split()[1] in result.output


def test_a_file_that_is_no_picture_is_told(server: FakeApiServer, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    trace = looked_at(tmp_path / "trace", [point_of({"streaming": [ORDERS]}, 17.0)])

    assert plot("--trace", trace, "-o", tmp_path / "x.txt").exit_code == 2


def test_without_matplotlib_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    trace = looked_at(tmp_path / "trace", [StreamPoint(1.0, 1, 1, (QueryPoint("a"),))])
    monkeypatch.setattr(pictures, "import_module", missing)

    result = plot("--trace", trace)

    assert (result.exit_code, "pip install matplotlib" in result.output) == (2, True)
