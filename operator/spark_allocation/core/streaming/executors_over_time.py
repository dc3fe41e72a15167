"""How many executors there were while a batch ran: batches are judged by these, not by those there are when they are told."""

from collections import deque

KEPT_S = 7200.0
"""Longer batches are taken to have run on what there was for the last two hours."""


class ExecutorsOverTime:
    """Of one resource profile. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._changes: deque[tuple[float, int]] = deque()

    @property
    def now(self) -> int:
        """As last noted; 0 before."""
        return self._changes[-1][1] if self._changes else 0

    def note(self, at: float, executors: int) -> None:
        """So many there are from now on; moments are told in order."""
        if self._changes and self._changes[-1][1] == executors:
            return
        self._changes.append((at, executors))
        while len(self._changes) > 1 and self._changes[1][0] < at - KEPT_S:
            self._changes.popleft()

    def mean(self, since: float, until: float) -> float:
        """On average; before the first note there were as many as then."""
        if not self._changes:
            return 0.0
        if until <= since:
            return float(self._at(until))
        total, end = 0.0, until
        for at, executors in reversed(self._changes):
            if at < end:
                begin = max(at, since)
                total += (end - begin) * executors
                end = begin
            if end <= since:
                break
        total += (end - since) * self._changes[0][1]
        return total / (until - since)

    def _at(self, moment: float) -> int:
        for at, executors in reversed(self._changes):
            if at <= moment:
                return executors
        return self._changes[0][1]
