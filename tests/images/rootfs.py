"""The base layers of the test images: a small Debian with Python, and a Java runtime for Spark.

Made with debootstrap from the mirror the machine's own apt uses, so no mirror is named here.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.images.archive import content_key, write_completely
from tests.machine.cache import cache_folder
from tests.machine.errors import ClusterError
from tests.machine.host_packages import IMAGE_PACKAGES, ensure_packages
from tests.machine.reporting import Reporter

APT = Path("/etc/apt")
SUITE = "bookworm"
PYTHON_PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
RUNTIME_PACKAGES = ("ca-certificates", "python3")
SPARK_PACKAGES = (
    "ca-certificates",
    "openjdk-17-jre-headless",
    "python3",
    "python3-pip",
    "python3-venv",
    "tini",
)
_UNNEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man")
TRANSLATIONS = ("usr/share/locale", "usr/share/info")


def base_layer(
    reporter: Reporter, packages: tuple[str, ...], *, without: tuple[str, ...] = ()
) -> Path:
    """The tar file of a Debian with `packages`, made if the cache lacks it (up to a minute).

    Args:
        reporter: shows progress.
        packages: what debootstrap is told to include.
        without: folders that are emptied, beside those that nobody needs.

    Raises:
        ClusterError: not root, no Debian mirror known to apt, or debootstrap failed.
    """
    layer = (
        cache_folder()
        / "images"
        / f"base-{content_key(SUITE, *packages, *_UNNEEDED, *without)}.tar"
    )
    if not layer.exists():
        ensure_packages(IMAGE_PACKAGES, reporter)
        source = mirror()
        with reporter.step(f"making the base layer ({SUITE}, {', '.join(packages)})"):
            write_completely(
                layer, lambda file: _bootstrap(file, packages, (*_UNNEEDED, *without), source)
            )
    return layer


def _bootstrap(
    layer: Path, packages: tuple[str, ...], emptied: tuple[str, ...], source: str
) -> None:
    with tempfile.TemporaryDirectory(dir=layer.parent, prefix=".base-") as folder:
        root = Path(folder) / "root"
        result = subprocess.run(
            [
                *("debootstrap", "--variant=minbase", f"--include={','.join(packages)}"),
                *(SUITE, str(root), source),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise ClusterError(
                "debootstrap failed; it needs the package mirror of this machine's apt. "
                f"It said:\n{result.stdout[-1500:]}{result.stderr[-500:]}"
            )
        for path in emptied:
            shutil.rmtree(root / path)
            (root / path).mkdir()
        subprocess.run(
            [
                *("tar", "--create", f"--file={layer}", f"--directory={root}"),
                *("--numeric-owner", "--sort=name", "--xattrs", "."),
            ],
            check=True,
        )


def mirror() -> str:
    """The address from which apt installs Debian's packages of our suite."""
    for uri, suites in _apt_sources():
        if SUITE in suites:
            return uri
    raise ClusterError(
        f"No apt source of this machine has Debian's {SUITE!r}; add one to /etc/apt/sources.list.d "
        "(deb URI bookworm main) so that the test images can be made."
    )


def _apt_sources() -> Iterator[tuple[str, list[str]]]:
    """Each `deb` source's address and suites, from one-line and deb822 files."""
    for file in (APT / "sources.list", *sorted(APT.glob("sources.list.d/*.list"))):
        if file.exists():
            for line in file.read_text().splitlines():
                found = re.match(r"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", line)
                if found:
                    yield found.group(1), [found.group(2)]
    for file in sorted(APT.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            fields = dict(re.findall(r"^([\w-]+):\s*(.*)$", stanza, re.MULTILINE))
            if "deb" in fields.get("Types", "").split() and fields.get("Enabled") != "no":
                for uri in fields.get("URIs", "").split():
                    yield uri, fields.get("Suites", "").split()
