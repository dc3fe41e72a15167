"""Executor ids: decimal, increasing, never given out twice for one driver.

Theory of operation
-------------------
A reused id can stop the driver: shuffle outputs, block locations, failure bookkeeping and the pod's name hang on it.
Spark counts in the driver's memory; an operator that may be killed at any moment cannot. So ids are *reserved* in
blocks: the caller writes ``reserved_until`` to a place that survives it (and that fences off a second leader) before
the first id of the block is used, and tells `reserved` when the write has succeeded. After a restart counting goes on
behind everything that could have been used: the reservation, the ids on pods, and the ids the driver knows.
Ids that were reserved and not used are lost; there are two thousand million.

Source: ``ExecutorPodsAllocator.EXECUTOR_ID_COUNTER`` (first id is 1), ``spark.kubernetes.allocation.maximum`` (4.1+:
an id that reaches it is refused, so ``maximum - 1`` executors can ever be made).
"""

from collections.abc import Iterable

from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.spark_conf import INT_MAX

DEFAULT_BLOCK_SIZE = 500


class ExecutorIds:
    """Hands out executor ids from reserved blocks.

    Attributes:
        next_id: the id that `take` would give next.
        reserved_until: the first id that is *not* reserved.
        maximum: the first id that may never be given out (``spark.kubernetes.allocation.maximum``).
        block_size: ids in one reservation, at least one.
    """

    __slots__ = ("block_size", "maximum", "next_id", "reserved_until")

    def __init__(
        self,
        *,
        next_id: int = 1,
        reserved_until: int = 1,
        maximum: int = INT_MAX,
        block_size: int = DEFAULT_BLOCK_SIZE,
    ) -> None:
        if next_id < 1 or block_size < 1:
            raise ValueError("the first executor id is 1 and a block holds at least one id")
        self.next_id = next_id
        self.reserved_until = max(next_id, reserved_until)
        self.maximum = maximum
        self.block_size = block_size

    @classmethod
    def after_restart(
        cls,
        *,
        reserved_until: int,
        seen_on_pods: Iterable[ExecutorId] = (),
        listed_by_driver: Iterable[ExecutorId] = (),
        maximum: int = INT_MAX,
        block_size: int = DEFAULT_BLOCK_SIZE,
    ) -> "ExecutorIds":
        """Count on behind everything that an earlier run can have used; nothing is reserved yet."""
        first_free = max(
            1,
            reserved_until,
            max(seen_on_pods, default=0) + 1,
            max(listed_by_driver, default=0) + 1,
        )
        return cls(
            next_id=first_free,
            reserved_until=first_free,
            maximum=maximum,
            block_size=block_size,
        )

    @property
    def available(self) -> int:
        """How many ids `take` can give out before the next reservation."""
        return max(0, min(self.reserved_until, self.maximum) - self.next_id)

    @property
    def at_maximum(self) -> bool:
        """No id will ever be given out again: ``spark.kubernetes.allocation.maximum`` is reached."""
        return self.next_id >= self.maximum

    def needs_reservation(self, ahead: int) -> bool:
        """Fewer than ``ahead`` ids are reserved, and reserving more can help."""
        return self.available < ahead and self.reserved_until < self.maximum

    def proposal(self, ahead: int = 1) -> int:
        """The ``reserved_until`` to write so that at least ``ahead`` ids are available: whole blocks further on."""
        blocks = max(1, -(-(ahead - self.available) // self.block_size))
        return min(self.maximum, self.reserved_until + blocks * self.block_size)

    def reserved(self, until: int) -> None:
        """The reservation was written; ids below ``until`` may be used."""
        self.reserved_until = max(self.reserved_until, until)

    def seen(self, executor_id: ExecutorId) -> None:
        """An id turned up that this counter did not give out (a pod or an executor made by somebody else)."""
        if executor_id >= self.next_id:
            self.next_id = executor_id + 1
            self.reserved_until = max(self.reserved_until, self.next_id)

    def take(self) -> ExecutorId | None:
        """The next id, or None when the reserved block is used up (or `at_maximum`)."""
        if self.next_id >= min(self.reserved_until, self.maximum):
            return None
        taken = ExecutorId(self.next_id)
        self.next_id += 1
        return taken
