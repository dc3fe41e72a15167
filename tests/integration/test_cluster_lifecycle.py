"""The test cluster's own promises: up is idempotent and mends, down leaves nothing behind.

In scope: processes, mounts, interfaces, routes, cgroups and files of a throw-away cluster beside
whatever else runs on the machine. What pods do is out of scope, except where a promise needs one.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from tests.cluster import Cluster, ClusterError, connect, local, namespaces, require
from tests.cluster.layout import CLUSTERS, layout_of
from tests.cluster.namespaces import Process, process_of
from tests.images.pause import PAUSE_IMAGE
from tests.machine.own_time import own_seconds
from tests.machine.reporting import Reporter

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="a local cluster needs root"),
]

NAME = "lifecycle-test"
REPORTER = Reporter()

POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: sleeper}}
spec:
  terminationGracePeriodSeconds: 600
  containers:
  - {{name: sleeper, image: {PAUSE_IMAGE}, imagePullPolicy: Never}}
"""


@dataclass(frozen=True)
class Traces:
    """What a cluster could leave on the machine, apart from its processes and cgroups."""

    mounts: frozenset[str] = frozenset()
    interfaces: frozenset[str] = frozenset()
    routes: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()


def traces() -> Traces:
    """Of everything on the machine but other clusters, which may come and go meanwhile."""
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    return Traces(
        mounts=_not_of_others(Path("/proc/self/mountinfo").read_text().splitlines()),
        interfaces=_not_of_others(entry.name for entry in Path("/sys/class/net").iterdir()),
        routes=_not_of_others(routes.splitlines()),
        folders=_not_of_others(
            str(entry)
            for top in ("/run", "/var/lib", "/var/log", "/opt", CLUSTERS)
            for entry in Path(top).iterdir()
            if entry.suffix != ".lock"  # kept, since removing a lock file races with its next user
        ),
    )


def left_since(before: Traces) -> Traces:
    """What is there now and was not before, or the other way round."""
    now = traces()
    return Traces(*(getattr(now, each.name) ^ getattr(before, each.name) for each in fields(now)))


def _not_of_others(lines: Iterable[str]) -> frozenset[str]:
    ours = layout_of(NAME)

    def of_another(line: str) -> bool:
        folder = re.search(rf"{re.escape(str(CLUSTERS))}/([^/\s]+)", line)
        link = re.search(r"\bsparkalloc\d+\b", line)
        return bool((folder and folder[1] != NAME) or (link and link[0] != ours.host_link))

    return frozenset(line for line in lines if not of_another(line))


