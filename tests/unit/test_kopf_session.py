"""kopf's own requests: credentials that are refused are asked for again, and not tried without end."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiohttp import web

from spark_allocation.controller.kopf_handlers import run_kopf
from spark_allocation.kube.api_client import ApiCredentials, KubernetesApi

MOST_REQUESTS = 20


class Server:
    """Refuses everybody but the one with the token that holds."""

    def __init__(self) -> None:
        self.valid_token = "nobody's"
        self.tokens: list[str] = []
        self.address = ""
        self.welcomed = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.tokens.append(token)
        if token == self.valid_token:
            self.welcomed.set()
            return web.json_response({"kind": "Status", "message": "no"}, status=403)
        return web.json_response({"kind": "Status", "message": "who?"}, status=401)


class Api:
    """What kopf's login asks for."""

    def __init__(self, server: Server, *tokens: str) -> None:
        self._server, self._tokens = server, list(tokens)

    async def credentials(self) -> ApiCredentials:
        token = self._tokens.pop(0) if len(self._tokens) > 1 else self._tokens[0]
        return ApiCredentials(self._server.address, None, False, None, None, token)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    application = web.Application()
    application.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()
    # what kopf leaves in cycles goes here: Python 3.11 may stumble over it while pytest compiles something
    gc.collect()


def serve(server: Server, *tokens: str) -> asyncio.Task[None]:
    api = cast("KubernetesApi", Api(server, *tokens))
    runners: Any = object()
    return asyncio.create_task(run_kopf(api, runners, ["jobs"], asyncio.Event()))


async def test_a_token_that_is_refused_for_good_ends_kopf(server: Server) -> None:
    task = serve(server, "expired")
    done, _ = await asyncio.wait({task}, timeout=20)
    if not done:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(server.tokens) < MOST_REQUESTS
    assert done, "it goes on trying"
    assert task.exception() is not None


async def test_a_token_that_was_renewed_is_taken(server: Server) -> None:
    server.valid_token = "fresh"
    task = serve(server, "expired", "fresh")
    try:
        async with asyncio.timeout(20):
            await server.welcomed.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert server.tokens[0] == "expired"
