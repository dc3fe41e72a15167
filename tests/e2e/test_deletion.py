"""Deleting a SparkAllocation, and ending the operator: the lines where a mistake would cost a job its executors."""

import pytest
from tests.demo.api import Object
from tests.demo.operator_process import OperatorProcess
from tests.e2e.waiting import eventually, throughout
from tests.e2e.workspace import Workspace
from tests.machine.own_time import own_seconds

DRIVER = "driver"
STAYING_EXECUTORS = {
    # no JVM: what is tested is who deletes it; it ends at SIGTERM
    "spec": {
        "containers": [
            {
                "name": "spark-kubernetes-executor",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.2; done"],
            }
        ]
    }
}
STUBBORN_EXECUTORS = {
    "spec": {
        "containers": [
            {
                "name": "spark-kubernetes-executor",
                "command": ["sh", "-c", "trap '' TERM; while true; do sleep 0.2; done"],
            }
        ]
    }
}


@pytest.fixture
def two_executors(space: Workspace) -> dict[str, Object]:
    """A driver without work, and the two executors that its allocation always keeps."""
    return _two_executors(space, STAYING_EXECUTORS)


def test_orphan_leaves_the_executors_to_the_driver(
    space: Workspace, two_executors: dict[str, Object]
) -> None:
    # when the allocation is deleted (deletionPolicy is left out: Orphan)
    began = own_seconds()
    space.delete("sparkallocation", "kept")
    assert own_seconds() - began < 15, "the finalizer goes at once"
    # then its executors stay
    _stays(space, two_executors)
    # until the driver goes, which takes them with it
    space.delete("pod", DRIVER)
    space.await_no_executors()


def test_the_operator_exits_and_touches_no_pod(
    space: Workspace, operator: OperatorProcess, two_executors: dict[str, Object]
) -> None:
    assert operator.stop() == 0
    _stays(space, two_executors)
    operator.start()
    _stays(space, two_executors)
    assert space.status("kept")["executors"] == 2


def test_drain_ends_in_its_bound_even_when_an_executor_does_not_want_to(space: Workspace) -> None:
    two = _two_executors(
        space, STUBBORN_EXECUTORS, deletionPolicy="Drain", decommission={"gracePeriod": "5s"}
    )
    began = own_seconds()
    space.delete("sparkallocation", "kept")
    assert own_seconds() - began < 5 + 20, "the finalizer goes within the grace period"
    eventually(
        lambda: not set(two) & set(space.executors()),
        what="the executors are gone",
        within=60,
        explain=lambda: list(space.executors()),
    )


def test_the_finalizer_goes_at_once_when_the_driver_is_gone(space: Workspace) -> None:
    _two_executors(space, STAYING_EXECUTORS, deletionPolicy="Drain")
    space.delete("pod", DRIVER)
    began = own_seconds()
    space.delete("sparkallocation", "kept")
    assert own_seconds() - began < 15


@pytest.mark.parametrize(("policy", "stay"), [("Drain", False), ("Orphan", True)])
def test_an_object_deleted_while_no_operator_runs_is_taken_at_its_word(
    space: Workspace, operator: OperatorProcess, policy: str, stay: bool
) -> None:
    two = _two_executors(
        space, STAYING_EXECUTORS, deletionPolicy=policy, decommission={"gracePeriod": "20s"}
    )
    # when nobody is there as the allocation is deleted
    operator.kill()
    space.delete("sparkallocation", "kept", wait=False)
    _stays(space, two)
    assert space.allocation("kept") is not None, "its finalizer waits for an operator"
    # then the next operator does what the policy says, and lets the object go
    operator.start()
    eventually(
        lambda: space.allocation("kept") is None,
        what="the object is gone",
        within=60,
        explain=lambda: space.allocation("kept"),
    )
    if stay:
        _stays(space, two)
    else:
        eventually(
            lambda: not set(two) & set(space.executors()),
            what="the executors are gone",
            within=60,
            explain=lambda: list(space.executors()),
        )


@pytest.mark.slow
def test_drain_lets_running_tasks_finish(space: Workspace) -> None:
    # given a job whose tasks take long enough to be caught running; it has no shuffle, since Spark counts a finished
    # task whose shuffle output went with its executor as failed, without charging it
    space.allocate(
        "first",
        DRIVER,
        dynamicAllocation={"maxExecutors": 2},
        deletionPolicy="Drain",
        decommission={"gracePeriod": "60s"},
    )
    space.start_driver(
        DRIVER, *("--tasks=24", "--task-seconds=3", "--without-shuffle"), managed=False
    )
    eventually(
        lambda: sum(entry["activeTasks"] for entry in space.registered(DRIVER)) >= 2,
        what="two tasks run",
        within=120,
        explain=lambda: (space.status("first"), space.log(DRIVER)),
    )
    # when its allocation is deleted, then the executors go, each after its task
    space.delete("sparkallocation", "first")
    eventually(
        lambda: not space.registered(DRIVER),
        what="the executors are gone",
        within=90,
        explain=lambda: list(space.executors()),
    )
    done = space.completed_tasks(DRIVER)
    assert done >= 2
    # and another allocation carries the job to its end: nothing was charged
    space.allocate("second", DRIVER, dynamicAllocation={"maxExecutors": 2})
    assert space.await_end(DRIVER) == "Succeeded"
    result = space.result(DRIVER)
    assert all(answer["computed"] == answer["known"] for answer in result["answers"].values())
    assert result["failedTasks"] == 0


def _two_executors(space: Workspace, template: Object, **spec: object) -> dict[str, Object]:
    space.start_fake_driver(DRIVER, gives=template["spec"])
    space.allocate(
        "kept",
        DRIVER,
        dynamicAllocation={"minExecutors": 2},
        executor={"podTemplate": template},
        **spec,
    )
    eventually(
        lambda: len(_running(space)) == 2,
        what="two executors run",
        within=60,
        explain=lambda: space.status("kept"),
    )
    return _running(space)


def _running(space: Workspace) -> dict[str, Object]:
    return {
        name: pod
        for name, pod in space.executors().items()
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    }


def _stays(space: Workspace, pods: dict[str, Object]) -> None:
    """The same pods, by uid, at sixteen looks."""
    looks = iter(range(16))
    uids = {pod["metadata"]["uid"] for pod in pods.values()}
    throughout(
        lambda: {pod["metadata"]["uid"] for pod in _running(space).values()} == uids,
        until=lambda: next(looks, None) is None,
        what="executors stay as they are",
        within=30,
        explain=lambda: list(space.executors()),
    )
