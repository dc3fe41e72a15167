"""Keeps kopf serving: begun when our kind is served, and begun anew when kopf gives up.

kopf gives up for good on what passes by itself: an ERROR event other than 410 in its watch, a line that was cut off, an
expired page of a list, credentials that were refused once, a CustomResourceDefinition that is not there at the moment
in which kopf looks for it or that is deleted and applied again. Ending the process for that would throw away the
picture of all pods and the Lease, and the kubelet starts a process that ends again more and more slowly. So it is
begun anew here: runners end without touching a pod and go on from what the status and the pods say, as after a restart.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus

import structlog

from spark_allocation.api.group import GROUP, PLURAL, VERSION
from spark_allocation.kube.api_client import ApiUnavailable, KubernetesApi

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
WELL_AFTER_SECONDS = 60.0
"""kopf that has run for so long ran well: the next pause is the shortest again."""

log = structlog.get_logger("kopf_keeper")


class KopfKeeper:
    """Runs kopf again and again. Run it once; `stop` lets kopf close what it has opened, cancelling does not.

    Attributes:
        obstacle: why SparkAllocations are not served at the moment, or "".
    """

    def __init__(
        self,
        run_kopf: Callable[[asyncio.Event], Awaitable[None]],
        why_not_served: Callable[[], Awaitable[str]],
        *,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        """
        Args:
            run_kopf: returns when a signal or the event has ended kopf, and raises when kopf gives up.
            why_not_served: why the API server does not serve our kind, or ""; see `why_kind_is_not_served`.
            first_pause_seconds: before something that failed is tried again; doubles each time.
        """
        self._run_kopf = run_kopf
        self._why_not_served = why_not_served
        self._first_pause = first_pause_seconds
        self._stop = asyncio.Event()
        self.obstacle = ""

    def stop(self) -> None:
        """Let kopf end, and begin it no more."""
        self._stop.set()

    async def run(self, *, after_failure: Callable[[], None] = lambda: None) -> None:
        """Return when kopf was told to end.

        Args:
            after_failure: called when kopf has given up, before anything else.
        """
        pause = self._first_pause
        while await self._is_served():
            began_at = time.monotonic()
            try:
                await self._run_kopf(self._stop)
            except Exception as error:  # noqa: BLE001  (kopf's errors have no common base)
                after_failure()
                if time.monotonic() - began_at > WELL_AFTER_SECONDS:
                    pause = self._first_pause
                log.warning("kopf_gave_up", error=repr(error)[:500], retry_in_seconds=pause)
                await self._pause(pause)
                pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
            else:
                return

    async def _is_served(self) -> bool:
        """Wait until our kind is served; False when kopf is not to be begun any more."""
        pause = self._first_pause
        while not self._stop.is_set():
            why_not = await self._why_not_served()
            if why_not != self.obstacle:
                self.obstacle = why_not
                if why_not:
                    log.warning("kind_not_served", message=why_not)
            if not why_not:
                return True
            await self._pause(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
        return False

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()


async def why_kind_is_not_served(api: KubernetesApi, namespaces: Collection[str]) -> str:
    """Why SparkAllocations cannot be watched now, or "".

    Asked are the three places that have to know a kind before kopf can watch it, because they learn of a new
    CustomResourceDefinition one after the other.
    """
    version = f"/apis/{GROUP}/{VERSION}"
    at = f"/namespaces/{min(namespaces)}" if namespaces else ""
    try:
        groups = await api.request("GET", "/apis")
        kinds = await api.request("GET", version)
        listed = await api.request("GET", f"{version}{at}/{PLURAL}", query={"limit": "1"})
    except ApiUnavailable as error:
        return f"the API server does not answer: {error}"
    for answer in (groups, kinds, listed):
        if answer.is_transient:
            return f"the API server is not ready to list SparkAllocations: {answer.message}"
    known = GROUP in {each.get("name") for each in groups.json().get("groups") or ()}
    named = PLURAL in {each.get("name") for each in kinds.json().get("resources") or ()}
    if not (known and named) or listed.status == HTTPStatus.NOT_FOUND:
        return "the API server does not know SparkAllocations (yet): apply the CustomResourceDefinitions of this release"
    # what is forbidden is kopf's to say, for each namespace
    return ""
