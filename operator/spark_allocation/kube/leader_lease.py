"""One leader: a Lease, held as long as this process allocates.

The election is the official client's. Four things are added. A call that breaks or hangs counts as a failed renewal
instead of escaping the loop or stopping it. Whether the Lease is *held* is judged by the monotonic clock, from the moment
at which the last successful renewal was sent, and by the holder's name: a process that was frozen, or whose Lease
somebody else has taken, learns of it before its next write (`LeaderLease.held` guards every write). The identity is one
of this process alone, so that a pod made anew under the same name is another candidate. And the Lease is given back at a
clean exit, so that a standby takes over at once.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, TypeVar

import aiohttp
import structlog
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from spark_allocation.kube.api_client import MERGE_PATCH, ApiUnavailable, KubernetesApi

LEASE_SECONDS = 15
RENEW_DEADLINE_SECONDS = 10
RETRY_SECONDS = 2
CALL_SECONDS = 4.0
"""A call that takes longer has failed; two of them fit into the deadline."""
LOOK_SECONDS = 0.25

T = TypeVar("T")
log = structlog.get_logger("leader_lease")


class LeaseLost(Exception):  # noqa: N818
    """Another process may lead from now on; this one must end without touching anything more."""


class _WatchfulLeaseLock(LeaseLock):
    """The official lock, bounded in time, that remembers when it was last renewed and who else was seen to hold it."""

    readable = False
    renewed_at = 0.0
    other_holder = ""

    async def get(self, name: str, namespace: str) -> tuple[bool, Any]:
        try:
            found, record = await _bounded(super().get(name, namespace))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.readable = False
            return False, ApiException(status=0, reason=f"{type(error).__name__}: {error}")
        self.readable = found or getattr(record, "status", 0) == HTTPStatus.NOT_FOUND
        if found:
            holder = getattr(record, "holder_identity", None) or ""
            self.other_holder = holder if holder != self.identity else ""
        return found, record

    async def create(self, name: str, namespace: str, election_record: Any) -> bool:
        return await self._renewing(super().create(name, namespace, election_record))

    async def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        return await self._renewing(super().update(name, namespace, updated_record))

    async def _renewing(self, call: Awaitable[bool]) -> bool:
        sent_at = time.monotonic()
        try:
            renewed = bool(await _bounded(call))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("lease_not_renewed", error=f"{type(error).__name__}: {error}")
            return False
        if renewed:
            self.renewed_at = sent_at
            self.other_holder = ""
        return renewed


async def _bounded(call: Awaitable[T]) -> T:
    async with asyncio.timeout(CALL_SECONDS):
        return await call


class LeaderLease:
    """Takes the Lease, then keeps it."""

    def __init__(self, api: KubernetesApi, *, name: str, namespace: str, identity: str) -> None:
        """
        Args:
            identity: what people should read in the Lease, such as the pod's name.
        """
        self._api = api
        self._name = name
        self._namespace = namespace
        self._identity = f"{identity}_{secrets.token_hex(4)}"
        self.leading = asyncio.Event()
        self._lock = _WatchfulLeaseLock(name, namespace, self._identity, api.official_client)

    @property
    def readable(self) -> bool:
        """The Lease could be read at the last try; a standby that cannot is not ready."""
        return self._lock.readable

    @property
    def held(self) -> bool:
        """Nobody else can lead at this moment: the Lease was renewed lately, and by nobody else since."""
        lock = self._lock
        age = time.monotonic() - lock.renewed_at
        return self.leading.is_set() and not lock.other_holder and age < RENEW_DEADLINE_SECONDS

    async def hold(self) -> None:
        """Wait for the Lease, then renew it until it is lost or this task is cancelled.

        Raises:
            LeaseLost: the Lease could not be renewed in time.
        """
        election = asyncio.create_task(self._elect())
        try:
            while not election.done():
                await asyncio.wait({election}, timeout=LOOK_SECONDS)
                if self.leading.is_set() and not self.held:
                    break
            if election.done():
                election.result()
        finally:
            election.cancel()
            if self.held:
                await self._give_back()
            self.leading.clear()
        other = self._lock.other_holder
        raise LeaseLost(
            f"the Lease {self._namespace}/{self._name} is lost: "
            + (f"{other} holds it" if other else f"not renewed for {RENEW_DEADLINE_SECONDS} s")
        )

    async def _elect(self) -> None:
        async def lead() -> None:
            log.info("lease_taken", lease=self._name, identity=self._identity)
            self.leading.set()
            await asyncio.Event().wait()

        election = LeaderElection(
            Config(
                self._lock,
                lease_duration=LEASE_SECONDS,
                renew_deadline=RENEW_DEADLINE_SECONDS,
                retry_period=RETRY_SECONDS,
                onstarted_leading=lead,
                onstopped_leading=_nothing,
            )
        )
        await election.run()

    async def _give_back(self) -> None:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases/{self._name}"
        try:
            lease = (await self._api.request("GET", path, timeout_seconds=3)).json()
            if lease.get("spec", {}).get("holderIdentity") != self._identity:
                return
            await self._api.request(
                "PATCH",
                path,
                body={
                    "metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]},
                    "spec": {"holderIdentity": None, "leaseDurationSeconds": 1},
                },
                content_type=MERGE_PATCH,
                timeout_seconds=3,
            )
        except ApiUnavailable as error:
            log.warning("lease_not_given_back", error=str(error))


async def _nothing() -> None:
    """The official election wants to be told what to do when it ends."""
