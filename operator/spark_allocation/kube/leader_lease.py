"""One leader: a Lease, held as long as this process allocates.

The rules are those of client-go's leader election. A candidate takes the Lease when nobody holds it, or when it has not
changed for its duration, judged by the candidate's own monotonic clock; the times in the Lease are for people. Every
write carries the resource version that it was decided on. A call that breaks, hangs or is refused is a renewal that did
not happen.

Whether the Lease is *held* is judged from the moment at which the last successful renewal was sent, and by the holder's
name: a process that was frozen, or whose Lease somebody else has taken, learns of it before its next write
(`LeaderLease.held` guards every write). The identity is one of this process alone, so that a pod made anew under the
same name is another candidate. At a clean exit the Lease is given back, so that a standby takes over at once.

Why not the official client's election: its ``LeaseLock.create`` fails on a wrong argument (37.0.2), and an error of the
connection ends it.
"""

import asyncio
import secrets
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog

from spark_allocation.kube.api_client import JSON, MERGE_PATCH, ApiUnavailable, KubernetesApi

LEASE_SECONDS = 15
RENEW_DEADLINE_SECONDS = 10
RETRY_SECONDS = 2.0
CALL_SECONDS = 4.0
"""A call that takes longer has failed; two of them fit into the deadline."""

log = structlog.get_logger("leader_lease")


class LeaseLost(Exception):  # noqa: N818
    """Another process may lead from now on; this one must end without touching anything more."""


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
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace)}/leases"
        self._path = f"{self._leases}/{quote(name)}"
        self._identity = f"{identity}_{secrets.token_hex(4)}"
        self._observed: dict[str, Any] | None = None
        self._observed_at = 0.0
        self._renewed_at = 0.0
        self._other_holder = ""
        self.leading = asyncio.Event()
        self.readable = False
        """The Lease could be read at the last try; a standby that cannot is not ready."""
        self.refused = ""
        """The API server's words when it refused the last write; such a process can never lead."""

    @property
    def held(self) -> bool:
        """Nobody else can lead at this moment: the Lease was renewed lately, and by nobody else since."""
        age = time.monotonic() - self._renewed_at
        return self.leading.is_set() and not self._other_holder and age < RENEW_DEADLINE_SECONDS

    async def hold(self) -> None:
        """Wait for the Lease, then renew it until it is lost or this task is cancelled.

        Raises:
            LeaseLost: another process has it, or it could not be renewed in time.
        """
        try:
            while True:
                renewed = await self._take_or_renew()
                if renewed and not self.leading.is_set():
                    self.leading.set()
                    log.info("lease_taken", lease=self._name, identity=self._identity)
                if self.leading.is_set() and not self.held:
                    break
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            if self.held:
                await self._give_back()
            self.leading.clear()
        why = (
            f"{self._other_holder} holds it"
            if self._other_holder
            else f"not renewed for {RENEW_DEADLINE_SECONDS} s"
        )
        raise LeaseLost(f"the Lease {self._namespace}/{self._name} is lost: {why}")

    async def _take_or_renew(self) -> bool:
        try:
            lease = await self._read()
            if lease is None:
                return await self._create()
            spec = lease.get("spec") or {}
            if spec != self._observed:
                self._observed, self._observed_at = spec, time.monotonic()
            holder = spec.get("holderIdentity") or ""
            self._other_holder = holder if holder != self._identity else ""
            duration = spec.get("leaseDurationSeconds") or LEASE_SECONDS
            if self._other_holder and time.monotonic() < self._observed_at + duration:
                return False
            return await self._renew(lease["metadata"]["resourceVersion"], spec)
        except ApiUnavailable as error:
            log.warning("lease_unavailable", lease=self._name, error=str(error))
            return False

    async def _read(self) -> dict[str, Any] | None:
        self.readable = False
        answer = await self._api.request(
            "GET", self._path, timeout_seconds=CALL_SECONDS, guarded=False
        )
        found = answer.found(self._path)
        self.readable = True
        return found

    async def _create(self) -> bool:
        self._other_holder = ""
        now = _timestamp()
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name},
            "spec": {**self._claim(now), "acquireTime": now, "leaseTransitions": 0},
        }
        return await self._write("POST", self._leases, body, JSON)

    async def _renew(self, version: str, spec: dict[str, Any]) -> bool:
        now = _timestamp()
        claim = self._claim(now)
        if spec.get("holderIdentity") != self._identity:
            transitions = (spec.get("leaseTransitions") or 0) + 1
            claim |= {"acquireTime": now, "leaseTransitions": transitions}
        body = {"metadata": {"resourceVersion": version}, "spec": claim}
        return await self._write("PATCH", self._path, body, MERGE_PATCH)

    async def _write(self, method: str, path: str, body: dict[str, Any], content_type: str) -> bool:
        sent_at = time.monotonic()
        answer = await self._api.request(
            method,
            path,
            body=body,
            content_type=content_type,
            timeout_seconds=CALL_SECONDS,
            guarded=False,
        )
        if answer.ok:
            self._renewed_at, self._other_holder, self.refused = sent_at, "", ""
        elif answer.status != HTTPStatus.CONFLICT:
            if answer.message != self.refused:
                log.warning("lease_not_written", lease=self._name, message=answer.message)
            self.refused = answer.message
        return answer.ok

    def _claim(self, now: str) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now,
        }

    async def _give_back(self) -> None:
        try:
            lease = await self._read()
            if lease is None or lease["spec"].get("holderIdentity") != self._identity:
                return
            body = {
                "metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]},
                "spec": {"holderIdentity": None, "leaseDurationSeconds": 1},
            }
            await self._write("PATCH", self._path, body, MERGE_PATCH)
        except ApiUnavailable as error:
            log.warning("lease_not_given_back", error=str(error))


def _timestamp() -> str:
    """A Kubernetes MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
