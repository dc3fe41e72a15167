"""A node that stops reporting takes its executors with it: they are replaced at once, and told as lost with their node.

The node's kubelet is killed, so the test has a cluster of its own, which nobody else uses. On a cluster of one node the
node controller taints nobody (it takes a silence of all nodes for its own fault), so the test sets its taint.
"""

import json
import signal
from collections.abc import Iterator

import pytest
from tests import cluster as clusters
from tests.cluster import local
from tests.demo.api import Api, Object
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
    _two_executors(space)
    # when their node falls silent
    _end_kubelet()
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
        lambda: (
            [(each["reason"], each["count"]) for each in space.status(ALLOCATION)["executorEnds"]]
            == [("NodeLost", 2)]
        ),
        what="the status tells of both",
        within=30,
        explain=lambda: space.status(ALLOCATION),
    )
    eventually(lambda: _events(space, "ExecutorNodeLost"), what="an Event", within=30)
    assert space.phase(DRIVER) == "Running"
    eventually(
        lambda: _ids(space) == {3, 4} and _phases(space) == {"Running"},
        what="exactly two replacements run",
        within=60,
        explain=lambda: space.status(ALLOCATION),
    )


@pytest.mark.slow
def test_an_executor_that_the_driver_loses_with_its_node(
    lonely: tuple[Workspace, OperatorLog],
) -> None:
    """Nobody taints the node: the node controller only takes Ready from its pods, and the driver's heartbeats end."""
    space, log = lonely
    _two_executors(space)
    _end_kubelet()
    eventually(
        lambda: _conditions(space) == {("False", "True")},
        what="the node controller takes Ready away",
        within=120,
        every=1,
        explain=lambda: _conditions(space),
    )
    known = [executor_of_driver(2), executor_of_driver(1, active=False)]
    answer(space, "executors", known[:1])
    answer(space, "allexecutors", known)
    end = eventually(lambda: log.ended().get(1), what="the end of executor 1", within=60)
    assert (end["reason"], end["charged"]) == ("NodeLost", True)
    assert f"its node {NAME} does not report any more" in end["message"]
    eventually(lambda: 3 in _ids(space), what="a replacement", within=30)
    eventually(lambda: _events(space, "ExecutorNodeLost"), what="an Event", within=30)
    assert _ids(space) == {1, 2, 3}, "its pod stays, by no force, until the node is back"
    clusters.require(NAME, Reporter())
    eventually(
        lambda: _ids(space) == {2, 3},
        what="the node is back and its pod goes",
        within=120,
        explain=lambda: space.status(ALLOCATION),
    )
    assert set(log.ended()) == {1}


@pytest.mark.slow
def test_executors_that_come_to_nothing_on_one_node_go_to_another(
    lonely: tuple[Workspace, OperatorLog],
) -> None:
    """Of the other node only its object is real; the test does what its kubelet would do."""
    # given one executor that works, and another node that the executors prefer
    space, log = lonely
    executors = EXECUTORS | _preferring(OTHER_NODE)
    space.start_fake_driver(DRIVER, gives=executors)
    space.allocate(
        ALLOCATION,
        DRIVER,
        dynamicAllocation={"minExecutors": 1},
        allocation={"failures": {"max": 20}},
        executor={"podTemplate": {"spec": executors}},
    )
    eventually(lambda: _phases(space) == {"Running"}, what="one executor runs", within=60)
    answer(space, "executors", [executor_of_driver(1)])
    answer(space, "allexecutors", [executor_of_driver(1)])
    _make_node(space)
    # when two executors end there before they have registered
    space.cluster.kubectl(
        *("patch", "salloc", ALLOCATION, f"--namespace={NAMESPACE}", "--type=merge"),
        '--patch={"spec": {"dynamicAllocation": {"minExecutors": 2}}}',
    )
    for number in (2, 3):
        pod = eventually(
            lambda wanted=number: _bound(space, wanted),
            what=f"executor {number} is on {OTHER_NODE}",
            within=60,
            explain=lambda: [
                (executor_id(pod), pod["spec"].get("nodeName"))
                for pod in space.api.executor_pods(NAMESPACE)
            ],
        )
        _end_on_other_node(space, pod)
    # then the next one goes where one works, whatever it prefers
    eventually(
        lambda: space.status(ALLOCATION).get("avoidedNodes") == [OTHER_NODE],
        what="the node is avoided",
        within=30,
        explain=lambda: space.status(ALLOCATION),
    )
    eventually(
        lambda: [
            pod
            for pod in space.api.executor_pods(NAMESPACE)
            if executor_id(pod) == 4 and pod["spec"].get("nodeName") == NAME
        ],
        what=f"executor 4 is on {NAME}",
        within=60,
        explain=lambda: log.ended(),
    )
    assert OTHER_NODE in _events(space, "NodeAvoided")[0]


OTHER_NODE = "preferred"


def _preferring(node: str) -> Object:
    of_name = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    preferred = [{"weight": 50, "preference": of_name}]
    return {
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    }


def _make_node(space: Workspace) -> None:
    amount = {"cpu": "64", "memory": "256Gi", "pods": "110"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": OTHER_NODE}}
    space.create(node)
    status = {"capacity": amount, "allocatable": amount, "conditions": [ready]}
    space.cluster.kubectl(
        *("patch", "node", OTHER_NODE, "--subresource=status", "--type=merge"),
        f"--patch={json.dumps({'status': status})}",
    )
    # the node controller taints a new node until it has looked at it
    eventually(
        lambda: not (space.api.get(f"/api/v1/nodes/{OTHER_NODE}") or {})["spec"].get("taints"),
        what="the node may be used",
        within=30,
    )


def _bound(space: Workspace, number: int) -> Object | None:
    for pod in space.api.executor_pods(NAMESPACE):
        if executor_id(pod) == number and pod["spec"].get("nodeName") == OTHER_NODE:
            return pod
    return None


def _end_on_other_node(space: Workspace, pod: Object) -> None:
    terminated = {"exitCode": 1, "reason": "Error"}
    container = {"name": CONTAINER, "image": "", "imageID": "", "ready": False, "restartCount": 0}
    status = {
        "phase": "Failed",
        "containerStatuses": [{**container, "state": {"terminated": terminated}}],
    }
    space.cluster.kubectl(
        *("patch", "pod", pod["metadata"]["name"], f"--namespace={NAMESPACE}"),
        *("--subresource=status", "--type=merge", f"--patch={json.dumps({'status': status})}"),
    )


def _two_executors(space: Workspace) -> None:
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


def _end_kubelet() -> None:
    (kubelet,) = [line.process for line in local.status(NAME) if line.name == "kubelet"]
    assert kubelet is not None
    assert kubelet.send(signal.SIGKILL, grace=10)


def _conditions(space: Workspace) -> set[tuple[str, str]]:
    """Of each executor pod, whether it is ready and whether its containers are."""
    found = set()
    for pod in space.api.executor_pods(NAMESPACE):
        said = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
        found.add((said.get("Ready", ""), said.get("ContainersReady", "")))
    return found


def _events(space: Workspace, reason: str) -> list[str]:
    return [each["message"] for each in space.api.events(NAMESPACE) if each["reason"] == reason]


def _ids(space: Workspace) -> set[int]:
    return {executor_id(pod) for pod in space.api.executor_pods(space.namespace)}


def _phases(space: Workspace) -> set[str]:
    return {pod["status"]["phase"] for pod in space.api.executor_pods(space.namespace)}
