"""Applications that do as chance says, served through a `DrivenAllocation`: for tests of traces."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.unit.allocation_builders import profile
from tests.unit.served_driver import settings

from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.budgets import Grant, GrantStory
from spark_allocation.core.driver_report import DriverReport, ExecutorReport, StageReport
from spark_allocation.core.executor_pods import ContainerEnd, ExecutorId, ExecutorPod, PodState
from spark_allocation.core.exit_reasons import FailureClass
from spark_allocation.core.pod_size import PodSize
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.shuffle_holders import ShuffleHoldConf
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.streaming.observations import (
    BatchSample,
    QueryName,
    QueryObservation,
    RunningBatch,
    StageProgress,
    StreamingObservation,
)
from spark_allocation.core.streaming.settings import (
    BacklogSettings,
    BatchDurationSettings,
    StreamingSettings,
)
from spark_allocation.core.trace.decided import Decided, decided
from spark_allocation.core.trace.driven_allocation import DrivenAllocation, TraceSink
from spark_allocation.core.trace.inputs import (
    CreationRefused,
    CreationStarted,
    CreationUnclear,
    DrainNotBegun,
    DrainRefused,
    Input,
    LifeBegun,
    NotWithdrawn,
    PodCreated,
    PodNotCreated,
    ProfilesLearned,
    ReportTaken,
    SettingsChanged,
    StepAsked,
    StreamsSeen,
)
from spark_allocation.core.trace.recorded_properties import recorded_properties
from spark_allocation.core.trace.replay import Entry, StepTaken

EPOCH_MS = 1_780_000_000_000
PROFILES = (ProfileId(0), ProfileId(1))


class Memory:
    """A sink that keeps everything as it was."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.steps: list[Step] = []

    def begun(self, life: LifeBegun) -> None:
        self.entries.append(life)

    def told(self, entry: Input | ProfilesLearned) -> None:
        self.entries.append(entry)

    def stepped(self, asked: StepAsked, step: Step) -> None:
        self.entries.append(StepTaken(asked, decided(step)))
        self.steps.append(step)

    @property
    def decided(self) -> list[Decided]:
        return [each.decided for each in self.entries if isinstance(each, StepTaken)]


class Both:
    """Tells two sinks."""

    def __init__(self, *sinks: TraceSink) -> None:
        self._sinks = sinks

    def begun(self, life: LifeBegun) -> None:
        for sink in self._sinks:
            sink.begun(life)

    def told(self, entry: Input | ProfilesLearned) -> None:
        for sink in self._sinks:
            sink.told(entry)

    def stepped(self, asked: StepAsked, step: Step) -> None:
        for sink in self._sinks:
            sink.stepped(asked, step)


@dataclass
class _Executor:
    profile_id: ProfileId
    pod: ExecutorPod
    registered: bool = False
    active: int = 0
    total: int = 0
    blocks: int = 0
    shuffle: int = 0


