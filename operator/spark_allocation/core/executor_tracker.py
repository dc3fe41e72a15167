"""One executor as the monitor tracks it: what it runs, what it holds, and its deadline.

Source: ``ExecutorMonitor.Tracker``.
"""

from dataclasses import dataclass
from enum import StrEnum

from spark_allocation.core.dynamic_allocation_conf import IdleTimeouts
from spark_allocation.core.jvm_numbers import LONG_MAX, wrap_long
from spark_allocation.core.resource_profiles import ProfileId

BUSY = -1
"""The idle start of an executor that runs a task."""


class HeldBy(StrEnum):
    """What keeps an idle executor longer than the plain idle timeout."""

    NONE = "none"
    CACHE = "cache"
    SHUFFLE = "shuffle"


@dataclass(frozen=True, slots=True)
class ExecutorView:
    """One executor as the monitor sees it.

    Attributes:
        profile_id: `UNKNOWN_PROFILE_ID` until its registration was seen.
        idle: runs no task and holds no shuffle data of a running job.
        idle_since_ns: since when no task runs; None while one does.
        timeout_at_ns: when it may be removed; None means never.
        held_by: what keeps it beyond the idle timeout; ``NONE`` while it is busy.
        pending_removal: the manager has had it killed.
        decommissioning: the manager has had it decommissioned.
    """

    id: str
    profile_id: ProfileId
    idle: bool
    idle_since_ns: int | None
    timeout_at_ns: int | None
    held_by: HeldBy
    running_tasks: int
    has_active_shuffle: bool
    pending_removal: bool
    decommissioning: bool


class ExecutorTracker:
    """The state of one executor (``ExecutorMonitor.Tracker``)."""

    __slots__ = (
        "believed_at",
        "cached_blocks",
        "decommissioning",
        "has_active_shuffle",
        "idle_start",
        "pending_removal",
        "profile_id",
        "running_tasks",
        "shuffle_ids",
        "timed_out",
        "timeout_at",
        "timeouts",
    )

    def __init__(self, profile_id: ProfileId, timeouts: IdleTimeouts) -> None:
        self.profile_id = profile_id
        self.timeouts = timeouts
        self.timeout_at = LONG_MAX
        self.timed_out = False
        self.pending_removal = False
        self.decommissioning = False
        self.has_active_shuffle = False
        self.idle_start = BUSY
        self.believed_at = 0
        self.running_tasks = 0
        self.cached_blocks: dict[int, set[int]] = {}
        self.shuffle_ids: set[int] = set()

    @property
    def is_idle(self) -> bool:
        """Runs no task and holds no shuffle data of a running job."""
        return self.idle_start >= 0 and not self.has_active_shuffle

    def deadline(self) -> int:
        """When it may be removed, by what it holds now; ``LONG_MAX`` means never."""
        if self.idle_start < 0:
            return LONG_MAX
        timeout = self.timeouts.idle_ns
        if self.cached_blocks:
            timeout = max(timeout, self.timeouts.cached_ns)
        if self.shuffle_ids:
            timeout = max(timeout, self.timeouts.shuffle_ns)
        deadline = wrap_long(self.idle_start + timeout)
        return max(deadline, self.believed_at) if deadline >= 0 else LONG_MAX

    def held_by(self) -> HeldBy:
        """What keeps it longer than the plain idle timeout."""
        if self.has_active_shuffle and self.idle_start >= 0:
            return HeldBy.SHUFFLE
        if self.idle_start < 0:
            return HeldBy.NONE
        cached = self.timeouts.cached_ns if self.cached_blocks else 0
        shuffle = self.timeouts.shuffle_ns if self.shuffle_ids else 0
        if max(cached, shuffle) <= self.timeouts.idle_ns:
            return HeldBy.NONE
        return HeldBy.SHUFFLE if shuffle >= cached else HeldBy.CACHE

    def add_shuffle(self, shuffle_id: int) -> None:
        """Shuffle data arrived; it belongs to a running job when it was not there before."""
        if shuffle_id not in self.shuffle_ids:
            self.shuffle_ids.add(shuffle_id)
            self.has_active_shuffle = True

    def view(self, executor_id: str) -> ExecutorView:
        """What others may see of it."""
        never = self.timeout_at == LONG_MAX or self.has_active_shuffle
        return ExecutorView(
            id=executor_id,
            profile_id=self.profile_id,
            idle=self.is_idle,
            idle_since_ns=self.idle_start if self.idle_start >= 0 else None,
            timeout_at_ns=None if never else self.timeout_at,
            held_by=self.held_by(),
            running_tasks=self.running_tasks,
            has_active_shuffle=self.has_active_shuffle,
            pending_removal=self.pending_removal,
            decommissioning=self.decommissioning,
        )
