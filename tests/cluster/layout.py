"""Names, addresses and folders of a local cluster, all derived from its name and index.

Two clusters on one machine differ in everything another process could see: the node network, the
pod network, the veth link in the host's namespace and the state folder. The index picks the
networks; it is remembered in the state folder, so that a name keeps its addresses.

    index   node network    node          host end      pods
    0       10.200.0.0/24   10.200.0.1    10.200.0.2    10.88.0.0/16
    n       10.200.n.0/24   10.200.n.1    10.200.n.2    10.(128+n).0.0/16

The service network 10.96.0.0/16 exists only inside the cluster's own network namespace.
"""

import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from tests.machine.errors import ClusterError

DEFAULT_NAME = "spark-allocation"
CLUSTERS = Path("/var/lib/spark-allocation-operator/clusters")

SERVICE_NETWORK = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"

_HIGHEST_INDEX = 63


@dataclass(frozen=True, slots=True)
class ClusterLayout:
    """Where one local cluster lives.

    Attributes:
        name: the cluster's name, also its node's name and its kube context.
        index: 0 for the default cluster, 1 … 63 for others; picks the networks.
    """

    name: str
    index: int

    @property
    def node_network(self) -> str:
        return f"10.200.{self.index}.0/24"

    @property
    def node_address(self) -> str:
        return f"10.200.{self.index}.1"

    @property
    def host_address(self) -> str:
        """The host's end of the link; pods reach processes on the host at this address."""
        return f"10.200.{self.index}.2"

    @property
    def pod_network(self) -> str:
        return "10.88.0.0/16" if self.index == 0 else f"10.{128 + self.index}.0.0/16"

    @property
    def host_link(self) -> str:
        """The veth end in the host's network namespace (an interface name holds 15 characters)."""
        return f"sparkalloc{self.index}"

    @property
    def server(self) -> str:
        return f"https://{self.node_address}:443"

    @property
    def state(self) -> Path:
        return CLUSTERS / self.name

    @property
    def lock(self) -> Path:
        return CLUSTERS / f"{self.name}.lock"

    @property
    def record(self) -> Path:
        return self.state / "cluster.json"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def audit_log(self) -> Path:
        """What the operator has asked of the API server, one JSON event a line."""
        return self.logs / "audit.jsonl"

    @property
    def settings(self) -> Path:
        return self.state / "etc"

    @property
    def certificates(self) -> Path:
        return self.state / "certificates"

    @property
    def server_certificate(self) -> Path:
        """Made by the API server at its first start; holds its authority as well."""
        return self.certificates / "apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        return self.state / "containerd.sock"


def layout_of(name: str) -> ClusterLayout:
    """The layout of the cluster called `name`, whether it exists yet or not.

    Raises:
        ClusterError: the name is not a DNS label, or all indices are taken.
    """
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", name):
        raise ClusterError(
            f"{name!r} cannot name a cluster: use up to 40 lower-case letters, digits and dashes."
        )
    if name == DEFAULT_NAME:
        return ClusterLayout(name, 0)
    remembered = ClusterLayout(name, 0).record
    if remembered.exists():
        return ClusterLayout(name, int(json.loads(remembered.read_text())["index"]))
    taken = {
        int(json.loads(record.read_text())["index"]) for record in CLUSTERS.glob("*/cluster.json")
    }
    preferred = zlib.crc32(name.encode()) % _HIGHEST_INDEX
    for offset in range(_HIGHEST_INDEX):
        index = 1 + (preferred + offset) % _HIGHEST_INDEX
        if index not in taken:
            return ClusterLayout(name, index)
    raise ClusterError(
        f"All {_HIGHEST_INDEX} networks for further clusters are taken; "
        "take one down with `python -m tests.cluster down --name NAME`."
    )
