"""The one way by which the operator reaches what decides, so that all of it can be told to a trace.

Theory of operation
-------------------
Every call goes through here as a value (`inputs`). With a `TraceSink` each value is told to it; a step is told with what
it decided. Resource profiles are the exception: the poll of the driver adds them to the manager that the allocation looks
things up in, and they are noticed before the next value.

What is told is never changed afterwards, so the sink may look at it later and elsewhere.
"""

from typing import Protocol

from spark_allocation.core.allocation import Allocation
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.resource_profiles import ResourceProfileManager
from spark_allocation.core.trace.inputs import Input, LifeBegun, ProfilesLearned, StepAsked


class TraceSink(Protocol):
    """Keeps what reaches the core. Neither method waits for anything."""

    def begun(self, life: LifeBegun) -> None:
        """A life begins."""

    def told(self, entry: Input | ProfilesLearned) -> None:
        """A value has reached the core."""

    def stepped(self, asked: StepAsked, step: Step) -> None:
        """A step was taken, and this is what came of it."""


class DrivenAllocation:
    """One life of a driver.

    Attributes:
        core: what decides; to be read from, not called.
    """

    def __init__(
        self,
        core: Allocation,
        profiles: ResourceProfileManager,
        sink: TraceSink | None = None,
    ) -> None:
        """
        Args:
            profiles: those that ``core`` looks things up in.
            sink: is told everything.
        """
        self.core = core
        self._profiles = profiles
        self._sink = sink
        self._known = sum(1 for _ in profiles)

    @classmethod
    def begin(
        cls, life: LifeBegun, profiles: ResourceProfileManager, sink: TraceSink | None = None
    ) -> "DrivenAllocation":
        """Begin a life.

        Args:
            profiles: with what ``life`` says of them.
        """
        driven = cls(life.allocation(profiles), profiles, sink)
        if sink is not None:
            sink.begun(life)
        return driven

    def tell(self, entry: Input) -> None:
        """Put a value into it."""
        if self._sink is not None:
            self._notice_profiles(self._sink)
            self._sink.told(entry)
        entry.put_into(self.core)

    def step(self, asked: StepAsked) -> Step:
        """Take a step."""
        if self._sink is None:
            return asked.step_of(self.core)
        self._notice_profiles(self._sink)
        step = asked.step_of(self.core)
        self._sink.stepped(asked, step)
        return step

    def _notice_profiles(self, sink: TraceSink) -> None:
        profiles = tuple(self._profiles)
        if len(profiles) > self._known:
            sink.told(ProfilesLearned(profiles[self._known :]))
            self._known = len(profiles)
