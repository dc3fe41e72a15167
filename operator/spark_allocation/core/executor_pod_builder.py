"""Builds executor pods as Spark's driver would.

Theory of operation
-------------------
A pod is a fold. It starts as the user's template (its Spark container taken out) or as nothing; each feature step
extends it by one concern, in Spark's order; at last the Spark container is appended to the pod's containers:

    template ─► basic ─► service account ─► secrets ─► secret variables ─► volumes ─► Hadoop ─► local dirs
             ─► the user's feature steps ─► this operator's additions ─► pod

Which settings count, what they mean and which of them are refused follows the driver's Spark version. Where Spark throws
while building, `build_executor_pod` returns a `PodRefused`.

The same input gives the same bytes: there is no clock and no chance in it, and what Spark takes from hash maps is taken
in alphabetical order here. With ``as_spark`` the result is Spark's own pod, which the conformance tests compare with
the real classes; without it, this operator's additions follow (see `feature_steps.operator_additions`).

Source: ``org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBuilder``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spark_allocation.core.executor_pod_context import (
    ExecutorPodContext,
    ExecutorPodRequest,
    extend,
)
from spark_allocation.core.executor_pod_settings import ENTRY_KEYS, with_older_names_read
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.feature_steps.basic import (
    BasicExecutorFeatureStep,
    owner_reference,
    sequence,
)
from spark_allocation.core.feature_steps.credentials import ExecutorKubernetesCredentialsFeatureStep
from spark_allocation.core.feature_steps.decommission import InlineDecommissionFeatureStep
from spark_allocation.core.feature_steps.feature_step import FeatureStep
from spark_allocation.core.feature_steps.hadoop_conf import HadoopConfExecutorFeatureStep
from spark_allocation.core.feature_steps.local_dirs import LocalDirsFeatureStep
from spark_allocation.core.feature_steps.operator_additions import (
    HostnameFeatureStep,
    NativeSidecarsFeatureStep,
    NeverRestartFeatureStep,
    OperatorMetadataFeatureStep,
    TerminationGracePeriodFeatureStep,
)
from spark_allocation.core.feature_steps.schedulers import VolcanoFeatureStep, YuniKornFeatureStep
from spark_allocation.core.feature_steps.secrets import (
    EnvSecretsFeatureStep,
    MountSecretsFeatureStep,
)
from spark_allocation.core.feature_steps.volumes import POD_NAME_PREFIX, MountVolumesFeatureStep
from spark_allocation.core.kubernetes_names import DNS_SUBDOMAIN_MAX_LENGTH, is_dns_subdomain
from spark_allocation.core.pod_refusals import (
    PodNotBuildableError,
    PodRefused,
    RefusalReason,
    refuse,
)
from spark_allocation.core.pod_template import spark_pod_of
from spark_allocation.core.redacted_settings import REDACTED, required_keys_redacted
from spark_allocation.core.resource_profiles import ResourceProfile
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf
from spark_allocation.core.spark_conf_references import with_references_replaced
from spark_allocation.core.spark_version import SparkVersion

_TEMPLATE_FILE = "spark.kubernetes.executor.podTemplateFile"
_TEMPLATE_CONTAINER_NAME = "spark.kubernetes.executor.podTemplateContainerName"
_FEATURE_STEPS = "spark.kubernetes.executor.pod.featureSteps"
_EXCLUDED_FEATURE_STEPS = "spark.kubernetes.executor.pod.excludedFeatureSteps"
_NAMESPACE = "spark.kubernetes.namespace"
_LONGEST_POD_NAME_SUFFIX = len("-exec-") + len(str(2**31 - 1))
LONGEST_POD_NAME_PREFIX = DNS_SUBDOMAIN_MAX_LENGTH - _LONGEST_POD_NAME_SUFFIX
"""Spark's limit: 237 characters leave room for the pod names of all executors."""

StepMaker = Callable[[ExecutorPodRequest], FeatureStep]

_SPARK_STEPS: tuple[StepMaker, ...] = (
    BasicExecutorFeatureStep,
    ExecutorKubernetesCredentialsFeatureStep,
    MountSecretsFeatureStep,
    EnvSecretsFeatureStep,
    MountVolumesFeatureStep,
    HadoopConfExecutorFeatureStep,
    LocalDirsFeatureStep,
)
_OPERATOR_STEPS: tuple[StepMaker, ...] = (
    HostnameFeatureStep,
    InlineDecommissionFeatureStep,
    NativeSidecarsFeatureStep,
    NeverRestartFeatureStep,
    TerminationGracePeriodFeatureStep,
    OperatorMetadataFeatureStep,
)


@dataclass(frozen=True, slots=True)
class ExecutorPodManifest:
    """A pod to create, and what to create with it.

    Attributes:
        pod: the manifest; its last container is the executor.
        resources: objects to create along with it (claims). Spark creates them *after* the pod.
        executor_container: name of the Spark container.
        resources_follow_pod: the claims belong to the executor pod rather than to the driver
            (``spark.kubernetes.driver.ownPersistentVolumeClaim=false``): their owner reference needs the uid that the
            API server gives the pod, so the caller adds it.
    """

    pod: Mapping[str, Any]
    resources: tuple[Mapping[str, Any], ...]
    executor_container: str
    resources_follow_pod: bool = False


