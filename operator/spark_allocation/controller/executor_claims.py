"""The persistent volume claims of one life's executors: free ones are used again, missing ones are made.

Spark creates the pod first and its claims afterwards; until they are there the pod waits. A claim that the driver owns
stays when its executor ends, and the next executor takes it over with the shuffle files on it. Here as there a claim
is free when no pod that was seen lately mounts it and when it is old enough not to belong to a pod that nobody has seen.

What is stricter than in Spark, because several pods are made at once and because labels are written by tenants:

- Only claims that the driver pod owns are used again, not those that it mounts itself, that are being deleted, or
  that lost their volume. Spark takes every claim with the application's label.
- A claim that was given to a new pod counts as used until a snapshot shows it on a pod. Spark would offer it again to
  an executor of another profile.
- Claims that are being made count against the limit on claims.
- A claim that exists under the name of one to be made is somebody else's, unless the driver (or the pod) owns it. A
  name that the user chose could be anybody's: it is looked at *before* the pod is created, which would else mount it.

Source: ``ExecutorPodsAllocator.requestNewExecutors``.
"""

from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from spark_allocation.core.claim_reuse import (
    PersistentVolumeClaim,
    ReusableClaims,
    with_reused_claims,
)
from spark_allocation.core.executor_pod_builder import ExecutorPodManifest
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.trace.driven_allocation import DrivenAllocation
from spark_allocation.core.trace.inputs import ClaimMade, ClaimsFound
from spark_allocation.epoch_clock import epoch_ms
from spark_allocation.kube.objects_api import ObjectsApi
from spark_allocation.kube.write_outcomes import WriteOutcome, WriteResult

CLAIMS = "persistentvolumeclaims"
_LOST = "Lost"

Document = Mapping[str, Any]
log = structlog.get_logger("executor_claims")


@dataclass(frozen=True, slots=True)
class ClaimOwner:
    """Whose claims, and how they are recognised.

    Attributes:
        application_id: the value of the label ``spark-app-selector``.
        driver_uid: of the pod that owns the claims.
        mounted_by_driver: claims of the driver pod itself. spark-submit labels those too.
        makes_claims: the configuration describes claims to make; without, there is nothing to look for.
    """

    namespace: str
    application_id: str
    driver_uid: str
    mounted_by_driver: frozenset[str] = frozenset()
    makes_claims: bool = False


@dataclass(frozen=True, slots=True)
class _Given:
    executor_id: ExecutorId
    at_ms: int


