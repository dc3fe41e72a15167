"""``spark-allocation top`` on a terminal, over an API server that goes away and comes back."""

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web

PATIENCE_SECONDS = 60
ALLOCATION = {
    "metadata": {"namespace": "jobs", "name": "nightly-report"},
    "status": {"state": "Running", "executors": 7, "target": 8},
}


class Server:
    """Lists one SparkAllocation.

    Attributes:
        answers: whether it does; else it is too busy.
        address: where it listens.
    """

    def __init__(self) -> None:
        self.answers = True
        self.address = ""

    async def answer(self, _: web.Request) -> web.Response:
        if not self.answers:
            return web.json_response({"kind": "Status", "message": "etcd is away"}, status=503)
        return web.json_response({"metadata": {"resourceVersion": "7"}, "items": [ALLOCATION]})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


class Terminal:
    """What somebody sees."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self._seen = ""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._ours, self._read)

    def _read(self) -> None:
        self._seen += os.read(self._ours, 65536).decode(errors="replace")
        self._news.set()

    async def until(self, words: str) -> None:
        """Wait until this is shown, after what was awaited before."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while words not in self._seen:
                self._news.clear()
                await self._news.wait()
        self._seen = self._seen.partition(words)[2]

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        os.close(self.theirs)


@asynccontextmanager
async def top(
    server: Server, folder: Path
) -> AsyncIterator[tuple[Terminal, asyncio.subprocess.Process]]:
    """The command at work."""
    config = folder / "config"
    cluster = {"name": "here", "cluster": {"server": server.address}}
    context = {"name": "here", "context": {"cluster": "here", "namespace": "jobs", "user": "me"}}
    user = {"name": "me", "user": {"token": "none"}}
    config.write_text(
        yaml.safe_dump(
            {"current-context": "here", "clusters": [cluster], "contexts": [context], "users": [user]}
        )
    )  # fmt: skip
    terminal = Terminal()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "spark_allocation", "top", "--interval", "0.5"),
        env={**os.environ, "KUBECONFIG": str(config), "COLUMNS": "150", "TERM": "xterm"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=terminal.theirs,
        stderr=terminal.theirs,
    )
    try:
        yield terminal, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        terminal.close()


async def test_what_was_seen_last_stays_while_the_api_server_does_not_answer(
    server: Server, tmp_path: Path
) -> None:
    async with top(server, tmp_path) as (terminal, process):
        await terminal.until("nightly-report")
        await terminal.until("7 executors of 8 wanted")

        server.answers = False
        await terminal.until("nightly-report")
        await terminal.until("7 executors of 8 wanted, as of")
        await terminal.until("etcd is away")

        server.answers = True
        await terminal.until("7 executors of 8 wanted  ")  # and nothing more

        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() == 130


async def test_without_a_first_answer_it_ends(server: Server, tmp_path: Path) -> None:
    server.answers = False
    async with top(server, tmp_path) as (terminal, process):
        await terminal.until("does not answer as it should")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() == 4
