"""The time of day that never jumps.

Ages and pauses of pods are differences between two moments in epoch milliseconds. A wall clock that is set back by an
hour would stop every timer for an hour, and one that is set forward would end every grace at once. So the wall clock is
read once, when the process starts, and counted on from there by the monotonic clock. What is shown to people, such as
the times in a status, comes from the wall clock itself.
"""

import time

_OFFSET_SECONDS = time.time() - time.monotonic()


def epoch_seconds() -> float:
    """Seconds since 1970, as far as the clock was right when this process started."""
    return time.monotonic() + _OFFSET_SECONDS


def epoch_ms() -> int:
    """The same in whole milliseconds."""
    return int(epoch_seconds() * 1000)
