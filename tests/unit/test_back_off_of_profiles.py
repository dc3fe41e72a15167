"""While executors keep failing one pod is tried at a time: profiles take turns, so that one that always fails starves no other."""

from spark_allocation.core.executor_failures import ExecutorFailures
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.exit_reasons import FailureClass
from spark_allocation.core.pods_plan import PodRequests
from spark_allocation.core.resource_profiles import ProfileId

BROKEN, SOUND = ProfileId(1), ProfileId(2)


def wants(profile_id: ProfileId) -> PodRequests:
    return PodRequests(profile_id, count=1, target=1, known=0, shared_slots=9)


def test_a_profile_whose_pods_always_fail_does_not_keep_another_from_being_tried() -> None:
    # given a profile whose pods have failed until creation was held back
    failures = ExecutorFailures()
    for number in range(1, 4):
        failures.creation_attempted(ExecutorId(number), 0)
        failures.creation_failed(FailureClass.CONFIGURATION, ExecutorId(number), 0)
    assert failures.held_back

    # when it and another one each want an executor for an hour
    tried: list[ProfileId] = []
    for now_ms in range(0, 3_600_000, 1000):
        for request in failures.allowed((wants(BROKEN), wants(SOUND)), now_ms, executors_wanted=2):
            for _ in range(request.count):
                tried.append(request.profile_id)
                executor_id = ExecutorId(10 + len(tried))
                failures.creation_attempted(executor_id, now_ms)
                failures.creation_failed(FailureClass.CONFIGURATION, executor_id, now_ms)

    # then they have taken turns
    assert tried[:4] == [BROKEN, SOUND, BROKEN, SOUND]
