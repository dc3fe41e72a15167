"""Drivers of a fleet say what a real driver says, each at its own address, and tasks go by their truth."""

import contextlib
import time
from collections import deque

import aiohttp
import msgspec
import pytest
from tests.faults.fault_schedule import Fate, Fault
from tests.fleet.applications import FleetApplication, JobPlan, StagePlan, StoppableClock
from tests.fleet.driver_fleet import DriverFleet

from spark_allocation.core.driver_report import DriverReport
from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.sources.driver_rest import DriverRest, find_driver
from spark_allocation.sources.unreachable import Unreachable


class Hands:
    """A clock that somebody moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def application(
    name: str = "etl", *stages: StagePlan, slots: int = 2
) -> tuple[FleetApplication, Hands]:
    hands = Hands()
    jobs = deque([JobPlan(0.0, stages)] if stages else [])
    made = FleetApplication(
        name, jobs=jobs, slots={0: slots, 1: 1}, clock=StoppableClock(hands)
    )  # fmt: skip
    made.bounds.append((time.monotonic(), 0, 10))
    return made, hands


async def reached(
    session: aiohttp.ClientSession, fleet: DriverFleet, job: FleetApplication
) -> DriverRest:
    found = await find_driver(session, job.address, (fleet.port,), "")
    assert not isinstance(found, Unreachable), found
    return found[0]


async def test_the_operator_reads_what_a_driver_of_the_fleet_says() -> None:
    job, _ = application("etl", StagePlan(7, 10.0, shuffle_bytes=1000))
    job.turn()
    job.register(3, "uid-3")
    job.register(4, "uid-4")
    job.lose(4, "uid-4")
    job.turn()
    async with DriverFleet() as fleet, open_driver_session() as session:
        await fleet.open(job)
        driver = await reached(session, fleet, job)
        report = await driver.poll(with_dead_executors=True)
        environment = await driver.environment()
    assert isinstance(report, DriverReport)
    assert [(each.num_tasks, each.active_tasks) for each in report.stages] == [(7, 2)]
    assert [(each.id, each.active_tasks, each.max_tasks) for each in report.executors] == [
        (3, 2, 2)
    ]
    assert [each.id for each in report.dead_executors or ()] == [4]
    assert report.running_jobs == (0,)
    assert report.max_needed_executors == 4
    assert not isinstance(environment, Unreachable)
    assert set(environment.resource_profiles) == {0, 1}
    assert job.heard[-1][1] == {3}


async def test_answers_are_as_long_as_those_of_a_real_driver() -> None:
    job, _ = application("etl", StagePlan(7, 10.0))
    job.turn()
    for number in range(1, 31):
        job.register(number, f"uid-{number}")
    prefix = f"/api/v1/applications/{job.application_id}/"
    lengths = {
        path: len(job.body(path) or "")
        for path in (f"{prefix}executors", f"{prefix}stages?status=active", "/metrics/json/")
    }
    environment = job.body(f"{prefix}environment") or ""
    assert 45_000 < lengths[f"{prefix}executors"] < 70_000
    assert 2_500 < lengths[f"{prefix}stages?status=active"] < 5_000
    assert 12_000 < lengths["/metrics/json/"] < 30_000
    assert len(environment) > 40_000
    assert "sparkProperties" in msgspec.json.decode(environment)


async def test_each_driver_answers_at_its_own_address_until_it_is_closed() -> None:
    jobs = [application(f"job-{number}")[0] for number in range(3)]
    async with DriverFleet() as fleet, open_driver_session() as session:
        for each in jobs:
            await fleet.open(each)
        drivers = [await reached(session, fleet, each) for each in jobs]
        await fleet.close(jobs[1])
        answers = [await driver.application() for driver in drivers]
    assert len({each.address for each in jobs}) == 3
    assert [getattr(each, "name", "gone") for each in answers] == ["job-0", "gone", "job-2"]


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.CUT, Fault.FAILS, Fault.GARBAGE])
async def test_a_fault_reaches_the_reader_and_not_the_judge(fault: Fault) -> None:
    """What the operator was not told must not count as heard."""
    job, _ = application()
    faults: list[Fault] = []
    fates = lambda _: Fate(faults[0]) if faults else None  # noqa: E731
    async with DriverFleet(fates) as fleet, open_driver_session() as session:
        await fleet.open(job)
        driver = await reached(session, fleet, job)
        faults.append(fault)
        assert isinstance(await driver.application(), Unreachable)
        url = (
            f"http://{job.address}:{fleet.port}/api/v1/applications/{job.application_id}/executors"
        )
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(url) as answer:
                await answer.read()
    assert not job.heard


async def test_a_driver_in_a_long_pause_answers_late_and_well() -> None:
    job, _ = application()
    async with DriverFleet() as fleet, open_driver_session() as session:
        await fleet.open(job)
        driver = await reached(session, fleet, job)
        job.paused_until = time.monotonic() + 0.3
        answer = await driver.application()
    assert time.monotonic() >= job.paused_until
    assert not isinstance(answer, Unreachable)


def test_tasks_run_stage_after_stage_and_leave_what_they_wrote() -> None:
    job, hands = application(
        "etl", StagePlan(4, 1.0, shuffle_bytes=100), StagePlan(1, 1.0, profile_id=1)
    )
    job.turn()
    assert job.needed() == {0: 2}
    job.register(1, "uid-1")
    job.turn()
    assert (job.waiting, job.needed()) == (2, {0: 2})
    hands.at = 2.0
    job.turn()
    hands.at = 4.0
    job.turn()
    assert job.tasks_done == 4
    assert job.executors[1].shuffle_bytes == 400
    assert job.executors[1].busy_since is None
    assert job.needed() == {1: 1}
    job.register(2, "uid-2", profile_id=1)
    job.turn()
    hands.at = 6.0
    job.turn()
    assert not job.is_at_work


def test_a_lost_executors_tasks_wait_again_and_the_deed_is_remembered() -> None:
    job, _ = application("etl", StagePlan(2, 10.0))
    job.turn()
    job.register(1, "uid-1")
    job.turn()
    assert job.waiting == 0
    job.lose(1, "uid-1", because="pod etl-exec-1 ended")
    assert job.waiting == 2
    assert job.cut_short == ["executor 1: pod etl-exec-1 ended"]


def test_while_its_clock_stands_still_tasks_begin_and_none_ends() -> None:
    job, hands = application("etl", StagePlan(4, 1.0))
    job.turn()
    job.clock.stop()
    job.register(1, "uid-1")
    job.turn()
    hands.at = 100.0
    job.turn()
    assert (job.waiting, job.tasks_done) == (2, 0)
    job.clock.go_on()
    job.turn()
    assert job.tasks_done == 0
    hands.at = 102.0
    job.turn()
    assert job.tasks_done == 2


def test_an_executor_that_leaves_takes_no_new_task() -> None:
    job, hands = application("etl", StagePlan(4, 1.0))
    job.turn()
    job.register(1, "uid-1")
    job.turn()
    job.executors[1].leaving = True
    hands.at = 2.0
    job.turn()
    assert (job.waiting, job.executors[1].working) == (2, [])


async def test_a_thousand_drivers_fit_into_one_process() -> None:
    jobs = [application(f"job-{number}")[0] for number in range(1000)]
    async with DriverFleet() as fleet, open_driver_session() as session:
        for each in jobs:
            await fleet.open(each)
        answers = [
            await (await reached(session, fleet, each)).application() for each in jobs[::100]
        ]
    assert [getattr(each, "name", "") for each in answers] == [each.name for each in jobs[::100]]
