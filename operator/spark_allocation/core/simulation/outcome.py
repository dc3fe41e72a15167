"""What came of a simulated run, in the numbers by which policies are compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from spark_allocation.core.simulation.timeline import Timeline

_MILLISECONDS_PER_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class ExecutorLane:
    """One executor over time, in milliseconds.

    Attributes:
        busy: stretches in which it ran at least one task.
    """

    executor_id: str
    begin_ms: int
    end_ms: int
    busy: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run, simulated or recorded.

    Attributes:
        finished: the application came to its end; otherwise ``makespan_ms`` is where the simulation gave up.
        makespan_ms: from the application's start to its end.
        executor_ms: executors times their lives, from registration to the end of their pods.
        core_ms: the same times their cores.
        slot_ms: the same times the tasks that fit on each.
        busy_ms: tasks, one after the other.
        backlog_ms: how long tasks waited for a place.
        drains: executors that were asked to leave.
        losses: executors that were lost unasked.
        recomputed_ms: work that had been done before, or that was thrown away: outputs lost with their executors, blocks
            no longer cached, tasks that ran on a lost executor.
        asked: executors that were asked for.
    """

    finished: bool
    makespan_ms: int
    executor_ms: int
    core_ms: int
    slot_ms: int
    busy_ms: int
    backlog_ms: int
    drains: int
    recomputed_ms: int
    losses: int = 0
    asked: int = 0
    timeline: Timeline = field(default_factory=Timeline)
    lanes: tuple[ExecutorLane, ...] = ()
    why_not_finished: str = ""

    def thinned(self, points: int) -> "Outcome":
        """The same without lanes, and with no more points of the curve than this; all its numbers stay as they are."""
        return replace(self, lanes=(), timeline=self.timeline.thinned(points))

    @property
    def peak_executors(self) -> int:
        """Most executors at once."""
        return self.timeline.peak_executors

    @property
    def executor_hours(self) -> float:
        """Executors times hours."""
        return self.executor_ms / _MILLISECONDS_PER_HOUR

    @property
    def core_hours(self) -> float:
        """Cores times hours."""
        return self.core_ms / _MILLISECONDS_PER_HOUR

    @property
    def utilisation(self) -> float:
        """Of all places for tasks, the share in which a task ran; 0 without executors."""
        return self.busy_ms / self.slot_ms if self.slot_ms else 0.0


@dataclass(frozen=True, slots=True)
class NamedOutcome:
    """The outcome under one policy.

    Attributes:
        settings: what the policy comes to, for people.
    """

    policy: str
    outcome: Outcome
    settings: Mapping[str, str] = field(default_factory=dict)
