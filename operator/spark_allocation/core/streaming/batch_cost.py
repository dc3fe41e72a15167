"""What a batch costs: a part that it costs without any row, and a part for each row and slot. Learned from batches.

Theory of operation
-------------------
    duration = fixed + per row × rows ÷ slots

Planning, commits and state checkpoints take their time however many executors there are. An allocator that leaves them out takes
an executor that is busy with short batches for slow, and asks for too many where rows are few and for too few where they
are many. Two numbers are fitted by least squares over the batches seen, each weighted by its own duration (what batches of one
size differ by grows with them), and the newer the heavier.

The two can only be told apart by batches of different size for each slot. While all are alike, the fixed part stays what
it was last known to be (0 at first, which is never too few executors on the way down), and the other one follows.

*Slots* are those that a batch could really use: with ``P`` tasks in its largest stage on ``S`` slots, the last of
``ceil(P ÷ S)`` waves is not full, so ``P ÷ ceil(P ÷ S)`` of them count (`task_waves.usable_slots`). Real stages speed up by less than
in proportion; the line is then right near where executors have been lately, and found anew on the way.

The value has only numbers in it, to be kept over restarts.

Source: the true processing rate of DS2 ("Three steps is all you need", OSDI 2018), with a cost of a batch apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

FORGETTING = 0.93
"""What a batch weighs when another one has come: half after ten."""
LEAST_SPREAD = 0.2
"""Standard deviation of rows for a slot, as a share of the mean, from which on both parts can be told apart."""
LARGEST_FIXED_SHARE = 0.95
_SHORTEST_S = 0.001
_NUMBERS = 7


@dataclass(frozen=True, slots=True)
class LearnedCost:
    """What batches have shown so far.

    Attributes:
        batches: seen, the older the less.
        fixed_s: seconds that a batch costs without any row, as last known.
        weight, sum_x, sum_y, sum_xx, sum_xy: of rows ÷ usable slots (x) and seconds (y).
    """

    batches: float = 0.0
    fixed_s: float = 0.0
    weight: float = 0.0
    sum_x: float = 0.0
    sum_y: float = 0.0
    sum_xx: float = 0.0
    sum_xy: float = 0.0

    @classmethod
    def restored(cls, numbers: Sequence[float]) -> "LearnedCost":
        """From what `numbers` gave; nothing learned when they are not such numbers."""
        if len(numbers) != _NUMBERS or not all(
            isinstance(each, int | float) and math.isfinite(each) and each >= 0 for each in numbers
        ):
            return cls()
        return cls(*map(float, numbers))

    @property
    def numbers(self) -> tuple[float, ...]:
        """To be kept."""
        return (
            self.batches,
            self.fixed_s,
            self.weight,
            self.sum_x,
            self.sum_y,
            self.sum_xx,
            self.sum_xy,
        )

    @property
    def is_known(self) -> bool:
        """Rows and time of some batches have been seen."""
        return self.sum_x > 0

    @property
    def per_row_s(self) -> float:
        """Seconds that a row takes one slot.

        Raises:
            ZeroDivisionError: when nothing is known.
        """
        return max(0.0, (self.sum_y - self.fixed_s * self.weight) / self.sum_x)

    def duration_s(self, rows: float, usable: float) -> float:
        """Seconds that a batch of so many rows takes on so many usable slots."""
        return self.fixed_s + self.per_row_s * rows / usable

    def after(self, *, rows: float, usable: float, duration_s: float) -> "LearnedCost":
        """With one more batch.

        Args:
            rows: at least 0.
            usable: slots, see `task_waves.usable_slots`; above 0.
            duration_s: at least 0.
        """
        x, y = rows / usable, max(duration_s, _SHORTEST_S)
        own = 1 / (y * y)
        weight, sum_x, sum_y, sum_xx, sum_xy = (
            before * FORGETTING + more
            for before, more in zip(
                (self.weight, self.sum_x, self.sum_y, self.sum_xx, self.sum_xy),
                (own, own * x, own * y, own * x * x, own * x * y),
                strict=True,
            )
        )
        fixed_s = _fixed(weight, sum_x, sum_y, sum_xx, sum_xy)
        mean_y = sum_y / weight
        return LearnedCost(
            batches=self.batches * FORGETTING + 1,
            fixed_s=min(self.fixed_s if fixed_s is None else fixed_s, mean_y * LARGEST_FIXED_SHARE),
            weight=weight,
            sum_x=sum_x,
            sum_y=sum_y,
            sum_xx=sum_xx,
            sum_xy=sum_xy,
        )


def _fixed(weight: float, sum_x: float, sum_y: float, sum_xx: float, sum_xy: float) -> float | None:
    """Where the line meets no rows; None while batches are too much alike to tell."""
    mean_x, mean_y = sum_x / weight, sum_y / weight
    variance = sum_xx / weight - mean_x * mean_x
    if mean_x <= 0 or variance < (LEAST_SPREAD * mean_x) ** 2:
        return None
    slope = max(0.0, (sum_xy / weight - mean_x * mean_y) / variance)
    return max(0.0, mean_y - slope * mean_x)
