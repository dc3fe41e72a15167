"""How long executors take from being asked for until they are there, and so how many there will be until one that is asked for now.

Theory of operation
-------------------
While executors start, what waits becomes more. A stream that is told to catch up with what waits now asks again when the first ones
have come, and waits for as long once more. How long that is differs by cluster and image, and is seen with each executor that comes:
the longest asked for are taken to come first. What is told is the mean of the last `KEPT` of them.

Who waits for room in the cluster says nothing of how long starts take: more than `LONGEST_S` counts as that. Where none has been seen to
start, nothing is said, and only what waits already counts.
"""

from collections import deque
from dataclasses import dataclass, replace

KEPT = 16
LONGEST_S = 180.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """For so many seconds there will be so many executors."""

    seconds: float
    executors: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """So many were wanted in all, from a moment on."""

    at: float
    executors: int


class ExecutorStarts:
    """Of one resource profile. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._executors = 0
        self._waited_for: deque[_Asked] = deque()
        """Those that have yet to come, in the order in which they were asked for: rising in both."""
        self._took: deque[float] = deque(maxlen=KEPT)

    @property
    def mean_s(self) -> float | None:
        """That one takes; None where none has been seen to start."""
        return sum(self._took) / len(self._took) if self._took else None

    def note(self, at: float, executors: int, asked: int) -> None:
        """So many there are now, and so many there are to be; moments are told in order."""
        for count in range(self._executors + 1, executors + 1):
            first = next((each for each in self._waited_for if each.executors >= count), None)
            if first is not None:
                self._took.append(min(at - first.at, LONGEST_S))
        self._executors = executors
        while self._waited_for and self._waited_for[0].executors <= executors:
            self._waited_for.popleft()
        while self._waited_for and self._waited_for[-1].executors > asked:
            last = self._waited_for.pop()
            before = self._waited_for[-1].executors if self._waited_for else executors
            if asked > before:
                self._waited_for.append(replace(last, executors=asked))
        if asked > (self._waited_for[-1].executors if self._waited_for else executors):
            self._waited_for.append(_Asked(at, asked))

    def until_more(self, now: float) -> tuple[Stretch, ...]:
        """What there will be, from now until one that is asked for now would be there; nothing when nobody knows how long that is."""
        mean_s = self.mean_s
        if mean_s is None:
            return ()
        found, executors, until = [], self._executors, 0.0
        for each in self._waited_for:
            comes = max(until, each.at + mean_s - now)
            found.append(Stretch(comes - until, executors))
            executors, until = each.executors, comes
        found.append(Stretch(max(0.0, mean_s - until), executors))
        return tuple(each for each in found if each.seconds > 0)
