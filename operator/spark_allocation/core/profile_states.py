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
from spark_allocation.core.driver_feeder import DriverFeeder
from spark_allocation.core.executor_monitor import ExecutorMonitor, IdleCounts
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_plan import RequestBound
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

_NO_IDLE = IdleCounts()


HELD_BY_SHUFFLE = "HeldByShuffle"
HELD_BY_CACHE = "HeldByCache"


@dataclass(frozen=True, slots=True)
class ProfileState:
    """One resource profile as status, metrics and logs show it; counts of executors."""

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
                bound=bounds.get(profile_id, RequestBound.NOTHING),
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
