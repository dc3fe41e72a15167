"""Waiting for conditions, with an end and an explanation."""

import time
from collections.abc import Callable
from pathlib import Path

from tests.machine.errors import ClusterError
from tests.machine.own_time import own_seconds


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log for an error message; says so when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return f"  ({log} does not exist)"
    return "\n".join(f"  {line[:400]}" for line in lines[-count:]) or f"  ({log} is empty)"


def wait_until_none(
    complaint: Callable[[], str | None],
    *,
    what: str,
    seconds: float,
    log: Path,
    every: float = 0.1,
    still_possible: Callable[[], bool] = lambda: True,
) -> None:
    """Wait until `complaint` has nothing to say any more.

    Args:
        complaint: returns None when the condition holds, else why it does not.
        what: the condition, as the subject of the error sentence.
        seconds: how long to wait at most.
        log: whose last lines explain a failure.
        every: pause between two looks, in seconds.
        still_possible: False ends the wait early (the process has died).

    Raises:
        ClusterError: the time is over, or the condition can no longer come true.
    """
    end = own_seconds() + seconds
    while (reason := complaint()) is not None:
        if not still_possible():
            raise ClusterError(
                f"{what}: its process has ended. The end of {log}:\n{last_lines(log)}"
            )
        if own_seconds() > end:
            raise ClusterError(
                f"{what}: not within {seconds:.0f} s ({reason}). "
                f"The end of {log}:\n{last_lines(log)}"
            )
        time.sleep(every)
