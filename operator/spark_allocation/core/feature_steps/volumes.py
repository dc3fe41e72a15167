"""Volumes named in the configuration: hostPath, persistentVolumeClaim, emptyDir and nfs.

Theory of operation
-------------------
``spark.kubernetes.executor.volumes.<type>.<name>.{mount.*,options.*,label.*,annotation.*}`` describes one volume and its
mount. A claim that is named ``OnDemand``, or whose text contains the executor's id, belongs to one executor; with a
storage class and a size Spark creates it along with the pod.

The number in the name of an on-demand claim is the volume's place in an order; Spark's is that of a hash set, here it
is the alphabetical one of (type, name).

Spark allows a pod name prefix of 237 characters. That leaves room for the names of pods, not for those of on-demand
claims: they outgrow Kubernetes' limit with the number of digits of the executor's id, and from then on Spark makes a
pod, is refused its claim, deletes the pod and begins anew, for ever. Here a claim name that the longest id would make
too long is refused from the start.

Source: ``KubernetesVolumeUtils.parseVolumesWithPrefix``,
``org.apache.spark.deploy.k8s.features.MountVolumesFeatureStep``.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

from spark_allocation.core.executor_pod_context import ExecutorPodRequest, SparkPod, extend
from spark_allocation.core.kubernetes_names import DNS_SUBDOMAIN_MAX_LENGTH, is_dns_subdomain
from spark_allocation.core.pod_refusals import RefusalReason, refuse
from spark_allocation.core.quantities import check_quantity
from spark_allocation.core.spark_conf import SparkConf

POD_NAME_PREFIX = "spark.kubernetes.executor.podNamePrefix"
VOLUMES_PREFIX = "spark.kubernetes.executor.volumes."
ON_DEMAND = "OnDemand"
EXECUTOR_ID = "SPARK_EXECUTOR_ID"
_SMALLEST_BARE_SIZE = 1024
_LONGEST_ID = str(2**31 - 1)


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """One volume of the configuration (``KubernetesVolumeSpec``)."""

    kind: str
    name: str
    mount_path: str
    sub_path: str
    sub_path_expr: str
    read_only: bool
    options: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


class MountVolumesFeatureStep:
    """Mounts the volumes of the configuration and creates the claims it describes."""

    spark_class: ClassVar[str] = "org.apache.spark.deploy.k8s.features.MountVolumesFeatureStep"

    def __init__(self, request: ExecutorPodRequest) -> None:
        self._request = request
        shared = request.entries.boolean(
            "spark.kubernetes.legacy.useReadWriteOnceAccessMode",
            default=not request.version.at_least(4, 0),
        )
        self._access_mode = "ReadWriteOnce" if shared else "ReadWriteOncePod"
        self._claims: list[dict[str, Any]] = []

    def configure(self, pod: SparkPod) -> None:
        """Add a volume and a mount for each volume of the configuration."""
        specs = parse_volumes(self._request)
        _refuse_duplicate_mount_paths(specs)
        extend(pod.spec, "volumes", [self._volume(spec, index) for index, spec in enumerate(specs)])
        extend(pod.container, "volumeMounts", [self._mount(spec) for spec in specs])

    def additional_resources(self) -> list[dict[str, Any]]:
        """The claims to create."""
        return self._claims

    def _mount(self, spec: VolumeSpec) -> dict[str, Any]:
        mount: dict[str, Any] = {
            "name": spec.name,
            "mountPath": spec.mount_path,
            "readOnly": spec.read_only,
            "subPath": spec.sub_path,
        }
        if self._request.version.at_least(4, 0):
            mount["subPathExpr"] = spec.sub_path_expr
        return mount

    def _volume(self, spec: VolumeSpec, index: int) -> dict[str, Any]:
        source: dict[str, Any]
        match spec.kind:
            case "hostPath":
                source = {"path": spec.options["path"], "type": spec.options.get("type", "")}
            case "nfs":
                source = {"path": spec.options["path"], "server": spec.options["server"]}
            case "emptyDir":
                source = {"medium": spec.options.get("medium", "")}
                if "sizeLimit" in spec.options:
                    source["sizeLimit"] = _size(spec)
            case _:
                claim_name = self._claim_name(spec, index)
                self._add_claim(spec, index, claim_name)
                source = {"claimName": claim_name, "readOnly": spec.read_only}
        return {"name": spec.name, spec.kind: source}

    def _claim_name(self, spec: VolumeSpec, index: int, executor_id: str = "") -> str:
        executor_id = executor_id or str(self._request.executor_id)
        own = f"{self._request.context.pod_name_prefix}-exec-{executor_id}-pvc-{index}"
        name = spec.options["claimName"].replace(ON_DEMAND, own)
        return name.replace(EXECUTOR_ID, executor_id)

    def _check_claim_name(self, spec: VolumeSpec, index: int) -> None:
        """Refuse a name that the API server would refuse, for this executor or for a later one."""
        written = spec.options["claimName"]
        longest = self._claim_name(spec, index, _LONGEST_ID)
        key = f"{VOLUMES_PREFIX}{spec.kind}.{spec.name}.options.claimName"
        if len(longest) > DNS_SUBDOMAIN_MAX_LENGTH:
            prefix = self._request.context.pod_name_prefix
            shorten = (
                f" or {POD_NAME_PREFIX} ({prefix}, {len(prefix)} characters)"
                if ON_DEMAND in written
                else ""
            )
            refuse(
                RefusalReason.INVALID_VOLUME,
                key,
                written,
                f"makes claim names of up to {len(longest)} characters, and Kubernetes takes "
                f"{DNS_SUBDOMAIN_MAX_LENGTH}: shorten it{shorten}",
            )
        if not is_dns_subdomain(longest):
            refuse(
                RefusalReason.INVALID_VOLUME,
                key,
                written,
                f"makes a claim named {longest}, which is no DNS subdomain name (lower case letters, digits, '-', '.')",
            )

    def _add_claim(self, spec: VolumeSpec, index: int, claim_name: str) -> None:
        if "storageClass" not in spec.options or "sizeLimit" not in spec.options:
            return
        if not self._request.as_spark:
            self._check_claim_name(spec, index)
        metadata: dict[str, Any] = {
            "name": claim_name,
            "labels": {**spec.labels, "spark-app-selector": self._request.context.application_id},
        }
        if spec.annotations:
            metadata["annotations"] = dict(spec.annotations)
        self._claims.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": metadata,
                "spec": {
                    "accessModes": [self._access_mode],
                    "resources": {"requests": {"storage": _size(spec)}},
                    "storageClassName": spec.options["storageClass"],
                },
            }
        )


def describes_claims(conf: SparkConf) -> bool:
    """Whether executors have volumes whose claims are made along with them."""
    return any(
        key.startswith(f"{VOLUMES_PREFIX}persistentVolumeClaim.")
        and key.endswith(".options.storageClass")
        for key in conf
    )


def parse_volumes(request: ExecutorPodRequest) -> list[VolumeSpec]:
    """The volumes of the configuration, by type and name.

    Raises:
        PodNotBuildableError: when a volume lacks what its type needs or contradicts itself.
    """
    properties = request.conf.with_prefix(VOLUMES_PREFIX)
    found = sorted(
        {(parts[0], parts[1]) for key in properties if len(parts := _key_parts(key)) > 1}
    )
    return [_volume_spec(properties, kind, name, request) for kind, name in found]


def _key_parts(key: str) -> list[str]:
    """The parts between dots; empty ones at the end do not count, as in Java's split."""
    return key.rstrip(".").split(".")


