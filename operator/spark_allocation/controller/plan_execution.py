"""Carries out what the core decided: reserves ids, creates, withdraws, drains and deletes pods.

Each order is made so that doing it twice does no harm: ids are reserved by a fenced write before the first of them is
used, names follow from ids, a name that is taken is looked at before it counts as success, and a deletion names the
uid (and the resource version, when a pending pod is withdrawn). When the API server does not answer, whether it acted
is unknown: such pods are looked up by name before anything else is asked for.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from spark_allocation.api.conditions import Reason
from spark_allocation.api.group import ALLOCATION_UID_LABEL
from spark_allocation.core.allocation import Allocation, Step
from spark_allocation.core.executor_exits import FailureClass
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pod_builder import ExecutorPodManifest
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.pod_refusals import PodRefused
from spark_allocation.core.pods_plan import ExcessPods, GivenUpPods, PodRequests
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.kube.allocations_api import AllocationsApi
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.objects_api import ObjectsApi
from spark_allocation.kube.pacing import CreationPacer
from spark_allocation.kube.pods_api import (
    CreateOutcome,
    CreateResult,
    DeleteOutcome,
    DeleteResult,
    PodsApi,
)

CONCURRENT_CREATES = 16

log = structlog.get_logger("plan_execution")

BuildPod = Callable[[ExecutorId, ProfileId], ExecutorPodManifest | PodRefused]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose pods: the SparkAllocation and the driver."""

    namespace: str
    allocation_name: str
    allocation_uid: str
    driver_uid: str


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why executors that are wanted cannot be had; the API server's or the builder's words."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Apis:
    """The ports that plans are carried out through."""

    pods: PodsApi
    allocations: AllocationsApi
    objects: ObjectsApi
    pacer: CreationPacer


_FAILURES: Mapping[CreateResult, tuple[Reason, FailureClass]] = {
    CreateResult.QUOTA_EXCEEDED: (Reason.QUOTA_EXCEEDED, FailureClass.CAPACITY),
    CreateResult.FORBIDDEN: (Reason.CREATE_FORBIDDEN, FailureClass.CONFIGURATION),
    CreateResult.INVALID: (Reason.POD_INVALID, FailureClass.CONFIGURATION),
    CreateResult.NAMESPACE_TERMINATING: (Reason.NAMESPACE_TERMINATING, FailureClass.CONFIGURATION),
    CreateResult.THROTTLED: (Reason.API_UNAVAILABLE, FailureClass.INFRASTRUCTURE),
    CreateResult.SERVER_ERROR: (Reason.API_UNAVAILABLE, FailureClass.INFRASTRUCTURE),
    CreateResult.EXISTS: (Reason.POD_NAME_TAKEN, FailureClass.CONFIGURATION),
}


