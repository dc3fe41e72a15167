"""How fast the operator writes, over all applications: so many a second, fewer when the server says so.

The API server's own protection is fairness between clients; between the applications of one operator it is this.

Creations wait: they are served in the order in which they came, and an application has only so many of them in the
queue at once (`controller.pod_creation.CONCURRENT_CREATES`), so none can starve the others.

Status writes do not wait, they come back: what an application decides must not be held up by what it says. Each has at
most one turn ahead of it, so one that has much to say is behind all others that have not spoken since.
"""

import asyncio
import time

LONGEST_PAUSE_SECONDS = 30.0
STATUS_WRITES_PER_SECOND = 50.0
SAVED_UP_SECONDS = 1.0
"""Of creations that nobody wanted are made up for at once."""


class CreationPacer:
    """A token bucket that holds a second's worth, so that a wave is there at once; and a pause after a 429.

    Args:
        per_second: most creations a second, over more than a second.
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1.0 / per_second
        self._next_at = 0.0
        self._turn = asyncio.Lock()
        self._throttled_in_a_row = 0

    async def wait_for_turn(self) -> None:
        """Return when the next pod may be created."""
        async with self._turn:
            now = time.monotonic()
            if self._next_at > now:
                await asyncio.sleep(self._next_at - now)
            saved = time.monotonic() - SAVED_UP_SECONDS
            self._next_at = max(saved, self._next_at) + self._interval

    def throttled(self, retry_after_seconds: float | None) -> None:
        """The server asked for patience: everybody waits for as long as it says, or longer each time."""
        self._throttled_in_a_row += 1
        pause = retry_after_seconds or min(LONGEST_PAUSE_SECONDS, 0.5 * 2**self._throttled_in_a_row)
        self._next_at = max(self._next_at, time.monotonic() + min(pause, LONGEST_PAUSE_SECONDS))

    def accepted(self) -> None:
        """The server took a request."""
        self._throttled_in_a_row = 0


class StatusPacer:
    """Turns for status writes, evenly spaced over all applications.

    Args:
        per_second: most writes a second.
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1.0 / per_second
        self._next_at = 0.0
        self._turns: dict[str, float] = {}

    def seconds_to_turn(self, who: str, now: float) -> float:
        """0 when ``who`` may write now, which uses up its turn; else how long until it should ask again.

        Args:
            who: the uid of the SparkAllocation.
            now: monotonic seconds.
        """
        turn = self._turns.pop(who, None)
        if turn is None:
            turn = max(self._next_at, now)
            self._next_at = turn + self._interval
        if turn <= now:
            return 0.0
        self._turns[who] = turn
        return turn - now

    def forget(self, who: str) -> None:
        """It is not going to write any more."""
        self._turns.pop(who, None)
