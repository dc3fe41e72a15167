"""A Prometheus server on the loopback that answers what a test says."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def prometheus_serving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], *, prefix: str = ""
) -> AsyncIterator[str]:
    """Its URL.

    Args:
        answer: to each query.
        prefix: of its paths (``--web.route-prefix``).
    """
    application = web.Application()
    application.router.add_post(f"{prefix}/api/v1/query", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}{prefix}"
    await runner.cleanup()
