"""The API server over the official client's session: raw requests, dicts out, bytes in.

The generated models of the client cost five times the CPU of a raw call and 75 KiB a pod, so this module uses the
official client for what is hard (kubeconfig, in-cluster credentials and their refresh, TLS) and leaves the body of
requests and answers to the caller.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import kubernetes.aio.client
import kubernetes.aio.client.rest
import kubernetes.aio.config
import msgspec
import structlog
import yaml

from spark_allocation.kube.bounded_responses import bounded
from spark_allocation.kube.managed_fields import without_managed_fields

REQUEST_TIMEOUT_SECONDS = 30.0
WATCH_SECONDS = 300
"""How long one watch request lasts; the server ends it and we ask again."""
WATCH_SILENCE_SECONDS = 90.0
"""A watch that says nothing, not even a bookmark (one a minute), for so long is dead."""
FIRST_PATIENCE_SECONDS = 0.5
LONGEST_PATIENCE_SECONDS = 30.0
"""Before a watch is asked for again that the server had no room for (429); doubles from the first, and never less than
the server asks for."""

MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"
ONLY_METADATA = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}"
"""To be answered with: who writes an object knows the rest of it. A server that cannot do so answers with the object."""

log = structlog.get_logger("api_client")


class ApiUnavailable(Exception):  # noqa: N818  (reads as what it is)
    """The API server could not be reached, did not answer in time, or failed. Whether it acted is unknown."""


class NoCredentials(ValueError):  # noqa: N818  (reads as what it is)
    """There is no way to authenticate at an API server; the message says what is missing."""


class _Named(msgspec.Struct, gc=False):
    uid: str = ""


class _Object(msgspec.Struct, gc=False):
    metadata: _Named


_decode_object = msgspec.json.Decoder(_Object).decode


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """What the API server answered."""

    status: int
    body: bytes
    retry_after_seconds: float | None = None
    date: str = ""
    """By the server's clock, as HTTP writes it."""

    @property
    def ok(self) -> bool:
        """The request was carried out."""
        return self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def server_time(self) -> float | None:
        """Epoch seconds by the server's clock, in whole seconds."""
        try:
            return parsedate_to_datetime(self.date).timestamp()
        except ValueError:
            return None

    def json(self) -> dict[str, Any]:
        """The body as an object, without ``managedFields``; ``{}`` when it is not one."""
        try:
            document = json.loads(without_managed_fields(bounded(self.body)))
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def uid(self) -> str:
        """Of the object in the body; "" when there is none. All else is skipped, which costs a tenth of reading it."""
        try:
            return _decode_object(self.body).metadata.uid
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""

    @property
    def is_transient(self) -> bool:
        """The server is busy or broken: the same request may fare better later, and may even have been carried out."""
        return (
            self.status == HTTPStatus.TOO_MANY_REQUESTS
            or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )

    def found(self, what: str) -> dict[str, Any] | None:
        """The object that was asked for, or None when there is none.

        Raises:
            ApiUnavailable: any other answer: whether there is such an object is unknown.
        """
        if self.ok:
            return self.json()
        if self.status == HTTPStatus.NOT_FOUND:
            return None
        raise ApiUnavailable(f"{what}: {self.status} {self.message}")

    @property
    def reason(self) -> str:
        """The ``reason`` of a Status object, such as AlreadyExists."""
        return str(self.json().get("reason") or "")

    @property
    def message(self) -> str:
        """The server's own words."""
        return str(self.json().get("message") or self.body[:300].decode(errors="replace"))


@dataclass(frozen=True, slots=True)
class ApiCredentials:
    """Where the API server is and how to authenticate there."""

    server: str
    ca_path: str | None
    insecure: bool
    certificate_path: str | None
    private_key_path: str | None
    token: str | None


RequestObserver = Callable[[str, int | None, float], None]


def _unobserved(_method: str, _status: int | None, _seconds: float) -> None:
    """Nobody wants to know."""


class _Session(kubernetes.aio.client.rest.RESTClientObject):
    """A session as the official client opens it, which sends a body as it is given.

    The official client's own way to send (`RESTClientObject.request`) takes a document and encodes it in Python.
    """

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """One request; its answer has yet to be read."""
        if self.pool_manager is None:
            self.pool_manager = self._create_pool_manager()
        about: dict[str, Any] = {}
        if self.configuration.tls_server_name:
            about["server_hostname"] = self.configuration.tls_server_name
        if self.proxy:
            about |= {"proxy": self.proxy, "proxy_headers": self.proxy_headers}
        return await self.pool_manager.request(
            method, url, data=body, headers=headers, timeout=limits, **about
        )