class ExecutorClaims:
    """Claims for the executors of one life of a driver."""

    def __init__(
        self,
        objects: ObjectsApi,
        allocation: DrivenAllocation,
        owner: ClaimOwner,
        *,
        now_ms: Callable[[], int] = epoch_ms,
    ) -> None:
        self._objects = objects
        self._allocation = allocation
        self._allocator = allocation.core.pods
        self._owner = owner
        self._now_ms = now_ms
        self._free = ReusableClaims(())
        self._in_use: AbstractSet[str] = frozenset()
        self._given: dict[str, _Given] = {}
        self._under_way: dict[ExecutorId, set[str]] = {}

    def note_use(self, in_use: AbstractSet[str]) -> None:
        """The claims that pods mount which were seen lately; of those that were given away, snapshots tell from now on."""
        longest = self._allocator.conf.claims.minimum_age_ms
        now = self._now_ms()
        self._in_use = in_use
        self._given = {
            name: given
            for name, given in self._given.items()
            if name not in in_use and now - given.at_ms <= longest
        }

    async def look(self) -> None:
        """Begin a round: find the claims that are free.

        Raises:
            ApiUnavailable: nobody knows.
        """
        self._free = ReusableClaims(())
        conf = self._allocator.conf.claims
        if not (self._owner.makes_claims and conf.own and conf.reuse):
            return
        found = [
            item
            for item in await self._of_the_application()
            if self._is_the_driver_s(item) and _name(item) not in self._owner.mounted_by_driver
        ]
        self._allocation.tell(ClaimsFound(len(found)))
        self._free = ReusableClaims.among(
            (_claim(item) for item in found if _can_be_mounted(item)),
            in_use=self._in_use | self._given.keys(),
            minimum_age_ms=conf.minimum_age_ms,
            now=self._now_ms(),
        )
        if found:
            message = f"Found {len(self._free)} reusable PVCs from {len(found)} PVCs"
            log.info("claims_found", message=message, reusable=len(self._free), claims=len(found))

    @property
    def are_made(self) -> bool:
        """The configuration describes claims to make."""
        return self._owner.makes_claims

    @property
    def must_wait(self) -> bool:
        """No executor may be created before a claim is free."""
        under_way = sum(map(len, self._under_way.values()))
        return self._allocator.must_wait_for_claims(len(self._free), under_way=under_way)

    @property
    def waiting(self) -> str:
        """What executors wait for, in Spark's words."""
        return f"Wait to reuse one of the existing {self._allocator.claims_made} PVCs."

    def assign(self, executor_id: ExecutorId, manifest: ExecutorPodManifest) -> ExecutorPodManifest:
        """The manifest with free claims in place of new ones; they are this executor's from now on."""
        assigned, taken = with_reused_claims(manifest, self._free)
        for name in taken:
            log.info("claim_reused", claim=name, executor=executor_id)
            self._given[name] = _Given(executor_id, self._now_ms())
        if assigned.resources:
            self._under_way[executor_id] = {_name(claim) for claim in assigned.resources}
        return assigned

    async def taken_name(self, executor_id: ExecutorId, manifest: ExecutorPodManifest) -> str:
        """Why a claim of this manifest cannot be made, seen from its name; "" when nothing is in the way.

        Raises:
            ApiUnavailable: nobody knows.
        """
        own = f"{manifest.pod['metadata']['name']}-pvc-"
        of_others = {
            name
            for other, names in self._under_way.items()
            if other != executor_id
            for name in names
        }
        for claim in manifest.resources:
            name = _name(claim)
            if name.startswith(own):
                continue
            if name in of_others or await self._get(name) is not None:
                return (
                    f"persistent volume claim {name} exists already and would be shared: let its options.claimName "
                    "be or contain OnDemand or SPARK_EXECUTOR_ID, so that each executor has its own, or leave "
                    "options.storageClass out to mount the existing one"
                )
        return ""

    def pod_may_come(self, executor_id: ExecutorId) -> None:
        """There is no such pod so far: what was given to it stays its own, and what it wanted holds nobody up."""
        self._under_way.pop(executor_id, None)

    def pod_not_created(self, executor_id: ExecutorId) -> None:
        """There is no such pod: what was given to it is free again, and what it wanted is not made."""
        self._under_way.pop(executor_id, None)
        self._given = {
            name: given for name, given in self._given.items() if given.executor_id != executor_id
        }

    async def make(
        self, executor_id: ExecutorId, manifest: ExecutorPodManifest, pod_uid: str
    ) -> str:
        """Make the claims of a pod that was created; returns why one of them cannot be had, or "".

        Raises:
            ApiUnavailable: some may be missing; call again.
        """
        for claim in manifest.resources:
            body = dict(claim)
            if manifest.resources_follow_pod:
                owner = {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": manifest.pod["metadata"]["name"],
                    "uid": pod_uid,
                    "controller": True,
                }
                body = {**body, "metadata": {**body["metadata"], "ownerReferences": [owner]}}
            outcome = await self._objects.create(self._owner.namespace, CLAIMS, body)
            refused = await self._refused(outcome, body)
            if refused:
                self._under_way.pop(executor_id, None)
                return refused
            missing = self._under_way.get(executor_id, set())
            if _name(claim) in missing:
                missing.remove(_name(claim))
                self._allocation.tell(ClaimMade())
        self._under_way.pop(executor_id, None)
        return ""

    async def _refused(self, outcome: WriteOutcome, body: Document) -> str:
        if outcome.done:
            return ""
        if outcome.result is not WriteResult.EXISTS:
            return outcome.message
        # an earlier answer that was lost, or somebody else's claim
        found = await self._get(_name(body))
        owners = {owner["uid"] for owner in body["metadata"].get("ownerReferences") or ()}
        if found is not None and not owners.isdisjoint(_owner_uids(found)):
            return ""
        return f"{_name(body)} exists and is not ours"

    async def missing(self, manifest: ExecutorPodManifest, mounted: Collection[str]) -> bool:
        """Whether a pod mounts claims of this manifest that nobody has made.

        Raises:
            ApiUnavailable: nobody knows.
        """
        wanted = {_name(claim) for claim in manifest.resources}.intersection(mounted)
        if not wanted:
            return False
        return not wanted <= {_name(item) for item in await self._of_the_application()}

    async def _of_the_application(self) -> list[dict[str, Any]]:
        selector = f"spark-app-selector={self._owner.application_id}"
        return await self._objects.list_named(self._owner.namespace, CLAIMS, selector)

    async def _get(self, name: str) -> Document | None:
        return await self._objects.get(self._owner.namespace, CLAIMS, name)

    def _is_the_driver_s(self, claim: Document) -> bool:
        return self._owner.driver_uid in _owner_uids(claim)


def _name(claim: Document) -> str:
    return str(claim["metadata"]["name"])


def _owner_uids(claim: Document) -> set[str]:
    return {owner.get("uid") for owner in claim["metadata"].get("ownerReferences") or ()}


def _can_be_mounted(claim: Document) -> bool:
    lost = (claim.get("status") or {}).get("phase") == _LOST
    return not lost and "deletionTimestamp" not in claim["metadata"]


def _claim(document: Document) -> PersistentVolumeClaim:
    metadata, spec = document["metadata"], document.get("spec") or {}
    created = datetime.fromisoformat(metadata["creationTimestamp"])
    requests = (spec.get("resources") or {}).get("requests") or {}
    return PersistentVolumeClaim(
        name=metadata["name"],
        storage_class=spec.get("storageClassName"),
        storage=requests.get("storage", ""),
        created_at=round(created.timestamp() * 1_000),
    )
