"""What was wanted over the last minutes: a change is followed only once it has been wanted for its window.

Theory of operation
-------------------
As in a HorizontalPodAutoscaler: a target below the smallest number of the window for scale-up rises to that; one above the
largest of the window for scale-down falls to that; in between it stays. The window for scale-down also has at least so many
batches in it, as otherwise a query with long ones would be judged by a single one.

Of the time before the first number, what there was then is taken to have been wanted: a restart of the operator
shortens no window.

Source: ``pkg/controller/podautoscaler/horizontal.go``, ``stabilizeRecommendationWithBehaviors``.
"""

from collections import deque
from typing import NamedTuple


class _Wanted(NamedTuple):
    until: float
    batches: int
    executors: int


class Recommendations:
    """Of the streams of one profile. Times are seconds."""

    def __init__(self) -> None:
        self._wanted: deque[_Wanted] = deque()

    def add(self, now: float, batches: int, executors: int, *, present: int) -> None:
        """Note what is wanted.

        Args:
            now: not before that of the last call.
            batches: that have been seen so far, of all queries.
            executors: that are wanted.
            present: that there are to be, which counts for the time before the first call.
        """
        if not self._wanted:
            self._wanted.append(_Wanted(now, batches, present))
        last = self._wanted[-1]
        if last.executors == executors and len(self._wanted) > 1:
            # the same number: it holds until now
            self._wanted[-1] = _Wanted(now, batches, executors)
        else:
            self._wanted.append(_Wanted(now, batches, executors))

    def forget(self, now: float, window_s: float, batches: int) -> None:
        """What lies outside of both windows."""
        while len(self._wanted) > 1 and not _inside(self._wanted[0], now, window_s, batches):
            self._wanted.popleft()

    def largest(self, now: float, window_s: float, batches: int) -> int:
        """Within so many seconds, or since there were so many batches, whichever is longer."""
        return max(
            (each.executors for each in self._wanted if _inside(each, now, window_s, batches)),
            default=self._wanted[-1].executors,
        )

    def smallest(self, now: float, window_s: float) -> int:
        """Within so many seconds."""
        return min(
            (each.executors for each in self._wanted if each.until > now - window_s),
            default=self._wanted[-1].executors,
        )

    def reset(self) -> None:
        """Forget all."""
        self._wanted.clear()


def _inside(wanted: _Wanted, now: float, window_s: float, since_batches: int) -> bool:
    return wanted.until > now - window_s or wanted.batches > since_batches
