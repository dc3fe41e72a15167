"""One driver's REST API and gauges, read into core values.

The driver is an unmodified Spark: ``/api/v1`` and ``/metrics/json/`` on its UI port. What it answers is a tenant's
input: sizes and times are bounded, nothing is unpacked, redirects are not followed, and an answer that is not what
Spark would say becomes an `Unreachable` with a reason and a remedy instead of an exception.
"""

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from spark_allocation.api.conditions import Reason
from spark_allocation.core.driver_report import (
    Application,
    DriverReport,
    Environment,
    ExecutorReport,
    StageReport,
)
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.resource_profiles import (
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
    TaskResourceRequest,
)
from spark_allocation.core.streaming_report import StreamingReport
from spark_allocation.sources.driver_access import PLAIN, DriverAccess, NoAccess
from spark_allocation.sources.streaming_gauges import STREAMS, Job, read_streaming, streaming_job
from spark_allocation.sources.wire import whole_number

REQUEST_TIMEOUT_SECONDS = 4.0
CONNECT_TIMEOUT_SECONDS = 2.0
LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""Some twelve thousand executors."""
LARGEST_ENVIRONMENT_BYTES = 8 * 1024 * 1024
LARGEST_APPLICATIONS_BYTES = 1024 * 1024
MOST_ITEMS = 20_000
"""Of a list; more are no driver but an attack, and cost seconds to look at."""
SHARE_OF_READING = 0.05
"""Most of the operator's time that goes into reading one driver's answers; who answers at greater length is asked less often."""
LONGEST_TEXT = 253
"""Of what is named after an answer, such as an application id."""
LONGEST_REASON = 1024
LONGEST_QUOTE = 200
"""Of a stranger's words in a message."""
DEFAULT_UI_PORT = 4040
TLS_PORT_OFFSET = 400
LARGEST_PORT = 65_535
UI_PORT_RETRIES = 3
MOST_ACTIVE_STAGES = 10_000
"""More are no workload but an attack."""
MAX_NEEDED_GAUGE = ".driver.ExecutorAllocationManager.executors.numberMaxNeededExecutors"
EVENTS_BEHIND_GAUGE = ".driver.LiveListenerBus.queue.appStatus.size"
"""Of the queue through which the driver tells its REST API of tasks (``AsyncEventQueue``)."""

T = TypeVar("T")

_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{1,6})GMT")
LONGEST_MOMENT = 29
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Int = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_Id = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Long = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The driver gave no usable answer: why, and what to do about it."""

    reason: Reason
    message: str


class _NoAnswer(Exception):  # noqa: N818
    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.unreachable = Unreachable(reason, message)


class _Attempt(msgspec.Struct, rename="camel", gc=False):
    start_time_epoch: _Long = 0
    completed: bool = False
    spark_user: str = ""
    app_spark_version: str = ""


class _Application(msgspec.Struct, gc=False):
    id: str
    name: str = ""
    attempts: list[_Attempt] = msgspec.field(default_factory=list)


class _Stage(msgspec.Struct, rename="camel", gc=False):
    stage_id: _Int
    attempt_id: _Int
    num_tasks: int = 0
    num_completed_indices: int = 0
    num_active_tasks: int = 0
    shuffle_write_bytes: int = 0
    resource_profile_id: _Id = 0
    submission_time: str | None = None


class _Executor(msgspec.Struct, rename="camel", gc=False):
    id: str
    is_active: bool = True
    active_tasks: int = 0
    max_tasks: int = 0
    total_tasks: int = 0
    failed_tasks: int = 0
    rdd_blocks: int = 0
    memory_used: int = 0
    disk_used: int = 0
    total_shuffle_write: int = 0
    resource_profile_id: _Id = 0
    add_time: str | None = None
    remove_reason: str | None = None


class _ResourceAmount(msgspec.Struct, rename="camel", gc=False):
    resource_name: str
    amount: float = 0
    discovery_script: str | None = None
    vendor: str | None = None


class _Profile(msgspec.Struct, rename="camel", gc=False):
    id: _Id
    executor_resources: dict[str, _ResourceAmount] = msgspec.field(default_factory=dict)
    task_resources: dict[str, _ResourceAmount] = msgspec.field(default_factory=dict)


class _Environment(msgspec.Struct, rename="camel", gc=False):
    spark_properties: list[tuple[str, str]]
    resource_profiles: list[_Profile] = msgspec.field(default_factory=list)


class _Gauge(msgspec.Struct, gc=False):
    value: Any = None


class _Metrics(msgspec.Struct, gc=False):
    gauges: dict[str, _Gauge] = msgspec.field(default_factory=dict)


@contextlib.asynccontextmanager
async def open_driver_session() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections to drivers: no proxy of the environment, no cookies, and nothing that comes packed is unpacked."""
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=8, ttl_dns_cache=30)
    async with aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "spark-allocation-operator",
        },
    ) as session:
        yield session


