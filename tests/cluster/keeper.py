"""First process of a cluster's own PID, mount and network namespaces.

Started by tests/cluster/namespaces.py; needs nothing but the standard library and never imports the
rest of the package, because it outlives the command that started it. It tells its process id on
standard output, waits for RECORDED on standard input once it is set up, and ends when that does not
come: no cluster runs that no file tells of.

Theory of operation. Everything a cluster runs (etcd … kubelet, containerd, shims, containers) is a
descendant of this process's PID namespace, every mount it makes is in this mount namespace, every
interface in this network namespace. When this process dies, whoever killed it, the kernel kills
the rest and drops the mounts and interfaces. So nothing of a cluster can be left running, and no
other process can be taken for one of a cluster's.

/run, /var/lib and /var/log are covered by empty file systems: programs that insist on paths there
(the shims' sockets, kubelet's device plugins, container log links) leave nothing on the machine
and do not meet another cluster's files.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

COVERED = ("/var/lib", "/var/log")
RECORDED = b"recorded"
"""What the starter writes to our standard input once our process id is on disk."""

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def enter_new_namespaces() -> None:
    """Go on as process 1 of new namespaces; the original process tells our id and ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID) != 0:
        raise OSError(ctypes.get_errno(), "cannot make namespaces")
    first = os.fork()
    if first != 0:
        print(first, flush=True)
        os._exit(0)
    os.setsid()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "proc", "-o", "nosuid,nodev,noexec", "proc", "/proc")


def cover_folders(kept: list[str]) -> None:
    """Hide the machine's /run, /var/lib and /var/log; the folders `kept` stay visible."""
    kept = [path for path in kept if path.startswith(("/run/", *(f"{top}/" for top in COVERED)))]
    aside = Path("/tmp")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(aside))
    for number, path in enumerate(kept):
        (aside / str(number)).mkdir()
        run("mount", "--bind", path, str(aside / str(number)))
    for top in ("/run", *COVERED):
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", top)
    for number, path in enumerate(kept):
        Path(path).mkdir(parents=True)
        run("mount", "--move", str(aside / str(number)), path)
    run("umount", str(aside))


def raise_network(node: str, service_address: str) -> None:
    """Loopback, and a bridge that carries the node's address and the kubernetes Service's.

    With the Service's address on the bridge, pods reach the API server without kube-proxy.
    """
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "node", "type", "bridge")
    run("ip", "address", "add", node, "dev", "node")
    run("ip", "address", "add", f"{service_address}/32", "dev", "node")
    run("ip", "link", "set", "node", "up")
    run("ip", "route", "add", "default", "dev", "node")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def reap_for_ever() -> None:
    """Wait for children and adopted orphans; only SIGKILL from outside ends this process."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            pass
        signal.sigwait({signal.SIGCHLD})


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    enter_new_namespaces()
    cover_folders(settings["kept_folders"])
    raise_network(settings["node"], settings["service_address"])
    ready = Path(settings["ready_file"])
    ready.touch()
    if sys.stdin.buffer.read() != RECORDED:
        sys.exit("The command that started this cluster ended too early.")
    reap_for_ever()


if __name__ == "__main__":
    main()
