"""``spark-allocation simulate`` with traces of the operator: decisions made again, and other policies before the same demand."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from tests.unit.served_driver import settings
from tests.unit.test_traces import of, recorder, written
from typer.testing import CliRunner

from spark_allocation.cli.app import app
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.driver_report import DriverReport, ExecutorReport, StageReport
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ResourceProfileManager
from spark_allocation.core.simulation.simulated_executors import SimulatedPods
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.trace.driven_allocation import DrivenAllocation
from spark_allocation.core.trace.inputs import (
    CreationStarted,
    LifeBegun,
    PodCreated,
    ReportTaken,
    StepAsked,
)
from spark_allocation.traces.recorder import Subject

EPOCH_MS = 1_780_000_000_000
SLOTS = 2
STARTS_AFTER = 5
Schedule = Sequence[tuple[int, int, int]]
"""From which second to which, how many tasks."""

PAUSES: Schedule = [(0, 60, 16), (300, 360, 16), (600, 660, 16)]


def served(folder: Path, schedule: Schedule, wishes: AllocationSettings, seconds: int) -> None:
    """An application with so many tasks at each second, served and recorded."""
    traces = recorder(folder)
    conf = SparkConf({"spark.executor.cores": "2", "spark.decommission.enabled": "true"})
    profiles = ResourceProfileManager(conf)
    life = LifeBegun(
        wishes, tuple(profiles), dict(conf), 0, EPOCH_MS, None, {}, "spark-1", "4.1.4", "abc"
    )
    driven = DrivenAllocation.begin(life, profiles, traces.sink(Subject("jobs", "orders", "uid-1")))
    pods, ready, gone, totals, there = SimulatedPods(), {}, {}, {}, {}  # type: ignore[var-annotated]
    for second in range(1, seconds):
        now_ns, now_ms = second * 10**9, EPOCH_MS + second * 1000
        for executor_id in [each for each, at in ready.items() if at == second]:
            pods.runs(executor_id)
            there[executor_id] = 0
        for executor_id in [each for each, at in gone.items() if at == second]:
            pods.vanish(executor_id)
        wanted = next((tasks for since, until, tasks in schedule if since <= second < until), 0)
        left = wanted
        for executor_id, before in list(there.items()):
            active = there[executor_id] = min(SLOTS, left)
            totals[executor_id] = totals.get(executor_id, 0) + max(0, active - before)
            left -= active
        number = sum(1 for since, _, _ in schedule if since <= second)
        report = DriverReport(
            stages=(StageReport(number, 0, DEFAULT_PROFILE_ID, wanted, 0, wanted - left),)
            if wanted
            else (),
            executors=tuple(
                ExecutorReport(
                    each, DEFAULT_PROFILE_ID, True, active, SLOTS, totals[each], 0, 0, 0, 0
                )
                for each, active in there.items()
            ),
            running_jobs=(number,) if wanted else (),
            max_needed_executors=-(-wanted // SLOTS),
        )
        driven.tell(ReportTaken(report, now_ns, now_ms))
        step = driven.step(
            StepAsked(
                pods.snapshot(now_ms), now_ns, now_ms, True, vanished=tuple(pods.take_vanished())
            )
        )
        for pod in (*step.drains, *step.above_maximum):
            pods.is_deleted(pod.executor_id)
            there.pop(pod.executor_id, None)
            gone[pod.executor_id] = second + 1
        for request in step.plan.create if step.plan is not None else ():
            for _ in range(request.count):
                executor_id = ExecutorId(len(ready) + 1)
                driven.tell(CreationStarted(executor_id, DEFAULT_PROFILE_ID, now_ms))
                driven.tell(PodCreated(executor_id, now_ms, f"uid-{executor_id}"))
                pods.add(executor_id, DEFAULT_PROFILE_ID, now_ms)
                ready[executor_id] = second + STARTS_AFTER
    traces.close(60)


def simulate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)])


def policy(folder: Path, name: str, **dynamic: Any) -> Path:
    file = folder / f"{name}.yaml"
    spec = {"driver": {"podName": "driver"}, "dynamicAllocation": dynamic}
    file.write_text(
        json.dumps(
            {
                "apiVersion": "sparkallocation.dev/v1alpha1",
                "kind": "SparkAllocation",
                "metadata": {"name": name},
                "spec": spec,
            }
        )
    )
    return file


@pytest.fixture(scope="module")
def pauses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three minutes of work with four minutes between them, and executors that stay for it."""
    folder = tmp_path_factory.mktemp("pauses")
    served(folder, PAUSES, settings(max_executors=10, executor_idle_timeout_s=600), 900)
    return folder


