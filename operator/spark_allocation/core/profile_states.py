"""Each resource profile at one step, counted for people: status, metrics and log lines are made of it.

Theory of operation
-------------------
Three sources are counted and not reconciled, because their differences are what a reader wants to see: pods as the
snapshot shows them, executors as the driver lists them, and idle ones as the monitor knows them. A pod that leaves is
counted under *decommissioning* alone. An idle executor counts as held from the moment at which it would have timed out
if it held nothing: before that nothing holds it. Nothing here decides anything.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from spark_allocation.core.allocation_decisions import ProfileDecision
from spark_allocation.core.budget_cap import BudgetCap
from spark_allocation.core.driver_feeder import DriverFeeder
from spark_allocation.core.executor_monitor import ExecutorMonitor, IdleCounts
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_plan import RequestBound
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

_NO_IDLE = IdleCounts()
_NO_BUDGET = BudgetCap()

_LIMIT_WORDS: Mapping[RequestBound, str] = {
    RequestBound.MAX_PENDING_PODS: "maxPendingPods reached",
    RequestBound.MAX_PENDING_PODS_PER_PROFILE: "maxPendingPodsPerProfile reached",
    RequestBound.BACK_OFF: "held back because executors keep failing",
    RequestBound.CLAIM_REUSE: "waiting for volume claims",
}


HELD_BY_SHUFFLE = "HeldByShuffle"
HELD_BY_CACHE = "HeldByCache"


@dataclass(frozen=True, slots=True)
class ProfileState:
    """One resource profile as status, metrics and logs show it; counts of executors.

    Attributes:
        granted: executors that budgets allow; None when none covers the application.
        grant_reason: how that came about, in a sentence; "" without budgets.
        below_minimum: a budget does not suffice for all minima, and this profile has less than its own.
    """

    profile_id: ProfileId
    desired: int
    target: int
    running: int
    registered: int
    pending: int
    unacknowledged: int
    idle: int
    held_by_shuffle: int
    held_by_cache: int
    decommissioning: int
    pending_tasks: int
    running_tasks: int
    reason: str
    bound: RequestBound = RequestBound.NOTHING
    granted: int | None = None
    grant_reason: str = ""
    below_minimum: bool = False

    @property
    def is_at_rest(self) -> bool:
        """Nothing runs or waits, and every executor that is wanted is there and has registered."""
        return (
            self.target <= self.running == self.registered
            and self.desired <= self.running
            and not self.pending
            and not self.unacknowledged
            and not self.decommissioning
            and not self.pending_tasks
            and not self.running_tasks
        )

    @property
    def is_short_of_budget(self) -> bool:
        """Budgets grant less than is wanted."""
        by_budget = (RequestBound.BUDGET, RequestBound.BUDGET_PENDING_PODS)
        return self.granted is not None and self.bound in by_budget


def profile_states(
    snapshot: ExecutorPodsSnapshot,
    *,
    leaving: frozenset[ExecutorId],
    pods: ExecutorPodsAllocator,
    monitor: ExecutorMonitor,
    feeder: DriverFeeder,
    decisions: Mapping[ProfileId, ProfileDecision],
    bounds: Mapping[ProfileId, RequestBound],
    targets: Mapping[ProfileId, int],
    now_ns: int,
    cap: BudgetCap = _NO_BUDGET,
) -> tuple[ProfileState, ...]:
    """One entry for each profile with a target, a pod or an executor, in the order of their ids.

    Args:
        snapshot: the pods.
        leaving: executors whose pods are on their way out.
        pods: for what was asked for and not seen yet.
        monitor: for who is idle and what holds them.
        feeder: for the driver's own list and the tasks.
        decisions: the last ones that were made.
        bounds: what kept a profile below its target in the last round.
        targets: of the allocation manager.
        now_ns: monotonic nanoseconds.
        cap: what budgets grant.
    """
    staying = snapshot.staying(leaving)
    unseen = Counter(
        pod.profile_id for pod in pods.unseen.values() if pod.executor_id not in snapshot.pods
    )
    idle = monitor.idle_counts(now_ns)
    profile_ids = (
        targets.keys()
        | snapshot.by_state.profiles
        | unseen.keys()
        | feeder.registered.keys()
        | idle.keys()
    )
    states = []
    for profile_id in sorted(each for each in profile_ids if each >= 0):
        decision = decisions.get(profile_id)
        tasks = feeder.of_profile(profile_id)
        at_rest = idle.get(profile_id, _NO_IDLE)
        running = staying.running.get(profile_id, 0)
        bound = bounds.get(profile_id, RequestBound.NOTHING)
        grant = cap.grants.get(profile_id) if cap.grants is not None else None
        states.append(
            ProfileState(
                profile_id=profile_id,
                desired=(decision.need or 0) if decision is not None else 0,
                target=pods.expected.get(profile_id, 0),
                running=running,
                registered=feeder.registered[profile_id],
                pending=staying.waiting.get(profile_id, 0),
                unacknowledged=unseen[profile_id],
                idle=at_rest.idle,
                held_by_shuffle=at_rest.held_by_shuffle,
                held_by_cache=at_rest.held_by_cache,
                decommissioning=staying.leaving.get(profile_id, 0),
                pending_tasks=tasks.pending,
                running_tasks=tasks.running,
                reason=_reason(decision, running, at_rest),
                bound=bound,
                granted=None if grant is None else grant.granted,
                grant_reason=cap.chain(
                    profile_id,
                    bound,
                    running + staying.waiting.get(profile_id, 0) + unseen[profile_id],
                    _LIMIT_WORDS.get(bound, ""),
                ),
                below_minimum=grant is not None and grant.below_minimum,
            )
        )
    return tuple(states)


def _reason(decision: ProfileDecision | None, running: int, at_rest: IdleCounts) -> str:
    """Why the target is what it is; or, of more executors than it asks for, why they are still there."""
    if decision is None:
        return ""
    if running > decision.target:
        if at_rest.held_by_shuffle:
            return HELD_BY_SHUFFLE
        if at_rest.held_by_cache:
            return HELD_BY_CACHE
    return decision.reason.value
