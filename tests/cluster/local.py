"""The local cluster: brought up, mended, looked at and taken down.

`up` compares what runs with what should and starts what is missing, so it is the same operation
on a fresh machine, on a healthy cluster and after a crash. When mending fails, the cluster is
taken down and made again. `down` ends the cluster's namespaces (see keeper.py) and removes what
lies outside them: the veth link, the containers' cgroups, the state folder.
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import components as parts
from tests.cluster import namespaces
from tests.cluster.components import Component
from tests.cluster.layout import CLUSTERS, ClusterLayout, layout_of
from tests.cluster.namespaces import Namespaces, Process
from tests.cluster.programs import ensure_programs, program
from tests.cluster.waiting import wait_until_none
from tests.images.pause import PAUSE_IMAGE, pause_archive
from tests.machine.errors import ClusterError
from tests.machine.host_packages import CLUSTER_PACKAGES, ensure_packages, require_root
from tests.machine.locking import alone
from tests.machine.own_time import own_seconds
from tests.machine.reporting import Reporter

_ORIGIN_LABEL = "spark-allocation/archive"
_CONTAINERD_NAMESPACE = "k8s.io"
MEND_SECONDS = 30.0
_COMPACT = """
import json, sys, urllib.error, urllib.request
def ask(what, body):
    url = "http://127.0.0.1:2379/v3/kv/" + what
    request = urllib.request.Request(url, json.dumps(body).encode())
    return json.load(urllib.request.urlopen(request, timeout=10))
revision = ask("range", {"key": "AA=="})["header"]["revision"]
try:
    ask("compaction", {"revision": revision, "physical": True})
except urllib.error.HTTPError as error:
    answer = error.read().decode(errors="replace")
    if "revision has been compacted" not in answer:  # where nothing was written since, nothing is left to forget
        sys.exit(f"{error}: {answer}")
"""
"""Asks etcd's gateway, which only processes in the cluster's network reach."""


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """One line of `status`.

    Attributes:
        name: the component.
        process: its process, None when it does not run.
        complaint: None when healthy, else why not.
    """

    name: str
    process: Process | None
    complaint: str | None


def up(name: str, reporter: Reporter) -> ClusterLayout:
    """Bring the cluster up, or mend it, or find it healthy (then within about a second).

    Raises:
        ClusterError: not root, something is missing, or a component does not become healthy.
    """
    require_root()
    ensure_packages(CLUSTER_PACKAGES, reporter)
    ensure_programs(reporter)
    with _alone(name) as layout:
        running = namespaces.recorded(layout)
        if running is None or not running.alive:
            if layout.state.exists():
                reporter.say(f"Removing what an ended cluster {name!r} left.")
                _remove(layout)
            return _make(name, reporter)
        if json.loads(layout.record.read_text())["programs"] != _programs(layout):
            reporter.say("The cluster was made from other programs; making it again.")
            _remove(layout)
            return _make(name, reporter)
        if all(line.complaint is None for line in _status(layout, running)):
            return layout
        try:
            _start_components(layout, running, reporter)
        except ClusterError as error:
            reporter.say(f"{error}\nMending failed; making the cluster again.")
            _remove(layout)
            return _make(name, reporter)
        return layout


def down(name: str, reporter: Reporter) -> bool:
    """Take the cluster down and leave nothing behind; False when there was none."""
    require_root()
    with _alone(name) as layout:
        if not layout.state.exists():
            return False
        with reporter.step(f"taking down cluster {name}"):
            _remove(layout)
        return True


def restart(name: str, component_name: str) -> None:
    """Kill one component and start it again, as its end in a crash would; returns when it is healthy.

    Raises:
        ClusterError: the cluster is not up, or the component does not become healthy.
    """
    with _alone(name) as layout:
        running = _running(layout)
        component = next(each for each in parts.components(layout) if each.name == component_name)
        process = running.find(component.program)
        if process is not None:
            process.send(signal.SIGKILL, grace=10)
        _start(layout, component, running)


def compact_history(name: str) -> None:
    """Let etcd forget every revision but the newest.

    Raises:
        ClusterError: the cluster is not up, or etcd refuses.
    """
    layout = layout_of(name)
    result = subprocess.run(
        _running(layout).command(sys.executable, "-I", "-c", _COMPACT, network_only=True),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise ClusterError(f"etcd does not compact its history: {result.stderr.strip()[-800:]}")


def _running(layout: ClusterLayout) -> Namespaces:
    running = namespaces.recorded(layout)
    if running is None or not running.alive:
        raise ClusterError(f"The test cluster {layout.name!r} is not up.")
    return running


def status(name: str) -> list[ComponentStatus]:
    """Every component's state, the node's included; all absent when the cluster is down."""
    layout = layout_of(name)
    running = namespaces.recorded(layout)
    if running is None or not running.alive:
        return [ComponentStatus(name, None, "the cluster is not up")]
    return _status(layout, running)


def component_processes(name: str) -> dict[str, Process]:
    """The process of each component that runs now.

    Raises:
        ClusterError: the cluster is not up.
    """
    layout = layout_of(name)
    processes = {path: process for process, path in _running(layout).processes()}
    programs = {each.name: str(each.program.resolve()) for each in parts.components(layout)}
    return {name: processes[path] for name, path in programs.items() if path in processes}


def image_names(layout: ClusterLayout) -> set[str]:
    """The images the node has."""
    return set(_ctr(layout, "images", "list", "--quiet").split())


def import_image(layout: ClusterLayout, name: str, archive: Path) -> bool:
    """Give the node's containerd the image `name` of a docker-archive.

    The image remembers which archive it came from; False when it came from this one already.
    """
    origin = f"{_ORIGIN_LABEL}={archive.name}"
    known = _ctr(layout, "images", "list", f"name=={name}")
    if origin in re.split(r"[\s,]+", known):
        return False
    _ctr(layout, "images", "import", str(archive))
    _ctr(layout, "images", "label", name, origin)
    return True


def process_of_container(layout: ClusterLayout, container: str) -> int:
    """The id of a container's first process, as the cluster's own PID namespace numbers it.

    Raises:
        ClusterError: no such container runs.
    """
    for line in _ctr(layout, "tasks", "list").splitlines():
        found, process, *_ = line.split()
        if found == container:
            return int(process)
    raise ClusterError(f"No container {container} runs in the cluster {layout.name!r}.")


def _make(name: str, reporter: Reporter) -> ClusterLayout:
    layout = _reserve(name)
    _refuse_taken_networks(layout)
    with reporter.step(f"making cluster {layout.name}'s namespaces and network"):
        running = namespaces.create(layout)
        _link_host(layout, running)
    _start_components(layout, running, reporter)
    return layout


def _reserve(name: str) -> ClusterLayout:
    """Choose the cluster's index and write it down before another cluster can choose the same."""
    with alone(CLUSTERS / ".indices.lock"):
        layout = layout_of(name)
        layout.logs.mkdir(parents=True)
        layout.record.write_text(
            json.dumps({"name": name, "index": layout.index, "programs": _programs(layout)})
        )
        return layout


