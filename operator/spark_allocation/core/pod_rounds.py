"""When the pods of an application are counted and asked for, and what came of the last time.

Theory of operation
-------------------
A round is made at once when the targets were raised and nothing is outstanding, otherwise at most once in
``spark.kubernetes.allocation.batch.delay``. Between two rounds it is remembered which pods went away. What the pods allocator
asks for in a round is bounded by budgets before (`BudgetCap.round_caps`) and by failures that repeat themselves after
(`ExecutorFailures.allowed`); for each profile the last bound is kept, for those who explain.

Source: ``ExecutorPodsSnapshotsStoreImpl``, ``ExecutorPodsAllocator.onNewSnapshots``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from spark_allocation.core.budget_cap import BudgetCap
from spark_allocation.core.executor_failures import ExecutorFailures
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_plan import PodsPlan, RequestBound
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot


class PodRounds:
    """Of one life of a driver. Times are epoch milliseconds.

    Args:
        delay_ms: between two rounds, at least.
        pods: counts and asks.
        failures: keeps pods from being asked for.
        cap: what budgets leave.

    Attributes:
        bounds: what bounded each profile in its last round.
    """

    def __init__(
        self, delay_ms: int, pods: ExecutorPodsAllocator, failures: ExecutorFailures, cap: BudgetCap
    ) -> None:
        self._delay_ms = delay_ms
        self._pods = pods
        self._failures = failures
        self._cap = cap
        self._planned_at_ms: int | None = None
        self._vanished: list[ExecutorPod] = []
        self.bounds: dict[ProfileId, RequestBound] = {}

    def reconfigure(self, delay_ms: int) -> None:
        """Make rounds at another pace from now on."""
        self._delay_ms = delay_ms

    def remember(self, vanished: Sequence[ExecutorPod], *, acts: bool) -> None:
        """Keep for the next round which pods went away.

        Args:
            acts: rounds are being made; otherwise only pods that were asked for before are kept, for when they are again.
        """
        unseen = self._pods.unseen
        self._vanished.extend(pod for pod in vanished if acts or pod.executor_id in unseen)

    def is_due(self, now_ms: int) -> bool:
        """A round is due if nobody wants one at once; it is too when the clock was set back."""
        if self._planned_at_ms is None:
            return True
        elapsed = now_ms - self._planned_at_ms
        return elapsed >= self._delay_ms or elapsed < 0

    def plan(
        self,
        snapshot: ExecutorPodsSnapshot,
        *,
        registered: AbstractSet[ExecutorId],
        not_counted: frozenset[ExecutorId],
        targets: Mapping[ProfileId, int],
        now_ms: int,
    ) -> PodsPlan:
        """Make a round.

        Args:
            snapshot: the pods.
            registered: executors that the driver lists.
            not_counted: pods that are there and do not count any more.
            targets: of the allocation manager, which know nothing of budgets.
            now_ms: when.
        """
        self._planned_at_ms = now_ms
        plan = self._pods.plan(
            snapshot,
            registered=registered,
            now=now_ms,
            vanished=self._vanished,
            not_counted=not_counted,
            caps=self._cap.round_caps(self._pods.expected),
        )
        self._vanished.clear()
        create = self._failures.allowed(
            plan.create, now_ms, executors_wanted=sum(self._pods.expected.values())
        )
        plan = replace(plan, create=create)
        self.bounds = {profile_id: profile.bound for profile_id, profile in plan.profiles.items()}
        self.bounds.update(self._cap.bounds(plan, targets))
        for request in create:
            if request.held_back:
                self.bounds[request.profile_id] = RequestBound.BACK_OFF
        return plan

    def next_at_ms(
        self, snapshot: ExecutorPodsSnapshot, not_counted: frozenset[ExecutorId]
    ) -> int | None:
        """When the next round is due; None before the first one, and when it would find what the last one did."""
        if self._planned_at_ms is None or not self._next_matters(snapshot, not_counted):
            return None
        return self._planned_at_ms + self._delay_ms

    def _next_matters(
        self, snapshot: ExecutorPodsSnapshot, not_counted: frozenset[ExecutorId]
    ) -> bool:
        """Some profile lacks executors, has pods to withdraw, or waits for pods that nobody has seen yet."""
        if self._pods.unseen:
            return True
        pods = snapshot.staying(not_counted)
        there = Counter(pods.waiting) + Counter(pods.running)
        return any(
            there[profile_id] < target
            or (there[profile_id] > target and pods.waiting.get(profile_id, 0) > 0)
            for profile_id, target in self._pods.expected.items()
        )
