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


def test_pods_are_sorted_by_what_is_asked_of_them():
    pods = [
        replace(pod(1, PodState.RUNNING), claims=("data-1",)),
        replace(pod(2, PodState.RUNNING), deleting=True, profile_id=ProfileId(3)),
        pod(3, PodState.RUNNING),
        replace(pod(4), claims=("data-4", "data-1")),
        pod(5, PodState.FAILED),
        pod(6, PodState.SUCCEEDED),
        replace(pod(7, PodState.DELETED), deleting=True),
        replace(pod(8, PodState.UNKNOWN), profile_id=ProfileId(9)),
        pod(9, PodState.TERMINATING),
    ]
    found = ExecutorPodsSnapshot.replaced(pods, at=1).by_state
    assert found.running == {0: 2, 3: 1}
    assert [each.executor_id for each in found.pending] == [4]
    assert found.explained == []
    assert [each.executor_id for each in found.ended] == [5, 6, 7]
    assert [each.executor_id for each in found.deleting] == [2, 7]
    assert found.claims == {"data-1", "data-4"}
    assert found.profiles == {0, 3, 9}


def test_those_of_which_somebody_says_why_they_wait_are_known_apart():
    stuck = replace(pod(2), reason="ImagePullBackOff")
    gone = replace(pod(3, PodState.FAILED), reason="Evicted")
    assert ExecutorPodsSnapshot.replaced([pod(1), stuck, gone], at=1).by_state.explained == [stuck]


def test_pods_are_sorted_once_for_each_picture():
    before = ExecutorPodsSnapshot.replaced([pod(1)], at=1)
    assert before.by_state is before.by_state
    assert before.with_update(pod(2)).by_state is not before.by_state


def test_those_that_leave_are_counted_apart():
    picture = ExecutorPodsSnapshot.replaced(
        [
            pod(1, PodState.RUNNING),
            pod(2, PodState.RUNNING),
            replace(pod(3, PodState.RUNNING), profile_id=ProfileId(1)),
            pod(4),
            pod(5),
            pod(6, PodState.FAILED),
        ],
        at=1,
    )
    leaving = frozenset(map(ExecutorId, (2, 3, 5, 6, 77)))
    found = picture.staying(leaving)
    assert {each: count for each, count in found.running.items() if count} == {0: 1}
    assert [each.executor_id for each in found.pending] == [4]
    assert found.waiting == {0: 1}
    assert found.leaving == {0: 2, 1: 1}, "a pod that has ended leaves no more"

    assert picture.staying(leaving) is found
    assert picture.staying(frozenset()).running == {0: 2, 1: 1}
