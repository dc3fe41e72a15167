"""Which running executors go first when a profile has more than it may have.

Those on nodes that are about to go, then idle ones, then those with the fewest tasks; among equals the youngest. Nobody
goes with whom something would be lost: such executors leave by their own timeouts.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot


def chosen_to_go(
    too_many: Mapping[ProfileId, int],
    snapshot: ExecutorPodsSnapshot,
    *,
    leaving: AbstractSet[ExecutorId],
    may_go: Callable[[ExecutorId], bool],
    tasks: Callable[[ExecutorId], int],
    going_nodes: AbstractSet[str],
) -> list[ExecutorId]:
    """The executors, in this order; fewer than are too many when others may not go.

    Args:
        too_many: by profile, how many are to go.
        snapshot: the pods.
        leaving: executors that are on their way out.
        may_go: whether the driver knows the executor, and nothing is lost with it.
        tasks: that it runs.
        going_nodes: nodes that are about to go.
    """
    if not too_many:
        return []
    candidates: dict[ProfileId, list[ExecutorPod]] = {}
    for pod in snapshot.pods.values():
        if (
            pod.profile_id in too_many
            and pod.state is PodState.RUNNING
            and pod.executor_id not in leaving
            and may_go(pod.executor_id)
        ):
            candidates.setdefault(pod.profile_id, []).append(pod)
    found: list[ExecutorId] = []
    for profile_id, pods in sorted(candidates.items()):
        pods.sort(
            key=lambda pod: (pod.node not in going_nodes, tasks(pod.executor_id), -pod.executor_id)
        )
        found += [pod.executor_id for pod in pods[: too_many[profile_id]]]
    return found
