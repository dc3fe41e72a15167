"""Carries out what the core decided: drains and deletes, withdraws, creates.

Each order is made so that doing it twice does no harm: ids are reserved by a fenced write before the first of them is
used, names follow from ids, a name that is taken is looked at before it counts as success (`pod_creation`), and a
deletion names the uid, with the resource version where only a pod that has not changed may go.

The core marks a pod as leaving in the moment in which it decides so. Whatever keeps a decision from being carried out
therefore takes the mark back: an executor that nobody was asked to let go would otherwise be left out of every count
for ever. Where it is not known whether the API server was asked, the pod is looked at before anything else is done: an
executor that leaves and counts as one that stays could be the one to which others hand on what they hold.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from spark_allocation.api.conditions import Reason
from spark_allocation.controller.executor_claims import ExecutorClaims
from spark_allocation.controller.pod_creation import (
    Apis,
    BuildPod,
    Identity,
    Obstacle,
    PodCreation,
)
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.lifecycle_manager import DeletionCause, PodDeletion
from spark_allocation.core.pods_plan import ExcessPods, GivenUpPods
from spark_allocation.core.trace.driven_allocation import DrivenAllocation
from spark_allocation.core.trace.inputs import DrainNotBegun, DrainRefused, NotWithdrawn
from spark_allocation.epoch_clock import epoch_ms
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.pods_api import DeleteOutcome, DeleteResult

PAUSE_AFTER_REFUSAL_MS = 10_000
LOST_GRACE_SECONDS = 5
"""Of an executor that the driver has lost: nothing that it still does counts."""

log = structlog.get_logger("plan_execution")

_LEFT = (DeleteResult.ACCEPTED, DeleteResult.GONE)


class PlanExecution:
    """Carries out the steps of one life of a driver."""

    def __init__(
        self,
        allocation: DrivenAllocation,
        apis: Apis,
        identity: Identity,
        *,
        ids: ExecutorIds,
        pod_name: Callable[[ExecutorId], str],
        build_pod: BuildPod,
        claims: ExecutorClaims,
        now_ms: Callable[[], int] = epoch_ms,
    ) -> None:
        self._allocation = allocation
        self._pods = apis.pods
        self._namespace = identity.namespace
        self._creation = PodCreation(
            allocation,
            apis,
            identity,
            ids=ids,
            pod_name=pod_name,
            build_pod=build_pod,
            claims=claims,
            now_ms=now_ms,
        )
        self._claims = claims
        self._drains: list[ExecutorPod] = []
        self._unclear: list[ExecutorPod] = []
        self._while_idle: frozenset[ExecutorId] = frozenset()
        self._between_batches: frozenset[ExecutorId] = frozenset()
        self._withdrawals: list[ExecutorId] = []
        self._now_ms = now_ms
        self._no_withdrawal_before = 0
        self.drain_grace_seconds: int | None = None
        """Grace of a drain; None removes idle executors with the pod's own grace."""
        self.is_needed: Callable[[ExecutorPod], bool] = lambda _: False
        """Whether the driver's newest answer shows work for an executor that was idle."""
        self.look_again: Callable[[], Awaitable[None]] = _as_it_was
        """Has the driver answer anew, unless it has done so a moment ago."""
        self.a_job_runs: Callable[[], bool] = lambda: False
        """Whether the driver's newest answer shows any job."""
        self.drain_obstacle: Obstacle | None = None
        """Why the last executor that was to go was not let go; None when it went."""

    @property
    def obstacle(self) -> Obstacle | None:
        """What the last creation ran into; None when it went through."""
        return self._creation.obstacle

    async def apply(self, step: Step) -> None:
        """Carry out one step.

        Raises:
            ApiUnavailable: part of it may be undone; the next step sees what is there and goes on.
        """
        plan = step.plan
        if plan is not None:
            self._claims.note_use(plan.claims_in_use)
        self._while_idle, self._between_batches = step.while_idle, step.between_batches
        self._drains = [
            *step.drains,
            *step.evacuations,
            *step.surplus,
            *step.above_maximum,
            *step.above_streams,
        ]
        self._withdrawals = [
            executor_id
            for excess in (plan.withdraw if plan is not None else ())
            for executor_id in excess.executor_ids
        ]
        try:
            await self._look_at_unclear()
            await self._creation.settle()
            for deletion in step.delete:
                await self._delete_ended(deletion)
            # what has not begun goes before what runs
            for given_up in plan.given_up if plan is not None else ():
                await self._delete_given_up(given_up)
            for excess in plan.withdraw if plan is not None else ():
                await self._withdraw(excess)
            await self._drain_all()
            requests = [
                request
                for request in (plan.create if plan is not None else ())
                if request.count > 0
            ]
            if requests:
                await self._creation.create(requests)
        finally:
            self._take_marks_back()

    def _take_marks_back(self) -> None:
        for pod in self._drains:
            self._allocation.tell(DrainNotBegun(pod.executor_id))
        for executor_id in self._withdrawals:
            self._allocation.tell(NotWithdrawn(executor_id))
        self._drains, self._withdrawals = [], []

    async def _delete_ended(self, deletion: PodDeletion) -> None:
        lost = deletion.cause is DeletionCause.DRIVER_LOST
        grace = LOST_GRACE_SECONDS if lost else None
        outcome = await self._delete(deletion.pod, grace_seconds=grace)
        if outcome.result not in _LEFT:
            self._not_deleted(deletion.pod, outcome)

    async def _look_at_unclear(self) -> None:
        """See whether pods are on their way whose deletion was not answered; the others stay."""
        while self._unclear:
            pod = self._unclear[0]
            found = await self._pods.get(pod.namespace, pod.name)
            self._unclear.pop(0)
            metadata = found["metadata"] if found is not None else {}
            if metadata.get("uid") == pod.uid and not metadata.get("deletionTimestamp"):
                self._allocation.tell(DrainNotBegun(pod.executor_id))

    async def _drain_all(self) -> None:
        while self._drains:
            pod = self._drains[0]
            if pod.executor_id in self._while_idle:
                await self.look_again()
            if self._stays_after_all(pod):
                # the requests before this one took their time, or a job has begun since the answer that was decided on
                self._drains.pop(0)
                self._allocation.tell(DrainNotBegun(pod.executor_id))
                continue
            try:
                outcome = await self._delete(pod, grace_seconds=self.drain_grace_seconds)
            except ApiUnavailable:
                self._unclear.append(self._drains.pop(0))
                raise
            if outcome.result is DeleteResult.NOT_THE_SAME:
                # another pod has the name: this one is gone, and the next picture says so
                self._drains.pop(0)
                self._allocation.tell(DrainNotBegun(pod.executor_id))
            elif outcome.result in _LEFT:
                self._drains.pop(0)
                self.drain_obstacle = None
            else:
                refused, self._drains = self._drains, []
                for kept in refused:
                    self._allocation.tell(DrainRefused(kept.executor_id))
                self._not_deleted(pod, outcome)

    def _stays_after_all(self, pod: ExecutorPod) -> bool:
        executor_id = pod.executor_id
        return (executor_id in self._while_idle and self.is_needed(pod)) or (
            executor_id in self._between_batches and self.a_job_runs()
        )

    def _not_deleted(self, pod: ExecutorPod, outcome: DeleteOutcome) -> None:
        forbidden = outcome.result is DeleteResult.REFUSED
        reason = Reason.DELETE_FORBIDDEN if forbidden else Reason.API_UNAVAILABLE
        self.drain_obstacle = Obstacle(
            reason, f"pod {pod.name} cannot be deleted: {outcome.message}"
        )
        log.warning("pod_not_deleted", pod=pod.name, reason=reason, message=outcome.message)

    async def _withdraw(self, excess: ExcessPods) -> None:
        if self._now_ms() < self._no_withdrawal_before:
            return
        log.info(
            "excess_pods_withdrawn",
            profile=excess.profile_id,
            executors=list(excess.executor_ids),
            message=excess.log_line,
        )
        left = [
            *(
                (pod.executor_id, self._creation.pod_name(pod.executor_id), pod.uid, None)
                for pod in excess.unseen
            ),
            *((pod.executor_id, pod.name, pod.uid, pod.resource_version) for pod in excess.pending),
        ]
        for executor_id, name, uid, version in left:
            if version is None:
                # no snapshot shows it, so it may run by now: it goes only as it is when looked at
                pod = await self._pods.get(self._namespace, name)
                if pod is None:
                    self._withdrawals.remove(executor_id)
                    continue
                version = self._version_if_pending(pod, executor_id)  # noqa: PLW2901
                if version is None:
                    continue
            outcome = await self._pods.delete(self._namespace, name, uid, resource_version=version)
            if outcome.result in _LEFT:
                self._withdrawals.remove(executor_id)
            elif outcome.result is not DeleteResult.NOT_THE_SAME:
                self._no_withdrawal_before = self._now_ms() + PAUSE_AFTER_REFUSAL_MS
                log.warning("pod_not_withdrawn", pod=name, message=outcome.message)
                return

    def _version_if_pending(self, pod: Mapping[str, Any], executor_id: ExecutorId) -> str | None:
        pending = (pod.get("status") or {}).get("phase", "Pending") == "Pending"
        if not pending or not self._creation.is_ours(pod, executor_id):
            return None
        return str(pod["metadata"]["resourceVersion"])

    async def _delete_given_up(self, given_up: GivenUpPods) -> None:
        log.warning("executors_not_detected", message=given_up.log_line)
        if not given_up.delete:
            return
        for pod in given_up.pods:
            name = self._creation.pod_name(pod.executor_id)
            found = await self._pods.get(self._namespace, name)
            version = self._version_if_pending(found, pod.executor_id) if found else None
            if found is not None and version is not None:
                uid = found["metadata"]["uid"]
                await self._pods.delete(self._namespace, name, uid, resource_version=version)

    async def _delete(self, pod: ExecutorPod, *, grace_seconds: int | None) -> DeleteOutcome:
        return await self._pods.delete(
            pod.namespace, pod.name, pod.uid, grace_seconds=grace_seconds
        )


async def _as_it_was() -> None:
    """The driver has not said anything new."""