class KubernetesApi:
    """One API server. Close it when done; safe for many concurrent calls on one event loop."""

    def __init__(self, client: kubernetes.aio.client.ApiClient) -> None:
        self._client = client
        self._session = _Session(client.configuration)
        self._apart = _Session(client.configuration)
        """For what must not wait until somebody else has been answered: the Lease, and watches, which end after minutes."""
        self._apart.maxsize = 0  # connections without a limit
        self._apart.ssl_context = self._session.ssl_context
        self._may_write: Callable[[], bool] = lambda: True
        self._observe: RequestObserver = _unobserved
        self._host = client.configuration.host.rstrip("/")

    def guard_writes(self, may_write: Callable[[], bool]) -> None:
        """Ask before each request that changes something; a request that may not be made counts as unanswered."""
        self._may_write = may_write

    def observe_requests(self, observe: "RequestObserver") -> None:
        """Tell of each request: its method, the status of its answer (None without one), and the seconds it took."""
        self._observe = observe

    async def credentials(self) -> "ApiCredentials":
        """How this connection authenticates now, for a second client of the same server."""
        configuration = self._client.configuration
        token = await configuration.get_api_key_with_prefix("BearerToken") or ""
        scheme, _, value = token.partition(" ")
        return ApiCredentials(
            server=self._host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            token=(value or scheme) or None,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self._apart.close()
        await self._client.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        guarded: bool = True,
    ) -> ApiAnswer:
        """One request and its whole answer.

        Args:
            method: GET and so on.
            path: below the server's address.
            query: parameters.
            body: a document, sent as JSON.
            content_type: of the body.
            accept: what to be answered with, such as `ONLY_METADATA`.
            timeout_seconds: for the whole of it.
            guarded: ask the guard before a write, and wait for a connection when all are in use; False for the Lease alone.

        Raises:
            ApiUnavailable: no answer; a write may or may not have happened.
        """
        if guarded and method != "GET" and not self._may_write():
            raise ApiUnavailable(f"{method} {path}: this process does not lead any more")
        began = time.monotonic()
        session = self._session if guarded else self._apart
        try:
            response = await session.send(
                method,
                self._url(path, query),
                await self._headers(content_type, accept),
                None if body is None else msgspec.json.encode(body),
                aiohttp.ClientTimeout(total=timeout_seconds),
            )
            data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._observe(method, None, time.monotonic() - began)
            raise ApiUnavailable(f"{method} {path}: {type(error).__name__}: {error}") from error
        self._observe(method, response.status, time.monotonic() - began)
        return ApiAnswer(
            status=response.status,
            body=data,
            retry_after_seconds=_retry_after(response.headers),
            date=response.headers.get("Date", ""),
        )

    async def stream(self, path: str, *, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """The lines of a watch, until the server ends it.

        A server that has too much to do (429) is asked again, later, for the same: who lists everything anew because of
        it, as after any other refusal, makes matters worse.

        Yields:
            One JSON event a line. An answer other than 200 yields one ERROR event made of its Status.

        Raises:
            ApiUnavailable: the connection broke, or stayed silent for `WATCH_SILENCE_SECONDS`.
        """
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_TIMEOUT_SECONDS, sock_read=WATCH_SILENCE_SECONDS
        )
        try:
            response = await self._watch_response(path, query, timeout)
            try:
                if response.status != HTTPStatus.OK:
                    status = await response.read()
                    yield b'{"type":"ERROR","object":' + (status or b"{}") + b"}"
                    return
                pending = b""
                async for chunk in response.content.iter_any():
                    pending += chunk
                    *lines, pending = pending.split(b"\n")
                    for line in lines:
                        if line:
                            yield line
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"watch {path}: {type(error).__name__}: {error}") from error

    async def _watch_response(
        self, path: str, query: Mapping[str, str], limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """The answer to a watch, which has yet to be read; not 429."""
        patience = FIRST_PATIENCE_SECONDS
        while True:
            headers = await self._headers(JSON, JSON)
            response = await self._apart.send("GET", self._url(path, query), headers, None, limits)
            if response.status != HTTPStatus.TOO_MANY_REQUESTS:
                return response
            asked_for = _retry_after(response.headers) or 0.0
            response.close()
            # all clients that were turned away were told the same: none comes sooner, and not all come at once
            spread = random.uniform(1.0, 1.5)  # noqa: S311
            pause = min(LONGEST_PATIENCE_SECONDS, max(patience, asked_for)) * spread
            log.warning("watch_throttled", path=path, retry_in_seconds=round(pause, 1))
            await asyncio.sleep(pause)
            patience = min(LONGEST_PATIENCE_SECONDS, 2 * patience)

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        return f"{self._host}{path}?{urlencode(query)}" if query else f"{self._host}{path}"

    async def _headers(self, content_type: str, accept: str) -> dict[str, str]:
        headers = {
            "Content-Type": content_type,
            "Accept": accept,
            "User-Agent": "spark-allocation-operator",
        }
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        return headers


async def open_kubernetes_api(
    *, kubeconfig: Path | None = None, context: str | None = None, connections: int = 64
) -> KubernetesApi:
    """Connect as in-cluster when no kubeconfig is named, else by that file and context.

    Raises:
        NoCredentials: they are missing or cannot be read.
    """
    configuration = kubernetes.aio.client.Configuration()
    try:
        if kubeconfig is None:
            kubernetes.aio.config.load_incluster_config(client_configuration=configuration)
        else:
            await kubernetes.aio.config.load_kube_config(
                config_file=str(kubeconfig), context=context, client_configuration=configuration
            )
    except (kubernetes.aio.config.ConfigException, OSError, ValueError, yaml.YAMLError) as error:
        where = "in the pod" if kubeconfig is None else f"in {kubeconfig}"
        raise NoCredentials(f"no usable Kubernetes credentials {where}: {error}") from error
    except (TypeError, KeyError, AttributeError) as error:
        # the client library stumbles over files that are YAML and no kubeconfig
        raise NoCredentials(f"{kubeconfig} is no kubeconfig: {error!r}") from error
    return kubernetes_api(configuration, connections=connections)


def kubernetes_api(
    configuration: kubernetes.aio.client.Configuration, *, connections: int = 64
) -> KubernetesApi:
    """The API server that is configured there.

    Args:
        connections: for requests at once, at most; watches and the Lease have their own.
    """
    configuration.connection_pool_maxsize = connections
    # looking up proxies in the environment for each request triples its cost; a cluster's own address needs none
    configuration.client_session_kwargs = {"trust_env": configuration.proxy is not None}
    return KubernetesApi(kubernetes.aio.client.ApiClient(configuration))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After")
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
