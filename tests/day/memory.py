"""The slope of a process's memory over time, and how sure of it one can be.

Memory also follows the work at hand: more allocations and more pods take more. So two lines are fitted by least squares:
one over time alone, and one over time, allocations and pods together, whose slope is what stays when both are the same.
Neighbouring samples resemble each other; the errors are therefore those of Newey and West, which allow for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NORMAL_95 = 1.96
BIN_SECONDS = 30.0
FEWEST_BINS = 12
LAG_BINS = 6
"""Samples up to three minutes apart may resemble each other."""


@dataclass(frozen=True, slots=True)
class Slope:
    """In MiB an hour, with the ends of its 95 % confidence interval."""

    mib_per_hour: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mib_per_hour:+.2f} MiB/h (95 % between {self.low:+.2f} and {self.high:+.2f})"


def slope(
    seconds: Sequence[float], mib: Sequence[float], *besides: Sequence[float]
) -> Slope | None:
    """The slope over time.

    Args:
        besides: what else memory follows, sampled at the same times.

    Returns:
        None when there are too few samples to say anything.
    """
    table = np.column_stack([np.asarray(each, dtype=float) for each in (seconds, mib, *besides)])
    bins = np.floor((table[:, 0] - table[0, 0]) / BIN_SECONDS) if len(table) else np.array([])
    table = np.array([table[bins == each].mean(axis=0) for each in np.unique(bins)])
    if len(table) < FEWEST_BINS:
        return None
    hours = (table[:, 0] - table[:, 0].mean()) / 3600
    others = table[:, 2:] - table[:, 2:].mean(axis=0)
    others = others[:, others.std(axis=0) > 0]
    design = np.column_stack([hours, others, np.ones(len(table))])
    fitted, *_ = np.linalg.lstsq(design, table[:, 1], rcond=None)
    residuals = table[:, 1] - design @ fitted
    inverse = np.linalg.pinv(design.T @ design)
    scores = design * residuals[:, None]
    middle = scores.T @ scores
    for lag in range(1, min(LAG_BINS, len(table) - 1) + 1):
        weight = 1 - lag / (LAG_BINS + 1)
        product = scores[lag:].T @ scores[:-lag]
        middle += weight * (product + product.T)
    spread = len(table) / max(1, len(table) - design.shape[1])
    error = float(np.sqrt(max(0.0, (inverse @ middle @ inverse)[0, 0] * spread)))
    found = float(fitted[0])
    return Slope(found, found - NORMAL_95 * error, found + NORMAL_95 * error)
