"""All pods of one namespace as the API server itself tells of them, past every proxy: LIST, WATCH, and LIST again.

On purpose none of the operator's own code: what judges it must not share its mistakes.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
from tests.integration.operator_world import OperatorWorld

from spark_allocation.kube.api_client import ApiUnavailable

Document = dict[str, Any]


class PodsFeed:
    """Tells listeners of each change, in order. Run it once; cancel it to stop.

    Attributes:
        pods: by uid, as last seen.
        listeners: called with the type of the event and the pod.
    """

    def __init__(self, world: OperatorWorld, *, watch_seconds: int = 300) -> None:
        """
        Args:
            watch_seconds: after so many seconds everything is listed again.
        """
        self._world = world
        self._watch_seconds = watch_seconds
        self.pods: dict[str, Document] = {}
        self.listeners: list[Callable[[str, Document], None]] = []
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled; an API server that is away is asked again."""
        while True:
            with contextlib.suppress(ApiUnavailable, aiohttp.ClientError):
                version = await self._list()
                if version:
                    await self._follow(version)
            await asyncio.sleep(0.2)

    async def _list(self) -> str:
        answer = await self._world.request("GET", self._world.pods_path)
        if not answer.ok:
            return ""
        listed = answer.json()
        now = {pod["metadata"]["uid"]: pod for pod in listed["items"]}
        for uid in list(self.pods):
            if uid not in now:
                self._tell("DELETED", self.pods[uid])
        for pod in now.values():
            known = self.pods.get(pod["metadata"]["uid"])
            if (
                known is None
                or known["metadata"]["resourceVersion"] != pod["metadata"]["resourceVersion"]
            ):
                self._tell("ADDED" if known is None else "MODIFIED", pod)
        self.synced.set()
        return str(listed["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(self._watch_seconds),
        }
        async for line in self._world.api.stream(self._world.pods_path, query=query):
            event = msgspec.json.decode(line)
            if event["type"] == "ERROR":
                return
            if event["type"] != "BOOKMARK":
                self._tell(event["type"], event["object"])

    def _tell(self, kind: str, pod: Document) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self.pods.pop(uid, None)
        else:
            self.pods[uid] = pod
        for listener in self.listeners:
            listener(kind, pod)
