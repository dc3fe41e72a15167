"""Stands between the operator and a server, and does with each request what a schedule says.

Towards the operator it speaks plain HTTP on loopback; towards an API server TLS, with the credentials of the cluster's
kubeconfig. What passed, and what became of it, is kept for the invariants.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import aiohttp
import yaml
from aiohttp import web
from tests.faults.fault_schedule import Fate, Fault, Kind

Document = dict[str, Any]
REMEMBERED_LINES = 30
HOP_BY_HOP = frozenset(
    {
        "host",
        "connection",
        "transfer-encoding",
        "content-length",
        "authorization",
        "te",
        "trailer",
        "accept-encoding",
    }
)


@dataclass(slots=True)
class Passage:
    """One request and what became of it.

    Attributes:
        at: monotonic seconds of its arrival.
        by: who asked.
        body: as sent, when it was JSON.
        status: the server's own answer; 0 when the request never reached it.
        answer: the server's own answer, of writes.
    """

    at: float
    by: str
    kind: Kind
    method: str
    path: str
    body: Document = field(default_factory=dict)
    fault: Fault | None = None
    status: int = 0
    answer: Document = field(default_factory=dict)


class Fates(Protocol):
    """Who says what becomes of a request."""

    def __call__(self, passage: Passage) -> Fate | None: ...


class KillPoint:
    """Somewhere in the operator's own work at which it is killed."""

    def __init__(self, kind: Kind, *, after: bool, kill: Callable[[], None]) -> None:
        self.kind = kind
        self.after = after
        self.kill = kill


