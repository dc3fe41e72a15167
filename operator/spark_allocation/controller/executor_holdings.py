"""How many executor pods each driver has, as the watches show them: what exists, whoever tells or does not tell of it.

Counting is repeated only for drivers whose pods have changed since it was done last.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spark_allocation.core.executor_pods import PodState
from spark_allocation.core.pod_size import NO_SIZE, PodSize
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore, SeenPod


@dataclass(slots=True)
class Holding:
    """Pods of one profile of one driver that have a place on a node or are to get one.

    Attributes:
        size: of the largest.
        all_milli_cores: of all together.
        all_memory_mib: of all together.
    """

    running: int = 0
    pending: int = 0
    size: PodSize = NO_SIZE
    all_milli_cores: int = 0
    all_memory_mib: int = 0

    @property
    def count(self) -> int:
        """All of them."""
        return self.running + self.pending

    def add(self, seen: SeenPod) -> None:
        """One more."""
        if seen.pod.state is PodState.PENDING:
            self.pending += 1
        else:
            self.running += 1
        size = seen.pod.size
        self.all_milli_cores += size.milli_cores
        self.all_memory_mib += size.memory_mib
        if size.milli_cores > self.size.milli_cores or size.memory_mib > self.size.memory_mib:
            self.size = self.size.or_larger(size)


Holdings = Mapping[ProfileId, Holding]
_NOTHING: Holdings = {}


@dataclass(frozen=True, slots=True)
class _Counted:
    version: int
    everybodys: Holdings
    operators: Holdings


class ExecutorHoldings:
    """Counts the pods of a store by driver and profile."""

    def __init__(self, store: ExecutorPodsSnapshotsStore) -> None:
        self._store = store
        self._counted: dict[DriverKey, _Counted] = {}

    def refresh(self) -> None:
        """Count where something has changed."""
        before, self._counted = self._counted, {}
        for key, version in self._store.drivers():
            counted = before.get(key)
            if counted is None or counted.version != version:
                counted = self._count(key, version)
            self._counted[key] = counted

    def of(self, key: DriverKey, *, whoever_made_them: bool) -> Holdings:
        """The pods of one driver.

        Args:
            key: the driver.
            whoever_made_them: also those that the operator did not make.
        """
        counted = self._counted.get(key)
        if counted is None:
            return _NOTHING
        return counted.everybodys if whoever_made_them else counted.operators

    def of_operator(self) -> Iterator[tuple[DriverKey, Holdings]]:
        """Each driver that has pods which the operator made."""
        for key, counted in self._counted.items():
            if counted.operators:
                yield key, counted.operators

    def _count(self, key: DriverKey, version: int) -> _Counted:
        everybodys: dict[ProfileId, Holding] = {}
        operators: dict[ProfileId, Holding] = {}
        for seen in self._store.pods_of(key):
            if seen.pod.occupies:
                everybodys.setdefault(seen.pod.profile_id, Holding()).add(seen)
                if seen.allocation_uid:
                    operators.setdefault(seen.pod.profile_id, Holding()).add(seen)
        return _Counted(version, everybodys, operators)
