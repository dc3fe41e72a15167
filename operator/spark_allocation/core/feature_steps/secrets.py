"""Secrets in executors: as mounted volumes and as environment variables.

Source: ``org.apache.spark.deploy.k8s.features.MountSecretsFeatureStep``, ``EnvSecretsFeatureStep``.
"""

from typing import ClassVar

from spark_allocation.core.executor_pod_context import ExecutorPodRequest, SparkPod, extend
from spark_allocation.core.feature_steps.feature_step import FeatureStepWithoutResources
from spark_allocation.core.pod_refusals import RefusalReason, refuse

SECRETS_PREFIX = "spark.kubernetes.executor.secrets."
SECRET_KEY_REF_PREFIX = "spark.kubernetes.executor.secretKeyRef."  # noqa: S105  (a key's prefix)


class MountSecretsFeatureStep(FeatureStepWithoutResources):
    """``spark.kubernetes.executor.secrets.<secret>=<path>``: the secret as a volume."""

    spark_class: ClassVar[str] = "org.apache.spark.deploy.k8s.features.MountSecretsFeatureStep"

    def __init__(self, request: ExecutorPodRequest) -> None:
        self._paths = request.conf.with_prefix(SECRETS_PREFIX)

    def configure(self, pod: SparkPod) -> None:
        """Add a volume and a mount for each secret."""
        names = sorted(self._paths)
        extend(
            pod.spec,
            "volumes",
            [{"name": f"{name}-volume", "secret": {"secretName": name}} for name in names],
        )
        extend(
            pod.container,
            "volumeMounts",
            [{"name": f"{name}-volume", "mountPath": self._paths[name]} for name in names],
        )


class EnvSecretsFeatureStep(FeatureStepWithoutResources):
    """``spark.kubernetes.executor.secretKeyRef.<VARIABLE>=<secret>:<key>``: one key as a variable."""

    spark_class: ClassVar[str] = "org.apache.spark.deploy.k8s.features.EnvSecretsFeatureStep"

    def __init__(self, request: ExecutorPodRequest) -> None:
        self._references = request.conf.with_prefix(SECRET_KEY_REF_PREFIX)

    def configure(self, pod: SparkPod) -> None:
        """Add a variable for each reference."""
        variables = []
        for name in sorted(self._references):
            secret, key = _parsed(name, self._references[name])
            reference = {"name": secret, "key": key}
            variables.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
        extend(pod.container, "env", variables)


def _parsed(variable: str, reference: str) -> tuple[str, str]:
    parts = reference.split(":")
    while len(parts) > 1 and parts[-1] == "":  # Java's split drops empty parts at the end
        parts.pop()
    if len(parts) != 2:
        refuse(
            RefusalReason.MALFORMED_SECRET_KEY_REF,
            SECRET_KEY_REF_PREFIX + variable,
            reference,
            "must be <secret>:<key>",
        )
    return parts[0], parts[1]
