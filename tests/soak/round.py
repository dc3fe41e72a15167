"""One round: several drivers at once in a namespace of their own, disturbed as a seed says, and what came of each.

Under the operator the faults of `tests.faults` stand between it, the API server and the drivers; it is killed and
started again, bounds and timeouts change, allocations are paused. Under Spark's own allocator only what happens to the
world is left of that: executors deleted by hand or evicted, and the API server killed, at the same times.
"""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from tests.cluster import Cluster
from tests.demo.api import Api, Object
from tests.demo.verdict import job_result
from tests.e2e.workspace import Workspace
from tests.faults.disturbance import Disturbance, in_background
from tests.faults.fault_proxy import Passage
from tests.faults.fault_schedule import OF_REAL_DRIVERS, Deed, DeedKind, FaultSchedule, Shape
from tests.faults.invariants import Invariants
from tests.faults.judged_application import JudgedApplication, TrueExecutor
from tests.faults.pods_feed import PodsFeed
from tests.integration.operator_world import eventually, operator_world
from tests.soak.drivers import Allocator, Drivers, event_log
from tests.soak.pod_lives import AFTER_THE_END_SECONDS, PodLives
from tests.soak.work import Work, work_of
from tests.soak.workload import Job

PROXIED_PORT = 14040
"""On the driver pod's own address: where the operator is told to look for the driver's UI."""
LONG = Shape(
    seconds=60.0,
    longest=6.0,
    episodes=8,
    deeds=12,
    kills=3,
    disruptive=True,
    possible=OF_REAL_DRIVERS,
)
SHORT = Shape(seconds=12.0, longest=2.0, episodes=3, deeds=5, kills=1, possible=OF_REAL_DRIVERS)
TO_THE_WORLD = (DeedKind.EVICT, DeedKind.DELETE_POD, DeedKind.COMPACT, DeedKind.RESTART_API)
GRACE_SECONDS = 180
DRIVER_STARTS_WITHIN_SECONDS = 300
FIRST_EXECUTOR_WITHIN_SECONDS = 600
JOBS_END_WITHIN_SECONDS = 1800
BY_HAND_GRACE_SECONDS = 1


