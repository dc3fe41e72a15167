"""The user's pod template: what it must look like, and which of its containers is Spark's.

A template in a SparkAllocation is free-form in the CRD's schema, so anything can stand in it. The API server would refuse
a pod whose fields have the wrong type; here the fields that the builder extends are checked first, so that a slip in a
template is a sentence about a path.

Source: ``KubernetesUtils.selectSparkContainer``.
"""

import copy
from collections.abc import Mapping
from typing import Any

from spark_allocation.core.executor_pod_context import SparkPod, extend
from spark_allocation.core.pod_refusals import RefusalReason, refuse

_OBJECTS = (
    "metadata",
    "metadata.labels",
    "metadata.annotations",
    "spec",
    "spec.nodeSelector",
)
_LISTS_OF_OBJECTS = (
    "metadata.ownerReferences",
    "spec.containers",
    "spec.imagePullSecrets",
    "spec.initContainers",
    "spec.volumes",
)
_CONTAINER_OBJECTS = ("resources", "resources.requests", "resources.limits")
_CONTAINER_LISTS_OF_OBJECTS = ("env", "ports", "volumeMounts")
_TEMPLATE = "spec.executor.podTemplate"
LARGEST_TEMPLATE = 256 * 1024
"""Characters of all keys and values: each executor pod holds them again, and so does every watch of pods."""
DEEPEST_TEMPLATE = 64
"""Objects and lists in each other; a pod has about a dozen."""


def spark_pod_of(template: Mapping[str, Any] | None, container_name: str | None) -> SparkPod:
    """Take the Spark container out of the template: the named one, if exactly one has the name, else the first.

    Raises:
        PodNotBuildableError: when the template is not a pod.
    """
    if template is None:
        return SparkPod({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}}, {})
    _check_size(template)
    pod: dict[str, Any] = copy.deepcopy(dict(template))
    _check_shape(pod)
    pod.setdefault("apiVersion", "v1")
    pod.setdefault("kind", "Pod")
    containers = pod["spec"].pop("containers", [])
    named = [
        c for c in containers if container_name is not None and c.get("name") == container_name
    ]
    chosen = named[0] if len(named) == 1 else next(iter(containers), None)
    if chosen is None:
        return SparkPod(pod, {})
    extend(pod["spec"], "containers", [c for c in containers if c is not chosen])
    return SparkPod(pod, chosen)


def _check_size(template: Mapping[str, Any]) -> None:
    left = LARGEST_TEMPLATE
    nodes: list[tuple[Any, int]] = [(template, 1)]
    while nodes:
        node, depth = nodes.pop()
        left -= 1
        if depth > DEEPEST_TEMPLATE:
            _refuse_whole(f"must not be nested deeper than {DEEPEST_TEMPLATE}")
        match node:
            case Mapping():
                left -= sum(len(str(key)) for key in node)
                nodes.extend((value, depth + 1) for value in node.values())
            case list():
                nodes.extend((value, depth + 1) for value in node)
            case _:
                left -= len(str(node))
        if left < 0:
            _refuse_whole(f"must not be larger than {LARGEST_TEMPLATE // 1024} KiB")


def _check_shape(pod: dict[str, Any]) -> None:
    for path in _OBJECTS:
        found = _at(pod, path)
        if not (isinstance(found, dict) or (found is None and path != "spec")):
            _refuse(path, found, "must be an object")
    for path in _LISTS_OF_OBJECTS:
        _check_list(path, _at(pod, path))
    if "containers" in pod["spec"] and pod["spec"]["containers"] is None:
        _refuse("spec.containers", None, "must be a list")
    for index, container in enumerate(pod["spec"].get("containers", [])):
        at = f"spec.containers[{index}]"
        for path in _CONTAINER_OBJECTS:
            found = _at(container, path)
            if not isinstance(found, dict | None):
                _refuse(f"{at}.{path}", found, "must be an object")
        for path in _CONTAINER_LISTS_OF_OBJECTS:
            _check_list(f"{at}.{path}", _at(container, path))
        if not isinstance(container.get("args"), list | None):
            _refuse(f"{at}.args", container["args"], "must be a list")
        for mount in container.get("volumeMounts") or []:
            if not isinstance(mount.get("mountPath"), str):
                _refuse(f"{at}.volumeMounts.mountPath", mount.get("mountPath"), "must be a path")


def _check_list(path: str, found: Any) -> None:
    if found is None:
        return
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        _refuse(path, found, "must be a list of objects")


def _at(parent: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(parent, dict):
            return None
        parent = parent.get(name)
    return parent


def _refuse_whole(rule: str) -> None:
    refuse(RefusalReason.INVALID_TEMPLATE, _TEMPLATE, "", rule)


def _refuse(path: str, found: Any, rule: str) -> None:
    shown = "" if found is None else str(found)[:100]
    refuse(RefusalReason.INVALID_TEMPLATE, f"{_TEMPLATE}.{path}", shown, rule)
