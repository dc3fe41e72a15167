"""Why executors ended, counted by reason: for the status, for Events and for the metrics.

A crash loop ends thousands of executors for one reason, so nothing here grows with their number. The status holds one
entry for each reason, the `REASONS_KEPT` that came last. An Event is posted when a reason comes up, and again for the
same reason at the earliest `EVENT_PAUSE_SECONDS` later, then with how many there were since. That is at most six Events
an hour for a reason.

Counts begin when the operator takes the driver up: after a restart of the operator they begin anew, as counters do.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spark_allocation.api.v1alpha1 import ExecutorEndStatus
from spark_allocation.core.exit_reasons import ExecutorExitReason, failure_class
from spark_allocation.core.lifecycle_manager import ExecutorRemoval
from spark_allocation.reports.status import timestamp

REASONS_KEPT = 8
EVENT_PAUSE_SECONDS = 600.0
LONGEST_MESSAGE = 256

_NO_EVENT = frozenset({ExecutorExitReason.DRAINED, ExecutorExitReason.SUCCEEDED})
"""What is no news: executors that were asked to go, which the decisions tell of, and those that end with their driver."""


@dataclass(frozen=True, slots=True)
class EndsEvent:
    """An Event about ends for one reason."""

    reason: str
    message: str
    warning: bool


@dataclass(slots=True)
class _Ends:
    """All ends for one reason."""

    reason: ExecutorExitReason
    first_at: float
    last_at: float
    count: int = 0
    message: str = ""
    event_at: float | None = None
    since_event: int = 0


class ExecutorEnds:
    """The ends of one life of a driver. Times are epoch seconds.

    Args:
        count: told the reason of each end, for the counters of the process.
    """

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count
        self._by_reason: dict[ExecutorExitReason, _Ends] = {}

    def begin_anew(self) -> None:
        """Another life of the driver."""
        self._by_reason.clear()

    def take(self, removals: Iterable[ExecutorRemoval], now: float) -> list[EndsEvent]:
        """Count them; returns what is worth an Event."""
        changed: dict[ExecutorExitReason, _Ends] = {}
        for removal in removals:
            reason = removal.exit.reason
            self._count(reason)
            ends = self._by_reason.setdefault(reason, _Ends(reason, now, now))
            ends.count += 1
            ends.since_event += 1
            ends.last_at = now
            ends.message = removal.exit.message
            changed[reason] = ends
        return [
            _event(ends, now)
            for reason, ends in changed.items()
            if reason not in _NO_EVENT
            and (ends.event_at is None or not 0 <= now - ends.event_at < EVENT_PAUSE_SECONDS)
        ]

    def status(self, reaction: Callable[[ExecutorExitReason], str]) -> list[ExecutorEndStatus]:
        """The reasons that came last, latest first.

        Args:
            reaction: what the operator does about a reason, now.
        """
        latest = sorted(self._by_reason.values(), key=lambda ends: (-ends.last_at, ends.reason))
        return [
            ExecutorEndStatus(
                reason=ends.reason,
                count=ends.count,
                first_time=timestamp(ends.first_at),
                last_time=timestamp(ends.last_at),
                last_message=ends.message[:LONGEST_MESSAGE],
                reaction=reaction(ends.reason),
            )
            for ends in latest[:REASONS_KEPT]
        ]


def _event(ends: _Ends, now: float) -> EndsEvent:
    message = ends.message
    if ends.event_at is not None:
        message = (
            f"{ends.since_event} more since {timestamp(ends.event_at)}, the last one: {message}"
        )
    elif ends.since_event > 1:
        message = f"{ends.since_event} at once, the last one: {message}"
    ends.event_at = now
    ends.since_event = 0
    return EndsEvent(
        f"Executor{ends.reason}", message, warning=failure_class(ends.reason) is not None
    )
