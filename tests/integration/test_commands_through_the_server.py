"""`kubectl salloc` as kubectl runs it, and what it learns of a driver through the API server's way to its pod."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cluster import Cluster
from tests.demo.manifests import DEPLOY
from tests.integration.operator_world import OperatorWorld, eventually
from tests.integration.people import Person

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster


@pytest.fixture
async def driver(cluster: Cluster, world: OperatorWorld) -> AsyncIterator[FakeDriver]:
    """A driver pod with an address that the API server may pass requests on to: it passes none to the loopback."""
    assert cluster.layout is not None
    async with FakeDriver(host=cluster.layout.host_address) as fake:
        fake.properties["spark.dynamicAllocation.maxExecutors"] = "7"
        await world.put_driver()
        address = {"podIP": fake.host, "podIPs": [{"ip": fake.host}]}
        await world.did("PATCH", f"{world.pods_path}/driver/status", {"status": address})
        yield fake


async def kubectl_salloc(
    world: OperatorWorld, *arguments: str, kubeconfig: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """`kubectl salloc …`: kubectl finds the plugin on the PATH and hands on what follows."""
    cluster = world.cluster
    file = str(kubeconfig or cluster.kubeconfig)
    command = [str(cluster.kubectl_program), "salloc", *arguments, "--kubeconfig", file]
    folder = str(Path(sys.executable).parent)
    return await asyncio.to_thread(
        subprocess.run,
        [*command, "--context", cluster.context],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
    )


def kubeconfig_of(world: OperatorWorld, account: str, folder: Path) -> Path:
    """A kubeconfig with a token of a service account, under the name of the cluster's own context."""
    cluster = world.cluster
    token = cluster.kubectl("create", "token", account, f"--namespace={world.namespace}").strip()
    document = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    for each in document["users"]:
        each["user"] = {"token": token}
    file = folder / f"{account}.kubeconfig"
    file.write_text(json.dumps(document))
    return file


async def test_explain_shows_what_the_driver_says_of_itself(
    world: OperatorWorld, driver: FakeDriver
) -> None:
    wish = {"podName": "driver", "uiPort": driver.port}
    await world.allocate("job", {"driver": wish, "dynamicAllocation": {"minExecutors": 1}})
    done = await kubectl_salloc(world, "explain", "job", "-n", world.namespace)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line}
    assert rows["dynamicAllocation.maxExecutors"] == ["7", "driver"]
    assert rows["dynamicAllocation.minExecutors"] == ["1", "SparkAllocation"]
    assert "user 185" in done.stdout
    assert "Not known" not in done.stdout
    assert f"/api/v1/applications/{driver.application_id}/environment" in driver.asked


async def test_doctor_judges_the_driver_s_own_configuration(
    world: OperatorWorld, driver: FakeDriver
) -> None:
    driver.properties["spark.cleaner.periodicGC.interval"] = "1h"
    wish = {"podName": "driver", "uiPort": driver.port}
    await world.allocate("job", {"driver": wish})
    done = await kubectl_salloc(world, "doctor", "-n", world.namespace, "-o", "json")
    (told,) = (each for each in json.loads(done.stdout) if each["check"] == "shuffle-tracking")
    assert told["about"] == f"{world.namespace}/job"
    assert told["verdict"] == "warning"
    assert "spark.cleaner.periodicGC.interval is 3600 s" in told["message"]


async def test_without_the_right_to_ask_pods_it_says_what_it_does_not_know(
    cluster: Cluster, world: OperatorWorld, driver: FakeDriver, tmp_path: Path
) -> None:
    wish = {"podName": "driver", "uiPort": driver.port}
    await world.allocate("job", {"driver": wish})
    cluster.kubectl("apply", "-f", str(DEPLOY / "15-user-roles.yaml"))
    cluster.kubectl("create", "serviceaccount", "viewer", f"--namespace={world.namespace}")
    viewer = Person(world, f"system:serviceaccount:{world.namespace}:viewer")
    await viewer.may_as("view")

    async def reads() -> bool:
        return (await viewer.request("GET", world.allocations_path)).ok

    await eventually(reads, "the cluster's view role has our rights", within=60)
    file = kubeconfig_of(world, "viewer", tmp_path)
    done = await kubectl_salloc(world, "explain", "job", "-n", world.namespace, kubeconfig=file)
    assert done.returncode == 0, done.stderr
    assert "could not be asked through the API server (right: get pods/proxy)" in done.stdout
    assert "clustersparkallocationpolicies may not be read" in done.stdout
    assert driver.asked == []
