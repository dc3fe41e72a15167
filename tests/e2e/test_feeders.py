"""Two ways to know what tasks need, held against each other on a running application.

Outside the driver there are polls of its REST API and gauges (`DriverFeeder`), inside it there are listener events, and
the event log keeps those (`ListenerFeeder` replays them). The need that the operator works with has to be the need that
Spark's own manager computed at that moment.

The clock of both is the same machine's. A poll takes some tens of milliseconds and the driver's REST store lags behind
its listeners by up to a tenth of a second, so a poll counts as equal when Spark had this need at some moment within
`TOLERATED_MS` of it.
"""

import asyncio
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from tests.e2e.event_log import timed_events
from tests.e2e.waiting import eventually
from tests.e2e.workspace import TWO_PROFILES, Workspace
from tests.machine.own_time import own_seconds

from spark_allocation.core.allocation import Allocation
from spark_allocation.core.allocation_manager import ExecutorAllocationManager
from spark_allocation.core.allocation_settings import AllocationSettings
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.listener_feeder import ListenerFeeder
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.workload import ReportedWorkload
from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.sources.driver_rest import find_driver
from spark_allocation.sources.unreachable import Unreachable

DRIVER = "waves"
POLL_SECONDS = 0.5
TOLERATED_MS = 250
STAYS_SECONDS = 60

Need = dict[ProfileId, int]


@dataclass(frozen=True)
class Poll:
    at_ms: int
    need: Need
    gauge: int | None
    profiles_at_work: int


class _Nobody:
    def request_total_executors(self, totals: object) -> bool:
        return True

    def kill_executors(self, executor_ids: object) -> list[str]:
        return []

    def decommission_executors(self, executor_ids: object) -> list[str]:
        return []

    def is_executor_active(self, executor_id: str) -> bool:
        return True


@pytest.fixture(scope="module")
def compared(make_workspace) -> tuple[list[Poll], list[tuple[int, Need]]]:
    """What the polls said, and what Spark's own events say."""
    space: Workspace = make_workspace()
    prefix = "spec.sparkallocation.dev"
    space.start_driver(
        DRIVER,
        f"--stays-seconds={STAYS_SECONDS}",
        job=TWO_PROFILES,
        annotations={f"{prefix}/dynamicAllocation.maxExecutors": "1"},
        conf=(
            "spark.eventLog.enabled=true",
            "spark.eventLog.dir=file:///opt/life",
            "spark.eventLog.compress=false",
            "spark.eventLog.rolling.enabled=false",
        ),
    )
    polls = asyncio.run(_poll_until_done(space))
    log = space.cluster.kubectl(
        *(
            "exec",
            DRIVER,
            f"--namespace={space.namespace}",
            "--",
            "sh",
            "-c",
            "cat /opt/life/*.inprogress",
        )
    )
    space.delete("pod", DRIVER, wait=False)
    return polls, list(_needs_by_events(log))


def test_with_one_profile_at_work_the_need_is_spark_s(compared) -> None:
    polls, truth = compared
    one = [poll for poll in polls if poll.profiles_at_work == 1 and poll.gauge]
    assert len(one) > 20, "the job was too short to say anything"
    off = [_distance(poll, truth) for poll in one]
    equal, within_one = (sum(each <= limit for each in off) / len(off) for limit in (0, 1))
    print(f"one profile: {len(one)} polls, {equal:.1%} equal, {within_one:.1%} within 1")
    assert equal >= 0.95
    assert within_one >= 0.99


def test_with_several_profiles_the_difference_is_small(compared) -> None:
    polls, truth = compared
    several = [poll for poll in polls if poll.profiles_at_work > 1]
    assert len(several) > 10, "the two profiles hardly worked at the same time"
    difference = sum(_distance(poll, truth) for poll in several)
    needed = sum(sum(_at(truth, poll.at_ms).values()) for poll in several)
    share = difference / needed
    print(f"several profiles: {len(several)} polls, difference {share:.2%} of the need")
    assert share <= 0.03