def _volume_spec(
    properties: Mapping[str, str], kind: str, name: str, request: ExecutorPodRequest
) -> VolumeSpec:
    prefix = f"{kind}.{name}."
    own = {key[len(prefix) :]: value for key, value in properties.items() if key.startswith(prefix)}
    newer = request.version.at_least(4, 0)

    def invalid(option: str, rule: str) -> NoReturn:
        key = f"{VOLUMES_PREFIX}{prefix}{option}"
        refuse(RefusalReason.INVALID_VOLUME, key, own.get(option, ""), rule)

    if newer and "mount.subPath" in own and "mount.subPathExpr" in own:
        invalid("mount.subPathExpr", "excludes mount.subPath")
    if "mount.path" not in own:
        invalid("mount.path", "must be set")
    read_only = own.get("mount.readOnly", "false").lower()
    if read_only not in ("true", "false"):
        invalid("mount.readOnly", "must be true or false")
    required = _REQUIRED_OPTIONS.get(kind)
    if required is None:
        invalid(
            "mount.path", f"volume type {kind} is not supported: use {', '.join(_REQUIRED_OPTIONS)}"
        )
    for option in required:
        if f"options.{option}" not in own:
            invalid(f"options.{option}", f"is required for {kind}")
    if newer and kind in ("persistentVolumeClaim", "emptyDir") and "options.sizeLimit" in own:
        size = own["options.sizeLimit"]
        if size == "" or (size.isdecimal() and int(size) < _SMALLEST_BARE_SIZE):
            invalid("options.sizeLimit", "is smaller than 1KiB: is the unit missing?")
    options = _part(own, "options.")
    if not newer:
        options.pop("type", None)
    return VolumeSpec(
        kind=kind,
        name=name,
        mount_path=own["mount.path"],
        sub_path=own.get("mount.subPath", ""),
        sub_path_expr=own.get("mount.subPathExpr", ""),
        read_only=read_only == "true",
        options=options,
        labels=_part(own, "label.") if newer else {},
        annotations=_part(own, "annotation.") if newer else {},
    )


_REQUIRED_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "hostPath": ("path",),
    "persistentVolumeClaim": ("claimName",),
    "emptyDir": (),
    "nfs": ("path", "server"),
}


def _part(own: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {key[len(prefix) :]: own[key] for key in sorted(own) if key.startswith(prefix)}


def _size(spec: VolumeSpec) -> str:
    size = spec.options["sizeLimit"]
    try:
        return check_quantity(size)
    except ValueError as error:
        key = f"{VOLUMES_PREFIX}{spec.kind}.{spec.name}.options.sizeLimit"
        refuse(RefusalReason.INVALID_VOLUME, key, size, str(error))


def _refuse_duplicate_mount_paths(specs: list[VolumeSpec]) -> None:
    counts = Counter(spec.mount_path for spec in specs)
    for spec in specs:
        if counts[spec.mount_path] > 1:
            refuse(
                RefusalReason.DUPLICATE_MOUNT_PATH,
                f"{VOLUMES_PREFIX}{spec.kind}.{spec.name}.mount.path",
                spec.mount_path,
                "is the mount path of another volume too",
            )
