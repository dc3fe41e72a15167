"""The picture of one application's executor pods at one moment.

Theory of operation
-------------------
Pods reach us in two ways: as single events of a watch and as full lists. A snapshot is the immutable sum of both.
`ExecutorPodsSnapshot.with_update` replaces one pod by its executor id and keeps the time of the last full list;
`ExecutorPodsSnapshot.replaced` starts again from a full list. Only a full list can prove that a pod is *absent*:
an update never removes anything (Spark ignores the type of a watch event; a deleted pod stays with its last state
until the next list). That is why `full_sync_at` is part of the value.

Source: ``scheduler.cluster.k8s.ExecutorPodsSnapshot``, ``ExecutorPodsSnapshotsStoreImpl``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod


@dataclass(frozen=True, slots=True)
class ExecutorPodsSnapshot:
    """An immutable view of one application's executor pods (``ExecutorPodsSnapshot``).

    Attributes:
        pods: by executor id; whoever makes a snapshot gives the mapping away and changes it no more.
        full_sync_at: epoch milliseconds at which the full list below this snapshot was asked for; 0 when there was
            none yet. The time of the *request*: a pod created after it may be missing from the answer.
    """

    pods: Mapping[ExecutorId, ExecutorPod] = field(default_factory=dict)
    full_sync_at: int = 0

    def with_update(self, pod: ExecutorPod) -> "ExecutorPodsSnapshot":
        """This picture with one pod new or changed; the time of the full list is kept."""
        return ExecutorPodsSnapshot({**self.pods, pod.executor_id: pod}, self.full_sync_at)

    @classmethod
    def replaced(cls, pods: Iterable[ExecutorPod], *, at: int) -> "ExecutorPodsSnapshot":
        """A picture of these pods and no others, listed at ``at`` (epoch milliseconds)."""
        return cls({pod.executor_id: pod for pod in pods}, at)


EMPTY_SNAPSHOT = ExecutorPodsSnapshot()
