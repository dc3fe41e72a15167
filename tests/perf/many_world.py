"""The world of `bench_many`: drivers, kubelets and users of many SparkAllocations, and their API server.

One process plays all that has no program of its own, so that the operator has the other core for itself:

- a tenth of the applications is *active*: a job with long tasks always runs on its executors, and now and then one
  is submitted that needs a few more;
- the others *rest*: their minimum of executors is registered and has nothing to do, until a small job comes.

Where the pods are is another matter (`ManyPods`): in memory, with kubelets that are played here (`many_in_memory`), or on a
real API server, with kubelets that kwok plays (`many_in_cluster`). A pod runs half a second after it has a node, and
its executor registers then; a deleted one is gone a moment later. *Reaction* is the time from the submission of a job
that needs more executors to the request for the first of them.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Protocol

from tests.fleet.applications import FleetApplication, StagePlan
from tests.fleet.driver_fleet import DriverFleet

Document = dict[str, Any]
NAMESPACES = 20
TURN_SECONDS = 0.1
ALWAYS_RUNNING_SECONDS = 100_000.0
MORE = 2
"""Executors that a job needs beyond those that are there."""
JOB_SECONDS = 10.0
AGAIN_AFTER_SECONDS = 60.0
"""An application gets its next job when the executors of the last one have gone."""
REACTION_LOST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """How much of everything there is.

    Attributes:
        pods: executors of all applications, more or less.
        foreign_pods: executor pods of drivers that allocate for themselves: the operator sees them and serves none of them.
        active: share of the applications that is always at work.
        arrive: applications a second that come while the world goes on; 0 for all at its beginning.
    """

    applications: int
    pods: int
    foreign_pods: int = 0
    active: float = 0.1
    arrive: float = 0.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """What the operator has asked of the API server since `ManyPods.begin`.

    Attributes:
        requests: by verb and resource, such as ``list pods`` or ``patch sparkallocations/status``.
        content_bytes: of bodies, watches included; None when nobody knows.
    """

    requests: Mapping[str, int]
    most_statuses_in_a_second: int
    content_bytes: int | None = None


class ManyPods(Protocol):
    """An API server, and nodes on which its pods run.

    Attributes:
        kubeconfig: the operator's, as text.
        lease_namespace: where the operator may have a Lease.
        conf: Spark properties with which executors come to those nodes.
    """

    kubeconfig: str
    lease_namespace: str
    conf: Mapping[str, str]

    def listen(self, listener: Callable[[str, Document], None]) -> None:
        """Be told the type of each change of an executor pod of the operator's, and the pod."""

    async def put_driver(self, pod: Document, address: str) -> str:
        """A driver pod that is going to run at this address; its uid."""

    async def put_allocation(self, allocation: Document) -> None:
        """A SparkAllocation."""

    async def put_foreign(self, pods: int) -> None:
        """So many executor pods of others."""

    async def drivers_run(self) -> None:
        """Wait until all driver pods run."""

    def turn(self, now: float) -> None:
        """What is due at this monotonic time happens."""

    def executors(self) -> Iterable[Document]:
        """All executor pods, those of others included."""

    def begin(self) -> None:
        """Count from now on."""

    def asked(self) -> Asked:
        """What was counted."""


@dataclass(slots=True)
class Member:
    """One application of the world."""

    truth: FleetApplication
    active: bool
    executors: int
    asked_at: float | None = None
    quiet_since: float = 0.0


@dataclass(slots=True)
class Figures:
    """What the world has seen since `begin`."""

    seconds: float = 0.0
    requests: dict[str, int] = field(default_factory=dict)
    most_statuses_in_a_second: int = 0
    api_bytes: int | None = None
    driver_requests: int = 0
    driver_bytes: int = 0
    pods: int = 0
    running: int = 0
    pods_made: int = 0
    jobs: int = 0
    reactions_active: list[float] = field(default_factory=list)
    reactions_resting: list[float] = field(default_factory=list)
    lost: int = 0
    late_seconds: float = 0.0


