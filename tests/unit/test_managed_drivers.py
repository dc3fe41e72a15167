"""Labelled driver pods get their SparkAllocation made: once, by the annotations, and never a bomb."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from spark_allocation.api.group import FIELD_ANNOTATION_PREFIX, MANAGED_LABEL
from spark_allocation.controller import managed_drivers
from spark_allocation.controller.managed_drivers import ManagedDrivers, managed_allocation
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.kube.write_outcomes import WriteOutcome, WriteResult
from spark_allocation.testing.faults import LOST, UNANSWERED
from spark_allocation.testing.objects import FakeAllocationsApi, FakeObjectsApi


def pod(name: str = "driver", uid: str = "pod-1", **annotations: str) -> DriverPod:
    return DriverPod(
        namespace="jobs",
        name=name,
        uid=uid,
        phase="Running",
        deleting=False,
        ip="10.0.0.1",
        restart_count=0,
        created_at=0.0,
        labels={MANAGED_LABEL: "true"},
        annotations={
            FIELD_ANNOTATION_PREFIX + key.replace("__", "."): text
            for key, text in annotations.items()
        },
    )


class World:
    def __init__(self) -> None:
        self.allocations = FakeAllocationsApi()
        self.objects = FakeObjectsApi()
        self.served: set[str] = set()
        self.managed = ManagedDrivers(
            self.allocations, self.objects, is_served=lambda pod: pod.uid in self.served
        )

    def owner(self) -> str:
        made = self.allocations.objects["jobs", "driver"]
        return str(made["metadata"]["ownerReferences"][0]["uid"])

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(3):
            while not holds():
                await asyncio.sleep(0.002)


@pytest.fixture
async def world(virtual_time: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(managed_drivers, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(managed_drivers, "LONGEST_PAUSE_SECONDS", 0.05)
    world = World()
    task = asyncio.create_task(world.managed.run())
    yield world
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_labelled_driver_gets_an_object_of_its_own(world: World) -> None:
    world.managed.seen(pod(dynamicAllocation__maxExecutors="20", decommission__gracePeriod="30s"))
    await world.until(lambda: world.allocations.objects)
    made = world.allocations.objects["jobs", "driver"]
    assert made["spec"] == {
        "driver": {"podName": "driver"},
        "dynamicAllocation": {"maxExecutors": 20},
        "decommission": {"gracePeriod": "30s"},
        "ttlSecondsAfterFinished": 600,
    }
    assert world.owner() == "pod-1"


async def test_a_driver_that_is_served_already_gets_none(world: World) -> None:
    world.served.add("pod-1")
    world.managed.seen(pod())
    await asyncio.sleep(0.1)
    assert world.allocations.made("create") == []


async def test_a_driver_that_asks_for_another_installation_is_left_to_it(world: World) -> None:
    world.managed.seen(pod(managedBy="blue"))
    await asyncio.sleep(0.1)
    assert world.allocations.made("create") == []
    blue = ManagedDrivers(
        world.allocations, world.objects, is_served=lambda _: False, installation="blue"
    )
    blue.seen(pod())
    assert blue._pods == {}
    blue.seen(pod(managedBy="blue"))
    task = asyncio.create_task(blue.run())
    await world.until(lambda: world.allocations.objects)
    task.cancel()
    assert world.allocations.objects["jobs", "driver"]["spec"]["managedBy"] == "blue"


async def test_the_object_of_a_predecessor_makes_room_when_it_goes(world: World) -> None:
    world.managed.seen(pod(uid="old"))
    await world.until(lambda: world.allocations.objects)
    world.managed.seen(pod(uid="new"))
    await world.until(lambda: len(world.allocations.made("create")) > 2)
    assert world.owner() == "old"
    world.managed.seen(replace(pod(uid="old"), deleting=True))
    await asyncio.sleep(
        0.02
    )  # an object asked for in this very moment would go with its pod as well
    world.allocations.remove("driver")  # the garbage collector takes it with its pod
    await world.until(lambda: world.allocations.objects and world.owner() == "new")


@pytest.mark.parametrize("fault", [UNANSWERED, LOST])
async def test_an_api_server_that_does_not_answer_is_asked_again(world: World, fault) -> None:
    world.allocations.will("create", fault, fault)
    world.managed.seen(pod())
    await world.until(lambda: world.allocations.objects)


async def test_what_the_server_refuses_is_said_once_on_the_driver_pod(world: World) -> None:
    refusal = WriteOutcome(WriteResult.REFUSED, "cannot create resource sparkallocations")
    world.allocations.always("create", refusal)
    world.managed.seen(pod())
    await world.until(lambda: len(world.allocations.made("create")) > 2)
    (event,) = world.objects.events
    assert event["message"] == "cannot create resource sparkallocations"
    assert event["involvedObject"]["uid"] == "pod-1"


async def test_a_wrong_annotation_is_said_and_a_corrected_one_taken(world: World) -> None:
    world.managed.seen(pod(dynamicAllocation__maxExecutors="many"))
    await world.until(lambda: world.objects.events)
    assert "dynamicAllocation.maxExecutors" in world.objects.events[0]["message"]
    world.managed.seen(pod(dynamicAllocation__maxExecutors="7"))
    await world.until(lambda: world.allocations.objects)


async def test_nothing_is_kept_of_a_driver_that_has_ended(world: World) -> None:
    world.managed.seen(pod())
    await world.until(lambda: world.allocations.objects)
    world.managed.seen(replace(pod(), phase="Succeeded"))
    assert world.managed._pods == {}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{after}: &{after} [{','.join(f'*{before}' for _ in range(9))}]"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        pytest.param("executor__podTemplate", BOMB, "stands for more than", id="alias bomb"),
        pytest.param("executor__podTemplate", "&a [*a]", "stands for more than", id="a loop"),
        pytest.param("executor__podTemplate", "x" * 20_000, "longer than", id="too long"),
        pytest.param("executor__podTemplate", "{" * 900, "no YAML", id="too deep"),
        pytest.param("executor__podTemplate", "!!python/object:os.system x", "no YAML", id="code"),
        pytest.param("mode", "[", "no YAML", id="broken"),
        pytest.param("mode__", "1", "names no field", id="no field"),
        pytest.param("nothing__here", "1", "nothing", id="unknown field"),
    ],
)
def test_a_hostile_annotation_is_a_sentence(key: str, text: str, words: str) -> None:
    refusal = managed_allocation(pod(**{key: text}))
    assert isinstance(refusal, str)
    assert words in refusal


def test_annotations_cannot_name_another_driver() -> None:
    made = managed_allocation(pod(driver__podName="another", driver__uiPort="4041"))
    assert isinstance(made, dict)
    assert made["spec"]["driver"] == {"podName": "driver", "uiPort": 4041}
