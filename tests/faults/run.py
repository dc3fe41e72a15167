"""One run: a namespace, applications, operators behind proxies, a schedule of faults, and the verdict."""

import asyncio
import contextlib
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
from tests.faults.cluster_actor import Kubelets, SparkApplication, in_background
from tests.faults.fault_proxy import (
    FaultProxy,
    KillPoint,
    Passage,
    api_kind,
    driver_kind,
    write_kubeconfig,
)
from tests.faults.fault_schedule import (
    BREAKS_OPEN_WATCHES,
    Deed,
    DeedKind,
    Fate,
    FaultSchedule,
)
from tests.faults.invariants import Invariants
from tests.faults.pods_feed import PodsFeed
from tests.integration.operator_world import NOBODY, HostOperator, operator_world

from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.testing.driver import FakeDriver

Document = dict[str, Any]
STABLE_WITHIN_SECONDS = 30.0
PODS_FOLLOW_WITHIN_SECONDS = 30.0
SWEPT_WITHIN_SECONDS = 30.0
KILLED_FOR_SECONDS = 0.3
KILLED_LATEST_SECONDS = 2.0
IDLE_SECONDS = 4


class WindowClock:
    """The time within the window of faults. It stands still while no operator is up: there is nothing to disturb."""

    def __init__(self) -> None:
        self._gone = -1.0
        self._since: float | None = None

    def start(self) -> None:
        self._gone, self._since = 0.0, time.monotonic()

    def stop(self) -> None:
        if self._since is not None:
            self._gone, self._since = self.now, None

    def go_on(self) -> None:
        if self._since is None and self._gone >= 0:
            self._since = time.monotonic()

    @property
    def now(self) -> float:
        """Seconds; below zero before the window."""
        if self._since is None:
            return self._gone
        return self._gone + time.monotonic() - self._since

    async def reaches(self, at: float) -> None:
        while self.now < at:
            await asyncio.sleep(0.05)


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
        self._clock = WindowClock()
        self._began = time.monotonic()
        self._operators: list[HostOperator] = []
        self._proxies: list[FaultProxy] = []
        self._background: set[asyncio.Task[None]] = set()
        self._killed: set[int] = set()
        self._ending = False
        self._leader = 0
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
                self._ending = True
                for each in self._operators:
                    each.close()
                for task in list(self._background):
                    task.cancel()
                await asyncio.gather(*self._background, return_exceptions=True)
        self.verdict.seconds = time.monotonic() - began
        passages = [each for proxy in self._proxies for each in proxy.passages]
        self.verdict.requests = len(passages)
        self.verdict.faults = self._schedule.met.total()
        self.verdict.creations = self._invariants.creations
        self.verdict.broken += self._invariants.broken
        if self.verdict.broken:
            self._write_traffic(passages)
        return self.verdict

    # -- the world ---------------------------------------------------------------------------------------------------

    async def _set_up(self, stack: AsyncExitStack) -> None:
        world = self._world
        self._feed = PodsFeed(world)
        following = asyncio.create_task(self._feed.run())
        stack.callback(following.cancel)
        self.applications = [
            await self._application(stack, f"job-{number}") for number in range(self._count)
        ]
        self._invariants = Invariants(self._feed, self.applications)
        await self._feed.synced.wait()
        await self._put_foreign_pods()
        self._kubelets = Kubelets(world, self._feed, self.applications, seed=self._schedule.seed)
        await self._kubelets.start()
        stack.push_async_callback(self._kubelets.stop)
        credentials = await world.api.credentials()
        tls = ssl.create_default_context(cafile=credentials.ca_path)
        for number in range(self._operators_wanted):
            proxy = FaultProxy(
                credentials.server,
                self._fate,
                by=f"operator-{number}",
                tls=tls,
                token=credentials.token,
                kind_of=api_kind,
            )
            proxy.when_passing = self._operator_asks
            await stack.enter_async_context(proxy)
            write_kubeconfig(self._kubeconfig(number), proxy.url)
            self._proxies.append(proxy)
        for application in self.applications:
            await self._allocate(application)

    async def _application(self, stack: AsyncExitStack, name: str) -> SparkApplication:
        driver = await stack.enter_async_context(FakeDriver(f"spark-{name}-1"))
        self._world.passive(driver)
        driver.properties["spark.app.name"] = name
        proxy = FaultProxy(
            f"http://127.0.0.1:{driver.port}", self._fate, by="driver", kind_of=driver_kind
        )
        await stack.enter_async_context(proxy)
        pod = await self._world.put_driver(name)
        application = SparkApplication(name, driver, proxy, pod_uid=pod["metadata"]["uid"])
        self._proxies.append(proxy)

        def heard(passage: Passage, body: bytes) -> None:
            if passage.status == 200 and body[:1] == b"[":
                application.hears(passage, body, json.loads(body))

        proxy.when_answered = heard
        return application

    async def _allocate(self, application: SparkApplication) -> None:
        maximum = self._chance.randint(4, 9)
        application.bounds.append((time.monotonic(), 0, maximum))
        await self._world.allocate(
            application.name,
            {
                "driver": {"podName": application.name, "uiPort": application.proxy.port},
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
        theirs, mine = other["metadata"]["uid"], ours.pod_uid
        for name, owner, owner_name, labels in (
            ("foreign-exec-1", theirs, "somebody-else", {}),
            ("forged-exec-2", theirs, "somebody-else", {"sparkallocation.dev/allocation-uid": "x"}),
            ("unlabelled-exec-3", mine, ours.name, {}),
        ):
            pod = await self._world.did(
                "POST",
                self._world.pods_path,
                {
                    "metadata": {
                        "name": name,
                        "labels": {
                            "spark-role": "executor",
                            "spark-exec-id": name[-1],
                            "spark-app-selector": ours.driver.application_id,
                            "spark-exec-resourceprofile-id": "0",
                            **labels,
                        },
                        "ownerReferences": [
                            {"apiVersion": "v1", "kind": "Pod", "controller": True,
                             "name": owner_name, "uid": owner}
                        ],
                    },
                    "spec": {
                        "schedulerName": NOBODY,
                        "automountServiceAccountToken": False,
                        "containers": [{"name": "spark-kubernetes-executor", "image": "spark:test"}],
                    },
                },
            )  # fmt: skip
            self._invariants.foreign(pod)

    # -- operators ---------------------------------------------------------------------------------------------------

    def _kubeconfig(self, number: int) -> Path:
        return self._folder / f"operator-{number}.kubeconfig"

    def _start_operator(self, number: int) -> HostOperator:
        operator = HostOperator(
            self._world,
            self._folder,
            f"operator-{number}",
            kubeconfig=self._kubeconfig(number),
            context="proxied",
            lease=self._operators_wanted > 1,
        )
        self.verdict.logs = sorted({*self.verdict.logs, operator.log_file})
        return operator

    async def _keep_operator(self, number: int) -> None:
        """Start it again whenever it has been killed, as a kubelet would."""
        while True:
            operator = self._operators[number]
            while operator.process.poll() is None:
                await asyncio.sleep(0.05)
            if self._ending:
                return
            code = operator.process.returncode
            if number in self._killed:
                self._killed.discard(number)
            elif code != 3 or self._operators_wanted == 1:
                self._invariants.broken.append(
                    f"operator {number} ended by itself with code {code}"
                )
            await asyncio.sleep(KILLED_FOR_SECONDS)
            self._operators[number] = self._start_operator(number)

    async def _follow_the_lease(self) -> None:
        leader = ""
        while True:
            with contextlib.suppress(ApiUnavailable):
                answer = await self._world.request("GET", self._lease_path())
                identity = str((answer.json().get("spec") or {}).get("holderIdentity") or "")
                holder = identity.rpartition("_")[0]
                if holder and holder != leader:
                    self._say(f"{holder} leads")
                    self._invariants.leads(holder, after=leader)
                    leader = holder
                    self._leader = int(holder.rpartition("-")[2])
            await asyncio.sleep(0.2)

    def _lease_path(self) -> str:
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{self._world.namespace}/leases"
        return f"{leases}/spark-allocation-operator"

    def _kill(self, number: int) -> None:
        if self._operators[number].process.poll() is None:
            self.verdict.kills += 1
            self._killed.add(number)
            self._operators[number].process.kill()
            if self._operators_wanted == 1:
                self._clock.stop()

    # -- the course --------------------------------------------------------------------------------------------------

    def _fate(self, passage: Passage) -> Fate | None:
        return self._schedule.fate(passage.kind, self._clock.now)

    def _operator_asks(self, passage: Passage) -> None:
        if self._operators[0].process.poll() is None:
            self._clock.go_on()
        self._invariants.asked(passage)

    async def _go_through(self) -> None:
        self._operators = [self._start_operator(n) for n in range(self._operators_wanted)]
        for number in range(self._operators_wanted):
            in_background(self._keep_operator(number), self._background)
        if self._operators_wanted > 1:
            in_background(self._follow_the_lease(), self._background)
        await self._first_pods()
        self._say("faults begin")
        self._clock.start()
        self._began = time.monotonic()
        await asyncio.gather(self._go_through_episodes(), self._do_deeds())
        self._kubelets.mishaps = False
        for proxy in self._proxies:
            proxy.kill_point = None
            proxy.calm()
        last_fault = time.monotonic()
        self._say("faults have ended")
        for application in self.applications:
            number = self._chance.randint(2, application.bounds[-1][2] + 2)
            application.waiting.clear()
            application.submitted = application.done + sum(
                each.busy_since is not None for each in application.executors.values()
            )
            application.submit(number, 10_000.0)
        await self._becomes_stable(last_fault)
        await self._ends_are_swept()
        self._invariants.finish(each for proxy in self._proxies for each in proxy.passages)

    async def _first_pods(self) -> None:
        """The operator has begun to work: without that, faults would only ever meet a start."""
        end = time.monotonic() + 60
        while not any(map(self._invariants.living, self.applications)):
            if time.monotonic() > end:
                raise AssertionError(f"the operator makes no pod: {self._operators[0].log[-3000:]}")
            await asyncio.sleep(0.1)

    async def _go_through_episodes(self) -> None:
        for episode in self._schedule.episodes:
            await self._clock.reaches(episode.begins)
            self._say(episode.name)
            if episode.name in BREAKS_OPEN_WATCHES:
                for proxy in self._proxies:
                    proxy.break_watches()
        await self._clock.reaches(self._schedule.shape.seconds)

    async def _do_deeds(self) -> None:
        for deed in self._schedule.deeds:
            await self._clock.reaches(deed.at)
            self._say(str(deed.kind))
            await self._do(deed)

    async def _do(self, deed: Deed) -> None:
        application = self.applications[deed.application % len(self.applications)]
        number = self._leader
        match deed.kind:
            case DeedKind.KILL:
                self._kill(number)
            case DeedKind.KILL_AT:
                in_background(self._kill_at(number, deed), self._background)
                application.submit(4, 2.0)
            case DeedKind.BOUNDS:
                await self._bound(application, deed.number)
            case DeedKind.WORK:
                application.submit(deed.number, 2.0)
            case DeedKind.RESTART_DRIVER:
                await self._restart_driver(application)
            case DeedKind.EVICT | DeedKind.DELETE_POD:
                living = self._invariants.living(application)
                if living:
                    pod = living[deed.number % len(living)]
                    evict = deed.kind is DeedKind.EVICT
                    await (self._kubelets.evict if evict else self._kubelets.delete_by_hand)(pod)
            case DeedKind.COMPACT:
                await asyncio.to_thread(self._cluster.compact_history)
            case DeedKind.RESTART_API:
                await asyncio.to_thread(self._cluster.restart, "kube-apiserver")

    async def _kill_at(self, number: int, deed: Deed) -> None:
        """At the next request of the kind; when none comes soon, without one."""
        point = KillPoint(deed.request, after=deed.after, kill=lambda: self._kill(number))
        proxy = self._proxy_of(number)
        proxy.kill_point = point
        await self._clock.reaches(self._clock.now + KILLED_LATEST_SECONDS)
        if proxy.kill_point is point:
            proxy.kill_point = None
            self._kill(number)

    def _proxy_of(self, operator: int) -> FaultProxy:
        return next(each for each in self._proxies if each.by == f"operator-{operator}")

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
        while True:
            with contextlib.suppress(ApiUnavailable):
                answer = await self._world.request(method, path, body)
                if not answer.is_transient:
                    assert answer.ok, answer.message
                    return answer.json()
            await asyncio.sleep(0.2)

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
        wanted = max(minimum, min(maximum, application.needed))
        found = await self._insist("GET", f"{self._world.allocations_path}/{application.name}")
        status = found.get("status") or {}
        target, living = status.get("target"), len(self._invariants.living(application))
        words = (
            f"{application.name} wants {wanted}, target {target}, pods {living}, "
            f"state {status.get('state')} ({status.get('message', '')[:200]})"
        )
        # as in Spark, what runs anyway does not raise a target: only tasks that wait do
        nobody_waits = not application.waiting and living == wanted and (target or 0) <= wanted
        return target == wanted or nobody_waits, living == wanted, words

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
