"""A real operator process, a real API server, and what is between them at its worst."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests import cluster as clusters
from tests.cluster import Cluster
from tests.faults.between import Between, between, is_kopf_watch
from tests.faults.fault_proxy import KillPoint
from tests.faults.fault_schedule import Fate, Fault, FaultSchedule, Kind
from tests.faults.run import Run
from tests.integration.operator_world import eventually
from tests.machine.reporting import Reporter

pytestmark = pytest.mark.cluster
KIND = "/sparkallocation.dev"


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    if os.geteuid() != 0:
        pytest.skip("the local cluster needs root")
    return clusters.require(os.environ.get("CLUSTER", clusters.DEFAULT_NAME), Reporter())


@pytest.fixture
async def way(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Between]:
    async with between(cluster, tmp_path) as made:
        yield made


@pytest.mark.parametrize("seed", [1, 2])
async def test_invariants_hold_whatever_a_seed_brings(cluster, tmp_path, seed: int) -> None:
    verdict = await Run(cluster, FaultSchedule.from_seed(seed), tmp_path).judge()
    print(verdict)
    assert not verdict.broken, str(verdict)
    assert verdict.faults > 0
    assert verdict.kills > 0


async def test_an_error_in_the_watch_of_our_kind_ends_nothing(way: Between) -> None:
    operator = way.start()
    await way.allocate(2)
    before = await way.executors(2)
    worst = [Fault.ERROR_500, Fault.GARBAGE_LINE, Fault.CUT_LINE]
    way.fate = lambda passage: Fate(worst.pop()) if worst and is_kopf_watch(passage) else None
    way.proxy.break_watches()

    async def met() -> bool:
        # a line can only be cut where there is one
        await way.touch()
        return not worst

    await eventually(met, "the watch has broken in each way", within=30)
    await operator.says("kopf_gave_up")
    await way.want(4)
    assert await way.executors(4) >= before
    assert operator.process.poll() is None


async def test_an_operator_that_starts_before_its_kind_is_served_waits_for_it(
    way: Between,
) -> None:
    """Users apply the CustomResourceDefinitions and the Deployment at once."""
    unserved = Fault.UNKNOWN
    way.fate = lambda passage: Fate(unserved) if unserved and KIND in passage.path else None
    operator = way.start()
    await way.allocate(2)
    await operator.says("apply the CustomResourceDefinitions")
    unserved = Fault.INITIALIZING
    await operator.says("storage is (re)initializing")
    unserved = None
    await way.executors(2)
    assert operator.process.poll() is None
    assert "kopf_gave_up" not in operator.log
    assert "Traceback" not in operator.log


async def test_killed_anywhere_between_reservation_and_creation_it_goes_on_where_it_stood(
    way: Between,
) -> None:
    operator = way.start()
    await way.allocate(1)
    await way.executors(1)
    points = [(Kind.CREATE, False), (Kind.CREATE, True), (Kind.STATUS, True), (Kind.STATUS, False)]
    for wanted, (kind, after) in enumerate(points, start=2):
        way.proxy.kill_point = KillPoint(kind, after=after, kill=operator.process.kill)
        await way.want(wanted)
        await operator.ends()
        operator = way.start()
        await way.executors(wanted)
    await asyncio.sleep(2.5)  # two rounds of allocation: whatever was forgotten would be made again
    ids = await way.ids()
    assert len(set(ids)) == len(ids) == 5


async def test_an_api_server_that_dies_and_forgets_costs_no_pod(way: Between) -> None:
    operator = way.start()
    await way.allocate(3)
    before = await way.executors(3)
    await asyncio.to_thread(way.world.cluster.compact_history)
    await asyncio.to_thread(way.world.cluster.restart, "kube-apiserver")
    await way.want(5)
    assert await way.executors(5, within=30) >= before
    assert operator.process.poll() is None
    assert len(set(await way.ids())) == 5