REQUESTS_OF_A_POLL = 4
"""Stages, executors, jobs, gauges."""


class DriverRest:
    """The REST API of one driver. Make one with `find_driver`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        host: str,
        port: int,
        application_id: str,
        access: DriverAccess = PLAIN,
    ) -> None:
        self._session = session
        self._access = access
        self._read_seconds = 0.0
        self.rest_seconds = 0.0
        """How long not to ask after the last poll, for the time that it took to read."""
        self._base = f"{access.scheme}://{_bracketed(host)}:{port}"
        self._application = f"/api/v1/applications/{quote(application_id, safe='')}"
        self._urls: dict[str, str | URL] = {}
        """Of what has been asked for, taken apart once."""
        self.port = port

    async def application(self) -> Application | Unreachable:
        """The application again, to see whether it has completed or restarted."""
        found = await _applications(self._session, self._base, self._access)
        return found if isinstance(found, Unreachable) else found[0]

    async def environment(self) -> Environment | Unreachable:
        """Configuration and resource profiles; fetched once and when an unknown profile shows up."""
        try:
            return _environment(
                await self._get(
                    f"{self._application}/environment", _Environment, LARGEST_ENVIRONMENT_BYTES
                )
            )
        except _NoAnswer as error:
            return error.unreachable

    async def running_jobs(self) -> tuple[int, ...] | Unreachable:
        """Ids of the running jobs alone: the cheapest question whether there is anything to do."""
        self._read_seconds = 0.0
        try:
            jobs = await self._get(f"{self._application}/jobs?status=running", list[Job])
        except _NoAnswer as error:
            return error.unreachable
        finally:
            self.rest_seconds = self._read_seconds / SHARE_OF_READING
        return tuple(job.job_id for job in jobs)

    async def poll(self, *, with_dead_executors: bool) -> DriverReport | Unreachable:
        """Stages, executors, jobs and gauges, read at once."""
        self._read_seconds = 0.0
        try:
            return await self._poll(with_dead_executors=with_dead_executors)
        finally:
            self.rest_seconds = self._read_seconds / SHARE_OF_READING

    async def _poll(self, *, with_dead_executors: bool) -> DriverReport | Unreachable:
        executors_path = "allexecutors" if with_dead_executors else "executors"
        try:
            stages, executors, jobs, metrics = await asyncio.gather(
                self._get(f"{self._application}/stages?status=active", list[_Stage]),
                self._get(f"{self._application}/{executors_path}", list[_Executor]),
                self._get(f"{self._application}/jobs?status=running", list[Job]),
                self._get("/metrics/json/", _Metrics),
            )
        except _NoAnswer as error:
            return error.unreachable
        reports = [
            _executor_report(executor, ExecutorId(number))
            for executor in executors
            if (number := whole_number(executor.id)) is not None
        ]
        return DriverReport(
            stages=tuple(_stage_report(stage) for stage in stages[:MOST_ACTIVE_STAGES]),
            executors=tuple(report for report in reports if report.active),
            running_jobs=tuple(job.job_id for job in jobs),
            streaming=_streaming(metrics, jobs),
            max_needed_executors=_whole_gauge(metrics, MAX_NEEDED_GAUGE),
            events_behind=_whole_gauge(metrics, EVENTS_BEHIND_GAUGE) or 0,
            dead_executors=tuple(report for report in reports if not report.active)
            if with_dead_executors
            else None,
        )

    async def _get(self, path: str, kind: type[T], largest: int | None = None) -> T:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = _taken_apart(self._base + path)
        body = await _fetch(
            self._session,
            url,
            self._access,
            min(largest or LARGEST_ANSWER_BYTES, LARGEST_ANSWER_BYTES),
        )
        began = time.thread_time()
        try:
            return _decoded(url, body, kind)
        finally:
            self._read_seconds += time.thread_time() - began


async def find_driver(
    session: aiohttp.ClientSession,
    host: str,
    ports: Sequence[int],
    application_id: str,
    access: DriverAccess = PLAIN,
) -> tuple[DriverRest, Application] | Unreachable:
    """The driver's REST API on the first of these ports that serves the application.

    Args:
        application_id: the id that the driver pod's label promises, or "" when it has none: then any.
        access: what the requests are sent with.
    """
    first: Unreachable | None = None
    for port in ports:
        found = await _applications(session, f"{access.scheme}://{_bracketed(host)}:{port}", access)
        if isinstance(found, Unreachable):
            first = first or found
            continue
        for application in found:
            if application_id in ("", application.id):
                return DriverRest(session, host, port, application.id, access), application
        first = Unreachable(
            Reason.NOT_A_SPARK_UI,
            f"port {port} of {host} serves application {found[0].id}, not {application_id}; "
            "set spec.driver.uiPort to the port of this driver's UI",
        )
    assert first is not None, "at least one port is tried"
    return first


def ui_ports(declared: int | None, wanted: int | None, *, tls: bool = False) -> tuple[int, ...]:
    """The ports to try: the one that the user names, the one that the pod declares, or Spark's 4040 and its retries.

    With TLS a driver declares the port that redirects, and serves 400 above it (``JettyUtils.startJettyServer``).
    """
    if wanted:
        return (wanted,)
    first = declared if declared is not None and 0 < declared <= LARGEST_PORT else DEFAULT_UI_PORT
    ports = tuple(range(first, min(first + UI_PORT_RETRIES, LARGEST_PORT) + 1))
    return (*map(_tls_port, ports), first) if tls else ports


def _tls_port(port: int) -> int:
    """``Utils.userPort(port, 400)``."""
    return (port + TLS_PORT_OFFSET - 1024) % (65536 - 1024) + 1024


async def _applications(
    session: aiohttp.ClientSession, base: str, access: DriverAccess
) -> list[Application] | Unreachable:
    try:
        url = f"{base}/api/v1/applications"
        body = await _fetch(session, url, access, LARGEST_APPLICATIONS_BYTES)
        answer = _decoded(url, body, list[_Application])
    except _NoAnswer as error:
        return error.unreachable
    if not answer or not answer[0].attempts:
        return Unreachable(Reason.BAD_ANSWER, f"{base} lists no application")
    absurd = next((item for item in answer if not _is_named(item.id)), None)
    if absurd is not None:
        return Unreachable(
            Reason.BAD_ANSWER, f"{base} names an application {absurd.id[:40]!r}, which is no id"
        )
    return [
        Application(
            id=item.id,
            name=item.name[:LONGEST_TEXT],
            started_at_ms=item.attempts[0].start_time_epoch,
            completed=item.attempts[0].completed,
            spark_version=item.attempts[0].app_spark_version[:LONGEST_TEXT],
            spark_user=item.attempts[0].spark_user[:LONGEST_TEXT],
        )
        for item in answer
        if item.attempts
    ]


async def _fetch(
    session: aiohttp.ClientSession, url: str | URL, access: DriverAccess, largest: int
) -> bytearray:
    timeout = aiohttp.ClientTimeout(
        total=REQUEST_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS
    )
    try:
        async with session.get(
            url, timeout=timeout, allow_redirects=False, **access.options()
        ) as response:
            _check_status(url, response)
            _check_encoding(url, response)
            body = bytearray()
            while len(body) <= largest:
                more = await response.content.read(largest + 1 - len(body))
                if not more:
                    break
                body += more
    except NoAccess as error:
        raise _NoAnswer(Reason.NO_ACCESS, str(error)) from error
    except TimeoutError as error:
        raise _NoAnswer(
            Reason.CONNECTION_TIMED_OUT,
            f"{url} did not answer within {REQUEST_TIMEOUT_SECONDS:.0f} s: the driver is busy (a long garbage "
            "collection), or a NetworkPolicy keeps the operator from its UI port",
        ) from error
    except aiohttp.ClientSSLError as error:
        raise _NoAnswer(
            Reason.NOT_TRUSTED,
            f"{url}: no TLS with the driver ({_tls_fault(error)}): the access that spec.driver.access names holds the "
            "authority (ca.crt) and the name (server-name) that the driver's certificate has to show",
        ) from error
    except aiohttp.ClientConnectorError as error:
        raise _NoAnswer(
            Reason.CONNECTION_REFUSED,
            f"{url} refused the connection: the driver is still starting, spark.ui.enabled is false, or its UI is on "
            "another port (set spec.driver.uiPort)",
        ) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _NoAnswer(
            Reason.CONNECTION_RESET,
            f"{url} broke off ({type(error).__name__}): if a service mesh demands mutual TLS, exclude the driver's UI "
            "port from it",
        ) from error
    if len(body) > largest:
        raise _NoAnswer(Reason.BAD_ANSWER, f"{url} answered more than {largest >> 20} MiB")
    return body


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Of one of a few kinds: what a kind looks like is worked out once."""
    return msgspec.json.Decoder(kind)


