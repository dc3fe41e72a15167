"""All policies as they are now, and which of them are for an application.

A policy that cannot be read (its CRD is older than it, or was loosened) is kept as it last made sense, so that a typing
error takes no limit away; one that never made sense is left out. Either way it is told to every application that it
could be for, and logged.

A Role-only install may not read cluster policies: it takes them from a file that is mounted into its pod, which is read
again when it changes.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import structlog
import yaml

from spark_allocation.api.policies import (
    InvalidPolicy,
    StoredPolicy,
    read_policy,
    unknown_fields,
    weights_for_nobody,
)
from spark_allocation.api.policy_v1alpha1 import PrometheusServer
from spark_allocation.api.refusals import PROBLEMS_TOLD
from spark_allocation.core.pod_allow_list import NOTHING_MORE, PodAllowList
from spark_allocation.core.setting_layers import Policy

FILE_SCOPE = "file"
FILE_EVERY_SECONDS = 1.0

log = structlog.get_logger("policies")


@dataclass(frozen=True, slots=True)
class SelectedPolicies:
    """What an application is subject to.

    Attributes:
        problems: policies that could not be read; sentences.
        allowed: what all of them together let executors have beyond what their driver pod has.
        prometheus_servers: by name; where it may ask for the backlog of its streams.
    """

    policies: tuple[Policy, ...] = ()
    problems: tuple[str, ...] = ()
    allowed: PodAllowList = NOTHING_MORE
    prometheus_servers: Mapping[str, PrometheusServer] = field(default_factory=dict)


NO_POLICIES = SelectedPolicies()


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """A policy as an object of the API server.

    Attributes:
        namespace: "" for a kind of the cluster.
        status: as it was read last.
        stored: what holds of it; None for one that never made sense.
        problem: why it cannot be read, and what holds instead; "" when it can.
    """

    kind: str
    namespace: str
    name: str
    generation: int
    status: Mapping[str, Any]
    stored: StoredPolicy | None
    problem: str


class PolicyDirectory:
    """The policies of all watches; a sink of `sources.policies_watch`."""

    def __init__(self) -> None:
        self._stored: dict[str, dict[str, StoredPolicy]] = {}
        self._problems: dict[str, dict[str, tuple[str, str]]] = {}
        self._bodies: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._listeners: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return sum(len(policies) for policies in self._stored.values())

    def selected(self, namespace: str, driver_labels: Mapping[str, str]) -> SelectedPolicies:
        """The policies for an application with such a driver in such a namespace."""
        chosen = [
            stored
            for scope in self._stored.values()
            for stored in scope.values()
            if stored.selects(namespace, driver_labels)
        ]
        return SelectedPolicies(
            tuple(stored.policy for stored in chosen),
            tuple(
                sentence
                for scope in self._problems.values()
                for own_namespace, sentence in scope.values()
                if own_namespace in ("", namespace)
            ),
            _together([stored.allowed for stored in chosen]),
            _servers(chosen),
        )

    def all(self) -> Iterator[StoredPolicy]:
        """Every policy that could be read."""
        for scope in self._stored.values():
            yield from scope.values()

    def records(self) -> dict[str, PolicyRecord]:
        """Every policy that the API server has, under a key of its own; those of a file are no objects."""
        found: dict[str, PolicyRecord] = {}
        for scope, bodies in self._bodies.items():
            for key, body in bodies.items():
                metadata = body.get("metadata") or {}
                status = body.get("status")
                found[f"{scope} {key}"] = PolicyRecord(
                    kind=str(body.get("kind") or ""),
                    namespace=str(metadata.get("namespace") or ""),
                    name=str(metadata.get("name") or ""),
                    generation=int(metadata.get("generation") or 0),
                    status=status if isinstance(status, Mapping) else {},
                    stored=self._stored.get(scope, {}).get(key),
                    problem=self._problems.get(scope, {}).get(key, ("", ""))[1],
                )
        return found

    @contextmanager
    def subscription(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call back whenever a policy changed."""
        self._listeners.append(callback)
        try:
            yield
        finally:
            self._listeners.remove(callback)

    def replace_all(self, scope: str, bodies: Iterable[Mapping[str, Any]]) -> None:
        """See `PoliciesSink.replace_all`."""
        there = {_key(body): body for body in bodies}
        known: list[dict[str, Any]] = [
            kept.get(scope, {}) for kept in (self._stored, self._problems, self._bodies)
        ]
        for of_scope in known:
            for key in of_scope.keys() - there.keys():
                del of_scope[key]
        for body in there.values():
            self._take(scope, body)
        self._tell()

    def update(self, scope: str, body: Mapping[str, Any]) -> None:
        """See `PoliciesSink.update`."""
        if self._take(scope, body):
            self._tell()

    def remove(self, scope: str, body: Mapping[str, Any]) -> None:
        """See `PoliciesSink.remove`."""
        self._stored.get(scope, {}).pop(_key(body), None)
        self._problems.get(scope, {}).pop(_key(body), None)
        self._bodies.get(scope, {}).pop(_key(body), None)
        self._tell()

    def _take(self, scope: str, body: Mapping[str, Any]) -> bool:
        """Take a policy; returns whether it is another one now, and not only its status."""
        key = _key(body)
        if scope != FILE_SCOPE:
            self._bodies.setdefault(scope, {})[key] = body
        problems = self._problems.setdefault(scope, {})
        before = self._stored.get(scope, {}).get(key), problems.get(key)
        read = read_policy(body, strict=scope == FILE_SCOPE)
        if isinstance(read, InvalidPolicy):
            kept = key in self._stored.get(scope, {})
            what = "its last good version holds" if kept else "it is ignored"
            sentence = f"policy {read.name} cannot be read: {read.message}; {what}"
            problems[key] = (str(body.get("metadata", {}).get("namespace") or ""), sentence)
            if before[1] == problems[key]:
                return False
            log.warning("invalid_policy", policy=key, message=sentence)
            return True
        said = [*weights_for_nobody(read)[:PROBLEMS_TOLD]]
        unknown = unknown_fields(body)
        if unknown:
            named = ", ".join(unknown[:PROBLEMS_TOLD])
            said.append(f"{named}: this version of the operator does not know that")
        if said:
            sentence = f"policy {read.policy.name}: {'; '.join(said)}; the rest holds"
            problems[key] = (str(body.get("metadata", {}).get("namespace") or ""), sentence)
        else:
            problems.pop(key, None)
        self._stored.setdefault(scope, {})[key] = read
        return before != (read, problems.get(key))

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()


