"""The day itself: a fleet of drivers, the operator as a process of its own, windows of faults, and the judge.

The operator serves all namespaces and holds a Lease, as it does in a cluster. Between it and the API server stands the
fault proxy; between it and the drivers the fleet, which has the same schedule. After each window the clock of the day
stands still until the plan is stable: tasks begin, none ends, nothing starts.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import yaml
from tests.cluster import Cluster
from tests.day.plan import TEAMS, Day, PlannedApplication, jobs_from
from tests.day.samples import RequestCounts, Sample, process_figures
from tests.faults.disturbance import Disturbance
from tests.faults.fault_proxy import Passage
from tests.faults.fault_schedule import Deed, DeedKind, FaultSchedule, Kind
from tests.faults.foreign_pods import foreign_pods
from tests.faults.invariants import Invariants
from tests.faults.pods_feed import PodsFeed
from tests.faults.quota import fill_quota, lift_quota
from tests.faults.run import GC_PAUSE_SECONDS
from tests.fleet.applications import FleetApplication, StagePlan, StoppableClock
from tests.fleet.driver_fleet import SPARK_UI_PORT, DriverFleet
from tests.fleet.executor_lives import ExecutorLives
from tests.fleet.pod_player import PodPlayer
from tests.integration.operator_world import NOBODY, Everywhere, OperatorWorld, operator_world

Document = dict[str, Any]
NODES = 12
TURN_SECONDS = 0.2
SAMPLE_SECONDS = 5.0
STABLE_WITHIN_SECONDS = 30.0
PODS_FOLLOW_WITHIN_SECONDS = 30.0
STAYS_STABLE_SECONDS = 2.0
SWEPT_WITHIN_SECONDS = 40.0
"""After the end of a driver, or after the faults that were going on then."""
GONE_WITHIN_SECONDS = 60.0
STAYS_BEHIND_SECONDS = 8.0
"""How long a driver pod that has ended is kept by its user."""
SETTLES_SECONDS = 60.0
"""After a start or a window; from then on requests count as those of calm times."""
ANNOTATION = "spec.sparkallocation.dev/"


@dataclass(slots=True)
class Window:
    """What came of a window of faults."""

    began: float
    ended: float
    faults: int
    stable_after: float
    pods_after: float
    applications: int
    names: list[str]


@dataclass
class DayResult:
    """What came of the day.

    Attributes:
        broken: invariants that did not hold; none is what the day is for.
    """

    day: Day
    broken: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    requests: RequestCounts = field(default_factory=RequestCounts)
    swept_seconds: list[float] = field(default_factory=list)
    creations: int = 0
    registered: int = 0
    tasks: int = 0
    started: int = 0
    kills: int = 0
    driver_requests: int = 0
    driver_bytes: int = 0
    seconds: float = 0.0
    stood_still: float = 0.0
    logs: list[Path] = field(default_factory=list)


@dataclass(eq=False)
class _Running:
    """An application that has started."""

    planned: PlannedApplication
    truth: FleetApplication
    world: OperatorWorld
    ends_at: float | None
    ending: bool = False


class DayRun:
    """One day on a cluster of its own."""

    def __init__(
        self,
        cluster: Cluster,
        day: Day,
        folder: Path,
        *,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._cluster = cluster
        self._day = day
        self._folder = folder
        self._say = say
        self._chance = Random(f"course {day.seed}")
        self._clock = StoppableClock()
        self._waiting = list(day.applications)
        self._running: list[_Running] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._disturbed_until = 0.0
        self._in_window = False
        self._stands_still = False
        self._latest = 0.0
        self._said = 0
        self._began = time.monotonic()
        self._operator_since = (0, 0.0)
        self._schedules: list[FaultSchedule] = []
        self._pauses_end = 0.0
        self._filled: list[OperatorWorld] = []
        self._kept_drivers: set[str] = set()
        """Uids of driver pods that stay until the end: foreign pods belong to them."""
        self.result = DayResult(day)

    async def run(self) -> DayResult:
        """Run it."""
        async with AsyncExitStack() as stack:
            await self._set_up(stack)
            try:
                await self._go_through()
            finally:
                await self._disturbance.close()
                for task in list(self._background):
                    task.cancel()
                await asyncio.gather(*self._background, return_exceptions=True)
                self._conclude()
        return self.result

    # -- the world ---------------------------------------------------------------------------------------------------

    async def _set_up(self, stack: AsyncExitStack) -> None:
        home = await stack.enter_async_context(operator_world(self._cluster))
        self._teams = {team: await self._team(stack, home, team) for team in TEAMS}
        self._all = Everywhere(home.cluster, home.api, home.namespace)
        self._feed = PodsFeed(self._all)
        following = asyncio.create_task(self._feed.run())
        stack.callback(following.cancel)
        await self._feed.synced.wait()
        self._lives = ExecutorLives(self._feed, seed=self._day.seed)
        stack.callback(self._lives.stop)
        self._invariants = Invariants(self._feed, [])
        self._player = PodPlayer(
            home.api, self._feed, self._lives, seed=self._day.seed, nodes=NODES
        )
        await self._player.start()
        stack.push_async_callback(self._player.stop)
        calm = FaultSchedule(self._day.seed)
        self._disturbance = Disturbance(
            home, calm, self._folder, lease=True, everywhere=True, say=self._say
        )
        self._disturbance.when_asked = self._asked
        await self._disturbance.stand_before_the_api(stack)
        self._disturbance.proxies[0].when_answered = lambda passage, _: self._invariants.answered(
            passage
        )
        self._fleet = await stack.enter_async_context(
            DriverFleet(lambda _: self._disturbance.fate(Kind.DRIVER), port=SPARK_UI_PORT)
        )

    @staticmethod
    async def _team(stack: AsyncExitStack, home: OperatorWorld, team: str) -> OperatorWorld:
        world = OperatorWorld(home.cluster, home.api, f"{home.namespace}-{team}")
        await world.did("POST", "/api/v1/namespaces", {"metadata": {"name": world.namespace}})
        await world.takes_pods()

        async def remove() -> None:
            for item in (await world.did("GET", world.allocations_path)).get("items", ()):
                path = f"{world.allocations_path}/{item['metadata']['name']}"
                await world.request("PATCH", path, {"metadata": {"finalizers": None}})
            await world.request("DELETE", f"/api/v1/namespaces/{world.namespace}")

        stack.push_async_callback(remove)
        return world

    def _asked(self, passage: Passage) -> None:
        self._invariants.asked(passage)
        self.result.requests.count(passage)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let it go on by itself; the day has failed when it does."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(f"the day itself failed: {error!r}")

    # -- the course --------------------------------------------------------------------------------------------------

    async def _go_through(self) -> None:
        self._began = time.monotonic()
        self._clock = StoppableClock()
        self._disturbance.start_operators()
        self._spawn(self._sample())
        self._spawn(self._turn())
        await self._reaches(5.0)
        await self._put_foreign_pods()
        for at, schedule in self._day.windows:
            await self._reaches(at)
            await self._window(schedule)
        await self._reaches(self._day.seconds)
        self._say("the day is over")
        await self._everybody_ends()

    async def _reaches(self, at: float) -> None:
        while self._clock() < at:
            await asyncio.sleep(0.1)

    async def _turn(self) -> None:
        """Applications start, work and end."""
        while True:
            began = time.monotonic()
            while self._waiting and self._waiting[0].starts <= self._clock():
                self._spawn(self._start(self._waiting.pop(0)))
            for each in list(self._running):
                each.truth.turn()
                if not each.ending and not self._stands_still and self._is_over(each):
                    each.ending = True
                    self._spawn(self._end(each))
            rest = max(0.02, TURN_SECONDS - (time.monotonic() - began))
            before = time.monotonic()
            await asyncio.sleep(rest)
            self._latest = max(self._latest, time.monotonic() - before - rest)

    def _is_over(self, each: _Running) -> bool:
        if each.ends_at is not None:
            return self._clock() >= each.ends_at
        return not each.truth.is_at_work and not each.truth.jobs

    async def _start(self, planned: PlannedApplication) -> None:
        world = self._teams[planned.team]
        now = self._clock()
        truth = FleetApplication(
            planned.name,
            namespace=world.namespace,
            jobs=jobs_from(planned, now),
            slots=planned.slots,
            clock=self._clock,
        )
        truth.bounds.append((time.monotonic(), planned.minimum, planned.maximum))
        await self._fleet.open(truth)
        pod = await self._driver_pod(world, planned, truth)
        truth.pod_uid = pod["metadata"]["uid"]
        self._lives.applications[truth.pod_uid] = truth
        self._invariants.judge(truth)
        await self._write_driver_status(world, truth, "Running")
        if not planned.managed:
            body = {
                "apiVersion": "sparkallocation.dev/v1alpha1",
                "kind": "SparkAllocation",
                "metadata": {"name": planned.name},
                "spec": {"driver": {"podName": planned.name}, **_spec(planned)},
            }
            await self._insist(world, "POST", world.allocations_path, body, also=(409,))
        ends_at = None if planned.lasts is None else now + planned.lasts
        self._running.append(_Running(planned, truth, world, ends_at))
        self.result.started += 1

    async def _driver_pod(
        self, world: OperatorWorld, planned: PlannedApplication, truth: FleetApplication
    ) -> Document:
        managed = {"sparkallocation.dev/managed": "true"} if planned.managed else {}
        annotations = dict(_annotations(_spec(planned))) if planned.managed else {}
        body = {
            "metadata": {
                "name": planned.name,
                "labels": {
                    "spark-role": "driver",
                    "spark-app-selector": truth.application_id,
                    **managed,
                },
                "annotations": annotations,
            },
            "spec": {
                "schedulerName": NOBODY,
                "automountServiceAccountToken": False,
                "restartPolicy": "Never",
                "containers": [{"name": "spark-kubernetes-driver", "image": "spark:test"}],
            },
        }
        await self._insist(world, "POST", world.pods_path, body, also=(409,))
        return await self._insist(world, "GET", f"{world.pods_path}/{planned.name}")

    async def _write_driver_status(
        self, world: OperatorWorld, truth: FleetApplication, phase: str
    ) -> None:
        ended = {"exitCode": 0 if phase == "Succeeded" else 1, "reason": "Completed"}
        state = (
            {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
            if phase == "Running"
            else {"terminated": ended}
        )
        container = {"name": "spark-kubernetes-driver", "image": "spark:test", "imageID": "",
                     "ready": phase == "Running", "restartCount": truth.lives - 1, "state": state}  # fmt: skip
        status = {
            "phase": phase,
            "podIP": truth.address,
            "podIPs": [{"ip": truth.address}],
            "containerStatuses": [container],
        }
        path = f"{world.pods_path}/{truth.name}/status"
        await self._insist(world, "PATCH", path, {"status": status})

    async def _end(self, each: _Running) -> None:
        """The driver ends; what the operator made for it goes, and so does what its user made."""
        truth, world, planned = each.truth, each.world, each.planned
        ended_at = truth.ended_at = time.monotonic()
        truth.executors.clear()
        await self._fleet.close(truth)
        phase = "Failed" if planned.fails else "Succeeded"
        await self._write_driver_status(world, truth, phase)
        self._running.remove(each)
        self.result.tasks += truth.tasks_done
        await self._gone_within(
            lambda: bool(self._invariants.living(truth)),
            SWEPT_WITHIN_SECONDS,
            f"pods of {truth.name}, whose driver has ended",
        )
        self.result.swept_seconds.append(time.monotonic() - ended_at)
        await asyncio.sleep(STAYS_BEHIND_SECONDS)
        if planned.ttl is None and not planned.managed:
            await self._insist(
                world, "DELETE", f"{world.allocations_path}/{truth.name}", also=(404,)
            )
        if truth.pod_uid not in self._kept_drivers:
            path = f"{world.pods_path}/{truth.name}"
            await self._insist(world, "DELETE", path, {"gracePeriodSeconds": 0}, also=(404,))
        await self._allocation_goes(each)

    async def _allocation_goes(self, each: _Running) -> None:
        path = f"{each.world.allocations_path}/{each.truth.name}"
        since = time.monotonic()
        while not self._is_late(since, GONE_WITHIN_SECONDS):
            if (await each.world.insist("GET", path)).status == 404:
                # what is kept of it here must not look like memory that grows
                self._lives.applications.pop(each.truth.pod_uid, None)
                return
            await asyncio.sleep(2.0)
        self._break(f"the SparkAllocation of {each.truth.name} stays after its end")

    async def _gone_within(self, there: Callable[[], bool], seconds: float, what: str) -> None:
        since = time.monotonic()
        while there():
            if self._is_late(since, seconds):
                self._break(f"{what}, stay")
                return
            await asyncio.sleep(0.2)

    def _is_late(self, since: float, seconds: float) -> bool:
        """Whether something has taken longer than it may, not counting the time of faults and what they leave."""
        if self._in_window:
            return False
        return time.monotonic() > max(since, self._disturbed_until) + seconds

    async def _everybody_ends(self) -> None:
        self._waiting.clear()
        for each in self._running:
            each.ends_at = 0.0
        end = time.monotonic() + SWEPT_WITHIN_SECONDS + GONE_WITHIN_SECONDS + 30
        while self._running and time.monotonic() < end:
            await asyncio.sleep(0.2)
        left: list[str] = []
        while time.monotonic() < end:
            listed = await self._insist(self._all, "GET", self._all.allocations_path)
            left = [each["metadata"]["name"] for each in listed["items"]]
            if not left:
                break
            await asyncio.sleep(1.0)
        for name in left:
            self._break(f"{name} is left after the day")
        await asyncio.sleep(SETTLES_SECONDS / 2)  # what the process holds when it has nothing to do
        self._invariants.finish()

    async def _put_foreign_pods(self) -> None:
        while not self._running:
            await asyncio.sleep(0.1)
        ours = self._running[0]
        self._kept_drivers.add(ours.truth.pod_uid)
        world = ours.world
        other = await world.put_driver("somebody-else")
        mine = (ours.truth.name, ours.truth.pod_uid)
        theirs = ("somebody-else", other["metadata"]["uid"])
        for document in foreign_pods(mine, theirs, ours.truth.application_id):
            self._invariants.foreign(await world.did("POST", world.pods_path, document))

    # -- faults ------------------------------------------------------------------------------------------------------

    async def _window(self, schedule: FaultSchedule) -> None:
        self._in_window = True
        self._schedules.append(schedule)
        began = time.monotonic()
        self._disturbance.take_up(schedule)
        await self._disturbance.go_through(self._do)
        self._fleet.calm()
        while self._filled:
            await lift_quota(self._filled.pop())
        await asyncio.sleep(max(0.0, self._pauses_end - time.monotonic()))
        last_fault = time.monotonic()
        self._disturbed_until = last_fault + STABLE_WITHIN_SECONDS
        self._in_window = False
        self._player.mishaps = False
        self._clock.stop()
        self._stands_still = True
        stable, pods, judged = await self._becomes_stable(last_fault)
        self._stands_still = False
        self._clock.go_on()
        self._player.mishaps = True
        self.result.stood_still += time.monotonic() - last_fault
        self._say(f"stable after {stable:.1f} s, pods after {pods:.1f} s, {judged} applications")
        self.result.windows.append(
            Window(
                began - self._began,
                last_fault - self._began,
                schedule.met.total(),
                stable,
                pods,
                judged,
                [each.name for each in schedule.episodes],
            )
        )

    async def _do(self, deed: Deed) -> None:
        if not self._running:
            return
        each = self._running[deed.application % len(self._running)]
        match deed.kind:
            case DeedKind.KILL_AT | DeedKind.WORK:
                each.truth.submit(StagePlan(4 * deed.number, 2.0))
            case DeedKind.BOUNDS:
                await self._bound(each, deed.number)
            case DeedKind.RESTART_DRIVER:
                await self._restart(each)
            case DeedKind.GC_PAUSE:
                each.truth.paused_until = time.monotonic() + GC_PAUSE_SECONDS
                self._pauses_end = max(self._pauses_end, each.truth.paused_until)
            case DeedKind.QUOTA if not self._filled:
                self._filled.append(each.world)
                await fill_quota(each.world)
            case DeedKind.EVICT | DeedKind.DELETE_POD:
                living = [
                    pod
                    for running in self._running
                    for pod in self._invariants.living(running.truth)
                ]
                if living:
                    pod = living[(deed.application * 31 + deed.number) % len(living)]
                    evict = deed.kind is DeedKind.EVICT
                    await (self._player.evict if evict else self._player.delete_by_hand)(pod)

    async def _bound(self, each: _Running, maximum: int) -> None:
        minimum = min(self._chance.randint(0, 2), maximum)
        path = f"{each.world.allocations_path}/{each.truth.name}"
        bounds = {"minExecutors": minimum, "maxExecutors": maximum}
        answer = await each.world.insist("PATCH", path, {"spec": {"dynamicAllocation": bounds}})
        if answer.ok:
            each.truth.bounds.append((time.monotonic(), minimum, maximum))

    async def _restart(self, each: _Running) -> None:
        await self._fleet.close(each.truth)
        await asyncio.sleep(1.0)
        if each.ending:
            return
        each.truth.restart()
        await self._write_driver_status(each.world, each.truth, "Running")
        await self._fleet.open(each.truth)

    async def _becomes_stable(self, last_fault: float) -> tuple[float, float, int]:
        """Targets are right within half a minute and stay so; the pods follow."""
        judged = [each for each in self._running if not each.ending]
        targets_at = pods_at = None
        wrong: list[str] = []
        while time.monotonic() < last_fault + STABLE_WITHIN_SECONDS + PODS_FOLLOW_WITHIN_SECONDS:
            listed = await self._insist(self._all, "GET", self._all.allocations_path)
            found = {
                (item["metadata"]["namespace"], item["metadata"]["name"]): item
                for item in listed["items"]
            }
            states = [
                self._state(each, found.get((each.world.namespace, each.truth.name)) or {})
                for each in judged
            ]
            wrong = [words for right, there, words in states if not (right and there)]
            now = time.monotonic()
            targets_at = (targets_at or now) if all(right for right, _, _ in states) else None
            pods_at = (pods_at or now) if all(there for _, there, _ in states) else None
            if targets_at and pods_at and now - max(targets_at, pods_at) > STAYS_STABLE_SECONDS:
                break
            if targets_at is None and now > last_fault + STABLE_WITHIN_SECONDS:
                break
            await asyncio.sleep(0.5)
        if targets_at is None or targets_at - last_fault > STABLE_WITHIN_SECONDS:
            self._break(f"no stable plan within 30 s: {'; '.join(wrong)}")
        elif pods_at is None:
            self._break(f"pods do not follow the plan: {'; '.join(wrong)}")
        never = float("inf")
        return (targets_at or never) - last_fault, (pods_at or never) - last_fault, len(judged)

    def _state(self, each: _Running, item: Document) -> tuple[bool, bool, str]:
        truth = each.truth
        status = item.get("status") or {}
        (least, most), waiting = truth.wanted(), truth.waiting
        target, living = status.get("target", -1), len(self._invariants.living(truth))
        # as in Spark, what runs anyway does not raise a target: only tasks that wait do
        right = target <= most and (target >= least or not waiting)
        words = (
            f"{truth.name} wants {least}, {waiting} tasks wait, target {target}, pods {living}, "
            f"state {status.get('state')} ({status.get('message', '')[:200]})"
        )
        # a maximum that was lowered takes no executor from its tasks, and none of these ends now
        all_work = all(each.working for each in truth.executors.values())
        enough = living >= least or self._tries_one_first(status)
        there = not waiting or (enough and (living <= most or all_work))
        return right, there, words

    @staticmethod
    def _tries_one_first(status: Document) -> bool:
        """After a full quota one executor is to show that it works; it shows it by ending a task, and none ends now."""
        return any(
            each["type"] == "Stalled" and each["status"] == "True"
            for each in status.get("conditions") or ()
        )

    # -- measuring ---------------------------------------------------------------------------------------------------

    async def _sample(self) -> None:
        while True:
            self._take_sample()
            passages = self._disturbance.proxies[0].passages
            del passages[: max(0, len(passages) - 1000)]
            until = time.monotonic() + SAMPLE_SECONDS
            while (before := time.monotonic()) < until:
                await asyncio.sleep(0.5)
                self._mark_calm(time.monotonic() - before)
                for sentence in self._invariants.broken[self._said :]:
                    self._say(f"BROKEN: {sentence} (fleet late by {self._latest:.1f} s)")
                self._said = len(self._invariants.broken)

    def _mark_calm(self, seconds: float) -> None:
        now = time.monotonic()
        pid = self._disturbance.operators[0].process.pid
        if self._operator_since[0] != pid:
            self._operator_since = (pid, now)
        counts = self.result.requests
        counts.is_calm = (
            not self._in_window
            and now > self._disturbed_until - STABLE_WITHIN_SECONDS + SETTLES_SECONDS
            and now > self._operator_since[1] + SETTLES_SECONDS
        )
        counts.calm_seconds += seconds * counts.is_calm

    def _take_sample(self) -> None:
        pid = self._disturbance.operators[0].process.pid
        figures = process_figures(pid)
        if figures is None:
            return
        truths = [each.truth for each in self._running]
        sample = Sample(
            at=time.monotonic() - self._began,
            pid=pid,
            rss_mib=figures[0],
            cpu_seconds=figures[1],
            allocations=len(truths),
            executors=sum(len(self._invariants.living(each)) for each in truths),
            running=sum(len(each.executors) for each in truths),
            needed=sum(each.needed().total() for each in truths),
            requests=self.result.requests.all.total(),
            driver_requests=self._fleet.requests,
            faults=sum(each.met.total() for each in self._schedules),
            disturbed=self._in_window or time.monotonic() < self._disturbed_until,
            load=os.getloadavg()[0],
            fleet_late=self._latest,
        )
        self._latest = 0.0
        self.result.samples.append(sample)
        if len(self.result.samples) % 12 == 1:
            self._say(
                f"{sample.allocations} applications, {sample.executors} executors, {sample.rss_mib:.0f} MiB, "
                f"CPU {sample.cpu_seconds:.0f} s, load {sample.load:.1f}"
            )

    def _conclude(self) -> None:
        result = self.result
        result.broken += [
            *self._invariants.broken,
            *self._disturbance.ended,
            *(f"the player failed: {each}" for each in self._player.errors),
        ]
        result.creations = self._invariants.creations
        result.registered = self._lives.registered
        result.kills = self._disturbance.kills
        result.driver_requests = self._fleet.requests
        result.driver_bytes = self._fleet.answered_bytes
        result.seconds = time.monotonic() - self._began
        result.logs = self._disturbance.logs
        for schedule in self._schedules:
            result.met += schedule.met

    def _break(self, sentence: str) -> None:
        self._say(f"BROKEN: {sentence}")
        if sentence not in self.result.broken:
            self.result.broken.append(sentence)

    async def _insist(
        self,
        world: OperatorWorld,
        method: str,
        path: str,
        body: Any = None,
        *,
        also: tuple[int, ...] = (),
    ) -> Document:
        answer = await world.insist(method, path, body)
        assert answer.ok or answer.status in also, (
            f"{method} {path}: {answer.status} {answer.message}"
        )
        return answer.json()


def _spec(planned: PlannedApplication) -> Document:
    """What its SparkAllocation says, besides which driver it is for."""
    bounds = {"minExecutors": planned.minimum, "maxExecutors": planned.maximum}
    spec: Document = {
        "dynamicAllocation": {**bounds, **planned.dynamic},
        "allocation": {"podAllocationDelay": "1s"},
    }
    ttl = planned.ttl if planned.ttl is not None or not planned.managed else 30
    if ttl is not None:
        spec["ttlSecondsAfterFinished"] = ttl
    return spec


def _annotations(spec: Document, path: str = "") -> Any:
    """The same as annotations of a driver pod."""
    for key, value in spec.items():
        if isinstance(value, dict):
            yield from _annotations(value, f"{path}{key}.")
        else:
            yield f"{ANNOTATION}{path}{key}", yaml.safe_dump(value).splitlines()[0]
