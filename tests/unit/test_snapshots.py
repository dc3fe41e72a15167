"""The picture of executor pods: updates add and replace, only full lists remove."""

from dataclasses import replace

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot


def pod(executor_id: int, state: PodState = PodState.PENDING) -> ExecutorPod:
    name = f"exec-{executor_id}"
    return ExecutorPod(
        f"uid-{executor_id}", name, "ns", ExecutorId(executor_id), ProfileId(0), state, 1.0
    )


def test_an_update_adds_a_new_pod_and_keeps_the_old_picture():
    before = ExecutorPodsSnapshot.replaced([pod(1)], at=100)
    after = before.with_update(pod(2))
    assert set(before.pods) == {1}
    assert set(after.pods) == {1, 2}
    assert after.full_sync_at == 100


def test_an_update_replaces_the_pod_of_the_same_executor():
    before = ExecutorPodsSnapshot.replaced([pod(1)], at=100)
    after = before.with_update(replace(pod(1), state=PodState.RUNNING))
    assert after.pods[ExecutorId(1)].state is PodState.RUNNING


def test_a_full_list_starts_anew():
    after = ExecutorPodsSnapshot.replaced([pod(2)], at=200)
    assert set(after.pods) == {2}
    assert after.full_sync_at == 200


def test_the_first_picture_is_empty_and_was_never_listed():
    assert ExecutorPodsSnapshot() == ExecutorPodsSnapshot({}, 0)
