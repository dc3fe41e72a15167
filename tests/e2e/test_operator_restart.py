"""The operator dies without a word and comes back: the job must not notice."""

from tests.demo.observation import executor_id
from tests.demo.operator_process import OperatorProcess
from tests.e2e.waiting import eventually, throughout
from tests.e2e.workspace import Workspace

DRIVER = "batch"
EXECUTORS = 3


def test_killed_while_it_creates_and_again_while_tasks_run(
    space: Workspace, operator: OperatorProcess
) -> None:
    # given a batch that three executors work on for a while, none of which may go idle early
    space.start_driver(
        DRIVER,
        *("--tasks=150", "--task-seconds=0.6"),
        annotations={
            "spec.sparkallocation.dev/dynamicAllocation.maxExecutors": str(EXECUTORS),
            "spec.sparkallocation.dev/dynamicAllocation.executorIdleTimeout": "30s",
        },
    )
    # when the operator is killed as soon as there is a first executor pod
    eventually(lambda: space.executors(), what="a first executor", within=90, every=0.05)
    operator.kill()
    operator.start()
    # and again in the middle of the batch
    eventually(
        lambda: space.completed_tasks(DRIVER) >= 20 and len(space.registered(DRIVER)) == EXECUTORS,
        what="three executors at work",
        within=150,
        explain=lambda: (space.status("batch"), list(space.executors())),
    )
    before = _uids(space)
    operator.kill()
    done = space.completed_tasks(DRIVER)
    # then the tasks go on without it and no pod changes
    throughout(
        lambda: _uids(space) == before,
        until=lambda: space.completed_tasks(DRIVER) >= done + 10,
        what="executors stay as they are while there is no operator",
        within=90,
        explain=lambda: (before, _uids(space)),
    )
    operator.start()
    throughout(
        lambda: set(before) <= set(_uids(space)),
        until=lambda: space.completed_tasks(DRIVER) >= done + 40,
        what="the operator that came back keeps the executors it finds",
        within=120,
        explain=lambda: (before, _uids(space)),
    )
    assert space.await_end(DRIVER) == "Succeeded"
    # and the result is the same, with the same three executors from the first task to the last
    result = space.result(DRIVER)
    assert all(answer["computed"] == answer["known"] for answer in result["answers"].values())
    assert result["failedTasks"] == 0
    ids = sorted(entry["id"] for entry in result["executors"])
    assert len(ids) == len(set(ids)) == EXECUTORS, result["executors"]
    assert set(ids) == set(before.values())
    space.await_no_executors()


def _uids(space: Workspace) -> dict[str, int]:
    """uid → executor id of the executor pods that are not being deleted."""
    return {
        pod["metadata"]["uid"]: executor_id(pod)
        for pod in space.executors().values()
        if "deletionTimestamp" not in pod["metadata"]
    }
