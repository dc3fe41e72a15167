"""The truth of one application: its jobs, stages, tasks and executors, and what its driver says of them.

Time goes by the application's own clock, which a test can stop: then tasks begin and none ends, no job is submitted,
and the operator's plan has something to become stable upon.
"""

import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.judged_application import JudgedApplication
from tests.fleet import rest_bodies

from spark_allocation.core.passive_driver import PASSIVE_SETTINGS

REMEMBERED_DEAD = 100
"""Executors that were removed and are still listed (``spark.ui.retainedDeadExecutors``)."""


class StoppableClock:
    """Seconds that go by only while it is not stopped."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._gone = 0.0
        self._since: float | None = monotonic()

    def __call__(self) -> float:
        """Seconds since it was made."""
        return self._gone if self._since is None else self._gone + self._monotonic() - self._since

    def stop(self) -> None:
        self._gone, self._since = self(), None

    def go_on(self) -> None:
        if self._since is None:
            self._since = self._monotonic()


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage that a job is going to have.

    Attributes:
        seconds: of each task.
        shuffle_bytes: that each task writes.
        caches: each task leaves a cached block.
    """

    tasks: int
    seconds: float
    profile_id: int = 0
    shuffle_bytes: int = 0
    caches: bool = False


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job, submitted when the application has run for so many seconds. Its stages follow one another."""

    at: float
    stages: tuple[StagePlan, ...]


@dataclass(slots=True)
class Stage:
    """An active stage."""

    stage_id: int
    job_id: int
    plan: StagePlan
    submitted: str
    waiting: int
    active: int = 0
    done: int = 0


@dataclass(slots=True)
class Job:
    job_id: int
    submitted: str
    stages_left: deque[StagePlan]
    stage_ids: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Executor:
    """An executor as its driver knows it.

    Attributes:
        busy_since: monotonic seconds since when it has had some task without a pause; None while it has none.
        leaving: it takes no new task.
        working: when each of its tasks ends, by the application's clock, and of which stage.
    """

    pod_uid: str
    profile_id: int
    slots: int
    added: str
    busy_since: float | None = None
    leaving: bool = False
    working: list[tuple[float, Stage]] = field(default_factory=list)
    tasks: int = 0
    shuffle_bytes: int = 0
    blocks: int = 0


@dataclass
class FleetApplication(JudgedApplication):
    """One application of a fleet.

    Attributes:
        jobs: to be submitted, earliest first.
        slots: tasks that an executor runs at once, by profile.
        address: of its driver, once a fleet serves it.
        conf: Spark properties besides, and instead of, those that all applications of a fleet have.
        paused_until: monotonic seconds until which the driver answers nobody, as in a long garbage collection.
    """

    namespace: str = "default"
    jobs: deque[JobPlan] = field(default_factory=deque)
    slots: Mapping[int, int] = field(default_factory=lambda: {0: 1})
    clock: StoppableClock = field(default_factory=StoppableClock)
    version: str = "4.1.4"
    address: str = ""
    conf: Mapping[str, str] = field(default_factory=dict)
    paused_until: float = 0.0
    lives: int = 1
    tasks_done: int = 0

    def __post_init__(self) -> None:
        self.started_at_ms = int(time.time() * 1000)
        self._stages: dict[int, Stage] = {}
        self._running: dict[int, Job] = {}
        self._dead: deque[str] = deque(maxlen=REMEMBERED_DEAD)
        self._job_ids = itertools.count()
        self._stage_ids = itertools.count()
        self._turns = 0

    @property
    def application_id(self) -> str:
        return f"spark-{self.name}-{self.lives}"

    # -- what comes from outside -------------------------------------------------------------------------------------

    def register(self, executor_id: int, pod_uid: str, profile_id: int = 0) -> None:
        """An executor has begun to talk to its driver."""
        added = rest_bodies.moment(time.time())
        self.executors[executor_id] = Executor(
            pod_uid, profile_id, self.slots.get(profile_id, 1), added
        )

    def lose(self, executor_id: int, pod_uid: str, *, because: str = "") -> None:
        """The executor is gone; tasks that it worked on wait again.

        Args:
            because: whose deed it was, when a task that is cut short is to be remembered.
        """
        executor = self.executors.get(executor_id)
        if executor is None or executor.pod_uid != pod_uid:
            return
        del self.executors[executor_id]
        self._dead.append(self._executor_body(executor_id, executor, alive=False))
        for _, stage in executor.working:
            stage.active -= 1
            stage.waiting += 1
        if executor.working and because:
            self.cut_short.append(f"executor {executor_id}: {because}")

    def submit(self, *stages: StagePlan) -> None:
        """A job, now."""
        self.jobs.appendleft(JobPlan(0.0, stages))

    def restart(self) -> None:
        """Another application in the same pod: nobody is registered, what was running is run anew."""
        self.lives += 1
        self.started_at_ms += 60_000
        self._dead.clear()
        self.executors = {}
        self.heard.clear()
        for job in self._running.values():
            left = [stage.plan for stage in self._stages.values() if stage.job_id == job.job_id]
            self.jobs.appendleft(JobPlan(0.0, (*left, *job.stages_left)))
        self._stages.clear()
        self._running.clear()

    # -- time --------------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Jobs are submitted, tasks end, stages follow, tasks begin. A driver that pauses does nothing of it."""
        if time.monotonic() < self.paused_until:
            return
        now = self.clock()
        while self.jobs and self.jobs[0].at <= now:
            plan = self.jobs.popleft()
            job = Job(next(self._job_ids), rest_bodies.moment(time.time()), deque(plan.stages))
            self._running[job.job_id] = job
            self._next_stage(job)
        if self._stages:
            self._end_tasks(now)
            self._begin_tasks(now)
            for executor in self.executors.values():
                if not executor.working:
                    executor.busy_since = None

    def _next_stage(self, job: Job) -> None:
        if not job.stages_left:
            del self._running[job.job_id]
            return
        plan = job.stages_left.popleft()
        submitted = rest_bodies.moment(time.time())
        stage = Stage(next(self._stage_ids), job.job_id, plan, submitted, waiting=plan.tasks)
        job.stage_ids.append(stage.stage_id)
        self._stages[stage.stage_id] = stage

    def _end_tasks(self, now: float) -> None:
        for executor in self.executors.values():
            if not executor.working:
                continue
            ended = [stage for ends, stage in executor.working if ends <= now]
            if not ended:
                continue
            executor.working = [each for each in executor.working if each[0] > now]
            for stage in ended:
                stage.active -= 1
                stage.done += 1
                self.tasks_done += 1
                executor.tasks += 1
                executor.shuffle_bytes += stage.plan.shuffle_bytes
                executor.blocks += stage.plan.caches
        for stage in [each for each in self._stages.values() if each.done == each.plan.tasks]:
            del self._stages[stage.stage_id]
            self._next_stage(self._running[stage.job_id])

    def _begin_tasks(self, now: float) -> None:
        for stage in self._stages.values():
            if not stage.waiting:
                continue
            free = [
                each
                for each in self.executors.values()
                if each.profile_id == stage.plan.profile_id
                and not each.leaving
                and len(each.working) < each.slots
            ]
            while stage.waiting and free:
                # one each in turn, as Spark's shuffled offers do on the whole
                for executor in free[: stage.waiting]:
                    if executor.busy_since is None:
                        executor.busy_since = time.monotonic()
                    self._turns += 1
                    seconds = stage.plan.seconds * (0.8 + 0.4 * (self._turns * 0.618 % 1))
                    executor.working.append((now + seconds, stage))
                    stage.waiting -= 1
                    stage.active += 1
                free = [each for each in free if len(each.working) < each.slots]

    # -- what is needed ----------------------------------------------------------------------------------------------

    @property
    def is_at_work(self) -> bool:
        return bool(self._running)

    @property
    def waiting(self) -> int:
        """Tasks that wait."""
        return sum(stage.waiting for stage in self._stages.values())

    def needed(self) -> Counter[int]:
        """Executors that the tasks need, by profile."""
        tasks: Counter[int] = Counter()
        for stage in self._stages.values():
            tasks[stage.plan.profile_id] += stage.waiting + stage.active
        return Counter(
            {each: math.ceil(count / self.slots.get(each, 1)) for each, count in tasks.items()}
        )

    def wanted(self) -> tuple[int, int]:
        """The least and the most that a right plan can want: the profiles' needs within the bounds, which are of each.

        A profile without work counts with its minimum for whoever has seen it at work, and not at all for others.
        """
        _, minimum, maximum = self.bounds[-1]
        needed = self.needed()
        wanted = {each: max(minimum, min(maximum, needed[each])) for each in self.slots}
        least = sum(count for each, count in wanted.items() if each == 0 or needed[each])
        return least, sum(wanted.values())

    # -- what the driver says ----------------------------------------------------------------------------------------

    def properties(self) -> dict[str, str]:
        """Spark's configuration of a passive driver."""
        return {
            **{setting.key: setting.value for setting in PASSIVE_SETTINGS},
            "spark.app.name": self.name,
            "spark.driver.host": self.address,
            "spark.driver.port": "7078",
            "spark.kubernetes.namespace": self.namespace,
            "spark.kubernetes.container.image": "spark:test",
            "spark.executor.cores": str(self.slots.get(0, 1)),
            "spark.executor.memory": "2g",
            "spark.kubernetes.executor.scheduler.name": "nobody-schedules-these",
            **{f"spark.sql.setting{number}": "some value" for number in range(60)},
            **self.conf,
        }

    def body(self, path: str) -> str | None:
        """The answer to a path with its query; None for what a driver does not serve."""
        application = f"/api/v1/applications/{self.application_id}/"
        if path == "/metrics/json/":
            return rest_bodies.metrics(self.application_id, self.needed().total())
        if path == "/api/v1/applications":
            return rest_bodies.application(
                self.application_id, self.name, self.started_at_ms, self.version
            )
        if not path.startswith(application):
            return None
        match path.removeprefix(application):
            case "stages?status=active":
                return _array(map(self._stage_body, self._stages.values()))
            case "executors":
                return _array((rest_bodies.DRIVER, *self._executor_bodies()))
            case "allexecutors":
                return _array((rest_bodies.DRIVER, *self._executor_bodies(), *self._dead))
            case "jobs?status=running":
                return _array(
                    rest_bodies.job(each.job_id, each.submitted, each.stage_ids, 1)
                    for each in self._running.values()
                )
            case "environment":
                profiles = [rest_bodies.profile(*each) for each in self.slots.items()]
                return rest_bodies.environment(self.properties(), profiles)
        return None

    def tells_executors(self) -> None:
        """The operator is being told which executors work."""
        busy = frozenset(number for number, each in self.executors.items() if each.working)
        self.heard.append((time.monotonic(), busy))

    def _executor_bodies(self) -> Iterable[str]:
        return (self._executor_body(*each) for each in self.executors.items())

    def _executor_body(self, number: int, executor: Executor, *, alive: bool = True) -> str:
        figures: dict[str, Any] = {
            "id": number,
            "blocks": executor.blocks,
            "cached": executor.blocks << 20,
            "active": len(executor.working) if alive else 0,
            "done": executor.tasks,
            "total": executor.tasks + len(executor.working),
            "shuffle": executor.shuffle_bytes,
            "added": executor.added,
        }
        return rest_bodies.executor(executor.profile_id, executor.slots, figures, alive=alive)

    @staticmethod
    def _stage_body(stage: Stage) -> str:
        return rest_bodies.stage(
            {
                "stage": stage.stage_id,
                "tasks": stage.plan.tasks,
                "active": stage.active,
                "done": stage.done,
                "submitted": stage.submitted,
                "profile": stage.plan.profile_id,
            }
        )


def _array(parts: Iterable[str]) -> str:
    return f"[{','.join(parts)}]"
