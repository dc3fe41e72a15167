"""One run: a namespace, applications, operators behind proxies, a schedule of faults, and the verdict."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.cluster import Cluster
from tests.faults.cluster_actor import Kubelets, SparkApplication
from tests.faults.disturbance import Disturbance
from tests.faults.fault_proxy import Passage
from tests.faults.fault_schedule import Deed, DeedKind, FaultSchedule
from tests.faults.foreign_pods import foreign_pods
from tests.faults.invariants import Invariants
from tests.faults.pods_feed import PodsFeed
from tests.faults.quota import fill_quota, lift_quota
from tests.faults.wall_clock import WallClock
from tests.integration.operator_world import operator_world
from tests.security.certificates import Authority

from spark_allocation.testing.driver import FakeDriver

Document = dict[str, Any]
STABLE_WITHIN_SECONDS = 30.0
PODS_FOLLOW_WITHIN_SECONDS = 30.0
SWEPT_WITHIN_SECONDS = 30.0
IDLE_SECONDS = 4
GC_PAUSE_SECONDS = 30.0
ACCESS = "ui"


@dataclass
class Verdict:
    """What came of a run.

    Attributes:
        broken: invariants that did not hold; none is what the run is for.
        stable_after: seconds from the last fault until every application's target was right for good.
    """

    seed: int
    schedule: FaultSchedule
    broken: list[str] = field(default_factory=list)
    stable_after: float = 0.0
    pods_after: float = 0.0
    kills: int = 0
    creations: int = 0
    requests: int = 0
    faults: int = 0
    seconds: float = 0.0
    operators: int = 1
    logs: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        met = ", ".join(f"{count} × {name}" for name, count in self.schedule.met.most_common())
        lines = [
            str(self.schedule),
            f"  met: {met}",
            f"  {self.requests} requests, {self.creations} creations, {self.kills} kills, {self.operators} operators",
            f"  targets right {self.stable_after:.1f} s after the last fault, pods {self.pods_after:.1f} s",
            *(f"  BROKEN: {each}" for each in self.broken),
            *(f"  log: {each}" for each in self.logs if self.broken),
        ]
        return "\n".join(lines)


class Run:
    """One seed. `operators` of them at once share a Lease; a single one has none."""

    def __init__(
        self,
        cluster: Cluster,
        schedule: FaultSchedule,
        folder: Path,
        *,
        applications: int = 2,
        operators: int = 1,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._cluster = cluster
        self._schedule = schedule
        self._folder = folder
        self._count = applications
        self._operators_wanted = operators
        self._say = say
        self._chance = Random(f"run {schedule.seed}")
        self._began = time.monotonic()
        self._behind_tls: set[str] = set()
        self._filled: asyncio.Task[None] | None = None
        self.verdict = Verdict(schedule.seed, schedule, operators=operators)

    async def judge(self) -> Verdict:
        """Run it."""
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            self._world = await stack.enter_async_context(operator_world(self._cluster))
            await self._set_up(stack)
            try:
                await self._go_through()
            finally:
                await self._disturbance.close()
        self.verdict.seconds = time.monotonic() - began
        passages = self._disturbance.passages
        self.verdict.requests = len(passages)
        self.verdict.kills = self._disturbance.kills
        self.verdict.logs += self._disturbance.logs
        self.verdict.faults = self._schedule.met.total()
        self.verdict.creations = self._invariants.creations
        self.verdict.broken += [*self._invariants.broken, *self._disturbance.ended]
        if self.verdict.broken:
            self._write_traffic(passages)
        return self.verdict

    # -- the world ---------------------------------------------------------------------------------------------------

    async def _set_up(self, stack: AsyncExitStack) -> None:
        world = self._world
        self._feed = PodsFeed(world)
        following = asyncio.create_task(self._feed.run())
        stack.callback(following.cancel)
        self._disturbance = Disturbance(
            world,
            self._schedule,
            self._folder,
            operators=self._operators_wanted,
            environment={"SPARK_ALLOCATION_DRIVER_ACCESSES": str(self._folder / "accesses")},
            clocks_are_set=True,
            say=self._say,
        )
        self.applications = [
            await self._application(
                stack,
                f"job-{number}",
                profiles=1 if number % 3 == 0 else 2,
                serves=self._tls() if number == 1 else None,
            )
            for number in range(self._count)
        ]
        self._invariants = Invariants(self._feed, self.applications)
        await self._feed.synced.wait()
        await self._put_foreign_pods()
        self._kubelets = Kubelets(world, self._feed, self.applications, seed=self._schedule.seed)
        await self._kubelets.start()
        stack.push_async_callback(self._kubelets.stop)
        self._disturbance.when_asked = self._invariants.asked
        self._disturbance.when_leading = self._invariants.leads
        await self._disturbance.stand_before_the_api(stack)
        for application in self.applications:
            await self._allocate(application)

    def _tls(self) -> ssl.SSLContext:
        """How a driver is served behind TLS; what the operator needs for it lies in its folder of accesses.

        The certificates are some days old, as any in use are: a clock that was set back still takes them.
        """
        some_days_ago = WallClock(self._folder, "certificates", off_by=-10 * 86_400)
        authority = Authority(self._folder, environment=some_days_ago.environment, days=20)
        access = self._folder / "accesses" / self._world.namespace / ACCESS
        access.mkdir(parents=True)
        (access / "ca.crt").write_bytes(authority.certificate.read_bytes())
        (access / "server-name").write_text("driver")
        return authority.server("DNS:driver")

    async def _application(
        self, stack: AsyncExitStack, name: str, *, profiles: int, serves: ssl.SSLContext | None
    ) -> SparkApplication:
        driver = await stack.enter_async_context(FakeDriver(f"spark-{name}-1"))
        self._world.passive(driver)
        driver.properties["spark.app.name"] = name
        driver.profiles = [driver.profile(each) for each in range(profiles)]
        proxy = await self._disturbance.stand_before_a_driver(
            stack, f"http://127.0.0.1:{driver.port}", serves=serves
        )
        pod = await self._world.put_driver(name)
        application = SparkApplication(
            name, pod["metadata"]["uid"], driver=driver, proxy=proxy, profiles=profiles
        )
        if serves is not None:
            self._behind_tls.add(name)

        def heard(passage: Passage, body: bytes) -> None:
            if passage.status == 200 and body[:1] == b"[":
                application.hears(passage, json.loads(body))

        proxy.when_answered = heard
        return application

    async def _allocate(self, application: SparkApplication) -> None:
        maximum = self._chance.randint(4, 9)
        application.bounds.append((time.monotonic(), 0, maximum))
        await self._world.allocate(
            application.name,
            {
                "driver": {
                    "podName": application.name,
                    "uiPort": application.proxy.port,
                    **({"access": ACCESS} if application.name in self._behind_tls else {}),
                },
                "dynamicAllocation": {
                    "minExecutors": 0,
                    "maxExecutors": maximum,
                    "schedulerBacklogTimeout": "1s",
                    "sustainedSchedulerBacklogTimeout": "1s",
                    "executorIdleTimeout": f"{IDLE_SECONDS}s",
                },
                "allocation": {"podAllocationDelay": "1s"},
            },
        )
        application.submit(self._chance.randint(8, 20), 2.0)

    async def _put_foreign_pods(self) -> None:
        """Pods of somebody else that look as much like ours as they can without being so."""
        other = await self._world.put_driver("somebody-else")
        ours = self.applications[0]
        mine = (ours.name, ours.pod_uid)
        theirs = ("somebody-else", other["metadata"]["uid"])
        for document in foreign_pods(mine, theirs, ours.driver.application_id):
            pod = await self._world.did("POST", self._world.pods_path, document)
            self._invariants.foreign(pod)

    # -- the course --------------------------------------------------------------------------------------------------

    async def _go_through(self) -> None:
        self._disturbance.start_operators()
        await self._first_pods()
        self._began = time.monotonic()
        await self._disturbance.go_through(self._do)
        self._kubelets.mishaps = False
        await self._last_deeds_are_over()
        last_fault = time.monotonic()
        for application in self.applications:
            number = self._chance.randint(2, application.bounds[-1][2] + 2)
            application.forget_waiting()
            application.submit(number * application.profiles, 10_000.0)
        await self._becomes_stable(last_fault)
        await self._ends_are_swept()
        self._invariants.finish(self._disturbance.passages)

    async def _first_pods(self) -> None:
        """The operator has begun to work: without that, faults would only ever meet a start."""
        end = time.monotonic() + 60
        while not any(map(self._invariants.living, self.applications)):
            if time.monotonic() > end:
                log = self._disturbance.operators[0].log[-3000:]
                raise AssertionError(f"the operator makes no pod: {log}")
            await asyncio.sleep(0.1)

    async def _do(self, deed: Deed) -> None:
        application = self.applications[deed.application % len(self.applications)]
        match deed.kind:
            case DeedKind.KILL_AT:
                application.submit(4, 2.0)
            case DeedKind.BOUNDS:
                await self._bound(application, deed.number)
            case DeedKind.WORK:
                application.submit(deed.number, 2.0)
            case DeedKind.RESTART_DRIVER:
                await self._restart_driver(application)
            case DeedKind.GC_PAUSE:
                application.proxy.paused_until = time.monotonic() + GC_PAUSE_SECONDS
            case DeedKind.QUOTA if self._filled is None or self._filled.done():
                self._filled = asyncio.create_task(
                    self._fill_quota(min(deed.number, self._schedule.shape.longest))
                )
            case DeedKind.EVICT | DeedKind.DELETE_POD:
                living = self._invariants.living(application)
                if living:
                    pod = living[deed.number % len(living)]
                    evict = deed.kind is DeedKind.EVICT
                    await (self._kubelets.evict if evict else self._kubelets.delete_by_hand)(pod)

    async def _fill_quota(self, seconds: float) -> None:
        await fill_quota(self._world)
        await asyncio.sleep(seconds)
        await lift_quota(self._world)

    async def _last_deeds_are_over(self) -> None:
        """What lasts longer than the window was a fault for so long."""
        if self._filled is not None:
            await self._filled
        for application in self.applications:
            await asyncio.sleep(max(0.0, application.proxy.paused_until - time.monotonic()))

    async def _bound(self, application: SparkApplication, maximum: int) -> None:
        minimum = min(self._chance.randint(0, 2), maximum)
        application.bounds.append((time.monotonic(), minimum, maximum))
        path = f"{self._world.allocations_path}/{application.name}"
        bounds = {"minExecutors": minimum, "maxExecutors": maximum}
        await self._insist("PATCH", path, {"spec": {"dynamicAllocation": bounds}})

    async def _restart_driver(self, application: SparkApplication) -> None:
        await application.proxy.close()
        await asyncio.sleep(1.0)
        application.restart()
        pod = await self._insist("GET", f"{self._world.pods_path}/{application.name}")
        statuses = pod["status"]["containerStatuses"]
        statuses[0]["restartCount"] += 1
        path = f"{self._world.pods_path}/{application.name}/status"
        await self._insist("PATCH", path, {"status": {"containerStatuses": statuses}})
        await application.proxy.open()

    async def _insist(self, method: str, path: str, body: Any = None) -> Document:
        answer = await self._world.insist(method, path, body)
        assert answer.ok, answer.message
        return answer.json()

    # -- the verdict -------------------------------------------------------------------------------------------------

    async def _becomes_stable(self, last_fault: float) -> None:
        """Targets are right within half a minute and stay so; the pods follow."""
        targets_at = pods_at = None
        seen = ""
        while time.monotonic() < last_fault + STABLE_WITHIN_SECONDS + PODS_FOLLOW_WITHIN_SECONDS:
            states = [await self._state(each) for each in self.applications]
            seen = "; ".join(words for _, _, words in states)
            now = time.monotonic()
            targets_at = (targets_at or now) if all(good for good, _, _ in states) else None
            pods_at = (pods_at or now) if all(good for _, good, _ in states) else None
            if targets_at and pods_at and now - max(targets_at, pods_at) > 2.0:
                break
            if targets_at is None and now > last_fault + STABLE_WITHIN_SECONDS:
                break
            await asyncio.sleep(0.2)
        self.verdict.stable_after = (targets_at or float("inf")) - last_fault
        self.verdict.pods_after = (pods_at or float("inf")) - last_fault
        if self.verdict.stable_after > STABLE_WITHIN_SECONDS:
            self._invariants.broken.append(f"no stable plan within 30 s: {seen}")
        elif pods_at is None:
            self._invariants.broken.append(f"pods do not follow the plan: {seen}")

    async def _state(self, application: SparkApplication) -> tuple[bool, bool, str]:
        _, minimum, maximum = application.bounds[-1]
        wanted = application.wanted(minimum, maximum)
        found = await self._insist("GET", f"{self._world.allocations_path}/{application.name}")
        status = found.get("status") or {}
        target, living = status.get("target"), len(self._invariants.living(application))
        words = (
            f"{application.name} wants {wanted}, target {target}, pods {living}, "
            f"state {status.get('state')} ({status.get('message', '')[:200]})"
        )
        # as in Spark, what runs anyway does not raise a target: only tasks that wait do
        # and a task that began on an executor just when that was told to leave, ends there
        enough = living + application.working_while_leaving == wanted
        nobody_waits = not application.waiting and enough and (target or 0) <= wanted
        return target == wanted or nobody_waits, living == wanted or nobody_waits, words

    async def _ends_are_swept(self) -> None:
        """Every other driver ends; nothing of it stays."""
        ended = self.applications[::2]
        for application in ended:
            application.ended_at = time.monotonic()
            application.executors.clear()
            await application.proxy.close()
            path = f"{self._world.pods_path}/{application.name}/status"
            await self._insist("PATCH", path, {"status": {"phase": "Succeeded"}})
        end = time.monotonic() + SWEPT_WITHIN_SECONDS
        left: list[str] = []
        while time.monotonic() < end:
            left = [
                pod["metadata"]["name"]
                for application in ended
                for pod in self._invariants.living(application)
            ]
            if not left:
                return
            await asyncio.sleep(0.1)
        self._invariants.broken.append(f"pods of ended drivers stay: {', '.join(left)}")

    def _write_traffic(self, passages: list[Passage]) -> None:
        file = self._folder / "traffic.txt"
        lines = [
            f"{each.at - self._began:8.2f} {each.by:11} {each.method:6} {each.status or '---'} "
            f"{each.fault or '':40} {each.path}"
            for each in sorted(passages, key=lambda each: each.at)
        ]
        file.write_text("\n".join(lines))
        self.verdict.logs.append(file)
