"""Traces: what reached the core is written, read again, and put into the core again with the same result."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.traced_world import EPOCH_MS, Both, Memory, RandomApplication

from spark_allocation.core.streaming.observations import RunningBatch
from spark_allocation.core.trace.inputs import ClaimMade, LifeBegun, StreamsSeen
from spark_allocation.core.trace.recorded_properties import recorded_properties
from spark_allocation.core.trace.replay import Entry, Gap, NoBeginning, Replay, StepTaken, replayed
from spark_allocation.traces.files import DamagedTrace, entries, find_traces
from spark_allocation.traces.format import Reading
from spark_allocation.traces.node_marks import NodeMarks, between
from spark_allocation.traces.recorder import Subject, TraceLimits, TraceRecorder

ORDERS = Subject("jobs", "orders", "uid-1")
SEEDS = st.integers(0, 2**32)


def recorder(folder: Path, limits: TraceLimits | None = None, **more: int) -> TraceRecorder:
    made = TraceRecorder(
        folder, limits or TraceLimits(), operator="test", epoch_ms=lambda: EPOCH_MS, **more
    )
    made.start()
    return made


def written(folder: Path, seed: int, *, seconds: int = 80, streams: bool = False) -> Memory:
    """A random application recorded into a folder, and what it was like."""
    memory = Memory()
    writing = recorder(folder)
    RandomApplication(seed, Both(memory, writing.sink(ORDERS)), streams).run(seconds)
    writing.close(60)
    return memory


def of(folder: Path) -> list[Entry]:
    (trace,) = find_traces(str(folder))
    return [entry for _, entry in entries(trace)]


# -- the same decisions ------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.booleans())
def test_what_reached_the_core_put_into_it_again_brings_the_same_steps(
    seed: int, streams: bool
) -> None:
    memory = Memory()
    RandomApplication(seed, memory, streams).run(80)

    steps = list(replayed(memory.entries))

    assert [each.step for each in steps] == memory.steps
    assert all(each.exact for each in steps)


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.booleans())
def test_a_trace_that_was_read_brings_the_same_decisions(
    tmp_path_factory: pytest.TempPathFactory, seed: int, streams: bool
) -> None:
    folder = tmp_path_factory.mktemp("trace")
    memory = written(folder, seed, streams=streams)

    steps = list(replayed(of(folder)))

    assert len(steps) == len(memory.steps)
    assert [each.differences for each in steps if each.differences] == []
    assert all(each.exact for each in steps)


def test_a_trace_of_a_version_that_did_not_tell_how_far_stages_are_can_still_be_read() -> None:
    line = {
        "is": "streams",
        "observation": {
            "observed_at": 7.0,
            "queries": [{"name": "orders", "running": {"age_s": 3.0, "largest_stage_tasks": 8}}],
        },
    }
    seen = Reading().entry(line)
    assert isinstance(seen, StreamsSeen)
    assert seen.observation.queries[0].running == RunningBatch(3.0, largest_stage_tasks=8)


def test_other_settings_are_noticed_as_another_decision() -> None:
    memory = Memory()
    RandomApplication(1, memory).run(120)
    life, *rest = memory.entries
    assert isinstance(life, LifeBegun)
    fewer = replace(life.settings.dynamic, min_executors=0, initial_executors=0, max_executors=1)
    other = replace(life, settings=replace(life.settings, dynamic=fewer))

    assert any(each.differences for each in replayed([other, *rest]))


# -- what is in a file -------------------------------------------------------------------------------------------------


def test_nothing_that_others_may_not_see_is_in_a_trace(tmp_path: Path) -> None:
    written(tmp_path, 1, streams=True)
    text = "".join(gzip.decompress(path.read_bytes()).decode() for path in tmp_path.rglob("*.gz"))

    assert '"OOMKilled"' in text
    for secret in ("hunter2", "10.0.0", "ip-10-0", "node-3", "private", "no node of", "lost at"):
        assert secret not in text


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("spark.executor.cores", "4", True),
        ("spark.executor.memory", "4g", True),
        ("spark.dynamicAllocation.executorIdleTimeout", "120s", True),
        ("spark.executor.resource.gpu.amount", "1", True),
        ("spark.decommission.enabled", "true", True),
        ("spark.executor.memory", "${env:TOKEN}", False),
        ("spark.executor.cores", "hunter2hunter2", False),
        ("spark.dynamicAllocation.executorIdleTimeout", "https://10.0.0.1", False),
        ("spark.executor.resource.gpu.discoveryScript", "/opt/gpu.sh", False),
        ("spark.hadoop.fs.s3a.secret.key", "1234", False),
        ("spark.executorEnv.PASSWORD", "1234", False),
        ("spark.executor.extraJavaOptions", "true", False),
    ],
)
def test_of_the_driver_s_properties_only_plain_ones_on_the_list_are_kept(
    key: str, value: str, kept: bool
) -> None:
    assert recorded_properties({key: value}) == ({key: value} if kept else {})


def test_that_executors_are_pods_is_kept_without_the_address() -> None:
    assert recorded_properties({"spark.master": "k8s://https://10.0.0.1:443"}) == {
        "spark.master": "k8s"
    }


@given(st.lists(st.text(min_size=1, max_size=6), unique=True, max_size=30))
def test_marks_of_nodes_tell_nodes_apart_and_sort_as_their_names(names: list[str]) -> None:
    nodes = NodeMarks()
    for name in names:
        nodes.mark(name)

    marks = [nodes.mark(name) for name in sorted(names)]

    assert marks == sorted(set(marks))
    assert nodes.mark("") == ""
    assert all(mark.isalpha() and not mark.endswith("a") for mark in marks)


def test_there_is_a_mark_between_any_two() -> None:
    low, high = "", ""
    for turn in range(200):
        middle = between(low, high)
        assert low < middle
        assert not high or middle < high
        low, high = (middle, high) if turn % 3 else (low, middle)


def test_files_are_for_the_operator_alone(tmp_path: Path) -> None:
    written(tmp_path, 1, seconds=5)

    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.gz")} == {0o600}


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_trace_has_as_many_bytes_as_it_may_and_goes_on_where_its_beginning_had_to_go(
    tmp_path: Path,
) -> None:
    limits = TraceLimits(allocation_bytes=33_000, total_bytes=10_000_000)
    memory = Memory()
    writing = recorder(tmp_path, limits)
    application = RandomApplication(1, Both(memory, writing.sink(ORDERS)), streams=True)
    for _ in range(12):
        application.run(25)
        _until_written(writing)
    writing.close(60)

    sizes = [path.stat().st_size for path in tmp_path.rglob("*.gz")]
    steps = list(replayed(of(tmp_path)))

    assert sum(sizes) <= limits.allocation_bytes + limits.part_bytes
    assert writing.counts.parts_removed > 0
    assert writing.counts.kept_bytes == sum(sizes)
    assert 0 < len(steps) < len(memory.steps)
    assert not steps[0].exact
    assert [each.recorded for each in steps] == memory.decided[-len(steps) :]


def test_parts_that_are_all_there_are_one_exact_trace(tmp_path: Path) -> None:
    memory = Memory()
    writing = recorder(tmp_path, TraceLimits(allocation_bytes=1_000_000, total_bytes=48_000))
    application = RandomApplication(2, Both(memory, writing.sink(ORDERS)))
    for _ in range(5):
        application.run(25)
        _until_written(writing)
    writing.close(60)

    steps = list(replayed(of(tmp_path)))

    assert len(list(tmp_path.rglob("*.gz"))) > 1
    assert writing.counts.parts_removed == 0
    assert len(steps) == len(memory.steps)
    assert all(each.exact and not each.differences for each in steps)


def test_all_traces_together_have_as_many_bytes_as_they_may(tmp_path: Path) -> None:
    written(tmp_path, 3, seconds=100)
    former = next(tmp_path.rglob("*.gz"))
    limits = TraceLimits(allocation_bytes=1_000_000, total_bytes=12_000)
    writing = recorder(tmp_path, limits)
    for number in range(3):
        sink = writing.sink(Subject("jobs", f"job-{number}", f"uid-{number}"))
        RandomApplication(number, sink).run(60)
        _until_written(writing)
    writing.close(60)

    assert sum(path.stat().st_size for path in tmp_path.rglob("*.gz")) <= limits.total_bytes
    assert not former.exists() or writing.counts.parts_removed > 0


def test_what_does_not_fit_into_the_queue_is_dropped_and_counted_and_the_trace_says_so(
    tmp_path: Path,
) -> None:
    memory = Memory()
    writing = TraceRecorder(
        tmp_path, TraceLimits(), operator="test", epoch_ms=lambda: EPOCH_MS, queue_limit=100
    )
    application = RandomApplication(4, Both(memory, writing.sink(ORDERS)))
    application.run(200)  # nobody writes yet
    writing.start()
    _until_written(writing)
    application.run(10)
    writing.close(60)

    found = of(tmp_path)
    gaps = [each for each in found if isinstance(each, Gap)]

    assert sum(each.lost for each in gaps) == writing.counts.not_taken > 0
    steps = list(replayed(found))
    assert not all(each.exact for each in steps)
    assert not any(each.exact and each.differences for each in steps)


def test_a_folder_that_cannot_be_written_costs_the_trace_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("no folder")
    memory = Memory()
    writing = recorder(tmp_path)
    RandomApplication(5, Both(memory, writing.sink(ORDERS))).run(50)
    writing.close(60)

    assert writing.counts.not_written > 50
    assert writing.counts.lines == 0
    assert find_traces(str(tmp_path)) == []


# -- damage ------------------------------------------------------------------------------------------------------------


def test_a_part_that_was_torn_counts_as_far_as_it_goes(tmp_path: Path) -> None:
    memory = written(tmp_path, 6)
    (part,) = tmp_path.rglob("*.gz")
    part.write_bytes(part.read_bytes()[:-200])

    found = of(tmp_path)
    steps = list(replayed(found))

    assert isinstance(found[-1], Gap)
    assert 0 < len(steps) < len(memory.steps)
    assert all(each.exact and not each.differences for each in steps)


def test_a_line_that_was_broken_off_is_a_gap_and_one_in_the_middle_is_told_with_its_place(
    tmp_path: Path,
) -> None:
    written(tmp_path, 7, seconds=20)
    (part,) = tmp_path.rglob("*.gz")
    lines = gzip.decompress(part.read_bytes()).decode().splitlines()
    plain = tmp_path / "any-name"
    part.unlink()

    plain.write_text("\n".join([*lines[:-1], lines[-1][:10]]))
    assert isinstance(of(tmp_path)[-1], Gap)

    plain.write_text("\n".join([*lines[:3], '{"is": "report", "ns": "x"}', *lines[3:]]))
    with pytest.raises(DamagedTrace, match=r"any-name line 4: .*head -n 3"):
        of(tmp_path)


def test_a_later_format_is_told_with_the_remedy_and_later_lines_are_passed_over(
    tmp_path: Path,
) -> None:
    heading = {"is": "spark-allocation trace", "format": 1, "namespace": "jobs", "name": "orders", "uid": "u", "recording": 1, "part": 1}  # fmt: skip
    file = tmp_path / "trace"
    file.write_text(_lines(heading, {"is": "weather", "sky": "blue"}, {"is": "claimMade"}))
    assert of(tmp_path) == [ClaimMade()]

    file.write_text(_lines({**heading, "format": 2}))
    with pytest.raises(
        DamagedTrace, match=r"trace line 1: .*format is 2.*use the spark-allocation"
    ):
        find_traces(str(tmp_path))


def test_what_is_no_trace_is_none(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"Event": "SparkListenerLogStart"}\n')
    (tmp_path / "empty.gz").write_bytes(b"")
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"x" * 100)[:15])
    (tmp_path / "binary").write_bytes(bytes(range(256)))

    assert find_traces(str(tmp_path)) == []
    assert find_traces(str(tmp_path / "not-there")) == []


def test_an_entry_before_a_life_has_begun_is_told() -> None:
    with pytest.raises(NoBeginning):
        Replay().take(ClaimMade())


def test_a_step_is_told_by_what_has_changed(tmp_path: Path) -> None:
    written(tmp_path, 8)
    (part,) = tmp_path.rglob("*.gz")
    lines = gzip.decompress(part.read_bytes()).decode().splitlines()
    steps = [each for each in of(tmp_path) if isinstance(each, StepTaken)]
    whole = sum(len(each.asked.snapshot.pods) for each in steps)
    told = sum(len(json.loads(line).get("pods", ())) for line in lines)

    assert told < whole / 2


def _lines(*lines: dict[str, Any]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def _until_written(writing: TraceRecorder) -> None:
    writing.wait_until_idle(60)
