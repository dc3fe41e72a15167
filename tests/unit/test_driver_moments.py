"""Moments in a driver's answers, read as Spark wrote them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.sources import driver_answers


@given(st.integers(0, 4_102_444_800_000))
def test_a_moment_is_read_as_spark_wrote_it(epoch_ms: int) -> None:
    whole = datetime.fromtimestamp(epoch_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert driver_answers._epoch_ms(f"{whole}.{epoch_ms % 1000:03}GMT") == epoch_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31T12:00:00.000",
        "2026-01-31T12:00:00.000Z",
        "2026-01-31T12:00:00.000+02:00GMT",
        "2026-02-30T12:00:00.000GMT",
        "2026-01-31T25:00:00.000GMT",
        "2026-W05-6T12:00:00.000GMT",
        "٢٠٢٦-01-31T12:00:00.000GMT",
        "2026-01-31T12:00:00.000GMT ",
    ],
)
def test_what_is_no_moment_of_spark_s_is_none(text: str) -> None:
    assert driver_answers._epoch_ms(text) is None


def test_what_is_too_long_for_a_time_is_not_kept_however_much_of_it_there_is() -> None:
    kept = driver_answers._moment_ms.cache_info().currsize
    for number in range(100):
        assert driver_answers._epoch_ms(f"{number}" * 10_000) is None
    assert driver_answers._moment_ms.cache_info().currsize == kept
