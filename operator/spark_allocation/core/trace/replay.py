"""A trace put into the core again: does the same come of it?

Theory of operation
-------------------
A trace is a sequence of *entries*: a life that begins, a value that reached the core, a step with what it decided, and
gaps where something is missing. `Replay` takes them in order. A life that begins makes another `Allocation`, everything
else is put into the one that there is, and each step that is taken again is handed out beside the recorded one.

Whether both have to be equal is said with each step (`ReplayedStep.exact`). They have while everything since the life
began is there. After a gap, or where the beginning is missing, they come nearer to each other with time: timers that
were running are not known.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from spark_allocation.core.allocation import Allocation
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.resource_profiles import ResourceProfileManager
from spark_allocation.core.trace.decided import Decided, decided
from spark_allocation.core.trace.inputs import Input, LifeBegun, ProfilesLearned, StepAsked


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A step, and what it decided."""

    asked: StepAsked
    decided: Decided


@dataclass(frozen=True, slots=True)
class Gap:
    """Something is missing here.

    Attributes:
        lost: entries; 0 when nobody knows how many.
    """

    lost: int = 0


Entry = LifeBegun | ProfilesLearned | StepTaken | Gap | Input


@dataclass(frozen=True, slots=True)
class ReplayedStep:
    """A step, recorded and taken again.

    Attributes:
        exact: both have to be equal.
        step: what was decided now.
    """

    asked: StepAsked
    recorded: Decided
    again: Decided
    step: Step
    exact: bool

    @property
    def differences(self) -> tuple[str, ...]:
        """Attributes of `Decided` that differ."""
        if self.recorded == self.again:
            return ()
        return tuple(
            each.name
            for each in fields(Decided)
            if getattr(self.recorded, each.name) != getattr(self.again, each.name)
        )


class NoBeginning(ValueError):  # noqa: N818  (what the user reads)
    """The trace says something before a life has begun."""


class Replay:
    """Puts entries into the core, one after the other."""

    def __init__(self) -> None:
        self._allocation: Allocation | None = None
        self._profiles: ResourceProfileManager | None = None
        self._exact = False

    def take(self, entry: Entry) -> ReplayedStep | None:
        """Take one; a step that was taken again.

        Raises:
            NoBeginning: no life has begun.
            InvalidSetting, InvalidProfile: Spark would refuse what the life began with.
        """
        match entry:
            case LifeBegun():
                self._profiles = entry.known_profiles()
                self._allocation = entry.allocation(self._profiles)
                self._exact = not entry.in_the_middle
                return None
            case Gap():
                self._exact = False
                return None
        allocation, profiles = self._allocation, self._profiles
        if allocation is None or profiles is None:
            raise NoBeginning("no life of a driver has begun here")
        match entry:
            case StepTaken():
                step = entry.asked.step_of(allocation)
                return ReplayedStep(entry.asked, entry.decided, decided(step), step, self._exact)
            case ProfilesLearned():
                entry.add_to(profiles)
            case _:
                entry.put_into(allocation)
        return None


def replayed(entries: Iterable[Entry]) -> Iterator[ReplayedStep]:
    """All steps of these entries, recorded and taken again."""
    replay = Replay()
    for entry in entries:
        step = replay.take(entry)
        if step is not None:
            yield step
