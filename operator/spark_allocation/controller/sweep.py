"""What an application leaves behind: executor pods, claims, the executor config map.

An ordinary driver removes them when it stops; a passive one has no right to. A pod that has just ended is left for
five seconds, so that a driver that is still alive classifies the end first.
"""

import asyncio

import structlog

from spark_allocation.core.executor_pods import PodState
from spark_allocation.kube.objects_api import ObjectsApi
from spark_allocation.kube.pods_api import DeleteResult, PodsApi
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore, SeenPod

log = structlog.get_logger("sweep")


CONCURRENT_DELETES = 16


async def sweep_pods(
    pods: PodsApi,
    leftovers: list[SeenPod],
    *,
    grace_seconds: int | None = None,
    hurry: bool = False,
) -> int:
    """Delete these pods; returns how many were asked to go.

    Args:
        pods: the port.
        leftovers: the pods.
        grace_seconds: None for each pod's own.
        hurry: also those that are being deleted already: a shorter grace takes effect.

    Raises:
        ApiUnavailable: some may be left; call again.
    """
    slots = asyncio.Semaphore(CONCURRENT_DELETES)

    async def sweep(seen: SeenPod) -> bool:
        pod = seen.pod
        async with slots:
            outcome = await pods.delete(
                pod.namespace, pod.name, pod.uid, grace_seconds=grace_seconds
            )
        if outcome.result in (DeleteResult.REFUSED, DeleteResult.SERVER_ERROR):
            log.warning("pod_not_swept", pod=pod.name, message=outcome.message)
            return False
        return True

    there = [
        seen
        for seen in leftovers
        if hurry or (not seen.pod.deleting and seen.pod.state is not PodState.DELETED)
    ]
    outcomes = await asyncio.gather(*map(sweep, there), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return sum(1 for outcome in outcomes if outcome)


async def sweep_objects(objects: ObjectsApi, key: DriverKey, application_ids: set[str]) -> int:
    """Delete claims and executor config maps of these applications that belong to the driver pod.

    Raises:
        ApiUnavailable: some may be left; call again.
    """
    swept = 0
    for application_id in sorted(application_ids - {""}):
        for kind, selector in (
            ("persistentvolumeclaims", f"spark-app-selector={application_id}"),
            ("configmaps", f"spark-app-selector={application_id},spark-role=executor"),
        ):
            for item in await objects.list_named(key.namespace, kind, selector):
                metadata = item["metadata"]
                owners = {owner.get("uid") for owner in metadata.get("ownerReferences") or ()}
                if key.driver_uid in owners:
                    outcome = await objects.delete(
                        key.namespace, kind, metadata["name"], metadata["uid"]
                    )
                    swept += outcome.done
    return swept


def operator_made(store: ExecutorPodsSnapshotsStore, key: DriverKey) -> list[SeenPod]:
    """The pods that this driver pod owns and that a SparkAllocation made for it, in any of its lives."""
    return [seen for seen in store.take(key).pods if seen.allocation_uid]
