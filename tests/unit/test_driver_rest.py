"""One driver's REST API and gauges: what a good answer becomes, and what every bad one is called."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from spark_allocation.api.conditions import Reason
from spark_allocation.core.driver_report import Application, DriverReport, Environment
from spark_allocation.sources import driver_requests, driver_rest
from spark_allocation.sources.driver_rest import DriverRest, find_driver, ui_ports
from spark_allocation.sources.unreachable import Unreachable
from spark_allocation.testing.driver import Behaviour, FakeDriver


@pytest.fixture
async def driver() -> AsyncIterator[FakeDriver]:
    async with FakeDriver() as fake:
        yield fake


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour) -> None:
    """Wait briefly for an answer that never comes; a bad one takes as long as it takes on a busy machine."""
    seconds = 0.1 if behaviour is Behaviour.SLOW else 60.0
    monkeypatch.setattr(driver_requests, "REQUEST_TIMEOUT_SECONDS", seconds)
    monkeypatch.setattr(driver_rest, "LARGEST_ANSWER_BYTES", 1 << 20)


def rest(session: aiohttp.ClientSession, driver: FakeDriver) -> DriverRest:
    return DriverRest(session, "127.0.0.1", driver.port, driver.application_id)


async def polled(session: aiohttp.ClientSession, driver: FakeDriver) -> DriverReport:
    answer = await rest(session, driver).poll(with_dead_executors=True)
    assert isinstance(answer, DriverReport), answer
    return answer


async def test_a_driver_is_found_with_its_application(session, driver) -> None:
    found = await find_driver(session, "127.0.0.1", [driver.port], driver.application_id)
    assert isinstance(found, tuple)
    _, application = found
    assert isinstance(application, Application)
    assert (application.id, application.spark_version) == (driver.application_id, "4.1.4")


async def test_another_application_on_the_port_is_not_the_driver(session, driver) -> None:
    found = await find_driver(session, "127.0.0.1", [driver.port], "spark-other")
    assert isinstance(found, Unreachable)
    assert found.reason is Reason.NOT_A_SPARK_UI
    assert "spec.driver.uiPort" in found.message


async def test_the_next_ports_are_tried_when_nothing_listens(session, driver) -> None:
    async with FakeDriver() as closed:
        free = closed.port
    found = await find_driver(session, "127.0.0.1", [free, driver.port], "")
    assert isinstance(found, tuple)
    assert found[0].port == driver.port


def test_ports_are_the_users_or_the_declared_one_or_spark_s_own() -> None:
    assert ui_ports(None, 4444) == (4444,)
    assert ui_ports(4050, None) == (4050, 4051, 4052, 4053)
    assert ui_ports(None, None) == (4040, 4041, 4042, 4043)


async def test_a_poll_tells_how_far_the_driver_itself_is_behind(session, driver) -> None:
    assert (await polled(session, driver)).events_behind == 0
    driver.streaming = {"driver.LiveListenerBus.queue.appStatus.size": 250}
    assert (await polled(session, driver)).events_behind == 250
    driver.streaming = {"driver.LiveListenerBus.queue.appStatus.size": "many"}
    assert (await polled(session, driver)).events_behind == 0


@pytest.mark.parametrize(
    ("document", "written", "may_write"),
    [
        ({}, 0, True),
        ({"numCompletedIndices": 1}, 0, False),
        ({"numCompletedIndices": 1, "shuffleWriteBytes": 7}, 7, True),
        ({"numCompletedIndices": 1, "shuffleWriteBytes": -7}, 0, False),
    ],
)
async def test_a_stage_tells_whether_its_tasks_leave_shuffle_data(
    session, driver, document, written, may_write
) -> None:
    driver.stages = [driver.stage(tasks=9, active=2) | document]
    (stage,) = (await polled(session, driver)).stages
    assert (stage.shuffle_write_bytes, stage.may_write_shuffle) == (written, may_write)


async def test_a_poll_reads_stages_executors_jobs_and_the_gauge(session, driver) -> None:
    driver.stages = [driver.stage(tasks=9, active=2, done=3, profile_id=1)]
    driver.executors = [driver.executor(4, active=2, profile_id=1), driver.executor("driver")]
    driver.dead = [driver.executor(3)]
    driver.jobs, driver.gauge = [7], 6
    report = await polled(session, driver)
    (stage,) = report.stages
    assert (stage.num_tasks, stage.active_tasks, stage.completed_indices) == (9, 2, 3)
    assert [each.id for each in report.executors] == [4]
    assert [each.id for each in report.dead_executors or ()] == [3]
    assert (report.running_jobs, report.max_needed_executors) == ((7,), 6)


async def test_a_driver_without_the_gauge_is_polled_all_the_same(session, driver) -> None:
    driver.gauge = None
    assert (await polled(session, driver)).max_needed_executors is None


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("behaviour", "reason", "remedy"),
    [
        (Behaviour.SLOW, Reason.CONNECTION_TIMED_OUT, "NetworkPolicy"),
        (Behaviour.BREAKS_OFF, Reason.CONNECTION_RESET, "service mesh"),
        (Behaviour.GARBAGE, Reason.BAD_ANSWER, "not Spark's JSON"),
        (Behaviour.DEEP, Reason.BAD_ANSWER, "not Spark's JSON"),
        (Behaviour.WRONG_KIND, Reason.BAD_ANSWER, "not Spark's JSON"),
        (Behaviour.REDIRECTS, Reason.REDIRECTED, "spark.ssl.ui.enabled"),
        (Behaviour.UNAUTHORIZED, Reason.UNAUTHORIZED, "spark.ui.filters"),
        (Behaviour.FORBIDDEN, Reason.UNAUTHORIZED, "spark.ui.view.acls"),
        (Behaviour.NOT_FOUND, Reason.NOT_A_SPARK_UI, "spec.driver.uiPort"),
        (Behaviour.FAILS, Reason.BAD_ANSWER, "500"),
        (Behaviour.HUGE, Reason.BAD_ANSWER, "more than 1 MiB"),
    ],
)
async def test_a_bad_answer_has_a_reason_and_a_remedy(
    session, driver, behaviour: Behaviour, reason: Reason, remedy: str
) -> None:
    driver.behaves = behaviour
    for answer in (
        await find_driver(session, "127.0.0.1", [driver.port], ""),
        await rest(session, driver).environment(),
        await rest(session, driver).poll(with_dead_executors=False),
    ):
        assert isinstance(answer, Unreachable)
        assert answer.reason is reason
        assert remedy in answer.message


async def test_a_closed_port_is_a_refused_connection(session, driver) -> None:
    await driver.stop()
    answer = await rest(session, driver).poll(with_dead_executors=False)
    assert isinstance(answer, Unreachable)
    assert answer.reason is Reason.CONNECTION_REFUSED
    assert "spark.ui.enabled" in answer.message


async def test_a_redirect_is_not_followed(session, driver) -> None:
    driver.behaves = Behaviour.REDIRECTS
    await find_driver(session, "127.0.0.1", [driver.port], "")
    assert driver.asked == ["/api/v1/applications"]


@pytest.mark.parametrize("strange", ["9" * 5000, "٣", "-1", "1.0", "", "99999999999", " 1"])
async def test_an_executor_with_an_impossible_id_is_left_out(session, driver, strange) -> None:
    driver.executors = [driver.executor(strange), driver.executor(2)]
    assert [each.id for each in (await polled(session, driver)).executors] == [2]


async def test_absurd_counts_are_held_within_spark_s_numbers(session, driver) -> None:
    driver.stages = [driver.stage(tasks=10**15, active=-4)]
    (stage,) = (await polled(session, driver)).stages
    assert (stage.num_tasks, stage.active_tasks) == (2**31 - 1, 0)


async def test_a_profile_with_an_absurd_amount_is_a_bad_answer(session, driver) -> None:
    driver.profiles = [driver.profile(0, cores=10**30)]
    answer = await rest(session, driver).environment()
    assert isinstance(answer, Unreachable)
    assert answer.reason is Reason.BAD_ANSWER


async def test_the_environment_tells_properties_and_profiles(session, driver) -> None:
    driver.profiles = [driver.profile(0), driver.profile(3, cores=2)]
    answer = await rest(session, driver).environment()
    assert isinstance(answer, Environment)
    assert answer.spark_properties["spark.app.name"] == "job"
    assert set(answer.resource_profiles) == {0, 3}


async def test_applications_that_are_configured_alike_share_their_settings(session, driver) -> None:
    """A thousand of them have the same few hundred keys, and mostly the same values."""
    driver.properties["spark.sql.shuffle.partitions"] = "1000"
    first, second = [await rest(session, driver).environment() for _ in range(2)]
    assert isinstance(first, Environment)
    assert isinstance(second, Environment)
    for one, other in zip(first.spark_properties.items(), second.spark_properties.items(), strict=True):  # fmt: skip
        assert one[0] is other[0]
        assert one[1] is other[1]
