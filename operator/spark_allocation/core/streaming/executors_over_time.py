"""How many executors there were while a batch ran, and what they were worth: batches are judged by these, not by those there are when
they are told.

Theory of operation
-------------------
An executor that has just come is slow: it loads classes, its code is not compiled yet, Python workers begin. A batch that is
late on such executors does not show that there are too few. So one counts for `FIRST_WORTH` when it comes, and for a whole one
`WARM_UP_S` later, in a straight line; of several the youngest leave first (`surplus`). Those that were there when somebody first
looked count as a whole.

Too little for executors that were quick at once does no harm: nobody leaves because of it before the stabilisation window is
over, which is longer. Too much asks for executors that are not needed, and whose own beginning is taken for still more work.
"""

import math
from collections import deque
from dataclasses import dataclass, replace

KEPT_S = 7200.0
"""Longer batches are taken to have run on what there was for the last two hours."""
WARM_UP_S = 30.0
FIRST_WORTH = 0.5


@dataclass(frozen=True, slots=True)
class _Cohort:
    """Executors that came together, and left together."""

    came_at: float
    executors: int
    left_at: float

    def missing(self, since: float, until: float) -> float:
        """Executor seconds that it was not worth between two moments."""
        begin = max(since, self.came_at)
        end = min(until, self.left_at, self.came_at + WARM_UP_S)
        if end <= begin:
            return 0.0
        middle = ((begin + end) / 2 - self.came_at) / WARM_UP_S
        return self.executors * (end - begin) * (1 - FIRST_WORTH) * (1 - middle)


class ExecutorsOverTime:
    """Of one resource profile. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._changes: deque[tuple[float, int]] = deque()
        self._young: deque[_Cohort] = deque()
        """The youngest last; of those that have left only as long as they may be asked for."""

    @property
    def now(self) -> int:
        """As last noted; 0 before."""
        return self._changes[-1][1] if self._changes else 0

    def note(self, at: float, executors: int) -> None:
        """So many there are from now on; moments are told in order."""
        before = self._changes[-1][1] if self._changes else executors
        if self._changes and before == executors:
            return
        self._changes.append((at, executors))
        while len(self._changes) > 1 and self._changes[1][0] < at - KEPT_S:
            self._changes.popleft()
        while self._young and self._young[0].came_at < at - KEPT_S:
            self._young.popleft()
        if executors > before:
            self._young.append(_Cohort(at, executors - before, math.inf))
        else:
            self._lose(before - executors, at)

    def _lose(self, executors: int, at: float) -> None:
        for place in reversed(range(len(self._young))):
            cohort = self._young[place]
            if executors == 0:
                return
            if cohort.left_at < math.inf:
                continue
            gone = min(executors, cohort.executors)
            executors -= gone
            self._young[place] = replace(cohort, executors=gone, left_at=at)
            if cohort.executors > gone:
                self._young.insert(place, replace(cohort, executors=cohort.executors - gone))

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

    def worth(self, since: float, until: float) -> float:
        """What they were worth on average, in executors that have warmed up: at most `mean`, and at least `FIRST_WORTH` of it."""
        mean = self.mean(since, until)
        if until <= since:
            return mean
        missing = sum(each.missing(since, until) for each in self._young)
        return max(mean * FIRST_WORTH, mean - missing / (until - since))

    def _at(self, moment: float) -> int:
        for at, executors in reversed(self._changes):
            if at <= moment:
                return executors
        return self._changes[0][1]
