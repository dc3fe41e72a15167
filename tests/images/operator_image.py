"""The operator's image, built from the repository's Dockerfile with buildah.

The Dockerfile takes its base as an argument; here that is the base layer of the test images, so
no registry is needed. The build runs in a chroot with the host's network, because its RUN steps
call pip: this machine's pip settings and certificates are mounted for the build only, so they end
up neither in the image nor in the repository.
"""

import configparser
import os
import subprocess
import tempfile
from pathlib import Path

from tests.images.archive import (
    ImageConfiguration,
    content_key,
    remove_older,
    write_completely,
    write_image,
)
from tests.images.rootfs import PYTHON_PACKAGES, RUNTIME_PACKAGES, TRANSLATIONS, base_layer
from tests.machine.cache import cache_folder
from tests.machine.errors import ClusterError
from tests.machine.host_packages import IMAGE_PACKAGES, ensure_packages
from tests.machine.reporting import Reporter

OPERATOR_IMAGE = "localhost/spark-allocation/operator:dev"
BASE_IMAGE = "localhost/spark-allocation/base:1"
RUNTIME_IMAGE = "localhost/spark-allocation/runtime:1"

Bases = dict[str, Path]
"""Name of a base image → the tar file of its layer."""

_REPOSITORY = Path(__file__).parents[2]
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def operator_archive(reporter: Reporter, base_image: str | None = None) -> Path:
    """The docker-archive of the operator's image, built anew when a source file has changed.

    Args:
        reporter: shows progress.
        base_image: a base that buildah can pull instead of the one made here.

    Raises:
        ClusterError: there is no Dockerfile, or the build failed.
    """
    if not (_REPOSITORY / "Dockerfile").exists():
        raise ClusterError(f"{_REPOSITORY} has no Dockerfile to build the operator's image from.")
    ensure_packages(IMAGE_PACKAGES, reporter)
    bases = own_bases(reporter) if base_image is None else {}
    key = content_key(str(base_image), *(file.name for file in bases.values()), *sources())
    archive = cache_folder() / "images" / f"operator-{key}.tar"
    if archive.exists():
        return archive
    build_operator_image(archive, reporter, bases, base_image)
    remove_older(archive, "operator-*.tar")
    return archive


def own_bases(reporter: Reporter) -> Bases:
    """Small Debians: with pip to build on, without it to run on.

    Raises:
        ClusterError: they cannot be made here.
    """
    return {
        BASE_IMAGE: base_layer(reporter, PYTHON_PACKAGES),
        RUNTIME_IMAGE: base_layer(reporter, RUNTIME_PACKAGES, without=TRANSLATIONS),
    }


def build_operator_image(
    archive: Path, reporter: Reporter, bases: Bases, base_image: str | None = None
) -> None:
    """Build the image into `archive`, whether or not there is one already.

    Every time in it is 1970, so that the same input gives the same image.

    Args:
        archive: the file to write.
        reporter: shows progress.
        bases: as of `own_bases`; empty where `base_image` names one.
        base_image: a base that buildah can pull.

    Raises:
        ClusterError: the build failed.
    """
    with tempfile.TemporaryDirectory(dir=cache_folder() / "images", prefix=".operator-") as folder:
        buildah = _Buildah(Path(folder))
        for name, layer in bases.items():
            with reporter.step(f"giving {name} to buildah"):
                base_archive = Path(folder) / "base.tar"
                write_image(
                    base_archive,
                    name=name,
                    layers=[layer],
                    configuration=ImageConfiguration(
                        environment={"PATH": "/usr/local/bin:/usr/bin:/bin"}
                    ),
                )
                buildah.run("pull", f"docker-archive:{base_archive}")
                base_archive.unlink()
        with reporter.step("building the operator's image"):
            buildah.run(
                *("bud", "--isolation", "chroot", "--network", "host", "--timestamp", "0"),
                *("--build-arg", f"BASE_IMAGE={base_image or BASE_IMAGE}"),
                *("--build-arg", f"RUNTIME_IMAGE={base_image or RUNTIME_IMAGE}"),
                *_network_settings(Path(folder)),
                *("--tag", OPERATOR_IMAGE),
                *("--file", str(_REPOSITORY / "Dockerfile"), str(_REPOSITORY)),
            )
        with reporter.step("writing the operator's image"):
            write_completely(
                archive,
                lambda file: buildah.run(
                    "push", OPERATOR_IMAGE, f"docker-archive:{file}:{OPERATOR_IMAGE}"
                ),
            )


class _Buildah:
    """buildah with a storage of its own, which goes with the folder: a build leaves nothing.

    A storage kept for its layers was tried: with the vfs driver, which needs no mounts, copying
    the layers costs more time than running the steps again.
    """

    def __init__(self, storage: Path) -> None:
        self._global = (
            *("buildah", "--storage-driver", "vfs", "--root", str(storage / "root")),
            *("--runroot", str(storage / "run")),
        )

    def run(self, *arguments: str) -> None:
        command = [*self._global, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            said = (result.stdout + result.stderr)[-2500:]
            raise ClusterError(f"`buildah {arguments[0]}` failed; it said:\n{said}")


def sources() -> list[bytes]:
    """Names and contents of everything the Dockerfile may copy: what git would give a clone."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=_REPOSITORY,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    wanted = (b"operator/", b"requirements/")
    files = {b"Dockerfile", b".dockerignore", b"pyproject.toml"}
    files |= {b"README.md", b"LICENSE", b"CHANGELOG.md"}
    parts: list[bytes] = []
    for name in sorted(set(listed)):
        if name and (name.startswith(wanted) or name in files):
            file = _REPOSITORY / os.fsdecode(name)
            if file.is_file():
                parts += [name, file.read_bytes()]
    return parts


def _network_settings(folder: Path) -> list[str]:
    """buildah's options that let pip reach what it reaches on this machine."""
    settings: list[str] = []
    for name in _PROXIES:
        if name in os.environ:
            settings += ["--build-arg", f"{name}={os.environ[name]}"]
    configuration = configparser.RawConfigParser()
    configuration.read(["/etc/pip.conf", Path.home() / ".config/pip/pip.conf"])
    kept = {
        option: configuration["global"][option]
        for option in _PIP_OPTIONS
        if configuration.has_option("global", option)
    }
    for option in _PIP_OPTIONS:
        variable = f"PIP_{option.replace('-', '_').upper()}"
        if variable in os.environ:
            kept[option] = os.environ[variable]
    if _CERTIFICATES.exists():
        kept["cert"] = str(_CERTIFICATES)
        settings += ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
    file = folder / "pip.conf"
    file.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in kept.items()))
    return [*settings, "--volume", f"{file}:/etc/pip.conf:ro"]
