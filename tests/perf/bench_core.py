"""How long the core takes: one decision on a large application, and the counting of listener events.

    python -m tests.perf.bench_core

Prints CPU time; nothing is asserted.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from spark_allocation.core.allocation_manager import ExecutorAllocationManager
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_monitor import ExecutorMonitor
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
from spark_allocation.core.resource_profiles import (
    CORES,
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
    ResourceProfileManager,
)
from spark_allocation.core.spark_conf import SECOND, SparkConf
from spark_allocation.core.workload import ProfileWorkload, ReportedWorkload

EXECUTORS = 5_000
PROFILES = 10
TASKS_PER_STAGE = 1_000


class _Cluster:
    """Takes every target and keeps every executor, so that each tick has the same work to do."""

    def request_total_executors(self, totals: Mapping[ProfileId, int]) -> bool:
        return bool(totals)

    def kill_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        return executor_ids[:0]

    def decommission_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        return executor_ids[:0]

    def is_executor_active(self, executor_id: str) -> bool:
        return bool(executor_id)


def application(
    conf: DynamicAllocationConf,
) -> tuple[ExecutorAllocationManager, ListenerFeeder, ExecutorMonitor]:
    """An application with its profiles and executors."""
    profiles = ResourceProfileManager(SparkConf())
    monitor = ExecutorMonitor(conf)
    manager = ExecutorAllocationManager(conf, _Cluster(), monitor, profiles, ReportedWorkload())
    feeder = ListenerFeeder(manager, profiles)
    for number in range(1, PROFILES):
        cores = {CORES: ExecutorResourceRequest(CORES, 4)}
        feeder.post(ResourceProfileAdded(ResourceProfile(ProfileId(number), cores)), 0)
    for number in range(PROFILES):
        manager.on_stage_submitted(ProfileId(number), 0)
    for number in range(EXECUTORS):
        feeder.post(ExecutorAdded(str(number), ProfileId(number % PROFILES)), 0)
    return manager, feeder, monitor


def milliseconds(work: Callable[[int], object], rounds: int = 50) -> str:
    """The median and the worst of some rounds."""
    times = []
    for number in range(rounds):
        begun = time.process_time()
        work(number)
        times.append((time.process_time() - begun) * 1000)
    return f"median {statistics.median(times):.2f} ms, worst {max(times):.2f} ms"


def decisions() -> None:
    """One tick with every executor busy, with a backlog, and with every executor idle and timed out."""
    load = {ProfileId(n): ProfileWorkload(pending=5_000, running=500) for n in range(PROFILES)}

    manager, _, _ = application(DynamicAllocationConf(executor_idle_timeout_s=10**6))
    manager.workload = ReportedWorkload(load)
    print("quiet tick:              ", milliseconds(lambda n: manager.tick(n)))

    growing, _, _ = application(DynamicAllocationConf(executor_idle_timeout_s=10**6))
    growing.workload = ReportedWorkload(load)
    growing.on_scheduler_backlogged(0)
    print("growing tick:            ", milliseconds(lambda n: growing.tick(n * 2 * SECOND)))

    idle, _, _ = application(DynamicAllocationConf(executor_idle_timeout_s=1))
    print("all idle, none granted:  ", milliseconds(lambda n: idle.tick((2 + n) * SECOND)))

    scanned, _, monitor = application(DynamicAllocationConf(executor_idle_timeout_s=1))

    def rescan(number: int) -> None:
        monitor.executors_killed([])
        scanned.tick((2 + number) * SECOND)

    print("all idle, scanned anew:  ", milliseconds(rescan))


def events(count: int = 1_000_000) -> None:
    """Task starts and ends of many stages on many executors."""
    manager, feeder, _ = application(DynamicAllocationConf())
    begun = time.process_time()
    posted = stage = 0
    while posted < count:
        stage += 1
        profile_id = ProfileId(stage % PROFILES)
        feeder.post(StageSubmitted(StageInfo(stage, 0, TASKS_PER_STAGE, profile_id)), posted)
        for index in range(TASKS_PER_STAGE):
            executor = str((stage + index) % EXECUTORS)
            feeder.post(TaskStart(stage, 0, index, executor), posted)
        for index in range(TASKS_PER_STAGE):
            executor = str((stage + index) % EXECUTORS)
            feeder.post(TaskEnd(stage, 0, index, executor), posted)
        feeder.post(StageCompleted(stage), posted)
        posted += 2 * TASKS_PER_STAGE + 2
    seconds = time.process_time() - begun
    print(f"{posted:,} listener events: {seconds:.1f} s of CPU ({posted / seconds:,.0f} a second)")
    assert manager.max_needed(ProfileId(0)) == 0


def main() -> None:
    print(f"{EXECUTORS:,} executors, {PROFILES} profiles")
    decisions()
    events()


if __name__ == "__main__":
    main()
