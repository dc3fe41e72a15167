"""A driver's port in the hands of somebody who wants to hurt the operator: each attack ends as a value, in bounded time and memory."""

import asyncio
import gzip
import json
import resource
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from tests.fuzz.raw_driver import RawDriver

from spark_allocation.api.conditions import Reason
from spark_allocation.core.driver_report import DriverReport
from spark_allocation.sources import driver_requests
from spark_allocation.sources.driver_rest import DriverRest, find_driver
from spark_allocation.sources.unreachable import Unreachable
from spark_allocation.testing.driver import FakeDriver

Attack = Callable[[asyncio.StreamWriter], Awaitable[None]]
CUT_OFF_SECONDS = 1.0
"""What never ends is cut off after."""
PATIENCE_SECONDS = 60.0
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends is never cut off, however busy the machine is."""
    monkeypatch.setattr(driver_requests, "REQUEST_TIMEOUT_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_requests, "REQUEST_TIMEOUT_SECONDS", CUT_OFF_SECONDS)


@asynccontextmanager
async def serving(attack: Attack, asked: list[bytes] | None = None) -> AsyncIterator[int]:
    """A port that meets each request with the attack.

    Args:
        asked: where requests are written down.
    """

    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                if asked is not None:
                    asked.append(request)
                await attack(writer)
                await writer.drain()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def met(session: aiohttp.ClientSession, attack: Attack) -> Unreachable:
    """What an attack becomes; it may cost neither much time nor much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    async with serving(attack) as port, asyncio.timeout(PATIENCE_SECONDS):
        answer = await find_driver(session, "127.0.0.1", [port], "")
    assert time.process_time() - began < CUT_OFF_SECONDS + 1.5
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 160, f"{grown_mib:.0f} MiB more"
    assert isinstance(answer, Unreachable), answer
    assert len(answer.message) < 1024, "it fits into a condition"
    return answer


def sends(*parts: bytes) -> Attack:
    async def attack(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return attack


def body(content: bytes, *headers: bytes) -> Attack:
    lines = b"".join(header + b"\r\n" for header in headers)
    return sends(OK + lines + b"Content-Length: %d\r\n\r\n" % len(content) + content)


def without_end(first: bytes, again: bytes, *, pause: float = 0.0) -> Attack:
    async def attack(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause)

    return attack


# -- packed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [(b"gzip", lambda text: gzip.compress(text, 1)), (b"deflate", lambda text: zlib.compress(text, 1))],
    ids=["gzip", "deflate"],
)  # fmt: skip
async def test_a_decompression_bomb_is_not_unpacked(session, encoding, pack) -> None:
    packed = b"Content-Encoding: " + encoding
    small = body(pack(b" " * (64 << 20)), packed)
    answer = await met(session, small)
    assert answer.reason is Reason.BAD_ANSWER
    assert "packed" in answer.message


@pytest.mark.parametrize(
    "encoding", [b"br", b"zstd", b"gzip, gzip, gzip", b"compress", b"\xff\xfe"]
)
async def test_nothing_packed_is_taken(session, encoding: bytes) -> None:
    answer = await met(session, body(b"[]", b"Content-Encoding: " + encoding))
    assert answer.reason is Reason.BAD_ANSWER


async def test_nothing_packed_is_asked_for(session) -> None:
    asked: list[bytes] = []
    async with serving(body(b"[]"), asked) as port:
        await find_driver(session, "127.0.0.1", [port], "")
    head = asked[0].lower()
    assert b"accept-encoding: identity" in head
    assert b"cookie" not in head
    assert b"authorization" not in head


# -- without end ------------------------------------------------------------------------------------------------------