class FaultProxy:
    """A reverse proxy while it is entered, on a free loopback port or where it is told to listen.

    Attributes:
        passages: what has passed, oldest first.
        kill_point: where the operator is killed next.
        paused_until: monotonic seconds until which nobody is answered, as in a server's long garbage collection.
        when_passing: called with each passage when it arrives, and again when its answer is known.
    """

    def __init__(
        self,
        upstream: str,
        fates: Fates,
        *,
        by: str,
        tls: ssl.SSLContext | None = None,
        token: str | None = None,
        kind_of: Callable[[web.BaseRequest], Kind],
        listen: Callable[[], socket.socket] | None = None,
        serves: ssl.SSLContext | None = None,
    ) -> None:
        """
        Args:
            listen: makes the socket to listen on; by default one on this host's loopback.
            serves: TLS towards the operator; plain HTTP without.
        """
        self.upstream = upstream
        self.port = 0
        self.passages: list[Passage] = []
        self.kill_point: KillPoint | None = None
        self.when_passing: Callable[[Passage], None] = lambda _: None
        self.when_answered: Callable[[Passage, bytes], None] = lambda *_: None
        self._fates = fates
        self.by = by
        self._tls = tls
        self._token = token
        self._kind_of = kind_of
        self._listen = listen
        self._serves = serves
        self.paused_until = 0.0
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._calm = asyncio.Event()
        self._break = asyncio.Event()
        self._lines: defaultdict[tuple[str, str], deque[bytes]] = defaultdict(
            lambda: deque(maxlen=REMEMBERED_LINES)
        )

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        )
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        assert self._session is not None
        await self._session.close()

    async def open(self) -> None:
        """Listen, on the same port as before if there was one."""
        server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        if self._listen is not None:
            await web.SockSite(self._runner, self._listen(), ssl_context=self._serves).start()
        else:
            await web.TCPSite(
                self._runner,
                "127.0.0.1",
                self.port,
                reuse_address=True,
                ssl_context=self._serves,
            ).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening: connections are refused from now on."""
        if self._runner is not None:
            self._break.set()
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def calm(self) -> None:
        """Whatever is silent or late now is so no longer."""
        self._calm.set()
        self._calm = asyncio.Event()

    def break_watches(self) -> None:
        """End the watches that are open, so that they are asked for again."""
        self._break.set()
        self._break = asyncio.Event()

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        content = await request.read()
        await asyncio.sleep(max(0.0, self.paused_until - time.monotonic()))
        passage = Passage(
            time.monotonic(), self.by, self._kind_of(request), request.method, request.path
        )
        with contextlib.suppress(ValueError):
            passage.body = json.loads(content) if content else {}
        self.passages.append(passage)
        self.when_passing(passage)
        fate = self._fates(passage)
        killing, self.kill_point = self._kill_now(passage), self.kill_point
        if killing is not None:
            self.kill_point, fate = None, None
            if not killing.after:
                killing.kill()
                return self._reset(request)
        passage.fault = fate.fault if fate is not None else None
        try:
            if passage.kind is Kind.WATCH:
                return await self._watch(request, fate)
            if fate is not None:
                return await self._meet(request, content, passage, fate)
            status, headers, body = await self._forward(request, content, passage)
        except aiohttp.ClientError:
            return self._reset(request)
        if killing is not None:
            killing.kill()
            return self._reset(request)
        answer = web.Response(status=status, body=body, headers=headers)
        self.when_answered(passage, body)
        return answer

    def _kill_now(self, passage: Passage) -> KillPoint | None:
        point = self.kill_point
        return point if point is not None and point.kind is passage.kind else None

    async def _meet(
        self, request: web.BaseRequest, content: bytes, passage: Passage, fate: Fate
    ) -> web.StreamResponse:
        match fate.fault:
            case Fault.RESET:
                return self._reset(request)
            case Fault.HANGS:
                await self._pause(fate.seconds)
                return self._reset(request)
            case Fault.LOST:
                await self._forward(request, content, passage)
                return self._reset(request)
            case Fault.LOST_LATE:
                await self._forward(request, content, passage)
                await self._pause(fate.seconds)
                return self._reset(request)
            case Fault.LATE:
                await self._pause(fate.seconds)
                status, headers, body = await self._forward(request, content, passage)
                self.when_answered(passage, body)
                return web.Response(status=status, body=body, headers=headers)
            case Fault.CUT:
                status, headers, body = await self._forward(request, content, passage)
                return await self._cut(request, status, headers, body)
            case Fault.WRONG_TYPE:
                status, headers, body = await self._forward(request, content, passage)
                self.when_answered(passage, body)
                return web.Response(status=status, body=body, content_type="text/html")
            case _:
                return refusal(fate.fault)

    async def _forward(
        self, request: web.BaseRequest, content: bytes, passage: Passage
    ) -> tuple[int, dict[str, str], bytes]:
        async with self._ask(request, content) as answer:
            body = await answer.read()
            passage.status = answer.status
            if passage.kind in (Kind.CREATE, Kind.DELETE, Kind.STATUS, Kind.LEASE):
                with contextlib.suppress(ValueError):
                    passage.answer = json.loads(body)
            return answer.status, _end_to_end(answer.headers), body

    def _ask(self, request: web.BaseRequest, content: bytes) -> Any:
        assert self._session is not None
        headers = _end_to_end(request.headers)
        headers["Accept-Encoding"] = "identity"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return self._session.request(
            request.method,
            f"{self.upstream}{request.path_qs}",
            data=content or None,
            headers=headers,
            ssl=self._tls if self._tls is not None else True,
            allow_redirects=False,
        )

    async def _cut(
        self, request: web.BaseRequest, status: int, headers: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            status=status, headers={**headers, "Content-Length": str(len(body))}
        )
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        return self._reset(request)

    # -- watches -----------------------------------------------------------------------------------------------------

    async def _watch(self, request: web.BaseRequest, fate: Fate | None) -> web.StreamResponse:
        fault = fate.fault if fate is not None else None
        if fault is Fault.RESET:
            return self._reset(request)
        if fault in _REFUSALS:
            return refusal(fault)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if fate is not None and fault is Fault.SILENT:
            await self._pause(fate.seconds)
            return self._reset(request)
        remembered = self._lines[request.path, request.query.get("labelSelector", "")]
        for line in _said_first(fault, list(remembered)):
            await response.write(line)
        if fault in (Fault.ENDS, Fault.ERROR_410, Fault.ERROR_500, Fault.GARBAGE_LINE):
            return response
        if fate is not None and fault is Fault.LATE:
            await self._pause(fate.seconds)
        broken = asyncio.create_task(self._break.wait())
        try:
            async with self._ask(request, b"") as answer:
                streaming = asyncio.create_task(self._stream(answer, response, fault, remembered))
                await asyncio.wait({broken, streaming}, return_when=asyncio.FIRST_COMPLETED)
                streaming.cancel()
                await asyncio.gather(streaming, return_exceptions=True)
        finally:
            broken.cancel()
        return response

    @staticmethod
    async def _stream(
        answer: aiohttp.ClientResponse,
        response: web.StreamResponse,
        fault: Fault | None,
        remembered: deque[bytes],
    ) -> None:
        pending = b""
        async for chunk in answer.content.iter_any():
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                if fault is Fault.CUT_LINE:
                    await response.write(line[: len(line) // 2])
                    return
                if b'"BOOKMARK"' not in line:
                    remembered.append(line + b"\n")
                await response.write(line + b"\n")

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._calm.wait()

    @staticmethod
    def _reset(request: web.BaseRequest) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)


def _said_first(fault: Fault | None, remembered: list[bytes]) -> list[bytes]:
    match fault:
        case Fault.REPLAYS:
            return remembered
        case Fault.GARBAGE_LINE:
            return [b'{"type":"MODIFIED","object":\x00{\n']
        case Fault.ERROR_410:
            return [error_event(410, "Expired", "too old resource version")]
        case Fault.ERROR_500:
            return [error_event(500, "InternalError", "unable to decode an event")]
        case _:
            return []


def error_event(code: int, reason: str, message: str) -> bytes:
    """An ERROR event as an API server writes it into a watch."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


