"""The health and metrics server: /healthz, /readyz, /metrics.

Alive means that the event loop turns; ready means that this process leads and has seen all pods, or stands by and can
read the Lease. The age of a watch and of the lease are metrics, not probes: an API server that is away for a minute
must not make the kubelet restart every operator in the cluster.

Anybody who reaches the port may open connections and say nothing. None lasts longer than `LONGEST_CONNECTION_SECONDS`,
and of too many the oldest go first, so that a probe, which takes milliseconds, finds its way, and the process does not run
out of files to open.
"""

import asyncio
import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

LOOP_LAG_LIMIT_SECONDS = 5.0
LONGEST_CONNECTION_SECONDS = 10.0
MOST_CONNECTIONS = 256
_BEAT_SECONDS = 0.5
_SWEEP_SECONDS = 0.5


class LoopHeartbeat:
    """Measures how late the event loop runs its timers."""

    def __init__(self) -> None:
        self._beat_at = time.monotonic()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._beat_at = time.monotonic()
            await asyncio.sleep(_BEAT_SECONDS)

    @property
    def lag_seconds(self) -> float:
        """How much later than due the last beat is."""
        return max(0.0, time.monotonic() - self._beat_at - _BEAT_SECONDS)


class HealthServer:
    """Serves probes and metrics."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        heartbeat: LoopHeartbeat,
        not_ready_because: Callable[[], str],
        registry: CollectorRegistry,
    ) -> None:
        """
        Args:
            not_ready_because: why the process is not ready, or "" when it is.
        """
        self._host = host
        self._port = port
        self._heartbeat = heartbeat
        self._not_ready_because = not_ready_because
        self._registry = registry
        self._runner: web.AppRunner | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self.port = port

    async def start(self) -> None:
        """Bind and serve; returns once the port is open."""
        application = web.Application()
        application.router.add_get("/healthz", self._alive)
        application.router.add_get("/readyz", self._ready)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._sweeping = asyncio.create_task(self._sweep(self._runner))

    async def stop(self) -> None:
        """Close the port."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _sweep(self, runner: web.AppRunner) -> None:
        """Close connections that are too old, or too many."""
        opened: dict[web.RequestHandler, float] = {}
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            server = runner.server
            there = server.connections if server is not None else []
            now = time.monotonic()
            opened = {each: opened.get(each, now) for each in there}
            oldest_first = sorted(opened, key=opened.__getitem__)
            surplus = len(oldest_first) - MOST_CONNECTIONS
            for position, connection in enumerate(oldest_first):
                if position < surplus or now - opened[connection] > LONGEST_CONNECTION_SECONDS:
                    connection.force_close()

    async def _alive(self, _: web.Request) -> web.Response:
        lag = self._heartbeat.lag_seconds
        if lag > LOOP_LAG_LIMIT_SECONDS:
            return web.Response(status=503, text=f"the event loop is {lag:.1f} s late\n")
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        reason = self._not_ready_because()
        return web.Response(status=503 if reason else 200, text=f"{reason or 'ok'}\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
