"""What the operator has asked of the API server, from the audit log of a cluster that the tests own."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.cluster.access import Cluster
from tests.machine.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a service account.

    Attributes:
        group: of the API; "" for the core.
        resource: with its subresource, as rules write it (``pods/log``); "" for a path that is no resource.
        namespace: "" for a request over all namespaces.
        allowed: what the authorizer said; admission comes later.
        at: when it arrived, in seconds since 1970.
    """

    user: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    path: str
    code: int
    allowed: bool
    at: float

    @property
    def right(self) -> tuple[str, str, str]:
        """(API group, resource, verb), as a rule grants it."""
        return self.group, self.resource, self.verb


class AuditLog:
    """The requests from a moment on.

    log = AuditLog(cluster)     # the moment
    …
    log.requests("system:serviceaccount:…")
    """

    def __init__(self, cluster: Cluster, *, whole: bool = False) -> None:
        """
        Args:
            whole: from the cluster's beginning on.

        Raises:
            ClusterError: the cluster keeps no audit log.
        """
        if cluster.layout is None:
            raise ClusterError(f"{cluster.name} is an existing cluster: its audit log is its own.")
        self._file: Path = cluster.layout.audit_log
        if not self._file.exists():
            raise ClusterError(
                f"The cluster {cluster.name!r} keeps no audit log: it was made before clusters did. Take it down with "
                f"`python -m tests.cluster down --name {cluster.name}`, and it is made anew."
            )
        self._from = 0 if whole else self._file.stat().st_size

    def requests(self, user: str) -> list[Request]:
        """What this user has asked since."""
        with self._file.open("rb") as file:
            file.seek(self._from)
            events = [
                json.loads(line)
                for line in file.read().splitlines(keepends=True)
                if line.endswith(b"\n")
            ]
        return [
            _request(event)
            for event in events
            if event["user"]["username"] == user and not _has_begun_before(event)
        ]


def _has_begun_before(event: dict[str, object]) -> bool:
    """Whether it is the end of a watch: that one was written down when it began as well."""
    code = _mapping(event.get("responseStatus")).get("code")
    return event["verb"] == "watch" and event["stage"] == "ResponseComplete" and code == 200


def _request(event: dict[str, object]) -> Request:
    about = _mapping(event.get("objectRef"))
    resource = "/".join(filter(None, (about.get("resource", ""), about.get("subresource", ""))))
    return Request(
        user=_mapping(event["user"])["username"],
        verb=str(event["verb"]),
        group=about.get("apiGroup", ""),
        resource=resource,
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        path=str(event["requestURI"]),
        code=int(_mapping(event.get("responseStatus")).get("code", 0)),
        allowed=_mapping(event.get("annotations")).get("authorization.k8s.io/decision") == "allow",
        at=datetime.fromisoformat(str(event["requestReceivedTimestamp"])).timestamp(),
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
