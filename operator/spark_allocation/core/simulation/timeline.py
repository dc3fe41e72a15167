"""How counts went over time: executors, running tasks, waiting tasks.

A timeline is a staircase: each point holds until the next. Points that follow within `RESOLUTION_MS` replace each other,
except that executors are never smoothed: their staircase is what runs are compared by.
"""

from array import array
from collections.abc import Iterator
from itertools import pairwise

RESOLUTION_MS = 1_000


class Timeline:
    """A staircase of (milliseconds, executors, running tasks, waiting tasks)."""

    __slots__ = ("_at", "_executors", "_peak", "_running", "_waiting")

    def __init__(self) -> None:
        self._at = array("q")
        self._executors = array("l")
        self._running = array("l")
        self._waiting = array("l")
        self._peak = 0

    def add(self, at_ms: int, executors: int, running: int, waiting: int) -> None:
        """From this moment on; not earlier than the last one."""
        at = self._at
        if at:
            same_executors = self._executors[-1] == executors
            if same_executors and self._running[-1] == running and self._waiting[-1] == waiting:
                return
            within = at_ms - at[-1] < RESOLUTION_MS
            smooth = same_executors and (len(at) < 2 or self._executors[-2] == executors)
            if at_ms == at[-1] or (within and smooth and len(at) > 1):
                self._executors[-1] = executors
                self._running[-1] = running
                self._waiting[-1] = waiting
                return
        at.append(at_ms)
        self._executors.append(executors)
        self._running.append(running)
        self._waiting.append(waiting)

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[tuple[int, int, int, int]]:
        return zip(self._at, self._executors, self._running, self._waiting, strict=True)

    def sampled(self, most: int) -> list[tuple[int, int, int, int]]:
        """At most so many points, evenly chosen; the first and the last among them."""
        points = list(self)
        if len(points) <= most:
            return points
        step = (len(points) - 1) / (most - 1)
        return [points[round(number * step)] for number in range(most)]

    def thinned(self, most: int) -> "Timeline":
        """The staircase through the points of `sampled`, which still knows its peak; no more is to be added to it."""
        if len(self) <= most:
            return self
        found = Timeline()
        found._peak = self.peak_executors
        for at, executors, running, waiting in self.sampled(most):
            found._at.append(at)
            found._executors.append(executors)
            found._running.append(running)
            found._waiting.append(waiting)
        return found

    @property
    def peak_executors(self) -> int:
        """Most executors at once."""
        return max(self._peak, max(self._executors, default=0))

    def executor_ms(self, until_ms: int) -> int:
        """Executor-milliseconds up to a moment: the area below the staircase."""
        total = 0
        for place, at in enumerate(self._at):
            end = self._at[place + 1] if place + 1 < len(self._at) else until_ms
            total += self._executors[place] * max(0, min(end, until_ms) - at)
        return total


def area_between(one: Timeline, other: Timeline, until_ms: int) -> int:
    """Executor-milliseconds between two staircases of executors, up to a moment."""
    moments = sorted({0, until_ms, *(point[0] for point in one), *(point[0] for point in other)})
    area = 0
    left, right = _Reader(one), _Reader(other)
    for begin, end in pairwise(moments):
        if begin >= until_ms:
            break
        area += abs(left.executors(begin) - right.executors(begin)) * (min(end, until_ms) - begin)
    return area


class _Reader:
    """Reads a staircase at moments that only grow."""

    def __init__(self, timeline: Timeline) -> None:
        self._points = [(point[0], point[1]) for point in timeline]
        self._next = 0
        self._value = 0

    def executors(self, at_ms: int) -> int:
        while self._next < len(self._points) and self._points[self._next][0] <= at_ms:
            self._value = self._points[self._next][1]
            self._next += 1
        return self._value
