"""LIST, then WATCH, for the few objects of one policy kind.

kopf watches SparkAllocations. Policies get no handlers of kopf's: a kind that is not installed, or that a Role-only
install may not read, must neither stop the operator nor keep it from starting. The contract:

- What is listed replaces the picture; a watch goes on from there, and any doubt means: list again.
- A kind that is not installed, or may not be read from the start, counts as having no objects, and is asked for again.
- Once there was a picture, an API server that is lost or that refuses leaves it as it is: a limit does not go away
  because somebody broke a role.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Protocol

import structlog

from spark_allocation.api.group import GROUP, VERSION
from spark_allocation.kube.api_client import WATCH_SECONDS, ApiUnavailable, KubernetesApi

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
NOT_THERE_PAUSE_SECONDS = 5.0

log = structlog.get_logger("policies_watch")


class PoliciesSink(Protocol):
    """Where the picture goes."""

    def replace_all(self, scope: str, bodies: Iterable[Mapping[str, Any]]) -> None:
        """All policies of one watch."""

    def update(self, scope: str, body: Mapping[str, Any]) -> None:
        """One was added or changed."""

    def remove(self, scope: str, body: Mapping[str, Any]) -> None:
        """One is gone."""


class _ListAgain(Exception):  # noqa: N818
    """The watch cannot go on from where it stands."""


class PoliciesWatch:
    """Keeps a sink equal to the objects of one kind. Run it once; cancel it to stop."""

    def __init__(
        self,
        api: KubernetesApi,
        *,
        kind: str,
        plural: str,
        namespace: str | None,
        sink: PoliciesSink,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        not_there_pause_seconds: float = NOT_THERE_PAUSE_SECONDS,
    ) -> None:
        """
        Args:
            kind: of the objects; lists do not repeat it.
            namespace: None for all, and for a kind without namespaces.
        """
        within = "" if namespace is None else f"/namespaces/{namespace}"
        self._path = f"/apis/{GROUP}/{VERSION}{within}/{plural}"
        self._api = api
        self._kind = kind
        self._sink = sink
        self._first_pause = first_pause_seconds
        self._not_there_pause = not_there_pause_seconds
        self._told: str = ""
        self._words = 0
        """Changes and bookmarks that watches have told."""
        self.scope = f"{plural}/{namespace or '*'}"
        self.synced = asyncio.Event()
        """There is a picture, even if it is an empty one."""

    async def run(self) -> None:
        """Watch until cancelled."""
        pause = self._first_pause
        while True:
            words = self._words
            try:
                version = await self._list()
                if version is None:
                    await asyncio.sleep(self._not_there_pause)
                    continue
                while True:
                    version = await self._watch_from(version)
            except _ListAgain as reason:
                log.info("policies_relist", policies=self.scope, reason=str(reason))
            except ApiUnavailable as error:
                log.warning("api_unavailable", policies=self.scope, error=str(error))
            if self._words > words:
                pause = self._first_pause  # it worked for a while
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)

    async def _list(self) -> str | None:
        answer = await self._api.request("GET", self._path)
        if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
            self._say(
                "no_policies"
                if answer.status == HTTPStatus.NOT_FOUND
                else "policies_cannot_be_read",
                answer.message,
            )
            if answer.status == HTTPStatus.NOT_FOUND or not self.synced.is_set():
                self._sink.replace_all(self.scope, ())
                self.synced.set()
            return None
        if not answer.ok:
            raise ApiUnavailable(f"{self._path}: {answer.status} {answer.message}")
        self._told = ""
        listed = answer.json()
        self._sink.replace_all(self.scope, map(self._with_kind, listed.get("items") or ()))
        self.synced.set()
        return str((listed.get("metadata") or {}).get("resourceVersion") or "")

    def _say(self, event: str, message: str) -> None:
        if self._told != event:
            self._told = event
            log.info(event, policies=self.scope, message=message)

    async def _watch_from(self, version: str) -> str:
        """One watch request; returns where the next goes on."""
        began = asyncio.get_running_loop().time()
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async for line in self._api.stream(self._path, query=query):
            try:
                event = json.loads(line)
                kind, body = event["type"], event["object"]
                metadata = body.get("metadata") or {}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise _ListAgain(f"undecodable event: {error!r}") from error
            if kind == "ERROR":
                raise _ListAgain(str(body)[:300])
            self._words += 1
            version = metadata.get("resourceVersion") or version
            if kind in ("ADDED", "MODIFIED"):
                self._sink.update(self.scope, self._with_kind(body))
            elif kind == "DELETED":
                self._sink.remove(self.scope, self._with_kind(body))
        if asyncio.get_running_loop().time() - began < self._first_pause:
            # a watch that ends at once would be asked for without end
            await asyncio.sleep(self._first_pause)
        return version

    def _with_kind(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {**body, "kind": self._kind}
