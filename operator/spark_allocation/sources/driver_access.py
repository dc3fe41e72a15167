"""How a driver may be reached: which addresses are asked at all, and with what the operator shows itself there.

An *address* comes from the status of a pod. Kubelets write it, and whoever may patch the status of a pod can write
another one; so an address at which no pod of another can be is not asked (`DriverAddresses`).

An *access* is what the operator was given for drivers behind TLS or a login: a folder of files that an administrator
mounts, one for each namespace and name. A SparkAllocation names an access of its own namespace and nothing else of it:
the operator has no right to read Secrets, so that nobody can have one read by naming it. What is secret in an access
goes to a driver only through TLS that was verified with the access's own authority and name.
"""

import base64
import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEVER: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "169.254.0.0/16",  # link-local: metadata of most clouds
            "224.0.0.0/3",
            "100.100.100.200/32",  # metadata of Alibaba Cloud
            "168.63.129.16/32",  # Azure's host
            "192.0.0.192/32",  # metadata of Oracle Cloud
            "::/128",
            "fe80::/10",
            "ff00::/8",
            "fd00:ec2::254/128",  # metadata of AWS
        ),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LARGEST_FILE = 64 * 1024

CA, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
TOKEN, USERNAME, PASSWORD = "token", "username", "password"
SERVER_NAME = "server-name"
FILES = (CA, CERTIFICATE, KEY, TOKEN, USERNAME, PASSWORD, SERVER_NAME)


class NoAccess(Exception):  # noqa: N818  (reads as what it is)
    """The access that a SparkAllocation names is not there or makes no sense; the message says what to do."""


