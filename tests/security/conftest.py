"""The cluster for those tests that need one, and the operator in it under its own service account."""

import os
from collections.abc import AsyncIterator

import pytest
from tests import cluster as clusters
from tests.cluster import Cluster
from tests.integration.operator_world import OperatorWorld, operator_world
from tests.machine.reporting import Reporter


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    if os.geteuid() != 0:
        pytest.skip("the local cluster needs root")
    return clusters.require(os.environ.get("CLUSTER", clusters.DEFAULT_NAME), Reporter())


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[OperatorWorld]:
    async with operator_world(cluster) as made:
        yield made
