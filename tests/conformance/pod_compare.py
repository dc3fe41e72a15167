"""Whether two answers to a scenario of kind ``pod`` mean the same pod.

Both are brought into one form: lists whose order Spark takes from a hash map are sorted by name, and spellings that mean
the same to the API server become one.
"""

import copy
import json
import re
from typing import Any

from tests.conformance.outcome import Diverged, Outcome, Same, first_difference

_ON_DEMAND_CLAIM = re.compile(r"-pvc-\d+")
_STARTUP_OPTION = re.compile(r"-Dspark\.(auth|rpc|network|ssl|port\.|.*\.port=)")


def compare(scenario: dict[str, Any], theirs: dict[str, Any], ours: dict[str, Any]) -> Outcome:
    """Compare Spark's pod with ours."""
    difference = first_difference(canonical(theirs), canonical(json.loads(json.dumps(ours))))
    if difference is not None:
        return Diverged(0, *difference)
    return Same(1, ended_by_spark="error" in theirs)


def canonical(given: dict[str, Any]) -> dict[str, Any]:
    """One form for answers that mean the same.

    - a refusal is a refusal: Spark's sentences and the order in which it meets two faults are not compared;
    - environment, volumes, mounts and pull secrets are sorted by name (stable, so that of two variables with one name
      the order, which decides, stays);
    - the ``-D`` options that Spark takes from a hash map are sorted;
    - local directories, which Spark shuffles, are sorted;
    - the number of an on-demand claim becomes the name of its volume;
    - null, and empty lists and maps where the API server makes no difference, are left out.
    """
    if "error" in given or "fatal" in given:
        return {"refused": True}
    pod = copy.deepcopy(given["pod"])
    claims = {
        volume["persistentVolumeClaim"]["claimName"]: volume["name"]
        for volume in pod["spec"].get("volumes") or []
        if volume.get("persistentVolumeClaim")
        and _ON_DEMAND_CLAIM.search(volume["persistentVolumeClaim"].get("claimName", ""))
    }
    resources = copy.deepcopy(given["resources"])
    for resource in resources:
        metadata = resource["metadata"]
        metadata["name"] = _claim(metadata["name"], claims)
    for volume in pod["spec"].get("volumes") or []:
        if volume.get("persistentVolumeClaim"):
            source = volume["persistentVolumeClaim"]
            source["claimName"] = _claim(source.get("claimName"), claims)
    spec = pod["spec"]
    made = {
        volume["name"]
        for volume in spec.get("volumes") or []
        if re.fullmatch(r"spark-local-dir-\d+", volume["name"])
        and volume.get("emptyDir") in ({}, {"medium": "Memory"})
    }
    spec["volumes"] = _by_name(spec.get("volumes"))
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        _canonical_container(container, made)
    return {
        "pod": _without_nothing(pod),
        "executorContainer": given["executorContainer"] or "",
        "resources": sorted(
            (_without_nothing(resource) for resource in resources),
            key=lambda resource: json.dumps(resource, sort_keys=True),
        ),
    }


def _canonical_container(container: dict[str, Any], local_dirs_made: set[str]) -> None:
    options = []
    env = []
    for variable in container.get("env") or []:
        if re.fullmatch(r"SPARK_JAVA_OPT_\d+", variable["name"]) and "value" in variable:
            options.append((int(variable["name"].rpartition("_")[2]), variable["value"]))
        else:
            env.append(variable)
    ordered = [value for _, value in sorted(options)]
    tail = len(ordered)
    while tail and _STARTUP_OPTION.match(ordered[tail - 1]):
        tail -= 1
    ordered[tail:] = sorted(ordered[tail:])
    env.extend({"name": f"SPARK_JAVA_OPT_{i}", "value": value} for i, value in enumerate(ordered))
    container["env"] = _by_name(env)
    container["volumeMounts"] = _by_name(container.get("volumeMounts"))
    for variable in container["env"]:
        if variable["name"] == "SPARK_LOCAL_DIRS" and "value" in variable:
            variable["value"] = ",".join(sorted(variable["value"].split(",")))
    local = [mount for mount in container["volumeMounts"] if mount["name"] in local_dirs_made]
    for mount, path in zip(local, sorted(mount["mountPath"] for mount in local), strict=True):
        mount["mountPath"] = path
    for amounts in (container.get("resources") or {}).values():
        if isinstance(amounts, dict):
            for name, amount in amounts.items():
                amounts[name] = str(amount)


def _claim(name: str | None, claims: dict[str, str]) -> str | None:
    if name is None or name not in claims:
        return name
    return _ON_DEMAND_CLAIM.sub(f"-pvc-of-{claims[name]}", name)


def _by_name(items: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return sorted(items or [], key=lambda item: str(item.get("name")))


_MEANT_WHEN_EMPTY = frozenset(
    {"emptyDir", "podSelector", "namespaceSelector", "labelSelector", "securityContext"}
)


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_nothing(item) for key, item in value.items() if item is not None}
        return {
            key: item
            for key, item in kept.items()
            if item not in ({}, []) or key in _MEANT_WHEN_EMPTY
        }
    if isinstance(value, list):
        return [_without_nothing(item) for item in value]
    return value
