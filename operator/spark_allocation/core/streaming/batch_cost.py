"""What a batch costs: a part that it costs without any row, and a part for each row and slot. Learned from batches.

Theory of operation
-------------------
    duration = fixed + per row × rows ÷ slots

Planning, commits and state checkpoints take their time however many executors there are. An allocator that leaves them out takes
an executor that is busy with short batches for slow, and asks for too many where rows are few and for too few where they
are many.

Two unknowns and one equation a batch: a batch tells something of them only as far as it differs from those before, in rows for a
slot. A least-squares fit over the last batches forgets the difference while all are alike, and then fits their noise. A
*Kalman filter* keeps what it knows until something new is seen: it carries both numbers with how uncertain they are, and moves
along what a batch shows. Batches of one size differ by a share of their duration (`NOISE`), and both numbers may drift a little
from batch to batch (`DRIFT`).

*Slots* are those that a batch could really use (`task_waves.usable_slots`). Real stages speed up by less than in proportion; the
line is then right near where executors have been lately, and found anew on the way.

The value has only numbers in it, to be kept over restarts.

Source: the true processing rate of DS2 ("Three steps is all you need", OSDI 2018), with a cost of a batch apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

NOISE = 0.1
"""Standard deviation of the duration of batches of one size, as a share."""
DRIFT = 0.02
"""By which each part may change from one batch to the next, as a share of a batch's duration."""
FIRST_FIXED_SHARE = 0.1
"""Of the duration of the first batch is taken for its fixed part, until batches of another size are seen."""
FIRST_DOUBT = 0.2
"""Standard deviation of that."""
FORGETTING = 0.93
LARGEST_FIXED_SHARE = 0.95
SURE_BATCHES = 2.5
"""Of which the cost has to be known, the older counting less, to go by it."""
_SHORTEST_S = 0.001
_NUMBERS = 6


@dataclass(frozen=True, slots=True)
class LearnedCost:
    """What batches have shown so far.

    Attributes:
        batches: seen, the older the less.
        fixed_s: seconds that a batch costs without any row.
        per_row_s: seconds that a row takes one slot.
        fixed_variance, covariance, per_row_variance: how uncertain both are.
    """

    batches: float = 0.0
    fixed_s: float = 0.0
    per_row_s: float = 0.0
    fixed_variance: float = 0.0
    covariance: float = 0.0
    per_row_variance: float = 0.0

    @classmethod
    def restored(cls, numbers: Sequence[float]) -> "LearnedCost":
        """From what `numbers` gave; nothing learned when they are not such numbers."""
        if len(numbers) != _NUMBERS or not all(
            isinstance(each, int | float) and math.isfinite(each) for each in numbers
        ):
            return cls()
        restored = cls(*map(float, numbers))
        known = (restored.batches, restored.fixed_s, restored.per_row_s)
        variances = (restored.fixed_variance, restored.per_row_variance)
        within = restored.covariance**2 <= variances[0] * variances[1]
        return restored if min(*known, *variances) >= 0 and within else cls()

    @property
    def numbers(self) -> tuple[float, ...]:
        """To be kept."""
        return (
            self.batches,
            self.fixed_s,
            self.per_row_s,
            self.fixed_variance,
            self.covariance,
            self.per_row_variance,
        )

    @property
    def is_known(self) -> bool:
        """Rows and time of some batches have been seen."""
        return self.per_row_s > 0

    @property
    def is_sure(self) -> bool:
        """Of enough batches to go by it."""
        return self.is_known and self.batches >= SURE_BATCHES

    def duration_s(self, rows: float, usable: float) -> float:
        """Seconds that a batch of so many rows takes on so many usable slots."""
        return self.fixed_s + self.per_row_s * rows / usable

    def after(self, *, rows: float, usable: float, duration_s: float) -> "LearnedCost":
        """With one more batch.

        Args:
            rows: above 0.
            usable: slots, see `task_waves.usable_slots`; above 0.
            duration_s: at least 0.
        """
        x, y = rows / usable, max(duration_s, _SHORTEST_S)
        if self.is_known:
            a, b = self.fixed_s, self.per_row_s
            drift = DRIFT * min(y, self.duration_s(rows, usable))
            aa = self.fixed_variance + drift**2
            ab = self.covariance
            bb = self.per_row_variance + (drift / x) ** 2
        else:
            a, b = FIRST_FIXED_SHARE * y, (1 - FIRST_FIXED_SHARE) * y / x
            aa, ab, bb = (FIRST_DOUBT * y) ** 2, 0.0, (FIRST_DOUBT * y / x) ** 2
        of_a, of_b = aa + ab * x, ab + bb * x
        expected = a + b * x
        variance = of_a + of_b * x + (NOISE * max(y, expected)) ** 2
        gain_a, gain_b = of_a / variance, of_b / variance
        surprise = y - expected
        a, b = a + gain_a * surprise, b + gain_b * surprise
        level = a + b * x
        # both parts are there, and what moves one to its limit is the other's
        a = max(0.0, min(a, LARGEST_FIXED_SHARE * min(y, level)))
        return LearnedCost(
            batches=self.batches * FORGETTING + 1,
            fixed_s=a,
            per_row_s=(level - a) / x,
            fixed_variance=max(0.0, aa - gain_a * of_a),
            covariance=ab - gain_a * of_b,
            per_row_variance=max(0.0, bb - gain_b * of_b),
        )
