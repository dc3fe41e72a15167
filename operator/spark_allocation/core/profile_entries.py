"""Which entry of ``spec.profiles`` is for which resource profile of an application.

Theory of operation
-------------------
Spark numbers the profiles of an application as it meets them, so an id means something in one run only; what stays the
same from run to run is what a profile asks for. An entry therefore names amounts of resources, or an id.

A resource matches when the executors of the profile have exactly that amount. What a profile leaves open counts as its
executors get it: cores and memory of the application's own settings (``ResourceProfile.getResourcesForClusterManager``),
and none of a custom resource.

At most one entry is for a profile, as a whole: entries are not mixed. Of several that match, one that names the id comes
before one that names resources, then the one that names more resources, then the one that stands first. Where only the
place in the list decided, that is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spark_allocation.core.resource_profiles import (
    CORES,
    DEFAULT_PROFILE_ID,
    MEMORY,
    ProfileId,
    ResourceProfile,
    ResourceProfileManager,
)


@dataclass(frozen=True, slots=True)
class ProfileMatch:
    """What a profile has to be.

    Attributes:
        profile_id: that the driver gave it.
        resources: amounts in each executor, by Spark's name of the resource; memory in MiB.
    """

    profile_id: ProfileId | None = None
    resources: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        named = [] if self.profile_id is None else [f"id {self.profile_id}"]
        named += [
            f"{name} {amount}{'m' if name == MEMORY else ''}"
            for name, amount in self.resources.items()
        ]
        return ", ".join(named)


@dataclass(frozen=True, slots=True)
class ProfileEntry:
    """One entry of ``spec.profiles``.

    Attributes:
        place: in the list, from 0.
        settings: what it says, by field.
    """

    place: int
    match: ProfileMatch
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Where it stands."""
        return f"profiles[{self.place}]"


@dataclass(frozen=True, slots=True)
class ProfileChoices:
    """Which entry is for which profile.

    Attributes:
        chosen: by profile; those for which no entry is are left out.
        ties: profiles for which two entries are as good; sentences.
        unused: entries that are for none of the profiles.
    """

    chosen: Mapping[ProfileId, ProfileEntry] = field(default_factory=dict)
    ties: tuple[str, ...] = ()
    unused: tuple[ProfileEntry, ...] = ()


def choose_entries(
    entries: Sequence[ProfileEntry], profiles: ResourceProfileManager
) -> ProfileChoices:
    """Choose, for all profiles that the driver has named so far."""
    default = profiles.get(DEFAULT_PROFILE_ID)
    chosen: dict[ProfileId, ProfileEntry] = {}
    ties: list[str] = []
    for profile in profiles:
        has = _resources(profile, default)
        matching = [entry for entry in entries if _is_for(entry.match, profile.id, has)]
        if not matching:
            continue
        best = max(matching, key=lambda entry: (*_rank(entry.match), -entry.place))
        chosen[profile.id] = best
        equal = [
            entry.name
            for entry in matching
            if entry is not best and _rank(entry.match) == _rank(best.match)
        ]
        if equal:
            ties.append(
                f"{best.name} and {' and '.join(equal)} match resource profile {profile.id} equally well; "
                f"{best.name} stands first and holds"
            )
    used = {entry.place for entry in chosen.values()}
    return ProfileChoices(
        chosen, tuple(ties), tuple(entry for entry in entries if entry.place not in used)
    )


def _is_for(match: ProfileMatch, profile_id: ProfileId, has: Mapping[str, int]) -> bool:
    if match.profile_id is not None and match.profile_id != profile_id:
        return False
    return all(has.get(name, 0) == amount for name, amount in match.resources.items())


def _rank(match: ProfileMatch) -> tuple[bool, int]:
    return match.profile_id is not None, len(match.resources)


def _resources(profile: ResourceProfile, default: ResourceProfile | None) -> dict[str, int]:
    """What the executors of a profile have."""
    has = {name: request.amount for name, request in profile.executor_resources.items()}
    for name in (CORES, MEMORY):
        if name not in has and default is not None and name in default.executor_resources:
            has[name] = default.executor_resources[name].amount
    return has
