"""What a driver masks and the operator reads elsewhere never shows: not in a status, not in an Event, not in a log line."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from tests.unit.executor_pod_documents import driver_document
from tests.unit.runner_world import Operator

from spark_allocation.controller.hidden_values import (
    event_without_hidden,
    hide,
    without_hidden,
)
from spark_allocation.controller.logging_setup import configure_logging
from spark_allocation.core.redacted_settings import REDACTED
from spark_allocation.kube.pods_api import CreateOutcome, CreateResult
from spark_allocation.sources.driver_requests import open_driver_session
from spark_allocation.testing.driver import FakeDriver

SECRET = "hunter2"
OPTIONS = "spark.executor.extraJavaOptions"


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What is logged, after the processors that a process has."""
    gathered: list[dict[str, Any]] = []

    def gather(_: object, __: str, event: Any) -> Any:
        gathered.append(dict(event))
        raise structlog.DropEvent

    configure_logging(log_format="json", log_level="debug")
    processors = structlog.get_config()["processors"]
    structlog.configure(processors=[*processors[:-1], gather], cache_logger_on_first_use=False)
    yield gathered
    structlog.reset_defaults()


@pytest.fixture
async def operator() -> AsyncIterator[Operator]:
    async with open_driver_session() as session:
        made = Operator(session)
        made.tasks = [asyncio.create_task(watch.run()) for watch in made.watches]
        yield made
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)


async def masked(operator: Operator, driver: FakeDriver, value: str, key: str = OPTIONS) -> None:
    """A driver that masks a property, which stands in its config map."""
    driver.properties[key] = REDACTED
    document = driver_document(ui_port=driver.port)
    document["spec"]["volumes"] = [{"name": "conf", "configMap": {"name": "conf"}}]
    operator.pods.put(document)
    operator.objects.put(
        "configmaps",
        {"metadata": {"name": "conf"}, "data": {"spark.properties": f"{key}={value}\n"}},
        namespace="jobs",
    )
    operator.allocate(dynamicAllocation={"minExecutors": 1})


def said(operator: Operator, lines: list[dict[str, Any]]) -> str:
    everything = [
        operator.allocations.objects["jobs", "job"]["status"],
        operator.objects.events,
        lines,
    ]
    return json.dumps(everything, default=str)


async def test_a_setting_that_spark_refuses_is_named_without_its_value(operator, lines) -> None:
    async with FakeDriver() as driver:
        key = "spark.kubernetes.executor.secretKeyRef.DB"
        await masked(operator, driver, SECRET, key)
        await operator.until(lambda: operator.condition("Stalled")["status"] == "True", within=60)
        await asyncio.sleep(0.1)
        assert key in operator.condition("Stalled")["message"]
        assert REDACTED in operator.condition("Stalled")["message"]
        assert SECRET not in said(operator, lines)


async def test_the_api_server_s_words_are_told_without_it(operator, lines) -> None:
    words = (
        f'Pod "x" is invalid: spec.containers[0].env[3]: Invalid value: "-Dpassword={SECRET}": no'
    )
    operator.pods.always("create", CreateOutcome(CreateResult.INVALID, words))
    async with FakeDriver() as driver:
        await masked(operator, driver, f"-XX:+UseG1GC -Dpassword={SECRET}")
        await operator.until(
            lambda: operator.condition("Stalled")["reason"] == "PodInvalid", within=60
        )
        await asyncio.sleep(0.1)
        assert "env[3]" in operator.condition("Stalled")["message"]
        assert any(line["event"] == "executor_not_created" for line in lines)
        assert SECRET not in said(operator, lines)


async def test_a_pod_gets_it_as_spark_would_give_it(operator, lines) -> None:
    async with FakeDriver() as driver:
        await masked(operator, driver, f"-Dpassword={SECRET}")
        await operator.until(lambda: len(operator.executors) == 1, within=60)
        assert SECRET in json.dumps(operator.executors)
        await asyncio.sleep(0.1)
        assert SECRET not in said(operator, lines)


def test_it_is_found_in_every_part_of_a_line() -> None:
    hide([f'-Da="x" -Dtoken={SECRET}'])
    event = {
        "event": f"-Dtoken={SECRET}",
        "list": [f"x -Dtoken={SECRET}"],
        "map": {"a": (f"-Dtoken={SECRET}",)},
        "number": 3,
    }
    assert SECRET not in str(event_without_hidden(None, "", event))
    assert SECRET not in without_hidden(repr(f'-Da="x" -Dtoken={SECRET}'))
    assert SECRET not in without_hidden(json.dumps(f'-Da="x" -Dtoken={SECRET}'))


async def test_one_application_s_are_not_looked_for_in_another_s() -> None:
    async def other() -> None:
        hide(["common word"])

    await asyncio.create_task(other())
    assert without_hidden("a common word") == "a common word"
