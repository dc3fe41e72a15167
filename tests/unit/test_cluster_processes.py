"""Only our own processes are ever signalled."""

import dataclasses
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.namespaces import Process, process_of


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_running_process_is_found_alive_and_ended(sleeper: subprocess.Popen[bytes]) -> None:
    process = process_of(sleeper.pid)
    assert process is not None
    assert process.alive
    assert process.send(signal.SIGKILL, grace=5)
    assert sleeper.wait(60) == -signal.SIGKILL
    assert not process.alive


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"start_ticks": 1}, id="its id was given to a later process"),
        pytest.param({"boot": "00000000-0000-0000-0000-000000000000"}, id="the machine restarted"),
    ],
)
def test_a_process_that_only_has_the_same_id_is_left_alone(
    sleeper: subprocess.Popen[bytes], other: dict[str, Any]
) -> None:
    process = process_of(sleeper.pid)
    assert process is not None
    stale = dataclasses.replace(process, **other)
    assert not stale.alive
    assert stale.send(signal.SIGKILL, grace=0)
    assert sleeper.poll() is None


def test_a_zombie_counts_as_ended() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{child}").exists()
        assert process_of(child) is None
    finally:
        os.waitpid(child, 0)


def test_a_process_that_never_was_counts_as_gone() -> None:
    assert Process(2**22 - 1, 1, "no boot").send(signal.SIGKILL, grace=0)


def test_since_is_the_wall_clock_time_of_the_start(sleeper: subprocess.Popen[bytes]) -> None:
    process = process_of(sleeper.pid)
    assert process is not None
    assert abs(process.since - Path(f"/proc/{sleeper.pid}").stat().st_ctime) < 2