def _decoded(url: str | URL, body: bytearray, kind: type[T]) -> T:
    try:
        wanted: Any = kind  # mypy takes no class for hashable
        answer: T = _decoder(wanted).decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        words = str(error)[:LONGEST_QUOTE]
        raise _NoAnswer(
            Reason.BAD_ANSWER, f"{url} answered something that is not Spark's JSON: {words}"
        ) from error
    if isinstance(answer, list) and len(answer) > MOST_ITEMS:
        raise _NoAnswer(
            Reason.BAD_ANSWER, f"{url} answered a list of {len(answer)}, which no driver has"
        )
    return answer


def _check_encoding(url: str | URL, response: aiohttp.ClientResponse) -> None:
    """What is packed a thousandfold is not unpacked: nothing but plain text was asked for."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise _NoAnswer(
            Reason.BAD_ANSWER,
            f"{url} answers packed ({encoding[:40]!r}) though it was asked not to: something in between packs it",
        )


def _tls_fault(error: aiohttp.ClientSSLError) -> str:
    inner = (
        error.certificate_error
        if isinstance(error, aiohttp.ClientConnectorCertificateError)
        else error.os_error
    )
    reason = (
        getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or type(inner).__name__
    )
    return str(reason)[:LONGEST_QUOTE]


def _check_status(url: str | URL, response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status == HTTPStatus.OK:
        return
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise _NoAnswer(
            Reason.REDIRECTED,
            f"{url} redirects to {response.headers.get('Location', 'elsewhere')[:LONGEST_QUOTE]}: the UI is behind "
            "TLS (spark.ssl.ui.enabled) or a login; name an access to it in spec.driver.access, or serve it in plain "
            "HTTP inside the cluster",
        )
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise _NoAnswer(
            Reason.UNAUTHORIZED,
            f"{url} answers {status}: spark.ui.filters or spark.acls.enable keep the operator out; let its requests "
            "through, add spark.ui.view.acls for it, or name an access with a token or password in spec.driver.access",
        )
    if status == HTTPStatus.NOT_FOUND:
        raise _NoAnswer(
            Reason.NOT_A_SPARK_UI,
            f"{url} answers 404: no Spark UI on this port, or a proxy in between; set spec.driver.uiPort",
        )
    raise _NoAnswer(
        Reason.BAD_ANSWER,
        f"{url} answers {status} {(response.reason or '')[:LONGEST_QUOTE]}".rstrip(),
    )


def _stage_report(stage: _Stage) -> StageReport:
    return StageReport(
        stage_id=stage.stage_id,
        attempt_id=stage.attempt_id,
        profile_id=ProfileId(stage.resource_profile_id),
        num_tasks=_count(stage.num_tasks),
        completed_indices=_count(stage.num_completed_indices),
        active_tasks=_count(stage.num_active_tasks),
        submitted_at_ms=_epoch_ms(stage.submission_time),
        shuffle_write_bytes=_bytes(stage.shuffle_write_bytes),
    )


def _is_named(application_id: str) -> bool:
    """An id can be a part of a URL, a label and a status."""
    return 0 < len(application_id) <= LONGEST_TEXT and application_id.isprintable()


def _bytes(number: int) -> int:
    """A size of Spark's: a Long, not below zero."""
    return max(0, min(number, 2**63 - 1))


