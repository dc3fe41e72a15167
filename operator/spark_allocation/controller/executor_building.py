"""Builds the executor pods of one life: Spark's builder, our labels, and the limit of what an executor may have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from spark_allocation.api.conditions import Reason
from spark_allocation.api.group import (
    ALLOCATION_UID_LABEL,
    INCARNATION_ANNOTATION,
    NEXT_EXECUTOR_ID_ANNOTATION,
)
from spark_allocation.api.v1alpha1 import Executor, SparkAllocationSpec
from spark_allocation.controller.driver_connection import Connection
from spark_allocation.controller.effective_settings import EVICTION_GRACE_SECONDS
from spark_allocation.controller.executor_claims import ClaimOwner
from spark_allocation.controller.incarnation import pod_name_prefix
from spark_allocation.controller.pod_creation import Obstacle
from spark_allocation.controller.profile_settings import ProfileSettings
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pod_blueprint import ExecutorPodBlueprint
from spark_allocation.core.executor_pod_builder import ExecutorPodManifest, build_executor_pod
from spark_allocation.core.executor_pod_context import ExecutorPodContext
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.feature_steps.credentials import EXECUTOR_SERVICE_ACCOUNT
from spark_allocation.core.feature_steps.volumes import POD_NAME_PREFIX, describes_claims
from spark_allocation.core.pod_allow_list import NOTHING_MORE, PodAllowList, offending_fields
from spark_allocation.core.pod_refusals import PodNotBuildableError, PodRefused
from spark_allocation.core.pod_size import PodSize, size_of_manifest
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfile
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_conf_references import with_references_replaced

PodTemplate = Mapping[str, Any]
_MOST_FIELDS_NAMED = 5
DEFAULT_SIZE = PodSize(milli_cores=1000, memory_mib=1408)
_IMAGE = "spark.kubernetes.executor.container.image"


@dataclass(frozen=True, slots=True)
class ExecutorWish:
    """What a SparkAllocation says of the executor pods of one resource profile.

    Attributes:
        template: None takes the driver's own template.
        image: "" takes the driver's.
        service_account: "" takes the driver's.
    """

    template: PodTemplate | None = None
    image: str = ""
    service_account: str = ""

    @property
    def properties(self) -> dict[str, str]:
        """As Spark properties."""
        wished = {_IMAGE: self.image, EXECUTOR_SERVICE_ACCOUNT: self.service_account}
        return {key: value for key, value in wished.items() if value}


NO_WISH = ExecutorWish()


def executor_wish(
    spec: SparkAllocationSpec, profiles: ProfileSettings, profile_id: ProfileId
) -> ExecutorWish:
    """What the spec says for a profile."""
    executor = spec.executor or Executor()
    return ExecutorWish(
        template=profiles.templates.get(profile_id, executor.pod_template),
        image=executor.image or "",
        service_account=executor.service_account_name or "",
    )


class ExecutorBuilding:
    """Names and builds the pods of one life of a driver.

    Args:
        connection: to the driver.
        incarnation: of this life.
        allocation_uid: of the SparkAllocation that serves it.
        ids: for the annotation that witnesses how far ids are reserved.
        wish: what the SparkAllocation says of a profile's pods, as it is when a pod is built.
        allowed: what policies allow beyond the driver pod, as it is when a pod is built.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        incarnation: str,
        allocation_uid: str,
        ids: ExecutorIds,
        wish: Callable[[ProfileId], ExecutorWish] = lambda _: NO_WISH,
        allowed: Callable[[], PodAllowList] = lambda: NOTHING_MORE,
    ) -> None:
        self._connection = connection
        self._incarnation = incarnation
        self._allocation_uid = allocation_uid
        self._ids = ids
        self._wish = wish
        self._allowed = allowed
        self._blueprints: dict[ProfileId, tuple[object, ExecutorPodBlueprint[Obstacle]]] = {}
        self.prefix = pod_name_prefix(
            _wanted_prefix(connection.configuration.conf),
            connection.application.name,
            incarnation,
        )

    def name(self, executor_id: ExecutorId) -> str:
        """The name of an executor's pod."""
        return f"{self.prefix}-exec-{executor_id}"

    @property
    def claim_owner(self) -> ClaimOwner:
        """Whose claims the executors of this life use."""
        driver = self._connection.driver_document
        return ClaimOwner(
            namespace=driver["metadata"]["namespace"],
            application_id=self._connection.application.id,
            driver_uid=driver["metadata"]["uid"],
            mounted_by_driver=frozenset(
                volume["persistentVolumeClaim"]["claimName"]
                for volume in (driver.get("spec") or {}).get("volumes") or ()
                if volume.get("persistentVolumeClaim")
            ),
            makes_claims=describes_claims(self._connection.configuration.conf),
        )

    def size(self, profile_id: ProfileId) -> PodSize:
        """What the next pod of a profile would ask for; one that cannot be built is taken for one of Spark's defaults."""
        built = self.build(ExecutorId(self._ids.next_id), profile_id)
        return DEFAULT_SIZE if isinstance(built, Obstacle) else size_of_manifest(built.pod)

    def build(
        self, executor_id: ExecutorId, profile_id: ProfileId
    ) -> ExecutorPodManifest | Obstacle:
        """The pod, or why there can be none."""
        profile = self._connection.profiles.get(profile_id)
        if profile is None:
            return Obstacle(
                Reason.POD_NOT_BUILT,
                f"resource profile {profile_id}: the driver has not described it, or Spark would refuse it",
            )
        wish, allowed = self._wish(profile_id), self._allowed()
        kind = (profile, wish, allowed, self._ids.reserved_until)
        known = self._blueprints.get(profile_id)
        if known is None or known[0] != kind:
            build = partial(self._build_in_whole, profile, wish, allowed)
            known = self._blueprints[profile_id] = kind, ExecutorPodBlueprint(build)
        return known[1].manifest(executor_id)

    def _build_in_whole(
        self,
        profile: ResourceProfile,
        wish: ExecutorWish,
        allowed: PodAllowList,
        executor_id: ExecutorId,
    ) -> ExecutorPodManifest | Obstacle:
        configuration = self._connection.configuration
        template = configuration.pod_template if wish.template is None else wish.template
        if template is None and configuration.pod_template_problem:
            return Obstacle(Reason.POD_NOT_BUILT, configuration.pod_template_problem)
        manifest = build_executor_pod(
            configuration.conf.with_values(wish.properties)
            if wish.properties
            else configuration.conf,
            profile,
            executor_id,
            ExecutorPodContext(
                application_id=self._connection.application.id,
                spark_version=configuration.version,
                driver=configuration.facts,
                pod_name_prefix=self.prefix,
                config_map=configuration.config_map,
                pod_template=template,
                labels={ALLOCATION_UID_LABEL: self._allocation_uid},
                annotations={
                    INCARNATION_ANNOTATION: self._incarnation,
                    NEXT_EXECUTOR_ID_ANNOTATION: str(self._ids.reserved_until),
                },
                termination_grace_period_seconds=EVICTION_GRACE_SECONDS,
                native_sidecars=True,
            ),
        )
        if isinstance(manifest, PodRefused):
            return Obstacle(
                Reason.POD_NOT_BUILT,
                f"{manifest.reason}: {manifest.key}={manifest.value!r}: {manifest.rule}",
            )
        return self._within_limits(self._without_token(manifest), template, allowed)

    def _without_token(self, manifest: ExecutorPodManifest) -> ExecutorPodManifest:
        """A driver pod that goes without a token has executors that do, unless their template asks for one."""
        driver_spec = self._connection.driver_document.get("spec") or {}
        spec = manifest.pod["spec"]
        if (
            driver_spec.get("automountServiceAccountToken") is not False
            or "automountServiceAccountToken" in spec
        ):
            return manifest
        pod = {**manifest.pod, "spec": {**spec, "automountServiceAccountToken": False}}
        return replace(manifest, pod=pod)

    def _within_limits(
        self, manifest: ExecutorPodManifest, template: PodTemplate | None, allowed: PodAllowList
    ) -> ExecutorPodManifest | Obstacle:
        config_map = self._connection.configuration.config_map
        offending = offending_fields(
            manifest.pod,
            self._connection.driver_document,
            allowed,
            own_config_maps=[config_map.name] if config_map is not None else [],
            own_claims=manifest.resources,
            template=template,
        )
        if not offending:
            return manifest
        sentences = [field.sentence for field in offending[:_MOST_FIELDS_NAMED]]
        if len(offending) > _MOST_FIELDS_NAMED:
            sentences.append(f"and {len(offending) - _MOST_FIELDS_NAMED} more")
        return Obstacle(Reason.FIELD_NOT_ALLOWED, "; ".join(sentences))


def _wanted_prefix(conf: SparkConf) -> str | None:
    try:
        return with_references_replaced(conf, (POD_NAME_PREFIX,)).get(POD_NAME_PREFIX)
    except PodNotBuildableError:
        return conf.get(POD_NAME_PREFIX)  # no pod is built from it: the builder says why