class PlanExecution:
    """Carries out the steps of one life of a driver."""

    def __init__(
        self,
        allocation: Allocation,
        apis: Apis,
        identity: Identity,
        *,
        ids: ExecutorIds,
        pod_name: Callable[[ExecutorId], str],
        build_pod: BuildPod,
    ) -> None:
        self._allocation = allocation
        self._apis = apis
        self._identity = identity
        self._ids = ids
        self._pod_name = pod_name
        self._build_pod = build_pod
        self._unclear: dict[ExecutorId, str] = {}
        self._broken_off = False
        self.drain_grace_seconds: int | None = None
        """Grace of a drain; None removes idle executors with the pod's own grace."""
        self.obstacle: Obstacle | None = None
        """What the last creation ran into; None when it went through."""

    async def apply(self, step: Step) -> None:
        """Carry out one step.

        Raises:
            ApiUnavailable: part of it may be undone; the next step sees what is there and goes on.
        """
        await self._look_up_unclear()
        for deletion in step.delete:
            await self._delete(deletion.pod, grace_seconds=0 if deletion.force else None)
        await self._drain_all(step.drains)
        plan = step.plan
        if plan is None:
            return
        for given_up in plan.given_up:
            await self._delete_given_up(given_up)
        for excess in plan.withdraw:
            await self._withdraw(excess)
        requests = [request for request in plan.create if request.count > 0]
        if requests:
            await self._create(requests)

    # -- creating ----------------------------------------------------------------------------------------------------

    async def _create(self, requests: list[PodRequests]) -> None:
        wanted = sum(request.count for request in requests)
        if self._ids.at_maximum:
            self.obstacle = Obstacle(
                Reason.EXECUTORS_FAIL,
                "spark.kubernetes.allocation.maximum executors were created; no more will be",
            )
            return
        if self._ids.needs_reservation(wanted) and not await self._reserve(wanted):
            return
        for request in requests:
            log.info(
                "executors_requested",
                profile=request.profile_id,
                count=request.count,
                target=request.target,
                known=request.known,
                message=request.log_line,
            )
        self._broken_off = False
        self.obstacle = None
        slots = asyncio.Semaphore(CONCURRENT_CREATES)

        async def one(profile_id: ProfileId) -> None:
            async with slots:
                if not self._broken_off:
                    await self._apis.pacer.wait_for_turn()
                    await self._create_one(profile_id)

        async with asyncio.TaskGroup() as group:
            for request in requests:
                for _ in range(request.count):
                    group.create_task(one(request.profile_id))

    async def _create_one(self, profile_id: ProfileId) -> None:
        executor_id = self._ids.take()
        if executor_id is None or self._broken_off:
            return
        manifest = self._build_pod(executor_id, profile_id)
        if isinstance(manifest, PodRefused):
            self._refused(
                executor_id,
                Obstacle(
                    Reason.POD_NOT_BUILT,
                    f"{manifest.reason}: {manifest.key}={manifest.value!r}: {manifest.rule}",
                ),
                FailureClass.CONFIGURATION,
            )
            return
        self._allocation.creation_started(executor_id, profile_id, _now_ms())
        try:
            outcome = await self._apis.pods.create(self._identity.namespace, dict(manifest.pod))
        except ApiUnavailable as error:
            self._unclear[executor_id] = self._pod_name(executor_id)
            self._break_off(Obstacle(Reason.API_UNAVAILABLE, str(error)))
            return
        await self._created(executor_id, manifest, outcome)

    async def _created(
        self, executor_id: ExecutorId, manifest: ExecutorPodManifest, outcome: CreateOutcome
    ) -> None:
        uid = outcome.uid
        if outcome.result is CreateResult.EXISTS:
            uid = await self._uid_if_ours(executor_id)
        if uid:
            self._apis.pacer.accepted()
            self._allocation.pods.pod_created(executor_id, _now_ms(), uid=uid)
            await self._create_claims(executor_id, manifest, uid)
            return
        reason, failure = _FAILURES[outcome.result]
        if outcome.result is CreateResult.THROTTLED:
            self._apis.pacer.throttled(outcome.retry_after_seconds)
            self._allocation.pods.pod_creation_failed(executor_id)
            self._break_off(Obstacle(reason, outcome.message))
            return
        message = outcome.message
        if outcome.result is CreateResult.EXISTS:
            message = f"a pod named {self._pod_name(executor_id)} exists and is not ours; the next id is taken instead"
        self._refused(executor_id, Obstacle(reason, message), failure)

    def _refused(self, executor_id: ExecutorId, obstacle: Obstacle, failure: FailureClass) -> None:
        self._allocation.creation_refused(executor_id, failure, _now_ms())
        self._break_off(obstacle)
        log.warning(
            "executor_not_created",
            executor=executor_id,
            reason=obstacle.reason,
            message=obstacle.message,
        )

    def _break_off(self, obstacle: Obstacle) -> None:
        """What is not begun of this round is not begun: the next plan asks again."""
        self._broken_off = True
        self.obstacle = obstacle

    async def _create_claims(
        self, executor_id: ExecutorId, manifest: ExecutorPodManifest, uid: str
    ) -> None:
        for resource in manifest.resources:
            body = dict(resource)
            if manifest.resources_follow_pod:
                owner = {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": self._pod_name(executor_id),
                    "uid": uid,
                    "controller": True,
                }
                body = {**body, "metadata": {**body["metadata"], "ownerReferences": [owner]}}
            created, message = await self._apis.objects.create(
                self._identity.namespace, "persistentvolumeclaims", body
            )
            if created:
                self._allocation.pods.claim_made()
            elif "already exists" not in message:
                await self._apis.pods.delete(
                    self._identity.namespace, self._pod_name(executor_id), uid
                )
                self._refused(
                    executor_id,
                    Obstacle(Reason.CREATE_FORBIDDEN, f"persistent volume claim: {message}"),
                    FailureClass.CONFIGURATION,
                )
                return

    async def _reserve(self, wanted: int) -> bool:
        """Write the reservation; False when somebody else changed the object: the next step tries anew."""
        identity = self._identity
        current = await self._apis.allocations.get(identity.namespace, identity.allocation_name)
        if current is None or current["metadata"]["uid"] != identity.allocation_uid:
            return False
        stored = (current.get("status") or {}).get("nextExecutorId") or 1
        if stored > self._ids.reserved_until:
            # another process has reserved ids for this driver: stay clear of them
            self._ids.seen(ExecutorId(stored - 1))
        until = self._ids.proposal(wanted)
        written = await self._apis.allocations.reserve_executor_ids(
            identity.namespace,
            identity.allocation_name,
            next_executor_id=until,
            resource_version=current["metadata"]["resourceVersion"],
        )
        if written:
            self._ids.reserved(until)
        return written

    async def _look_up_unclear(self) -> None:
        """Creations that were not answered: by their name, is there a pod?"""
        for executor_id in list(self._unclear):
            uid = await self._uid_if_ours(executor_id)
            del self._unclear[executor_id]
            if uid:
                self._allocation.pods.pod_created(executor_id, _now_ms(), uid=uid)
            else:
                self._allocation.pods.pod_creation_failed(executor_id)

    async def _uid_if_ours(self, executor_id: ExecutorId) -> str:
        pod = await self._apis.pods.get(self._identity.namespace, self._pod_name(executor_id))
        return pod["metadata"]["uid"] if pod is not None and self._is_ours(pod, executor_id) else ""

    def _is_ours(self, pod: Mapping[str, Any], executor_id: ExecutorId) -> bool:
        metadata = pod["metadata"]
        labels = metadata.get("labels") or {}
        return (
            labels.get(ALLOCATION_UID_LABEL) == self._identity.allocation_uid
            and labels.get("spark-exec-id") == str(executor_id)
            and any(
                owner.get("uid") == self._identity.driver_uid
                for owner in metadata.get("ownerReferences") or ()
            )
            and "deletionTimestamp" not in metadata
        )

    # -- deleting ----------------------------------------------------------------------------------------------------

    async def _drain_all(self, pods: Sequence[ExecutorPod]) -> None:
        for position, pod in enumerate(pods):
            try:
                outcome = await self._delete(pod, grace_seconds=self.drain_grace_seconds)
            except ApiUnavailable:
                for kept in pods[position:]:
                    self._allocation.drain_refused(kept.executor_id)
                raise
            if outcome.result not in (DeleteResult.ACCEPTED, DeleteResult.GONE):
                self._allocation.drain_refused(pod.executor_id)
                log.warning(
                    "drain_refused",
                    pod=pod.name,
                    message=outcome.message,
                )

    async def _withdraw(self, excess: ExcessPods) -> None:
        log.info(
            "excess_pods_withdrawn",
            profile=excess.profile_id,
            executors=list(excess.executor_ids),
            message=excess.log_line,
        )
        left = [
            *(
                (pod.executor_id, self._pod_name(pod.executor_id), pod.uid, None)
                for pod in excess.unseen
            ),
            *((pod.executor_id, pod.name, pod.uid, pod.resource_version) for pod in excess.pending),
        ]
        try:
            while left:
                executor_id, name, uid, version = left[0]
                outcome = await self._apis.pods.delete(
                    self._identity.namespace, name, uid, resource_version=version
                )
                left.pop(0)
                if outcome.result not in (DeleteResult.ACCEPTED, DeleteResult.GONE):
                    self._allocation.pods.withdrawal_refused(executor_id)
        except ApiUnavailable:
            for executor_id, *_ in left:
                self._allocation.pods.withdrawal_refused(executor_id)
            raise

    async def _delete_given_up(self, given_up: GivenUpPods) -> None:
        log.warning(
            "executors_not_detected",
            message=given_up.log_line,
        )
        if given_up.delete:
            for pod in given_up.pods:
                uid = await self._uid_if_ours(pod.executor_id)
                if uid:
                    name = self._pod_name(pod.executor_id)
                    await self._apis.pods.delete(self._identity.namespace, name, uid)

    async def _delete(self, pod: ExecutorPod, *, grace_seconds: int | None) -> DeleteOutcome:
        return await self._apis.pods.delete(
            pod.namespace, pod.name, pod.uid, grace_seconds=grace_seconds
        )


def _now_ms() -> int:
    return int(time.time() * 1000)