async def watch_policy_file(
    path: Path,
    directory: PolicyDirectory,
    *,
    synced: asyncio.Event,
    every_seconds: float = FILE_EVERY_SECONDS,
) -> None:
    """Keep the directory equal to a file of YAML documents, until cancelled.

    Args:
        synced: set once the file has been read.

    A file that cannot be read leaves everything as it was. A mounted ConfigMap is exchanged as a whole, so what counts
    is the content, not the time of change.
    """
    known: bytes | None = None
    while True:
        try:
            content = await asyncio.to_thread(path.read_bytes)
            if content != known:
                known = content
                bodies = _documents(content)
                directory.replace_all(FILE_SCOPE, bodies)
                synced.set()
                log.info("policy_file_read", path=str(path), policies=len(bodies))
        except (OSError, yaml.YAMLError, ValueError, LookupError, RecursionError) as error:
            # the last three: what PyYAML itself stumbles over, such as the date 2026-13-45
            log.warning("policy_file_unreadable", path=str(path), error=str(error))
        await asyncio.sleep(every_seconds)


def _documents(content: bytes) -> list[Mapping[str, Any]]:
    bodies = [body for body in yaml.safe_load_all(content) if isinstance(body, Mapping)]
    for metadata in (body.get("metadata") or {} for body in bodies):
        if not isinstance(metadata, Mapping):
            raise ValueError(  # noqa: TRY004  (the file cannot be read, like one that is no YAML)
                f"metadata is {metadata!r}: wanted is the policy's name"
            )
    return bodies


def _together(lists: list[PodAllowList]) -> PodAllowList:
    return PodAllowList(
        **{
            each.name: tuple(
                dict.fromkeys(pattern for one in lists for pattern in getattr(one, each.name))
            )
            for each in fields(PodAllowList)
        }
    )


def _servers(chosen: list[StoredPolicy]) -> dict[str, PrometheusServer]:
    """By name; of several policies the higher priority wins, of equal ones the name that sorts first."""
    by_name = sorted(chosen, key=lambda stored: stored.policy.name, reverse=True)
    in_order = sorted(by_name, key=lambda stored: stored.policy.priority)
    return {server.name: server for stored in in_order for server in stored.prometheus_servers}


def _key(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata") or {}
    return f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
