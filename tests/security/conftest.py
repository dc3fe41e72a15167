"""The cluster for those tests that need one, the operator in it under its own service account, and what its own requests
are sent with."""

import os
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests import cluster as clusters
from tests.cluster import Cluster
from tests.integration.operator_world import OperatorWorld, operator_world
from tests.machine.reporting import Reporter
from tests.security.certificates import Authority

from spark_allocation.sources.driver_requests import open_driver_session


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    if os.geteuid() != 0:
        pytest.skip("the local cluster needs root")
    return clusters.require(os.environ.get("CLUSTER", clusters.DEFAULT_NAME), Reporter())


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[OperatorWorld]:
    async with operator_world(cluster) as made:
        yield made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """As the operator opens it for drivers and Prometheus servers."""
    async with open_driver_session() as opened:
        yield opened
