"""kopf's corner: our own kind is watched, one daemon a SparkAllocation, nothing remembered in annotations.

kopf watches SparkAllocations only; executor pods have their own watch (docs/designs/0001-own-pods-watch.md). With one
``on.event`` handler, one ``daemon`` and storages that store nothing, kopf writes nothing but the finalizer.

The daemon is the lifetime of an allocation: started when the object appears and when the operator starts, stopped
when the object is deleted *or* the operator exits. Only the first may ever touch a pod. For an object that was deleted
while no operator ran there is no daemon; what its policy says is done when it is seen, before its finalizer goes.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import aiohttp
import kopf

from spark_allocation.api.group import GROUP, PLURAL, finalizer_of
from spark_allocation.controller.other_installs import managed_by
from spark_allocation.controller.runners import Runners
from spark_allocation.kube.api_client import KubernetesApi
from spark_allocation.kube.bounded_responses import BoundedResponse

RELEASE_SECONDS = 10.0
"""How long a deleted SparkAllocation may take to let its executors go before its finalizer goes all the same."""


class _NothingRemembered(kopf.DiffBaseStorage):
    """No copy of the last spec: handlers are level-based."""

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """No handler progress: daemons start anew with the process."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


class _PatientBackoffs:
    """Pauses between the tries of a request, in seconds, without an end: an API server that is away comes back."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1.0, 2.0)
        while True:
            yield 5.0


_IDENTITY: Any = "spark-allocation-operator"


class Memo:
    """What handlers share; kopf copies memos for each object, and this one is the same everywhere."""

    def __init__(self, runners: Runners) -> None:
        self.runners = runners

    def __copy__(self) -> "Memo":
        return self


class _Sessions:
    """kopf's connections in one run: the same for the same credentials, as kopf tells by that which were refused."""

    def __init__(self) -> None:
        self._open: dict[kopf.ConnectionInfo, kopf.AiohttpSession] = {}

    def of(self, connection: kopf.ConnectionInfo) -> kopf.AiohttpSession:
        """One that reads what is nested too deep as `kube.bounded_responses` does."""
        if connection not in self._open:
            self._open[connection] = kopf.AiohttpSession(
                server=connection.server,
                aiohttp_session=aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0, ssl=connection.as_ssl_context()),
                    headers=connection.as_http_headers(),
                    response_class=BoundedResponse,
                ),
            )
        return self._open[connection]

    async def close(self) -> None:
        for each in self._open.values():
            await each.aiohttp_session.close()


def make_registry(
    api: KubernetesApi, installation: str, sessions: _Sessions
) -> kopf.OperatorRegistry:
    """The handlers, in a registry of their own.

    Args:
        installation: whose objects are served; "" for the one without a name. Its finalizer has that name too: two
            installations that filter their daemons would else take each other's finalizer away.
    """
    registry = kopf.OperatorRegistry()

    def is_ours(body: kopf.Body, **_: Any) -> bool:
        return managed_by(body) == installation

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.persistence.finalizer = finalizer_of(installation)
        settings.persistence.diffbase_storage = _NothingRemembered()
        settings.persistence.progress_storage = _NoProgress()
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.watching.chunk_size = 500
        settings.networking.request_timeout = 30
        settings.networking.enforce_retry_after = True
        settings.execution.default_backoff = 5
        settings.networking.error_backoffs = _PatientBackoffs()
        # kopf would kill the process a while after *it* has ended, also when it is begun anew (controller.kopf_keeper)
        settings.process.ultimate_exiting_timeout = None
        # kopf looks again at a daemon that has not ended "instantly" only after a touch of the object, which our
        # storage does not write: without this pause a drain that takes a request or two would keep the finalizer
        settings.background.instant_exit_timeout = RELEASE_SECONDS

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        credentials = await api.credentials()
        connection = kopf.ConnectionInfo(
            server=credentials.server,
            ca_path=credentials.ca_path,
            insecure=credentials.insecure,
            certificate_path=credentials.certificate_path,
            private_key_path=credentials.private_key_path,
            token=credentials.token,
            scheme="Bearer" if credentials.token else None,
        )
        return sessions.of(connection)

    @kopf.on.event(GROUP, PLURAL, registry=registry)
    async def allocation_seen(
        event: Mapping[str, Any], uid: str, body: kopf.Body, memo: Memo, **_: Any
    ) -> None:
        deleted = event.get("type") == "DELETED"
        if not is_ours(body):
            memo.runners.seen_of_others(uid, dict(body), deleted=deleted)
            return
        memo.runners.seen(uid, dict(body), deleted=deleted)
        if not deleted and "deletionTimestamp" in body["metadata"]:
            # awaited: kopf takes the finalizer away in the same turn, after this handler
            await memo.runners.let_go_unserved(uid, dict(body))

    @kopf.daemon(
        GROUP,
        PLURAL,
        registry=registry,
        when=is_ours,
        backoff=5.0,
        # a runner ends by itself within its own bounds (allocation_runner.STOP_PATIENCE_SECONDS, leaving.LET_GO_SECONDS)
        cancellation_backoff=11.0,
        cancellation_timeout=5.0,
    )
    async def run_allocation(
        uid: str, body: kopf.Body, stopped: kopf.DaemonStopped, memo: Memo, **_: Any
    ) -> None:
        await memo.runners.run(uid, dict(body), _Stopper(stopped))

    return registry


class _Stopper:
    """Whether and why a daemon has to stop, without kopf's types."""

    def __init__(self, stopped: kopf.DaemonStopped) -> None:
        self._stopped = stopped

    def __bool__(self) -> bool:
        return bool(self._stopped)

    async def wait(self) -> None:
        """Return once the daemon has to stop."""
        await self._stopped.wait()

    @property
    def object_deleted(self) -> bool:
        """The SparkAllocation itself is being deleted; anything else must leave every pod alone."""
        reason = self._stopped.reason
        return (
            reason is not None
            and kopf.DaemonStoppingReason.RESOURCE_DELETED in reason
            and kopf.DaemonStoppingReason.OPERATOR_EXITING not in reason
            and kopf.DaemonStoppingReason.OPERATOR_PAUSING not in reason
        )


async def run_kopf(
    api: KubernetesApi,
    runners: Runners,
    namespaces: Collection[str],
    stop: asyncio.Event,
    *,
    installation: str = "",
) -> None:
    """Run kopf until a signal or ``stop`` ends it.

    Args:
        installation: whose objects are served.

    Raises:
        Exception: kopf gave up; its errors have no common base.
    """
    sessions = _Sessions()
    try:
        await kopf.operator(
            registry=make_registry(api, installation, sessions),
            memo=Memo(runners),
            standalone=True,
            # kopf would look the user up, and an arbitrary uid has no entry in /etc/passwd
            identity=_IDENTITY,
            stop_flag=stop,
            clusterwide=not namespaces,
            namespaces=list(namespaces),
        )
    finally:
        await sessions.close()
