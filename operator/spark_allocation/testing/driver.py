"""A driver's UI port: the few REST endpoints and gauges that the operator reads, and every way of answering badly.

    async with FakeDriver() as driver:
        driver.stages = [driver.stage(tasks=10)]
        driver.behaves = Behaviour.GARBAGE

It schedules nothing: what it says is what a test has set.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from spark_allocation.core.passive_driver import PASSIVE_SETTINGS

Document = dict[str, Any]
APPLICATION_ID = "spark-0123456789abcdef"
QUERY_ID = "11bdbfeb-5df5-4705-8b8f-5068fa1e168c"
RUN_ID = "2ed1ba88-2a26-4fea-8e9d-7bb28ba0b4f3"


class Behaviour(Enum):
    """How the port answers."""

    WELL = "as Spark does"
    SLOW = "after a minute"
    BREAKS_OFF = "with less than it promised"
    GARBAGE = "something that is no JSON"
    DEEP = "JSON nested a hundred thousand deep"
    WRONG_KIND = "JSON of another kind"
    REDIRECTS = "with a redirect to TLS"
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    FAILS = "500"
    HUGE = "without end"


class FakeDriver:
    """Serves on a free port while it is entered, of the loopback unless it is told otherwise.

    Attributes:
        behaves: how the next answers are given.
        properties: ``sparkProperties``; those of a passive driver to begin with.
        stages: active stages, as documents; see `stage`.
        executors: alive ones, as documents; see `executor`.
        dead: executors that the driver has removed.
        jobs: ids of running jobs, or jobs as documents; see `batch`.
        streaming: gauges of streaming queries, values by the key without the application's id; see `query`.
        gauge: ``numberMaxNeededExecutors``; None when the driver has no such gauge.
        profiles: ``resourceProfiles`` as documents.
        asked: paths of all requests.
        when_asked: called with the path of each request before it is answered.
        host: the address at which it answers.
        authorization: what the header of this name has to be; "" when nobody asks.
    """

    def __init__(
        self,
        application_id: str = APPLICATION_ID,
        *,
        version: str = "4.1.4",
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """
        Args:
            host: address to answer at.
            tls: serve HTTPS with this.
        """
        self.authorization = ""
        self.host = host
        self._tls = tls
        self.application_id = application_id
        self.version = version
        self.started_at_ms = 1_780_000_000_000
        self.behaves = Behaviour.WELL
        self.properties: dict[str, str] = {
            **{setting.key: setting.value for setting in PASSIVE_SETTINGS},
            "spark.app.name": "job",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.port": "7078",
            "spark.kubernetes.namespace": "jobs",
            "spark.kubernetes.container.image": "spark:test",
        }
        self.stages: list[Document] = []
        self.executors: list[Document] = []
        self.dead: list[Document] = []
        self.jobs: list[int | Document] = []
        self.streaming: dict[str, Any] = {}
        self.gauge: int | None = 0
        self.profiles: list[Document] = [self.profile(0)]
        self.asked: list[str] = []
        self.when_asked: Callable[[str], None] = lambda _: None
        self.port = 0
        self._runner: web.AppRunner | None = None

    # -- documents ---------------------------------------------------------------------------------------------------

    @staticmethod
    def stage(
        *, tasks: int, stage_id: int = 0, active: int = 0, done: int = 0, profile_id: int = 0
    ) -> Document:
        """An active stage."""
        return {
            "status": "ACTIVE",
            "stageId": stage_id,
            "attemptId": 0,
            "numTasks": tasks,
            "numActiveTasks": active,
            "numCompletedIndices": done,
            "resourceProfileId": profile_id,
        }

    @staticmethod
    def executor(
        executor_id: int | str, *, active: int = 0, total: int = 0, profile_id: int = 0
    ) -> Document:
        """A registered executor."""
        return {
            "id": str(executor_id),
            "isActive": True,
            "activeTasks": active,
            "maxTasks": 1,
            "totalTasks": total,
            "failedTasks": 0,
            "rddBlocks": 0,
            "totalShuffleWrite": 0,
            "resourceProfileId": profile_id,
        }

    @staticmethod
    def profile(profile_id: int, *, cores: int = 1) -> Document:
        """A resource profile."""
        return {
            "id": profile_id,
            "executorResources": {"cores": {"resourceName": "cores", "amount": cores}},
            "taskResources": {"cpus": {"resourceName": "cpus", "amount": 1.0}},
        }

    @staticmethod
    def batch(
        number: int | str,
        *,
        name: str | None = "orders",
        query_id: str = QUERY_ID,
        run_id: str = RUN_ID,
        stage_ids: tuple[int, ...] = (0,),
        tasks: int = 8,
        submitted: str = "2026-11-21T13:36:03.028GMT",
    ) -> Document:
        """A running job of a batch of a streaming query, as Spark 4.1.4 describes it."""
        lines = (name or "", f"id = {query_id}", f"runId = {run_id}", f"batch = {number}")
        return {
            "jobId": 0,
            "description": "\n".join(lines),
            "jobGroup": run_id,
            "submissionTime": submitted,
            "stageIds": list(stage_ids),
            "numTasks": tasks,
        }

    @staticmethod
    def query(
        name: str = "orders",
        *,
        latency_ms: float = 0,
        input_rate: float = 0.0,
        processing_rate: float = 0.0,
    ) -> dict[str, Any]:
        """Spark's own gauges of a streaming query."""
        values = {
            "latency": latency_ms,
            "inputRate-total": input_rate,
            "processingRate-total": processing_rate,
            "eventTime-watermark": 0,
            "states-rowsTotal": 0,
            "states-usedBytes": 0,
        }
        return {f"driver.spark.streaming.{name}.{gauge}": value for gauge, value in values.items()}

    @staticmethod
    def progress(event: str = "progress", **fields: Any) -> dict[str, Any]:
        """The gauge that `spark_allocation.driver` keeps for a query."""
        document = {
            "format": 1,
            "event": event,
            "id": QUERY_ID,
            "runId": RUN_ID,
            "name": "orders",
            "atMs": int(time.time() * 1000),
            "trigger": "ProcessingTime",
            "triggerIntervalMs": 10_000,
            **fields,
        }
        key = f"driver.AccumulatorSource.sparkallocation.streaming.{document['id']}"
        return {key: json.dumps(document)}

    def work(self, tasks: int) -> None:
        """A job with one stage of which so many tasks wait, and one has ended without shuffle data; 0 for none."""
        self.stages = [self.stage(tasks=tasks + 1, done=1)] if tasks else []
        self.jobs = [0] if tasks else []
        self.gauge = tasks

    # -- serving -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the port: connections are refused from now on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        self.when_asked(request.path_qs)
        if self.authorization and request.headers.get("Authorization") != self.authorization:
            return web.Response(status=401, text="no")
        bad = await self._badly(request)
        if bad is not None:
            return bad
        document = self._documents().get(request.path_qs)
        if document is None:
            return web.Response(status=404, text="no such application")
        return web.json_response(document)

    async def _badly(self, request: web.Request) -> web.StreamResponse | None:
        match self.behaves:
            case Behaviour.WELL:
                return None
            case Behaviour.SLOW:
                await asyncio.sleep(60)
                return None
            case Behaviour.BREAKS_OFF:
                return await _stream(request, b'[{"id": "', promised=10_000)
            case Behaviour.GARBAGE:
                return web.Response(text="<html>Welcome to nginx!</html>")
            case Behaviour.DEEP:
                return web.Response(body=b'[{"x":' + b"[" * 100_000)
            case Behaviour.WRONG_KIND:
                return web.json_response({"id": [1], "stageId": "one"})
            case Behaviour.REDIRECTS:
                location = {"Location": f"https://{request.host}{request.path_qs}"}
                return web.Response(status=302, headers=location)
            case Behaviour.HUGE:
                return await _endless(request)
            case _:
                status = {
                    Behaviour.UNAUTHORIZED: 401,
                    Behaviour.FORBIDDEN: 403,
                    Behaviour.NOT_FOUND: 404,
                    Behaviour.FAILS: 500,
                }[self.behaves]
                return web.Response(status=status, text="no")

    def _documents(self) -> dict[str, Any]:
        application = f"/api/v1/applications/{self.application_id}"
        gauge = f"{self.application_id}.driver.ExecutorAllocationManager.executors.numberMaxNeededExecutors"
        return {
            "/api/v1/applications": [
                {
                    "id": self.application_id,
                    "name": self.properties.get("spark.app.name", ""),
                    "attempts": [
                        {
                            "startTimeEpoch": self.started_at_ms,
                            "completed": False,
                            "sparkUser": "185",
                            "appSparkVersion": self.version,
                        }
                    ],
                }
            ],
            f"{application}/environment": {
                "sparkProperties": [list(each) for each in self.properties.items()],
                "resourceProfiles": self.profiles,
            },
            f"{application}/stages?status=active": self.stages,
            f"{application}/executors": self.executors,
            f"{application}/allexecutors": [
                *self.executors,
                *({**each, "isActive": False} for each in self.dead),
            ],
            f"{application}/jobs?status=running": [
                {"jobId": each} if isinstance(each, int) else each for each in self.jobs
            ],
            "/metrics/json/": {
                "gauges": {
                    **({} if self.gauge is None else {gauge: {"value": self.gauge}}),
                    **{
                        f"{self.application_id}.{key}": {"value": value}
                        for key, value in self.streaming.items()
                    },
                }
            },
        }


async def _stream(request: web.Request, body: bytes, *, promised: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(promised)})
    await response.prepare(request)
    await response.write(body)
    assert request.transport is not None
    request.transport.close()
    return response


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    while True:
        await response.write(b" " * (1 << 20))
