"""Executors that are replaced while their pods still run: on a node that is about to go, or lost by the driver.

Theory of operation
-------------------
Both have pods that are there and do not count towards the target any more, so that the allocator asks for others. That takes
room beside them: up to ``maxExecutors``, and up to what budgets grant. Executors on a node that is about to go take it first
(`node_evacuation`), because they work until others do. Those that the driver has lost work no more; where there is no room for
others, these come when the pods are being deleted, some seconds later.

Where a budget holds fewer executors than the target, so many are to be at work elsewhere before a node is left.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from spark_allocation.core.budget_cap import BudgetCap
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.node_evacuation import Evacuation, NodeEvacuation
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot


class Replacements:
    """Of one life of a driver.

    Args:
        conf: bounds.
        cap: what budgets leave.
        loses_something: whether draining an executor now would lose what it holds.
    """

    def __init__(
        self,
        conf: DynamicAllocationConf,
        cap: BudgetCap,
        loses_something: Callable[[ExecutorId], bool],
    ) -> None:
        self._conf = conf
        self._cap = cap
        self._nodes = NodeEvacuation(self._most, loses_something, self._may_be_granted_more)
        self._targets: Mapping[ProfileId, int] = {}

    def reconfigure(self, conf: DynamicAllocationConf) -> None:
        """Judge by other bounds from now on."""
        self._conf = conf

    def evacuate(
        self,
        snapshot: ExecutorPodsSnapshot,
        *,
        going_nodes: AbstractSet[str],
        leaving: AbstractSet[ExecutorId],
        registered: AbstractSet[ExecutorId],
        targets: Mapping[ProfileId, int],
        now_ms: int,
    ) -> Evacuation:
        """What to do about nodes that are about to go; see `NodeEvacuation.plan`.

        Args:
            targets: of the allocation manager.
        """
        self._targets = targets
        return self._nodes.plan(
            snapshot,
            going_nodes=going_nodes,
            leaving=leaving,
            registered=registered,
            targets=self._granted(targets),
            now_ms=now_ms,
        )

    def replaced_at_once(
        self,
        lost: AbstractSet[ExecutorId],
        evacuation: Evacuation,
        snapshot: ExecutorPodsSnapshot,
    ) -> frozenset[ExecutorId]:
        """Of executors that the driver has lost, those that do not count: as many as may run on beside others.

        Args:
            lost: none of those that leave, or that `evacuation` has replaced.
            evacuation: as `evacuate` told it in this step.
            snapshot: the pods.
        """
        if not lost:
            return frozenset()
        pods = snapshot.pods
        room = {
            profile_id: self._most(profile_id) - target
            for profile_id, target in self._granted(self._targets).items()
        }
        for executor_id in evacuation.replaced & pods.keys():
            profile_id = pods[executor_id].profile_id
            room[profile_id] = room.get(profile_id, 0) - 1
        chosen: set[ExecutorId] = set()
        for executor_id in sorted(lost & pods.keys()):
            profile_id = pods[executor_id].profile_id
            if room.get(profile_id, 0) > 0:
                room[profile_id] -= 1
                chosen.add(executor_id)
        return frozenset(chosen)

    def _granted(self, targets: Mapping[ProfileId, int]) -> Mapping[ProfileId, int]:
        if not self._cap.applies:
            return targets
        return {
            profile_id: min(target, self._cap.granted(profile_id, target))
            for profile_id, target in targets.items()
        }

    def _most(self, profile_id: ProfileId) -> int:
        most = self._conf.bounds(profile_id).max_executors
        return min(most, self._cap.granted(profile_id, most))

    def _may_be_granted_more(self, profile_id: ProfileId) -> bool:
        """Budgets alone hold it at its target or below, and were not asked yet for more than that."""
        target = self._targets.get(profile_id, 0)
        most = self._conf.bounds(profile_id).max_executors
        return target < most and not self._cap.refuses_more_than(profile_id, target)
