"""Limits on the volumes of an executor pod."""

from collections.abc import Iterable, Iterator
from typing import Any

from spark_allocation.core.pod_limits.allow_list import OffendingField
from spark_allocation.core.pod_limits.comparison import (
    Json,
    PodComparison,
    all_containers,
    finding,
    items,
    keys_of_items,
    mapping,
    matches,
)

_HARMLESS = frozenset({"downwardAPI", "emptyDir", "ephemeral", "name"})


def volume_limits(both: PodComparison) -> Iterator[OffendingField]:
    """Every volume, by what it is a volume of."""
    for volume in items(both.spec, "volumes"):
        for kind in sorted(volume.keys() - _HARMLESS):
            if volume[kind] is None:
                continue
            source = mapping(volume, kind)
            path = f"spec.volumes[{volume.get('name')}].{kind}"
            match kind:
                case "secret":
                    yield from both.secret(path, source.get("secretName"), keys_of_items(source))
                case "configMap":
                    yield from both.config_map(path, source.get("name"), keys_of_items(source))
                case "projected":
                    for part in items(source, "sources"):
                        yield from _projected(both, path, part)
                case "persistentVolumeClaim":
                    yield from _claim(both, path, str(source.get("claimName")), volume.get("name"))
                case "hostPath":
                    yield from _host_path(both, path, str(source.get("path")), volume.get("name"))
                case _:
                    yield from _other(both, path, kind, source)


def _projected(both: PodComparison, path: str, part: Json) -> Iterator[OffendingField]:
    of_driver = [
        other
        for volume in items(both.driver_spec, "volumes")
        for other in items(mapping(volume, "projected"), "sources")
    ]
    for kind in sorted(part):
        source = mapping(part, kind)
        below = f"{path}.{kind}"
        match kind:
            case "downwardAPI":
                continue
            case "secret":
                yield from both.secret(below, source.get("name"), keys_of_items(source))
            case "configMap":
                yield from both.config_map(below, source.get("name"), keys_of_items(source))
            case "serviceAccountToken":
                audience = source.get("audience")
                tokens = [mapping(other, kind) for other in of_driver if kind in other]
                if all(token.get("audience") != audience for token in tokens):
                    yield from both.unless_allowed(
                        below, audience, "is a token for an audience that the driver has none for"
                    )
            case _:
                if all(other.get(kind) != source for other in of_driver):
                    yield from both.unless_allowed(below, source, "is not in the driver pod")


def _claim(both: PodComparison, path: str, name: str, volume: Any) -> Iterator[OffendingField]:
    if name in both.own_claims or matches(name, both.allowed.claims):
        return
    of_driver = {
        str(mapping(other, "persistentVolumeClaim").get("claimName")): other.get("name")
        for other in items(both.driver_spec, "volumes")
        if other.get("persistentVolumeClaim")
    }
    if name not in of_driver:
        yield finding(path, name, "is a claim that the driver pod does not mount")
    elif _writes_what_the_driver_reads(both, volume, of_driver[name]):
        yield finding(path, name, "is mounted read-only in the driver pod")


def _host_path(both: PodComparison, path: str, given: str, volume: Any) -> Iterator[OffendingField]:
    normal = _normal_path(given)
    prefixes = [prefix.rstrip("/") for prefix in both.allowed.host_paths]
    if normal is not None and any(f"{normal}/".startswith(f"{prefix}/") for prefix in prefixes):
        return
    of_driver = {
        _normal_path(str(mapping(other, "hostPath").get("path"))): other.get("name")
        for other in items(both.driver_spec, "volumes")
        if other.get("hostPath")
    }
    if normal is None or normal not in of_driver:
        yield finding(path, given, "is a path on the node that the driver pod does not mount")
    elif _writes_what_the_driver_reads(both, volume, of_driver[normal]):
        yield finding(path, given, "is mounted read-only in the driver pod")


def _other(both: PodComparison, path: str, kind: str, source: Json) -> Iterator[OffendingField]:
    if any(other.get(kind) == source for other in items(both.driver_spec, "volumes")):
        return
    if kind == "nfs" and matches(str(source.get("server")), both.allowed.nfs_servers):
        return
    if kind == "csi" and matches(str(source.get("driver")), both.allowed.csi_drivers):
        secret = mapping(source, "nodePublishSecretRef").get("name")
        if secret is not None:
            yield from both.secret(f"{path}.nodePublishSecretRef", secret, None)
        return
    yield from both.unless_allowed(path, source, "is not in the driver pod")


def _writes_what_the_driver_reads(both: PodComparison, volume: Any, of_driver: Any) -> bool:
    return _is_written(volume, all_containers(both.spec)) and not _is_written(
        of_driver, all_containers(both.driver_spec)
    )


def _is_written(volume: Any, containers: Iterable[Json]) -> bool:
    return any(
        mount.get("name") == volume and not mount.get("readOnly")
        for container in containers
        for mount in items(container, "volumeMounts")
    )


def _normal_path(path: str) -> str | None:
    """An absolute path without empty steps; None when it goes up, which could leave an allowed folder."""
    steps = [step for step in path.split("/") if step not in ("", ".")]
    if not path.startswith("/") or ".." in steps:
        return None
    return "/" + "/".join(steps)
