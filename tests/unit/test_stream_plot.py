"""``spark-allocation plot``: what a status tells of streams over time, kept in a trace and drawn."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_salloc_commands import run, salloc
from typer.testing import CliRunner

from spark_allocation.cli import connection
from spark_allocation.cli.app import app
from spark_allocation.reports import pictures
from spark_allocation.reports.stream_trace import QueryPoint, StreamPoint, point_of, read_trace
from spark_allocation.testing.api_server import FakeApiServer

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


@given(_POINTS)
def test_a_trace_is_read_as_it_was_written(points: list[StreamPoint]) -> None:
    assert read_trace([point.line for point in points]) == points


@given(_POINTS.filter(bool), st.integers(0, 300))
def test_a_trace_that_was_broken_off_is_as_good_as_it_is_long(
    points: list[StreamPoint], kept: int
) -> None:
    whole = "\n".join(point.line for point in points)
    cut = whole[: len(points[0].line) + 1 + kept]

    found = read_trace(cut.splitlines())

    assert found == points[: len(found)]
    assert found


@pytest.mark.parametrize("line", ["[]", "7", "{}", "text", '{"at": 1, "queries": [{"odd": 1}]}'])
def test_another_file_is_no_trace(line: str) -> None:
    with pytest.raises(ValueError, match="line 1 "):
        read_trace([line, line])


def plot(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["plot", *map(str, arguments)])


def test_a_live_stream_is_drawn_and_kept(server: FakeApiServer, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    salloc(server)["status"]["streaming"] = [ORDERS, {"query": "audit"}]
    picture, record = tmp_path / "orders.svg", tmp_path / "orders.jsonl"

    seen = run(*f"plot job -n jobs --for 1s --interval 0.3 -o {picture} --record {record}".split())

    assert seen.exit_code == 0, seen.output
    assert "<svg" in picture.read_text()
    points = read_trace(record.read_text().splitlines())
    assert len(points) >= 2
    assert points[0].queries[0].batch_s == 14.2

    again = tmp_path / "again.png"
    assert plot("--trace", record, "-o", again).exit_code == 0
    assert again.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("plot", 2, "name a SparkAllocation"),
        ("plot job --trace x", 2, "name a SparkAllocation"),
        ("plot job -n jobs --for soon", 2, "--for"),
        ("plot gone -n jobs", 1, "no such SparkAllocation"),
        ("plot job -n jobs --for 0s", 1, "shows no streaming query"),
        ("plot --trace /not/there", 1, "/not/there"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    server: FakeApiServer, arguments: str, code: int, words: str
) -> None:
    salloc(server)

    result = run(*arguments.split())

    assert (result.exit_code, words in result.output) == (code, True), result.output


def test_a_file_that_is_no_picture_is_told(server: FakeApiServer, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    trace = tmp_path / "trace"
    trace.write_text(point_of({"streaming": [ORDERS]}, 17.0).line)

    assert plot("--trace", trace, "-o", tmp_path / "x.txt").exit_code == 2


def test_without_matplotlib_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    trace = tmp_path / "trace"
    trace.write_text(json.dumps({"at": 1.0, "executors": 1, "target": 1, "queries": [{"query": "a"}]}))  # fmt: skip
    monkeypatch.setattr(pictures, "import_module", missing)

    result = plot("--trace", trace)

    assert (result.exit_code, "pip install matplotlib" in result.output) == (2, True)