ENDLESS = {
    "a slow loris in the headers": without_end(b"HTTP/1.1 200 OK\r\n", b"X", pause=0.05),
    "a slow loris in the body": without_end(
        OK + b"Content-Length: 1000000\r\n\r\n[", b" ", pause=0.05
    ),
    "nothing at all": without_end(b"", b"", pause=0.05),
    "headers": without_end(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 500),
    "one header": without_end(b"HTTP/1.1 200 OK\r\nX-A: ", b"b" * 4096),
    "continue": without_end(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": without_end(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
    "a status line": without_end(b"HTTP/1.1 200 ", b"O" * 4096),
    "chunks": without_end(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"
    ),
    "empty looking chunks": without_end(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 1000
    ),
    "a chunk's extension": without_end(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 4096),
    "trailers": without_end(
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n", b"X-A: b\r\n" * 500
    ),
    "a body without a length": without_end(OK + b"Connection: close\r\n\r\n[", b" " * 65536),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("attack", ENDLESS.values(), ids=ENDLESS.keys())
async def test_what_never_ends_is_cut_off(session, attack: Attack) -> None:
    async with asyncio.timeout(20 * CUT_OFF_SECONDS):
        answer = await met(session, attack)
    assert answer.reason in (
        Reason.CONNECTION_TIMED_OUT,
        Reason.CONNECTION_RESET,
        Reason.BAD_ANSWER,
    )


# -- JSON -------------------------------------------------------------------------------------------------------------


def application(identity: str = '"spark-1"', start: str = "0", more: str = "") -> bytes:
    attempt = f'{{"startTimeEpoch": {start}, "completed": false, "appSparkVersion": "4.1.4"}}'
    return f'[{{"id": {identity}, "name": "n", "attempts": [{attempt}]{more}}}]'.encode()


NO_JSON_OF_SPARK = {
    "deep": b'[{"id":' + b"[" * 900_000,
    "deep in an unknown field": b'[{"x":' + b'{"x":' * 150_000,
    "NaN": application(start="NaN"),
    "infinity": application(start="1e999"),
    "a number of many digits": application(start="9" * 900_000),
    "a number beyond a long": application(start=str(2**63)),
    "a lone surrogate": application(identity='"\\ud800"'),
    "a raw surrogate": b'[{"id":"\xed\xa0\x80"}]',
    "a byte order mark": b"\xef\xbb\xbf[]",
    "UTF-16": application().decode().encode("utf-16"),
    "an empty id": application(identity='""'),
    "an endless id": application(identity='"' + "x" * 100_000 + '"'),
    "an id with a line break": application(identity='"a\\nb"'),
    "an id with a zero": application(identity='"a\\u0000b"'),
    "null": b"null",
    "nothing": b"",
    "no application": b"[]",
    "an application without attempts": b'[{"id":"a"}]',
}


@pytest.mark.parametrize("content", NO_JSON_OF_SPARK.values(), ids=NO_JSON_OF_SPARK.keys())
async def test_what_is_not_spark_s_json_is_a_bad_answer(session, content: bytes) -> None:
    assert (await met(session, body(content))).reason is Reason.BAD_ANSWER


async def test_the_last_of_two_equal_keys_counts_and_unknown_ones_do_not(session) -> None:
    twice = application(more=', "id": "spark-2", "unknown": {"deep": [[[[1]]]]}')
    async with serving(body(twice)) as port:
        found = await find_driver(session, "127.0.0.1", [port], "")
    assert isinstance(found, tuple)
    assert found[1].id == "spark-2"


async def test_an_id_is_a_part_of_a_path_and_no_path(session) -> None:
    asked: list[bytes] = []
    async with serving(body(application(identity='"../../x?y=1#z %2e"')), asked) as port:
        found = await find_driver(session, "127.0.0.1", [port], "")
        assert isinstance(found, tuple)
        await found[0].environment()
    assert asked[1].startswith(b"GET /api/v1/applications/..%2F..%2Fx%3Fy=1%23z%20%252e/")


@pytest.mark.parametrize(
    "fields",
    [
        {"stageId": 2**31},
        {"stageId": -(2**40)},
        {"attemptId": 10**25},
        {"resourceProfileId": -1},
        {"resourceProfileId": 2**31},
        {"stageId": 1.5},
        {"stageId": True},
        {"stageId": "1"},
    ],
)
async def test_an_id_that_spark_cannot_have_is_a_bad_answer(session, fields) -> None:
    async with FakeDriver() as driver:
        driver.stages = [driver.stage(tasks=1) | fields]
        rest = DriverRest(session, "127.0.0.1", driver.port, driver.application_id)
        answer = await rest.poll(with_dead_executors=False)
        assert isinstance(answer, Unreachable)
        assert answer.reason is Reason.BAD_ANSWER


async def test_sizes_beyond_spark_s_are_held_within_them(session) -> None:
    absurd = {"memoryUsed": 2**63 - 1, "diskUsed": 2**63 - 1, "totalShuffleWrite": -5}
    async with FakeDriver() as driver:
        driver.executors = [driver.executor(1) | absurd | {"removeReason": "x" * 100_000}]
        rest = DriverRest(session, "127.0.0.1", driver.port, driver.application_id)
        answer = await rest.poll(with_dead_executors=False)
    assert isinstance(answer, DriverReport)
    (executor,) = answer.executors
    assert (executor.cached_bytes, executor.shuffle_write_bytes) == (2**63 - 1, 0)
    assert len(executor.remove_reason) <= 1024


@pytest.mark.parametrize(
    ("path", "item"),
    [("executors", b'{"id":"1"},'), ("stages?status=active", b'{"stageId":1,"attemptId":0},'),
     ("jobs?status=running", b'{"jobId":1},')],
)  # fmt: skip
async def test_a_list_that_no_driver_has_is_not_looked_through(session, path, item) -> None:
    async with RawDriver() as driver:
        identity = driver.good.application_id
        content = b"[" + item * (15_000_000 // len(item)) + item[:-1] + b"]"
        driver.spoilt = {f"/api/v1/applications/{identity}/{path}": content}
        rest = DriverRest(session, "127.0.0.1", driver.port, identity)
        answer = await rest.poll(with_dead_executors=False)
    assert isinstance(answer, Unreachable)
    assert answer.reason is Reason.BAD_ANSWER
    assert "a list of" in answer.message
    assert rest.rest_seconds > 0.2, "and such a driver is asked less often"


async def test_an_ordinary_driver_is_asked_as_often_as_is_wished(session) -> None:
    async with FakeDriver() as driver:
        driver.stages = [driver.stage(tasks=100, stage_id=each) for each in range(20)]
        driver.executors = [driver.executor(each) for each in range(1000)]
        rest = DriverRest(session, "127.0.0.1", driver.port, driver.application_id)
        assert isinstance(await rest.poll(with_dead_executors=False), DriverReport)
    assert rest.rest_seconds < 1.0


async def test_crowds_of_attackers_do_not_stop_the_event_loop(session) -> None:
    # given forty drivers that answer as much as is read of an answer, all at once
    worst = 0.0

    async def beat() -> None:
        nonlocal worst
        while True:
            began = time.process_time()  # what others on the machine take is not ours
            await asyncio.sleep(0.01)
            worst = max(worst, time.process_time() - began)

    beating = asyncio.create_task(beat())
    documents = json.dumps([FakeDriver.stage(tasks=1)] * 20_000).encode()
    async with serving(body(documents)) as port:
        rest = DriverRest(session, "127.0.0.1", port, "spark-1")
        await asyncio.gather(*(rest.poll(with_dead_executors=False) for _ in range(40)))
    beating.cancel()
    assert worst < 1.0, f"the loop stood still for {worst:.2f} s of processor"
