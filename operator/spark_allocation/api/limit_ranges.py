"""What a limit of a policy says: the least and the greatest value of a setting, by the kind of its values."""

from typing import Annotated

from pydantic import ConfigDict, Field

from spark_allocation.api.api_model import ApiModel
from spark_allocation.api.field_types import (
    ExecutorCount,
    PositiveCount,
    SparkDuration,
    cel_rules,
)

_MIN_ABOVE_MAX = cel_rules(
    ("!has(self.min) || !has(self.max) || self.min <= self.max", "min must not be above max")
)


class CountLimits(ApiModel):
    """How few and how many."""

    model_config = ConfigDict(json_schema_extra=_MIN_ABOVE_MAX)

    min: ExecutorCount | None = None
    """A smaller number is raised to this one."""
    max: PositiveCount | None = None
    """A greater number is lowered to this one; so is "no limit"."""


class RatioLimits(ApiModel):
    """How small and how great a share."""

    model_config = ConfigDict(json_schema_extra=_MIN_ABOVE_MAX)

    min: Annotated[float, Field(gt=0, le=1)] | None = None
    """A smaller share is raised to this one."""
    max: Annotated[float, Field(gt=0, le=1)] | None = None
    """A greater share is lowered to this one."""


class DurationLimits(ApiModel):
    """How short and how long."""

    min: SparkDuration | None = None
    """A shorter time is raised to this one."""
    max: SparkDuration | None = None
    """A longer time is lowered to this one; so is "for ever"."""


class NumberLimits(ApiModel):
    """How small and how great a number."""

    model_config = ConfigDict(json_schema_extra=_MIN_ABOVE_MAX)

    min: Annotated[float, Field(ge=0, le=1000)] | None = None
    """A smaller number is raised to this one."""
    max: Annotated[float, Field(ge=0, le=1000)] | None = None
    """A greater number is lowered to this one."""
