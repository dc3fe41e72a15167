"""The repository's manifests, as a user would apply them, with namespace and images filled in."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
DEPLOY = ROOT / "deploy"
EXAMPLES = ROOT / "examples"

OPERATOR_NAMESPACE = "spark-allocation-system"
OPERATOR = "spark-allocation-operator"
OWNED_LABEL = "sparkallocation.dev/throw-away"
"""On namespaces that the demo and the tests made and may delete."""

Object = dict[str, Any]


def documents(*files: Path) -> list[Object]:
    return [
        document
        for file in files
        for document in yaml.safe_load_all(file.read_text())
        if document is not None
    ]


def to_yaml(objects: list[Object]) -> str:
    return yaml.safe_dump_all(objects, sort_keys=False)


def operator_objects(*, image: str, replicas: int = 1) -> list[Object]:
    """deploy/ with the operator's image and the number of its pods."""
    objects = documents(*sorted(DEPLOY.glob("*.yaml")))
    for document in objects:
        if document["kind"] == "Deployment":
            document["spec"]["replicas"] = replicas
            for container in document["spec"]["template"]["spec"]["containers"]:
                container["image"] = image
    return objects


def namespace_objects(namespace: str) -> list[Object]:
    """examples/spark-namespace.yaml under another name, labelled as ours to delete."""
    objects = documents(EXAMPLES / "spark-namespace.yaml")
    for document in objects:
        metadata = document["metadata"]
        if document["kind"] == "Namespace":
            metadata["name"] = namespace
            metadata["labels"] = {OWNED_LABEL: "true"}
        else:
            metadata["namespace"] = namespace
        for subject in document.get("subjects", []):
            subject["namespace"] = namespace
    return objects


def driver_pod(
    *,
    namespace: str,
    image: str,
    name: str | None = None,
    job_arguments: tuple[str, ...] = (),
    annotations: dict[str, str] | None = None,
) -> Object:
    """examples/driver-pod.yaml in another namespace, with another image.

    Args:
        job_arguments: appended to the job's command line.
        annotations: added to the pod's, such as ``spec.sparkallocation.dev/…``.
    """
    (pod,) = documents(EXAMPLES / "driver-pod.yaml")
    pod["metadata"]["namespace"] = namespace
    if name is not None:
        pod["metadata"]["name"] = name
    pod["metadata"]["annotations"] |= annotations or {}
    container = pod["spec"]["containers"][0]
    container["image"] = image
    for variable in container["env"]:
        if variable["name"] == "EXECUTOR_IMAGE":
            variable["value"] = image
    container["args"] += job_arguments
    return pod
