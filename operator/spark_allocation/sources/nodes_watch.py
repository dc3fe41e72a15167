"""LIST in pages, then WATCH: which nodes are about to go, and nothing else of them.

Nodes are cluster-scoped, and an installation of Roles alone may not read them. The contract:

- Refused, or asked for in a cluster that has none to show, there are no such nodes; that is logged once, and asked
  again every five minutes.
- A full list replaces the picture; an ERROR event or an undecodable line means: list again.
- An API server that is lost leaves the picture as it is.
- Watches that end or are refused at once, and the lists that follow, are asked for more and more slowly.

Of each node only what `core.node_evacuation.going_reason` asks for is decoded.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import datetime
from http import HTTPStatus
from typing import Protocol

import msgspec
import structlog

from spark_allocation.core.node_evacuation import going_reason
from spark_allocation.kube.api_client import WATCH_SECONDS, ApiAnswer, ApiUnavailable
from spark_allocation.sources import wire

PAGE_SIZE = 500
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
REFUSED_PAUSE_SECONDS = 300.0
_PATH = "/api/v1/nodes"
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

log = structlog.get_logger("nodes_watch")


class NodesReader(Protocol):
    """The part of the API server's client that is needed."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        timeout_seconds: float = 60,
    ) -> ApiAnswer:
        """One request and its whole answer."""

    def stream(self, path: str, *, query: dict[str, str]) -> AsyncIterator[bytes]:
        """The lines of a watch."""


class GoingNodesSink(Protocol):
    """Where the picture goes."""

    def replace_all(self, reasons: dict[str, str]) -> None:
        """The nodes that are about to go, each with why; all others stay."""

    def update(self, node: str, reason: str) -> None:
        """This node is about to go, or with "" it is not, or is no more."""


class _Metadata(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    resource_version: str = ""
    deletion_timestamp: datetime | None = None


class _Taint(msgspec.Struct, gc=False):
    key: str = ""
    effect: str = ""


class _NodeSpec(msgspec.Struct, gc=False):
    unschedulable: bool = False
    taints: list[_Taint] = msgspec.field(default_factory=list)


class _Node(msgspec.Struct, gc=False):
    metadata: _Metadata
    spec: _NodeSpec = msgspec.field(default_factory=_NodeSpec)

    @property
    def going(self) -> str:
        return going_reason(
            unschedulable=self.spec.unschedulable,
            taints=[(taint.key, taint.effect) for taint in self.spec.taints],
            deleting=self.metadata.deletion_timestamp is not None,
        )


class _NodeList(msgspec.Struct, gc=False):
    metadata: wire.ListMetadata
    items: list[_Node] = msgspec.field(default_factory=list)


_decode_list = msgspec.json.Decoder(_NodeList).decode
_decode_node = msgspec.json.Decoder(_Node).decode


class _ListAgain(Exception):  # noqa: N818
    """The watch cannot go on from where it stands."""


class NodesWatch:
    """Keeps a sink equal to the nodes that are about to go. Run it once; cancel it to stop."""

    def __init__(
        self,
        api: NodesReader,
        sink: GoingNodesSink,
        *,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        refused_pause_seconds: float = REFUSED_PAUSE_SECONDS,
    ) -> None:
        self._api = api
        self._sink = sink
        self._first_pause = first_pause_seconds
        self._refused_pause = refused_pause_seconds
        self._told_refusal = False
        self._words = 0
        """Changes and bookmarks that watches have told."""

    async def run(self) -> None:
        """List and watch until cancelled."""
        pause = self._first_pause
        while True:
            words = self._words
            try:
                version = await self._list()
                if version is None:
                    await asyncio.sleep(self._refused_pause)
                    continue
                while True:
                    words = self._words
                    version = await self._watch_from(version)
                    if self._words > words:
                        pause = self._first_pause
                    else:
                        await self._rest(pause)
                        pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)
            except _ListAgain as reason:
                log.info("nodes_relist", reason=str(reason))
            except ApiUnavailable as error:
                log.warning("api_unavailable", scope="nodes", error=str(error))
            if self._words > words:
                pause = self._first_pause  # it worked for a while
            await self._rest(pause)
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)

    async def _rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311

    async def _list(self) -> str | None:
        """Replace the picture; returns the resource version to watch from, or None when nodes may not be read."""
        reasons: dict[str, str] = {}
        token = ""
        while True:
            query = {"limit": str(PAGE_SIZE)} | ({"continue": token} if token else {})
            answer = await self._api.request("GET", _PATH, query=query, timeout_seconds=60)
            if answer.status == HTTPStatus.GONE and token:
                reasons, token = {}, ""
                await self._rest(self._first_pause)
                continue
            if answer.status in (
                HTTPStatus.FORBIDDEN,
                HTTPStatus.UNAUTHORIZED,
                HTTPStatus.NOT_FOUND,
            ):
                self._sink.replace_all({})
                self._tell_refusal(answer.message)
                return None
            if not answer.ok:
                raise ApiUnavailable(f"list nodes: {answer.status} {answer.message}")
            try:
                page = _decode_list(answer.body)
            except _UNDECODABLE as error:
                raise ApiUnavailable(f"list nodes: not a node list: {error}") from error
            reasons |= {node.metadata.name: going for node in page.items if (going := node.going)}
            token = page.metadata.continue_token
            if not token:
                break
        self._told_refusal = False
        self._sink.replace_all(reasons)
        return page.metadata.resource_version

    def _tell_refusal(self, message: str) -> None:
        if not self._told_refusal:
            self._told_refusal = True
            log.info(
                "nodes_not_watched",
                message="executors on nodes that are about to go are not replaced ahead of time: the operator may not "
                f"list and watch nodes, which takes a ClusterRole ({message})",
            )

    async def _watch_from(self, version: str) -> str:
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async for line in self._api.stream(_PATH, query=query):
            version = self._take(line)
        return version

    def _take(self, line: bytes) -> str:
        try:
            event = wire.decode_event(line)
            if event.type == "ERROR":
                raise _ListAgain(bytes(event.object)[:300].decode(errors="replace"))
            node = _decode_node(event.object)
        except _UNDECODABLE as error:
            raise _ListAgain(f"undecodable event: {error}") from error
        self._words += 1
        if event.type != "BOOKMARK":
            gone = event.type == "DELETED"
            self._sink.update(node.metadata.name, "" if gone else node.going)
        return node.metadata.resource_version
