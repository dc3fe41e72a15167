"""Numbers as wide as the JVM's."""

import ctypes
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.core.jvm_numbers import (
    INT_MAX,
    INT_MIN,
    LONG_MAX,
    LONG_MIN,
    double_to_int,
    saturate_long,
    wrap_int,
    wrap_long,
)


@given(st.integers(-(2**70), 2**70))
def test_sums_wrap_around(number: int) -> None:
    assert wrap_int(number) == ctypes.c_int32(number).value
    assert wrap_long(number) == ctypes.c_int64(number).value


@given(st.integers(-(2**70), 2**70))
def test_conversions_of_time_stop_at_the_limits(number: int) -> None:
    assert saturate_long(number) == sorted((LONG_MIN, number, LONG_MAX))[1]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1.9, 1),
        (-1.9, -1),
        (1e300, INT_MAX),
        (-math.inf, INT_MIN),
        (math.nan, 0),
        (2147483646.5, 2147483646),
    ],
)
def test_a_double_is_truncated(number: float, expected: int) -> None:
    assert double_to_int(number) == expected
