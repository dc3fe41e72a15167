"""Executors on nodes that are about to go: replaced first, then drained.

Theory of operation
-------------------
A node is about to go when somebody has cordoned it, or when an autoscaler or a cloud has announced its end
(`going_reason`). What runs there is going to be evicted, sooner or later, with the pod's own grace. Two things can be
done before that:

- *Replace.* Executors on such a node do not count towards the target, so the allocator asks for others now, and
  the scheduler puts those elsewhere. Only as far as the profile's maximum has room for both.
- *Drain.* As soon as the others have registered, one for each, so that the profile keeps the executors that it
  wants. Without room for both, one at a time goes without its replacement. Where budgets give room, and have not
  said yet whether they do, they are waited for, `ANSWER_AWAITED_MS` at most.

An executor that holds something which nobody would take over is replaced and not drained: its node may stay after all, and
if it does not, draining saves nothing. Without decommissioning nobody is drained for the sake of a node.

Between two stages the need drops for a moment; what a profile wants here is therefore the highest target of the last
`TARGET_REMEMBERED_MS`.

Source: ours; Spark leaves it to the node decommissioner. Taints: Karpenter, cluster-autoscaler, cloud node termination handlers.
"""

from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

TARGET_REMEMBERED_MS = 15_000
ANSWER_AWAITED_MS = 10_000

_NO_EXECUTORS: frozenset[ExecutorId] = frozenset()

_ENDING_TAINTS: Mapping[str, str] = {
    "karpenter.sh/disrupted": "Karpenter disrupts it",
    "karpenter.sh/disruption": "Karpenter disrupts it",
    "ToBeDeletedByClusterAutoscaler": "the cluster autoscaler removes it",
    "aws-node-termination-handler/spot-itn": "its spot instance is interrupted",
    "aws-node-termination-handler/scheduled-maintenance": "maintenance of its machine is due",
    "aws-node-termination-handler/asg-lifecycle-termination": "its machine is terminated",
    "aws-node-termination-handler/rebalance-recommendation": "its spot instance is at risk",
    "cloud.google.com/impending-node-termination": "its machine is terminated",
    "node.cloudprovider.kubernetes.io/shutdown": "its machine is shut down",
    "node.kubernetes.io/out-of-service": "it is out of service",
    "node.kubernetes.io/unschedulable": "it is cordoned",
}


def going_reason(
    *, unschedulable: bool, taints: Collection[tuple[str, str]], deleting: bool
) -> str:
    """Why a node is about to go, in a few words; "" when it is not.

    Args:
        unschedulable: ``spec.unschedulable``: it is cordoned.
        taints: key and effect of each taint. One that only asks the scheduler to prefer others announces nothing.
        deleting: it has a deletionTimestamp.
    """
    for key, effect in taints:
        if key in _ENDING_TAINTS and effect != "PreferNoSchedule":
            return _ENDING_TAINTS[key]
    if deleting:
        return "it is being deleted"
    return "it is cordoned" if unschedulable else ""


@dataclass(frozen=True, slots=True)
class Evacuation:
    """What to do about nodes that are about to go.

    Attributes:
        replaced: executors that do not count towards the target any more.
        may_leave: those that may be drained now, in this order.
    """

    replaced: frozenset[ExecutorId] = _NO_EXECUTORS
    may_leave: tuple[ExecutorId, ...] = ()


NOTHING_TO_EVACUATE = Evacuation()


class NodeEvacuation:
    """Of one life of a driver.

    Args:
        max_executors: of a profile.
        loses_something: whether draining an executor now would lose what it holds.
        may_get_room: whether a profile may be allowed more executors soon, which is being asked for.
    """

    def __init__(
        self,
        max_executors: Callable[[ProfileId], int],
        loses_something: Callable[[ExecutorId], bool],
        may_get_room: Callable[[ProfileId], bool],
    ) -> None:
        self._max_executors = max_executors
        self._loses_something = loses_something
        self._may_get_room = may_get_room
        self._without_room_since: dict[ProfileId, int] = {}
        self._peaks: dict[ProfileId, tuple[int, int]] = {}

    def plan(
        self,
        snapshot: ExecutorPodsSnapshot,
        *,
        going_nodes: AbstractSet[str],
        leaving: AbstractSet[ExecutorId],
        registered: AbstractSet[ExecutorId],
        targets: Mapping[ProfileId, int],
        now_ms: int,
    ) -> Evacuation:
        """Decide.

        Args:
            snapshot: the pods.
            going_nodes: names of nodes that are about to go.
            leaving: executors on their way out.
            registered: executors that the driver lists.
            targets: executors wanted, by profile.
            now_ms: epoch milliseconds.
        """
        wanted = self._wanted(targets, now_ms)
        if not going_nodes:
            self._without_room_since.clear()
            return NOTHING_TO_EVACUATE
        there = [
            pod
            for pod in snapshot.pods.values()
            if pod.state is PodState.RUNNING and pod.executor_id not in leaving
        ]
        going: dict[ProfileId, list[ExecutorPod]] = {}
        for pod in there:
            if pod.node in going_nodes:
                going.setdefault(pod.profile_id, []).append(pod)
        replaced: list[ExecutorId] = []
        may_leave: list[ExecutorId] = []
        for profile_id, pods in sorted(going.items()):
            pods.sort(key=lambda pod: (pod.node, pod.executor_id))
            target = wanted.get(profile_id, 0)
            room = max(0, self._max_executors(profile_id) - target)
            replaced += [pod.executor_id for pod in pods[:room]]
            at_work = sum(
                1 for pod in there if pod.profile_id == profile_id and pod.executor_id in registered
            )
            spare = at_work - target + self._without_replacement(profile_id, room, now_ms)
            may_leave += [
                pod.executor_id
                for pod in pods
                if pod.executor_id in registered and not self._loses_something(pod.executor_id)
            ][: max(0, spare)]
        return Evacuation(frozenset(replaced), tuple(may_leave))

    def _without_replacement(self, profile_id: ProfileId, room: int, now_ms: int) -> int:
        """How many may go before another is there."""
        if room:
            self._without_room_since.pop(profile_id, None)
            return 0
        since = self._without_room_since.setdefault(profile_id, now_ms)
        waits = self._may_get_room(profile_id) and now_ms - since < ANSWER_AWAITED_MS
        return 0 if waits else 1

    def _wanted(self, targets: Mapping[ProfileId, int], now_ms: int) -> dict[ProfileId, int]:
        peaks: dict[ProfileId, tuple[int, int]] = {}
        for profile_id, target in targets.items():
            peak, at = self._peaks.get(profile_id, (0, now_ms))
            if target >= peak or now_ms - at > TARGET_REMEMBERED_MS:
                peak, at = target, now_ms
            peaks[profile_id] = (peak, at)
        self._peaks = peaks
        return {profile_id: peak for profile_id, (peak, _) in peaks.items()}
