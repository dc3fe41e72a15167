"""A wall clock that is set forward or back changes nothing that the operator decides."""

import ast
import time
from pathlib import Path

import pytest

import spark_allocation
from spark_allocation import epoch_clock

SOURCES = Path(spark_allocation.__file__).parent
HOUR = 3600.0
WALL_CLOCKS = {("time", "time"), ("time", "time_ns"), ("datetime", "now")}

READS_THE_WALL_CLOCK = {
    "epoch_clock.py": "once, when the process starts",
    "controller/leaving.py": "when a finished object may go",
    "controller/allocation_statements.py": "how old a driver is, for a sentence",
    "cli/doctor.py": "how old things are, for people",
    "cli/top.py": "how old things are, for people",
    "driver/streaming_progress.py": "in the driver, whose clock it is: when a query made progress",
    "kube/leader_lease.py": "the times in a Lease, for people",
    "reports/events.py": "the times in an Event, for people",
    "reports/status.py": "the times in a status, for people",
}


def reads_the_wall_clock(file: Path) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in WALL_CLOCKS
        for node in ast.walk(ast.parse(file.read_text()))
    )


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_ages_and_pauses_do_not_notice_a_clock_that_is_set(
    monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    before = epoch_clock.epoch_ms()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    assert 0 <= epoch_clock.epoch_ms() - before < 60_000


def test_nothing_else_reads_the_wall_clock() -> None:
    found = {
        str(file.relative_to(SOURCES))
        for file in SOURCES.rglob("*.py")
        if "testing" not in file.parts and reads_the_wall_clock(file)
    }
    assert found <= set(READS_THE_WALL_CLOCK)