_REFUSALS: dict[Fault, tuple[int, str, str, dict[str, str]]] = {
    Fault.CONFLICT: (409, "Conflict", "Operation cannot be fulfilled: the object has been modified", {}),
    Fault.UNKNOWN: (404, "NotFound", "the server could not find the requested resource", {}),
    Fault.GONE: (410, "Expired", "The provided continue parameter is too old", {}),
    Fault.THROTTLED: (429, "TooManyRequests", "too many requests, try again later", {"Retry-After": "1"}),
    Fault.INITIALIZING: (429, "TooManyRequests", "storage is (re)initializing", {"Retry-After": "1"}),
    Fault.FAILS: (500, "InternalError", "etcdserver: request timed out", {}),
    Fault.UNAVAILABLE: (503, "ServiceUnavailable", "apiserver not ready", {}),
    Fault.QUOTA: (403, "Forbidden", 'pods "x" is forbidden: exceeded quota: pods, requested: pods=1', {}),
    Fault.FORBIDDEN: (403, "Forbidden", 'User "operator" cannot do that: RBAC: not found', {}),
    Fault.UNAUTHORIZED: (401, "Unauthorized", "no", {}),
    Fault.REDIRECTS: (302, "Found", "elsewhere", {"Location": "https://127.0.0.1:1/elsewhere"}),
}  # fmt: skip


def refusal(fault: Fault) -> web.Response:
    """What a server says that does not carry a request out."""
    if fault is Fault.GARBAGE:
        return web.Response(text="<html>Welcome to nginx!</html>", content_type="text/html")
    code, reason, message, headers = _REFUSALS[fault]
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return web.json_response(body, status=code, headers=headers)


def _end_to_end(headers: Any) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in HOP_BY_HOP}


def api_kind(request: web.BaseRequest) -> Kind:
    """What a request to an API server is about."""
    path, query = request.path, request.query
    if "/leases" in path:
        return Kind.LEASE
    if query.get("watch") == "true":
        return Kind.WATCH
    if request.method == "DELETE":
        return Kind.DELETE
    if request.method == "POST" and path.endswith("/pods"):
        return Kind.CREATE
    if path.endswith("/status"):
        return Kind.STATUS
    if request.method == "GET":
        return Kind.LIST if path.endswith(("/pods", "/sparkallocations")) else Kind.GET
    return Kind.OTHER


def driver_kind(_: web.BaseRequest) -> Kind:
    """What a request to a driver is about."""
    return Kind.DRIVER


def write_kubeconfig(file: Path, url: str) -> None:
    """A kubeconfig whose only context leads through a proxy; the proxy has the credentials."""
    named = {"name": "proxied"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{**named, "cluster": {"server": url}}],
        "users": [{**named, "user": {"token": "the-proxy-has-it"}}],
        "contexts": [{**named, "context": {"cluster": "proxied", "user": "proxied"}}],
        "current-context": "proxied",
    }
    file.write_text(yaml.safe_dump(document))
