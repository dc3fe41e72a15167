"""``spec.profiles`` for the resource profiles that a driver has named: what holds for each, and who says so."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spark_allocation.api.spark_keys import wished_of_profiles
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.core.dynamic_allocation_conf import ProfileOverrides
from spark_allocation.core.profile_entries import ProfileChoices, ProfileEntry, choose_entries
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.setting_catalogue import (
    BY_FIELD,
    INITIAL_EXECUTORS,
    MAX_EXECUTORS,
    MIN_EXECUTORS,
)
from spark_allocation.core.setting_layers import EffectiveSetting, Resolution
from spark_allocation.core.spark_conf import INT_MAX, LONG_MAX, MILLISECOND, SECOND

_IDLE = BY_FIELD["dynamicAllocation.executorIdleTimeout"]
_CACHED_IDLE = BY_FIELD["dynamicAllocation.cachedExecutorIdleTimeout"]
_SHUFFLE = BY_FIELD["dynamicAllocation.shuffleTracking.timeout"]
OF_A_PROFILE = (MIN_EXECUTORS, INITIAL_EXECUTORS, MAX_EXECUTORS, _IDLE, _CACHED_IDLE, _SHUFFLE)
"""The settings that an entry may have."""


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """What holds for the profiles for which there is an entry.

    Attributes:
        wished: there are entries at all.
        resolutions: with the entry as the last layer.
        templates: of pods, where the entry has one.
    """

    wished: bool = False
    choices: ProfileChoices = field(default_factory=ProfileChoices)
    resolutions: Mapping[ProfileId, Resolution] = field(default_factory=dict)
    templates: Mapping[ProfileId, Mapping[str, Any]] = field(default_factory=dict)

    def overrides(self) -> dict[ProfileId, ProfileOverrides]:
        """For the core."""
        return {
            profile_id: _overrides(resolution)
            for profile_id, resolution in self.resolutions.items()
        }

    def differing(self, common: Resolution) -> dict[ProfileId, tuple[EffectiveSetting, ...]]:
        """By profile, the settings that the entry set, and those that it moved."""
        return {
            profile_id: tuple(
                own
                for setting in OF_A_PROFILE
                if (own := resolution.settings[setting.field]) != common.settings[setting.field]
            )
            for profile_id, resolution in self.resolutions.items()
        }


NO_ENTRIES = ProfileSettings()


def profile_settings(
    spec: SparkAllocationSpec,
    profiles: ResourceProfileManager | None,
    resolve_with: Callable[[ProfileEntry], Resolution],
) -> ProfileSettings:
    """Choose the entries and put their settings together.

    Args:
        profiles: that the driver has named so far; None when nothing is known of them.
        resolve_with: all layers with the entry as the last.
    """
    entries = wished_of_profiles(spec)
    if not entries or profiles is None:
        return ProfileSettings(wished=bool(entries))
    choices = choose_entries(entries, profiles)
    templates = [profile.pod_template for profile in spec.profiles or ()]
    return ProfileSettings(
        wished=True,
        choices=choices,
        resolutions={
            profile_id: resolve_with(entry) for profile_id, entry in choices.chosen.items()
        },
        templates={
            profile_id: template
            for profile_id, entry in choices.chosen.items()
            if (template := templates[entry.place]) is not None
        },
    )


def _overrides(resolution: Resolution) -> ProfileOverrides:
    initial = resolution.settings[INITIAL_EXECUTORS.field]
    return ProfileOverrides(
        min_executors=_whole(resolution, MIN_EXECUTORS.field),
        # unstated it is the application's own number, which also spark.executor.instances may raise
        initial_executors=_whole(resolution, INITIAL_EXECUTORS.field) if initial.stated else None,
        max_executors=_whole(resolution, MAX_EXECUTORS.field),
        executor_idle_timeout_s=_whole(resolution, _IDLE.field, SECOND, INT_MAX),
        cached_executor_idle_timeout_s=_whole(resolution, _CACHED_IDLE.field, SECOND, INT_MAX),
        shuffle_tracking_timeout_ms=_whole(resolution, _SHUFFLE.field, MILLISECOND, LONG_MAX),
    )


def _whole(resolution: Resolution, name: str, unit: int = 1, greatest: int = INT_MAX) -> int:
    each = resolution.settings[name]
    return min(int(each.setting.measure(each.value)) // unit, greatest)
