"""How often and for how much a driver is asked, over real HTTP."""

import asyncio
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.runner_world import Operator, put_driver

from spark_allocation.controller import driver_life, driver_polling
from spark_allocation.controller.allocation_runner import AllocationRunner
from spark_allocation.controller.process_settings import ProcessSettings
from spark_allocation.testing.driver import Behaviour, FakeDriver

pytestmark = pytest.mark.usefixtures("quick")
JOBS = "jobs?status=running"
BOUNDS: dict[str, Any] = {"minExecutors": 2, "maxExecutors": 10, "executorIdleTimeout": "0s"}


class Asked:
    """What a driver has been asked since this was made."""

    def __init__(self, driver: FakeDriver) -> None:
        self._driver = driver
        self._since = len(driver.asked)

    @property
    def counts(self) -> Counter[str]:
        return Counter(path.rpartition("/")[2] for path in self._driver.asked[self._since :])

    @property
    def for_all(self) -> int:
        """Whole polls."""
        return self.counts["stages?status=active"]

    @property
    def for_jobs_alone(self) -> int:
        return self.counts[JOBS] - self.for_all


async def two_registered(
    operator: Operator, driver: FakeDriver, *, registered: int = 2
) -> AllocationRunner:
    """Two executors, which is the minimum, run and have registered; there is no job."""
    put_driver(operator, driver)
    runner = operator.allocate(dynamicAllocation=BOUNDS)
    await operator.until(lambda: len(operator.executors) == 2)
    operator.kubelet()
    driver.executors = [driver.executor(1), driver.executor(2)][:registered]
    await operator.until(lambda: operator.allocations.status("job").get("executors") == 2)
    return runner


async def rests(operator: Operator, driver: FakeDriver) -> Asked:
    """What is asked from when the driver is only asked for its jobs."""

    async def quiet() -> bool:
        asked = Asked(driver)
        await asyncio.sleep(0.3)
        return asked.for_jobs_alone >= 2 and asked.for_all == 0

    for _ in range(40):
        if await quiet():
            return Asked(driver)
    raise AssertionError(Counter(driver.asked))


async def test_a_driver_at_rest_is_asked_for_its_jobs_alone(
    operator: Operator, driver: FakeDriver
) -> None:
    await two_registered(operator, driver)
    asked = await rests(operator, driver)
    await asyncio.sleep(0.5)
    assert set(asked.counts) == {JOBS}


@pytest.mark.parametrize("executors", ["two executors", "none"])
async def test_the_longer_a_driver_is_quiet_the_less_often_it_is_asked(
    operator: Operator, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, executors: str
) -> None:
    monkeypatch.setattr(driver_polling, "QUIET_SHARE", 0.5)
    settings = ProcessSettings(poll_seconds=0.06, idle_poll_seconds=1.0)
    operator.around = replace(operator.around, settings=settings)
    if executors == "none":
        put_driver(operator, driver)
        operator.allocate()
    else:
        await two_registered(operator, driver)
    asked = Asked(driver)
    await operator.until(lambda: asked.for_jobs_alone >= 2)
    # when it goes on being quiet
    await asyncio.sleep(3.0)
    # then it is asked no more often than an idle driver is
    asked = Asked(driver)
    await asyncio.sleep(2.5)
    assert 2 <= asked.counts[JOBS] <= 4
    # and when a job has run, as often as one that works, also after it
    driver.work(1)
    await operator.until(lambda: asked.for_all >= 3, within=5)
    driver.work(0)
    asked = Asked(driver)
    # an idle one would be asked three times by then
    await operator.until(lambda: asked.counts[JOBS] >= 5, within=3.0)


async def test_a_job_is_seen_at_once_and_all_of_it_asked_for(
    operator: Operator, driver: FakeDriver
) -> None:
    await two_registered(operator, driver)
    await rests(operator, driver)
    driver.work(5)
    await operator.until(lambda: len(operator.executors) == 5, within=5)
    # and while it runs everything is asked each time
    asked = Asked(driver)
    await operator.until(lambda: asked.for_all >= 3)
    assert asked.for_jobs_alone <= 1