def test_other_timeouts_are_put_before_the_same_demand(pauses: Path, tmp_path: Path) -> None:
    short = policy(tmp_path, "short", maxExecutors=10, executorIdleTimeout="30s")
    few = policy(tmp_path, "few", maxExecutors=2, executorIdleTimeout="600s")

    result = simulate(pauses, "--policy", short, "--policy", few, "-o", "json")

    assert result.exit_code == 0, result.output
    (trace,) = json.loads(result.output)["traces"]
    own, with_short, with_few = trace["outcomes"]
    recorded = trace["recorded"]
    assert trace["steps"] == {"all": 899, "compared": 899, "different": 0}
    assert trace["curveDifference"] < 0.02
    assert own["executorHours"] == pytest.approx(recorded["executorHours"], rel=0.02)
    assert recorded["peakExecutors"] == own["peakExecutors"] == 8
    # three minutes of eight executors, with half a minute after each: half an hour of executors in all
    assert with_short["executorHours"] == pytest.approx(8 * 3 * 85 / 3600, rel=0.1)
    assert with_short["drains"] == 24
    assert with_short["work"] == pytest.approx(1, abs=0.1)
    assert with_few["peakExecutors"] == 2
    assert with_few["work"] == pytest.approx(0.25, abs=0.05)


def test_a_table_says_that_all_was_decided_the_same_and_where_work_was_left(
    pauses: Path, tmp_path: Path
) -> None:
    few = policy(tmp_path, "few", maxExecutors=2)

    result = simulate(pauses, "--policy", few, "--price", "0.05")

    assert result.exit_code == 0, result.output
    assert "jobs/orders (spark-1, 4.1.4): a trace of 899 steps" in result.output
    assert "WORK" in result.output
    assert "COST" in result.output
    assert "all 899 steps are decided as they were" in result.output
    assert "less was done in the same time under few" in result.output


def test_logs_and_traces_in_one_folder_are_told_apart_by_their_contents(
    pauses: Path, tmp_path: Path
) -> None:
    (tmp_path / "mixed").mkdir()
    (part,) = pauses.rglob("*.gz")
    (tmp_path / "mixed" / "spark-2").write_bytes(part.read_bytes())

    alone = simulate(tmp_path / "mixed", "-o", "json")
    assert alone.exit_code == 0, alone.output
    assert len(json.loads(alone.output)["traces"]) == 1
    assert json.loads(alone.output)["applications"] == []


def test_a_picture_is_drawn_of_it(pauses: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "runs.svg"

    assert simulate(pauses, "--plot", picture).exit_code == 0
    assert "jobs/orders" in picture.read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("spark.dynamicAllocation.maxExecutors: 5", "Spark properties need an event log"),
        (
            "{kind: SparkAllocation, metadata: {name: s}, spec: {driver: {podName: d}, streaming: {targetDuration: 10s}}}",
            "spec.streaming cannot be tried with a trace",
        ),
    ],
)
def test_policies_that_a_trace_cannot_answer_for_are_refused(
    pauses: Path, tmp_path: Path, content: str, words: str
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(content)

    result = simulate(pauses, "--policy", file)

    assert result.exit_code == 1
    assert words in result.output
    assert str(file) in result.output


def test_what_a_trace_cannot_recommend_is_told(pauses: Path) -> None:
    result = simulate(pauses, "--recommend")

    assert result.exit_code == 2
    assert "does not tell how long tasks take; name event logs" in result.output


def test_streams_are_replayed_and_not_simulated(tmp_path: Path) -> None:
    written(tmp_path, 3, seconds=40, streams=True)

    result = simulate(tmp_path)

    assert result.exit_code == 0, result.output
    assert "steps are decided as they were" in result.output
    assert "its streams decide by how long batches take" in result.output


def test_a_damaged_trace_is_told_with_file_line_and_remedy(tmp_path: Path) -> None:
    written(tmp_path, 3, seconds=10)
    (part,) = tmp_path.rglob("*.gz")
    assert len(of(tmp_path)) > 10
    lines = gzip.decompress(part.read_bytes()).decode().splitlines()
    lines[2] = '{"is": "step"}'
    part.write_text("\n".join(lines))

    result = simulate(tmp_path)

    assert result.exit_code == 1
    assert f"{part} line 3: " in result.output
    assert "leave this file out" in result.output
