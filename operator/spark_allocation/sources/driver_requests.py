"""One request to a driver: what it answers, within bounds, or why there is no answer.

What a driver answers is a tenant's input: sizes and times are bounded, nothing is unpacked, redirects are not followed.
"""

import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp
from yarl import URL

from spark_allocation.api.conditions import Reason
from spark_allocation.sources.driver_access import DriverAccess, NoAccess
from spark_allocation.sources.unreachable import LONGEST_QUOTE, NoAnswer

REQUEST_TIMEOUT_SECONDS = 4.0
CONNECT_TIMEOUT_SECONDS = 2.0


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


async def fetch(
    session: aiohttp.ClientSession, url: str | URL, access: DriverAccess, largest: int
) -> bytearray:
    """Ask.

    Args:
        session: see `open_driver_session`.
        url: what is asked for.
        access: what the request is sent with.
        largest: bytes that an answer may have.

    Raises:
        NoAnswer: there is none, or none that is meant for us.
    """
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
        raise NoAnswer(Reason.NO_ACCESS, str(error)) from error
    except TimeoutError as error:
        raise NoAnswer(
            Reason.CONNECTION_TIMED_OUT,
            f"{url} did not answer within {REQUEST_TIMEOUT_SECONDS:.0f} s: the driver is busy (a long garbage "
            "collection), or a NetworkPolicy keeps the operator from its UI port",
        ) from error
    except aiohttp.ClientSSLError as error:
        raise NoAnswer(
            Reason.NOT_TRUSTED,
            f"{url}: no TLS with the driver ({_tls_fault(error)}): the access that spec.driver.access names holds the "
            "authority (ca.crt) and the name (server-name) that the driver's certificate has to show",
        ) from error
    except aiohttp.ClientConnectorError as error:
        raise NoAnswer(
            Reason.CONNECTION_REFUSED,
            f"{url} refused the connection: the driver is still starting, spark.ui.enabled is false, or its UI is on "
            "another port (set spec.driver.uiPort)",
        ) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoAnswer(
            Reason.CONNECTION_RESET,
            f"{url} broke off ({type(error).__name__}): if a service mesh demands mutual TLS, exclude the driver's UI "
            "port from it",
        ) from error
    if len(body) > largest:
        raise NoAnswer(Reason.BAD_ANSWER, f"{url} answered more than {largest >> 20} MiB")
    return body


def _check_status(url: str | URL, response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status == HTTPStatus.OK:
        return
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise NoAnswer(
            Reason.REDIRECTED,
            f"{url} redirects to {response.headers.get('Location', 'elsewhere')[:LONGEST_QUOTE]}: the UI is behind "
            "TLS (spark.ssl.ui.enabled) or a login; name an access to it in spec.driver.access, or serve it in plain "
            "HTTP inside the cluster",
        )
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise NoAnswer(
            Reason.UNAUTHORIZED,
            f"{url} answers {status}: spark.ui.filters or spark.acls.enable keep the operator out; let its requests "
            "through, add spark.ui.view.acls for it, or name an access with a token or password in spec.driver.access",
        )
    if status == HTTPStatus.NOT_FOUND:
        raise NoAnswer(
            Reason.NOT_A_SPARK_UI,
            f"{url} answers 404: no Spark UI on this port, or a proxy in between; set spec.driver.uiPort",
        )
    raise NoAnswer(
        Reason.BAD_ANSWER,
        f"{url} answers {status} {(response.reason or '')[:LONGEST_QUOTE]}".rstrip(),
    )


def _check_encoding(url: str | URL, response: aiohttp.ClientResponse) -> None:
    """What is packed a thousandfold is not unpacked: nothing but plain text was asked for."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise NoAnswer(
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
