"""The observations of a run in order, and what can be read from their course."""

from dataclasses import dataclass, field

from tests.demo.observation import Observation


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of time in which executors were there.

    Attributes:
        began, ended: seconds since the observer began; `ended` is the first look without an executor.
        peak: most executors that ran at once.
    """

    began: float
    ended: float | None
    peak: int


@dataclass(slots=True)
class Timeline:
    """All observations of a run."""

    observations: list[Observation] = field(default_factory=list)

    def add(self, observation: Observation) -> None:
        self.observations.append(observation)

    @property
    def last(self) -> Observation:
        return self.observations[-1]

    def episodes(self) -> list[Episode]:
        """Stretches with executors alive, in order; the last one is open when some still are."""
        found: list[Episode] = []
        began: float | None = None
        peak = 0
        for observation in self.observations:
            executors = observation.all_executors
            if executors.alive:
                began = observation.seconds if began is None else began
                peak = max(peak, executors.running)
            elif began is not None:
                found.append(Episode(began, observation.seconds, peak))
                began, peak = None, 0
        if began is not None:
            found.append(Episode(began, None, peak))
        return found

    def profiles(self) -> list[int]:
        """Profiles that had a pod or a target."""
        return sorted(
            {profile for seen in self.observations for profile in (*seen.executors, *seen.targets)}
        )
