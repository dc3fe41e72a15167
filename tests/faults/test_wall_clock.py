"""A clock that is set for one process: it shows what it is told to, at any time, and the monotonic clock goes on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.faults.wall_clock import WallClock

HOUR = 3600
ASK = """
import datetime, sys, time
before = time.monotonic()
for _ in sys.stdin:
    now = datetime.datetime.now(datetime.timezone.utc).timestamp()
    print(time.time(), now, time.monotonic() - before, flush=True)
"""


def test_a_process_sees_its_wall_clock_jump_and_no_other_clock(tmp_path: Path) -> None:
    clock = WallClock(tmp_path)
    if not clock.can_be_set:
        pytest.skip("there is no C compiler to build the clock with")
    with subprocess.Popen(
        [sys.executable, "-u", "-c", ASK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **clock.environment},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for off in (0, HOUR, -HOUR):
            clock.set(off)
            process.stdin.write("now\n")
            process.stdin.flush()
            wall, utc, gone = map(float, process.stdout.readline().split())
            assert wall - time.time() == pytest.approx(off, abs=60)
            assert utc == pytest.approx(wall, abs=60)
            assert 0 <= gone < 60
        process.stdin.close()
