"""What batch schedulers want to see on an executor: Spark's own optional steps for Volcano and YuniKorn.

``spark.kubernetes.executor.pod.featureSteps`` names Java classes. The two that Spark brings along are reproduced here;
any other class runs code that is only in the driver's image, so it is refused by name.

Source: ``org.apache.spark.deploy.k8s.features.VolcanoFeatureStep``, ``YuniKornFeatureStep``.
"""

from typing import ClassVar

from spark_allocation.core.executor_pod_context import ExecutorPodRequest, SparkPod, child
from spark_allocation.core.feature_steps.feature_step import FeatureStepWithoutResources


class VolcanoFeatureStep(FeatureStepWithoutResources):
    """Puts the executor into the pod group that the driver's submission made."""

    spark_class: ClassVar[str] = "org.apache.spark.deploy.k8s.features.VolcanoFeatureStep"

    def __init__(self, request: ExecutorPodRequest) -> None:
        self._group = f"{request.context.application_id}-podgroup"

    def configure(self, pod: SparkPod) -> None:
        """Annotate the pod with its group."""
        child(pod.metadata, "annotations")["scheduling.k8s.io/group-name"] = self._group


class YuniKornFeatureStep(FeatureStepWithoutResources):
    """Tells YuniKorn which application the executor belongs to (since Spark 4.0)."""

    spark_class: ClassVar[str] = "org.apache.spark.deploy.k8s.features.YuniKornFeatureStep"

    def __init__(self, request: ExecutorPodRequest) -> None:
        self._application_id = request.context.application_id

    def configure(self, pod: SparkPod) -> None:
        """Annotate the pod with its application."""
        child(pod.metadata, "annotations")["yunikorn.apache.org/app-id"] = self._application_id
