"""Debian packages of the machine that the local cluster and its images need."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter

CLUSTER_PACKAGES = {
    "containerd": Path("/usr/bin/containerd"),
    "runc": Path("/usr/sbin/runc"),
    "containernetworking-plugins": Path("/usr/lib/cni/bridge"),
    "busybox-static": Path("/bin/busybox"),
    "iproute2": Path("/sbin/ip"),
    "util-linux": Path("/usr/bin/unshare"),
    "mount": Path("/bin/mount"),
}
"""Package -> a file of it that the cluster uses."""

IMAGE_PACKAGES = {
    "debootstrap": Path("/usr/sbin/debootstrap"),
    "buildah": Path("/usr/bin/buildah"),
}

PROMETHEUS_PACKAGES = {"prometheus": Path("/usr/bin/prometheus")}


def require_root() -> None:
    """Raise unless this process may make namespaces and mounts."""
    if os.geteuid() != 0:
        raise ClusterError(
            "The local cluster needs root (it makes namespaces, mounts and cgroups); "
            "run the command with sudo, or use --provider existing --context NAME."
        )


def ensure_packages(packages: dict[str, Path], reporter: Reporter) -> None:
    """Install what is missing of `packages` (name -> a file that shows its presence).

    Raises:
        ClusterError: not root, not Debian or Ubuntu, or apt-get failed; says what to install.
    """
    missing = [name for name, file in packages.items() if not file.exists()]
    if not missing:
        return
    wanted = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise ClusterError(f"Install these first (Debian's package names): {wanted}.")
    if os.geteuid() != 0:
        raise ClusterError(f"Install these first: sudo apt-get install {wanted}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for step, command in (
        ("updating the package lists", ["apt-get", "update", "-q"]),
        (
            f"installing {wanted}",
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing],
        ),
    ):
        with reporter.step(step):
            result = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
        if result.returncode != 0:
            raise ClusterError(
                f"`{' '.join(command)}` failed; install by hand: {wanted}. It said:\n"
                + (result.stderr or result.stdout)[-1500:]
            )
    absent = [name for name, file in packages.items() if not file.exists()]
    if absent:
        raise ClusterError(
            f"{', '.join(absent)}: installed, but the expected files are not there: "
            + ", ".join(str(packages[name]) for name in absent)
        )
