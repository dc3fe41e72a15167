"""The port of probes and metrics in a crowd that says nothing: probes are answered, and the crowd is sent away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from spark_allocation.controller import health
from spark_allocation.controller.health import HealthServer, LoopHeartbeat

CROWD = 400


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HealthServer]:
    monkeypatch.setattr(health, "LONGEST_CONNECTION_SECONDS", 3.0)
    monkeypatch.setattr(health, "_SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(health, "MOST_CONNECTIONS", 100)
    heartbeat = LoopHeartbeat()
    beating = asyncio.create_task(heartbeat.run())
    made = HealthServer(
        host="127.0.0.1",
        port=0,
        heartbeat=heartbeat,
        not_ready_because=lambda: "",
        registry=CollectorRegistry(),
    )
    await made.start()
    yield made
    await made.stop()
    beating.cancel()


async def test_a_silent_crowd_is_sent_away_and_probes_are_answered(server: HealthServer) -> None:
    crowd = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(CROWD)]
    for number, (_, writer) in enumerate(crowd):
        if number % 2:
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")  # and never more
    # each by a connection of its own, as the kubelet does it: none is as old as one of the crowd
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        for path in ("/healthz", "/readyz", "/metrics"):
            async with session.get(f"http://127.0.0.1:{server.port}{path}") as answer:
                assert answer.status == 200
    async with asyncio.timeout(60):
        for reader, _ in crowd:
            with suppress(ConnectionError):
                while await reader.read(1024):
                    pass  # until it ends
    for _, writer in crowd:
        writer.close()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}/healthz") as answer,
    ):
        assert answer.status == 200


async def test_nothing_can_be_sent_there_that_costs(server: HealthServer) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"http://127.0.0.1:{server.port}/metrics", data=b"x") as answer:
            assert answer.status == 405
        async with session.get(f"http://127.0.0.1:{server.port}/../../etc/passwd") as answer:
            assert answer.status == 404
