"""A node that stops reporting takes its executors with it: they are replaced at once, and told as lost with their node.

The node's kubelet is killed, so the test has a cluster of its own, which nobody else uses. On a cluster of one node the
node controller taints nobody (it takes a silence of all nodes for its own fault), so the test sets its taint.
"""

import signal
from collections.abc import Iterator

import pytest
from tests import cluster as clusters
from tests.cluster import local
from tests.demo.api import Api
from tests.demo.installation import install_on_host, make_namespace
from tests.demo.observation import executor_id
from tests.e2e.test_pod_ends import CONTAINER, WAIT, OperatorLog, answer, executor_of_driver
from tests.e2e.waiting import eventually
from tests.e2e.workspace import Workspace
from tests.machine.reporting import Reporter

NAME = "node-ends"
NAMESPACE = "e2e-node"
DRIVER = "driver"
ALLOCATION = "node"
BROKEN = "sparkallocation.dev/broken"

EXECUTORS = {
    "automountServiceAccountToken": False,
    "containers": [{"name": CONTAINER, "command": ["sh", "-c", WAIT]}],
}
DRIVER_STAYS = {"tolerations": [{"key": BROKEN, "operator": "Exists"}]}


@pytest.fixture
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, OperatorLog]]:
    reporter = Reporter()
    cluster = clusters.require(NAME, reporter)
    try:
        image = clusters.load_spark(cluster, reporter)
        installation = install_on_host(cluster, tmp_path_factory.mktemp("operator"))
        assert installation.process is not None
        try:
            make_namespace(cluster, NAMESPACE)
            with Api(cluster) as api:
                log = OperatorLog(installation.process.log, NAMESPACE)
                yield Workspace(cluster, api, NAMESPACE, image), log
        finally:
            installation.close()
    finally:
        local.down(NAME, reporter)


@pytest.mark.slow
def test_a_node_that_stops_reporting(lonely: tuple[Workspace, OperatorLog]) -> None:
    # given two executors
    space, log = lonely
    space.start_fake_driver(DRIVER, gives=EXECUTORS | DRIVER_STAYS)
    space.allocate(
        ALLOCATION,
        DRIVER,
        dynamicAllocation={"minExecutors": 2},
        executor={"podTemplate": {"spec": EXECUTORS}},
    )
    eventually(
        lambda: [pod["status"]["phase"] for pod in space.executors().values()] == ["Running"] * 2,
        what="two executors run",
        within=60,
        explain=lambda: space.status(ALLOCATION),
    )
    known = [executor_of_driver(number) for number in sorted(_ids(space))]
    answer(space, "executors", known)
    answer(space, "allexecutors", known)
    # when their node falls silent
    (kubelet,) = [line.process for line in local.status(NAME) if line.name == "kubelet"]
    assert kubelet is not None
    assert kubelet.send(signal.SIGKILL, grace=10)
    space.cluster.kubectl("taint", "nodes", "--all", f"{BROKEN}:NoExecute", "--overwrite")
    # then Kubernetes gives them up, and two others are asked for, no more
    eventually(
        lambda: len(_ids(space)) > 2,
        what="replacements",
        within=60,
        explain=lambda: space.status(ALLOCATION),
    )
    eventually(
        lambda: space.status(ALLOCATION)["profiles"][0]["decommissioning"] == 2,
        what="the lost ones no longer count",
        within=30,
        explain=lambda: space.status(ALLOCATION),
    )
    # and when the node is back, their end is known
    clusters.require(NAME, Reporter())
    space.cluster.kubectl(
        *("patch", "nodes", NAME, "--type=merge", '--patch={"spec": {"taints": null}}')
    )
    eventually(
        lambda: set(log.ended()) == {1, 2},
        what="the ends of both",
        within=120,
        explain=lambda: (log.ended(), space.status(ALLOCATION)),
    )
    assert {end["reason"] for end in log.ended().values()} == {"NodeLost"}
    eventually(
        lambda: _ids(space) == {3, 4} and _phases(space) == {"Running"},
        what="exactly two replacements run",
        within=60,
        explain=lambda: space.status(ALLOCATION),
    )


def _ids(space: Workspace) -> set[int]:
    return {executor_id(pod) for pod in space.api.executor_pods(space.namespace)}


def _phases(space: Workspace) -> set[str]:
    return {pod["status"]["phase"] for pod in space.api.executor_pods(space.namespace)}
