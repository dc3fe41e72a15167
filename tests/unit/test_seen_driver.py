"""What a driver answers to a person's command is a stranger's: none of it ends the command."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from spark_allocation.controller.seen_driver import SeenDriver, see_driver
from spark_allocation.kube.api_client import JSON, REQUEST_TIMEOUT_SECONDS, ApiAnswer
from spark_allocation.kube.cluster_reading import ClusterReading

APPLICATION = {
    "id": "spark-1",
    "attempts": [{"appSparkVersion": "4.1.4", "sparkUser": "alice"}],
}


class AnsweringDriver:
    """An API server that knows one driver pod and passes on what it answers."""

    def __init__(self, applications: Any, environment: Any) -> None:
        self._applications, self._environment = applications, environment

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> ApiAnswer:
        if path.endswith("/environment"):
            answer = self._environment
        elif path.endswith("/applications"):
            answer = self._applications
        else:
            answer = {"metadata": {"labels": {}}, "spec": {}}
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return ApiAnswer(status=200, body=text.encode())


async def seen(applications: Any, environment: Any = None) -> SeenDriver:
    reading = ClusterReading(AnsweringDriver(applications, environment))
    return await see_driver(reading, "jobs", "driver", None)


async def test_a_driver_that_answers_well() -> None:
    found = await seen([APPLICATION], {"sparkProperties": [["spark.executor.cores", "2"]]})
    assert found.properties == {"spark.executor.cores": "2"}
    assert (found.user, found.version.numbers, found.why_not) == ("alice", (4, 1, 4), "")


@pytest.mark.parametrize(
    "applications",
    ["<html>", "[" * 100_000, 5, {}, [], [5], [{}], [{"attempts": []}], [{"attempts": [5]}], [{"attempts": {"0": 1}}]],
    ids=lambda each: str(each)[:30],
)  # fmt: skip
async def test_a_list_of_applications_that_is_none(applications: Any) -> None:
    found = await seen(applications)
    assert found.properties is None
    assert "could not be asked through the API server" in found.why_not


@pytest.mark.parametrize(
    "environment",
    ["<html>", '{"x":' * 100_000, 5, [], {}, {"sparkProperties": 5}, {"sparkProperties": [5]}, {"sparkProperties": [["a"]]},
     {"sparkProperties": {"a": "b"}}, {"sparkProperties": [["a", "b", "c"]]}],
    ids=lambda each: str(each)[:30],
)  # fmt: skip
async def test_an_environment_that_is_none(environment: Any) -> None:
    found = await seen([APPLICATION], environment)
    assert found.properties is None
    assert found.why_not == "the driver's environment could not be read"


@pytest.mark.parametrize("version", [5, None, {}, "four", "4" * 5000])
async def test_a_version_that_is_none(version: Any) -> None:
    application = {"id": "a", "attempts": [{"appSparkVersion": version, "sparkUser": 7}]}
    found = await seen([application], {"sparkProperties": [["a", "b"]]})
    assert found.properties is None
