"""One leader: a Lease, held as long as this process allocates.

The election is the official client's. Two things are added: a broken connection counts as a failed renewal instead of
escaping the loop, and the Lease is given back at a clean exit so that a standby takes over at once.
"""

import asyncio
from http import HTTPStatus
from typing import Any

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

log = structlog.get_logger("leader_lease")


class LeaseLost(Exception):  # noqa: N818
    """Another process may lead from now on; this one must end without touching anything more."""


class _NetworkTolerantLeaseLock(LeaseLock):
    readable = False

    async def get(self, name: str, namespace: str) -> tuple[bool, Any]:
        try:
            found, record = await super().get(name, namespace)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.readable = False
            return False, ApiException(status=0, reason=f"{type(error).__name__}: {error}")
        self.readable = found or getattr(record, "status", 0) == HTTPStatus.NOT_FOUND
        return found, record

    async def create(self, name: str, namespace: str, election_record: Any) -> bool:
        try:
            return bool(await super().create(name, namespace, election_record))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("lease_not_created", error=str(error))
            return False

    async def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        try:
            return bool(await super().update(name, namespace, updated_record))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("lease_not_renewed", error=str(error))
            return False


class LeaderLease:
    """Takes the Lease, then keeps it."""

    def __init__(self, api: KubernetesApi, *, name: str, namespace: str, identity: str) -> None:
        self._api = api
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self.leading = asyncio.Event()
        self._lock: _NetworkTolerantLeaseLock | None = None

    @property
    def readable(self) -> bool:
        """The Lease could be read at the last try; a standby that cannot is not ready."""
        return self._lock is not None and self._lock.readable

    async def hold(self) -> None:
        """Wait for the Lease, then renew it until it is lost or this task is cancelled.

        Raises:
            LeaseLost: the Lease could not be renewed in time.
        """
        lock = _NetworkTolerantLeaseLock(
            self._name, self._namespace, self._identity, self._api.official_client
        )
        self._lock = lock

        async def lead() -> None:
            log.info("lease_taken", lease=self._name, identity=self._identity)
            self.leading.set()
            await asyncio.Event().wait()

        async def lost() -> None:
            self.leading.clear()

        election = LeaderElection(
            Config(
                lock,
                lease_duration=LEASE_SECONDS,
                renew_deadline=RENEW_DEADLINE_SECONDS,
                retry_period=RETRY_SECONDS,
                onstarted_leading=lead,
                onstopped_leading=lost,
            )
        )
        try:
            await election.run()
        finally:
            if self.leading.is_set():
                await self._give_back()
        raise LeaseLost(
            f"the Lease {self._namespace}/{self._name} was not renewed for {RENEW_DEADLINE_SECONDS} s"
        )

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