def descendants(pid: int) -> set[Process]:
    """A process and all below it, containers included."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: set[Process] = set()
    open_ends = [pid]
    while open_ends:
        each = open_ends.pop()
        open_ends += children.get(each, [])
        process = process_of(each)
        if process is not None:
            found.add(process)
    return found


def cgroups_of_containers() -> set[Path]:
    tasks = layout_of(NAME).state / "containerd/state/io.containerd.runtime.v2.task/k8s.io"
    names = {task.name for task in tasks.iterdir()}
    # not Path.glob, which ends with an error when a container of another cluster goes meanwhile
    return {
        Path(parent, name)
        for parent, folders, _ in os.walk("/sys/fs/cgroup")
        if Path(parent).name == "k8s.io"
        for name in names.intersection(folders)
    }


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = own_seconds() + seconds
    while not condition():
        assert own_seconds() < end, "the condition did not come true in time"
        time.sleep(0.1)


def component(name: str) -> Process:
    (process,) = [line.process for line in local.status(NAME) if line.name == name]
    assert process is not None
    return process


def start_pod(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=POD)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=60s")


@pytest.fixture(scope="module", autouse=True)
def no_cluster_before_and_after() -> Iterator[None]:
    local.down(NAME, REPORTER)
    yield
    local.down(NAME, REPORTER)


@pytest.fixture
def cluster() -> Cluster:
    """A healthy cluster: the one that the test before has left, when that is healthy, since each takes ten seconds."""
    return require(NAME, REPORTER)


def everything_is_healthy() -> bool:
    return all(line.complaint is None for line in local.status(NAME))


def test_down_leaves_nothing_behind() -> None:
    local.down(NAME, REPORTER)
    before = traces()
    cluster = require(NAME, REPORTER)
    start_pod(cluster)
    running = namespaces.recorded(layout_of(NAME))
    assert running is not None
    processes = descendants(running.keeper.pid)
    cgroups = cgroups_of_containers()
    assert len(processes) >= 9, "keeper, six components, a shim and a container"
    assert cgroups
    assert traces() != before

    assert local.down(NAME, REPORTER)

    assert [process for process in processes if process.alive] == []
    assert [folder for folder in cgroups if folder.exists()] == []
    assert left_since(before) == Traces()
    assert not local.down(NAME, REPORTER), "a second time there is nothing to take down"


def test_a_second_up_finds_everything_and_is_quick(cluster: Cluster) -> None:
    processes = {line.process for line in local.status(NAME)}
    started = own_seconds()
    require(NAME, REPORTER)
    assert own_seconds() - started < 8, "as long as bringing it up anew"
    assert {line.process for line in local.status(NAME)} == processes


def test_two_ups_at_once_make_one_cluster() -> None:
    local.down(NAME, REPORTER)
    command = [sys.executable, "-m", "tests.cluster", "up", "--name", NAME]
    both = [subprocess.Popen(command) for _ in range(2)]
    try:
        assert [each.wait(120) for each in both] == [0, 0]
        assert everything_is_healthy()
    finally:
        local.down(NAME, REPORTER)


@pytest.mark.parametrize(
    "victims",
    [
        pytest.param(("kube-apiserver",), id="API server"),
        pytest.param(("etcd",), id="etcd"),
        pytest.param(("kubelet",), id="kubelet"),
        pytest.param(("containerd",), id="containerd"),
        pytest.param(
            ("kube-controller-manager", "kube-scheduler", "etcd"),
            id="three at once",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_up_mends_a_crash_and_pods_live_on(cluster: Cluster, victims: tuple[str, ...]) -> None:
    start_pod(cluster)
    container = cluster.kubectl("get", "pod", "sleeper", "-o=jsonpath={..containerID}")
    for name in victims:
        assert component(name).send(signal.SIGKILL, grace=10)
    assert not everything_is_healthy()

    mended = require(NAME, REPORTER)

    assert everything_is_healthy()
    assert mended.kubectl("get", "pod", "sleeper", "-o=jsonpath={..containerID}") == container
    assert mended.kubectl("exec", "sleeper", "--", "echo", "alive") == "alive\n"


@pytest.mark.slow
def test_up_restarts_a_component_that_hangs(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "MEND_SECONDS", 1.0)
    hanging = component("kube-scheduler")
    hanging.send(signal.SIGSTOP, grace=0)
    wait_for(lambda: not everything_is_healthy())

    require(NAME, REPORTER)

    assert everything_is_healthy()
    assert not hanging.alive


@pytest.mark.slow
def test_up_makes_the_cluster_again_when_mending_is_impossible(cluster: Cluster) -> None:
    start_pod(cluster)
    assert component("etcd").send(signal.SIGKILL, grace=10)
    for file in (layout_of(NAME).state / "etcd/member/snap").glob("*"):
        file.write_bytes(b"broken")

    again = require(NAME, REPORTER)

    assert everything_is_healthy()
    assert "sleeper" not in again.kubectl("get", "pods", "--output=name")


def test_when_the_first_process_dies_the_kernel_ends_the_rest_and_up_starts_over(
    cluster: Cluster,
) -> None:
    start_pod(cluster)
    running = namespaces.recorded(layout_of(NAME))
    assert running is not None
    processes = descendants(running.keeper.pid)

    running.keeper.send(signal.SIGKILL, grace=30)

    wait_for(lambda: not any(process.alive for process in processes))
    with pytest.raises(ClusterError, match=r"tests\.cluster up"):
        connect(NAME)
    require(NAME, REPORTER)
    assert everything_is_healthy()


@pytest.mark.parametrize("victim", [pytest.param("etcd", marks=pytest.mark.slow), "containerd"])
def test_down_after_a_crash_leaves_nothing_behind(victim: str) -> None:
    local.down(NAME, REPORTER)
    before = traces()
    cluster = require(NAME, REPORTER)
    start_pod(cluster)
    running = namespaces.recorded(layout_of(NAME))
    assert running is not None
    processes, cgroups = descendants(running.keeper.pid), cgroups_of_containers()
    component(victim).send(signal.SIGKILL, grace=10)

    assert local.down(NAME, REPORTER)

    assert [process for process in processes if process.alive] == []
    assert [folder for folder in cgroups if folder.exists()] == []
    assert left_since(before) == Traces()


def test_another_cluster_at_our_address_is_refused(cluster: Cluster) -> None:
    record = layout_of(NAME).record
    ours = record.read_text()
    record.write_text(ours.replace('"uid": "', '"uid": "other-'))
    try:
        with pytest.raises(ClusterError, match="is not the test cluster"):
            connect(NAME)
    finally:
        record.write_text(ours)


def test_the_kubeconfig_is_private(cluster: Cluster) -> None:
    assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert cluster.kubectl("config", "current-context").strip() == cluster.context
