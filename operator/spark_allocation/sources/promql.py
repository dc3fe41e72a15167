"""Asks a Prometheus server one number: how many rows wait in front of a query.

Servers are named in cluster policies; a SparkAllocation says the name of one and a query, never an address. What the
server answers is bounded in size and time, redirects are not followed, nothing is unpacked, and everything that is not
one number of rows is a value with a reason. With an access, what is secret goes out through verified TLS only.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from spark_allocation.sources.driver_access import PLAIN, DriverAccess, FileAccess, NoAccess
from spark_allocation.sources.promql_selectors import query_problem

REQUEST_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 2.0
LARGEST_ANSWER_BYTES = 64 * 1024
LONGEST_QUOTE = 200


class BacklogFault(StrEnum):
    """Why a backlog is not known."""

    NO_SUCH_SERVER = "NoSuchServer"
    """No cluster policy that is for the application names such a server."""
    QUERY_REFUSED = "QueryRefused"
    """The query lacks a matcher that the policy demands, or cannot be read."""
    SEVERAL_QUERIES = "SeveralQueries"
    """The application has several streaming queries, and nobody says whose backlog the query yields."""
    NO_ACCESS = "NoAccess"
    """The operator was not given what the policy says it reaches the server with."""
    NO_ANSWER = "NoAnswer"
    """The server did not answer, or not in time."""
    BAD_ANSWER = "BadAnswer"
    """It answered something else than Prometheus does, too much, or an error."""
    NO_SERIES = "NoSeries"
    """The query selects nothing."""
    SEVERAL_SERIES = "SeveralSeries"
    """The query yields several numbers."""
    NOT_A_COUNT = "NotACount"
    """It yields a number that is no count of rows: NaN, infinite or below 0."""


@dataclass(frozen=True, slots=True)
class UnknownBacklog:
    """Why nothing is known, in a word and a sentence."""

    fault: BacklogFault
    message: str

    @property
    def refused(self) -> bool:
        """Asking again changes nothing: somebody has to change the SparkAllocation or the policy."""
        return self.fault in (
            BacklogFault.NO_SUCH_SERVER,
            BacklogFault.QUERY_REFUSED,
            BacklogFault.SEVERAL_QUERIES,
        )


@dataclass(frozen=True, slots=True)
class PrometheusServer:
    """A server as a cluster policy names it.

    Attributes:
        url: up to where ``/api/v1/query`` follows, without a slash at the end.
        required: label -> value that every selector has to demand; None for the namespace of the SparkAllocation.
        access: name of what the operator reaches it with; "" for none.
    """

    name: str
    url: str
    required: Mapping[str, str | None] = field(default_factory=dict)
    access: str = ""

    def required_in(self, namespace: str) -> dict[str, str]:
        """What a query of a SparkAllocation of this namespace has to demand."""
        return {
            label: namespace if value is None else value for label, value in self.required.items()
        }


class _Data(msgspec.Struct, rename="camel", gc=False):
    result_type: str = ""
    result: msgspec.Raw = msgspec.Raw(b"null")


class _Answer(msgspec.Struct, rename="camel", gc=False):
    status: str = ""
    error: str = ""
    data: _Data | None = None


class _Sample(msgspec.Struct, gc=False):
    value: tuple[float, str] | None = None


class PrometheusQueries:
    """Asks for the SparkAllocations of this operator."""

    def __init__(self, session: aiohttp.ClientSession, accesses: Path | None = None) -> None:
        """
        Args:
            session: as `driver_requests.open_driver_session` makes it: no proxy, no cookies, nothing unpacked.
            accesses: folder of what servers are reached with, one folder for each name.
        """
        self._session = session
        self._accesses = accesses
        self._opened: dict[str, FileAccess] = {}

    async def rows(
        self, server: PrometheusServer, query: str, namespace: str
    ) -> float | UnknownBacklog:
        """The one number that the query yields now.

        Args:
            namespace: of the SparkAllocation that asks.
        """
        problem = query_problem(query, server.required_in(namespace))
        if problem:
            return UnknownBacklog(BacklogFault.QUERY_REFUSED, problem)
        try:
            options = self._access(server).options()
        except NoAccess as error:
            return UnknownBacklog(BacklogFault.NO_ACCESS, str(error))
        answer = await self._ask(server, query, options)
        return answer if isinstance(answer, UnknownBacklog) else _number(server, answer)

    def _access(self, server: PrometheusServer) -> DriverAccess:
        if not server.access:
            return PLAIN
        folder = None if self._accesses is None else self._accesses / server.access
        if folder is None or not folder.is_dir():
            raise NoAccess(
                f"the operator was given no access {server.access!r} to Prometheus: mount it at "
                f"{self._accesses or 'the folder that SPARK_ALLOCATION_PROMETHEUS_ACCESSES names'}/{server.access}"
            )
        if not server.url.startswith("https://"):
            raise NoAccess(
                f"server {server.name!r} has an access and no https:// in front: what is secret goes through TLS only"
            )
        # one that stays, because it reads its files only when they have changed
        return self._opened.setdefault(server.access, FileAccess(folder, server.access))

    async def _ask(
        self, server: PrometheusServer, query: str, options: Mapping[str, Any]
    ) -> bytes | UnknownBacklog:
        timeout = aiohttp.ClientTimeout(
            total=REQUEST_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS
        )
        form = {"query": query, "timeout": f"{REQUEST_TIMEOUT_SECONDS:.0f}s"}
        body = bytearray()
        try:
            async with self._session.post(
                f"{server.url}/api/v1/query",
                data=form,
                timeout=timeout,
                allow_redirects=False,
                **options,
            ) as response:
                status = response.status
                packed = response.headers.get("Content-Encoding", "identity").lower() != "identity"
                while len(body) <= LARGEST_ANSWER_BYTES:
                    more = await response.content.read(LARGEST_ANSWER_BYTES + 1 - len(body))
                    if not more:
                        break
                    body += more
        except TimeoutError:
            return UnknownBacklog(
                BacklogFault.NO_ANSWER,
                f"Prometheus {server.name} did not answer within {REQUEST_TIMEOUT_SECONDS:.0f} s",
            )
        except aiohttp.ClientSSLError:
            return UnknownBacklog(
                BacklogFault.NO_ANSWER,
                f"no TLS with Prometheus {server.name}: the access that its policy names holds the authority (ca.crt) and "
                "the name (server-name) that its certificate has to show",
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return UnknownBacklog(
                BacklogFault.NO_ANSWER,
                f"Prometheus {server.name} does not answer ({type(error).__name__})",
            )
        if packed or len(body) > LARGEST_ANSWER_BYTES:
            what = "packed" if packed else f"more than {LARGEST_ANSWER_BYTES >> 10} KiB"
            return _bad(server, f"answered {what}")
        if status != HTTPStatus.OK:
            return _bad(server, f"answered {status}{_words(bytes(body))}")
        return bytes(body)


def _number(server: PrometheusServer, body: bytes) -> float | UnknownBacklog:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        if answer.status != "success" or answer.data is None:
            return _bad(server, f"answered an error{_quoted(answer.error)}")
        match answer.data.result_type:
            case "scalar":
                values = [msgspec.json.decode(answer.data.result, type=tuple[float, str])]
            case "vector":
                samples = msgspec.json.decode(answer.data.result, type=list[_Sample])
                values = [each.value for each in samples if each.value is not None]
                if len(values) < len(samples):
                    return _bad(server, "answered a histogram, where one number is wanted")
            case kind:
                return _bad(server, f"answered a {kind[:20]}, where one number is wanted")
        numbers = [float(text) for _, text in values]
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _bad(server, "answered something that is not Prometheus' JSON")
    if not numbers:
        return UnknownBacklog(
            BacklogFault.NO_SERIES, f"the query selects nothing in Prometheus {server.name}"
        )
    if len(numbers) > 1:
        return UnknownBacklog(
            BacklogFault.SEVERAL_SERIES,
            f"the query yields {len(numbers)} numbers, where one is wanted: put sum(…) around it",
        )
    if not math.isfinite(numbers[0]) or numbers[0] < 0:
        return UnknownBacklog(
            BacklogFault.NOT_A_COUNT,
            f"the query yields {numbers[0]:g}, which is no count of rows",
        )
    return numbers[0]


def _bad(server: PrometheusServer, what: str) -> UnknownBacklog:
    return UnknownBacklog(BacklogFault.BAD_ANSWER, f"Prometheus {server.name} {what}")


def _words(body: bytes) -> str:
    """The server's own words on an error, if it has any."""
    try:
        return _quoted(msgspec.json.decode(body, type=_Answer).error)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return ""


def _quoted(words: str) -> str:
    readable = "".join(each if each.isprintable() else " " for each in words[:LONGEST_QUOTE])
    return f": {readable}" if readable else ""
