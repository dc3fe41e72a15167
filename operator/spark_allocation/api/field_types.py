"""Field types of our kinds: each one a pattern for the CRD and one parser for the operator."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from spark_allocation.core.spark_conf import SECOND, parse_time

DURATION_PATTERN = r"^[0-9]+(us|ms|s|m|min|h|d)?$"


def _spark_duration(text: str) -> str:
    parse_time(text, SECOND)
    return text


SparkDuration = Annotated[
    str,
    StringConstraints(pattern=DURATION_PATTERN, max_length=24),
    AfterValidator(_spark_duration),
]
"""A duration as Spark writes it: a whole number and us, ms, s, m or min, h, d; bare numbers are seconds."""

ExecutorCount = Annotated[int, Field(ge=0, le=2_147_483_647)]
PositiveCount = Annotated[int, Field(ge=1, le=2_147_483_647)]
AccessName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
]
KubernetesName = Annotated[str, StringConstraints(min_length=1, max_length=253)]


def milliseconds(duration: str) -> int:
    """A `SparkDuration` in milliseconds; a bare number is seconds."""
    return (
        parse_time(duration, SECOND) * 1000
        if duration.strip().isdigit()
        else parse_time(duration, 1_000_000)
    )


def seconds(duration: str) -> float:
    """A `SparkDuration` in seconds."""
    return milliseconds(duration) / 1000
