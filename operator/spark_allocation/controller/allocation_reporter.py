"""The way out of what is said of one SparkAllocation: its status, Events and log lines."""

from collections.abc import Mapping
from typing import Any

import structlog

from spark_allocation.api.conditions import ConditionType, Reason
from spark_allocation.api.v1alpha1 import ProfileStatus, SparkAllocationStatus
from spark_allocation.controller.hidden_values import without_hidden
from spark_allocation.reports.decisions import Decisions
from spark_allocation.reports.events import EventWriter
from spark_allocation.reports.metrics import EXECUTOR_COUNTS
from spark_allocation.reports.status import Conditions, Statement, StatusWriter

STREAMING_CONDITIONS = (
    ConditionType.SCALING_INEFFECTIVE,
    ConditionType.STREAMING_REFUSED,
    ConditionType.STREAMING_METRICS_MISSING,
)

log = structlog.get_logger("allocation")

_WARNINGS = frozenset(
    {
        (ConditionType.DRIVER_REACHABLE, False),
        (ConditionType.DRIVER_PASSIVE, False),
        (ConditionType.STALLED, True),
        (ConditionType.CONFLICTED, True),
        (ConditionType.AMBIGUOUS_DRIVER, True),
        (ConditionType.DECOMMISSIONING, False),
        (ConditionType.POLICY_CONFLICT, True),
        *((condition, True) for condition in STREAMING_CONDITIONS),
    }
)

_URGENT = frozenset({Reason.BUDGET_BELOW_MINIMA})
"""Reasons that want somebody's attention whatever the condition."""

_MEANT_SO = frozenset({Reason.RECOMMENDING})
"""Reasons that want nobody's attention: a driver that allocates for itself is what Recommend is for."""


def _wants_attention(condition: str, holds: bool | None, reason: str) -> bool:
    return reason not in _MEANT_SO and ((condition, holds) in _WARNINGS or reason in _URGENT)


class AllocationReporter:
    """Collects statements and writes them; nothing reads them back but a restart of the operator."""

    def __init__(
        self,
        writer: StatusWriter,
        events: EventWriter,
        stored: Mapping[str, Any],
    ) -> None:
        """
        Args:
            stored: the ``status`` of the object as read.
        """
        self._writer = writer
        self._events = events
        self.conditions = Conditions(stored)
        self.decisions = Decisions(stored.get("decisions") or ())
        self.generation = 0
        self._fields: dict[str, Any] = {}
        self._pending_events: list[tuple[str, str, str, bool]] = []

    @property
    def object_gone(self) -> bool:
        """The SparkAllocation itself is no more."""
        return self._writer.object_gone

    @property
    def executors(self) -> dict[str, int]:
        """Sums over the profiles that were reported last, by the keys of `EXECUTOR_COUNTS`."""
        profiles: list[ProfileStatus] = self._fields.get("profiles") or []
        sums = {name: sum(getattr(each, name) for each in profiles) for name in EXECUTOR_COUNTS}
        sums["pending"] += sum(each.unacknowledged for each in profiles)
        return sums

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Condition and reason of what wants somebody's attention."""
        finished = self.conditions[ConditionType.FINISHED]
        if finished is not None and finished.status == "True":
            return []
        return [
            (each.type, each.reason)
            for each in self.conditions.all()
            if each.status != "Unknown"
            and _wants_attention(each.type, each.status == "True", each.reason)
        ]

    def say(
        self, condition: ConditionType, holds: bool | None, reason: Reason, message: str = ""
    ) -> None:
        """Set a condition; a change of status or reason becomes an Event."""
        message = without_hidden(message)
        if self.conditions.say(condition, Statement(holds, reason, message), self.generation):
            log.info("condition", condition=condition, holds=holds, reason=reason, message=message)
            warning = _wants_attention(condition, holds, reason)
            worth_an_event = holds is not None and (
                warning or condition in (ConditionType.READY, ConditionType.FINISHED)
            )
            if worth_an_event:
                self.event(condition, reason, message or condition, warning=warning)

    def event(self, about: str, reason: str, message: str, *, warning: bool) -> None:
        """Something happened that is worth an Event; it is posted with the next `write`.

        Args:
            about: see `EventWriter.post`.
        """
        self._pending_events.append((about, reason, message, warning))

    def set(self, **fields: Any) -> None:
        """Set plain fields of the status."""
        self._fields.update(fields)

    def state(self, word: str, message: str) -> None:
        """The STATE column and its sentence."""
        self.set(state=word, message=without_hidden(message)[:1024])

    async def write(self) -> float:
        """Write what is new, and return in how many seconds more can be written; 0 when nothing is left.

        Raises:
            ApiUnavailable: nothing is lost; the next call tries again.
        """
        events, self._pending_events = self._pending_events, []
        for about, reason, message, warning in events:
            await self._events.post(about, reason, message, warning=warning)
        return await self._writer.write(
            SparkAllocationStatus(
                observed_generation=self.generation,
                conditions=self.conditions.all(),
                decisions=self.decisions.newest_first or None,
                **self._fields,
            )
        )
