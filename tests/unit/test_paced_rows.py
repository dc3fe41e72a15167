"""The input of the stream at changing rates: every row is written, once and in order."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "e2e" / "jobs" / "paced_rows.py"
_spec = importlib.util.spec_from_file_location("paced_rows", FILE)
assert _spec is not None
assert _spec.loader is not None
paced_rows = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(paced_rows)


@pytest.mark.parametrize("write_seconds", [0.0, 0.4, 5.0, 60.0])
def test_rows_that_come_during_a_slow_last_write_are_written_too(write_seconds: float) -> None:
    phases = paced_rows.Phases("3:10,6:60,3:5")
    clock, written = [100.0], []

    def write(rows: range) -> None:
        written.extend(rows)
        clock[0] += write_seconds

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    paced_rows.write_as_they_come(phases, write, 100.0, now=lambda: clock[0], sleep=sleep)
    assert written == list(range(3 * 10 + 6 * 60 + 3 * 5))


def test_as_many_rows_come_as_the_rates_say() -> None:
    phases = paced_rows.Phases("60:12,120:48,120:6")
    assert phases.seconds == 300
    assert [phases.rows_after(at) for at in (0, 60, 90, 180, 300, 900)] == [
        *(0, 720, 720 + 30 * 48, 720 + 5760, 720 + 5760 + 720, 720 + 5760 + 720)
    ]
