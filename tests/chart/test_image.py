"""The operator's image: the same from the same input, and not larger than it has to be."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.images.operator_image import Bases, build_operator_image, own_bases, sources
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter

MOST_MEBIBYTES = 80
"""Of what the Dockerfile adds to its base; 75 when this was written, 13 of them uvloop's event loop."""


@pytest.fixture(scope="module")
def bases() -> Bases:
    if os.geteuid() != 0:
        pytest.skip("building an image without a container engine needs root")
    try:
        return own_bases(Reporter())
    except ClusterError as error:
        pytest.skip(str(error))


def manifest(archive: Path) -> dict[str, object]:
    with tarfile.open(archive) as tar:
        content = tar.extractfile("manifest.json")
        assert content is not None
        (found,) = json.load(content)
    return dict(found)


@pytest.mark.slow
def test_two_builds_give_one_digest_and_a_small_layer(bases: Bases, tmp_path: Path) -> None:
    # given two builds, one after the other, of the same sources
    before = sources()
    for name in ("first", "second"):
        build_operator_image(tmp_path / name, Reporter(), bases)
    if sources() != before:
        pytest.skip("somebody changed a source file meanwhile")
    # then configuration and layers are the same, byte for byte
    assert manifest(tmp_path / "first") == manifest(tmp_path / "second")
    # and what lies above the base is small
    layers = manifest(tmp_path / "first")["Layers"]
    assert isinstance(layers, list)
    with tarfile.open(tmp_path / "first") as tar:
        *_, added = (tar.getmember(each).size for each in layers)
    assert added < MOST_MEBIBYTES << 20


WITHOUT_THEM = """
import re, sys

class LeftOut:
    def find_spec(self, name, path=None, target=None):
        if re.fullmatch(r"kubernetes(\\.aio)?\\.client\\.(api|models)\\..+", name):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, LeftOut())
import spark_allocation.controller.process, spark_allocation.cli.app
import kubernetes.aio.client, kubernetes.aio.config
kubernetes.aio.client.ApiClient, kubernetes.aio.client.Configuration, kubernetes.aio.config.load_kube_config
try:
    kubernetes.aio.client.CoreV1Api
except ModuleNotFoundError:
    print("works without")
"""


def test_the_operator_does_without_what_the_image_leaves_out() -> None:
    """The Dockerfile deletes the Kubernetes client's generated classes, which are loaded on demand."""
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_THEM], capture_output=True, text=True, check=False
    )
    assert told.stdout == "works without\n", told.stderr
