"""Creates executor pods: ids reserved before they are used, names that follow from ids, and no answer taken for granted.

What can be in doubt after a request is what this module is about. A name that is taken is looked at before it counts
as success. A request without a usable answer leaves its pod *unclear*: it counts as asked for, and is looked up by its
name before anything else is asked for. Where it is not there another one takes its place; its request may still be carried
out for a while, so that a claim that it was given is given to nobody else meanwhile. A pod whose claims could not be made yet waits for them, and they are asked for
again until they are there or refused (`executor_claims`).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from spark_allocation.api.conditions import Reason
from spark_allocation.api.group import ALLOCATION_UID_LABEL
from spark_allocation.controller.executor_claims import ExecutorClaims
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pod_builder import ExecutorPodManifest
from spark_allocation.core.executor_pods import ExecutorId, PodState
from spark_allocation.core.exit_reasons import FailureClass
from spark_allocation.core.node_avoidance import avoiding
from spark_allocation.core.pods_plan import PodRequests
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.trace.driven_allocation import DrivenAllocation
from spark_allocation.core.trace.inputs import (
    CreationRefused,
    CreationStarted,
    CreationUnclear,
    PodCreated,
    PodNotCreated,
)
from spark_allocation.epoch_clock import epoch_ms
from spark_allocation.kube.allocations_api import AllocationsApi
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.objects_api import ObjectsApi
from spark_allocation.kube.pacing import STATUS_WRITES_PER_SECOND, CreationPacer, StatusPacer
from spark_allocation.kube.pods_api import CreateOutcome, CreateResult, DeleteResult, PodsApi
from spark_allocation.kube.write_outcomes import WriteResult
from spark_allocation.snapshots_store import LANDED_AFTER_NS

CONCURRENT_CREATES = 16
LANDED_AFTER_MS = LANDED_AFTER_NS // 1_000_000

log = structlog.get_logger("pod_creation")


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


BuildPod = Callable[[ExecutorId, ProfileId], ExecutorPodManifest | Obstacle]


@dataclass(frozen=True, slots=True)
class Apis:
    """The ports that plans are carried out through."""

    pods: PodsApi
    allocations: AllocationsApi
    objects: ObjectsApi
    pacer: CreationPacer
    status_pacer: StatusPacer = field(default_factory=lambda: StatusPacer(STATUS_WRITES_PER_SECOND))
    count_creation: Callable[[str], None] = lambda _: None


_REFUSALS: Mapping[CreateResult, tuple[Reason, FailureClass]] = {
    CreateResult.QUOTA_EXCEEDED: (Reason.QUOTA_EXCEEDED, FailureClass.CAPACITY),
    CreateResult.FORBIDDEN: (Reason.CREATE_FORBIDDEN, FailureClass.CONFIGURATION),
    CreateResult.INVALID: (Reason.POD_INVALID, FailureClass.CONFIGURATION),
    CreateResult.NAMESPACE_TERMINATING: (Reason.NAMESPACE_TERMINATING, FailureClass.CONFIGURATION),
    CreateResult.EXISTS: (Reason.POD_NAME_TAKEN, FailureClass.CONFIGURATION),
}


@dataclass(frozen=True, slots=True)
class _Unclear:
    """A pod that was asked for and of which nobody knows whether it is there."""

    executor_id: ExecutorId
    manifest: ExecutorPodManifest


class PodCreation:
    """Creates the pods of one life of a driver."""

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
        self._now_ms = now_ms
        self._claims = claims
        self._allocation = allocation
        self._apis = apis
        self._identity = identity
        self._ids = ids
        self._build_pod = build_pod
        self.pod_name = pod_name
        self._unclear: list[_Unclear] = []
        self._without_claims: list[tuple[_Unclear, str]] = []
        self._may_come: dict[ExecutorId, tuple[_Unclear, int]] = {}
        """Pods that were looked up and are not there, and until when they may still be made."""
        self._broken_off = False
        self._former_runs_mended = False
        self.obstacle: Obstacle | None = None
        """What the last creation ran into; None when it went through."""

    async def settle(self) -> None:
        """Look up what is unclear, and make claims that are still missing.

        Raises:
            ApiUnavailable: some is left; the next call goes on.
        """
        await self._find_pods_without_claims()
        while self._unclear:
            unclear = self._unclear[0]
            uid = await self.uid_if_ours(unclear.executor_id)
            self._unclear.pop(0)
            if uid:
                self._allocation.tell(PodCreated(unclear.executor_id, self._now_ms(), uid))
                self._without_claims.append((unclear, uid))
            else:
                self._may_come[unclear.executor_id] = (unclear, self._now_ms() + LANDED_AFTER_MS)
                self._claims.pod_may_come(unclear.executor_id)
                self._allocation.tell(PodNotCreated(unclear.executor_id))
        self._look_for_late_pods()
        while self._without_claims:
            unclear, uid = self._without_claims[0]
            await self._make_claims(unclear, uid)
            self._without_claims.pop(0)

    async def create(self, requests: list[PodRequests]) -> None:
        """Create these pods, as many as the API server takes before it refuses one.

        Raises:
            ApiUnavailable: nothing was asked for, because no ids could be reserved, or claims not looked up.
        """
        wanted = sum(request.count for request in requests)
        if self._ids.at_maximum:
            self.obstacle = Obstacle(
                Reason.ALLOCATION_MAXIMUM,
                "spark.kubernetes.allocation.maximum executors were created; no more will be",
            )
            return
        await self._claims.look()
        if self._claims.must_wait:
            self._wait_for_claims()
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
                held_back=request.held_back,
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

    async def uid_if_ours(self, executor_id: ExecutorId) -> str:
        """The uid of the pod with this executor's name, when it is ours and stays; else "".

        Raises:
            ApiUnavailable: nobody knows.
        """
        pod = await self._apis.pods.get(self._identity.namespace, self.pod_name(executor_id))
        return pod["metadata"]["uid"] if pod is not None and self.is_ours(pod, executor_id) else ""

    def is_ours(self, pod: Mapping[str, Any], executor_id: ExecutorId) -> bool:
        """Whether we made this pod for this executor, and nobody is deleting it."""
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

    # -- one pod -----------------------------------------------------------------------------------------------------

    async def _create_one(self, profile_id: ProfileId) -> None:
        if self._broken_off:
            return
        if self._claims.must_wait:
            self._wait_for_claims()
            return
        executor_id = self._ids.take()
        if executor_id is None:
            return
        manifest = self._build_pod(executor_id, profile_id)
        if isinstance(manifest, Obstacle):
            self._refused(executor_id, manifest, FailureClass.CONFIGURATION)
            return
        manifest = self._claims.assign(executor_id, manifest)
        try:
            taken = await self._claims.taken_name(executor_id, manifest)
        except ApiUnavailable as error:
            self._claims.pod_not_created(executor_id)
            self._break_off(Obstacle(Reason.API_UNAVAILABLE, str(error)))
            return
        if taken:
            obstacle = Obstacle(Reason.POD_NOT_BUILT, taken)
            self._refused(executor_id, obstacle, FailureClass.CONFIGURATION)
            return
        self._allocation.tell(CreationStarted(executor_id, profile_id, self._now_ms()))
        unclear = _Unclear(executor_id, manifest)
        # in doubt from the moment of asking, also when this task is cancelled before there is an answer
        self._unclear.append(unclear)
        try:
            pod = avoiding(manifest.pod, self._allocation.core.avoid_nodes)
            outcome = await self._apis.pods.create(self._identity.namespace, pod)
            self._apis.count_creation(outcome.result)
            uid = outcome.uid
            if outcome.result is CreateResult.EXISTS:
                uid = await self.uid_if_ours(executor_id)
        except ApiUnavailable as error:
            self._break_off(Obstacle(Reason.API_UNAVAILABLE, str(error)))
            return
        if outcome.result is CreateResult.SERVER_ERROR:
            self._allocation.tell(
                CreationUnclear(executor_id, FailureClass.INFRASTRUCTURE, self._now_ms())
            )
            self._break_off(Obstacle(Reason.API_UNAVAILABLE, outcome.message))
            return
        self._unclear.remove(unclear)
        if uid:
            await self._created(unclear, uid)
        else:
            self._not_created(executor_id, outcome)

    async def _created(self, made: _Unclear, uid: str) -> None:
        self._apis.pacer.accepted()
        self._allocation.tell(PodCreated(made.executor_id, self._now_ms(), uid))
        try:
            await self._make_claims(made, uid)
        except ApiUnavailable as error:
            self._without_claims.append((made, uid))
            self._break_off(Obstacle(Reason.API_UNAVAILABLE, str(error)))

    def _not_created(self, executor_id: ExecutorId, outcome: CreateOutcome) -> None:
        if outcome.result in (CreateResult.THROTTLED, CreateResult.CONFLICT):
            if outcome.result is CreateResult.THROTTLED:
                self._apis.pacer.throttled(outcome.retry_after_seconds)
            self._claims.pod_not_created(executor_id)
            self._allocation.tell(PodNotCreated(executor_id))
            self._break_off(Obstacle(Reason.API_UNAVAILABLE, outcome.message))
            return
        reason, failure = _REFUSALS[outcome.result]
        message = outcome.message
        if outcome.result is CreateResult.EXISTS:
            message = f"a pod named {self.pod_name(executor_id)} exists and is not ours; the next id is taken instead"
        self._refused(executor_id, Obstacle(reason, message), failure)

    def _refused(self, executor_id: ExecutorId, obstacle: Obstacle, failure: FailureClass) -> None:
        self._claims.pod_not_created(executor_id)
        self._refuse(executor_id, obstacle, failure)

    def _refuse(self, executor_id: ExecutorId, obstacle: Obstacle, failure: FailureClass) -> None:
        self._allocation.tell(CreationRefused(executor_id, failure, self._now_ms()))
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

    # -- claims ------------------------------------------------------------------------------------------------------

    def _look_for_late_pods(self) -> None:
        """What was not there when it was looked up, and is now, wants its claims like any other."""
        if not self._may_come:
            return
        seen = self._allocation.core.pods.last_snapshot.pods
        now = self._now_ms()
        for executor_id, (unclear, until) in list(self._may_come.items()):
            if executor_id in seen:
                log.info("pod_came_late", pod=self.pod_name(executor_id))
                self._without_claims.append((unclear, seen[executor_id].uid))
            elif now >= until:
                self._claims.pod_not_created(executor_id)
            else:
                continue
            del self._may_come[executor_id]

    async def _find_pods_without_claims(self) -> None:
        """Once, from the first picture: a former run may have ended after it made a pod and before it made its claims."""
        pods = self._allocation.core.pods.last_snapshot.pods
        if self._former_runs_mended or not pods:
            return
        for pod in pods.values() if self._claims.are_made else ():
            if pod.state is not PodState.PENDING or pod.deleting or not pod.claims:
                continue
            manifest = self._build_pod(pod.executor_id, pod.profile_id)
            if not isinstance(manifest, Obstacle) and await self._claims.missing(
                manifest, pod.claims
            ):
                log.info("claims_missing", pod=pod.name)
                self._without_claims.append((_Unclear(pod.executor_id, manifest), pod.uid))
        self._former_runs_mended = True

    def _wait_for_claims(self) -> None:
        self._break_off(Obstacle(Reason.WAITING_FOR_CLAIMS, self._claims.waiting))
        log.info("executors_wait_for_claims", message=self._claims.waiting)

    async def _make_claims(self, made: _Unclear, uid: str) -> None:
        refused = await self._claims.make(made.executor_id, made.manifest, uid)
        if refused:
            await self._take_back(made.executor_id, uid, refused)

    async def _take_back(self, executor_id: ExecutorId, uid: str, message: str) -> None:
        """A pod that never gets its claim would wait for ever."""
        gone = await self._apis.pods.delete(
            self._identity.namespace, self.pod_name(executor_id), uid
        )
        obstacle = Obstacle(Reason.CREATE_FORBIDDEN, f"persistent volume claim: {message}")
        if gone.result in (DeleteResult.ACCEPTED, DeleteResult.GONE):
            self._refuse(executor_id, obstacle, FailureClass.CONFIGURATION)
        else:
            self._break_off(obstacle)

    # -- ids ---------------------------------------------------------------------------------------------------------

    async def _reserve(self, wanted: int) -> bool:
        """Write the reservation; False when it was not written: the next step reads again."""
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
            identity.allocation_uid,
            next_executor_id=until,
            resource_version=current["metadata"]["resourceVersion"],
        )
        if written.done:
            self._ids.reserved(until)
        elif written.result is WriteResult.REFUSED:
            self.obstacle = Obstacle(
                Reason.CREATE_FORBIDDEN,
                f"status.nextExecutorId cannot be written, so no id may be used: {written.message}",
            )
        return written.done
