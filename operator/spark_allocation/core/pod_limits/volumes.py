"""Limits on the volumes of an executor pod."""

from collections.abc import Iterator, Mapping

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

_HARMLESS = frozenset({"downwardAPI", "emptyDir", "name"})
_TOKEN_FIELDS = frozenset({"audience", "expirationSeconds", "path"})
_CLAIM_SPEC = frozenset(
    {
        "accessModes",
        "resources",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    }
)
"""Of a claim to be made. The others say which existing volume or which other claim's data it gets."""

_CLAIM_METADATA = frozenset({"annotations", "labels", "name", "namespace", "ownerReferences"})
_MOUNT_FIELDS = frozenset(
    {
        "mountPath",
        "mountPropagation",
        "name",
        "readOnly",
        "recursiveReadOnly",
        "subPath",
        "subPathExpr",
    }
)


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
                    yield from _claim(both, path, str(source.get("claimName")), volume)
                case "hostPath":
                    yield from _host_path(both, path, str(source.get("path")), volume)
                case "ephemeral":
                    if not _same_in_driver(both, kind, source):
                        template = mapping(source, "volumeClaimTemplate")
                        yield from _new_claim(both, path, template)
                        yield from both.unknown_keys(
                            path, source, frozenset({"volumeClaimTemplate"})
                        )
                case _:
                    yield from _other(both, path, kind, source, volume)
    for container in all_containers(both.spec):
        for mount in items(container, "volumeMounts"):
            yield from both.unknown_keys(
                f"spec.containers[{container.get('name')}].volumeMounts", mount, _MOUNT_FIELDS
            )


def claim_limits(both: PodComparison) -> Iterator[OffendingField]:
    """The claims that are made along with the pod."""
    for claim in both.own_claims:
        yield from _new_claim(both, f"claim[{mapping(claim, 'metadata').get('name')}]", claim)


def _new_claim(both: PodComparison, path: str, claim: Json) -> Iterator[OffendingField]:
    """A claim as an object to be made: an empty volume of its own, not the data of another.

    Storage providers copy another claim when an annotation asks them to, each by a name of its own.
    """
    metadata = mapping(claim, "metadata")
    yield from both.unknown_keys(f"{path}.spec", mapping(claim, "spec"), _CLAIM_SPEC)
    yield from both.unknown_keys(f"{path}.metadata", metadata, _CLAIM_METADATA)
    for key, value in sorted(mapping(metadata, "annotations").items()):
        if not matches(str(key), both.allowed.metadata_keys):
            yield finding(
                f"{path}.metadata.annotations[{key}]",
                value,
                "can make a storage provider copy another claim's data",
            )


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
                yield from both.unknown_keys(below, source, _TOKEN_FIELDS)
                audience = source.get("audience")
                tokens = [mapping(other, kind) for other in of_driver if kind in other]
                if all(token.get("audience") != audience for token in tokens):
                    yield from both.unless_allowed(
                        below, audience, "is a token for an audience that the driver has none for"
                    )
            case _:
                if all(other.get(kind) != source for other in of_driver):
                    yield from both.unless_allowed(below, source, "is not in the driver pod")


def _claim(both: PodComparison, path: str, name: str, volume: Json) -> Iterator[OffendingField]:
    own = {str(mapping(claim, "metadata").get("name")) for claim in both.own_claims}
    if name in own or matches(name, both.allowed.claims):
        return
    of_driver = [
        other
        for other in items(both.driver_spec, "volumes")
        if mapping(other, "persistentVolumeClaim").get("claimName") == name
    ]
    if not of_driver:
        yield finding(path, name, "is a claim that the driver pod does not mount")
    else:
        yield from _reach(both, path, name, volume, of_driver)


def _host_path(
    both: PodComparison, path: str, given: str, volume: Json
) -> Iterator[OffendingField]:
    normal = _normal_path(given)
    prefixes = [prefix.rstrip("/") for prefix in both.allowed.host_paths]
    if normal is not None and any(f"{normal}/".startswith(f"{prefix}/") for prefix in prefixes):
        return
    of_driver = [
        other
        for other in items(both.driver_spec, "volumes")
        if other.get("hostPath")
        and _normal_path(str(mapping(other, "hostPath").get("path"))) == normal
    ]
    if normal is None or not of_driver:
        yield finding(path, given, "is a path on the node that the driver pod does not mount")
    else:
        yield from _reach(both, path, given, volume, of_driver)


def _other(
    both: PodComparison, path: str, kind: str, source: Json, volume: Json
) -> Iterator[OffendingField]:
    of_driver = [other for other in items(both.driver_spec, "volumes") if other.get(kind) == source]
    if of_driver:
        yield from _reach(both, path, str(volume.get("name")), volume, of_driver)
        return
    if kind == "nfs" and matches(str(source.get("server")), both.allowed.nfs_servers):
        return
    if kind == "csi" and matches(str(source.get("driver")), both.allowed.csi_drivers):
        secret = mapping(source, "nodePublishSecretRef").get("name")
        if secret is not None:
            yield from both.secret(f"{path}.nodePublishSecretRef", secret, None)
        return
    yield from both.unless_allowed(path, source, "is not in the driver pod")


def _same_in_driver(both: PodComparison, kind: str, source: Json) -> bool:
    return any(other.get(kind) == source for other in items(both.driver_spec, "volumes"))


def _reach(
    both: PodComparison, path: str, shown: str, volume: Json, of_driver: list[Json]
) -> Iterator[OffendingField]:
    """What is mounted of a volume that the driver has too: no more of it, and written only if the driver writes."""
    there = [mount for other in of_driver for mount in _mounts(both.driver_spec, other)]
    writable = any(_writes(mount) for mount in there)
    for mount in _mounts(both.spec, volume):
        if _writes(mount) and not writable:
            yield finding(path, shown, "is mounted read-only in the driver pod")
            return
    parts = [_part(mount) for mount in there]
    if not parts or _WHOLE in parts:
        return
    for mount in _mounts(both.spec, volume):
        if not any(_is_within(_part(mount), part) for part in parts):
            yield finding(
                path,
                shown,
                "is mounted in parts in the driver pod (subPath): executors may mount those",
            )
            return


_WHOLE = ("", "")


def _mounts(spec: Json, volume: Json) -> list[Json]:
    """The mounts of a volume; those of a volume that is read-only itself are too."""
    source = next((value for key, value in volume.items() if key != "name"), None)
    locked = isinstance(source, Mapping) and source.get("readOnly") is True
    return [
        {**mount, "readOnly": True} if locked else mount
        for container in all_containers(spec)
        for mount in items(container, "volumeMounts")
        if mount.get("name") == volume.get("name")
    ]


def _writes(mount: Json) -> bool:
    return not mount.get("readOnly")


def _part(mount: Json) -> tuple[str, str]:
    return str(mount.get("subPath") or ""), str(mount.get("subPathExpr") or "")


def _is_within(part: tuple[str, str], of_driver: tuple[str, str]) -> bool:
    if part == of_driver:
        return True
    path, expression = part
    above = of_driver[0].rstrip("/")
    return (
        not expression
        and not of_driver[1]
        and ".." not in path.split("/")
        and path.startswith(f"{above}/")
    )


def _normal_path(path: str) -> str | None:
    """An absolute path without empty steps; None when it goes up, which could leave an allowed folder."""
    steps = [step for step in path.split("/") if step not in ("", ".")]
    if not path.startswith("/") or ".." in steps:
        return None
    return "/" + "/".join(steps)
