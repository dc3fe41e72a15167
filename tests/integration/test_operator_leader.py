"""Two operator processes on a real API server: one leads, and whoever comes next goes on where it stopped."""

import signal
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from tests.faults.fault_proxy import FaultProxy, Passage, api_kind, write_kubeconfig
from tests.faults.fault_schedule import Fate, Fault, Kind
from tests.integration.operator_world import (
    Document,
    HostOperator,
    OperatorWorld,
    eventually,
)
from tests.machine.own_time import own_seconds

from spark_allocation.testing.driver import Behaviour, FakeDriver

pytestmark = pytest.mark.cluster
STARTING = '"event":"starting"'
TAKEN = "lease_taken"


@pytest.fixture
def start(world: OperatorWorld, tmp_path: Path):
    started: list[HostOperator] = []

    def operator(name: str, **options: Any) -> HostOperator:
        started.append(HostOperator(world, tmp_path, name, **options))
        return started[-1]

    yield operator
    for each in started:
        each.close()


async def allocate(world: OperatorWorld, driver: FakeDriver, executors: int) -> None:
    wish = {"podName": "driver", "uiPort": driver.port}
    await world.allocate("job", {"driver": wish, "dynamicAllocation": {"minExecutors": executors}})


async def executors(world: OperatorWorld, count: int, *, within: float = 20) -> list[Document]:
    async def enough() -> list[Document]:
        found = await world.pods()
        return found if len(found) == count else []

    try:
        return list(await eventually(enough, f"{count} executor pods", within=within))
    except AssertionError:
        pytest.fail(f"no {count} executor pods; status: {await world.status('job')}")


async def executors_at_least(world: OperatorWorld, count: int) -> None:
    async def enough() -> bool:
        return len(await world.pods()) >= count

    await eventually(enough, f"{count} executor pods")


def numbers(pods: list[Document]) -> list[int]:
    return sorted(int(pod["metadata"]["labels"]["spark-exec-id"]) for pod in pods)


async def want(world: OperatorWorld, executors: int) -> None:
    path = f"{world.allocations_path}/job"
    await world.did("PATCH", path, {"spec": {"dynamicAllocation": {"minExecutors": executors}}})


async def test_a_killed_leader_is_followed_and_no_id_is_used_twice(world, driver, start) -> None:
    first = start("first")
    await first.says(TAKEN)
    second = start("second")
    await allocate(world, driver, 3)
    before = numbers(await executors(world, 3))
    await second.says(STARTING)
    assert TAKEN not in second.log
    first.send(signal.SIGKILL)
    await second.says(TAKEN, within=30)
    await want(world, 5)
    after = await executors(world, 5)
    assert numbers(after)[:3] == before, "what was there stays"
    assert len(set(numbers(after))) == 5
    lives = {pod["metadata"]["annotations"]["sparkallocation.dev/incarnation"] for pod in after}
    assert len(lives) == 1


async def test_a_lease_that_another_takes_ends_the_process_and_its_writes(
    world, driver, start
) -> None:
    operator = start("operator")
    await operator.says(TAKEN)
    await allocate(world, driver, 2)
    await executors(world, 2)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{world.namespace}/leases/spark-allocation-operator"
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    await world.did("PATCH", path, {"spec": {"holderIdentity": "thief", "renewTime": now}})
    await want(world, 6)
    assert await operator.ends() == 3
    assert "thief holds it" in operator.log
    left = await world.pods()
    assert 2 <= len(left) <= 6, "at most what was decided before the Lease was lost"
    lease = await world.did("GET", path)
    assert lease["spec"]["holderIdentity"] == "thief", "what is another's is not given back"


@pytest.mark.slow
async def test_a_frozen_leader_that_thaws_touches_nothing_any_more(world, driver, start) -> None:
    first = start("first")
    await first.says(TAKEN)
    second = start("second")
    await allocate(world, driver, 2)
    before = {pod["metadata"]["uid"] for pod in await executors(world, 2)}
    await second.says(STARTING)
    first.send(signal.SIGSTOP)
    await want(world, 6)
    await second.says(TAKEN, within=30)
    after = await executors(world, 6, within=30)
    first.send(signal.SIGCONT)
    assert await first.ends(within=15) == 3
    assert "second" in first.log.splitlines()[-1], "it says last who holds the Lease"
    assert '"level":"error"' not in first.log
    left = await executors(world, 6)
    assert {pod["metadata"]["uid"] for pod in left} == {pod["metadata"]["uid"] for pod in after}
    assert before < {pod["metadata"]["uid"] for pod in left}
    assert len(set(numbers(left))) == 6


async def test_a_lease_lost_in_the_middle_of_creations_is_no_executor_too_many(
    world, driver, start, tmp_path
) -> None:
    credentials = await world.api.credentials()
    reached = {"lease": True}

    def fate(passage: Passage) -> Fate | None:
        if passage.kind is Kind.LEASE and not reached["lease"]:
            return Fate(Fault.FAILS)
        return Fate(Fault.LATE, 0.5) if passage.kind is Kind.CREATE else None

    async with FaultProxy(
        credentials.server,
        fate,
        by="first",
        tls=ssl.create_default_context(cafile=credentials.ca_path),
        token=credentials.token,
        kind_of=api_kind,
    ) as proxy:
        write_kubeconfig(tmp_path / "kubeconfig", proxy.url)
        first = start("first", kubeconfig=tmp_path / "kubeconfig", context="proxied")
        await first.says(TAKEN)
        second = start("second")
        await allocate(world, driver, 60)
        await executors_at_least(world, 5)
        reached["lease"] = False
        assert await first.ends(within=20) == 3
        ended_at = time.monotonic()
        assert TAKEN not in second.log, "the former leader has ended before another begins"
        await second.says(TAKEN, within=30)
        assert not [each for each in proxy.passages if each.at > ended_at]
        pods = await executors(world, 60, within=60)
        assert len(set(numbers(pods))) == 60


async def test_a_clean_exit_gives_the_lease_back_and_touches_no_pod(world, driver, start) -> None:
    first = start("first")
    await first.says(TAKEN)
    second = start("second")
    await allocate(world, driver, 2)
    before = {pod["metadata"]["uid"] for pod in await executors(world, 2)}
    first.send(signal.SIGTERM)
    began = own_seconds()
    assert await first.ends(within=40) == 0
    assert own_seconds() - began < 20
    # sooner than a Lease that nobody renews can be taken
    await second.says(TAKEN, within=12)
    await second.says("driver_served", within=15)
    assert {pod["metadata"]["uid"] for pod in await executors(world, 2)} == before


async def test_a_driver_that_hangs_delays_no_exit(world, driver, start) -> None:
    operator = start("operator")
    await operator.says(TAKEN)
    await allocate(world, driver, 1)
    await executors(world, 1)
    driver.behaves = Behaviour.SLOW
    operator.send(signal.SIGTERM)
    began = own_seconds()
    assert await operator.ends(within=40) == 0
    assert own_seconds() - began < 20
