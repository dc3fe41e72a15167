"""Whole numbers as the JVM computes them, where Spark's answer depends on their width.

Targets and task counts are 32-bit in Spark and times are 64-bit nanoseconds; both wrap around silently, while
``Double.toInt`` and ``TimeUnit.toNanos`` stop at the limits. The manager and the monitor use these functions at exactly
the places where Spark's sums can leave the range, so that a nonsensical setting leads to the same decision here.
"""

import math

INT_MAX = 2**31 - 1
INT_MIN = -(2**31)
LONG_MAX = 2**63 - 1
LONG_MIN = -(2**63)


def wrap_int(number: int) -> int:
    """A 32-bit sum or product (``Int`` arithmetic)."""
    if INT_MIN <= number <= INT_MAX:
        return number
    return (number + 2**31) % 2**32 - 2**31


def wrap_long(number: int) -> int:
    """A 64-bit sum or product (``Long`` arithmetic)."""
    if LONG_MIN <= number <= LONG_MAX:
        return number
    return (number + 2**63) % 2**64 - 2**63


def saturate_long(number: int) -> int:
    """A number held within 64 bits (``TimeUnit.toNanos``)."""
    return max(LONG_MIN, min(LONG_MAX, number))


def double_to_int(number: float) -> int:
    """``Double.toInt``: truncated, held within 32 bits, and 0 for not-a-number."""
    if math.isnan(number):
        return 0
    if number >= INT_MAX:
        return INT_MAX
    if number <= INT_MIN:
        return INT_MIN
    return int(number)
