"""A Prometheus server behind TLS and a login: what the operator shows it, and to whom it shows nothing."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.security.certificates import Authority

from spark_allocation.sources.promql import (
    BacklogFault,
    PrometheusQueries,
    PrometheusServer,
    UnknownBacklog,
)

NAME = "prometheus.monitoring.example"
TOKEN = "t0ken-for-prometheus"
QUERY = 'sum(lag{namespace="jobs"})'


@pytest.fixture
def accesses(tmp_path: Path, authority: Authority) -> Path:
    folder = tmp_path / "accesses" / "reader"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(authority.certificate.read_bytes())
    (folder / "server-name").write_text(NAME)
    (folder / "token").write_text(TOKEN)
    return folder.parent


class Served:
    """What has come to a server."""

    def __init__(self, port: int, tokens: list[str]) -> None:
        self.tokens = tokens
        self.server = PrometheusServer(
            "metrics", f"https://127.0.0.1:{port}", {"namespace": None}, "reader"
        )


@asynccontextmanager
async def prometheus(
    tls: ssl.SSLContext, answer: Callable[[], web.StreamResponse]
) -> AsyncIterator[Served]:
    tokens: list[str] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        tokens.append(request.headers.get("Authorization", ""))
        return answer()

    application = web.Application()
    application.router.add_post("/{path:.*}", serve)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    yield Served(runner.addresses[0][1], tokens)
    await runner.cleanup()


def rows() -> web.StreamResponse:
    result = [{"metric": {}, "value": [1.5, "7"]}]
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})  # fmt: skip


async def test_the_token_goes_to_the_server_with_the_right_certificate(
    session: aiohttp.ClientSession, authority: Authority, accesses: Path
) -> None:
    async with prometheus(authority.server(f"DNS:{NAME}"), rows) as served:
        answer = await PrometheusQueries(session, accesses).rows(served.server, QUERY, "jobs")

    assert answer == 7.0
    assert served.tokens == [f"Bearer {TOKEN}"]


async def test_a_stranger_is_shown_nothing(
    session: aiohttp.ClientSession, authority: Authority, accesses: Path, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    for tls in (stranger.server(f"DNS:{NAME}"), authority.server("DNS:somebody.else")):
        async with prometheus(tls, rows) as served:
            answer = await PrometheusQueries(session, accesses).rows(served.server, QUERY, "jobs")

        assert isinstance(answer, UnknownBacklog)
        assert answer.fault is BacklogFault.NO_ANSWER
        assert "server-name" in answer.message
        assert TOKEN not in answer.message
        assert served.tokens == []


async def test_a_redirect_takes_the_token_nowhere(
    session: aiohttp.ClientSession, authority: Authority, accesses: Path
) -> None:
    tls = authority.server(f"DNS:{NAME}")

    async with prometheus(tls, rows) as elsewhere:

        def away() -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": f"{elsewhere.server.url}/steal"})

        async with prometheus(tls, away) as served:
            answer = await PrometheusQueries(session, accesses).rows(served.server, QUERY, "jobs")

    assert isinstance(answer, UnknownBacklog)
    assert elsewhere.tokens == []


async def test_a_token_that_was_renewed_is_shown_next(
    session: aiohttp.ClientSession, authority: Authority, accesses: Path
) -> None:
    async with prometheus(authority.server(f"DNS:{NAME}"), rows) as served:
        queries = PrometheusQueries(session, accesses)
        await queries.rows(served.server, QUERY, "jobs")
        (accesses / "reader" / "token").write_text("renewed")
        await queries.rows(served.server, QUERY, "jobs")

    assert served.tokens == [f"Bearer {TOKEN}", "Bearer renewed"]


async def test_an_access_that_is_broken_is_told_without_what_it_holds(
    session: aiohttp.ClientSession, authority: Authority, accesses: Path
) -> None:
    (accesses / "reader" / "token").write_text("two\nlines")

    async with prometheus(authority.server(f"DNS:{NAME}"), rows) as served:
        answer = await PrometheusQueries(session, accesses).rows(served.server, QUERY, "jobs")

    assert isinstance(answer, UnknownBacklog)
    assert answer.fault is BacklogFault.NO_ACCESS
    assert "two" not in answer.message
    assert served.tokens == []
