"""kwok: nodes that are not there, and kubelets that play the pods on them, for tests with more pods than a machine runs.

    with Kwok(cluster, folder, nodes=20) as kwok:
        …                                   # pods with the node selector NODE_SELECTOR run, and go when they are deleted

It is a process of this machine and ends with whoever started it, however that ends. The cluster's own node stays with
its kubelet: kwok looks after its own nodes alone, known by an annotation. What it does with a pod is in kwok_stages.yaml.
"""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from tests.cluster.access import Cluster
from tests.cluster.programs import TOOLS, ProgramModule, ensure_program
from tests.cluster.waiting import wait_until_none
from tests.machine.reporting import Reporter

MODULE = ProgramModule(
    folder=TOOLS / "kwok",
    module="sigs.k8s.io/kwok",
    packages={"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
    name="kwok",
    version_variable="",
)
STAGES = Path(__file__).with_name("kwok_stages.yaml")
NODE_SELECTOR = {"type": "kwok"}
POD_ADDRESS = "sparkallocation.dev/test-pod-ip"
"""An annotation: the address that a pod gets, such as one at which a test answers."""
READY_SECONDS = 120.0
_MANAGED = {"kwok.x-k8s.io/node": "fake"}


class Kwok:
    """Runs while it is entered."""

    def __init__(
        self, cluster: Cluster, folder: Path, *, nodes: int, reporter: Reporter | None = None
    ) -> None:
        """
        Args:
            folder: for its log.
            nodes: how many there are to be; each takes any number of pods.

        Raises:
            ClusterError: kwok cannot be built.
        """
        self._cluster = cluster
        self._program = ensure_program(MODULE, "kwok", reporter or Reporter())
        self._log = folder / "kwok.log"
        self._nodes = [f"kwok-{number}" for number in range(nodes)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        documents = [_node(name) for name in self._nodes]
        self._cluster.kubectl("create", "-f", "-", stdin=yaml.safe_dump_all(documents))
        ((managed, value),) = _MANAGED.items()
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "--"),
                    str(self._program),
                    f"--kubeconfig={self._cluster.kubeconfig}",
                    f"--config={STAGES}",
                    f"--manage-nodes-with-annotation-selector={managed}={value}",
                    "--cidr=10.42.0.0/16",
                    "--v=WARN",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_none(
                self._complaint,
                what="kwok's nodes",
                seconds=READY_SECONDS,
                log=self._log,
                every=0.5,
                still_possible=lambda: self._running.poll() is None,
            )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was entered"
        return self._process

    def _complaint(self) -> str | None:
        """None when pods can be scheduled on every node."""
        columns = "custom-columns=NAME:.metadata.name,TAINTS:.spec.taints[*].key"
        selector = ",".join(f"{key}={value}" for key, value in NODE_SELECTOR.items())
        listed = self._cluster.kubectl(
            *("get", "nodes", "--no-headers", f"--selector={selector}", f"--output={columns}")
        )
        tainted = [line for line in listed.splitlines() if not line.endswith("<none>")]
        return f"{len(tainted)} are not ready, such as {tainted[0]}" if tainted else None

    def _end(self) -> None:
        self._running.kill()
        self._running.wait(10)


def _node(name: str) -> dict[str, Any]:
    room = {"pods": "10000", "cpu": "100000", "memory": "400Ti", "ephemeral-storage": "400Ti"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {**NODE_SELECTOR, "kubernetes.io/hostname": name},
            "annotations": _MANAGED,
        },
        "status": {"capacity": room, "allocatable": room},
    }
