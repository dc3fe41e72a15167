"""A real operator process, a real API server, and what is between them at its worst."""

import asyncio
import os
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests import cluster as clusters
from tests.cluster import Cluster
from tests.faults.fault_proxy import (
    FaultProxy,
    KillPoint,
    Passage,
    api_kind,
    write_kubeconfig,
)
from tests.faults.fault_schedule import Fate, Fault, FaultSchedule, Kind
from tests.faults.run import Run
from tests.integration.operator_world import (
    HostOperator,
    OperatorWorld,
    eventually,
    operator_world,
)
from tests.machine.reporting import Reporter

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster
KIND = "/sparkallocation.dev"


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    if os.geteuid() != 0:
        pytest.skip("the local cluster needs root")
    return clusters.require(os.environ.get("CLUSTER", clusters.DEFAULT_NAME), Reporter())


class Between:
    """A world with one driver, and an operator that reaches the API server through a proxy.

    Attributes:
        fate: says what becomes of each request; None for all well.
    """

    def __init__(self, world: OperatorWorld, driver: FakeDriver, folder: Path) -> None:
        self.world = world
        self.driver = driver
        self.folder = folder
        self.fate: Callable[[Passage], Fate | None] = lambda _: None
        self.proxy: FaultProxy
        self.operators: list[HostOperator] = []

    def start(self) -> HostOperator:
        operator = HostOperator(
            self.world,
            self.folder,
            "operator",
            kubeconfig=self.folder / "kubeconfig",
            context="proxied",
            lease=False,
        )
        self.operators.append(operator)
        return operator

    async def allocate(self, executors: int) -> None:
        wish = {"podName": "driver", "uiPort": self.driver.port}
        spec = {"driver": wish, "dynamicAllocation": {"minExecutors": executors}}
        await self.world.allocate("job", spec)

    async def want(self, executors: int) -> None:
        path = f"{self.world.allocations_path}/job"
        spec = {"dynamicAllocation": {"minExecutors": executors}}
        await self.world.did("PATCH", path, {"spec": spec})

    async def touch(self) -> None:
        """Change the object, and nothing that matters of it."""
        path = f"{self.world.allocations_path}/job"
        touched = {"annotations": {"touched": secrets.token_hex(4)}}
        await self.world.did("PATCH", path, {"metadata": touched})

    async def executors(self, count: int, *, within: float = 20) -> set[str]:
        """The uids, once there are so many."""

        async def enough() -> bool:
            return len(await self.world.pods()) == count

        await eventually(enough, f"{count} executor pods", within=within)
        return {pod["metadata"]["uid"] for pod in await self.world.pods()}

    async def ids(self) -> list[int]:
        pods = await self.world.pods()
        return sorted(int(pod["metadata"]["labels"]["spark-exec-id"]) for pod in pods)


@asynccontextmanager
async def between(cluster: Cluster, folder: Path) -> AsyncIterator[Between]:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(operator_world(cluster))
        driver = await stack.enter_async_context(FakeDriver())
        world.passive(driver)
        await world.put_driver()
        made = Between(world, driver, folder)
        credentials = await world.api.credentials()
        made.proxy = FaultProxy(
            credentials.server,
            lambda passage: made.fate(passage),
            by="operator",
            tls=ssl.create_default_context(cafile=credentials.ca_path),
            token=credentials.token,
            kind_of=api_kind,
        )
        await stack.enter_async_context(made.proxy)
        write_kubeconfig(folder / "kubeconfig", made.proxy.url)
        try:
            yield made
        finally:
            for operator in made.operators:
                operator.close()


@pytest.fixture
async def way(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Between]:
    async with between(cluster, tmp_path) as made:
        yield made


def is_kopf_watch(passage: Passage) -> bool:
    return passage.kind is Kind.WATCH and passage.path.endswith("/sparkallocations")


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
