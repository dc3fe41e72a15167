"""Connections to the API server: what waits for an answer keeps neither the Lease nor anybody else from asking."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import kubernetes.aio.client
import pytest
from aiohttp import web

from spark_allocation.kube.api_client import KubernetesApi, kubernetes_api
from spark_allocation.kube.leader_lease import LeaderLease

CONNECTIONS = 4


class Server:
    """Knows one Lease; never answers a creation, and never ends a watch.

    Attributes:
        watched: how many watches it has been asked for.
        asked_to_create: how many creations.
    """

    def __init__(self) -> None:
        self.address = ""
        self.watched = 0
        self.asked_to_create = 0
        self.ended = asyncio.Event()
        self._lease: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "spec": {}}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
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
    async with asyncio.timeout(5):
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