@dataclass
class RandomApplication:
    """A driver and its cluster, both as chance says, for so many seconds.

    Everything that the operator can meet happens: a second profile, lost pods, refused requests, drains that are not begun,
    bounds that change, an operator that restarts, budgets, nodes that go, streams, a driver that does not answer.
    """

    seed: int
    sink: TraceSink
    streams: bool = False
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.now_ns = 1_000_000_000_000 + self.seed
        self.executors: dict[ExecutorId, _Executor] = {}
        self.vanished: list[ExecutorPod] = []
        self.dead: dict[ExecutorId, ExecutorReport] = {}
        self.stages: dict[int, StageReport] = {}
        self.next_id = 1
        self.next_stage = 0
        self.jobs = 0
        self.grants: dict[ProfileId, Grant] | None = None
        self.going: frozenset[str] = frozenset()
        self.batch = 0
        self.conf = SparkConf({"spark.executor.cores": "2", "spark.app.name": "private"})
        self.profiles = ResourceProfileManager(self.conf)
        self.wishes = self._wishes()
        self.driven = self._begin(None)

    @property
    def now_ms(self) -> int:
        return EPOCH_MS + self.now_ns // 1_000_000

    def _wishes(self) -> AllocationSettings:
        chance = self.chance
        least = chance.randint(0, 2)
        wishes: dict[str, Any] = {
            "min_executors": least,
            "initial_executors": least,
            "max_executors": chance.randint(3, 12),
            "executor_idle_timeout_s": chance.choice([0, 1, 5, 20]),
            "cached_executor_idle_timeout_s": chance.choice([5, 60]),
            "shuffle_tracking_timeout_ms": chance.choice([3_000, 60_000]),
            "decommission_enabled": chance.random() < 0.8,
            "immediate_ramp_up": chance.random() < 0.3,
            "max_concurrent_drains": chance.choice([None, 1, 3]),
            "shuffle": ShuffleHoldConf(
                local=chance.random() < 0.7, hands_over=True, migrates=chance.random() < 0.5
            ),
        }
        made = settings(**wishes)
        if not self.streams:
            return made
        return replace(
            made,
            streaming=StreamingSettings(
                target_duration_s=10.0,
                batch_duration=BatchDurationSettings(),
                backlog=BacklogSettings(),
                stabilization_down_s=5.0,
                cooldown_s=2.0,
                scale_down_interval_s=3.0,
                boundary_wait_s=2.0,
            ),
        )

    def _begin(self, targets: dict[ProfileId, int] | None) -> DrivenAllocation:
        life = LifeBegun(
            settings=self.wishes,
            profiles=tuple(self.profiles),
            properties=recorded_properties(self.conf),
            now_ns=self.now_ns,
            now_ms=self.now_ms,
            targets=targets,
            application_id="spark-1",
            spark_version="4.1.4",
            incarnation="abc",
        )
        return DrivenAllocation.begin(life, self.profiles, self.sink)

    # -- what happens ------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """The operator dies and comes back."""
        targets = dict(self.driven.core.manager.targets)
        self.driven = self._begin(targets)

    def run(self, seconds: int, at: dict[int, Callable[[], None]] | None = None) -> None:
        """Live on for so many seconds; what is said to happen after so many of them happens then."""
        for second in range(seconds):
            (at or {}).get(second, lambda: None)()
            self._second()

    def _second(self) -> None:
        chance = self.chance
        self.now_ns += chance.choice([300_000_000, 1_000_000_000, 1_000_000_000, 4_000_000_000])
        self._work()
        self._cluster()
        if chance.random() < 0.03:
            self.wishes = self._wishes()
            self.driven.tell(SettingsChanged(self.wishes, self.now_ns))
        if chance.random() < 0.02:
            self.restart()
        if chance.random() < 0.02 and PROFILES[1] not in self.profiles:
            self.profiles.add(profile(1))
        if chance.random() < 0.05:
            self.grants = self._granted()
        if chance.random() < 0.05:
            self.going = frozenset(chance.sample(["10.0.0.1", "ip-10-0-0-2", "node-3"], 1))
        fresh = chance.random() < 0.9
        if fresh:
            self.driven.tell(ReportTaken(self._report(), self.now_ns, self.now_ms))
            if self.streams:
                self.driven.tell(StreamsSeen(self._seen()))
        acts = chance.random() < 0.97
        vanished, self.vanished = tuple(self.vanished), []
        step = self.driven.step(
            StepAsked(
                ExecutorPodsSnapshot.replaced(
                    [each.pod for each in self.executors.values()],
                    at=self.now_ms // 10_000 * 10_000,
                ),
                now_ns=self.now_ns,
                now_ms=self.now_ms,
                report_is_fresh=fresh,
                vanished=vanished,
                going_nodes=self.going,
                grants=self.grants if acts else None,
                acts=acts,
            )
        )
        self._carry_out(step)

    def _work(self) -> None:
        chance = self.chance
        if len(self.stages) < 2 and chance.random() < 0.15:
            self.next_stage += 1
            self.jobs += 1
            known = [each for each in PROFILES if each in self.profiles]
            self.stages[self.next_stage] = StageReport(
                self.next_stage,
                0,
                chance.choice(known),
                chance.randint(1, 30),
                0,
                0,
                self.now_ms - 100,
            )
        for number, stage in list(self.stages.items()):
            slots = [
                each
                for each in self.executors.values()
                if each.registered and each.profile_id == stage.profile_id
            ]
            done = min(stage.num_tasks, stage.completed_indices + chance.randint(0, 2 * len(slots)))
            if done == stage.num_tasks:
                del self.stages[number]
                continue
            active = min(2 * len(slots), stage.num_tasks - done)
            self.stages[number] = replace(stage, completed_indices=done, active_tasks=active)
        busy = {stage.profile_id for stage in self.stages.values()}
        for each in self.executors.values():
            works = each.registered and each.profile_id in busy and chance.random() < 0.8
            each.active = chance.randint(1, 2) if works else 0
            if works:
                each.total += each.active
                each.shuffle += chance.choice([0, 0, 100])
                each.blocks = chance.choice([each.blocks, each.blocks, 1])
        if not self.stages and chance.random() < 0.1:
            for each in self.executors.values():
                each.blocks = 0

    def _cluster(self) -> None:
        chance = self.chance
        for executor_id, each in list(self.executors.items()):
            pod, luck = each.pod, chance.random()
            if pod.state is PodState.PENDING and luck < 0.4:
                each.pod = replace(pod, state=PodState.RUNNING, phase="Running", node=chance.choice(["10.0.0.1", "ip-10-0-0-2", "node-3"]))  # fmt: skip
            elif pod.state is PodState.PENDING and luck < 0.45:
                each.pod = replace(pod, reason="Unschedulable", message="no node of 10.0.0.0/8")
            elif pod.state is PodState.RUNNING and not each.registered and luck < 0.6:
                each.registered = not pod.deleting
            elif pod.state is PodState.RUNNING and luck < 0.01:
                end = ContainerEnd("spark-kubernetes-executor", 137, "OOMKilled", "token=hunter2")
                each.pod = replace(pod, state=PodState.FAILED, phase="Failed", ends=(end,))
                self._unregister(executor_id, each)
            elif pod.deleting and luck < 0.5:
                self._unregister(executor_id, each)
                del self.executors[executor_id]
                self.vanished.append(pod)
            elif each.registered and luck < 0.015:
                self._unregister(executor_id, each)

    def _unregister(self, executor_id: ExecutorId, each: _Executor) -> None:
        if each.registered:
            each.registered = False
            self.dead[executor_id] = replace(
                self._told(executor_id, each), active=False, remove_reason="lost at 10.0.0.1"
            )

    def _told(self, executor_id: ExecutorId, each: _Executor) -> ExecutorReport:
        return ExecutorReport(
            executor_id, each.profile_id, True, each.active, 2, each.total, 0, each.blocks, each.blocks, each.shuffle, EPOCH_MS
        )  # fmt: skip

    def _report(self) -> DriverReport:
        alive = [self._told(key, each) for key, each in self.executors.items() if each.registered]
        self.chance.shuffle(alive)
        need = sum(each.num_tasks - each.completed_indices for each in self.stages.values())
        asked_for_dead = self.chance.random() < 0.2
        return DriverReport(
            stages=tuple(self.stages.values()),
            executors=tuple(alive),
            running_jobs=(self.jobs,) if self.stages else (),
            max_needed_executors=-(-need // 2),
            dead_executors=tuple(self.dead.values()) if asked_for_dead else None,
        )

    def _seen(self) -> StreamingObservation:
        now = self.now_ns / 1e9
        self.batch += 1
        duration = self.chance.uniform(1, 25)
        return StreamingObservation(
            now,
            (
                QueryObservation(
                    QueryName("orders"),
                    run_id="run",
                    batches=(
                        BatchSample(
                            now, duration, self.batch, 1000.0, 100.0, 100.0 * 10 / duration
                        ),
                        BatchSample(now, self.chance.choice([float("nan"), -1.0, 3.0])),
                    ),
                    running=self._running(),
                    backlog_rows=self.chance.uniform(0, 100_000),
                ),
            ),
        )

    def _running(self) -> RunningBatch:
        """The next batch, whose tasks are anywhere."""
        age, tasks = self.chance.uniform(0, 9), self.chance.randint(1, 40)
        completed = self.chance.randint(0, tasks)
        stage = StageProgress(self.batch, tasks, completed, min(4, tasks - completed), age / 2)
        return RunningBatch(age, self.batch + 1, tasks, (stage,))

    def _granted(self) -> dict[ProfileId, Grant] | None:
        if self.chance.random() < 0.4:
            return None
        granted = self.chance.randint(0, 8)
        story = GrantStory("team", 9, granted, granted, 2)
        stays = self.chance.choice([None, granted])
        return {PROFILES[0]: Grant(granted, 3, story, granted + 2, stays, "team")}

    def _carry_out(self, step: Step) -> None:
        chance, tell = self.chance, self.driven.tell
        leaving = (*step.drains, *step.evacuations, *step.surplus, *step.above_maximum, *step.above_streams)  # fmt: skip
        for pod in leaving:
            luck = chance.random()
            if luck < 0.1:
                tell(DrainNotBegun(pod.executor_id))
            elif luck < 0.15:
                tell(DrainRefused(pod.executor_id))
            elif pod.executor_id in self.executors:
                each = self.executors[pod.executor_id]
                each.pod = replace(each.pod, deleting=True)
        for deletion in step.delete:
            gone = self.executors.pop(deletion.pod.executor_id, None)
            if gone is not None:
                self.vanished.append(gone.pod)
        if step.plan is None:
            return
        for excess in step.plan.withdraw:
            for executor_id in excess.executor_ids:
                if chance.random() < 0.2:
                    tell(NotWithdrawn(executor_id))
                elif executor_id in self.executors:
                    self.vanished.append(self.executors.pop(executor_id).pod)
        for request in step.plan.create:
            for _ in range(request.count):
                self._create(request.profile_id)

    def _create(self, profile_id: ProfileId) -> None:
        executor_id = ExecutorId(self.next_id)
        self.next_id += 1
        tell, now = self.driven.tell, self.now_ms
        tell(CreationStarted(executor_id, profile_id, now))
        match self.chance.randint(0, 19):
            case 0:
                tell(CreationRefused(executor_id, FailureClass.CAPACITY, now))
            case 1:
                tell(PodNotCreated(executor_id))
            case 2:
                tell(CreationUnclear(executor_id, FailureClass.INFRASTRUCTURE, now))
                tell(PodNotCreated(executor_id))
            case _:
                tell(PodCreated(executor_id, now, f"uid-{executor_id}"))
                self.executors[executor_id] = _Executor(
                    profile_id,
                    ExecutorPod(
                        uid=f"uid-{executor_id}",
                        name=f"private-exec-{executor_id}",
                        namespace="jobs",
                        executor_id=executor_id,
                        profile_id=profile_id,
                        state=PodState.PENDING,
                        created_at=now / 1000,
                        resource_version=str(self.now_ns),
                        phase="Pending",
                        size=PodSize(2000, 4096),
                    ),
                )