@dataclass
class Application(JudgedApplication):
    """One run while it goes on.

    Attributes:
        hit: ids of executors that were deleted by hand or evicted.
    """

    job: Job = field(kw_only=True)
    hit: list[str] = field(default_factory=list)
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run.

    Attributes:
        wrong: answers that are not right.
        hit: ids of executors that the faults ended.
        let_go: ids of those that went because the maximum had been lowered, which Spark's own bounds cannot be.
        executor_seconds: of its executor pods, from creation until they ended or were gone.
        kept_again: how often a part of the kept data set was computed beyond the first time.
        stuck: executors that were there when they should not have been.
        broken: invariants that did not hold.
    """

    seed: int
    job: Job
    allocator: Allocator
    phase: str
    wrong: list[str]
    work: Work
    hit: list[str]
    let_go: list[str]
    executor_seconds: float
    pods: int
    kept_again: int
    stuck: list[str]
    broken: list[str]


@dataclass
class Played:
    """A round that is over.

    Attributes:
        broken: what does not belong to a single run.
        logs: of operators.
    """

    seed: int
    allocator: Allocator
    schedule: FaultSchedule
    runs: list[Run] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    kills: int = 0
    faults: int = 0
    seconds: float = 0.0
    logs: list[Path] = field(default_factory=list)


class Round:
    """Plays one round."""

    def __init__(
        self,
        cluster: Cluster,
        spark_image: str,
        seed: int,
        folder: Path,
        *,
        jobs: list[Job],
        allocator: Allocator,
        shape: Shape = LONG,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._cluster = cluster
        self._spark_image = spark_image
        self._folder = folder
        self._jobs = jobs
        self._allocator = allocator
        self._say = say
        self._schedule = FaultSchedule.from_seed(seed, shape)
        if allocator is Allocator.SPARK:
            deeds = tuple(each for each in self._schedule.deeds if each.kind in TO_THE_WORLD)
            self._schedule = replace(self._schedule, episodes=(), deeds=deeds)
        self._chance = Random(f"round {seed}")
        self._background: set[asyncio.Task[None]] = set()
        self._applications: list[Application] = []
        self._played = Played(seed, allocator, self._schedule)

    async def play(self) -> Played:
        """Run the jobs to their ends and look at what is left."""
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            api = stack.enter_context(Api(self._cluster))
            self._world = await stack.enter_async_context(operator_world(self._cluster))
            self._space = Workspace(self._cluster, api, self._world.namespace, self._spark_image)
            self._feed = PodsFeed(self._world)
            self._lives = PodLives(self._feed)
            following = asyncio.create_task(self._feed.run())
            stack.callback(following.cancel)
            await self._feed.synced.wait()
            operators = 1 if self._allocator is Allocator.OPERATOR else 0
            self._disturbance = Disturbance(
                self._world, self._schedule, self._folder, operators=operators, say=self._say
            )
            try:
                await self._set_up(stack)
                await self._go_through()
                await self._look()
            finally:
                for task in list(self._background):
                    task.cancel()
                await self._disturbance.close()
        self._played.seconds = time.monotonic() - began
        self._played.kills = self._disturbance.kills
        self._played.faults = self._schedule.met.total()
        self._played.broken += self._disturbance.ended
        self._played.logs = self._disturbance.logs
        return self._played

    # -- drivers -----------------------------------------------------------------------------------------------------

    async def _set_up(self, stack: AsyncExitStack) -> None:
        drivers = Drivers(self._space, self._folder, self._allocator)
        await asyncio.to_thread(drivers.prepare)
        pods = [await asyncio.to_thread(drivers.start, job) for job in self._jobs]
        self._applications = [
            Application(job.name, pod["metadata"]["uid"], job=job)
            for job, pod in zip(self._jobs, pods, strict=True)
        ]
        self._invariants = Invariants(self._feed, self._applications)
        if self._allocator is Allocator.OPERATOR:
            self._disturbance.when_asked = self._invariants.asked
            await self._disturbance.stand_before_the_api(stack)
            for application in self._applications:
                await self._stand_before(stack, application)
                await self._allocate(application)
            self._disturbance.start_operators()
        for application in self._applications:
            in_background(self._follow(application), self._background)

    async def _stand_before(self, stack: AsyncExitStack, application: Application) -> None:
        """Put a proxy into the driver's own pod, before the driver's UI."""

        async def has_address() -> str:
            pod = self._feed.pods.get(application.pod_uid, {})
            status = pod.get("status", {})
            return str(status.get("podIP", "")) if status.get("phase") == "Running" else ""

        address = await eventually(
            has_address, f"{application.name} runs", within=DRIVER_STARTS_WITHIN_SECONDS
        )
        proxy = await self._disturbance.stand_before_a_driver(
            stack,
            f"http://{address}:4040",
            listen=lambda: self._cluster.listen_in_pod(address, PROXIED_PORT),
        )

        def heard(passage: Passage, body: bytes) -> None:
            if passage.status == 200 and passage.path.endswith("executors"):
                self._heard(application, passage, json.loads(body))

        proxy.when_answered = heard

    def _heard(self, application: Application, passage: Passage, documents: Any) -> None:
        """What the operator is told is what it is judged by."""
        now = time.monotonic()
        uids = {
            each.number: uid
            for uid, each in self._lives.by_uid.items()
            if each.driver_uid == application.pod_uid
            and each.asked_at is each.ended_at is each.gone_at is None
        }
        told = {each["id"]: each["activeTasks"] for each in documents if each["isActive"]}
        before = application.executors
        application.executors = {}
        for number, active in told.items():
            if number in uids:
                executor = before.get(int(number)) or TrueExecutor(uids[number], now)
                executor.busy_since = (executor.busy_since or now) if active else None
                application.executors[int(number)] = executor
        application.hears(passage, documents)

    async def _allocate(self, application: Application) -> None:
        job = application.job
        application.bounds.append((time.monotonic(), job.minimum, job.maximum))
        await self._world.allocate(
            job.name,
            {
                "driver": {"podName": job.name, "uiPort": PROXIED_PORT},
                "dynamicAllocation": {
                    "minExecutors": job.minimum,
                    "maxExecutors": job.maximum,
                    "executorIdleTimeout": f"{job.idle_seconds}s",
                    # with migration nothing is lost when they go; without, they are kept, as Spark keeps them
                    **(
                        {"cachedExecutorIdleTimeout": f"{job.idle_seconds}s"} if job.migrate else {}
                    ),
                },
                "decommission": {"migrate": job.migrate, "gracePeriod": f"{GRACE_SECONDS}s"},
            },
        )

    # -- the course --------------------------------------------------------------------------------------------------

    async def _go_through(self) -> None:
        async def begun() -> bool:
            return bool(self._lives.by_uid)

        await eventually(begun, "a first executor", within=FIRST_EXECUTOR_WITHIN_SECONDS)
        await self._disturbance.go_through(self._do)
        await self._all_end()

    async def _all_end(self) -> None:
        end = time.monotonic() + JOBS_END_WITHIN_SECONDS
        while left := [each.name for each in self._applications if each.ended_at is None]:
            if time.monotonic() > end:
                self._played.broken.append(f"{', '.join(left)} did not end")
                return
            await asyncio.sleep(0.3)

    async def _follow(self, application: Application) -> None:
        """Know when its driver has ended."""
        while application.ended_at is None:
            pod = self._feed.pods.get(application.pod_uid, {})
            application.phase = pod.get("status", {}).get("phase", "")
            if application.phase in ("Succeeded", "Failed"):
                application.ended_at = time.monotonic()
                self._say(f"{application.name} {application.phase.lower()}")
            await asyncio.sleep(0.2)

    async def _do(self, deed: Deed) -> None:
        application = self._applications[deed.application % len(self._applications)]
        match deed.kind:
            case DeedKind.EVICT | DeedKind.DELETE_POD:
                await self._hit(application, deed)
            case DeedKind.BOUNDS:
                maximum = 1 + deed.number % 4
                minimum = min(self._chance.randint(0, 1), maximum)
                application.bounds.append((time.monotonic(), minimum, maximum))
                bounds = {"minExecutors": minimum, "maxExecutors": maximum}
                await self._change(application, {"dynamicAllocation": bounds})
            case DeedKind.IDLE_TIMEOUT:
                timeout = {"executorIdleTimeout": f"{1 + deed.number}s"}
                await self._change(application, {"dynamicAllocation": timeout})
            case DeedKind.PAUSE:
                await self._change(application, {"mode": "Paused"})
                in_background(self._take_up(application, deed.number), self._background)

    async def _take_up(self, application: Application, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._change(application, {"mode": "Allocate"})

    async def _change(self, application: Application, spec: Object) -> None:
        self._say(f"{application.name}: {json.dumps(spec)}")
        path = f"{self._world.allocations_path}/{application.name}"
        answer = await self._world.insist("PATCH", path, {"spec": spec})
        assert answer.ok, answer.message

    async def _hit(self, application: Application, deed: Deed) -> None:
        """Delete one of its executors by hand, or evict it."""
        pods = self._lives.at_work(application.pod_uid)
        if not pods:
            return
        uid, pod = pods[deed.number % len(pods)]
        path = f"{self._world.pods_path}/{pod.name}"
        same = {"preconditions": {"uid": uid}}
        application.hit.append(pod.number)
        self._say(f"{pod.name} is hit")
        if deed.kind is DeedKind.EVICT:
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": same,
                        "metadata": {"name": pod.name, "namespace": self._world.namespace}}  # fmt: skip
            await self._world.insist("POST", f"{path}/eviction", eviction)
        else:
            body = {"gracePeriodSeconds": BY_HAND_GRACE_SECONDS, **same}
            await self._world.insist("DELETE", path, body)

    # -- what is left ------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Wait for the sweeping, then judge."""
        uids = [each.pod_uid for each in self._applications]
        end = time.monotonic() + AFTER_THE_END_SECONDS + 5
        left: list[str] = []
        while time.monotonic() < end:
            alive = [
                each.name for uid in uids for each in self._lives.of(uid) if each.gone_at is None
            ]
            left = alive + await asyncio.to_thread(self._things_left)
            if not left:
                break
            await asyncio.sleep(0.5)
        self._played.broken += [f"left at the end: {each}" for each in left]
        if self._allocator is Allocator.OPERATOR:
            self._invariants.finish(self._disturbance.passages)
            self._played.broken += self._invariants.broken
        for application in self._applications:
            self._played.runs.append(await asyncio.to_thread(self._run, application))

    def _things_left(self) -> list[str]:
        """Claims, and config maps of executors."""
        selector = "spark-role=executor"
        maps = self._space.api.config_maps(self._space.namespace, selector)
        claims = self._space.api.claims(self._space.namespace)
        return [
            *(f"the ConfigMap {each['metadata']['name']}" for each in maps),
            *(f"the claim {each['metadata']['name']}" for each in claims),
        ]

    def _run(self, application: Application) -> Run:
        log = self._space.api.log(self._space.namespace, application.name)
        (self._folder / f"{application.name}.log").write_text(log)
        result = job_result(log) or {}
        job, now = application.job, time.monotonic()
        pods = self._lives.of(application.pod_uid)
        computed = result.get("keptComputed", 0)
        ids = [each.number for each in pods]
        return Run(
            seed=self._played.seed,
            job=job,
            allocator=self._allocator,
            phase=application.phase,
            wrong=wrong_answers(job, result),
            work=work_of(event_log(self._folder, result.get("applicationId", ""))),
            hit=application.hit,
            let_go=application.let_go,
            executor_seconds=sum(each.seconds(now) for each in pods),
            pods=len(pods),
            kept_again=max(0, computed - job.kept_parts),
            stuck=[words for each in pods if (words := each.complaint(now, application.ended_at))],
            broken=[f"executor ids were used twice: {ids}"] if len(ids) != len(set(ids)) else [],
        )


def wrong_answers(job: Job, result: dict[str, Any]) -> list[str]:
    """Each answer that is not what it should be, or the want of them."""
    if "answers" not in result:
        return ["the job printed no answers"]
    pairs = zip(job.answers(), result["answers"], strict=False)
    wrong = [f"{computed} instead of {known}" for known, computed in pairs if known != computed]
    missing = len(job.answers()) - len(result["answers"])
    return wrong + ([f"{missing} answers are missing"] if missing else [])
