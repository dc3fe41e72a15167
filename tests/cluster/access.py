"""How tests and the demo get hold of a cluster."""

import json
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import components, local, pod_sockets
from tests.cluster.layout import DEFAULT_NAME, ClusterLayout, layout_of
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster to work with.

    Attributes:
        name: the local cluster's name, or the context's for an existing one.
        kubeconfig: a file that knows `context`.
        context: the kube context; every use names it.
        kubectl_program: the kubectl to run.
        layout: addresses and folders of a local cluster; None for an existing one.
    """

    name: str
    kubeconfig: Path
    context: str
    kubectl_program: Path
    layout: ClusterLayout | None = None

    def kubectl_command(self, *arguments: str) -> list[str]:
        """The command line of kubectl for this cluster and no other."""
        return [
            str(self.kubectl_program),
            f"--kubeconfig={self.kubeconfig}",
            f"--context={self.context}",
            *arguments,
        ]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output.

        Raises:
            ClusterError: kubectl failed; carries what it said.
        """
        result = subprocess.run(
            self.kubectl_command(*arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env={key: value for key, value in os.environ.items() if key != "KUBECONFIG"},
            check=False,
        )
        if result.returncode != 0:
            raise ClusterError(
                f"`kubectl {' '.join(arguments)}` failed on {self.name}: {result.stderr.strip()}"
            )
        return result.stdout

    def has_image(self, image: str) -> bool:
        """Whether the local node has an image of this full name."""
        return image in local.image_names(self._local())

    def import_image(self, name: str, archive: Path) -> bool:
        """Give the local node an image of a docker-archive; False when it has it already."""
        return local.import_image(self._local(), name, archive)

    def restart(self, component: str) -> None:
        """Kill a component of the local cluster, such as kube-apiserver, and wait until it is well again."""
        local.restart(self._local().name, component)

    def compact_history(self) -> None:
        """Let the local cluster's etcd forget every revision but the newest."""
        local.compact_history(self._local().name)

    def listen_in_pod(self, address: str, port: int) -> socket.socket:
        """A socket of this process that listens on a port of the local cluster's pod with this address."""
        return pod_sockets.listen_in_pod(self._local(), address, port)

    def _local(self) -> ClusterLayout:
        if self.layout is None:
            raise ClusterError(
                f"{self.name} is an existing cluster; push images where its nodes can pull them."
            )
        return self.layout


def connect(name: str = DEFAULT_NAME) -> Cluster:
    """The running local cluster of this name.

    Raises:
        ClusterError: it is not up, it is not ours, or it is not healthy; names the remedy.
    """
    layout = layout_of(name)
    remedy = f"run `python -m tests.cluster up{'' if name == DEFAULT_NAME else f' --name {name}'}`"
    try:
        record = json.loads(layout.record.read_text())
    except FileNotFoundError:
        raise ClusterError(f"The test cluster {name!r} is not up; {remedy}.") from None
    except PermissionError:
        raise ClusterError(f"The test cluster {name!r} belongs to root; use sudo.") from None
    try:
        found = components.ask(layout, "/api/v1/namespaces/kube-system")["metadata"]["uid"]
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"The test cluster {name!r} does not answer at {layout.server} ({error}); {remedy}."
        ) from error
    if found != record.get("uid"):
        raise ClusterError(
            f"What answers at {layout.server} is not the test cluster {name!r}; nothing is done "
            f"to it. Take down what uses that address, then {remedy}."
        )
    return Cluster(
        name=name,
        kubeconfig=layout.kubeconfig,
        context=layout.name,
        kubectl_program=local.kubectl(),
        layout=layout,
    )


def require(name: str = DEFAULT_NAME, reporter: Reporter | None = None) -> Cluster:
    """The local cluster of this name, brought up or mended first where needed (as root).

    Raises:
        ClusterError: it cannot be brought up.
    """
    local.up(name, reporter or Reporter())
    return connect(name)


def connect_existing(context: str, kubeconfig: Path | None = None) -> Cluster:
    """A cluster that somebody else made and the user named by its kube context.

    Args:
        context: the context's name; there is no default on purpose.
        kubeconfig: the file that has it; else the file kubectl would use.

    Raises:
        ClusterError: there is no such context, no kubectl, or the cluster does not answer.
    """
    if not context:
        raise ClusterError("Name the kube context of the existing cluster with --context NAME.")
    found = shutil.which("kubectl")
    if found is None:
        raise ClusterError("An existing cluster is reached with kubectl: put it on the PATH.")
    default = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or Path.home() / ".kube/config"
    cluster = Cluster(
        name=context,
        kubeconfig=kubeconfig or Path(default),
        context=context,
        kubectl_program=Path(found),
    )
    if not cluster.kubeconfig.exists():
        raise ClusterError(f"{cluster.kubeconfig} does not exist; name the file with --kubeconfig.")
    cluster.kubectl("get", "--raw", "/version", "--request-timeout=10s")
    return cluster
