"""An executor pod beside its driver pod: what every limit is judged by.

Secrets are compared by what a pod can read of them. A driver that mounts a whole Secret lets its executors have every
key; one that takes a single key lets them have that key; one that only pulls its image with it lets them pull with it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from spark_allocation.core.pod_limits.allow_list import OffendingField, PodAllowList

Json = Mapping[str, Any]
_DRIVER_CONTAINER = "spark-kubernetes-driver"
_UI_PORT = "spark-ui"
_HARMLESS_WHEN_FALSE = frozenset({"hostIPC", "hostNetwork", "hostPID", "hostUsers", "privileged"})


@dataclass(frozen=True, slots=True)
class PodComparison:
    """An executor pod, its driver pod, the allow-list, and what is made for executors (see `offending_fields`)."""

    pod: Json
    driver: Json
    allowed: PodAllowList
    own_config_maps: frozenset[str] = frozenset()
    own_claims: tuple[Json, ...] = ()

    @property
    def spec(self) -> Json:
        """The executor pod's spec."""
        return mapping(self.pod, "spec")

    @property
    def driver_spec(self) -> Json:
        """The driver pod's spec."""
        return mapping(self.driver, "spec")

    @property
    def driver_container(self) -> Json:
        """See `driver_container`."""
        return driver_container(self.driver_spec)

    def unknown_keys(
        self, path: str, given: Json, known: frozenset[str]
    ) -> Iterator[OffendingField]:
        """Keys of an inner object that no list has: a field of a future Kubernetes."""
        for name in sorted(given.keys() - known):
            if given[name] not in (None, {}, []):
                yield from self.unless_allowed(
                    f"{path}.{name}", given[name], "is a field that is not known here"
                )

    def secret(self, path: str, name: Any, keys: Iterable[str] | None) -> Iterator[OffendingField]:
        """Check the use of a Secret; ``keys`` is None when the whole of it is used."""
        if not matches(str(name), self.allowed.secrets):
            yield from _referred(path, name, keys, _references(self.driver_spec, _SECRET), "Secret")

    def config_map(
        self, path: str, name: Any, keys: Iterable[str] | None
    ) -> Iterator[OffendingField]:
        """Check the use of a ConfigMap; ``keys`` is None when the whole of it is used."""
        if name not in self.own_config_maps and not matches(str(name), self.allowed.config_maps):
            yield from _referred(
                path, name, keys, _references(self.driver_spec, _CONFIG_MAP), "ConfigMap"
            )

    def fields(
        self, path: str, given: Json, of_driver: list[Json], listed: frozenset[str]
    ) -> Iterator[OffendingField]:
        """Check fields that are on no list: they pass when the driver has the same value."""
        for name, value in sorted(given.items()):
            if name in listed or value is None or value in ({}, []):
                continue
            if value is False and name in _HARMLESS_WHEN_FALSE:
                continue
            if all(other.get(name) != value for other in of_driver):
                yield from self.unless_allowed(f"{path}.{name}", value, "is not in the driver pod")

    def unless_allowed(self, path: str, value: Any, rule: str) -> Iterator[OffendingField]:
        """A finding, unless the allow-list names the field."""
        if not matches(_plain(path), self.allowed.fields):
            yield finding(path, value, rule)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where the API spells a Secret or a ConfigMap."""

    volume: str
    volume_name: str
    key_reference: str
    whole_reference: str


_SECRET = _Kind("secret", "secretName", "secretKeyRef", "secretRef")
_CONFIG_MAP = _Kind("configMap", "name", "configMapKeyRef", "configMapRef")


def keys_of_items(source: Json) -> list[str] | None:
    """The keys that a volume source takes; None when it takes all."""
    chosen = items(source, "items")
    return [str(item.get("key")) for item in chosen] if chosen else None


def driver_container(spec: Json) -> Json:
    """Where the driver runs: Spark's own name for it, else who serves the UI, else the first, as kubectl does."""
    containers = items(spec, "containers")
    for container in containers:
        if container.get("name") == _DRIVER_CONTAINER:
            return container
    for container in containers:
        if any(port.get("name") == _UI_PORT for port in items(container, "ports")):
            return container
    return containers[0] if containers else {}


