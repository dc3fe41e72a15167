"""maxExecutors goes 2 → 6 → 1 while a real job works, and the pods follow; the job's answer is right."""

import json

import pytest
from tests.demo.api import Object
from tests.demo.installation import make_job_files
from tests.e2e.test_drains import MIGRATION
from tests.e2e.test_pod_ends import ROUNDS
from tests.e2e.waiting import eventually
from tests.e2e.workspace import PROPERTIES, RISE_AND_FALL, Workspace
from tests.machine.own_time import own_seconds

DRIVER = "rounds"
ALLOCATION = "mine"
ENOUGH = "/opt/life/enough"
PLAN_SECONDS = 2.0
"""From a change of the object to what the operator does about it."""
START_SECONDS = 600
"""On two cores that others use too."""


@pytest.mark.slow
def test_pods_follow_a_changed_maximum(space: Workspace) -> None:
    # given a job whose tasks could always use six executors, of which it may have two
    make_job_files(space.cluster, space.namespace, "job", RISE_AND_FALL, ROUNDS, PROPERTIES)
    space.allocate(
        ALLOCATION,
        DRIVER,
        dynamicAllocation={"maxExecutors": 2},
        allocation={"rampUp": "Immediate"},
        decommission={"migrate": True, "gracePeriod": "120s"},
    )
    space.start_driver(DRIVER, f"--until={ENOUGH}", job=ROUNDS, managed=False, conf=MIGRATION)
    _await_registered(space, 2)
    assert len(space.executors()) == 2
    # when it may have six, six are asked for
    raised_in = _followed_in(space, 6, lambda: len(_staying(space)) == 6)
    _await_registered(space, 6)
    # and when it may have one, five are asked to leave, though all have tasks
    lowered_in = _followed_in(space, 1, lambda: len(_staying(space)) == 1)
    print(f"raised in {raised_in:.2f} s, lowered in {lowered_in:.2f} s")
    assert raised_in < PLAN_SECONDS
    assert lowered_in < PLAN_SECONDS
    eventually(
        lambda: len(space.executors()) == 1,
        what="the others have finished what they had and gone",
        within=150,
        explain=lambda: space.status(ALLOCATION),
    )
    decided = {each["reason"] for each in space.status(ALLOCATION)["decisions"]}
    assert "AboveMaximum" in decided
    # then the job goes on with one and its answers are right
    space.touch(DRIVER, ENOUGH)
    assert space.await_end(DRIVER) == "Succeeded"
    result = space.result(DRIVER)
    assert all(answer["computed"] == answer["known"] for answer in result["answers"].values())
    assert result["failedTasks"] == 0


def _followed_in(space: Workspace, most: int, followed: object) -> float:
    """Change the maximum; returns after how many seconds the pods are as they are to be."""
    patch = json.dumps({"spec": {"dynamicAllocation": {"maxExecutors": most}}})
    space.cluster.kubectl(
        *("patch", "sparkallocation", ALLOCATION, f"--namespace={space.namespace}"),
        *("--type=merge", f"--patch={patch}"),
    )
    began = own_seconds()
    eventually(
        followed,
        what=f"pods follow maxExecutors {most}",
        within=60,
        every=0.1,
        explain=lambda: (space.status(ALLOCATION), list(space.executors())),
    )
    return own_seconds() - began


def _staying(space: Workspace) -> list[Object]:
    return [pod for pod in space.executors().values() if "deletionTimestamp" not in pod["metadata"]]


def _await_registered(space: Workspace, count: int) -> None:
    eventually(
        lambda: len(space.registered(DRIVER)) >= count,
        what=f"{count} executors work",
        within=START_SECONDS,
        explain=lambda: (space.status(ALLOCATION), space.log(DRIVER)),
    )
