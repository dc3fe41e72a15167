"""What a tick of the allocation manager decided, and why: values for status, Events, metrics and the log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from spark_allocation.core.resource_profiles import ProfileId


class TargetReason(StrEnum):
    """Why the target of a profile is what it is after a tick."""

    INITIALIZING = "Initializing"
    """The initial executors are kept until a stage is submitted or an executor times out."""
    BACKLOG = "Backlog"
    """Tasks waited long enough: executors were added."""
    CAPPED_BY_MAX = "CappedByMax"
    """More executors are needed than ``maxExecutors`` allows."""
    WAITING_BACKLOG_TIMEOUT = "WaitingBacklogTimeout"
    """More executors are needed; the first backlog timeout has not passed."""
    WAITING_SUSTAINED_BACKLOG_TIMEOUT = "WaitingSustainedBacklogTimeout"
    """More executors are needed; the next round is due when the sustained backlog timeout has passed."""
    NO_BACKLOG = "NoBacklog"
    """More executors could be used, but no task waits for a place."""
    NOT_NEEDED = "NotNeeded"
    """Fewer executors are needed: the target was lowered."""
    FLOOR_MIN = "FloorMin"
    """Fewer executors are needed than ``minExecutors`` keeps."""
    SATISFIED = "Satisfied"
    """The target is the need."""
    BOUNDS_CHANGED = "BoundsChanged"
    """New bounds moved the target."""
    REFUSED = "Refused"
    """The cluster manager did not take the new target; the old one stays."""
    UNKNOWN_PROFILE = "UnknownProfile"
    """The driver has not told what the profile is: its target stays."""
    STREAMING = "Streaming"
    """Its streams ask for so many (`StreamingDecision` says which, and why); tasks that wait do not count."""


class RemovalOutcome(StrEnum):
    """What became of an executor that had timed out."""

    REMOVED = "Removed"
    NOT_GRANTED = "NotGranted"
    """The cluster manager kept it: busy again, or leaving already."""
    KEPT_MIN_EXECUTORS = "KeptMinExecutors"
    KEPT_TARGET = "KeptTarget"
    KEPT_UNKNOWN_PROFILE = "KeptUnknownProfile"


class LogLevel(StrEnum):
    """The level at which Spark writes a sentence."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class SparkLogLine:
    """A sentence in Spark's own words, for the caller to log."""

    level: LogLevel
    message: str


@dataclass(frozen=True, slots=True)
class StreamTarget:
    """What the streams of a profile ask for, in place of what its tasks need.

    Attributes:
        need: executors, before bounds, windows and steps.
        executors: after them: the target.
    """

    need: int
    executors: int


@dataclass(frozen=True, slots=True)
class ProfileDecision:
    """What was decided for one profile.

    Attributes:
        need: executors that all its tasks could use; None when the profile is unknown.
        previous_target: before the tick.
        target: after the tick.
        to_add: how many the next round adds.
    """

    profile_id: ProfileId
    need: int | None
    previous_target: int
    target: int
    to_add: int
    reason: TargetReason

    @property
    def delta(self) -> int:
        """Executors gained or given up by this tick."""
        return self.target - self.previous_target


@dataclass(frozen=True, slots=True)
class TickResult:
    """One tick.

    Attributes:
        decisions: per profile that has a target.
        removals: executors that had timed out, by what became of them.
        log: sentences that Spark would have logged.
    """

    decisions: Mapping[ProfileId, ProfileDecision]
    removals: Mapping[RemovalOutcome, tuple[str, ...]] = field(default_factory=dict)
    log: tuple[SparkLogLine, ...] = ()

    @property
    def targets(self) -> dict[ProfileId, int]:
        """The wanted totals after the tick."""
        return {profile_id: decision.target for profile_id, decision in self.decisions.items()}

    @property
    def delta(self) -> int:
        """The change summed over all profiles (what ``updateAndSyncNumExecutorsTarget`` returns)."""
        return sum(decision.delta for decision in self.decisions.values())
