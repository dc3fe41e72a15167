"""mode: Recommend for an ordinary driver: Spark's count beside ours, the hours between them, and no pod touched."""

from typing import Any

import pytest
from tests.unit.executor_pod_documents import executor_document
from tests.unit.runner_world import Document, Operator, put_driver

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.usefixtures("quick")
WISH: dict[str, Any] = {"mode": "Recommend", "dynamicAllocation": {"executorIdleTimeout": "1s"}}


def ordinary(driver: FakeDriver) -> None:
    """As users start one: dynamic allocation of its own, with bounds."""
    for key in list(driver.properties):
        if key.startswith("spark.dynamicAllocation."):
            del driver.properties[key]
    driver.properties |= {
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.maxExecutors": "8",
        "spark.dynamicAllocation.executorIdleTimeout": "10min",
        # while a stage runs, who looks idle may have a task that no heartbeat has told of yet
        "spark.executor.heartbeatInterval": "100ms",
    }


def spark_has(operator: Operator, driver: FakeDriver, uid: str, *, busy: int, idle: int) -> None:
    """Spark made these pods itself, and they have registered."""
    for number in range(1, busy + idle + 1):
        operator.pods.put(
            executor_document(
                number, driver_uid=uid, allocation_uid="", incarnation="", phase="Running"
            )
        )
    driver.executors = [
        driver.executor(number, active=int(number <= busy)) for number in range(1, busy + idle + 1)
    ]
    driver.stages = [driver.stage(tasks=busy, active=busy)]
    driver.jobs, driver.gauge = [0], busy


def recommended(operator: Operator) -> Document:
    return dict(operator.allocations.status("job").get("recommendation") or {})


async def compared(operator: Operator, spark: int, ours: int) -> None:
    await operator.until(
        lambda: (
            (recommended(operator).get("sparkExecutors"), recommended(operator).get("ours"))
            == (spark, ours)
        ),
        within=6,
    )


async def test_spark_s_count_stands_beside_ours(operator: Operator, driver: FakeDriver) -> None:
    # given a driver that keeps six executors of which two have something to do
    ordinary(driver)
    del driver.properties["spark.decommission.enabled"]
    uid = put_driver(operator, driver)["metadata"]["uid"]
    spark_has(operator, driver, uid, busy=2, idle=4)
    runner = operator.allocate(**WISH)
    # then all six would do until the idle timeout of the SparkAllocation, and two afterwards
    await compared(operator, spark=6, ours=2)
    status = operator.allocations.status("job")
    assert (status["executors"], status["target"], status["state"]) == (6, 2, "Recommending")
    assert "Spark has 6 executors, 2 would do" in status["message"]
    assert status["profiles"][0]["registered"] == 6
    await operator.until(lambda: recommended(operator)["executorHours"]["saved"] > 0, within=20)
    assert operator.condition("Ready")["status"] == "True"
    assert operator.condition("Stalled")["status"] == ""
    assert "executorEnds" not in status
    assert operator.touched == []
    # and nothing of it wants anybody's attention: that the driver does its own is meant so
    assert [each for each in operator.objects.events if each["type"] == "Warning"] == []
    assert runner.figures.problems == []
    assert operator.condition("DriverPassive")["reason"] == "Recommending"
    assert operator.condition("Decommissioning")["status"] == ""


async def test_pods_that_spark_waits_for_count_on_its_side(
    operator: Operator, driver: FakeDriver
) -> None:
    ordinary(driver)
    uid = put_driver(operator, driver)["metadata"]["uid"]
    spark_has(operator, driver, uid, busy=1, idle=0)
    for number in (7, 8, 9):
        operator.pods.put(
            executor_document(number, driver_uid=uid, allocation_uid="", incarnation="")
        )
    operator.allocate(**WISH)
    await compared(operator, spark=4, ours=1)
    assert operator.allocations.status("job")["pending"] == 3


async def test_the_driver_s_own_settings_are_what_its_user_wants(
    operator: Operator, driver: FakeDriver
) -> None:
    ordinary(driver)
    driver.properties["spark.dynamicAllocation.minExecutors"] = "5"
    uid = put_driver(operator, driver)["metadata"]["uid"]
    spark_has(operator, driver, uid, busy=1, idle=5)
    operator.allocate(**WISH)
    await compared(operator, spark=6, ours=5)


async def test_hours_go_on_after_a_restart_of_the_operator(
    operator: Operator, driver: FakeDriver
) -> None:
    ordinary(driver)
    uid = put_driver(operator, driver)["metadata"]["uid"]
    spark_has(operator, driver, uid, busy=1, idle=3)
    operator.allocations.put("job", {"driver": {"podName": "driver"}, **WISH})
    _, stop, task = operator.start("job")
    await compared(operator, spark=4, ours=1)
    stop.now()
    await task
    # given sums of an earlier run
    stored = operator.allocations.objects["jobs", "job"]["status"]["recommendation"]
    stored["executorHours"] = {"spark": 40.0, "ours": 30.0, "saved": 10.0}
    since = stored["since"]
    operator.start("job")
    await operator.until(lambda: recommended(operator)["executorHours"]["spark"] > 40.0, within=20)
    assert recommended(operator)["since"] == since
    assert recommended(operator)["executorHours"]["saved"] >= 10.0


async def test_another_life_of_the_driver_begins_anew(
    operator: Operator, driver: FakeDriver
) -> None:
    ordinary(driver)
    uid = put_driver(operator, driver)["metadata"]["uid"]
    spark_has(operator, driver, uid, busy=1, idle=3)
    operator.allocations.put("job", {"driver": {"podName": "driver"}, **WISH})
    _, stop, task = operator.start("job")
    await compared(operator, spark=4, ours=1)
    stop.now()
    await task
    status = operator.allocations.objects["jobs", "job"]["status"]
    status["recommendation"]["executorHours"] = {"spark": 40.0, "ours": 30.0, "saved": 10.0}
    driver.started_at_ms += 1
    operator.start("job")
    await operator.until(
        lambda: recommended(operator).get("executorHours", {}).get("spark", 99) < 1
    )


async def test_a_passive_driver_in_recommend_is_a_warning(
    operator: Operator, driver: FakeDriver
) -> None:
    put_driver(operator, driver)
    driver.work(3)
    operator.allocate(**WISH)
    await operator.until(lambda: operator.condition("Stalled")["reason"] == "NobodyAllocates")
    assert operator.condition("Ready")["status"] == "False"
    assert "spec.mode to Allocate" in operator.condition("Stalled")["message"]
    assert operator.state() == "NobodyAllocates"
    await operator.until(lambda: operator.objects.events)
    assert "Warning" in {each["type"] for each in operator.objects.events}
    assert operator.touched == []


async def test_decisions_say_what_would_be_done(operator: Operator, driver: FakeDriver) -> None:
    ordinary(driver)
    put_driver(operator, driver)
    driver.work(3)
    operator.allocate(mode="Recommend", allocation={"rampUp": "Immediate"})
    await operator.until(lambda: operator.allocations.status("job").get("decisions"))
    assert operator.allocations.status("job")["decisions"][0]["message"].startswith(
        "Would request 3 new executors"
    )
