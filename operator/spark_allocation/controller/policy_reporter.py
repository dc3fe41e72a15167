"""What policies say of themselves: whether they could be read, for how many SparkAllocations they are, what contradicts
them, and how far their budgets are used.

Only the leader writes, only where something differs, and no policy more often than every `EVERY_SECONDS`. Nothing reads a
status back but the next start, which keeps transition times. Where the operator may not write it (roles of an older
version), or the kind has no status yet, that is logged once and tried again much later: policies hold all the same.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from spark_allocation.api.conditions import Reason
from spark_allocation.api.group import (
    CLUSTER_POLICY_KIND,
    CLUSTER_POLICY_PLURAL,
    POLICY_PLURAL,
)
from spark_allocation.api.policies import StoredPolicy
from spark_allocation.api.policy_v1alpha1 import (
    BudgetStatus,
    ClusterPolicyStatus,
    PolicyCondition,
    PolicyStatus,
)
from spark_allocation.api.v1alpha1 import Condition
from spark_allocation.controller.policy_directory import PolicyDirectory, PolicyRecord
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.policies_api import PoliciesApi
from spark_allocation.kube.write_outcomes import WriteResult
from spark_allocation.reports.budget_metrics import BudgetFigures
from spark_allocation.reports.status import timestamp

EVERY_SECONDS = 10.0
AFTER_REFUSAL_SECONDS = 300.0
SENTENCES_TOLD = 5
LONGEST_MESSAGE = 1024

log = structlog.get_logger("policy_reporter")


@dataclass(frozen=True, slots=True)
class PolicySubject:
    """One SparkAllocation, as policies select it.

    Attributes:
        labels: of its driver pod; None while that is not known.
        conflicts: sentences about policies that contradict each other for it.
    """

    namespace: str
    name: str
    labels: Mapping[str, str] | None
    conflicts: Sequence[str] = ()


class PolicyReporter:
    """Writes the status of every policy that the API server has."""

    def __init__(
        self,
        directory: PolicyDirectory,
        policies: PoliciesApi,
        *,
        subjects: Callable[[], Iterable[PolicySubject]],
        budgets: Callable[[], Iterable[BudgetFigures]],
    ) -> None:
        """
        Args:
            subjects: all SparkAllocations that are there.
            budgets: each as it was after the last division.
        """
        self._directory = directory
        self._policies = policies
        self._subjects = subjects
        self._budgets = budgets
        self._told_refusal = False
        self._changed = asyncio.Event()
        self._written: dict[str, tuple[dict[str, Any], float]] = {}

    async def run(self) -> None:
        """Write until cancelled."""
        with self._directory.subscription(self._changed.set):
            while True:
                self._changed.clear()
                pause = await self.write_all()
                try:
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                    await asyncio.sleep(
                        1.0
                    )  # several are often applied together, and acted on meanwhile
                except TimeoutError:
                    pass  # counts may have changed

    async def write_all(self) -> float:
        """Write what differs; returns after how many seconds to look again."""
        subjects = list(self._subjects())
        budgets = list(self._budgets())
        records = self._directory.records()
        self._written = {key: written for key, written in self._written.items() if key in records}
        for key, record in records.items():
            status = _status(record, subjects, budgets)
            before, written_at = self._written.get(key, (record.status, -EVERY_SECONDS))
            changes = _difference(before, status)
            now = time.monotonic()
            if not changes or now - written_at < EVERY_SECONDS:
                continue
            try:
                outcome = await self._policies.patch_status(
                    CLUSTER_POLICY_PLURAL if record.kind == CLUSTER_POLICY_KIND else POLICY_PLURAL,
                    record.namespace,
                    record.name,
                    changes,
                )
            except ApiUnavailable as error:
                log.warning("api_unavailable", policy=record.name, error=str(error))
                return EVERY_SECONDS
            if outcome.done:
                self._written[key] = (status, now)
            elif outcome.result is WriteResult.REFUSED:
                if not self._told_refusal:
                    self._told_refusal = True
                    log.warning("policy_status_not_written", message=outcome.message)
                return AFTER_REFUSAL_SECONDS
        return EVERY_SECONDS


def _status(
    record: PolicyRecord, subjects: Sequence[PolicySubject], budgets: Sequence[BudgetFigures]
) -> dict[str, Any]:
    stored = record.stored
    selected = [each for each in subjects if stored is not None and _selects(stored, each)]
    conditions = _conditions(record, selected, budgets)
    about: dict[str, Any] = {
        "observed_generation": record.generation,
        "allocations": len(selected),
        "conditions": conditions,
    }
    if record.kind == CLUSTER_POLICY_KIND:
        own = [_budget_status(each) for each in budgets if each.policy == record.name]
        status: PolicyStatus = ClusterPolicyStatus(**about, budgets=own or None)
    else:
        status = PolicyStatus(**about)
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _selects(stored: StoredPolicy, subject: PolicySubject) -> bool:
    if subject.labels is None and stored.driver_labels:
        return False
    return stored.selects(subject.namespace, subject.labels or {})


def _conditions(
    record: PolicyRecord, selected: Sequence[PolicySubject], budgets: Sequence[BudgetFigures]
) -> list[Condition]:
    found: list[Condition] = []

    def say(kind: PolicyCondition, holds: bool, reason: Reason, message: str) -> None:
        status = "True" if holds else "False"
        before: Mapping[str, Any] = next(
            (each for each in record.status.get("conditions") or () if each.get("type") == kind),
            {},
        )
        since = before.get("lastTransitionTime") if before.get("status") == status else None
        found.append(
            Condition(
                type=kind,
                status=status,
                reason=reason,
                message=message[:LONGEST_MESSAGE],
                last_transition_time=since or timestamp(),
                observed_generation=record.generation,
            )
        )

    if record.problem:
        say(PolicyCondition.READY, False, Reason.POLICY_IGNORED, record.problem)
    else:
        say(PolicyCondition.READY, True, Reason.APPLIED, "it holds for what it selects")
    if record.stored is not None:
        if selected:
            words = f"SparkAllocations that it is for: {len(selected)}"
            say(PolicyCondition.SELECTS_NOTHING, False, Reason.SELECTS, words)
        else:
            words = "it is for no SparkAllocation that there is now: see spec.selector"
            say(PolicyCondition.SELECTS_NOTHING, True, Reason.SELECTS_NOTHING, words)
    conflicts = _conflicts(record, selected)
    if conflicts:
        told = "; ".join(conflicts[:SENTENCES_TOLD])
        if len(conflicts) > SENTENCES_TOLD:
            told += f"; and {len(conflicts) - SENTENCES_TOLD} more"
        say(PolicyCondition.POLICY_CONFLICT, True, Reason.POLICIES_CONTRADICT, told)
    if record.kind == CLUSTER_POLICY_KIND:
        short = [
            each.budget for each in budgets if each.policy == record.name and each.below_minima
        ]
        if short:
            told = f"below the sum of the minExecutors of all that they cover: {', '.join(short)}. Raise them, or lower minExecutors"
            say(PolicyCondition.BUDGET_BELOW_MINIMA, True, Reason.BUDGET_BELOW_MINIMA, told)
    return found


def _conflicts(record: PolicyRecord, selected: Iterable[PolicySubject]) -> list[str]:
    """Sentences that name this policy, each with the first SparkAllocation that it was said of."""
    scope = "cluster" if record.kind == CLUSTER_POLICY_KIND else "namespace"
    named = re.compile(rf"\b{scope} policy {re.escape(record.name)}(?![-.\w])")
    found: dict[str, str] = {}
    for subject in selected:
        for sentence in subject.conflicts:
            if named.search(sentence):
                found.setdefault(sentence, f"{subject.namespace}/{subject.name}: {sentence}")
    return list(found.values())


def _budget_status(figures: BudgetFigures) -> BudgetStatus:
    used = figures.used
    return BudgetStatus(
        name=figures.budget,
        executors=int(used["executors"] or 0),
        cores=f"{used['cores']:g}",
        memory=f"{int(used['memory_bytes'] or 0) >> 20}Mi",
        pending_pods=int(used["pending_pods"] or 0),
        granted=figures.granted,
        applications=figures.applications,
        short=figures.short,
    )


def _difference(before: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    changes = {key: value for key, value in status.items() if before.get(key) != value}
    for key in before.keys() - status.keys():
        changes[key] = None  # in a merge patch: take the field away
    return changes
