"""What a cluster's policy lets executors have beyond their driver pod, and what it reports when they ask for more."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PodAllowList:
    """What executors may have beyond their driver pod; patterns as in a shell (``team-a-*``).

    Attributes:
        images: of the executor container.
        extra_containers: images of sidecars and init containers.
        service_accounts: names.
        secrets: names, wherever they are used: volumes, variables, image pull secrets.
        config_maps: names.
        claims: names of existing persistent volume claims.
        host_paths: paths on the node, each with everything below it.
        nfs_servers: names or addresses.
        csi_drivers: names of drivers of inline CSI volumes.
        tolerations: taint keys; ``*`` also allows a toleration of every taint.
        priority_classes: names.
        runtime_classes: names.
        capabilities: Linux capabilities that may be added.
        finalizers: names.
        metadata_keys: labels and annotations that other controllers answer with rights.
        fields: paths of other fields that may have any value, such as ``spec.hostNetwork``.
    """

    images: tuple[str, ...] = ()
    extra_containers: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    config_maps: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    host_paths: tuple[str, ...] = ()
    nfs_servers: tuple[str, ...] = ()
    csi_drivers: tuple[str, ...] = ()
    tolerations: tuple[str, ...] = ()
    priority_classes: tuple[str, ...] = ()
    runtime_classes: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    finalizers: tuple[str, ...] = ()
    metadata_keys: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


NOTHING_MORE = PodAllowList()


@dataclass(frozen=True, slots=True)
class OffendingField:
    """A field of the executor pod that its driver pod does not have.

    Attributes:
        path: such as ``spec.volumes[data].secret``.
        value: the value, or the part of it that offends.
        sentence: what is wrong and what would allow it.
    """

    path: str
    value: str
    sentence: str
