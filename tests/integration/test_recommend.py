"""Recommend on a real API server, judged by every request that the operator makes: it reads, and writes its own status."""

import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.faults.fault_proxy import FaultProxy, Passage, api_kind, write_kubeconfig
from tests.integration.operator_world import Document, HostOperator, OperatorWorld, eventually

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster
Trial = Callable[[str], HostOperator]
EXECUTORS = 4
BUSY = 1


def ordinary(driver: FakeDriver) -> None:
    """Dynamic allocation of its own, and executors that it has made itself."""
    for key in [key for key in driver.properties if key.startswith("spark.dynamicAllocation.")]:
        del driver.properties[key]
    driver.properties |= {
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.executorIdleTimeout": "1h",
    }
    driver.executors = [
        driver.executor(number, active=int(number <= BUSY)) for number in range(1, EXECUTORS + 1)
    ]
    driver.stages = [driver.stage(tasks=BUSY, active=BUSY)]
    driver.jobs, driver.gauge = [0], BUSY


async def put_executors(world: OperatorWorld, driver: Document) -> None:
    """Executor pods as Spark makes them: owned by the driver pod, without a word of ours."""
    for number in range(1, EXECUTORS + 1):
        name = f"report-exec-{number}"
        labels = {
            "spark-role": "executor",
            "spark-exec-id": str(number),
            "spark-exec-resourceprofile-id": "0",
            "spark-app-selector": "spark-0123456789abcdef",
        }
        owner = {"apiVersion": "v1", "kind": "Pod", "controller": True, "name": "driver"}
        await world.did(
            "POST",
            world.pods_path,
            {
                "metadata": {
                    "name": name,
                    "labels": labels,
                    "ownerReferences": [{**owner, "uid": driver["metadata"]["uid"]}],
                },
                "spec": {
                    "schedulerName": "nobody-schedules-these",
                    "automountServiceAccountToken": False,
                    "containers": [{"name": "spark-kubernetes-executor", "image": "spark:test"}],
                },
            },
        )
        await world.run_pod(name, "spark-kubernetes-executor")


@pytest.fixture
async def proxy(world: OperatorWorld) -> AsyncIterator[FaultProxy]:
    credentials = await world.api.credentials()
    async with FaultProxy(
        credentials.server,
        lambda _: None,
        by="operator",
        tls=ssl.create_default_context(cafile=credentials.ca_path),
        token=credentials.token,
        kind_of=api_kind,
    ) as made:
        yield made


async def recommendation(world: OperatorWorld) -> Document:
    return dict((await world.status("trial")).get("recommendation") or {})


async def saved_more_than(world: OperatorWorld, hours: float) -> Document:
    async def enough() -> Document | None:
        told = await recommendation(world)
        return told if told.get("executorHours", {}).get("saved", 0.0) > hours else None

    return dict(await eventually(enough, f"more than {hours} executor-hours saved", within=60))


@pytest.fixture
async def trial(world: OperatorWorld, proxy: FaultProxy, tmp_path: Path) -> AsyncIterator[Trial]:
    """A driver that keeps four executors of which one has something to do, and a SparkAllocation that asks for advice."""
    async with FakeDriver() as driver:
        world.passive(driver)
        ordinary(driver)
        pod = await world.put_driver()
        await put_executors(world, pod)
        await world.allocate(
            "trial",
            {
                "mode": "Recommend",
                "driver": {"podName": "driver", "uiPort": driver.port},
                "dynamicAllocation": {"executorIdleTimeout": "1s"},
            },
        )
        write_kubeconfig(tmp_path / "kubeconfig", proxy.url)
        started: list[HostOperator] = []

        def start(name: str) -> HostOperator:
            started.append(
                HostOperator(
                    world,
                    tmp_path,
                    name,
                    kubeconfig=tmp_path / "kubeconfig",
                    context="proxied",
                    lease=False,
                )
            )
            return started[-1]

        yield start
        for each in started:
            each.close()


async def versions(world: OperatorWorld) -> set[str]:
    return {each["metadata"]["resourceVersion"] for each in await world.pods()}


async def test_both_counts_are_told_and_no_pod_is_touched(
    world: OperatorWorld, proxy: FaultProxy, trial: Trial
) -> None:
    before = await versions(world)
    trial("operator")

    async def compared() -> bool:
        told = await recommendation(world)
        return (told.get("sparkExecutors"), told.get("ours")) == (EXECUTORS, BUSY)

    await eventually(compared, "Spark's count beside ours", within=60)
    assert await versions(world) == before
    assert written(proxy.passages) == {
        ("PATCH", "sparkallocations/trial"),
        ("PATCH", "sparkallocations/trial/status"),
        ("POST", "events"),
    }
    assert any(each.path.endswith("/pods") for each in proxy.passages), "it has looked at pods"


@pytest.mark.slow
async def test_hours_go_on_after_a_restart(world: OperatorWorld, trial: Trial) -> None:
    before = await versions(world)
    first = trial("first")
    await saved_more_than(world, 0.001)
    first.close()
    stored = await recommendation(world)
    trial("second")
    told = await saved_more_than(world, stored["executorHours"]["saved"])
    assert told["since"] == stored["since"]
    assert await versions(world) == before


def written(passages: list[Passage]) -> set[tuple[str, str]]:
    """What was asked for beyond reading, in short."""
    return {
        (each.method, each.path.partition("/namespaces/")[2].partition("/")[2])
        for each in passages
        if each.method not in ("GET", "HEAD")
    }