async def test_everything_is_asked_for_again_before_long(
    operator: Operator, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_polling, "ALL_EVERY_SECONDS", 0.6)
    await two_registered(operator, driver)
    # given an executor that the driver has removed, though its pod runs and there is no job
    driver.dead = [{**driver.executor(1), "isActive": False}]
    driver.executors = [driver.executor(2)]
    monkeypatch.setattr(driver_polling, "DEAD_EXECUTORS_EVERY_SECONDS", 0.1)
    # then it is replaced all the same
    await operator.until(lambda: len(operator.pods.made("create")) == 3, within=10)


async def test_a_job_that_came_and_went_unseen_counts_before_anybody_has_to_go(
    operator: Operator, driver: FakeDriver
) -> None:
    runner = await two_registered(operator, driver)
    await rests(operator, driver)
    await asyncio.sleep(2.5)  # both have been idle for longer than they are going to be allowed
    # given a job so short that nobody saw it, on the first executor
    driver.executors = [driver.executor(1, total=1), driver.executor(2)]
    # when nobody has to stay any longer
    shorter = {**BOUNDS, "minExecutors": 0, "executorIdleTimeout": "2s"}
    began = time.monotonic()
    operator.change(runner, dynamicAllocation=shorter)
    # then the second goes, idle all the time, and the first when it has been idle for as long since
    await operator.until(lambda: operator.pods.made("delete"), within=5)
    first_to_go = operator.pods.made("delete")[0]
    assert first_to_go.name.endswith("-2")
    await operator.until(lambda: len(operator.pods.made("delete")) == 2, within=10)
    assert time.monotonic() - began > 1.999  # it is a sum of many small steps


async def test_a_driver_that_falls_silent_at_rest_is_noticed(
    operator: Operator, driver: FakeDriver
) -> None:
    await two_registered(operator, driver)
    await rests(operator, driver)
    driver.behaves = Behaviour.FAILS
    await operator.until(lambda: operator.condition("DriverReachable")["status"] == "False")
    driver.behaves = Behaviour.WELL
    await operator.until(lambda: operator.condition("DriverReachable")["status"] == "True")


async def idle_long_enough(operator: Operator, driver: FakeDriver, *, seconds: float) -> None:
    """Both executors are asked to go when they have been idle for so long; the driver is polled less often than that."""
    patient = ProcessSettings(poll_seconds=3 * seconds, idle_poll_seconds=3 * seconds)
    operator.around = replace(operator.around, settings=patient)
    put_driver(operator, driver)
    shortly = {"minExecutors": 0, "initialExecutors": 2, "executorIdleTimeout": f"{seconds:.0f}s"}
    driver.work(2)
    operator.allocate(dynamicAllocation=shortly)
    await operator.until(lambda: len(operator.executors) == 2, within=4 * seconds)
    operator.kubelet()
    driver.executors = [driver.executor(1), driver.executor(2)]
    driver.work(0)

    def both_have_registered() -> bool:
        profiles = operator.allocations.status("job").get("profiles") or ()
        return [each["registered"] for each in profiles] == [2]

    await operator.until(both_have_registered, within=4 * seconds)


async def test_idle_executors_go_on_what_the_driver_says_in_that_moment(
    operator: Operator, driver: FakeDriver
) -> None:
    await idle_long_enough(operator, driver, seconds=1)
    asked = Asked(driver)
    await operator.until(lambda: len(operator.pods.made("delete")) == 2, within=10)
    assert asked.for_all >= 1


async def test_a_driver_at_rest_that_does_not_answer_is_asked_no_more_often_for_it(
    operator: Operator, driver: FakeDriver
) -> None:
    pause = 0.5
    patient = ProcessSettings(poll_seconds=pause, idle_poll_seconds=pause)
    operator.around = replace(operator.around, settings=patient)
    await two_registered(operator, driver)
    await operator.until(
        lambda: driver.asked[-1].endswith(JOBS) and driver.asked[-2].endswith(JOBS), within=10
    )
    driver.behaves = Behaviour.FAILS
    asked = Asked(driver)
    seconds = 6 * pause
    await asyncio.sleep(seconds)
    assert 3 <= asked.for_all <= seconds / pause + 1