def all_containers(spec: Json) -> list[Json]:
    """Containers, then init containers."""
    return [*items(spec, "containers"), *items(spec, "initContainers")]


def items(parent: Json, field_name: str) -> list[Json]:
    """The objects in the list under a field. What is no list of objects is empty: the API server refuses it anyway."""
    found = parent.get(field_name)
    if not isinstance(found, list | tuple):
        return []
    return [item for item in found if isinstance(item, Mapping)]


def texts(parent: Json, field_name: str) -> list[str]:
    """The texts in the list under a field."""
    found = parent.get(field_name)
    if not isinstance(found, list | tuple):
        return []
    return [item for item in found if isinstance(item, str)]


def mapping(parent: Json, field_name: str) -> Json:
    """The object under a field. What is no object is empty: the API server refuses it anyway."""
    found = parent.get(field_name)
    return found if isinstance(found, Mapping) else {}


def matches(value: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns covers the value."""
    return any(fnmatchcase(value, pattern) for pattern in patterns)


def finding(path: str, value: Any, rule: str) -> OffendingField:
    """An offending field with its sentence."""
    shown = "" if value is None else str(value)
    return OffendingField(path, shown, f"{path} ({shown}) {rule}")


def _referred(
    path: str,
    name: Any,
    keys: Iterable[str] | None,
    of_driver: Iterable[tuple[Any, str | None]],
    kind: str,
) -> Iterator[OffendingField]:
    known = list(of_driver)
    if (name, None) in known:
        return
    if keys is None or not any(known_name == name for known_name, _ in known):
        rule = "as a whole" if any(known_name == name for known_name, _ in known) else "at all"
        yield finding(path, name, f"is a {kind} that the driver pod does not use {rule}")
        return
    for key in keys:
        if (name, key) not in known:
            yield finding(
                path, f"{name}:{key}", f"is a key of a {kind} that the driver pod does not use"
            )


def _references(spec: Json, kind: _Kind) -> Iterator[tuple[Any, str | None]]:
    """Each use in a pod: the name, and the key or None for the whole.

    Of a volume that a container mounts one file of (``subPath``) it reads that file, not the whole.
    """
    for volume in items(spec, "volumes"):
        sources = [(mapping(volume, kind.volume), kind.volume_name)]
        sources += [
            (mapping(part, kind.volume), "name")
            for part in items(mapping(volume, "projected"), "sources")
        ]
        for source, name_field in sources:
            if source:
                for key in _keys_read(spec, volume, source):
                    yield source.get(name_field), key
    for container in all_containers(spec):
        for variable in items(container, "env"):
            source = mapping(mapping(variable, "valueFrom"), kind.key_reference)
            if source:
                yield source.get("name"), source.get("key")
        for environment in items(container, "envFrom"):
            if environment.get(kind.whole_reference):
                yield environment[kind.whole_reference].get("name"), None


def _keys_read(spec: Json, volume: Json, source: Json) -> Iterable[str | None]:
    mounts = [
        mount
        for container in all_containers(spec)
        for mount in items(container, "volumeMounts")
        if mount.get("name") == volume.get("name")
    ]
    if not mounts or not all(mount.get("subPath") for mount in mounts):
        return keys_of_items(source) or [None]
    key_of = {str(item.get("path")): str(item.get("key")) for item in items(source, "items")}
    return [key_of.get(str(mount["subPath"]), str(mount["subPath"])) for mount in mounts]


def _plain(path: str) -> str:
    """The path without the names of containers and volumes, as an allow-list writes it."""
    plain, depth = [], 0
    for character in path:
        if character in "[]":
            depth += 1 if character == "[" else -1
        elif depth == 0:
            plain.append(character)
    return "".join(plain)
