"""The Hadoop configuration of executors, since Spark 3.5.

Source: ``org.apache.spark.deploy.k8s.features.HadoopConfExecutorFeatureStep``.
"""

from typing import ClassVar

from spark_allocation.core.executor_pod_context import ExecutorPodRequest, SparkPod, extend
from spark_allocation.core.feature_steps.feature_step import FeatureStepWithoutResources

HADOOP_CONFIG_MAP = "spark.kubernetes.executor.hadoopConfigMapName"
_VOLUME = "hadoop-properties"
_PATH = "/opt/hadoop/conf"


class HadoopConfExecutorFeatureStep(FeatureStepWithoutResources):
    """Mounts the ConfigMap that the submission client made of its HADOOP_CONF_DIR."""

    spark_class: ClassVar[str] = (
        "org.apache.spark.deploy.k8s.features.HadoopConfExecutorFeatureStep"
    )

    def __init__(self, request: ExecutorPodRequest) -> None:
        since = request.version.at_least(3, 5)
        self._config_map = request.conf.get(HADOOP_CONFIG_MAP) if since else None

    def configure(self, pod: SparkPod) -> None:
        """Add the volume, its mount and HADOOP_CONF_DIR."""
        if self._config_map is None:
            return
        extend(pod.spec, "volumes", [{"name": _VOLUME, "configMap": {"name": self._config_map}}])
        extend(pod.container, "volumeMounts", [{"name": _VOLUME, "mountPath": _PATH}])
        extend(pod.container, "env", [{"name": "HADOOP_CONF_DIR", "value": _PATH}])
