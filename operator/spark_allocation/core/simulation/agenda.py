"""The simulated clock, and what is going to happen.

Theory of operation
-------------------
The clock jumps from one moment at which something happens to the next. Things of one moment happen in the order of
`Order`, and things of one kind in the order in which they were arranged: a run depends on nothing else, so the same run
comes out again. What is arranged for a moment that has passed happens now.
"""

import heapq
from collections.abc import Callable
from enum import IntEnum


class Order(IntEnum):
    """What happens, in the order in which things of one moment happen."""

    TASK_ENDS = 0
    JOB_ENDS = 1
    EXECUTOR_GONE = 2
    EXECUTOR_READY = 3
    EXECUTOR_TAKES_TASKS = 4
    EXECUTOR_LOST = 5
    DRIVER_ACTS = 6
    STAGE_SUBMITTED = 7
    LOCALITY = 8
    DECIDE = 9
    END = 10


class Agenda:
    """What is going to happen. It begins at 0.

    Attributes:
        now_ms: the simulated time, in milliseconds since the application's start.
    """

    __slots__ = ("_arranged", "_number", "now_ms")

    def __init__(self) -> None:
        self.now_ms = 0
        self._number = 0
        self._arranged: list[tuple[int, Order, int, Callable[[], None]]] = []

    def later(self, at_ms: int, order: Order, act: Callable[[], None]) -> None:
        """Arrange that something happens at a moment."""
        self._number += 1
        heapq.heappush(self._arranged, (max(at_ms, self.now_ms), order, self._number, act))

    @property
    def next_at_ms(self) -> int | None:
        """When something happens next; None when nothing is going to."""
        return self._arranged[0][0] if self._arranged else None

    def pass_moment(self) -> None:
        """Go to the next moment and let happen what belongs to it, with all that it arranges for the same moment."""
        arranged = self._arranged
        self.now_ms = arranged[0][0]
        while arranged and arranged[0][0] == self.now_ms:
            act = heapq.heappop(arranged)[3]
            act()