def build_executor_pod(
    conf: SparkConf,
    profile: ResourceProfile,
    executor_id: ExecutorId,
    context: ExecutorPodContext,
    *,
    as_spark: bool = False,
) -> ExecutorPodManifest | PodRefused:
    """Build the pod of one executor.

    Args:
        conf: the driver's effective configuration.
        profile: what the executor is for; the default profile's numbers come from ``conf``.
        executor_id: decimal and never used before in this driver.
        context: facts of the driver and this operator's choices.
        as_spark: Spark's pod, without this operator's additions and checks of its own.

    Returns:
        The manifest, or why there is none.
    """
    try:
        return _build(conf, profile, executor_id, context, as_spark=as_spark)
    except PodNotBuildableError as error:
        return error.refused
    except InvalidSetting as error:
        return PodRefused(RefusalReason.INVALID_VALUE, error.key, error.value, error.rule)


def _build(
    conf: SparkConf,
    profile: ResourceProfile,
    executor_id: ExecutorId,
    context: ExecutorPodContext,
    *,
    as_spark: bool,
) -> ExecutorPodManifest:
    if not as_spark:
        _check_knowable(conf, context)
    request = ExecutorPodRequest(
        conf=conf,
        entries=with_references_replaced(with_older_names_read(conf), ENTRY_KEYS),
        profile=profile,
        executor_id=executor_id,
        context=context,
        as_spark=as_spark,
    )
    if not as_spark and POD_NAME_PREFIX in request.entries:
        # as it is written; the caller makes the name that counts from it
        _check_pod_name_prefix(request.entries[POD_NAME_PREFIX])
    _check_pod_name_prefix(context.pod_name_prefix)
    pod = spark_pod_of(context.pod_template, request.entries.get(_TEMPLATE_CONTAINER_NAME))
    resources: list[dict[str, Any]] = []
    for step in _feature_steps(request):
        step.configure(pod)
        resources.extend(step.additional_resources())
    container_name = str(pod.container.get("name", ""))
    extend(pod.spec, "containers", [pod.container])
    follows = False
    if not as_spark:
        follows = not _own_claims(request, resources)
    return ExecutorPodManifest(
        pod=pod.pod,
        resources=tuple(resources),
        executor_container=container_name,
        resources_follow_pod=follows,
    )


def _feature_steps(request: ExecutorPodRequest) -> list[FeatureStep]:
    """Spark's steps, the user's, and ours; all are made, so that all are checked, before any is left out."""
    makers = [
        *_SPARK_STEPS,
        *(_known_step(request, name) for name in sequence(request.entries, _FEATURE_STEPS)),
    ]
    steps = [make(request) for make in makers]
    if request.version.at_least(4, 1):
        excluded = sequence(request.entries, _EXCLUDED_FEATURE_STEPS)
        if not request.as_spark and BasicExecutorFeatureStep.spark_class in excluded:
            refuse(
                RefusalReason.UNSUPPORTED_FEATURE_STEP,
                _EXCLUDED_FEATURE_STEPS,
                request.entries[_EXCLUDED_FEATURE_STEPS],
                "must not exclude BasicExecutorFeatureStep: without its labels no executor can be told apart",
            )
        steps = [step for step in steps if step.spark_class not in excluded]
    if not request.as_spark:
        steps.extend(make(request) for make in _OPERATOR_STEPS)
    return steps


def _known_step(request: ExecutorPodRequest, name: str) -> StepMaker:
    steps = _user_steps(request.version)
    if name not in steps:
        refuse(
            RefusalReason.UNSUPPORTED_FEATURE_STEP,
            _FEATURE_STEPS,
            name,
            f"is a Java class that only the driver can run; known here: {', '.join(sorted(steps))}",
        )
    return steps[name]


def _user_steps(version: SparkVersion) -> dict[str, StepMaker]:
    steps: dict[str, StepMaker] = {VolcanoFeatureStep.spark_class: VolcanoFeatureStep}
    if version.at_least(4, 0):
        steps[YuniKornFeatureStep.spark_class] = YuniKornFeatureStep
    return steps


def _check_knowable(conf: SparkConf, context: ExecutorPodContext) -> None:
    """Refuse what would make a pod that differs from Spark's without anyone seeing it."""
    masked = required_keys_redacted(conf, context.spark_version)
    if masked:
        refuse(
            RefusalReason.REDACTED_VALUE,
            masked[0],
            REDACTED,
            "is masked in the driver's report: give its value in spec.sparkConf",
        )
    if context.pod_template is None and _TEMPLATE_FILE in conf:
        refuse(
            RefusalReason.INVALID_TEMPLATE,
            _TEMPLATE_FILE,
            conf[_TEMPLATE_FILE],
            "is a file in the driver that could not be read: give the template in spec.executor.podTemplate",
        )
    namespace = conf.get(_NAMESPACE, "default")
    if namespace != context.driver.namespace:
        refuse(
            RefusalReason.NAMESPACE_MISMATCH,
            _NAMESPACE,
            namespace,
            f"must be the driver pod's namespace ({context.driver.namespace}): the driver looks for executors there",
        )


def _check_pod_name_prefix(prefix: str) -> None:
    if len(prefix) > LONGEST_POD_NAME_PREFIX or not is_dns_subdomain(prefix):
        refuse(
            RefusalReason.INVALID_POD_NAME_PREFIX,
            POD_NAME_PREFIX,
            prefix,
            f"must be a DNS subdomain name of at most {LONGEST_POD_NAME_PREFIX} characters",
        )


def _own_claims(request: ExecutorPodRequest, claims: list[dict[str, Any]]) -> bool:
    """Make the driver the owner of the claims, as the driver's allocator does; whether it is (or there are none)."""
    if not claims:
        return True
    if not request.context.driver.name or not request.entries.boolean(
        "spark.kubernetes.driver.ownPersistentVolumeClaim", default=True
    ):
        return False
    for claim in claims:
        claim["metadata"]["namespace"] = request.context.driver.namespace
        claim["metadata"]["ownerReferences"] = [owner_reference(request)]
    return True