def _programs(layout: ClusterLayout) -> list[str]:
    return [str(component.program) for component in parts.components(layout)]


def _start_components(layout: ClusterLayout, running: Namespaces, reporter: Reporter) -> None:
    parts.write_settings(layout)
    for component in parts.components(layout):
        process = running.find(component.program)
        if process is not None:
            if process.arguments != component.arguments:
                reporter.say(f"{component.name} runs with other settings; restarting it")
            elif _becomes_healthy(component, running, MEND_SECONDS):
                continue
            else:
                reporter.say(
                    f"{component.name} is not healthy: {component.complaint()}; restarting it"
                )
            if not process.send(signal.SIGTERM, grace=10):
                process.send(signal.SIGKILL, grace=10)
        with reporter.step(f"starting {component.name}"):
            _start(layout, component, running)
        if component.name == "kube-apiserver":
            parts.write_kubeconfig(layout, layout.kubeconfig, "admin")
    with reporter.step("waiting for the node to be Ready"):
        wait_until_none(
            lambda: parts.node_complaint(layout) or parts.pods_complaint(layout),
            what="the node is Ready",
            seconds=90,
            log=layout.logs / "kubelet.log",
        )
    # After the node is Ready: containerd's kubelet side misses what is imported while it starts.
    import_image(layout, PAUSE_IMAGE, pause_archive())
    record = json.loads(layout.record.read_text())
    record["uid"] = parts.ask(layout, "/api/v1/namespaces/kube-system")["metadata"]["uid"]
    layout.record.write_text(json.dumps(record))


def _start(layout: ClusterLayout, component: Component, running: Namespaces) -> None:
    log = layout.logs / f"{component.name}.log"
    running.start([str(component.program), *component.arguments], log)
    wait_until_none(
        component.complaint,
        what=component.name,
        seconds=component.slow,
        log=log,
        still_possible=lambda: running.runs(component.program),
    )


def _becomes_healthy(component: Component, running: Namespaces, seconds: float) -> bool:
    end = own_seconds() + seconds
    while component.complaint() is not None:
        if own_seconds() > end or running.find(component.program) is None:
            return False
        time.sleep(0.2)
    return True


def _status(layout: ClusterLayout, running: Namespaces) -> list[ComponentStatus]:
    processes = {path: process for process, path in running.processes()}
    wanted = parts.components(layout)
    with ThreadPoolExecutor(len(wanted) + 1) as pool:
        node = pool.submit(parts.node_complaint, layout)
        complaints = list(pool.map(lambda component: component.complaint(), wanted))
    lines = [ComponentStatus("namespaces", running.keeper, None)]
    for component, complaint in zip(wanted, complaints, strict=True):
        process = processes.get(str(component.program.resolve()))
        reason = complaint
        if process is None:
            reason = "not running"
        elif process.arguments != component.arguments:
            reason = "runs with other settings than it should"
        lines.append(ComponentStatus(component.name, process, reason))
    lines.append(ComponentStatus("node", None, node.result()))
    return lines


