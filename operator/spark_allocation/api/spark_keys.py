"""From a SparkAllocation to Spark's own keys: the bridge between the user's fields and the core's configuration.

The core reads one `SparkConf`. It is put together here, later entries winning: Spark's defaults (by absence), the
driver's configuration without the keys that `core.passive_driver` makes inert, the fields of the SparkAllocation.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from spark_allocation.api.field_types import mebibytes_of_spark, milliseconds
from spark_allocation.api.v1alpha1 import Profile, ProfileMatch, SparkAllocationSpec
from spark_allocation.core import profile_entries
from spark_allocation.core.profile_entries import ProfileEntry
from spark_allocation.core.resource_profiles import CORES, MEMORY, ProfileId
from spark_allocation.core.setting_catalogue import BY_FIELD, SETTINGS, Kind, Setting
from spark_allocation.core.spark_conf import SparkConf

INERT_KEYS = frozenset(
    {
        "spark.dynamicAllocation.minExecutors",
        "spark.dynamicAllocation.initialExecutors",
        "spark.executor.instances",
        "spark.dynamicAllocation.schedulerBacklogTimeout",
        "spark.dynamicAllocation.sustainedSchedulerBacklogTimeout",
        "spark.dynamicAllocation.executorIdleTimeout",
        "spark.dynamicAllocation.cachedExecutorIdleTimeout",
        "spark.dynamicAllocation.shuffleTracking.enabled",
        "spark.dynamicAllocation.shuffleTracking.timeout",
        "spark.dynamicAllocation.executorAllocationRatio",
        "spark.executor.maxNumFailures",
    }
)
"""Keys that a passive driver sets to keep still; they say nothing about what its user wants."""

PROFILE_GROUP = "dynamicAllocation."
"""Entries of ``spec.profiles`` have some of these fields."""


def setting_text(setting: Setting, value: Any) -> str:
    """A value of a model as the text that the core compares and Spark reads; a bare duration is seconds."""
    match setting.kind:
        case Kind.DURATION:
            return f"{milliseconds(value)}ms"
        case Kind.FLAG:
            return "true" if value else "false"
        case _:
            return str(value)


def stated_values(model: BaseModel | None, *, within: str = "") -> Iterator[tuple[Setting, Any]]:
    """The settings that a model states, with what stands in their place.

    Args:
        within: the group, such as ``dynamicAllocation.``, whose fields the model has without it.
    """
    for setting in SETTINGS:
        if not setting.field.startswith(within):
            continue
        value: Any = model
        for part in setting.field.removeprefix(within).split("."):
            value = getattr(value, _attribute(part), None)
        if value is not None:
            yield setting, value


def wished_settings(model: BaseModel | None) -> dict[str, str]:
    """What a model with the fields of a SparkAllocation sets, by field; only what is set."""
    return {setting.field: setting_text(setting, value) for setting, value in stated_values(model)}


def wished_of_profiles(spec: SparkAllocationSpec) -> tuple[ProfileEntry, ...]:
    """The entries of ``spec.profiles``, with their settings by field."""
    return tuple(
        ProfileEntry(place, _match(profile.match), _settings_of_profile(profile))
        for place, profile in enumerate(spec.profiles or ())
    )


def _match(match: ProfileMatch) -> profile_entries.ProfileMatch:
    resources: dict[str, int] = {}
    if match.resources is not None:
        if match.resources.cores is not None:
            resources[CORES] = match.resources.cores
        if match.resources.memory is not None:
            resources[MEMORY] = mebibytes_of_spark(match.resources.memory)
        resources.update(match.resources.custom or {})
    return profile_entries.ProfileMatch(
        None if match.id is None else ProfileId(match.id), resources
    )


def _settings_of_profile(profile: Profile) -> dict[str, str]:
    """What an entry says: its fields stand there without the group that they have in ``spec``."""
    return {
        setting.field: setting_text(setting, value)
        for setting, value in stated_values(profile, within=PROFILE_GROUP)
    }


def wished_properties(spec: SparkAllocationSpec) -> dict[str, str]:
    """The Spark properties that the fields of a SparkAllocation stand for; only those that are set."""
    return {
        key: text
        for field, text in wished_settings(spec).items()
        if (key := BY_FIELD[field].spark_key)
    }


def allocation_conf(driver: Mapping[str, str], spec: SparkAllocationSpec) -> SparkConf:
    """The configuration that decides how many executors there are.

    Args:
        driver: the driver's effective Spark properties.
    """
    inherited = {key: value for key, value in driver.items() if key not in INERT_KEYS}
    return SparkConf({**inherited, **wished_properties(spec)})


def _attribute(part: str) -> str:
    return re.sub("([A-Z])", r"_\1", part).lower()
