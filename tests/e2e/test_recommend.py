"""A real driver that allocates for itself, and the operator beside it that only recommends."""

import pytest
from tests.cluster.audit import AuditLog
from tests.demo.api import Object
from tests.e2e.conftest import OPERATOR_USER
from tests.e2e.waiting import eventually
from tests.e2e.workspace import Workspace

DRIVER = "ordinary"
TRIAL = "trial"
MOST = 3
START_SECONDS = 600
"""On two cores that others use too."""
OWN_ALLOCATION = (
    "spark.dynamicAllocation.enabled=true",
    "spark.dynamicAllocation.schedulerBacklogTimeout=1s",
    "spark.dynamicAllocation.sustainedSchedulerBacklogTimeout=1s",
    "spark.dynamicAllocation.executorIdleTimeout=10min",
    f"spark.dynamicAllocation.maxExecutors={MOST}",
    "spark.executor.maxNumFailures=20",
)


@pytest.mark.slow
def test_spark_s_own_executors_are_compared_and_left_alone(space: Workspace) -> None:
    # given a driver that asks for executors itself, and keeps idle ones for ten minutes
    space.create(*_rights_to_make_pods(space.namespace))
    space.allocate(TRIAL, DRIVER, mode="Recommend", dynamicAllocation={"executorIdleTimeout": "5s"})
    requests = AuditLog(space.cluster)
    space.start_driver(
        DRIVER,
        *("--tasks=120", "--task-seconds=0.5", "--stays-seconds=40", "--without-shuffle"),
        managed=False,
        conf=OWN_ALLOCATION,
    )
    # while it works, both would have the same, once the operator's ramp has caught up with what Spark had begun before
    eventually(
        lambda: (
            ((found := _recommended(space)).get("sparkExecutors"), found.get("ours"))
            == (MOST, MOST)
        ),
        what="Spark's own executors are counted beside as many of ours",
        within=START_SECONDS,
        explain=lambda: (space.status(TRIAL), space.log(DRIVER)),
    )
    # when it has nothing to do, the operator would let them go
    told = eventually(
        lambda: (
            found
            if (found := _recommended(space)).get("ours") == 0
            and found["executorHours"]["saved"] > 0
            else None
        ),
        what="the difference is told",
        within=START_SECONDS,
        explain=lambda: (space.status(TRIAL), space.log(DRIVER)),
    )
    assert told["sparkExecutors"] == MOST
    status = space.status(TRIAL)
    assert (status["executors"], status["target"], status["state"]) == (MOST, 0, "Recommending")
    # and Spark ends its job as it would have without it
    assert space.await_end(DRIVER) == "Succeeded"
    result = space.result(DRIVER)
    assert all(answer["computed"] == answer["known"] for answer in result["answers"].values())
    space.await_condition(TRIAL, "Finished", status="True", reason="DriverSucceeded")
    written = {
        (request.verb, request.resource)
        for request in requests.requests(OPERATOR_USER)
        if request.namespace == space.namespace and request.verb not in ("get", "list", "watch")
    }
    assert written <= {
        ("patch", "sparkallocations"),
        ("patch", "sparkallocations/status"),
        ("create", "events"),
    }


def _recommended(space: Workspace) -> Object:
    return dict(space.status(TRIAL).get("recommendation") or {})


def _rights_to_make_pods(namespace: str) -> list[Object]:
    """What an ordinary driver has and one of this operator does not need."""
    metadata = {"name": "spark-driver-makes-pods", "namespace": namespace}
    group = "rbac.authorization.k8s.io"
    resources = ["pods", "configmaps", "persistentvolumeclaims", "services"]
    rule = {"apiGroups": [""], "resources": resources, "verbs": ["*"]}
    subject = {"kind": "ServiceAccount", "name": "spark-driver", "namespace": namespace}
    role = {"apiGroup": group, "kind": "Role", "name": metadata["name"]}
    return [
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": role,
            "subjects": [subject],
        },
    ]