def _ctr(layout: ClusterLayout, *arguments: str) -> str:
    result = subprocess.run(
        [
            *("ctr", "--address", str(layout.containerd_socket)),
            *("--namespace", _CONTAINERD_NAMESPACE, *arguments),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise ClusterError(
            f"`ctr {' '.join(arguments)}` failed: {result.stderr.strip()[-800:]} "
            f"(containerd's log: {layout.logs / 'containerd.log'})"
        )
    return result.stdout


def _refuse_taken_networks(layout: ClusterLayout) -> None:
    routes = json.loads(_ip("-json", "route", "show"))
    ours = {layout.node_network, layout.pod_network}
    taken = [route for route in routes if route.get("dst") in ours]
    if taken:
        raise ClusterError(
            f"This machine already routes {taken[0]['dst']} through {taken[0].get('dev')}; "
            "use another --name, which takes other networks."
        )


def _link_host(layout: ClusterLayout, running: Namespaces) -> None:
    """A veth pair from the host's namespace to the node's bridge, and a route to the pods."""
    link = layout.host_link
    _ip(
        *("link", "add", link, "type", "veth"),
        *("peer", "name", "host", "netns", str(running.keeper.pid)),
    )
    for command in (
        ("ip", "link", "set", "host", "master", "node"),
        ("ip", "link", "set", "host", "up"),
    ):
        subprocess.run(running.command(*command, network_only=True), check=True)
    _ip("address", "add", f"{layout.host_address}/24", "dev", link)
    _ip("link", "set", link, "up")
    _ip("route", "add", layout.pod_network, "via", layout.node_address, "dev", link)


def _ip(*arguments: str) -> str:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ClusterError(f"`ip {' '.join(arguments)}` failed: {result.stderr.strip()}")
    return result.stdout


def _remove(layout: ClusterLayout) -> None:
    running = namespaces.recorded(layout)
    if running is not None and running.alive:
        running.end()
    _remove_link(Path("/sys/class/net") / layout.host_link)
    _remove_cgroups(layout)
    _remove_folder(layout.state)


def _remove_link(link: Path) -> None:
    """The kernel removes it too, a moment after the namespace at its other end has gone."""
    if link.exists():
        try:
            _ip("link", "delete", link.name)
        except ClusterError:
            if link.exists():
                raise


def _remove_cgroups(layout: ClusterLayout) -> None:
    """Remove the cgroups of the cluster's containers, known by their folders in containerd."""
    tasks = layout.state / "containerd/state/io.containerd.runtime.v2.task" / _CONTAINERD_NAMESPACE
    containers = [task.name for task in tasks.iterdir()] if tasks.exists() else []
    for hierarchy in _cgroup_hierarchies():
        parent = hierarchy / _CONTAINERD_NAMESPACE
        for container in containers:
            for folder in sorted((parent / container).glob("**/"), reverse=True):
                _remove_cgroup(folder)
        with suppress(OSError):  # another cluster's containers are in it, or it is not there
            parent.rmdir()


def _remove_cgroup(folder: Path) -> None:
    """The kernel reports a cgroup busy for a moment after its last process has ended."""
    end = own_seconds() + 5
    while folder.exists():
        try:
            folder.rmdir()
        except OSError as error:
            if own_seconds() > end:
                raise ClusterError(
                    f"The cgroup {folder} cannot be removed: {error.strerror}. "
                    "Look at its cgroup.procs, then try `down` again."
                ) from error
            time.sleep(0.05)


def _cgroup_hierarchies() -> list[Path]:
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return [Path(line.split()[1]) for line in mounts if line.split()[2] in {"cgroup", "cgroup2"}]


def _remove_folder(folder: Path) -> None:
    mounted = [
        line.split()[1]
        for line in Path("/proc/self/mounts").read_text().splitlines()
        if line.split()[1].startswith(f"{folder}/")
    ]
    if mounted:
        raise ClusterError(
            f"Something is mounted below {folder}, so it is not removed: {', '.join(mounted)}. "
            "Unmount it, then try again."
        )
    # rm does not cross into what it cannot see and is many times faster than shutil on images.
    subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)


@contextmanager
def _alone(name: str) -> Iterator[ClusterLayout]:
    """Hold the cluster's lock, so that two commands about one cluster follow one another."""
    with alone(layout_of(name).lock):
        yield layout_of(name)


def kubectl() -> Path:
    """The kubectl that belongs to the cluster's version."""
    return program("kubectl")
