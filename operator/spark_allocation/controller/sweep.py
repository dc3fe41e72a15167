"""What an application leaves behind: executor pods, claims, the executor config map.

An ordinary driver removes them when it stops; a passive one has no right to. A pod that has just ended is left for
five seconds, so that a driver that is still alive classifies the end first.
"""

import structlog

from spark_allocation.core.executor_pods import PodState
from spark_allocation.kube.objects_api import ObjectsApi
from spark_allocation.kube.pods_api import PodsApi
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore, SeenPod

log = structlog.get_logger("sweep")


async def sweep_pods(
    pods: PodsApi, leftovers: list[SeenPod], *, grace_seconds: int | None = None
) -> int:
    """Delete these pods unless they are being deleted; returns how many were asked to go.

    Raises:
        ApiUnavailable: some may be left; call again.
    """
    asked = 0
    for seen in leftovers:
        pod = seen.pod
        if pod.deleting or pod.state is PodState.DELETED:
            continue
        await pods.delete(pod.namespace, pod.name, pod.uid, grace_seconds=grace_seconds)
        asked += 1
    return asked


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
                    swept += await objects.delete(
                        key.namespace, kind, metadata["name"], metadata["uid"]
                    )
    return swept


def ours(store: ExecutorPodsSnapshotsStore, key: DriverKey, allocation_uid: str) -> list[SeenPod]:
    """The pods that this SparkAllocation made for this driver pod, of any life."""
    return [seen for seen in store.take(key).pods if seen.allocation_uid == allocation_uid]
