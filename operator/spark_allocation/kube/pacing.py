"""How fast pods are created, over all applications: so many a second, fewer when the server says so.

The API server's own protection is fairness between clients; between the applications of one operator it is this.
Waiters are served in the order in which they came, and an application has only so many requests in the queue at once
(`controller.plan_execution.CONCURRENT_CREATES`), so none can starve the others.
"""

import asyncio
import time

LONGEST_PAUSE_SECONDS = 30.0


class CreationPacer:
    """A token bucket with one token: evenly spaced creations, and a pause after a 429."""

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
            self._next_at = max(time.monotonic(), self._next_at) + self._interval

    def throttled(self, retry_after_seconds: float | None) -> None:
        """The server asked for patience: everybody waits for as long as it says, or longer each time."""
        self._throttled_in_a_row += 1
        pause = retry_after_seconds or min(LONGEST_PAUSE_SECONDS, 0.5 * 2**self._throttled_in_a_row)
        self._next_at = max(self._next_at, time.monotonic() + min(pause, LONGEST_PAUSE_SECONDS))

    def accepted(self) -> None:
        """The server took a request."""
        self._throttled_in_a_row = 0
