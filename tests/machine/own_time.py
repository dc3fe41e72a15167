"""A clock for patience that stands still while the machine does.

A hypervisor that gives a machine's processors to others for a while shows as stolen time in /proc/stat: whatever ran
here did not run then, and what a test awaits comes later through no fault of the program. Deadlines of tests are
therefore set by this clock, which goes as much slower as the processors were taken away. It is no slower on a machine
that is merely busy with its own work.
"""

import os
import time
from pathlib import Path

_STOLEN = 8
"""Place of stolen time in the first line of /proc/stat, in ticks over all processors (man 5 proc_stat)."""
_STAT = Path("/proc/stat")


def own_seconds() -> float:
    """Monotonic seconds, less those that were stolen from the machine's processors since it started."""
    return time.monotonic() - _stolen_seconds()


def _stolen_seconds() -> float:
    try:
        with _STAT.open(encoding="ascii") as stat:
            ticks = int(stat.readline().split()[_STOLEN])
    except (OSError, IndexError, ValueError):
        return 0.0  # no Linux, or one that does not count it
    return ticks / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)
