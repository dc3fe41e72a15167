"""Giving the cluster's node images, which are made without a registry and kept in the cache.

Each `load_…` makes its image if need be, gives it to the cluster's node if the node does not have
this very build, and returns the image's full name. Doing it again is quick.
"""

import json
import tarfile
from pathlib import Path

from tests.cluster.access import Cluster
from tests.images.operator_image import OPERATOR_IMAGE, operator_archive
from tests.images.pause import PAUSE_IMAGE, pause_archive
from tests.images.spark_image import DEFAULT_SPARK_VERSION, spark_archive, spark_image_name
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter


def load_pause(cluster: Cluster, reporter: Reporter | None = None) -> str:
    """The busybox image: the sandbox of every pod, and a small image for fake executors."""
    return _load(cluster, reporter or Reporter(), PAUSE_IMAGE, pause_archive())


def load_spark(
    cluster: Cluster, reporter: Reporter | None = None, version: str | None = None
) -> str:
    """The Spark image of `version` (4.1.4 unless given)."""
    version = version or DEFAULT_SPARK_VERSION
    reporter = reporter or Reporter()
    return _load(cluster, reporter, spark_image_name(version), spark_archive(reporter, version))


def load_operator(
    cluster: Cluster, reporter: Reporter | None = None, base_image: str | None = None
) -> str:
    """The operator's image, built from the repository's Dockerfile as it stands now."""
    reporter = reporter or Reporter()
    return _load(cluster, reporter, OPERATOR_IMAGE, operator_archive(reporter, base_image))


def load_archive(cluster: Cluster, reporter: Reporter, archive: Path) -> str:
    """The image of a docker-archive of your own."""
    try:
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest is not None
            name = str(json.load(manifest)[0]["RepoTags"][0])
    except (tarfile.TarError, KeyError, IndexError, ValueError) as error:
        raise ClusterError(
            f"{archive} is not a docker-archive with a tagged image ({error}); "
            "`docker save NAME` or `buildah push NAME docker-archive:FILE:NAME` write one."
        ) from error
    return _load(cluster, reporter, name, archive)


def _load(cluster: Cluster, reporter: Reporter, name: str, archive: Path) -> str:
    with reporter.step(f"giving {name} to {cluster.name}", quiet_below=1.0):
        cluster.import_image(name, archive)
    return name
