"""Persistent volume claims that ended executors left behind, for the next executors.

Theory of operation
-------------------
With ``ownPersistentVolumeClaim`` a claim belongs to the driver pod and outlives the executor that asked for it; with
``reusePersistentVolumeClaim`` a new executor's volume points at such a claim instead of a new one, so that shuffle
data on it can be found again. A claim is free when no pod that was seen lately mounts it and when it is old enough not
to belong to a pod that nobody has seen yet. One list of free claims serves one round and shrinks as they are taken.

Source: ``ExecutorPodsAllocator.getReusablePVCs``, ``replacePVCsIfNeeded`` (SPARK-35416, SPARK-41388).
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from spark_allocation.core.executor_pod_builder import ExecutorPodManifest
from spark_allocation.core.quantities import quantity_amount


@dataclass(frozen=True, slots=True)
class PersistentVolumeClaim:
    """A claim as far as reuse cares.

    Attributes:
        storage_class: None for the cluster's default class.
        storage: the requested size, a Kubernetes quantity.
        created_at: epoch milliseconds.
    """

    name: str
    storage_class: str | None
    storage: str
    created_at: int


class ReusableClaims:
    """The free claims of one round, in the order of the API server's list."""

    __slots__ = ("_free",)

    def __init__(self, claims: Iterable[PersistentVolumeClaim]) -> None:
        self._free = list(claims)

    @classmethod
    def among(
        cls,
        claims: Iterable[PersistentVolumeClaim],
        *,
        in_use: AbstractSet[str],
        minimum_age_ms: int,
        now: int,
    ) -> "ReusableClaims":
        """Those of the application's claims that nobody uses (``getReusablePVCs``)."""
        return cls(
            claim
            for claim in claims
            if claim.name not in in_use and now - claim.created_at > minimum_age_ms
        )

    def __len__(self) -> int:
        return len(self._free)

    def take(self, storage_class: str | None, storage: str) -> str | None:
        """The name of the first free claim of this class and exactly this size, which is then taken; else None."""
        wanted = _amount(storage)
        for index, claim in enumerate(self._free):
            if claim.storage_class == storage_class and _amount(claim.storage) == wanted:
                return self._free.pop(index).name
        return None


def with_reused_claims(
    manifest: ExecutorPodManifest, free: ReusableClaims
) -> tuple[ExecutorPodManifest, tuple[str, ...]]:
    """Point the volumes of a new pod at free claims (``replacePVCsIfNeeded``).

    Returns:
        The manifest without the claims that need not be made, and the names of those that its pod uses instead.
    """
    taken: dict[str, str] = {}
    left = []
    for claim in manifest.resources:
        spec = claim["spec"]
        found = free.take(spec.get("storageClassName"), spec["resources"]["requests"]["storage"])
        if found is None:
            left.append(claim)
        else:
            taken[claim["metadata"]["name"]] = found
    if not taken:
        return manifest, ()
    spec = manifest.pod["spec"]
    volumes = [_with_claim(volume, taken) for volume in spec.get("volumes") or ()]
    pod = {**manifest.pod, "spec": {**spec, "volumes": volumes}}
    return replace(manifest, pod=pod, resources=tuple(left)), tuple(taken.values())


def _with_claim(volume: Mapping[str, Any], taken: Mapping[str, str]) -> Mapping[str, Any]:
    source = volume.get("persistentVolumeClaim")
    if source is None or source["claimName"] not in taken:
        return volume
    reused = {**source, "claimName": taken[source["claimName"]]}
    return {**volume, "persistentVolumeClaim": reused}


def _amount(storage: str) -> Decimal | str:
    try:
        return quantity_amount(storage)
    except ValueError:
        return storage
