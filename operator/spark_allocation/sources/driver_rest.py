"""What is asked of one driver: its REST API, its gauges.

The driver is an unmodified Spark: ``/api/v1`` and ``/metrics/json/`` on its UI port. What it answers is a tenant's
input, bounded on its way (`driver_requests`) and in what is read from it (`driver_answers`); an answer that is not what
Spark would say becomes an `Unreachable` with a reason and a remedy instead of an exception.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from spark_allocation.api.conditions import Reason
from spark_allocation.core.driver_report import Application, DriverReport, Environment
from spark_allocation.sources.driver_access import PLAIN, DriverAccess
from spark_allocation.sources.driver_answers import (
    ApplicationAnswer,
    EnvironmentAnswer,
    ExecutorAnswer,
    MetricsAnswer,
    StageAnswer,
    applications,
    decoded,
    driver_report,
    environment,
)
from spark_allocation.sources.driver_requests import fetch
from spark_allocation.sources.streaming_gauges import Job
from spark_allocation.sources.unreachable import NoAnswer, Unreachable

LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""Some twelve thousand executors."""
LARGEST_ENVIRONMENT_BYTES = 8 * 1024 * 1024
LARGEST_APPLICATIONS_BYTES = 1024 * 1024
SHARE_OF_READING = 0.05
"""Most of the operator's time that goes into reading one driver's answers; who answers at greater length is asked less often."""
DEFAULT_UI_PORT = 4040
TLS_PORT_OFFSET = 400
LARGEST_PORT = 65_535
UI_PORT_RETRIES = 3
REQUESTS_OF_A_POLL = 4
"""Stages, executors, jobs, gauges."""

T = TypeVar("T")


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
            return environment(
                await self._get(
                    f"{self._application}/environment", EnvironmentAnswer, LARGEST_ENVIRONMENT_BYTES
                )
            )
        except NoAnswer as error:
            return error.unreachable

    async def running_jobs(self) -> tuple[int, ...] | Unreachable:
        """Ids of the running jobs alone: the cheapest question whether there is anything to do."""
        self._read_seconds = 0.0
        try:
            jobs = await self._get(f"{self._application}/jobs?status=running", list[Job])
        except NoAnswer as error:
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
                self._get(f"{self._application}/stages?status=active", list[StageAnswer]),
                self._get(f"{self._application}/{executors_path}", list[ExecutorAnswer]),
                self._get(f"{self._application}/jobs?status=running", list[Job]),
                self._get("/metrics/json/", MetricsAnswer),
            )
        except NoAnswer as error:
            return error.unreachable
        return driver_report(
            stages, executors, jobs, metrics, with_dead_executors=with_dead_executors
        )

    async def _get(self, path: str, kind: type[T], largest: int | None = None) -> T:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = _taken_apart(self._base + path)
        body = await fetch(
            self._session,
            url,
            self._access,
            min(largest or LARGEST_ANSWER_BYTES, LARGEST_ANSWER_BYTES),
        )
        began = time.thread_time()
        try:
            return decoded(url, body, kind)
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
    url = f"{base}/api/v1/applications"
    try:
        body = await fetch(session, url, access, LARGEST_APPLICATIONS_BYTES)
        return applications(base, decoded(url, body, list[ApplicationAnswer]))
    except NoAnswer as error:
        return error.unreachable


def _taken_apart(address: str) -> str | URL:
    """An address that is none is refused where it is asked."""
    try:
        return URL(address)
    except ValueError:
        return address


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
