"""The executor's service account.

Source: ``org.apache.spark.deploy.k8s.features.ExecutorKubernetesCredentialsFeatureStep``.
"""

from typing import ClassVar

from spark_allocation.core.executor_pod_context import ExecutorPodRequest, SparkPod
from spark_allocation.core.feature_steps.feature_step import FeatureStepWithoutResources

EXECUTOR_SERVICE_ACCOUNT = "spark.kubernetes.authenticate.executor.serviceAccountName"
DRIVER_SERVICE_ACCOUNT = "spark.kubernetes.authenticate.driver.serviceAccountName"


class ExecutorKubernetesCredentialsFeatureStep(FeatureStepWithoutResources):
    """The template's account, else the executor's, else the driver's by configuration.

    Like Spark it looks at the template's ``serviceAccount``, the old name of the field: a template that sets only
    ``serviceAccountName`` is overruled by the configuration.
    """

    spark_class: ClassVar[str] = (
        "org.apache.spark.deploy.k8s.features.ExecutorKubernetesCredentialsFeatureStep"
    )

    def __init__(self, request: ExecutorPodRequest) -> None:
        entries = request.entries
        self._account = entries.get(EXECUTOR_SERVICE_ACCOUNT, entries.get(DRIVER_SERVICE_ACCOUNT))

    def configure(self, pod: SparkPod) -> None:
        """Set both names of the field."""
        if self._account is not None and pod.spec.get("serviceAccount") is None:
            pod.spec["serviceAccount"] = self._account
            pod.spec["serviceAccountName"] = self._account