class World:
    """Everything around the operator."""

    def __init__(self, pods: ManyPods, fleet: DriverFleet, load: Load) -> None:
        self._pods = pods
        self._fleet = fleet
        self._load = load
        self._chance = Random(f"many {load.seed}")
        self._by_driver: dict[str, Member] = {}
        self._members: list[Member] = []
        self._figures = Figures()
        self._began = 0.0
        self._counted = (0, 0)
        self.jobs_per_second = 0.0
        pods.listen(self._pod_changed)

    async def populate(self) -> None:
        """Drivers that answer, and of each that does not arrive later a pod that runs, and a SparkAllocation."""
        load = self._load
        count_active = max(1, round(load.applications * load.active))
        each_active = min(30, max(1, load.pods * 3 // 10 // count_active))
        resting = max(1, load.applications - count_active)
        each_resting = max(1, (load.pods - each_active * count_active) // resting)
        for number in range(load.applications):
            active = number < count_active
            truth = FleetApplication(
                f"application-{number}",
                namespace=f"team-{number % NAMESPACES}",
                slots={0: 4},
                conf=self._pods.conf,
            )
            await self._fleet.open(truth)
            self._members.append(Member(truth, active, each_active if active else each_resting))
        if not load.arrive:
            async with asyncio.TaskGroup() as group:
                for member in self._members:
                    group.create_task(self._put(member))
        await self._pods.put_foreign(load.foreign_pods)
        await self._pods.drivers_run()

    async def arrive(self) -> None:
        """Those that come later do, one after the other."""
        if not self._load.arrive:
            return
        began = time.monotonic()
        for number, member in enumerate(self._members):
            await asyncio.sleep(began + number / self._load.arrive - time.monotonic())
            await self._put(member)

    async def _put(self, member: Member) -> None:
        truth = member.truth
        pod = _driver_pod(truth, self._fleet.port)
        truth.pod_uid = await self._pods.put_driver(pod, truth.address)
        self._by_driver[truth.pod_uid] = member
        if member.active:
            truth.submit(StagePlan(member.executors * 4, ALWAYS_RUNNING_SECONDS))
        minimum = 0 if member.active else member.executors
        await self._pods.put_allocation(_allocation(truth, minimum))

    async def go_on(self) -> None:
        """Time goes by, until cancelled."""
        next_job = time.monotonic()
        while True:
            began = time.monotonic()
            self._pods.turn(began)
            for member in self._members:
                if member.truth.jobs or member.truth.is_at_work:
                    member.truth.turn()
            while self.jobs_per_second and next_job <= began:
                self._submit(began)
                next_job = max(next_job, began - 1.0) + 1.0 / self.jobs_per_second
            if not self.jobs_per_second:
                next_job = began
            before = time.monotonic()
            rest = max(0.01, TURN_SECONDS - (before - began))
            await asyncio.sleep(rest)
            late = time.monotonic() - before - rest
            self._figures.late_seconds = max(self._figures.late_seconds, late)

    @property
    def is_complete(self) -> bool:
        """Every application has its executors, registered."""
        return all(len(each.truth.executors) >= each.executors for each in self._members)

    @property
    def registered(self) -> int:
        return sum(len(each.truth.executors) for each in self._members)

    # -- pods --------------------------------------------------------------------------------------------------------

    def _pod_changed(self, kind: str, pod: Document) -> None:
        metadata = pod["metadata"]
        member = self._by_driver.get(metadata["ownerReferences"][0]["uid"])
        if member is None:
            return
        number, uid = int(metadata["labels"]["spark-exec-id"]), metadata["uid"]
        executor = member.truth.executors.get(number)
        if kind == "DELETED":
            member.truth.lose(number, uid, because="its pod went")
            return
        if kind == "ADDED":
            self._figures.pods_made += 1
            self._reacted(member)
        if "deletionTimestamp" in metadata:
            if executor is not None:
                executor.leaving = True
        elif executor is None and pod.get("status", {}).get("phase") == "Running":
            member.truth.register(number, uid)

    def _reacted(self, member: Member) -> None:
        if member.asked_at is None:
            return
        figures = self._figures
        reactions = figures.reactions_active if member.active else figures.reactions_resting
        reactions.append(time.monotonic() - member.asked_at)
        member.asked_at = None

    # -- jobs --------------------------------------------------------------------------------------------------------

    def _submit(self, now: float) -> None:
        """A job for somebody who has had none for a while: half of them for active applications."""
        wanted = self._chance.random() < 0.5
        for _ in range(50):
            member = self._chance.choice(self._members)
            long_ago = member.quiet_since < now - AGAIN_AFTER_SECONDS
            alone = (
                len(member.truth.executors) == member.executors
            )  # none is left that could take it
            if member.active is wanted and long_ago and alone:
                break
        else:
            return
        if member.asked_at is not None and now - member.asked_at > REACTION_LOST_SECONDS:
            self._figures.lost += 1
        member.asked_at, member.quiet_since = now, now
        self._figures.jobs += 1
        tasks = MORE * 4 if member.active else (member.executors + MORE) * 4
        member.truth.submit(StagePlan(tasks, JOB_SECONDS))

    # -- figures -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Count from now on."""
        self._figures = Figures()
        self._began = time.monotonic()
        self._pods.begin()
        self._counted = self._fleet.requests, self._fleet.answered_bytes

    def figures(self) -> Figures:
        """What was counted."""
        driver_requests, driver_bytes = self._counted
        found = self._figures
        found.seconds = time.monotonic() - self._began
        found.driver_requests = self._fleet.requests - driver_requests
        found.driver_bytes = self._fleet.answered_bytes - driver_bytes
        asked = self._pods.asked()
        found.requests = {name: count for name, count in sorted(asked.requests.items()) if count}
        found.most_statuses_in_a_second = asked.most_statuses_in_a_second
        found.api_bytes = asked.content_bytes
        executors = list(self._pods.executors())
        found.pods = len(executors)
        found.running = sum(pod.get("status", {}).get("phase") == "Running" for pod in executors)
        return found


def _driver_pod(truth: FleetApplication, ui_port: int) -> Document:
    return {
        "metadata": {
            "name": truth.name,
            "namespace": truth.namespace,
            "labels": {"spark-role": "driver", "spark-app-selector": truth.application_id},
        },
        "spec": {
            "containers": [
                {
                    "name": "spark-kubernetes-driver",
                    "image": "spark:test",
                    "ports": [{"name": "spark-ui", "containerPort": ui_port}],
                }
            ]
        },
    }


def _allocation(truth: FleetApplication, minimum: int) -> Document:
    return {
        "metadata": {"name": truth.name, "namespace": truth.namespace},
        "spec": {
            "driver": {"podName": truth.name},
            "dynamicAllocation": {
                "minExecutors": minimum,
                "maxExecutors": 200,
                "executorIdleTimeout": "10s",
            },
        },
    }


async def play(pods: ManyPods, load: Load) -> None:
    """Play the world; commands come as lines on stdin, answers are JSON lines on stdout."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with DriverFleet() as fleet:
        world = World(pods, fleet, load)
        await world.populate()
        async with asyncio.TaskGroup() as group:
            courses = [group.create_task(each) for each in (world.go_on(), world.arrive())]
            _say({"kubeconfig": pods.kubeconfig, "lease_namespace": pods.lease_namespace})
            await _obey(lines, world)
            for course in courses:
                course.cancel()


async def _obey(lines: asyncio.StreamReader, world: World) -> None:
    while line := (await lines.readline()).decode().split():
        match line:
            case ["complete"]:
                _say({"complete": world.is_complete, "registered": world.registered})
            case ["jobs", per_second]:
                world.jobs_per_second = float(per_second)
                _say({})
            case ["begin"]:
                world.begin()
                _say({})
            case ["figures"]:
                _say(asdict(world.figures()))


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)
