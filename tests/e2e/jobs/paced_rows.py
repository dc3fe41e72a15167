"""Rows that come at another rate every while; how many there are at a time follows from the time alone."""

import time
from collections.abc import Callable


class Phases:
    """How many rows there are after so many seconds, from ``seconds:rows-a-second,…``."""

    def __init__(self, text: str) -> None:
        self.steps = [tuple(map(float, each.split(":"))) for each in text.split(",")]

    @property
    def seconds(self) -> float:
        return sum(seconds for seconds, _ in self.steps)

    def rows_after(self, seconds: float) -> int:
        rows = 0.0
        for lasts, rate in self.steps:
            rows += rate * max(0.0, min(seconds, lasts))
            seconds -= lasts
        return int(rows)


def write_as_they_come(
    phases: Phases,
    write: Callable[[range], None],
    began: float,
    *,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Write rows about once a second, until those of the last phase are written, however long a write takes."""
    written = 0
    while True:
        passed = now() - began
        rows = phases.rows_after(passed)
        if rows > written:
            write(range(written, rows))
            written = rows
        if passed >= phases.seconds:
            return
        sleep(1.0)
