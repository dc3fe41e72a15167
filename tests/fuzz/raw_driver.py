"""A driver's port that answers with whatever bytes it was told to."""

import asyncio
import json
from types import TracebackType
from typing import Any, Self

from spark_allocation.testing.driver import FakeDriver


class RawDriver:
    """Serves bytes by path while it is entered.

    Attributes:
        documents: what a good driver answers; fill `spoilt` to answer otherwise.
        spoilt: answers by the path's key in `documents`.
    """

    def __init__(self) -> None:
        self.good = FakeDriver()
        self.good.properties["spark.kubernetes.allocation.batch.delay"] = "101ms"
        self.good.stages = [
            FakeDriver.stage(tasks=4, active=1, done=1)
            | {"submissionTime": "2026-01-31T12:00:00.000GMT"}
        ]
        self.good.executors = [
            FakeDriver.executor("driver"),
            FakeDriver.executor(1, active=1, total=2) | {"addTime": "2026-01-31T12:00:00.000GMT"},
        ]
        self.good.dead = [FakeDriver.executor(2) | {"removeReason": "Command exited with code 137"}]
        self.good.jobs, self.good.gauge = [3, FakeDriver.batch(8)], 4
        self.good.streaming = {
            **FakeDriver.query(latency_ms=4798, input_rate=38.7, processing_rate=100.0),
            **FakeDriver.query("audit", latency_ms=100, input_rate=3.0, processing_rate=10.0),
            **FakeDriver.progress(batchId=7, rows=480, durationMs=4798, rowsBehind=12),
        }
        self.spoilt: dict[str, bytes] = {}
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def documents(self) -> dict[str, Any]:
        return self.good._documents()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                path = request.split(b" ", 2)[1].decode()
                body = self.spoilt.get(path)
                if body is None:
                    found = self.documents.get(path)
                    body = json.dumps(found).encode() if found is not None else b"none"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # the client, or the test, has gone
        finally:
            self._writers.discard(writer)
            writer.close()
