"""Limits on the containers of an executor pod: images, environment, security context, ports, extra containers.

The rights of the executor's processes are those of the driver's own container. A mesh's proxy beside the driver has others:
its user may pass the proxy by, its init container may change the pod's network.
"""

from collections.abc import Iterator
from typing import Any

from spark_allocation.core.pod_limits.allow_list import OffendingField
from spark_allocation.core.pod_limits.comparison import (
    Json,
    PodComparison,
    all_containers,
    finding,
    items,
    mapping,
    matches,
    texts,
)

_HARMLESS = frozenset(
    {
        "imagePullPolicy",
        "name",
        "resizePolicy",
        "resources",
        "restartPolicy",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "volumeMounts",
        "workingDir",
    }
)
_HANDLERS = frozenset({"lifecycle", "livenessProbe", "readinessProbe", "startupProbe"})
_CHECKED = frozenset({"env", "envFrom", "image", "ports", "securityContext"})
_HARMLESS_SECURITY_CONTEXT = frozenset(
    {
        "allowPrivilegeEscalation",
        "fsGroupChangePolicy",
        "readOnlyRootFilesystem",
        "runAsNonRoot",
    }
)
_CHECKED_SECURITY_CONTEXT = frozenset({"appArmorProfile", "capabilities", "seccompProfile"})
_CAPABILITIES = frozenset({"add", "drop"})
_KNOWN_SOURCES = frozenset({"configMapKeyRef", "fieldRef", "resourceFieldRef", "secretKeyRef"})
_KNOWN_BULK_SOURCES = frozenset({"configMapRef", "prefix", "secretRef"})
_VARIABLE = frozenset({"name", "value", "valueFrom"})
_PORT = frozenset({"containerPort", "hostIP", "hostPort", "name", "protocol"})
_LIFECYCLE = frozenset({"postStart", "preStop", "stopSignal"})
_HANDLER = frozenset({"exec", "httpGet", "sleep", "tcpSocket"})
_PROBE = frozenset(
    {
        "exec",
        "failureThreshold",
        "grpc",
        "httpGet",
        "initialDelaySeconds",
        "periodSeconds",
        "successThreshold",
        "tcpSocket",
        "terminationGracePeriodSeconds",
        "timeoutSeconds",
    }
)


def container_limits(both: PodComparison) -> Iterator[OffendingField]:
    """Every container; the last one is the executor."""
    containers = items(both.spec, "containers")
    of_driver = all_containers(both.driver_spec)
    executor = containers[-1] if containers else None
    for container in all_containers(both.spec):
        path = f"spec.containers[{container.get('name')}]"
        harmless = _HARMLESS | _HANDLERS | _CHECKED
        if container is executor:
            yield from _executor_image(both, path, container, of_driver)
            if container.get("args") == ["executor"]:
                harmless |= {"args"}
        else:
            yield from _extra_container(both, path, container, of_driver)
            harmless |= {"args", "command"}  # compared as a whole
        yield from both.fields(path, container, of_driver, harmless)
        yield from _environment(both, path, container)
        yield from _hosts(both, path, container)
        yield from security_context_limits(
            both,
            f"{path}.securityContext",
            mapping(container, "securityContext"),
            [
                mapping(both.driver_spec, "securityContext"),
                *(
                    mapping(other, "securityContext")
                    for other in ([both.driver_container] if container is executor else of_driver)
                ),
            ],
        )


