"""JSON of an API server, no deeper than anybody here can follow.

A field that keeps what its schema does not know (``spec.executor.podTemplate``) takes objects in objects, almost ten
thousand deep. Python's decoder gives up at about a thousand, and what copies an object (kopf does) at a third of that:
one such object would end the watch of all. So what is nested too deep is cut off before it is decoded: the object comes
through, and is refused by itself.
"""

import re
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp

from spark_allocation.kube.managed_fields import without_managed_fields

DEEPEST = 100
"""Objects and lists in each other. A pod template of the depth that `core.pod_template` takes comes through whole, also
in the field names of ``managedFields``."""

_STRING_PATTERN = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_STRING = re.compile(_STRING_PATTERN, re.DOTALL)
_TOKEN = re.compile(_STRING_PATTERN + rb'|[{}\[\]]|[^"{}\[\]]+|"', re.DOTALL)
_INNERMOST = re.compile(rb"\{\}|\[\]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def bounded(text: bytes) -> bytes:
    """The same JSON with null for what is nested deeper than `DEEPEST`."""
    if text.count(b"{") + text.count(b"[") <= DEEPEST or _is_shallow(text):
        return text
    kept: list[bytes] = []
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in (b"{", b"["):
            depth += 1
            if depth == DEEPEST + 1:
                kept.append(b"null")
        if depth <= DEEPEST:
            kept.append(token)
        if token in (b"}", b"]"):
            depth -= 1
    return b"".join(kept)


def _is_shallow(text: bytes) -> bool:
    """Whether taking away the innermost brackets `DEEPEST` times leaves none."""
    brackets = _STRING.sub(b"", text).translate(None, _NOT_BRACKETS)
    for _ in range(DEEPEST):
        brackets = _INNERMOST.sub(b"", brackets)
        if not brackets:
            return True
    return False


class BoundedResponse(aiohttp.ClientResponse):
    """A response whose ``json()`` and whose lines are `bounded`, without ``managedFields``; for a client session that reads API objects."""

    async def start(self, connection: Any) -> "BoundedResponse":
        """Begin to read; see `aiohttp.ClientResponse.start`."""
        await super().start(connection)
        if self.url.query.get("watch") == "true":
            self.content = cast("aiohttp.StreamReader", _BoundedLines(self.content))
        return self

    async def read(self) -> bytes:
        """The body, bounded; of a watch there is none."""
        return without_managed_fields(bounded(await super().read()))

    async def json(self, **options: Any) -> Any:
        """The decoded body; see `aiohttp.ClientResponse.json`."""
        self._body = await self.read()
        return await super().json(**options)


class _BoundedLines:
    """A stream whose chunks are whole lines, each of them `bounded` and without ``managedFields``."""

    def __init__(self, stream: aiohttp.StreamReader) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """See `aiohttp.StreamReader.iter_chunked`; a chunk may be longer, as its last line is."""
        pending = b""
        async for chunk in self._stream.iter_chunked(size):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                yield without_managed_fields(bounded(line)) + b"\n"
        if pending:
            yield pending
