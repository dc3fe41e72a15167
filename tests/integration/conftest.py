"""A namespace on a real API server, and a driver in it that answers on this host."""

import os
from collections.abc import AsyncIterator

import pytest
from tests import cluster as clusters
from tests.cluster import Cluster
from tests.integration.operator_world import OperatorWorld, operator_world
from tests.machine.reporting import Reporter

from spark_allocation.testing.driver import FakeDriver


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    if os.geteuid() != 0:
        pytest.skip("the local cluster needs root")
    return clusters.require(os.environ.get("CLUSTER", clusters.DEFAULT_NAME), Reporter())


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[OperatorWorld]:
    async with operator_world(cluster) as made:
        yield made


@pytest.fixture
async def driver(world: OperatorWorld) -> AsyncIterator[FakeDriver]:
    async with FakeDriver() as fake:
        world.passive(fake)
        await world.put_driver()
        yield fake
