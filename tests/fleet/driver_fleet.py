"""All drivers of a fleet in one server: each has an address of 127.0.0.0/8, as pods have addresses, and all one port.

    async with DriverFleet() as fleet:
        await fleet.open(application)     # application.address:fleet.port answers
        await fleet.close(application)    # and is refused

On Linux every address of 127.0.0.0/8 is the loopback's. A driver costs a listening socket.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Self

from aiohttp import web
from tests.faults.fault_proxy import refusal
from tests.faults.fault_schedule import Fate, Fault
from tests.fleet.applications import FleetApplication

SPARK_UI_PORT = 4040


class DriverFleet:
    """Serves while it is entered.

    Attributes:
        port: the UI port of all drivers.
        requests: how many have come.
        answered_bytes: of all answers that were given well.
    """

    def __init__(
        self, fates: Callable[[FleetApplication], Fate | None] = lambda _: None, *, port: int = 0
    ) -> None:
        """
        Args:
            fates: says what becomes of each request; None for all well.
            port: 0 takes a free one.
        """
        self.port = port
        self.requests = 0
        self.answered_bytes = 0
        self._fates = fates
        self._sites: dict[str, web.TCPSite] = {}
        self._applications: dict[str, FleetApplication] = {}
        self._numbers = 0
        self._runner: web.ServerRunner | None = None
        self._calm = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None), shutdown_timeout=0.1
        )
        await self._runner.setup()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        await asyncio.sleep(0.01)  # sockets are closed in the loop's next rounds

    async def open(self, application: FleetApplication) -> None:
        """Let its driver answer, on an address of its own; on the same one as before when it had one."""
        assert self._runner is not None
        if not application.address:
            self._numbers += 1
            high, low = divmod(self._numbers, 250)
            application.address = f"127.77.{high}.{low + 1}"
        site = web.TCPSite(self._runner, application.address, self.port, backlog=16)
        await site.start()
        if not self.port:
            self.port = self._runner.addresses[0][1]
        self._sites[application.address] = site
        self._applications[application.address] = application

    async def close(self, application: FleetApplication) -> None:
        """Its driver is gone: open connections break, new ones are refused."""
        self._applications.pop(application.address, None)
        site = self._sites.pop(application.address, None)
        if site is not None:
            await site.stop()
        assert self._runner is not None
        assert self._runner.server is not None
        for connection in list(self._runner.server.connections):
            transport = connection.transport
            if (
                transport is not None
                and transport.get_extra_info("sockname")[0] == application.address
            ):
                transport.abort()

    def calm(self) -> None:
        """Whatever is late now is so no longer."""
        self._calm.set()
        self._calm = asyncio.Event()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        if request.transport is None:
            return _reset(request)  # who asked has gone meanwhile
        address = request.transport.get_extra_info("sockname")[0]
        application = self._applications.get(address)
        if application is None:
            return _reset(request)
        pause = application.paused_until - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        fate = self._fates(application)
        if fate is not None:
            bad = await self._badly(request, fate)
            if bad is not None:
                return bad
        body = application.body(request.path_qs)
        if body is None:
            return web.Response(status=404, text="no such application")
        content = body.encode()
        if fate is not None and fate.fault is Fault.CUT:
            return await _cut(request, content)
        if request.path.endswith("executors"):
            application.tells_executors()
        self.answered_bytes += len(content)
        wrong = fate is not None and fate.fault is Fault.WRONG_TYPE
        return web.Response(body=content, content_type="text/html" if wrong else "application/json")

    async def _badly(self, request: web.BaseRequest, fate: Fate) -> web.StreamResponse | None:
        match fate.fault:
            case Fault.RESET:
                return _reset(request)
            case Fault.HANGS:
                await self._pause(fate.seconds)
                return _reset(request)
            case Fault.LATE:
                await self._pause(fate.seconds)
                return None
            case Fault.CUT | Fault.WRONG_TYPE:
                return None
            case _:
                return refusal(fate.fault)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._calm.wait()


async def _cut(request: web.BaseRequest, content: bytes) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "application/json", "Content-Length": str(len(content))}
    )
    with contextlib.suppress(ConnectionResetError):
        await response.prepare(request)
        await response.write(content[: len(content) // 2])
    return _reset(request)


def _reset(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
