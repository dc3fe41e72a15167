"""A driver's life under a manual clock, its pods in a cluster that does as it is told: for tests of `core.allocation`."""

from collections.abc import Mapping
from dataclasses import replace

from tests.unit.allocation_builders import profile

from spark_allocation.core.allocation import Allocation
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.driver_report import DriverReport, ExecutorReport, StageReport
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.spark_conf import SparkConf

SECOND_NS = 1_000_000_000
EPOCH_MS = 1_780_000_000_000


def stage(
    stage_id: int = 0,
    *,
    tasks: int,
    done: int = 0,
    active: int = 0,
    profile_id: int = 0,
    attempt: int = 0,
    submitted_at_ms: int | None = None,
    shuffle: int = 0,
) -> StageReport:
    return StageReport(
        stage_id=stage_id,
        attempt_id=attempt,
        profile_id=ProfileId(profile_id),
        num_tasks=tasks,
        completed_indices=done,
        active_tasks=active,
        submitted_at_ms=submitted_at_ms,
        shuffle_write_bytes=shuffle,
    )


def executor(
    executor_id: int,
    *,
    active: int = 0,
    total: int = 0,
    failed: int = 0,
    profile_id: int = 0,
    fits: int = 1,
    blocks: int = 0,
    shuffle: int = 0,
    alive: bool = True,
) -> ExecutorReport:
    return ExecutorReport(
        id=ExecutorId(executor_id),
        profile_id=ProfileId(profile_id),
        active=alive,
        active_tasks=active,
        max_tasks=fits,
        total_tasks=total,
        failed_tasks=failed,
        rdd_blocks=blocks,
        cached_bytes=blocks,
        shuffle_write_bytes=shuffle,
    )


def report(
    *stages: StageReport,
    executors: tuple[ExecutorReport, ...] = (),
    jobs: int | None = None,
    gauge: int | None = None,
    dead: tuple[ExecutorReport, ...] | None = None,
) -> DriverReport:
    """One poll; a job runs while there are stages, unless `jobs` says otherwise."""
    running = (1 if stages else 0) if jobs is None else jobs
    return DriverReport(
        stages=stages,
        executors=executors,
        running_jobs=tuple(range(running)),
        max_needed_executors=gauge,
        dead_executors=dead,
    )


def settings(**wishes: object) -> AllocationSettings:
    """One task an executor, backlog timeouts 1 s, idle timeout 60 s, unless said otherwise."""
    pods_fields = {
        "batch_size",
        "batch_delay_ms",
        "claims",
        "creation_timeout_ms",
        "max_pending_pods",
        "round_at_once",
    }
    own_fields = {"shuffle", "max_concurrent_drains"}
    pods = {key: value for key, value in wishes.items() if key in pods_fields}
    own = {key: value for key, value in wishes.items() if key in own_fields}
    dynamic = {
        key: value for key, value in wishes.items() if key not in pods_fields and key not in own
    }
    return AllocationSettings(
        dynamic=DynamicAllocationConf(**{"decommission_enabled": True, **dynamic}),  # type: ignore[arg-type]
        pods=PodsAllocatorConf(
            **{  # type: ignore[arg-type]
                "batch_size": 10,
                "wait_for_previous_batch": False,
                "repair_known_faults": True,
                **pods,
            }
        ),
        **own,  # type: ignore[arg-type]
    )


class ServedDriver:
    """One life of a driver: tell it what the driver says, take steps, let the cluster follow."""

    def __init__(
        self,
        wishes: AllocationSettings | None = None,
        *,
        targets: Mapping[int, int] | None = None,
        profiles: tuple[int, ...] = (),
    ) -> None:
        self.now_ns = 1_000 * SECOND_NS
        self.wall_clock_off_ms = 0
        self.pods: dict[int, ExecutorPod] = {}
        self.vanished: list[ExecutorPod] = []
        self.ids = ExecutorIds(reserved_until=1_000_000)
        self.profiles = ResourceProfileManager(SparkConf({}))
        for profile_id in profiles:
            self.profiles.add(profile(profile_id))
        self.full_sync_at = self.now_ms
        self.allocation = Allocation(
            wishes or settings(),
            self.profiles,
            now_ns=self.now_ns,
            targets=None if targets is None else {ProfileId(k): v for k, v in targets.items()},
        )
        self.deleted: list[str] = []

    @property
    def now_ms(self) -> int:
        return EPOCH_MS + self.now_ns // 1_000_000 + self.wall_clock_off_ms

    def later(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)

    def says(self, told: DriverReport) -> None:
        self.allocation.take_report(told, now_ns=self.now_ns, now_ms=self.now_ms)

    def step(self, *, fresh: bool = True, acts: bool = True) -> Step:
        vanished, self.vanished = self.vanished, []
        return self.allocation.step(
            ExecutorPodsSnapshot.replaced(self.pods.values(), at=self.full_sync_at),
            vanished=vanished,
            now_ns=self.now_ns,
            now_ms=self.now_ms,
            report_is_fresh=fresh,
            acts=acts,
        )

    def carry_out(self, step: Step, *, state: PodState = PodState.RUNNING) -> None:
        """The API server does all that was asked, and its pods are in this state at once."""
        if step.plan is not None:
            for request in step.plan.create:
                for _ in range(request.count):
                    self.create(request.profile_id, state)
            for excess in step.plan.withdraw:
                for executor_id in excess.executor_ids:
                    self.lose(executor_id)
        for pod in (*step.drains, *step.surplus, *step.above_maximum, *step.above_streams):
            self.pods[pod.executor_id] = replace(self.pods[pod.executor_id], deleting=True)
        for deletion in step.delete:
            self.lose(deletion.pod.executor_id)

    def create(self, profile_id: int = 0, state: PodState = PodState.RUNNING) -> int:
        executor_id = self.ids.take()
        assert executor_id is not None
        self.allocation.creation_started(executor_id, ProfileId(profile_id), self.now_ms)
        self.allocation.pods.pod_created(executor_id, self.now_ms, uid=f"uid-{executor_id}")
        self.pods[executor_id] = ExecutorPod(
            uid=f"uid-{executor_id}",
            name=f"app-exec-{executor_id}",
            namespace="jobs",
            executor_id=executor_id,
            profile_id=ProfileId(profile_id),
            state=state,
            created_at=self.now_ms / 1000,
        )
        return executor_id

    def set(self, executor_id: int, **changes: object) -> None:
        self.pods[executor_id] = replace(self.pods[executor_id], **changes)  # type: ignore[arg-type]

    def lose(self, executor_id: int) -> None:
        self.vanished.append(self.pods.pop(executor_id))

    def turn(self, told: DriverReport | None = None, *, after: float = 1.0) -> Step:
        """A second later: a poll, a step, and the cluster follows."""
        self.later(after)
        if told is not None:
            self.says(told)
        step = self.step(fresh=told is not None)
        self.carry_out(step)
        return step

    def target(self, profile_id: int = 0) -> int:
        return self.allocation.manager.targets.get(ProfileId(profile_id), 0)

    def requested(self, step: Step) -> int:
        return sum(request.count for request in step.plan.create) if step.plan is not None else 0

    def alive(self, profile_id: int = 0, **about: object) -> tuple[ExecutorReport, ...]:
        """What the driver lists when every running pod has registered."""
        return tuple(
            executor(pod.executor_id, profile_id=pod.profile_id, **about)  # type: ignore[arg-type]
            for pod in self.pods.values()
            if pod.state is PodState.RUNNING and pod.profile_id == profile_id
        )
