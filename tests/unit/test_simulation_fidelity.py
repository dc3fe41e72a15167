"""What `python -m tests.fidelity` compares, tried on runs that were simulated themselves."""

from pathlib import Path

import pytest
from tests.fidelity import __main__ as fidelity
from tests.fidelity.comparison import (
    Prediction,
    RealRun,
    Replay,
    predicted,
    replayed,
    table,
    verdict,
)
from tests.fidelity.jobs.shapes import SHAPES
from tests.fidelity.real_runs import POLICIES
from tests.unit.simulated_applications import application, job, log_of, spark, stage, under

from spark_allocation.core.simulation.cluster import ClusterModel

SAMPLES = Path(__file__).parent / "event_log_samples"
START = ClusterModel(start_delays_ms=(5_000,))


def run_of(folder: Path, policy: str) -> RealRun:
    """A map stage and its reader, and after a pause another job, "really" run under a policy."""
    stages = [stage(0, [2] * 48, writes=True), stage(1, [2] * 24, parents=(0,)), stage(2, [3] * 8)]
    properties = {"spark.dynamicAllocation.enabled": "true", **POLICIES[policy]}
    real = application(stages, [job(0, 0, 1, pause=1), job(1, 2, pause=8)], tail=1)
    settings = {key.removeprefix("spark.dynamicAllocation.").replace(".", "_"): value for key, value in properties.items()}  # fmt: skip
    outcome, heard = under(real, spark(real, **settings), START)
    log = log_of(real, heard, outcome, properties).write(folder / policy)
    return RealRun("made", policy, log, POLICIES[policy])


def test_one_run_s_log_predicts_the_other_run(tmp_path: Path) -> None:
    few, many = (run_of(tmp_path, policy) for policy in POLICIES)
    for known, other in ((few, many), (many, few)):
        found = predicted(known, other)
        assert (found.makespan_error, found.executor_error) == (0, 0)
    assert predicted(few, many).makespan[1] < predicted(many, few).makespan[1] / 1.5
    assert replayed(few).curve == 0
    assert replayed(few).plain


def test_what_is_too_far_off_is_told() -> None:
    far = Prediction("a", "few", "many", makespan=(130.0, 100.0), executor_seconds=(100.0, 100.0))
    near = Prediction("b", "few", "many", makespan=(104.0, 100.0), executor_seconds=(90.0, 100.0))
    assert verdict([near, near, far], []) == []
    assert verdict([far, far, near], []) == ["the median of makespan is 30% off, wanted 15%"]
    plain = Replay("a", "few", plain=True, curve=0.07, makespan_error=0.0)
    cached = Replay("c", "few", plain=False, curve=0.07, makespan_error=0.0)
    assert verdict([], [plain, cached]) == ["a under few: the curve is 7.0% off, wanted 5%"]
    assert "| a | few | many | 130.0 / 100.0 | 30% |" in table([far], [plain])


def test_runs_are_kept_for_another_comparison(tmp_path: Path) -> None:
    runs = [run_of(tmp_path, policy) for policy in POLICIES]
    fidelity.keep(tmp_path, runs)
    assert fidelity.kept(tmp_path) == runs
    assert fidelity.kept(tmp_path / "elsewhere") == []


def test_there_are_twelve_shapes_with_names_that_pods_may_have() -> None:
    assert len(SHAPES) == 12
    assert all(name.replace("-", "").isalpha() and name.islower() for name in SHAPES)


@pytest.mark.parametrize("name", ["run-1", "run-2"])
def test_real_runs_simulated_as_they_were_recorded_are_those_runs(name: str) -> None:
    """Two runs of Spark 4.1.4 on Kubernetes, of which only the second lost an executor, at its very end; with what does not matter taken out of their logs.

    Executors of these came one after the other and stayed to the end: what is shown is the rise, the order of the work
    and how long it takes.
    """
    found = replayed(RealRun(name, "own", SAMPLES / f"{name}.lz4", {}))
    assert found.curve < 0.05
    assert found.makespan_error < 0.02
