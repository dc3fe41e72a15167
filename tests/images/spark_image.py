"""The Spark test image: a JRE, Python and Spark as pip installs it, for any Spark version.

/opt/spark is the installed pyspark package itself, which is a complete SPARK_HOME (bin, jars,
python); `import pyspark` finds the same folder. pip downloads it by its name, with whatever index
the machine's pip is configured for. User 185 as in Spark's own images.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.images.archive import (
    ImageConfiguration,
    add_file,
    add_folder,
    add_link,
    architecture,
    content_key,
    remove_older,
    write_completely,
    write_image,
)
from tests.images.rootfs import SPARK_PACKAGES, base_layer
from tests.machine.cache import cache_folder
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter

DEFAULT_SPARK_VERSION = "4.1.4"
SPARK_UID = 185

_SCRIPTS = Path(__file__).parent / "spark"
_SPARK_USER = f"spark:x:{SPARK_UID}:0:Spark:/opt/spark:/bin/bash\n".encode()
_PACKAGES = "usr/lib/python3/dist-packages"


def spark_image_name(version: str = DEFAULT_SPARK_VERSION) -> str:
    """The full name under which the node knows the image."""
    return f"localhost/spark-allocation/spark:{version}"


def spark_archive(reporter: Reporter, version: str = DEFAULT_SPARK_VERSION) -> Path:
    """The docker-archive of the image, made if the cache does not hold it (one or two minutes).

    Raises:
        ClusterError: the base layer cannot be made, or pip cannot install that Spark.
    """
    base = base_layer(reporter, SPARK_PACKAGES)
    scripts = [(_SCRIPTS / name).read_bytes() for name in ("entrypoint.sh", "decom.sh")]
    key = content_key(base.name, version, *scripts, Path(__file__).read_bytes())
    archive = cache_folder() / "images" / f"spark-{version}-{key}.tar"
    if archive.exists():
        return archive
    layer = _spark_layer(reporter, version)
    with (
        reporter.step(f"writing the image {spark_image_name(version)}"),
        tempfile.NamedTemporaryFile(suffix=".tar") as top,
    ):
        with tarfile.open(fileobj=top, mode="w") as tar:
            entrypoint, decommission = scripts
            add_file(tar, "opt/entrypoint.sh", entrypoint, mode=0o755)
            add_file(tar, "opt/decom.sh", decommission, mode=0o755)
            # Java and Ivy want a home folder; writable for the group, so that the entrypoint can
            # add a line for another user id.
            add_file(tar, "etc/passwd", _users(base) + _SPARK_USER, mode=0o664)
        top.flush()
        write_image(
            archive,
            name=spark_image_name(version),
            layers=[base, layer, Path(top.name)],
            configuration=ImageConfiguration(
                entrypoint=("/opt/entrypoint.sh",),
                environment={
                    "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/spark/bin",
                    "SPARK_HOME": "/opt/spark",
                    "JAVA_HOME": f"/usr/lib/jvm/java-17-openjdk-{architecture()}",
                    "PYSPARK_PYTHON": "/usr/bin/python3",
                    "PYSPARK_DRIVER_PYTHON": "/usr/bin/python3",
                    "LANG": "C.UTF-8",
                },
                user=str(SPARK_UID),
                working_directory="/opt/spark/work-dir",
            ),
        )
    remove_older(archive, f"spark-{version}-*.tar")
    return archive


def _users(base: Path) -> bytes:
    with tarfile.open(base) as tar:
        passwd = tar.extractfile("./etc/passwd")
        assert passwd is not None
        return passwd.read()


def _spark_layer(reporter: Reporter, version: str) -> Path:
    layer = cache_folder() / "images" / f"spark-layer-{version}-{content_key(_PACKAGES, '1')}.tar"
    if not layer.exists():
        with reporter.step(f"installing pyspark {version} with pip"):
            write_completely(layer, lambda file: _install_spark(file, version))
    return layer


def _install_spark(layer: Path, version: str) -> None:
    with tempfile.TemporaryDirectory(dir=layer.parent, prefix=".spark-") as folder:
        installed = Path(folder)
        result = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"),
                *("--disable-pip-version-check", f"--target={installed}", f"pyspark=={version}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise ClusterError(
                f"pip cannot install pyspark {version}; see which versions there are with "
                f"`pip index versions pyspark`. It said:\n{result.stderr[-1500:]}"
            )
        shutil.rmtree(installed / "bin", ignore_errors=True)
        with tarfile.open(layer, "w") as tar:
            for name in ("opt", "usr", "usr/lib", "usr/lib/python3", _PACKAGES):
                add_folder(tar, name)
            _add_tree(tar, installed / "pyspark", "opt/spark", uid=SPARK_UID)
            for name in ("opt/spark/conf", "opt/spark/work-dir"):
                add_folder(tar, name, mode=0o775, uid=SPARK_UID)
            add_link(tar, f"{_PACKAGES}/pyspark", "/opt/spark")
            for package in sorted(installed.iterdir()):
                if package.name != "pyspark":
                    _add_tree(tar, package, f"{_PACKAGES}/{package.name}", uid=0)


def _add_tree(tar: tarfile.TarFile, source: Path, name: str, *, uid: int) -> None:
    def owned(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid, entry.gid, entry.uname, entry.gname = uid, 0, "", ""
        return entry

    tar.add(source, arcname=name, filter=owned)
