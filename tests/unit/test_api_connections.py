"""Connections to the API server: what waits for an answer keeps neither the Lease nor anybody else from asking.

And a watch that the server has no room for is no reason to ask it for more.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import kubernetes.aio.client
import pytest
from aiohttp import web

from spark_allocation.kube.api_client import FIRST_PATIENCE_SECONDS, KubernetesApi, kubernetes_api
from spark_allocation.kube.leader_lease import LeaderLease

CONNECTIONS = 4


class Server:
    """Knows one Lease; never answers a creation, and never ends a watch.

    Attributes:
        watched: how many watches it has been asked for.
        asked_to_create: how many creations.
        turns_away: the Retry-After (None: none) of each answer 429 that watches get before one is served.
    """

    def __init__(self) -> None:
        self.address = ""
        self.watched = 0
        self.asked_to_create = 0
        self.turns_away: list[str | None] = []
        self.asked_at: list[float] = []
        self.asked_from: list[str] = []
        self.ended = asyncio.Event()
        self._lease: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "spec": {}}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
            self.asked_at.append(asyncio.get_running_loop().time())
            self.asked_from.append(request.query.get("resourceVersion", ""))
            if self.turns_away:
                patience = self.turns_away.pop(0)
                return web.Response(
                    status=429, headers={} if patience is None else {"Retry-After": patience}
                )
            stream = web.StreamResponse()
            await stream.prepare(request)
            self.watched += 1
            await self.ended.wait()
            return stream
        if request.method == "POST":
            self.asked_to_create += 1
            await self.ended.wait()
        if request.method == "PATCH":
            self._lease["spec"] |= (await request.json())["spec"]
        return web.json_response(self._lease)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    server.ended.set()
    await runner.cleanup()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[KubernetesApi]:
    configuration = kubernetes.aio.client.Configuration()
    configuration.host = server.address
    api = kubernetes_api(configuration, connections=CONNECTIONS)
    yield api
    await api.close()


@contextlib.asynccontextmanager
async def under_way(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(count: Any, wanted: int) -> None:
    async with asyncio.timeout(30):
        while count() < wanted:
            await asyncio.sleep(0.01)


async def watch(api: KubernetesApi, namespace: int) -> None:
    async for _ in api.stream(f"/api/v1/namespaces/n{namespace}/pods", query={"watch": "true"}):
        pass


async def test_watches_of_many_namespaces_leave_connections_for_requests(
    server: Server, api: KubernetesApi
) -> None:
    many = 3 * CONNECTIONS
    async with under_way(*(watch(api, number) for number in range(many))):
        await until(lambda: server.watched, many)
        assert (await api.request("GET", "/api/v1/namespaces/n0/pods", timeout_seconds=5)).ok


async def test_the_lease_is_taken_while_creations_have_all_connections(
    server: Server, api: KubernetesApi
) -> None:
    lease = LeaderLease(api, name="operator", namespace="spark", identity="me")
    creations = [
        api.request("POST", "/api/v1/namespaces/jobs/pods", body={}) for _ in range(3 * CONNECTIONS)
    ]
    async with under_way(*creations):
        await until(lambda: server.asked_to_create, CONNECTIONS)
        async with under_way(lease.hold()), asyncio.timeout(3):
            await lease.leading.wait()
            assert lease.held


async def test_a_watch_that_the_server_has_no_room_for_is_asked_for_again_from_where_it_was(
    server: Server, api: KubernetesApi
) -> None:
    server.turns_away = [None, "1", "soon"]

    async def lines() -> list[bytes]:
        query = {"watch": "true", "resourceVersion": "1234"}
        return [line async for line in api.stream("/api/v1/pods", query=query)]

    watching = asyncio.ensure_future(lines())
    async with under_way(watching):
        async with asyncio.timeout(30):
            await until(lambda: server.watched, 1)
            server.ended.set()
            # no ERROR, after which the watcher would list everything
            assert await watching == []
    assert server.asked_from == ["1234"] * 4
    pauses = [later - earlier for earlier, later in pairwise(server.asked_at)]
    least = [FIRST_PATIENCE_SECONDS, 1.0, 4 * FIRST_PATIENCE_SECONDS]
    assert all(pause >= wanted for pause, wanted in zip(pauses, least, strict=True)), pauses
