"""Nodes on which executors do not come to work, though others elsewhere do.

Theory of operation
-------------------
A driver with ``spark.excludeOnFailure`` refuses executors from hosts that it excludes, and a node whose disk or network
is broken lets executors start and never register. Either way the next pod is likely to land there again, because the
node is the emptiest. What is seen from outside is an executor that ended before the driver ever listed it.

That alone accuses nobody: a broken image ends the same way everywhere. A node is *avoided* when `REFUSALS_TO_AVOID` of
the application's executors in a row came to nothing on it **and** one works on another node. It is avoided for the time
of ``spark.excludeOnFailure.timeout``, or until an executor that came later works on it; at most `MOST_AVOIDED` nodes at
once, the ones with the latest refusals.

Avoiding is a wish, not a demand (`avoiding`: a preferred node affinity of the greatest weight): the evidence is
circumstantial, and a pod that can only run on a suspect node does less harm there, where the back-off slows its like
down, than one that waits for an hour beside free places.

Source: ours. Spark: ``HealthTracker``, ``CoarseGrainedSchedulerBackend`` (refuses to register an excluded host).
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod

REFUSALS_TO_AVOID = 2
MOST_AVOIDED = 8
GREATEST_WEIGHT = 100
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


@dataclass(slots=True)
class _Suspicion:
    """Against one node: when executors came to nothing there, and until when it is avoided for it."""

    refused_at: list[int] = field(default_factory=list)
    avoid_until: int = 0


class NodeAvoidance:
    """Which nodes the next pods of one application should not go to. Times are epoch milliseconds."""

    def __init__(self) -> None:
        self._suspicions: dict[str, _Suspicion] = {}

    def __bool__(self) -> bool:
        """Some node is under suspicion."""
        return bool(self._suspicions)

    def refused(self, node: str, now: int, *, within_ms: int) -> None:
        """An executor came to nothing on this node.

        Args:
            within_ms: earlier ones count that are no older than this.
        """
        suspicion = self._suspicions.setdefault(node, _Suspicion())
        recent = [at for at in suspicion.refused_at if now - at <= within_ms]
        suspicion.refused_at = [*recent, now][-REFUSALS_TO_AVOID:]

    def avoided(
        self,
        pods: Collection[ExecutorPod],
        working: AbstractSet[ExecutorId],
        now: int,
        *,
        for_ms: int,
    ) -> frozenset[str]:
        """The nodes to avoid now.

        Args:
            pods: of the application.
            working: executors that the driver lists as alive.
            for_ms: how long a node is avoided.
        """
        if not self._suspicions:
            return frozenset()
        self._suspicions = {
            node: suspicion
            for node, suspicion in self._suspicions.items()
            if now < max(suspicion.avoid_until, suspicion.refused_at[-1] + for_ms)
        }
        came_at: dict[str, float] = {}
        for pod in pods:
            if pod.node and pod.executor_id in working:
                came_at[pod.node] = max(came_at.get(pod.node, 0.0), pod.created_at)
        for node, suspicion in list(self._suspicions.items()):
            if came_at.get(node, 0.0) * 1000 > suspicion.refused_at[-1]:
                del self._suspicions[node]
            elif (
                suspicion.avoid_until == 0
                and len(suspicion.refused_at) >= REFUSALS_TO_AVOID
                and came_at.keys() - {node}
            ):
                suspicion.avoid_until = suspicion.refused_at[-1] + for_ms
        avoided = [node for node, each in self._suspicions.items() if now < each.avoid_until]
        avoided.sort(key=lambda node: (-self._suspicions[node].refused_at[-1], node))
        return frozenset(avoided[:MOST_AVOIDED])


def avoiding(pod: Mapping[str, Any], nodes: AbstractSet[str]) -> dict[str, Any]:
    """The pod, to be placed on other nodes than these where there is room; the given one is not changed."""
    if not nodes:
        return dict(pod)
    # the API takes one value for each of these
    fields = [
        {"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in sorted(nodes)
    ]
    term = {"weight": GREATEST_WEIGHT, "preference": {"matchFields": fields}}
    spec = pod.get("spec") or {}
    affinity = spec.get("affinity") or {}
    of_nodes = affinity.get("nodeAffinity") or {}
    preferred = [*(of_nodes.get(_PREFERRED) or ()), term]
    affinity = {**affinity, "nodeAffinity": {**of_nodes, _PREFERRED: preferred}}
    return {**pod, "spec": {**spec, "affinity": affinity}}
