"""An operator beside CustomResourceDefinitions of another version: newer ones, and those of the last release.

That schemas only grow is held by tests/chart/test_crd_growth.py; what an operator makes of a later field, by tests/unit/test_later_fields.py.
"""

import copy
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import Cluster
from tests.integration.operator_world import (
    CRDS,
    Document,
    HostOperator,
    OperatorWorld,
    eventually,
    operator_world,
)

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster

RELEASED = Path(__file__).parents[1] / "chart" / "released_crds"


def definitions(folder: Path) -> list[Document]:
    return [yaml.safe_load(file.read_text()) for file in sorted(folder.glob("*.yaml"))]


def of_a_later_version() -> list[Document]:
    """Ours, with one more field in the spec, one in a part of it and one in the status."""
    grown = copy.deepcopy(definitions(CRDS))
    for each in grown:
        if each["spec"]["names"]["kind"] == "SparkAllocation":
            fields = each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
            later = {"type": "object", "properties": {"a": {"type": "integer"}}}
            fields["spec"]["properties"]["later"] = later
            fields["spec"]["properties"]["dynamicAllocation"]["properties"]["later"] = later
            fields["status"]["properties"]["later"] = later
    return grown


@pytest.fixture
def own_definitions_again(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.kubectl("apply", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))


@pytest.fixture
async def world(cluster: Cluster, own_definitions_again: None) -> AsyncIterator[OperatorWorld]:
    async with operator_world(cluster) as made:
        yield made


async def apply(world: OperatorWorld, wanted: list[Document], *, keep_later: bool) -> None:
    """Apply definitions, and wait until the API server judges by them."""
    world.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(wanted))

    async def judges() -> bool:
        found = await world.did(
            "POST",
            world.allocations_path,
            {
                "apiVersion": "sparkallocation.dev/v1alpha1",
                "kind": "SparkAllocation",
                "metadata": {"name": "probe"},
                "spec": {"driver": {"podName": "none"}, "later": {"a": 1}},
            },
            dryRun="All",
        )
        return ("later" in found["spec"]) == keep_later

    await eventually(judges, "the API server judges by these definitions", within=60)


async def executors_come(world: OperatorWorld, driver: FakeDriver, folder: Path, **spec: Any) -> Document:  # fmt: skip
    """Serve a driver with work for two executors; the SparkAllocation once both are there and the status tells it."""
    driver.work(2)
    await world.allocate("job", {"driver": {"podName": "driver", "uiPort": driver.port}, **spec})
    operator = HostOperator(world, folder, "operator")
    try:

        async def told() -> Document | None:
            found = await world.did("GET", f"{world.allocations_path}/job")
            there = len(await world.pods()) == 2
            return found if there and found.get("status", {}).get("target") == 2 else None

        return dict(await eventually(told, "two executors, and a status that says so", within=60))
    finally:
        operator.close()


async def test_an_operator_goes_on_with_the_definitions_of_a_later_version(
    world: OperatorWorld, driver: FakeDriver, tmp_path: Path
) -> None:
    # given definitions and a SparkAllocation with fields that it does not know
    await apply(world, of_a_later_version(), keep_later=True)
    later = {"a": 1}
    found = await executors_come(
        world, driver, tmp_path, later=later, dynamicAllocation={"maxExecutors": 2, "later": later}
    )
    # then it serves with what it knows, says what it left out, and takes nothing away
    (ignored,) = (each for each in found["status"]["conditions"] if each["type"] == "Ignored")
    assert (ignored["status"], ignored["reason"]) == ("True", "NoEffect")
    assert "spec.later" in ignored["message"]
    assert "spec.dynamicAllocation.later" in ignored["message"]
    assert found["spec"]["later"] == found["spec"]["dynamicAllocation"]["later"] == later


async def test_an_operator_goes_on_with_the_definitions_of_the_last_release(
    world: OperatorWorld, driver: FakeDriver, tmp_path: Path
) -> None:
    # given definitions that may lack fields of the status that it writes
    await apply(world, definitions(RELEASED), keep_later=False)
    # then it serves, and every status that it writes is taken
    found = await executors_come(world, driver, tmp_path, dynamicAllocation={"maxExecutors": 2})
    conditions = {each["type"]: each["status"] for each in found["status"]["conditions"]}
    assert conditions["DriverReachable"] == conditions["DriverPassive"] == "True"
    assert "status_not_written" not in (tmp_path / "operator.log").read_text()