@pytest.mark.parametrize(
    "begins",
    [
        "a job without a stage yet",
        "tasks that wait",
        "a task on each",
        "a task that has ended again",
        "nothing is said",
    ],
)
async def test_nobody_goes_when_a_job_has_begun_since_the_last_answer(
    operator: Operator, driver: FakeDriver, begins: str
) -> None:
    await idle_long_enough(operator, driver, seconds=1)
    # given a job that begins before the idle executors time out, and that no poll has shown
    match begins:
        case "a job without a stage yet":
            driver.jobs = [1]
        case "tasks that wait":
            driver.work(2)
        case "a task on each":
            driver.executors = [driver.executor(1, active=1), driver.executor(2, active=1)]
        case "a task that has ended again":
            # it may have left something for a later job
            driver.executors = [driver.executor(1, total=1), driver.executor(2, total=1)]
        case _:
            driver.behaves = Behaviour.FAILS
    asked = Asked(driver)
    await operator.until(lambda: asked.counts["stages?status=active"] >= 1, within=10)
    await asyncio.sleep(0.5)
    assert operator.pods.made("delete") == []
    # and one that does not answer is not pressed
    if begins == "nothing is said":
        assert asked.for_all <= 2


@pytest.mark.parametrize("begins", ["a batch", "nothing"])
async def test_executors_that_streams_give_back_between_two_batches_stay_when_one_has_begun(
    operator: Operator, driver: FakeDriver, begins: str
) -> None:
    # given four executors of a stream that needs one, held by the stabilisation window, and a driver that is asked seldom
    operator.around = replace(
        operator.around, settings=ProcessSettings(poll_seconds=1.5, idle_poll_seconds=1.5)
    )
    bounds = {"minExecutors": 1, "initialExecutors": 4, "executorIdleTimeout": "1h"}
    streams = {"stabilization": {"down": "1h", "downBatches": 0}, "cooldown": "0s"}
    put_driver(operator, driver)
    driver.streaming = driver.query(latency_ms=100) | driver.progress(
        batchId=1, rows=100, durationMs=100, triggerIntervalMs=600_000
    )
    runner = operator.allocate(dynamicAllocation=bounds, streaming=streams)
    await operator.until(lambda: len(operator.executors) == 4)
    operator.kubelet()
    driver.executors = [driver.executor(number) for number in (1, 2, 3, 4)]

    def all_have_registered() -> bool:
        profiles = operator.allocations.status("job").get("profiles") or ()
        return [each["registered"] for each in profiles] == [4]

    await operator.until(all_have_registered, within=8)
    # when they are let go between two polls, and a batch has begun since the last one
    asked = Asked(driver)
    await operator.until(lambda: asked.for_all >= 1)
    await asyncio.sleep(driver_life.CONFIRMED_SECONDS + 0.1)
    if begins == "a batch":
        driver.jobs = [driver.batch(2)]
    asked = Asked(driver)
    streams = {**streams, "stabilization": {"down": "0s", "downBatches": 0}}
    operator.change(runner, dynamicAllocation=bounds, streaming=streams)
    # then
    await operator.until(lambda: asked.for_all >= 1)
    if begins == "a batch":
        await asyncio.sleep(0.3)
        assert operator.pods.made("delete") == []
    else:
        await operator.until(lambda: len(operator.pods.made("delete")) >= 2)


async def test_tasks_that_wait_for_something_else_hold_nobody_for_long(
    operator: Operator, driver: FakeDriver
) -> None:
    await idle_long_enough(operator, driver, seconds=1)
    # given a job that runs on and on without a task for anybody
    driver.jobs = [1]
    began = time.monotonic()
    await operator.until(lambda: len(operator.pods.made("delete")) == 2, within=15)
    assert time.monotonic() - began >= driver_polling.TASKS_GO_OUT_WITHIN_SECONDS


async def test_an_executor_that_has_not_registered_yet_is_waited_for_at_full_pace(
    operator: Operator, driver: FakeDriver
) -> None:
    await two_registered(operator, driver, registered=1)
    await asked_in_whole(driver)


async def test_an_executor_that_may_go_soon_is_looked_after_at_full_pace(
    operator: Operator, driver: FakeDriver
) -> None:
    runner = await two_registered(operator, driver)
    await rests(operator, driver)
    # given that the second executor is one too many, and goes when it has been idle for five seconds
    shorter = {**BOUNDS, "minExecutors": 1, "executorIdleTimeout": "5s"}
    operator.change(runner, dynamicAllocation=shorter)
    await asked_in_whole(driver)


async def asked_in_whole(driver: FakeDriver) -> None:
    await asyncio.sleep(0.5)
    asked = Asked(driver)
    await asyncio.sleep(1.0)
    assert asked.for_all >= 3
    assert asked.for_jobs_alone <= 1
