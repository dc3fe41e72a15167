"""Persistent volume claims that ended executors left behind, for the next executors.

Theory of operation
-------------------
With ``ownPersistentVolumeClaim`` a claim belongs to the driver pod and outlives the executor that asked for it; with
``reusePersistentVolumeClaim`` a new executor's volume points at such a claim instead of a new one, so that shuffle
data on it can be found again. A claim is free when no pod that was seen lately mounts it and when it is old enough not
to belong to a pod that nobody has seen yet. One list of free claims serves one round and shrinks as they are taken.

Source: ``ExecutorPodsAllocator.getReusablePVCs``, ``replacePVCsIfNeeded`` (SPARK-35416, SPARK-41388).
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal

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


def _amount(storage: str) -> Decimal | str:
    try:
        return quantity_amount(storage)
    except ValueError:
        return storage
