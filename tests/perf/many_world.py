"""The world of `bench_many`: drivers, kubelets and users of many SparkAllocations, beside an API server in memory.

One process plays all of it, so that the operator has the other core for itself:

- a tenth of the applications is *active*: a job with long tasks always runs on its executors, and now and then one
  is submitted that needs a few more;
- the others *rest*: their minimum of executors is registered and has nothing to do, until a small job comes.

Beside them there may be executor pods of drivers that allocate for themselves: the operator sees them and serves nobody of
them. A pod runs half a second after it was made, and its executor registers then; a deleted one is gone a moment later.
*Reaction* is the time from the submission of a job that needs more executors to the request for the first of them.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from tests.fleet.applications import FleetApplication, StagePlan
from tests.fleet.driver_fleet import DriverFleet
from tests.perf.bench_pods_watch import pod as executor_pod_of_others
from tests.perf.memory_api import Document, MemoryApi

NAMESPACES = 20
TURN_SECONDS = 0.1
POD_STARTS_SECONDS = 0.5
POD_GOES_SECONDS = 0.2
ALWAYS_RUNNING_SECONDS = 100_000.0
MORE = 2
"""Executors that a job needs beyond those that are there."""
JOB_SECONDS = 10.0
AGAIN_AFTER_SECONDS = 60.0
"""An application gets its next job when the executors of the last one have gone."""
REACTION_LOST_SECONDS = 30.0


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
    api_bytes: int = 0
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

    def __init__(
        self,
        api: MemoryApi,
        fleet: DriverFleet,
        *,
        applications: int,
        pods: int,
        foreign_pods: int,
        share_active: float,
        seed: int,
    ) -> None:
        self._api = api
        self._fleet = fleet
        self._chance = Random(f"many {seed}")
        self._by_driver: dict[str, Member] = {}
        self._members: list[Member] = []
        self._pods = pods
        self._foreign_pods = foreign_pods
        self._active = max(1, round(applications * share_active))
        self._applications = applications
        self._scheduled: deque[tuple[float, str, Document]] = deque()
        self._figures = Figures()
        self._began = 0.0
        self._counted: tuple[dict[str, int], int, int, int] = ({}, 0, 0, 0)
        self.jobs_per_second = 0.0
        api.listen("pods", self._pod_changed)

    async def populate(self) -> None:
        """Driver pods that run, and a SparkAllocation for each."""
        each_active = min(30, max(1, self._pods * 3 // 10 // self._active))
        resting = max(1, self._applications - self._active)
        each_resting = max(1, (self._pods - each_active * self._active) // resting)
        for number in range(self._applications):
            active = number < self._active
            executors = each_active if active else each_resting
            truth = FleetApplication(
                f"application-{number}", namespace=f"team-{number % NAMESPACES}", slots={0: 4}
            )
            await self._fleet.open(truth)
            pod = self._api.put("pods", _driver_pod(truth, self._fleet.port))
            truth.pod_uid = pod["metadata"]["uid"]
            member = Member(truth, active, executors)
            self._members.append(member)
            self._by_driver[truth.pod_uid] = member
            if active:
                truth.submit(StagePlan(executors * 4, ALWAYS_RUNNING_SECONDS))
            self._api.put("sparkallocations", _allocation(truth, 0 if active else executors))
        for number in range(self._foreign_pods):
            self._api.put("pods", executor_pod_of_others(number, version=0))

    async def go_on(self) -> None:
        """Time goes by, until cancelled."""
        next_job = time.monotonic()
        while True:
            began = time.monotonic()
            self._play_pods(began)
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
        labels = pod["metadata"].get("labels") or {}
        if labels.get("spark-role") != "executor":
            return
        now = time.monotonic()
        member = self._by_driver.get(pod["metadata"]["ownerReferences"][0]["uid"])
        if member is None:
            return
        if kind == "ADDED":
            self._figures.pods_made += 1
            if member.asked_at is not None:
                seconds = now - member.asked_at
                reactions = (
                    self._figures.reactions_active
                    if member.active
                    else self._figures.reactions_resting
                )
                reactions.append(seconds)
                member.asked_at = None
            self._scheduled.append((now + POD_STARTS_SECONDS, "run", pod))
        elif kind == "MODIFIED" and "deletionTimestamp" in pod["metadata"]:
            executor = member.truth.executors.get(int(labels["spark-exec-id"]))
            if executor is not None:
                executor.leaving = True
            self._scheduled.append((now + POD_GOES_SECONDS, "go", pod))
        elif kind == "DELETED":
            member.truth.lose(
                int(labels["spark-exec-id"]), pod["metadata"]["uid"], because="its pod went"
            )

    def _play_pods(self, now: float) -> None:
        due = [each for each in self._scheduled if each[0] <= now]
        if not due:
            return
        self._scheduled = deque(each for each in self._scheduled if each[0] > now)
        for _, what, pod in due:
            if what == "go":
                self._api.remove("pods", pod)
            elif "deletionTimestamp" not in pod["metadata"]:
                self._api.change("pods", pod, {"spec": {"nodeName": "node-1"}, "status": _RUNNING})
                metadata = pod["metadata"]
                member = self._by_driver[metadata["ownerReferences"][0]["uid"]]
                member.truth.register(int(metadata["labels"]["spark-exec-id"]), metadata["uid"])

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
        self._api.statuses_by_second.clear()
        self._counted = (
            dict(self._api.requests),
            self._api.received_bytes + self._api.sent_bytes,
            self._fleet.requests,
            self._fleet.answered_bytes,
        )

    def figures(self) -> Figures:
        """What was counted."""
        requests, api_bytes, driver_requests, driver_bytes = self._counted
        found = self._figures
        found.seconds = time.monotonic() - self._began
        found.requests = {
            name: count - requests.get(name, 0)
            for name, count in sorted(self._api.requests.items())
            if count > requests.get(name, 0)
        }
        found.most_statuses_in_a_second = max(self._api.statuses_by_second.values(), default=0)
        found.api_bytes = self._api.received_bytes + self._api.sent_bytes - api_bytes
        found.driver_requests = self._fleet.requests - driver_requests
        found.driver_bytes = self._fleet.answered_bytes - driver_bytes
        executors = [
            pod
            for pod in self._api.all("pods")
            if pod["metadata"]["labels"].get("spark-role") == "executor"
        ]
        found.pods = len(executors)
        found.running = sum(pod.get("status", {}).get("phase") == "Running" for pod in executors)
        return found


_RUNNING: Document = {
    "phase": "Running",
    "podIP": "10.42.7.1",
    "conditions": [
        {"type": kind, "status": "True"} for kind in ("Ready", "PodScheduled", "Initialized")
    ],
    "containerStatuses": [
        {
            "name": "spark-kubernetes-executor",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}},
        }
    ],
}


def _driver_pod(truth: FleetApplication, ui_port: int) -> Document:
    running = {
        "name": "spark-kubernetes-driver",
        "ready": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }
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
        "status": {"phase": "Running", "podIP": truth.address, "containerStatuses": [running]},
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


async def serve(
    applications: int, pods: int, foreign_pods: int, share_active: float, seed: int
) -> None:
    """Play the world; commands come as lines on stdin, answers are JSON lines on stdout."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with MemoryApi() as api, DriverFleet() as fleet:
        world = World(
            api,
            fleet,
            applications=applications,
            pods=pods,
            foreign_pods=foreign_pods,
            share_active=share_active,
            seed=seed,
        )
        await world.populate()
        going_on = asyncio.create_task(world.go_on())
        _say({"kubeconfig": api.kubeconfig()})
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
            if going_on.done():
                going_on.result()
        going_on.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await going_on


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)
