"""The scenes of examples/what-if, each with what is known to come of it."""

import runpy
from pathlib import Path

import pytest
import yaml
from tests.unit.simulated_applications import executors_at

from spark_allocation.controller.policy_files import policy_files
from spark_allocation.controller.what_if_study import LogStudy, SupposedCluster, study
from spark_allocation.core.simulation.outcome import Outcome
from spark_allocation.sources.event_log.log_files import find_logs

EXAMPLES = Path(__file__).parents[2] / "examples" / "what-if"
HOUR = 3600
START_SECONDS = 5
"""Where nobody says how long executors take to start."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("logs")
    made = runpy.run_path(str(EXAMPLES / "make_logs.py"))

    def scene(name: str, *policies: str) -> tuple[LogStudy, dict[str, Outcome]]:
        made[name.replace("-", "_")](folder / name)
        (files,) = find_logs(str(folder / name))
        found = [
            each
            for policy in policies
            for each in policy_files(
                policy, yaml.safe_load_all((EXAMPLES / f"{policy}.yaml").read_text())
            )
        ]
        result = study(files, found, SupposedCluster())
        assert result.problem == ""
        assert result.notes == ()
        return result, {each.policy: each.outcome for each in result.outcomes}

    return scene


def test_each_policy_of_the_examples_belongs_to_a_scene() -> None:
    used = Path(__file__).read_text()
    for file in EXAMPLES.glob("*.yaml"):
        assert f'"{file.stem}"' in used


def test_a_backlog_of_a_second_makes_one_two_four_eight(scenes) -> None:
    _, outcomes = scenes("ramp", "backlog-1s", "backlog-10s")
    # tasks wait since second 10; the first is asked for a second later, and takes five to start
    fast = outcomes["backlog-1s"]
    began = 10 + 1 + START_SECONDS
    seconds = [began - 0.1, *(began + each + 0.1 for each in range(4))]
    assert executors_at(fast, *seconds) == [0, 1, 3, 7, 15]
    slow = outcomes["backlog-10s"]
    began = 10 + 10 + START_SECONDS
    assert executors_at(slow, *(began + 10 * each + 0.1 for each in range(4))) == [1, 3, 7, 15]
    assert slow.makespan_ms - fast.makespan_ms == pytest.approx(60_000, abs=5_000)


def test_idle_executors_are_released_after_two_minutes(scenes) -> None:
    _, outcomes = scenes("pauses", "idle-120s", "idle-15min")
    short, long = outcomes["idle-120s"], outcomes["idle-15min"]
    # all eight have worked until about second 55
    assert executors_at(short, 160, 200, 640) == [8, 0, 0]
    assert executors_at(long, 160, 200, 640) == [8, 8, 8]
    assert (short.drains, long.drains) == (8, 0)
    assert short.executor_hours < long.executor_hours / 3
    # what it saves it pays for with a second rise
    assert 5_000 < short.makespan_ms - long.makespan_ms < 15_000


def test_kyuubi_s_sizes_serve_two_tasks_by_one_executor_and_keep_ten(scenes) -> None:
    result, outcomes = scenes("engine", "kyuubi")
    kyuubi = outcomes["kyuubi"]
    assert executors_at(kyuubi, 30, kyuubi.makespan_ms / 1000 - 60) == [10, 10]
    assert kyuubi.peak_executors == 400 * 0.5
    assert kyuubi.drains == 190
    assert result.recorded is not None
    assert kyuubi.executor_hours < result.recorded.executor_hours / 9


def test_a_streaming_day_pays_for_each_rise_or_for_the_pauses(scenes) -> None:
    result, outcomes = scenes("stream-day", "stream-idle-1min", "stream-idle-10min")
    short, long = outcomes["stream-idle-1min"], outcomes["stream-idle-10min"]
    for outcome in (short, long):
        assert outcome.makespan_ms == pytest.approx(24 * HOUR * 1000, rel=0.01)
        assert outcome.peak_executors == 40
    # every executor goes after every batch but the last, against about the fall from noon to night
    assert (short.drains, long.drains) == (result.tasks - 4, 36)
    assert short.executor_hours < long.executor_hours / 2
    assert short.backlog_ms > 10 * long.backlog_ms
