"""The manager's way out: who makes and removes executors."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from spark_allocation.core.resource_profiles import ProfileId


class ClusterManagerUnreachable(Exception):  # noqa: N818  (what happened, not an error class of ours)
    """A request was lost; a total that was being requested counts as refused."""


class ExecutorAllocationClient(Protocol):
    """What the manager asks for (``org.apache.spark.ExecutorAllocationClient``). Executor ids are the driver's strings."""

    def request_total_executors(self, totals: Mapping[ProfileId, int]) -> bool:
        """Take over the wanted totals of all profiles; False refuses them.

        Raises:
            ClusterManagerUnreachable: when the request was lost.
        """
        ...

    def kill_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        """Remove idle executors; returns the ids that are really going (busy ones stay)."""
        ...

    def decommission_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        """Drain executors, then remove them; returns the ids that are really going."""
        ...

    def is_executor_active(self, executor_id: str) -> bool:
        """Whether the executor is registered and not on its way out."""
        ...
