"""One operator behind a proxy, one driver, and an API server: for faults that a test chooses itself."""

import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.cluster import Cluster
from tests.faults.fault_proxy import FaultProxy, Passage, api_kind, write_kubeconfig
from tests.faults.fault_schedule import Fate, Kind
from tests.integration.operator_world import (
    HostOperator,
    OperatorWorld,
    eventually,
    operator_world,
)

from spark_allocation.testing.driver import FakeDriver


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


def is_kopf_watch(passage: Passage) -> bool:
    return passage.kind is Kind.WATCH and passage.path.endswith("/sparkallocations")
