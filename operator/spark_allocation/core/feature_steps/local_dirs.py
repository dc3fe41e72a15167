"""Directories for shuffle files and spilled blocks.

Source: ``org.apache.spark.deploy.k8s.features.LocalDirsFeatureStep``. Spark shuffles the order of the directories, to
spread the load over disks; here the order is kept, so that the same input gives the same pod.
"""

from typing import Any, ClassVar

from spark_allocation.core.executor_pod_context import ExecutorPodRequest, SparkPod, extend
from spark_allocation.core.feature_steps.feature_step import FeatureStepWithoutResources

LOCAL_DIR_VOLUME_PREFIX = "spark-local-dir-"


class LocalDirsFeatureStep(FeatureStepWithoutResources):
    """User volumes named ``spark-local-dir-*``, else an emptyDir for each configured directory."""

    spark_class: ClassVar[str] = "org.apache.spark.deploy.k8s.features.LocalDirsFeatureStep"

    def __init__(self, request: ExecutorPodRequest) -> None:
        self._request = request
        self._in_memory = request.entries.boolean(
            "spark.kubernetes.local.dirs.tmpfs", default=False
        )

    def configure(self, pod: SparkPod) -> None:
        """Add the volumes if the user brought none, and SPARK_LOCAL_DIRS."""
        directories = [
            mount["mountPath"]
            for mount in pod.container.get("volumeMounts") or []
            if str(mount.get("name", "")).startswith(LOCAL_DIR_VOLUME_PREFIX)
        ]
        if not directories:
            directories = self._configured()
            names = [f"{LOCAL_DIR_VOLUME_PREFIX}{i}" for i in range(1, len(directories) + 1)]
            extend(
                pod.spec,
                "volumes",
                [{"name": name, "emptyDir": self._empty_dir()} for name in names],
            )
            extend(
                pod.container,
                "volumeMounts",
                [
                    {"name": name, "mountPath": path}
                    for name, path in zip(names, directories, strict=True)
                ],
            )
        extend(pod.container, "env", [{"name": "SPARK_LOCAL_DIRS", "value": ",".join(directories)}])

    def _configured(self) -> list[str]:
        text = self._request.context.driver.local_dirs
        if text is None:
            text = self._request.conf.get(
                "spark.local.dir", self._request.context.default_local_dir
            )
        parts = text.split(",")
        while len(parts) > 1 and parts[-1] == "":  # Java's split drops empty parts at the end
            parts.pop()
        return parts if text.strip(",") or not text else []

    def _empty_dir(self) -> dict[str, Any]:
        return {"medium": "Memory"} if self._in_memory else {}
