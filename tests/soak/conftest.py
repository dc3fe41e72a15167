"""The cluster of these tests, without an operator in it."""

import os

import pytest
from tests import cluster as clusters
from tests.cluster import Cluster
from tests.demo.installation import install_without_operator
from tests.machine.reporting import Reporter


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    if os.geteuid() != 0:
        pytest.skip("the local cluster needs root")
    found = clusters.require(os.environ.get("CLUSTER", clusters.DEFAULT_NAME), Reporter())
    install_without_operator(found)
    return found


@pytest.fixture(scope="session")
def spark_image(cluster: Cluster) -> str:
    return clusters.load_spark(cluster, Reporter(), version=os.environ.get("SPARK") or None)
