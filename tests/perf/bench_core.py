"""How long the core takes: one decision on a large application, and the counting of listener events.

    python -m tests.perf.bench_core [--rounds N] [--scene PART-OF-A-NAME]

One decision is one `Allocation.step`: review of the ends, targets, removals, plan, and the counts that status and metrics
are made of. Each round of a scene brings a new application into the situation and then measures one step of it, and
the poll before it by itself. Printed is CPU time; nothing is asserted. The garbage collector runs as usual, so the worst
step may hold a collection: ``--without-collector`` shows the same without it.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from spark_allocation.core.allocation import Allocation
from spark_allocation.core.allocation_manager import ExecutorAllocationManager
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.driver_report import DriverReport, ExecutorReport, StageReport
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.executor_pods import ContainerEnd, ExecutorId, ExecutorPod, PodState
from spark_allocation.core.listener_events import (
    ExecutorAdded,
    ResourceProfileAdded,
    StageCompleted,
    StageInfo,
    StageSubmitted,
    TaskEnd,
    TaskStart,
)
from spark_allocation.core.listener_feeder import ListenerFeeder
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.resource_profiles import (
    CORES,
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
    ResourceProfileManager,
)
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.spark_conf import SECOND, SparkConf
from spark_allocation.core.workload import ReportedWorkload

EXECUTORS = 5_000
PROFILES = 10
EACH = EXECUTORS // PROFILES
CORES_EACH = 4
TASKS_PER_STAGE = 1_000
IDLE_TIMEOUT_S = 60
EPOCH_MS = 1_780_000_000_000

_IDS = [ExecutorId(number) for number in range(1, EXECUTORS + 1)]


def _profile_of(executor_id: ExecutorId) -> ProfileId:
    return ProfileId(executor_id % PROFILES)


def _pod(executor_id: ExecutorId, **changes: object) -> ExecutorPod:
    pod = ExecutorPod(
        uid=f"uid-{executor_id}",
        name=f"application-exec-{executor_id}",
        namespace="jobs",
        executor_id=executor_id,
        profile_id=_profile_of(executor_id),
        state=PodState.RUNNING,
        created_at=EPOCH_MS / 1000,
        node=f"node-{executor_id % 200}",
    )
    return replace(pod, **changes)  # type: ignore[arg-type]


def _executor(executor_id: ExecutorId, **changes: object) -> ExecutorReport:
    report = ExecutorReport(
        id=executor_id,
        profile_id=_profile_of(executor_id),
        active=True,
        active_tasks=0,
        max_tasks=CORES_EACH,
        total_tasks=100,
        failed_tasks=0,
        rdd_blocks=0,
        cached_bytes=0,
        shuffle_write_bytes=0,
        added_at_ms=EPOCH_MS,
    )
    return replace(report, **changes)  # type: ignore[arg-type]


_RUNNING = {executor_id: _pod(executor_id) for executor_id in _IDS}
_PENDING = {executor_id: _pod(executor_id, state=PodState.PENDING, node="") for executor_id in _IDS}
_STUCK = {
    executor_id: replace(pod, reason="ImagePullBackOff", message="no such image")
    for executor_id, pod in _PENDING.items()
}
_DELETING = {executor_id: replace(pod, deleting=True) for executor_id, pod in _RUNNING.items()}
_KILLED = {
    executor_id: replace(
        pod,
        state=PodState.FAILED,
        ends=(ContainerEnd("spark-kubernetes-executor", 137, "OOMKilled"),),
    )
    for executor_id, pod in _RUNNING.items()
}
_BUSY = tuple(_executor(executor_id, active_tasks=CORES_EACH) for executor_id in _IDS)
_WORKED = tuple(replace(each, total_tasks=each.total_tasks + 1) for each in _BUSY)
_IDLE = tuple(_executor(executor_id) for executor_id in _IDS)
_CACHING = tuple(
    replace(each, rdd_blocks=3, cached_bytes=each.id * 7919 % EXECUTORS << 10) for each in _IDLE
)
_SHUFFLING = tuple(replace(each, shuffle_write_bytes=1 << 20) for each in _IDLE)
_STAGES = tuple(
    StageReport(
        stage_id=number,
        attempt_id=0,
        profile_id=ProfileId(number),
        num_tasks=20_000,
        completed_indices=100,
        active_tasks=EACH * CORES_EACH,
    )
    for number in range(PROFILES)
)


def _report(
    executors: tuple[ExecutorReport, ...],
    *,
    stages: tuple[StageReport, ...] = (),
    dead: tuple[ExecutorReport, ...] | None = None,
) -> DriverReport:
    return DriverReport(
        stages=stages,
        executors=executors,
        running_jobs=(1,) if stages else (),
        max_needed_executors=None,
        dead_executors=dead,
    )


BUSY = _report(_BUSY, stages=_STAGES)
WORKED = _report(_WORKED, stages=_STAGES)
IDLE = _report(_IDLE)
CACHING = _report(_CACHING)
SHUFFLING = _report(_SHUFFLING)
WAITING = _report((), stages=tuple(replace(stage, active_tasks=0) for stage in _STAGES))


def _profiles() -> ResourceProfileManager:
    profiles = ResourceProfileManager(SparkConf({"spark.executor.cores": str(CORES_EACH)}))
    for number in range(1, PROFILES):
        cores = {CORES: ExecutorResourceRequest(CORES, CORES_EACH)}
        profiles.add(ResourceProfile(ProfileId(number), cores))
    return profiles


def _settings(
    *, max_executors: int = EACH, max_concurrent_drains: int | None = None, **dynamic: object
) -> AllocationSettings:
    return AllocationSettings(
        dynamic=DynamicAllocationConf(
            **{  # type: ignore[arg-type]
                "max_executors": max_executors,
                "executor_idle_timeout_s": IDLE_TIMEOUT_S,
                "cached_executor_idle_timeout_s": IDLE_TIMEOUT_S,
                "decommission_enabled": True,
                **dynamic,
            }
        ),
        pods=PodsAllocatorConf(
            batch_size=None, wait_for_previous_batch=False, repair_known_faults=True
        ),
        max_concurrent_drains=max_concurrent_drains,
    )


@dataclass
class Served:
    """An application under a manual clock."""

    settings: AllocationSettings = field(default_factory=_settings)
    pods: Mapping[ExecutorId, ExecutorPod] = field(default_factory=lambda: _RUNNING)
    targets: Mapping[ProfileId, int] | None = None
    vanished: Sequence[ExecutorPod] = ()
    now_ns: int = 1_000 * SECOND

    def __post_init__(self) -> None:
        self.allocation = Allocation(
            self.settings, _profiles(), now_ns=self.now_ns, targets=self.targets
        )

    @property
    def now_ms(self) -> int:
        return EPOCH_MS + self.now_ns // 1_000_000

    def poll(self, report: DriverReport, *, after_s: int = 1) -> None:
        self.now_ns += after_s * SECOND
        self.allocation.take_report(report, now_ns=self.now_ns, now_ms=self.now_ms)

    def step(self) -> object:
        self.now_ns += SECOND // 100
        vanished, self.vanished = self.vanished, ()
        return self.allocation.step(
            # as the caller does: a mapping made anew of what the store shows
            ExecutorPodsSnapshot(dict(self.pods), self.now_ms - 10_000),
            vanished=vanished,
            now_ns=self.now_ns,
            now_ms=self.now_ms,
            report_is_fresh=True,
        )

    def turn(self, report: DriverReport, *, after_s: int = 1) -> None:
        self.poll(report, after_s=after_s)
        self.step()


TARGETS = {ProfileId(number): EACH for number in range(PROFILES)}
Prepared = tuple[Served, DriverReport]


def _served(**about: object) -> Served:
    """All executors run and work, and the application has been served for a while."""
    served = Served(targets=TARGETS, **about)  # type: ignore[arg-type]
    served.turn(BUSY)
    served.turn(WORKED, after_s=60)
    return served


def steady() -> Prepared:
    """Nothing new since the last poll but what tasks finished."""
    return _served(), BUSY


def became_idle() -> Prepared:
    """All tasks have ended since the last poll."""
    return _served(), IDLE


def idle_and_kept() -> Prepared:
    """All have timed out, and minExecutors keeps all."""
    served = _served(settings=_settings(min_executors=EACH, initial_executors=EACH))
    served.turn(IDLE)
    served.turn(IDLE, after_s=IDLE_TIMEOUT_S + 1)
    return served, IDLE


def idle_and_held() -> Prepared:
    """All hold shuffle data of a job that has ended, and cached blocks."""
    served = _served()
    both = _report(tuple(replace(each, rdd_blocks=1) for each in _SHUFFLING))
    served.turn(both)
    served.turn(both, after_s=IDLE_TIMEOUT_S + 1)
    return served, both


def all_time_out() -> Prepared:
    """All time out in the same moment, and all may go."""
    served = _served()
    served.turn(IDLE)
    return _later(served), IDLE


def all_time_out_some_may_go() -> Prepared:
    """All have timed out, and only so many may leave at once."""
    served = _served(settings=_settings(max_concurrent_drains=50))
    served.turn(IDLE)
    served.turn(IDLE, after_s=IDLE_TIMEOUT_S + 1)
    return served, IDLE


def half_time_out() -> Prepared:
    """Half time out in the same moment, and all of these may go."""
    served = _served()
    half = EXECUTORS // 2
    some = _report((*_IDLE[:half], *_BUSY[half:]))
    served.turn(some)
    return _later(served), some


def all_time_out_half_may_go() -> Prepared:
    """All time out in the same moment, and minExecutors keeps half: who goes is a choice."""
    served = _served(settings=_settings(min_executors=EACH // 2, initial_executors=EACH // 2))
    served.turn(CACHING)
    return _later(served), CACHING


def all_leave() -> Prepared:
    """All pods are being deleted."""
    served = _served()
    served.turn(IDLE)
    served.pods = _DELETING
    served.turn(IDLE)
    return served, IDLE


def wave_of_removals() -> Prepared:
    """Half of the pods have gone, and the driver has noticed."""
    served = _served()
    half = EXECUTORS // 2
    served.pods = dict(list(_RUNNING.items())[half:])
    served.vanished = [_DELETING[executor_id] for executor_id in _IDS[:half]]
    dead = tuple(replace(each, active=False, remove_reason="gone") for each in _BUSY[:half])
    return served, _report(_BUSY[half:], stages=_STAGES, dead=dead)


def wave_of_failures() -> Prepared:
    """Half of the pods were killed for want of memory."""
    served = _served()
    half = EXECUTORS // 2
    served.pods = {**_RUNNING, **dict(list(_KILLED.items())[:half])}
    dead = tuple(replace(each, active=False, remove_reason="gone") for each in _BUSY[:half])
    return served, _report(_BUSY[half:], stages=_STAGES, dead=dead)


def all_failed_before() -> Prepared:
    """Pods that have ended stay for a while: all did, and are to be deleted now."""
    served = _served()
    served.pods = _KILLED
    served.turn(WAITING)
    return _later(served, 30), WAITING


def driver_lost_all() -> Prepared:
    """The driver has listed no executor for longer than the registration timeout, though all pods run."""
    served = _served()
    for _ in range(13):
        served.turn(WAITING, after_s=10)
    return _later(served, 10), WAITING


def all_to_ask_for() -> Prepared:
    """No pod is there and all are wanted."""
    return Served(targets=TARGETS, pods={}), WAITING


def all_asked_for() -> Prepared:
    """All were asked for, and no list shows any."""
    served = Served(targets=TARGETS, pods={})
    served.turn(WAITING)
    for executor_id in _IDS:
        served.allocation.creation_started(executor_id, _profile_of(executor_id), served.now_ms)
        served.allocation.pods.pod_created(executor_id, served.now_ms, uid=f"uid-{executor_id}")
    served.step()
    return served, WAITING


def all_pending() -> Prepared:
    """All pods wait for a node."""
    served = Served(targets=TARGETS, pods=_PENDING)
    served.turn(WAITING)
    return served, WAITING


def all_stuck() -> Prepared:
    """No pod can start, and each says why."""
    served = Served(targets=TARGETS, pods=_STUCK)
    served.turn(WAITING)
    return served, WAITING


def all_in_excess() -> Prepared:
    """All pods wait for a node, and none is wanted any more."""
    served = Served(targets=TARGETS, pods=_PENDING)
    served.turn(WAITING)
    return _later(served), _report(())


def first_after_restart() -> Prepared:
    """The first poll and the first step: all work."""
    return Served(targets=TARGETS), BUSY


def first_after_restart_idle() -> Prepared:
    """The first poll and the first step: nobody works."""
    return Served(targets=TARGETS), IDLE


def first_without_targets() -> Prepared:
    """The first poll and the first step, and nothing is known of targets."""
    return Served(), BUSY


def settings_changed() -> Prepared:
    """The idle timeout became shorter: all time out at once."""
    served = _served(settings=_settings(executor_idle_timeout_s=3_600))
    served.turn(IDLE)
    served.turn(IDLE, after_s=IDLE_TIMEOUT_S + 1)
    served.allocation.reconfigure(_settings(), served.now_ns)
    return served, IDLE


def bounds_changed() -> Prepared:
    """maxExecutors became one less than there are."""
    served = _served()
    served.allocation.reconfigure(_settings(max_executors=EACH - 1), served.now_ns)
    return served, BUSY


def _later(served: Served, seconds: int = IDLE_TIMEOUT_S + 1) -> Served:
    served.now_ns += seconds * SECOND
    return served


SCENES: Mapping[str, Callable[[], Prepared]] = {
    "all work": steady,
    "all became idle": became_idle,
    "all idle, kept by minExecutors": idle_and_kept,
    "all idle, held by shuffle and cache": idle_and_held,
    "all time out at once, all may go": all_time_out,
    "half time out at once, may go": half_time_out,
    "all time out, minExecutors keeps half": all_time_out_half_may_go,
    "all timed out, 50 may go at once": all_time_out_some_may_go,
    "all pods are being deleted": all_leave,
    "half of the pods went": wave_of_removals,
    "half of the pods failed": wave_of_failures,
    "all failed, to be deleted": all_failed_before,
    "the driver has lost all": driver_lost_all,
    "all to ask for": all_to_ask_for,
    "all asked for, none seen": all_asked_for,
    "all pods pending": all_pending,
    "no pod can start": all_stuck,
    "all pods pending, none wanted": all_in_excess,
    "first step after a restart": first_after_restart,
    "the same, nobody works": first_after_restart_idle,
    "the same, targets unknown": first_without_targets,
    "idle timeout shortened": settings_changed,
    "maximum lowered": bounds_changed,
}


def decisions(rounds: int, part_of_name: str = "") -> None:
    """Each scene: one poll and one step, many times."""
    print(
        f"{'milliseconds of CPU':38}{'step: median':>13}{'worst':>8}{'poll: median':>14}{'worst':>8}"
    )
    for name, prepare in SCENES.items():
        if part_of_name not in name:
            continue
        polls, steps = [], []
        for _ in range(rounds):
            served, report = prepare()
            polls.append(_milliseconds(partial(served.poll, report, after_s=0)))
            steps.append(_milliseconds(served.step))
        print(
            f"{name:38}{statistics.median(steps):13.2f}{max(steps):8.2f}"
            f"{statistics.median(polls):14.2f}{max(polls):8.2f}"
        )


def _milliseconds(work: Callable[[], object]) -> float:
    begun = time.process_time_ns()
    work()
    return (time.process_time_ns() - begun) / 1e6


class _Client:
    """Takes every target."""

    def request_total_executors(self, totals: Mapping[ProfileId, int]) -> bool:
        return bool(totals)

    def kill_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        return executor_ids[:0]

    def decommission_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        return executor_ids[:0]

    def is_executor_active(self, executor_id: str) -> bool:
        return bool(executor_id)


def events(count: int = 1_000_000) -> None:
    """Task starts and ends of many stages on many executors."""
    conf = DynamicAllocationConf()
    monitor = ExecutorMonitor(conf)
    profiles = _profiles()
    manager = ExecutorAllocationManager(conf, _Client(), monitor, profiles, ReportedWorkload())
    feeder = ListenerFeeder(manager, profiles)
    for number in range(1, PROFILES):
        cores = {CORES: ExecutorResourceRequest(CORES, CORES_EACH)}
        feeder.post(ResourceProfileAdded(ResourceProfile(ProfileId(number), cores)), 0)
    for executor_id in _IDS:
        feeder.post(ExecutorAdded(str(executor_id), _profile_of(executor_id)), 0)
    begun = time.process_time()
    posted = stage = 0
    while posted < count:
        stage += 1
        profile_id = ProfileId(stage % PROFILES)
        feeder.post(StageSubmitted(StageInfo(stage, 0, TASKS_PER_STAGE, profile_id)), posted)
        for index in range(TASKS_PER_STAGE):
            executor = str(1 + (stage + index) % EXECUTORS)
            feeder.post(TaskStart(stage, 0, index, executor), posted)
        for index in range(TASKS_PER_STAGE):
            executor = str(1 + (stage + index) % EXECUTORS)
            feeder.post(TaskEnd(stage, 0, index, executor), posted)
        feeder.post(StageCompleted(stage), posted)
        posted += 2 * TASKS_PER_STAGE + 2
    seconds = time.process_time() - begun
    print(f"{posted:,} listener events: {seconds:.1f} s of CPU ({posted / seconds:,.0f} a second)")
    assert manager.max_needed(ProfileId(0)) == 0


def main() -> None:
    parser = argparse.ArgumentParser(description="How long the core takes.")
    parser.add_argument("--rounds", type=int, default=25, help="of each scene")
    parser.add_argument("--scene", default="", help="only scenes with this in their name")
    parser.add_argument("--without-collector", action="store_true", help="no garbage collection")
    arguments = parser.parse_args()
    if arguments.without_collector:
        gc.disable()
    print(f"{EXECUTORS:,} executors, {PROFILES} profiles, {arguments.rounds} rounds of each scene")
    decisions(arguments.rounds, arguments.scene)
    if not arguments.scene:
        events()


if __name__ == "__main__":
    main()
