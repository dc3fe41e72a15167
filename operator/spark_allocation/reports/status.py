"""The status of a SparkAllocation: conditions with honest transition times, and a writer that does not chatter.

A status says what is; `StatusWriter` decides when to say it: at once when a condition, the state, a target or a
decision changed, at most every ten seconds when only counts did. It sends the difference as a merge patch.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from spark_allocation.api.api_model import lean
from spark_allocation.api.conditions import CONDITION_ORDER, ConditionType, Reason
from spark_allocation.api.v1alpha1 import Condition, ProfileStatus, SparkAllocationStatus
from spark_allocation.kube.allocations_api import AllocationsApi
from spark_allocation.kube.pacing import StatusPacer
from spark_allocation.kube.status_size import within_size
from spark_allocation.kube.write_outcomes import WriteResult

COUNTS_EVERY_SECONDS = 10.0
CHANGES_EVERY_SECONDS = 0.5
AFTER_REFUSAL_SECONDS = 30.0
"""What was refused is refused the next time as well, until somebody mends a role or a CustomResourceDefinition."""
LARGEST_STATUS_PROFILES = 32

log = structlog.get_logger("status")


@dataclass(frozen=True, slots=True)
class Statement:
    """What is to be said of one condition."""

    holds: bool | None
    reason: Reason
    message: str = ""


class Conditions:
    """The conditions of one allocation; a transition time moves only when the status does."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        """
        Args:
            stored: the ``status`` of the object as read, so that a restart keeps transition times.
        """
        self._conditions: dict[ConditionType, Condition] = {}
        for item in stored.get("conditions") or ():
            try:
                condition = lean(Condition.model_validate(item))
                datetime.fromisoformat(condition.last_transition_time)
                self._conditions[ConditionType(condition.type)] = condition
            except ValueError:
                continue  # a condition of another version is written anew when there is something to say

    def say(self, condition_type: ConditionType, statement: Statement, generation: int) -> bool:
        """Set a condition; returns whether its status or reason changed."""
        status = {True: "True", False: "False", None: "Unknown"}[statement.holds]
        before = self._conditions.get(condition_type)
        if before is not None and (
            before.status,
            before.reason,
            before.message,
            before.observed_generation,
        ) == (status, statement.reason.value, statement.message[:1024], generation):
            return False  # as nearly always: a condition is said again after each step
        changed = before is None or (before.status, before.reason) != (
            status,
            statement.reason.value,
        )
        self._conditions[condition_type] = lean(
            Condition(
                type=condition_type.value,
                status=status,
                reason=statement.reason.value,
                message=statement.message[:1024],
                last_transition_time=(
                    before.last_transition_time
                    if before is not None and before.status == status
                    else timestamp()
                ),
                observed_generation=generation,
            )
        )
        return changed

    def drop(self, condition_type: ConditionType) -> None:
        """Say nothing of it any more."""
        self._conditions.pop(condition_type, None)

    def all(self) -> list[Condition]:
        """In the order of the closed list."""
        return [self._conditions[name] for name in CONDITION_ORDER if name in self._conditions]

    def __getitem__(self, condition_type: ConditionType) -> Condition | None:
        return self._conditions.get(condition_type)


def stored_status(document: Any) -> dict[str, Any]:
    """A status as read, without the fields that another version or a stranger has written otherwise than we would."""
    kept: dict[str, Any] = dict(document) if isinstance(document, dict) else {}
    while True:
        try:
            SparkAllocationStatus.model_validate(kept)
        except ValidationError as error:
            wrong = {problem["loc"][0] for problem in error.errors() if problem["loc"]}
            if not wrong & kept.keys():
                return {}
            kept = {key: value for key, value in kept.items() if key not in wrong}
        else:
            return kept


class StatusWriter:
    """Writes one object's status when there is something new to read."""

    def __init__(
        self,
        allocations: AllocationsApi,
        namespace: str,
        name: str,
        uid: str,
        stored: Mapping[str, Any],
        *,
        pacer: StatusPacer,
    ) -> None:
        self._uid = uid
        self._pacer = pacer
        self._allocations = allocations
        self._namespace = namespace
        self._name = name
        self._written: dict[str, Any] = dict(stored)
        self._written_at = -COUNTS_EVERY_SECONDS
        self._refused_until = 0.0
        self._settled: SparkAllocationStatus | None = None
        self.object_gone = False

    async def write(self, status: SparkAllocationStatus, *, now: float | None = None) -> float:
        """Write what differs, unless it was written lately; counts wait longer than news.

        Returns:
            In how many seconds what is left can be written; 0 when nothing is left.

        Raises:
            ApiUnavailable: the next call tries again.
        """
        if self._settled is not None and _say_the_same(self._settled, status):
            # without making a document of it: most steps change nothing
            self._settled = status  # what it is made of is kept for the next one too
            return 0.0
        moment = time.monotonic() if now is None else now
        wanted = within_size(status.model_dump(mode="json", by_alias=True, exclude_none=True))
        changes = {key: value for key, value in wanted.items() if self._written.get(key) != value}
        for name in status.model_fields_set - {"next_executor_id"}:
            key = to_camel(name)
            if getattr(status, name) is None and self._written.get(key) is not None:
                changes[key] = None  # in a merge patch: take the field away
        if not changes:
            self._settled = status
            return 0.0
        self._settled = None
        pause = CHANGES_EVERY_SECONDS if self._is_news(changes) else COUNTS_EVERY_SECONDS
        if moment - self._written_at < pause:
            return self._written_at + pause - moment
        if moment < self._refused_until:
            return self._refused_until - moment
        others_first = self._pacer.seconds_to_turn(self._uid, moment)
        if others_first > 0:
            return others_first
        self._written_at = moment
        outcome = await self._allocations.patch_status(
            self._namespace, self._name, self._uid, changes
        )
        if outcome.done:
            self._written.update(changes)
            self._settled = status
            return 0.0
        current = await self._allocations.get(self._namespace, self._name)
        self.object_gone = current is None or current["metadata"]["uid"] != self._uid
        if not self.object_gone:
            if outcome.result is WriteResult.REFUSED:
                self._refused_until = moment + AFTER_REFUSAL_SECONDS
            log.warning(
                "status_not_written",
                allocation=self._name,
                allocation_namespace=self._namespace,
                message=outcome.message,
            )
        return 0.0

    def _is_news(self, changes: Mapping[str, Any]) -> bool:
        """Whether anything but a count of pods, or a sentence that holds counts, changed."""
        if changes.keys() - {
            "executors",
            "pending",
            "message",
            "profiles",
            "conditions",
            "recommendation",
            "streaming",
        }:
            return True
        if "conditions" in changes and _gist(changes["conditions"]) != _gist(
            self._written.get("conditions") or ()
        ):
            return True
        before = {item["id"]: item for item in self._written.get("profiles") or ()}
        return any(
            item.get(key) != before.get(item["id"], {}).get(key)
            for item in changes.get("profiles") or ()
            for key in ("target", "granted", "reason", "decommissioning")
        )


def _say_the_same(one: SparkAllocationStatus, other: SparkAllocationStatus) -> bool:
    """A field that is None because it was set so is taken away from the status; one that was left out is not."""
    return one.model_fields_set == other.model_fields_set and one == other


def _gist(conditions: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, str, int]]:
    return {
        (item["type"], item["status"], item["reason"], item.get("observedGeneration", 0))
        for item in conditions
    }


def totals(profiles: list[ProfileStatus]) -> dict[str, int]:
    """Sums over profiles for the printer columns."""
    return {
        "executors": sum(profile.running for profile in profiles),
        "target": sum(profile.target for profile in profiles),
        "pending": sum(profile.pending + profile.unacknowledged for profile in profiles),
    }


def timestamp(moment: float | None = None) -> str:
    """RFC 3339 in UTC, whole seconds, as the Kubernetes API writes times."""
    at = datetime.now(UTC) if moment is None else datetime.fromtimestamp(moment, UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
