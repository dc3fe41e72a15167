"""The clock for patience of tests: it stands still while others have the machine's processors, and only then."""

import os
import time
from pathlib import Path

import pytest
from tests.machine import own_time
from tests.machine.own_time import own_seconds

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1)


@pytest.fixture
def stat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "stat"
    monkeypatch.setattr(own_time, "_STAT", file)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    return file


def steal(stat: Path, seconds: float) -> None:
    stolen = round(seconds * TICKS_A_SECOND)
    stat.write_text(f"cpu  1 2 3 4 5 6 7 {stolen} 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")


def test_seconds_that_others_had_do_not_count(stat: Path) -> None:
    steal(stat, 0)
    assert own_seconds() == 100.0
    steal(stat, 12.5)
    assert own_seconds() == 87.5


@pytest.mark.parametrize("text", [None, "", "cpu 1 2 3\n", "cpu 1 2 3 4 5 6 7 ? 9\n"])
def test_a_machine_that_does_not_tell_has_all_its_time(stat: Path, text: str | None) -> None:
    if text is not None:
        stat.write_text(text)
    assert own_seconds() == 100.0


def test_this_machine_is_asked() -> None:
    before, slept_from = own_seconds(), time.monotonic()
    time.sleep(0.05)
    # a tick of each processor may have been told in between
    assert 0 <= own_seconds() - before <= time.monotonic() - slept_from + 0.02
