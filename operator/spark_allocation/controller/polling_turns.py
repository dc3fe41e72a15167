"""How much of the processor questions to drivers may take, over all applications.

A thousand drivers with work, each asked for everything each second, are more than one processor can read. Without a limit
all that waits in the event loop is late then, first of all what the answers are for: pods that are to be created, statuses,
probes. So questions go out one after the other, each as long after the last as such a question has cost lately, divided by
the share of a processor that all work may take. What a question costs is everything that the process has done since, over
the questions asked: what is decided and said because of an answer belongs to it.

Turns begin when the processor is full; once it is clearly not, they come faster and faster until there are none, for all
that wait together would fill it again. Below that nobody waits. With turns it is never fuller than its share, so from that
alone nobody could tell. What others on the machine, or a limit of the container, keep this
process from using counts as used: who gets a quarter of a processor is full with that.

Where there are many questions they go out together, twenty times a second: a process that is woken for each of them finds its
caches cold, and takes a tenth longer for it, or two thirds longer with a quarter of a processor. Nobody notices the twentieth of
a second, and with few questions nobody waits for it.

The first who wants to ask is the first who may: under load all drivers are asked less often, none is forgotten. Who has
waited and learned that a driver at rest has a job asks for the rest of it at once.
"""

import asyncio
import math
import time
from collections.abc import Callable
from pathlib import Path

SHARE_OF_PROCESSOR = 0.85
"""That is used before there are turns, and with them at most."""
FREE_AGAIN_BELOW = 0.7
"""Share of a processor: turns take half as long with each measurement."""
MEASURED_FOR_SECONDS = 0.5
FEW_REQUESTS = 20
"""In the time that is measured: what so few cost says nothing."""
MANY_A_SECOND = 100.0
"""Requests: so many go out together."""
TOGETHER_SECONDS = 0.05
NEXT_TO_NOTHING_SECONDS = 1e-5
"""Of processor: turns end."""
MOST_SECONDS_EACH = 0.02
"""Of processor: what takes longer is not about drivers, such as the first picture of fifty thousand pods."""


def processor_seconds() -> float:
    """That the event loop's thread, the process' first, has used or has had to wait for, where the system tells (Linux)."""
    try:
        used_ns, waited_ns, _ = Path("/proc/self/schedstat").read_text().split()
    except (OSError, ValueError):
        return time.process_time()
    if not int(used_ns):  # a kernel that does not count them says 0
        return time.process_time()
    return (int(used_ns) + int(waited_ns)) / 1e9


class PollingTurns:
    """Turns for questions to drivers.

    Args:
        processor_seconds: that this process has used or has had to wait for.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        processor_seconds: Callable[[], float] = processor_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processor_seconds = processor_seconds
        self._clock = clock
        self._turn = asyncio.Lock()
        self._next_at = 0.0
        self._seconds_each = 0.0
        self._asked = 0
        self._are_many = False
        self._left_at = -math.inf
        """When the last ones that waited for each other went."""
        self._measured_at = clock()
        self._used = processor_seconds()

    async def wait(self, requests: int) -> None:
        """Return when so many requests may be sent."""
        came_at = self._clock()
        async with self._turn:
            if self._are_many and came_at > self._left_at:
                await asyncio.sleep(-self._clock() % TOGETHER_SECONDS)
                self._left_at = self._clock()
            now = self._clock()
            if self._next_at > now + TOGETHER_SECONDS:
                await asyncio.sleep(self._next_at - now)
                now = self._clock()
            self._measure(now)
            self.count(requests, now)

    def count(self, requests: int, now: float | None = None) -> None:
        """Count requests that go out at once: those who come next wait for longer."""
        self._asked += requests
        spacing = requests * self._seconds_each / SHARE_OF_PROCESSOR
        self._next_at = max(self._clock() if now is None else now, self._next_at) + spacing

    def _measure(self, now: float) -> None:
        seconds = now - self._measured_at
        if seconds < MEASURED_FOR_SECONDS:
            return
        used = self._processor_seconds()
        share = (used - self._used) / seconds
        tell_enough = self._asked >= FEW_REQUESTS * seconds / MEASURED_FOR_SECONDS
        each = self._seconds_each
        if each and share < FREE_AGAIN_BELOW:
            # not at once to nothing: all that wait would go out together, and fill it again
            each = each / 2 if each > NEXT_TO_NOTHING_SECONDS else 0.0
        elif self._asked and (each or (tell_enough and share >= SHARE_OF_PROCESSOR)):
            each = (used - self._used) / self._asked
        self._seconds_each = min(each, MOST_SECONDS_EACH)
        self._are_many = self._asked >= MANY_A_SECOND * seconds
        self._measured_at, self._used, self._asked = now, used, 0