def _count(number: int) -> int:
    """A count of Spark's: an Int, not below zero."""
    return max(0, min(number, 2**31 - 1))


def _executor_report(executor: _Executor, executor_id: ExecutorId) -> ExecutorReport:
    return ExecutorReport(
        id=executor_id,
        profile_id=ProfileId(executor.resource_profile_id),
        active=executor.is_active,
        active_tasks=_count(executor.active_tasks),
        max_tasks=_count(executor.max_tasks),
        total_tasks=_count(executor.total_tasks),
        failed_tasks=_count(executor.failed_tasks),
        rdd_blocks=_count(executor.rdd_blocks),
        cached_bytes=_bytes(_bytes(executor.memory_used) + _bytes(executor.disk_used)),
        shuffle_write_bytes=_bytes(executor.total_shuffle_write),
        added_at_ms=_epoch_ms(executor.add_time),
        remove_reason=(executor.remove_reason or "")[:LONGEST_REASON],
    )


def environment_in(body: bytes) -> Environment | None:
    """The environment that somebody else has fetched; None when it is none."""
    try:
        return _environment(_decoded("the driver", bytearray(body), _Environment))
    except _NoAnswer:
        return None


def _environment(answer: _Environment) -> Environment:
    return Environment(
        # the same few hundred keys, and mostly the same values, in each application
        spark_properties={
            sys.intern(key): sys.intern(value) for key, value in answer.spark_properties
        },
        resource_profiles={
            ProfileId(profile.id): _resource_profile(profile)
            for profile in answer.resource_profiles
        },
    )


