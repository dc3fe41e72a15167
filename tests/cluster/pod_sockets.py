"""A socket that listens inside a pod of the local cluster, held by this process.

A thread enters the pod's network namespace for the moment in which it makes the socket; the rest of this process stays
where it is. What connects to the pod's own address is then answered here.
"""

import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster import local, namespaces
from tests.cluster.layout import ClusterLayout
from tests.machine.errors import ClusterError

_CLONE_NEWNET = 0x40000000
_BACKLOG = 64


def listen_in_pod(layout: ClusterLayout, address: str, port: int) -> socket.socket:
    """Listen on a port of the pod that has this address.

    Raises:
        ClusterError: no pod of the cluster has it.
        OSError: something listens there already.
    """
    namespace = _network_namespace(layout, address)

    def make() -> socket.socket:
        with namespace.open() as entered:
            if ctypes.CDLL(None, use_errno=True).setns(entered.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(namespace))
        return socket.create_server((address, port), backlog=_BACKLOG)

    # a thread of its own, which ends with its namespace
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def _network_namespace(layout: ClusterLayout, address: str) -> Path:
    """Where the kernel shows it: the address was handed out to a sandbox, and that has a first process."""
    running = namespaces.recorded(layout)
    reserved = layout.state / "cni" / "pods" / address
    if running is None or not running.alive or not reserved.exists():
        raise ClusterError(f"No pod of the cluster {layout.name!r} has the address {address}.")
    sandbox = reserved.read_text().split()[0]
    process = local.process_of_container(layout, sandbox)
    return Path(f"/proc/{running.keeper.pid}/root/proc/{process}/ns/net")