@dataclass(frozen=True, slots=True)
class DriverAddresses:
    """Which addresses may be a driver's.

    Attributes:
        networks: where driver pods are; any network when empty.
        refused: further addresses that are never asked, such as the API server's.
        loopback: whether a driver may be on this machine: for an operator outside a cluster.
    """

    networks: tuple[Network, ...] = ()
    refused: frozenset[Address] = frozenset()
    loopback: bool = True

    def problem(self, text: str) -> str:
        """Why a driver at this address is not asked, with the remedy; "" when it is."""
        try:
            address = _effective(ipaddress.ip_address(text))
        except ValueError:
            return f"the driver pod's address {text[:64]!r} is no IP address"
        if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
            return f"the driver pod's address {text[:64]!r} names a network interface"
        if any(address in network for network in _NEVER) or address in self.refused:
            return (
                f"the driver pod's address {address} is not a pod's: somebody else than its kubelet wrote its status; "
                "see who may patch pods/status"
            )
        if address.is_loopback and not self.loopback:
            return (
                f"the driver pod's address {address} is this pod's own: somebody else than its kubelet wrote its "
                "status; see who may patch pods/status"
            )
        if self.networks and not any(address in network for network in self.networks):
            return (
                f"the driver pod's address {address} is in none of the networks that the operator is set to reach "
                f"drivers in ({', '.join(map(str, self.networks))}): see SPARK_ALLOCATION_DRIVER_NETWORKS"
            )
        return ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one request is sent with.

    Attributes:
        tls: verifies the driver and may hold a client certificate.
        server_name: the name that the driver's certificate must hold; None for the address that is asked.
        authorization: value of the header; "" for none.
    """

    tls: ssl.SSLContext = field(repr=False)
    server_name: str | None
    authorization: str = field(repr=False)


class DriverAccess:
    """Plain HTTP without credentials. `FileAccess` is the other kind."""

    scheme = "http"

    def options(self) -> Mapping[str, Any]:
        """Arguments of a request of aiohttp.

        Raises:
            NoAccess: what was given is gone or broken.
        """
        return {}


PLAIN = DriverAccess()


class FileAccess(DriverAccess):
    """HTTPS, with what a folder holds: read anew whenever a file of it changes, since certificates and tokens rotate."""

    scheme = "https"

    def __init__(self, folder: Path, name: str) -> None:
        """
        Args:
            name: as the user wrote it, for messages.
        """
        self._folder = folder
        self._name = name
        self._signature: tuple[object, ...] = ()
        self._credentials: Credentials | None = None

    def options(self) -> Mapping[str, Any]:
        """See `DriverAccess.options`."""
        credentials = self.credentials()
        headers = {"Authorization": credentials.authorization} if credentials.authorization else {}
        return {
            "ssl": credentials.tls,
            "server_hostname": credentials.server_name,
            "headers": headers,
        }

    def credentials(self) -> Credentials:
        """What the folder holds now.

        Raises:
            NoAccess: it is gone, or holds what makes no sense together.
        """
        signature = tuple(map(self._stamp, FILES))
        if self._credentials is None or signature != self._signature:
            self._credentials = self._read()
            self._signature = signature
        return self._credentials

    def _stamp(self, name: str) -> tuple[int, int, int] | None:
        try:
            found = (self._folder / name).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _read(self) -> Credentials:
        held = {name for name in FILES if (self._folder / name).is_file()}
        if not held:
            raise NoAccess(f"access {self._name!r} holds none of the files {', '.join(FILES)}")
        for one, other in ((CERTIFICATE, KEY), (USERNAME, PASSWORD)):
            if (one in held) != (other in held):
                raise NoAccess(f"access {self._name!r} needs both or none of {one} and {other}")
        if TOKEN in held and USERNAME in held:
            raise NoAccess(f"access {self._name!r} has both {TOKEN} and {USERNAME}: one is sent")
        return Credentials(
            tls=self._tls(held),
            server_name=self._line(SERVER_NAME) if SERVER_NAME in held else None,
            authorization=self._authorization(held),
        )

    def _tls(self, held: set[str]) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(
                cafile=str(self._folder / CA) if CA in held else None
            )
            if CERTIFICATE in held:
                context.load_cert_chain(
                    self._folder / CERTIFICATE, self._folder / KEY, password=_no_passphrase
                )
        except (ssl.SSLError, OSError, ValueError) as error:
            # the error names the kind of fault, never what the file holds
            raise NoAccess(
                f"access {self._name!r}: {CA}, {CERTIFICATE} or {KEY} cannot be used: {type(error).__name__}"
            ) from None
        return context

    def _authorization(self, held: set[str]) -> str:
        if TOKEN in held:
            return f"Bearer {self._line(TOKEN)}"
        if USERNAME in held:
            pair = f"{self._line(USERNAME)}:{self._line(PASSWORD)}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        return ""

    def _line(self, name: str) -> str:
        try:
            with (self._folder / name).open("rb") as file:
                text = file.read(_LARGEST_FILE + 1).decode().rstrip("\r\n")
        except (OSError, ValueError):
            raise NoAccess(f"access {self._name!r}: {name} cannot be read") from None
        if len(text) >= _LARGEST_FILE or not text or not text.isprintable():
            raise NoAccess(f"access {self._name!r}: {name} is not one line of text")
        return text


@dataclass(frozen=True, slots=True)
class DriverReach:
    """What decides over reaching drivers: addresses, and the folder of accesses."""

    addresses: DriverAddresses = DriverAddresses()
    accesses: Path | None = None

    def access(self, namespace: str, name: str | None) -> DriverAccess:
        """The access of this name in this namespace; plain HTTP when none is named.

        Raises:
            NoAccess: the operator was given none of this name.
        """
        if name is None:
            return PLAIN
        if _LABEL.fullmatch(name) is None or _LABEL.fullmatch(namespace) is None:
            raise NoAccess(f"spec.driver.access: {name[:64]!r} cannot be the name of an access")
        if self.accesses is None or not (self.accesses / namespace / name).is_dir():
            raise NoAccess(
                f"the operator was given no access {name!r} to drivers of namespace {namespace}: mount it at "
                f"{self.accesses or 'the folder that SPARK_ALLOCATION_DRIVER_ACCESSES names'}/{namespace}/{name}, or "
                "leave spec.driver.access out"
            )
        return FileAccess(self.accesses / namespace / name, name)


def _effective(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address.scope_id is None and address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _no_passphrase() -> str:
    """OpenSSL would ask on the terminal for the passphrase of an encrypted key."""
    raise ValueError("the key is encrypted")
