"""Each resource profile at one step, counted for people: status, metrics and log lines are made of it.

Theory of operation
-------------------
Three sources are counted and not reconciled, because their differences are what a reader wants to see: pods as the
snapshot shows them, executors as the driver lists them, and idle ones as the monitor knows them. A pod that leaves is
counted under *decommissioning* alone. Nothing here decides anything.
"""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from spark_allocation.core.allocation_decisions import ProfileDecision
from spark_allocation.core.driver_feeder import DriverFeeder
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.executor_pods import ExecutorId, PodState
from spark_allocation.core.executor_tracker import HeldBy
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_plan import RequestBound
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot


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
    leaving: AbstractSet[ExecutorId],
    pods: ExecutorPodsAllocator,
    monitor: ExecutorMonitor,
    feeder: DriverFeeder,
    decisions: Mapping[ProfileId, ProfileDecision],
    bounds: Mapping[ProfileId, RequestBound],
    targets: Mapping[ProfileId, int],
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
    """
    counts = _counted(snapshot, leaving, pods, monitor, feeder)
    profile_ids = targets.keys() | {profile_id for profile_id, _ in counts}
    states = []
    for profile_id in sorted(each for each in profile_ids if each >= 0):
        decision = decisions.get(profile_id)
        tasks = feeder.of_profile(profile_id)
        states.append(
            ProfileState(
                profile_id=profile_id,
                desired=(decision.need or 0) if decision is not None else 0,
                target=pods.expected.get(profile_id, 0),
                running=counts[profile_id, PodState.RUNNING],
                registered=counts[profile_id, "registered"],
                pending=counts[profile_id, PodState.PENDING],
                unacknowledged=counts[profile_id, "unseen"],
                idle=counts[profile_id, "idle"],
                held_by_shuffle=counts[profile_id, f"held by {HeldBy.SHUFFLE}"],
                held_by_cache=counts[profile_id, f"held by {HeldBy.CACHE}"],
                decommissioning=counts[profile_id, "leaving"],
                pending_tasks=tasks.pending,
                running_tasks=tasks.running,
                reason=decision.reason.value if decision is not None else "",
                bound=bounds.get(profile_id, RequestBound.NOTHING),
            )
        )
    return tuple(states)


def _counted(
    snapshot: ExecutorPodsSnapshot,
    leaving: AbstractSet[ExecutorId],
    pods: ExecutorPodsAllocator,
    monitor: ExecutorMonitor,
    feeder: DriverFeeder,
) -> Counter[tuple[ProfileId, str]]:
    counts: Counter[tuple[ProfileId, str]] = Counter()
    for pod in snapshot.pods.values():
        alive = pod.state in (PodState.RUNNING, PodState.PENDING)
        word = "leaving" if alive and pod.executor_id in leaving else pod.state
        counts[pod.profile_id, word] += 1
    for unseen in pods.unseen.values():
        counts[unseen.profile_id, "unseen"] += unseen.executor_id not in snapshot.pods
    for executor in feeder.executors.values():
        counts[executor.profile_id, "registered"] += 1
    for view in monitor.executors():
        if view.running_tasks == 0 and not view.decommissioning and not view.pending_removal:
            counts[view.profile_id, "idle"] += 1
            if view.held_by is not HeldBy.NONE:
                counts[view.profile_id, f"held by {view.held_by}"] += 1
    return counts