def test_the_need_is_never_below_spark_s_for_more_than_two_polls(compared) -> None:
    polls, truth = compared
    longest = 0
    for below, run in itertools.groupby(polls, key=lambda poll: _is_below(poll, truth)):
        if below:
            longest = max(longest, len(list(run)))
    print(f"longest run of polls below Spark's need: {longest}")
    assert longest <= 2


async def _poll_until_done(space: Workspace) -> list[Poll]:
    eventually(lambda: space.phase(DRIVER) == "Running", what="the driver runs", within=60)
    pod = space.api.pod(space.namespace, DRIVER)
    polls: list[Poll] = []
    async with open_driver_session() as session:
        rest = None
        deadline = own_seconds() + 120
        while rest is None:
            found = await find_driver(session, pod["status"]["podIP"], (4040,), "")
            if isinstance(found, Unreachable):
                assert own_seconds() < deadline, found.message
                await asyncio.sleep(0.5)
                continue
            rest, _ = found
        environment = await rest.environment()
        conf = SparkConf(dict(environment.spark_properties))
        profiles = ResourceProfileManager(conf)
        allocation = Allocation(
            AllocationSettings(DynamicAllocationConf(), PodsAllocatorConf(batch_size=None)),
            profiles,
            now_ns=time.monotonic_ns(),
        )
        while '"answers"' not in space.log(DRIVER, lines=60):
            began = own_seconds()
            at_ms = int(time.time() * 1000)
            report = await rest.poll(with_dead_executors=False)
            if not isinstance(report, Unreachable):
                named = {stage.profile_id for stage in report.stages}
                if any(profile_id not in profiles for profile_id in named):
                    environment = await rest.environment()
                    for profile in environment.resource_profiles.values():
                        profiles.add(profile)
                allocation.take_report(report, now_ns=time.monotonic_ns(), now_ms=at_ms)
                at_work = allocation.feeder.profiles_at_work
                polls.append(
                    Poll(
                        at_ms=(at_ms + int(time.time() * 1000)) // 2,
                        need={each: allocation.manager.max_needed(each) or 0 for each in at_work},
                        gauge=report.max_needed_executors,
                        profiles_at_work=len(at_work),
                    )
                )
            assert own_seconds() < deadline + 300, "the job does not end"
            await asyncio.sleep(max(0.0, began + POLL_SECONDS - own_seconds()))
    return polls


def _needs_by_events(log: str) -> Iterable[tuple[int, Need]]:
    conf = DynamicAllocationConf()
    nobody = _Nobody()
    monitor = ExecutorMonitor(conf, nobody.is_executor_active)
    profiles = ResourceProfileManager(SparkConf({"spark.master": "k8s://example"}))
    manager = ExecutorAllocationManager(conf, nobody, monitor, profiles, ReportedWorkload({}))
    feeder = ListenerFeeder(manager, profiles)
    for at_ms, event in timed_events(log):
        feeder.post(event, at_ms * 1_000_000)
        yield (
            at_ms,
            {
                profile_id: need
                for profile_id in manager.targets
                if (need := manager.max_needed(profile_id))
            },
        )


def _at(truth: list[tuple[int, Need]], at_ms: int) -> Need:
    """What Spark needed at a moment."""
    need: Need = {}
    for moment, known in truth:
        if moment > at_ms:
            break
        need = known
    return need


def _around(truth: list[tuple[int, Need]], at_ms: int) -> list[Need]:
    """Everything that Spark needed around a moment."""
    within = [need for moment, need in truth if abs(moment - at_ms) <= TOLERATED_MS]
    return [_at(truth, at_ms - TOLERATED_MS), *within]


def _distance(poll: Poll, truth: list[tuple[int, Need]]) -> int:
    return min(_difference(poll.need, need) for need in _around(truth, poll.at_ms))


def _difference(left: Need, right: Need) -> int:
    return sum(abs(left.get(each, 0) - right.get(each, 0)) for each in left.keys() | right.keys())


def _is_below(poll: Poll, truth: list[tuple[int, Need]]) -> bool:
    """Whether, whatever moment one takes, some profile is given less than it needs."""
    return all(
        any(poll.need.get(profile_id, 0) < needed for profile_id, needed in need.items())
        for need in _around(truth, poll.at_ms)
    )
