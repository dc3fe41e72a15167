"""What a feature step is (``org.apache.spark.deploy.k8s.features.KubernetesFeatureConfigStep``)."""

from typing import Any, ClassVar, Protocol

from spark_allocation.core.executor_pod_context import SparkPod


class FeatureStep(Protocol):
    """One concern of an executor pod.

    As in Spark, a step checks its settings when it is made, before any step changes the pod, and even when it is
    excluded afterwards.
    """

    spark_class: ClassVar[str]
    """The name by which the configuration includes or excludes the step."""

    def configure(self, pod: SparkPod) -> None:
        """Extend the pod and its Spark container in place."""

    def additional_resources(self) -> list[dict[str, Any]]:
        """Objects to create with the pod, such as volume claims."""


class FeatureStepWithoutResources:
    """A step whose concern ends with the pod."""

    def additional_resources(self) -> list[dict[str, Any]]:
        """Nothing."""
        return []
