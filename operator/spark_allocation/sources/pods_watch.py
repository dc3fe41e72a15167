"""LIST in pages, then WATCH: one current picture of the pods behind a label selector.

Why not kopf's watching: it cannot notice a pod that was deleted while a watch was broken, and it costs about seventy
times the CPU a pod (docs/designs/0001-own-pods-watch.md). The contract here:

- A full list replaces the picture: what is missing from it is gone, whatever a broken watch failed to say.
- A watch resumes at the last resource version it has seen, bookmarks included.
- An ERROR event, an undecodable line or an expired list page means: list again.
- An event that is older than what is known of its pod changes nothing: a server that repeats itself brings no deleted
  pod back. (Resource versions of one resource are ordered numbers.)
- Watches that end at once, and lists that are asked for again at once, are asked for more and more slowly.
- The picture is listed anew every ten minutes or so even when nothing looks wrong, and at once when somebody needs one
  that is not older than a certain moment (`PodsWatch.list_anew`).
- A list that is forbidden is an answer too: of this scope nothing is known, which is told, and asked for again.
- A lost API server is asked again after a pause that doubles from half a second to ten seconds, with jitter, so
  that a thousand watchers do not return in the same moment: an operator that starts in an outage has its picture, and
  so a plan, well within half a minute of its end.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Generic, Protocol, TypeVar

import msgspec
import structlog

from spark_allocation.epoch_clock import epoch_seconds
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.pods_api import PodsApi
from spark_allocation.sources import wire

RELIST_SECONDS = 600.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises over bytes that are no pods: bytes that are no UTF-8 are not a ``DecodeError``."""

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
log = structlog.get_logger("pods_watch")


class PodsSink(Protocol[T_contra]):
    """Where the picture goes. ``scope`` names the watch, so that several can feed one sink."""

    def replace_all(
        self, scope: str, pods: Iterable[T_contra], at: float, *, asked_ns: int
    ) -> None:
        """The full picture of this scope, asked for at epoch seconds ``at`` and monotonic nanoseconds ``asked_ns``."""

    def update(self, scope: str, pod: T_contra) -> None:
        """A pod was added or changed."""

    def remove(self, scope: str, pod: T_contra) -> None:
        """A pod is gone; this is its last state."""

    def forget(self, scope: str, uid: str) -> None:
        """A pod is there, but is no longer what the sink is about."""

    def refused(self, scope: str) -> None:
        """The pods of this scope may not be listed: what was known of them may be old."""


class _ListAgain(Exception):  # noqa: N818
    """The watch cannot go on from where it stands."""


