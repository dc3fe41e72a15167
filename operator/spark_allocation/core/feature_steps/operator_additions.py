"""Where this operator's executor pod differs from Spark's, on purpose.

Each difference is one class here or `decommission.InlineDecommissionFeatureStep`; ``docs/differences-from-spark.md``
lists them. None applies when the pod is compared with Spark's.
"""

from typing import ClassVar

from spark_allocation.core.executor_pod_context import ExecutorPodRequest, SparkPod, child, extend
from spark_allocation.core.feature_steps.basic import owner_reference
from spark_allocation.core.feature_steps.feature_step import FeatureStepWithoutResources

_FROM_THE_API_SERVER = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generateName",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)


class OperatorMetadataFeatureStep(FeatureStepWithoutResources):
    """Our labels and annotations, the driver's namespace, and the driver pod as the only owner.

    A template can bring owners and fields that the API server sets; an executor pod with another owner would outlive
    its driver or be collected early, so they are dropped.
    """

    spark_class: ClassVar[str] = ""

    def __init__(self, request: ExecutorPodRequest) -> None:
        self._request = request

    def configure(self, pod: SparkPod) -> None:
        """Set what identifies the pod."""
        context = self._request.context
        pod.pod["apiVersion"], pod.pod["kind"] = "v1", "Pod"
        pod.pod.pop("status", None)
        metadata = pod.metadata
        for name in (*_FROM_THE_API_SERVER, "ownerReferences"):
            metadata.pop(name, None)
        metadata["namespace"] = context.driver.namespace
        child(metadata, "labels").update(context.labels)
        if context.annotations:
            child(metadata, "annotations").update(context.annotations)
        if context.driver.name:
            metadata["ownerReferences"] = [owner_reference(self._request)]


class HostnameFeatureStep(FeatureStepWithoutResources):
    """A host name that the API server accepts.

    Spark turns the dots of a pod's name into underscores, which a host name must not have: with a dot in
    ``spark.kubernetes.executor.podNamePrefix`` the API server refuses each of Spark's own pods.
    """

    spark_class: ClassVar[str] = ""

    def __init__(self, request: ExecutorPodRequest) -> None:
        """Nothing to check: the pod's name is a DNS subdomain, so underscores stand for dots only."""

    def configure(self, pod: SparkPod) -> None:
        """Use hyphens instead."""
        pod.spec["hostname"] = pod.spec["hostname"].replace("_", "-")


class TerminationGracePeriodFeatureStep(FeatureStepWithoutResources):
    """The grace period that evictions, node drains and autoscalers use."""

    spark_class: ClassVar[str] = ""

    def __init__(self, request: ExecutorPodRequest) -> None:
        self._seconds = request.context.termination_grace_period_seconds

    def configure(self, pod: SparkPod) -> None:
        """Set it when the context names one."""
        if self._seconds is not None:
            pod.spec["terminationGracePeriodSeconds"] = self._seconds


class NeverRestartFeatureStep(FeatureStepWithoutResources):
    """An executor that ended is replaced under a new id, never restarted under its own.

    With ``spark.kubernetes.allocation.pods.allocator=statefulset`` Spark's pods restart, because a StatefulSet demands
    it; ours belong to none, and a restarted executor would register an id that the driver has already seen leave.
    """

    spark_class: ClassVar[str] = ""

    def __init__(self, request: ExecutorPodRequest) -> None:
        """Nothing to check."""

    def configure(self, pod: SparkPod) -> None:
        """Set the pod's restart policy."""
        pod.spec["restartPolicy"] = "Never"


class NativeSidecarsFeatureStep(FeatureStepWithoutResources):
    """Turns the template's other containers into init containers that restart.

    An ordinary sidecar keeps the pod Running after the executor's graceful end; the driver then sees a container that
    failed in a running pod, and charges its tasks. A native sidecar ends with the pod.
    """

    spark_class: ClassVar[str] = ""

    def __init__(self, request: ExecutorPodRequest) -> None:
        self._wanted = request.context.native_sidecars

    def configure(self, pod: SparkPod) -> None:
        """Move the containers behind the template's own init containers."""
        if not self._wanted:
            return
        sidecars = pod.spec.pop("containers", None) or []
        extend(
            pod.spec,
            "initContainers",
            [{**sidecar, "restartPolicy": "Always"} for sidecar in sidecars],
        )
