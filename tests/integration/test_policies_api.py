"""Policies and the commands that explain them, on a real API server with an operator process."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.cluster import Cluster
from tests.integration.operator_world import (
    ALLOCATIONS,
    CLUSTER_POLICIES,
    CRDS,
    Document,
    HostOperator,
    OperatorWorld,
    eventually,
    operator_world,
)
from tests.machine.own_time import own_seconds

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster
LIVE_SECONDS = 2.0
"""What a change of a policy may take until pods follow."""


@pytest.fixture
async def world(cluster: Cluster) -> AsyncIterator[OperatorWorld]:
    async with operator_world(cluster) as made:
        yield made
        for item in (await made.did("GET", CLUSTER_POLICIES)).get("items", ()):
            await made.request("DELETE", f"{CLUSTER_POLICIES}/{item['metadata']['name']}")


@pytest.fixture
def operator(world: OperatorWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPARK_ALLOCATION_WATCH_CLUSTER_POLICIES", "true")
    process = HostOperator(world, tmp_path, "operator")
    yield process
    process.close()


async def put(world: OperatorWorld, path: str, kind: str, name: str, **spec: object) -> None:
    body = {
        "apiVersion": "sparkallocation.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
    if (await world.request("POST", path, body)).status == 409:
        await world.did("DELETE", f"{path}/{name}")
        await world.did("POST", path, body)


async def put_cluster_policy(world: OperatorWorld, name: str = "prod", **spec: object) -> None:
    chosen = {"selector": {"namespaces": [world.namespace]}, **spec}
    await put(world, CLUSTER_POLICIES, "ClusterSparkAllocationPolicy", name, **chosen)


def executors_between(least: int | None = None, most: int | None = None) -> Document:
    limits = {"min": least, "max": most}
    chosen = {key: value for key, value in limits.items() if value is not None}
    return {"dynamicAllocation": {"minExecutors": chosen}}


async def salloc(world: OperatorWorld, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The plugin as kubectl would call it, while the driver of this process goes on answering."""
    command = Path(sys.executable).with_name("kubectl-salloc")
    config = ("--kubeconfig", str(world.cluster.kubeconfig), "--context", world.cluster.context)
    return await asyncio.to_thread(
        subprocess.run,
        [str(command), arguments[0], *config, *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


async def settled(world: OperatorWorld, count: int, *, within: float = 20) -> float:
    """Wait until so many executor pods are there that stay; returns after how long."""
    began = own_seconds()

    async def enough() -> bool:
        pods = [pod for pod in await world.pods() if "deletionTimestamp" not in pod["metadata"]]
        return len(pods) == count

    try:
        await eventually(enough, f"{count} executor pods", within=within)
    except AssertionError:
        pytest.fail(f"no {count} executor pods; status: {await world.status('job')}")
    return own_seconds() - began


async def condition(world: OperatorWorld, kind: str, status: str) -> Document:
    async def said() -> Document | None:
        for each in (await world.status("job")).get("conditions") or ():
            if (each["type"], each["status"]) == (kind, status):
                return dict(each)
        return None

    return dict(await eventually(said, f"{kind}={status}"))


async def test_policies_act_on_a_running_application_within_two_seconds(
    world: OperatorWorld, driver: FakeDriver, operator: HostOperator
) -> None:
    await operator.says("lease_taken")
    wish = {"podName": "driver", "uiPort": driver.port}
    await world.allocate("job", {"driver": wish, "dynamicAllocation": {"minExecutors": 2}})
    await settled(world, 2)
    # when the platform raises the floor
    await put_cluster_policy(world, limits=executors_between(least=4))
    took = [await settled(world, 4)]
    limited = await condition(world, "Limited", "True")
    assert "2 (SparkAllocation) → 4, lower limit of cluster policy prod" in limited["message"]
    # and the namespace's own policy wants more than the platform allows
    await put_cluster_policy(world, limits=executors_between(least=4, most=5))
    path = f"{ALLOCATIONS}/namespaces/{world.namespace}/sparkallocationpolicies"
    await put(world, path, "SparkAllocationPolicy", "team", limits=executors_between(least=9))
    await settled(world, 5)
    conflict = await condition(world, "PolicyConflict", "True")
    assert "the limit 9 of namespace policy team contradicts 5" in conflict["message"]
    # then `explain` shows the same
    explained = await salloc(world, "explain", "job", "-n", world.namespace)
    assert explained.returncode == 0, explained.stderr
    assert "lower limit of namespace policy team" in explained.stdout
    assert "the limit 9 of namespace policy team contradicts 5" in explained.stdout
    # and a policy of another namespace is nothing to it
    await world.did("DELETE", f"{path}/team")
    await put_cluster_policy(world, selector={"namespaces": ["another"]}, limits=executors_between(least=7))  # fmt: skip
    await put_cluster_policy(world, limits=executors_between(least=6))
    took.append(await settled(world, 6))
    # the better of two: what else runs on the machine is no part of it
    assert min(took) < LIVE_SECONDS, took


async def test_the_commands_on_a_real_server(
    world: OperatorWorld, driver: FakeDriver, operator: HostOperator
) -> None:
    await operator.says("lease_taken")
    wish = {"podName": "driver", "uiPort": driver.port}
    await world.allocate("job", {"driver": wish, "dynamicAllocation": {"minExecutors": 1, "maxExecutors": 3}})  # fmt: skip
    await settled(world, 1)
    where = ("-n", world.namespace)
    looked = await salloc(
        world, "doctor", *where, "--operator-namespace", world.namespace, "-o", "json"
    )
    found = json.loads(looked.stdout)
    verdicts = {(each["check"], each["about"]): each["verdict"] for each in found}
    for name in ("sparkallocations", "sparkallocationpolicies", "clustersparkallocationpolicies"):
        assert verdicts["crd", f"{name}.sparkallocation.dev"] == "ok"
    assert verdicts["rights", "you"] == "ok"
    assert verdicts["clock", "this machine"] == "ok"
    assert verdicts["operator", f"{world.namespace}/spark-allocation-operator"] == "ok"
    assert verdicts["sizing", f"{world.namespace}/job"] == "ok"
    # the rights of an account that has none
    asked = await salloc(world, "doctor", *where, "--service-account", f"{world.namespace}/default", "--operator-namespace", world.namespace)  # fmt: skip
    assert asked.returncode == 1
    assert f"may not create pods in namespace {world.namespace}" in asked.stdout
    top = await salloc(world, "top", *where)
    assert top.returncode == 0
    assert top.stdout.splitlines()[1].split()[:2] == [world.namespace, "job"]
    # the way out: the operator is gone, and nobody takes the finalizer off
    operator.close()
    body = await world.did("GET", f"{world.allocations_path}/job")
    assert body["metadata"]["finalizers"] == ["sparkallocation.dev/executors"]
    assert (await salloc(world, "release", "--all", *where)).returncode == 1, "nobody has said yes"
    assert (await salloc(world, "release", "--all", *where, "--yes")).returncode == 0
    body = await world.did("GET", f"{world.allocations_path}/job")
    assert "finalizers" not in body["metadata"]
    assert len(await world.pods()) == 1, "no executor is touched"


def test_applying_the_crds_again_changes_nothing_and_explain_says_something_of_every_field(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.kubectl("apply", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
    again = cluster.kubectl("apply", "-f", str(CRDS))
    assert [line.split()[-1] for line in again.splitlines()] == ["unchanged"] * 3
    for kind in ("sapolicy", "csapolicy"):
        fresh = f"--cache-dir={tmp_path}"
        text = cluster.kubectl("explain", fresh, f"{kind}.spec", "--recursive")
        assert "userDefaults" in text
        assert "<no description>" not in cluster.kubectl("explain", fresh, f"{kind}.spec.limits")
