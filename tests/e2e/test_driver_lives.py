"""A driver that lives again must not inherit executors, names or ids of its former life."""

from typing import Any

from tests.demo.api import Object
from tests.e2e.waiting import eventually
from tests.e2e.workspace import FIRST_LIFE, Workspace

DRIVER = "phoenix"
BOUNDS = {
    "minExecutors": 0,
    "maxExecutors": 2,
    "executorIdleTimeout": "5s",
    "shuffleTracking": {"timeout": "5s"},
}


def test_a_container_that_restarts_inside_its_pod(space: Workspace) -> None:
    # given a driver whose first life ends without a goodbye when two executors are at work
    space.start_driver(
        DRIVER,
        *("--tasks=60", f"--halts-in-first-life={FIRST_LIFE}"),
        restart_policy="OnFailure",
        annotations={"spec.sparkallocation.dev/dynamicAllocation.maxExecutors": "2"},
    )
    first = eventually(
        lambda: two if len(two := space.executors()) == 2 else None,
        what="two executors of the first life",
        within=120,
    )
    eventually(
        lambda: _restarts(space) == 1,
        what="the driver's container restarts",
        within=120,
        explain=lambda: space.log(DRIVER),
    )
    # when it lives again, then it ends well with executors that are all its own
    assert space.await_end(DRIVER) == "Succeeded"
    _check_fresh(first, space, space.result(DRIVER))
    space.await_no_executors()


def test_a_driver_resubmitted_under_the_same_pod_name(space: Workspace) -> None:
    # given a SparkAllocation written by hand, and a driver at work with two executors
    space.allocate("nightly", DRIVER, dynamicAllocation=BOUNDS)
    space.start_driver(DRIVER, "--tasks=400", managed=False)
    first = eventually(
        lambda: two if len(two := space.executors()) == 2 else None,
        what="two executors of the first driver",
        within=120,
        explain=lambda: space.status("nightly"),
    )
    first_life = space.status("nightly")
    # when the driver pod is deleted and another is created under its name
    space.delete("pod", DRIVER)
    space.start_driver(DRIVER, "--tasks=30", managed=False)
    # then the new one ends well with executors of its own, under the same SparkAllocation
    assert space.await_end(DRIVER) == "Succeeded"
    _check_fresh(first, space, space.result(DRIVER))
    space.await_condition("nightly", "Finished", status="True", reason="DriverSucceeded")
    second_life = space.status("nightly")
    assert second_life["driverPodUid"] != first_life["driverPodUid"]
    assert second_life["incarnation"] != first_life["incarnation"]
    assert second_life["nextExecutorId"] >= first_life["nextExecutorId"]
    space.await_no_executors()


def _check_fresh(first: dict[str, Object], space: Workspace, result: dict[str, Any]) -> None:
    """`first`: executor pods of the former life, by name; `result`: of the life that followed."""
    assert all(answer["computed"] == answer["known"] for answer in result["answers"].values())
    assert result["failedTasks"] == 0
    former_ids = {int(pod["metadata"]["labels"]["spark-exec-id"]) for pod in first.values()}
    ids = [entry["id"] for entry in result["executors"]]
    assert ids
    assert min(ids) > max(former_ids), "no id of the former life is used again"
    for pod in space.api.executor_pods(space.namespace):
        assert pod["metadata"]["name"] not in first, "no name of the former life is used again"
        assert pod["metadata"]["labels"]["spark-app-selector"] == result["applicationId"]


def _restarts(space: Workspace) -> int:
    pod = space.api.pod(space.namespace, DRIVER)
    if pod is None:
        return 0
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))
