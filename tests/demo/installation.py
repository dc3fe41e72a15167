"""The operator installed into a cluster, the way a user installs it, and throw-away namespaces for Spark jobs."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import Cluster, ClusterError
from tests.demo import manifests
from tests.demo.manifests import OPERATOR, OPERATOR_NAMESPACE
from tests.demo.operator_process import OperatorProcess

ROLLOUT_SECONDS = 120
NAMESPACE_GONE_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Images:
    """Full names of images that the cluster's nodes have or can pull."""

    spark: str
    operator: str


@dataclass(slots=True)
class Installation:
    """The CRDs, the rights and one running operator.

    Attributes:
        process: the operator as a process of this host; None when it runs in the cluster.
    """

    cluster: Cluster
    process: OperatorProcess | None = None

    def operator_log(self, lines: int) -> str:
        if self.process is not None:
            return self.process.log_tail(lines)
        return self.cluster.kubectl(
            "logs", f"--namespace={OPERATOR_NAMESPACE}", f"deployment/{OPERATOR}", f"--tail={lines}"
        )

    def close(self) -> None:
        """End the operator's process if it is ours; an installed Deployment stays."""
        if self.process is not None and self.process.running:
            self.process.stop()


def install_in_cluster(cluster: Cluster, *, operator_image: str) -> Installation:
    """`kubectl apply` of crds/ and deploy/, then wait until the operator is ready.

    Raises:
        ClusterError: a manifest is refused or the operator does not become ready; carries its log.
    """
    _apply_crds(cluster)
    objects = manifests.operator_objects(image=operator_image)
    apply_operator(cluster, objects)
    installation = Installation(cluster)
    try:
        cluster.kubectl(
            "rollout",
            "status",
            f"--namespace={OPERATOR_NAMESPACE}",
            f"deployment/{OPERATOR}",
            f"--timeout={ROLLOUT_SECONDS}s",
        )
    except ClusterError as error:
        raise ClusterError(f"{error}\n{_why_not_ready(cluster)}") from error
    return installation


def install_on_host(cluster: Cluster, folder: Path, *, traces: Path | None = None) -> Installation:
    """CRDs and rights from the manifests, no Deployment pods, and the operator as a process of this host."""
    install_without_operator(cluster)
    process = OperatorProcess(cluster, folder, traces=traces)
    process.start()
    return Installation(cluster, process)


def install_without_operator(cluster: Cluster) -> None:
    """CRDs and rights from the manifests, and no operator: one that runs in the cluster is ended."""
    _apply_crds(cluster)
    objects = manifests.operator_objects(image="none", replicas=0)
    apply_operator(cluster, objects)
    cluster.kubectl(
        "wait",
        f"--namespace={OPERATOR_NAMESPACE}",
        "pod",
        f"--selector=app.kubernetes.io/name={OPERATOR}",
        "--for=delete",
        f"--timeout={ROLLOUT_SECONDS}s",
    )


def apply_operator(cluster: Cluster, objects: list[manifests.Object]) -> None:
    """`kubectl apply` of what `manifests.operator_objects` makes.

    A selector cannot be changed: a Deployment that an earlier version of the tests has left makes way (--force).
    """
    cluster.kubectl("apply", "--force", "-f", "-", stdin=manifests.to_yaml(objects))


def make_namespace(cluster: Cluster, namespace: str) -> None:
    """A namespace with the driver's service account; one that an earlier run left is replaced.

    Raises:
        ClusterError: a namespace of that name exists and nothing says that it may be deleted.
    """
    found = cluster.kubectl("get", "namespace", namespace, "--ignore-not-found", "--output=json")
    if found:
        labels = json.loads(found)["metadata"].get("labels", {})
        if manifests.OWNED_LABEL not in labels:
            raise ClusterError(
                f"The namespace {namespace} exists and is not one of ours (no label "
                f"{manifests.OWNED_LABEL}); nothing is done to it."
            )
        delete_namespace(cluster, namespace)
    objects = manifests.namespace_objects(namespace)
    cluster.kubectl("apply", "-f", "-", stdin=manifests.to_yaml(objects))
    cluster.kubectl(
        *("wait", f"--namespace={namespace}", "serviceaccount/default"),
        *("--for=create", "--timeout=30s"),
    )


def delete_namespace(cluster: Cluster, namespace: str) -> None:
    """Delete a namespace with all that is in it, and wait until it is gone."""
    cluster.kubectl(
        *("delete", "namespace", namespace, "--ignore-not-found"),
        *("--wait", f"--timeout={NAMESPACE_GONE_SECONDS}s"),
    )


def make_job_files(cluster: Cluster, namespace: str, name: str, *files: Path) -> None:
    """The config map that the driver pod mounts: the job and the passive driver's properties."""
    cluster.kubectl(
        *("create", "configmap", name, f"--namespace={namespace}"),
        *(f"--from-file={file}" for file in files),
    )


def _apply_crds(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", str(manifests.CRDS))
    cluster.kubectl(
        *("wait", "-f", str(manifests.CRDS), "--for=condition=Established", "--timeout=30s")
    )


def _why_not_ready(cluster: Cluster) -> str:
    selector = f"--selector=app.kubernetes.io/name={OPERATOR}"
    namespace = f"--namespace={OPERATOR_NAMESPACE}"
    said = []
    for arguments in (
        ("get", "pods", namespace, selector, "--output=wide"),
        ("logs", namespace, selector, "--tail=40"),
        ("get", "events", namespace, "--sort-by=.lastTimestamp"),
    ):
        try:
            said.append(cluster.kubectl(*arguments))
        except ClusterError as error:
            said.append(str(error))
    return "\n".join(said)