def _resource_profile(profile: _Profile) -> ResourceProfile:
    amounts = (*profile.executor_resources.values(), *profile.task_resources.values())
    if any(not 0 <= each.amount < 2**63 for each in amounts):
        raise _NoAnswer(
            Reason.BAD_ANSWER, f"the driver describes profile {profile.id} with an absurd amount"
        )
    return ResourceProfile(
        id=ProfileId(profile.id),
        executor_resources={
            name: ExecutorResourceRequest(
                resource_name=amount.resource_name,
                amount=int(amount.amount),
                discovery_script=amount.discovery_script or "",
                vendor=amount.vendor or "",
            )
            for name, amount in profile.executor_resources.items()
        },
        task_resources={
            name: TaskResourceRequest(resource_name=amount.resource_name, amount=amount.amount)
            for name, amount in profile.task_resources.items()
        },
    )


def _whole_gauge(metrics: _Metrics, ending: str) -> int | None:
    for name, gauge in metrics.gauges.items():
        if name.endswith(ending) and isinstance(gauge.value, int):
            return _count(gauge.value)
    return None


def _streaming(metrics: _Metrics, jobs: Sequence[Job]) -> StreamingReport:
    found = (streaming_job(job, _epoch_ms(job.submission_time)) for job in jobs)
    return read_streaming(
        {name: gauge.value for name, gauge in metrics.gauges.items() if STREAMS in name},
        [job for job in found if job is not None],
    )


def _epoch_ms(text: str | None) -> int | None:
    """Spark writes 2026-01-31T12:00:00.000GMT, for each executor in each answer again."""
    # what somebody else writes is not kept: it may be as long as an answer
    return _moment_ms(text) if text is not None and len(text) <= LONGEST_MOMENT else None


@lru_cache(maxsize=16_384)
def _moment_ms(text: str) -> int | None:
    written = _MOMENT.fullmatch(text)
    if written is None:
        return None
    try:
        moment = datetime.fromisoformat(written.group(1)).replace(tzinfo=UTC)
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _taken_apart(address: str) -> str | URL:
    """An address that is none is refused where it is asked."""
    try:
        return URL(address)
    except ValueError:
        return address


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