def security_context_limits(
    both: PodComparison, path: str, given: Json, of_driver: list[Json]
) -> Iterator[OffendingField]:
    """Rights of processes, of a pod or of a container."""
    listed = _HARMLESS_SECURITY_CONTEXT | _CHECKED_SECURITY_CONTEXT
    yield from both.fields(path, given, of_driver, listed)
    added_in_driver = {
        name for other in of_driver for name in texts(mapping(other, "capabilities"), "add")
    }
    yield from both.unknown_keys(
        f"{path}.capabilities", mapping(given, "capabilities"), _CAPABILITIES
    )
    for name in texts(mapping(given, "capabilities"), "add"):
        if name not in added_in_driver and not matches(name, both.allowed.capabilities):
            yield finding(
                f"{path}.capabilities", name, "is a capability that the driver pod does not add"
            )
    for field_name in ("appArmorProfile", "seccompProfile"):
        profile = mapping(given, field_name)
        confined = not profile or profile.get("type") == "RuntimeDefault"
        if not confined and all(other.get(field_name) != profile for other in of_driver):
            yield from both.unless_allowed(
                f"{path}.{field_name}", profile, "is another profile than the driver pod's"
            )


def _executor_image(
    both: PodComparison, path: str, container: Json, of_driver: list[Json]
) -> Iterator[OffendingField]:
    image = container.get("image")
    known = any(other.get("image") == image for other in of_driver)
    if not known and not matches(str(image), both.allowed.images):
        yield finding(f"{path}.image", image, "is not an image of the driver pod")


def _extra_container(
    both: PodComparison, path: str, container: Json, of_driver: list[Json]
) -> Iterator[OffendingField]:
    image = str(container.get("image"))
    known = any(_what_it_runs(other) == _what_it_runs(container) for other in of_driver)
    if not known and not matches(image, both.allowed.extra_containers):
        yield finding(
            path, image, "is a sidecar or init container that the driver pod does not have"
        )


def _what_it_runs(container: Json) -> tuple[Any, Any, Any]:
    return (
        container.get("image"),
        container.get("command") or None,
        container.get("args") or None,
    )


def _environment(both: PodComparison, path: str, container: Json) -> Iterator[OffendingField]:
    for variable in items(container, "env"):
        source = mapping(variable, "valueFrom")
        name = f"{path}.env[{variable.get('name')}]"
        if secret := mapping(source, "secretKeyRef"):
            yield from both.secret(name, secret.get("name"), [str(secret.get("key"))])
        if config_map := mapping(source, "configMapKeyRef"):
            yield from both.config_map(name, config_map.get("name"), [str(config_map.get("key"))])
        yield from both.unknown_keys(f"{name}.valueFrom", source, _KNOWN_SOURCES)
        yield from both.unknown_keys(name, variable, _VARIABLE)
    for source in items(container, "envFrom"):
        yield from both.unknown_keys(f"{path}.envFrom", source, _KNOWN_BULK_SOURCES)
        if secret := mapping(source, "secretRef"):
            yield from both.secret(f"{path}.envFrom", secret.get("name"), None)
        if config_map := mapping(source, "configMapRef"):
            yield from both.config_map(f"{path}.envFrom", config_map.get("name"), None)


def _hosts(both: PodComparison, path: str, container: Json) -> Iterator[OffendingField]:
    """Ports of the node, and probes with which the node would call any host."""
    for port in items(container, "ports"):
        yield from both.unknown_keys(f"{path}.ports", port, _PORT)
        if port.get("hostPort"):
            yield from both.unless_allowed(
                f"{path}.ports.hostPort", port["hostPort"], "opens a port of the node"
            )
    for field_name in sorted(_HANDLERS):
        handler = mapping(container, field_name)
        is_lifecycle = field_name == "lifecycle"
        yield from both.unknown_keys(
            f"{path}.{field_name}", handler, _LIFECYCLE if is_lifecycle else _PROBE
        )
        for hook in ("postStart", "preStop") if is_lifecycle else ():
            yield from both.unknown_keys(
                f"{path}.{field_name}.{hook}", mapping(handler, hook), _HANDLER
            )
        for one in (handler, mapping(handler, "postStart"), mapping(handler, "preStop")):
            for action in ("httpGet", "tcpSocket"):
                host = mapping(one, action).get("host")
                if host:
                    yield from both.unless_allowed(
                        f"{path}.{field_name}.{action}.host",
                        host,
                        "makes the node call another host than the pod",
                    )