class PodsWatch(Generic[T]):
    """Keeps a sink equal to the pods behind a selector. Run it once; cancel it to stop."""

    def __init__(
        self,
        pods: PodsApi,
        *,
        namespace: str | None,
        selector: str,
        project: Callable[[wire.Pod], T | None],
        sink: PodsSink[T],
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        """
        Args:
            namespace: None for all namespaces.
            project: what is kept of a pod; None drops it.
            first_pause_seconds: before something that failed is tried again; doubles each time.
        """
        self._first_pause = first_pause_seconds
        self._versions: dict[str, int] = {}
        self._pods = pods
        self._namespace = namespace
        self._selector = selector
        self._project = project
        self._sink = sink
        self._round: asyncio.Timeout | None = None
        self._awaited: list[asyncio.Event] = []
        self.scope = f"{namespace or '*'}/{selector}"
        self.last_word_at = 0.0
        """Monotonic seconds of the last list page, event or bookmark; for the staleness metric."""
        self.lists = 0
        self.events = 0

    async def list_anew(self) -> None:
        """Return when the sink has the full picture of a list that was asked for after this call, or was told of its refusal.

        Whatever was done before the call is in it, however late the watch is. A list or a watch that goes on is broken off
        for it; while the API server is away, this waits.
        """
        listed = asyncio.Event()
        self._awaited.append(listed)
        if self._round is not None and not self._round.expired():
            self._round.reschedule(asyncio.get_running_loop().time())
        await listed.wait()

    async def run(self) -> None:
        """List and watch until cancelled."""
        pause = self._first_pause
        while True:
            events = self.events
            try:
                async with asyncio.timeout(None) as self._round:
                    version, listed_at = await self._list()
                    events = self.events
                    await self._watch_from(
                        version,
                        until=listed_at + RELIST_SECONDS * random.uniform(0.8, 1.2),  # noqa: S311
                    )
                pause = self._first_pause
                continue
            except TimeoutError:
                if self._round is None or not self._round.expired():
                    raise
                continue  # somebody needs a list that is asked for from now on
            except _ListAgain as reason:
                log.info("pods_relist", scope=self.scope, reason=str(reason))
            except ApiUnavailable as error:
                log.warning(
                    "api_unavailable", scope=self.scope, error=str(error), retry_in_seconds=pause
                )
            finally:
                self._round = None
            if self.events > events:
                pause = self._first_pause  # it worked for a while
            await self._pause(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311

    async def _list(self) -> tuple[str, float]:
        pods: list[T] = []
        versions: dict[str, int] = {}
        token = ""
        awaited = list(self._awaited)
        asked_at, asked_ns = epoch_seconds(), time.monotonic_ns()
        while True:
            answer = await self._pods.list_page(self._namespace, self._selector, token)
            if answer.status == HTTPStatus.GONE:
                # the snapshot that the pages belong to was compacted away: begin a new one
                await self._pause(self._first_pause)
                pods, token = [], ""
                asked_at, asked_ns = epoch_seconds(), time.monotonic_ns()
                continue
            if answer.status == HTTPStatus.FORBIDDEN:
                self._sink.refused(self.scope)
                self._tell(awaited)
            if not answer.ok:
                raise ApiUnavailable(f"list {self.scope}: {answer.status} {answer.message}")
            try:
                page = wire.decode_pod_list(answer.body)
            except _UNDECODABLE as error:
                raise ApiUnavailable(f"list {self.scope}: not a pod list: {error}") from error
            if not page.metadata.resource_version:
                raise ApiUnavailable(f"list {self.scope}: it does not say how new it is")
            self._heard()
            for pod in page.items:
                kept = self._project(pod)
                if kept is not None:
                    pods.append(kept)
                    versions[pod.metadata.uid] = _number(pod.metadata.resource_version)
            token = page.metadata.continue_token
            if not token:
                break
        self.lists += 1
        self._versions = versions
        self._sink.replace_all(self.scope, pods, asked_at, asked_ns=asked_ns)
        self._tell(awaited)
        return page.metadata.resource_version, time.monotonic()

    def _tell(self, awaited: list[asyncio.Event]) -> None:
        for listed in awaited:
            listed.set()
            self._awaited.remove(listed)

    async def _watch_from(self, version: str, until: float) -> None:
        pause = self._first_pause
        while time.monotonic() < until:
            heard_at = self.last_word_at
            async for line in self._pods.watch(self._namespace, self._selector, version):
                version = max(version, self._take(line), key=_number)
            if self.last_word_at > heard_at:
                pause = self._first_pause
            else:
                await self._pause(
                    pause
                )  # it ended without a word: a server that goes, or refuses us
                pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    def _take(self, line: bytes) -> str:
        """Pass one event on and return the resource version that it carries."""
        try:
            event = wire.decode_event(line)
            if event.type == "ERROR":
                raise _ListAgain(bytes(event.object)[:300].decode(errors="replace"))
            if event.type == "BOOKMARK":
                self._heard()
                return wire.decode_bookmark(event.object).metadata.resource_version
            pod = wire.decode_pod(event.object)
        except _UNDECODABLE as error:
            raise _ListAgain(f"undecodable event: {error}") from error
        self._heard()
        kept = self._project(pod)
        self.events += 1
        if kept is None:
            if self._versions.pop(pod.metadata.uid, None) is not None:
                self._sink.forget(self.scope, pod.metadata.uid)
        elif self._is_news(pod.metadata):
            if event.type == "DELETED":
                self._sink.remove(self.scope, kept)
            else:
                self._sink.update(self.scope, kept)
        return pod.metadata.resource_version

    def _is_news(self, metadata: wire.Metadata) -> bool:
        """Whether this is newer than what is known of the pod; a deletion is remembered until the next full list."""
        version = _number(metadata.resource_version)
        if version < self._versions.get(metadata.uid, 0):
            return False
        self._versions[metadata.uid] = version
        return True

    def _heard(self) -> None:
        self.last_word_at = time.monotonic()


def _number(resource_version: str) -> int:
    return int(resource_version) if resource_version.isdecimal() else 0
