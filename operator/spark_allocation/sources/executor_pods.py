"""From a pod on the wire to what the store keeps of it."""

import sys
from functools import lru_cache

from spark_allocation.api.group import (
    ALLOCATION_UID_LABEL,
    INCARNATION_ANNOTATION,
    NEXT_EXECUTOR_ID_ANNOTATION,
)
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.core.executor_pods import (
    SPARK_CONTAINER,
    STARTING,
    ContainerEnd,
    ExecutorId,
    ExecutorPod,
    PodFacts,
    PodState,
    pod_state,
)
from spark_allocation.core.pod_size import ContainerSize, PodSize, pod_size
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId
from spark_allocation.snapshots_store import DriverKey, SeenPod
from spark_allocation.sources import wire

EXECUTOR_SELECTOR = "spark-role=executor"
DRIVER_CONTAINER = "spark-kubernetes-driver"
UI_PORT_NAME = "spark-ui"
_LONGEST_MESSAGE = 512
_MERELY_WAITING = (None, "ContainerCreating", "PodInitializing")


def seen_pod(pod: wire.Pod) -> SeenPod | None:
    """An executor pod for the store, or None when it is owned by no pod or its id is no number."""
    metadata = pod.metadata
    labels = metadata.labels or {}
    annotations = metadata.annotations or {}
    driver_uid = next(
        (
            owner.uid
            for owner in metadata.owner_references
            if owner.kind == "Pod" and owner.controller
        ),
        "",
    )
    executor_id = wire.whole_number(labels.get("spark-exec-id", ""))
    profile_id = wire.whole_number(labels.get("spark-exec-resourceprofile-id", "0"))
    if not driver_uid or executor_id is None or profile_id is None:
        return None
    intern = sys.intern
    reason, message = _reason(pod)
    return SeenPod(
        key=DriverKey(intern(metadata.namespace), intern(driver_uid)),
        pod=ExecutorPod(
            uid=metadata.uid,
            name=metadata.name,
            namespace=intern(metadata.namespace),
            executor_id=ExecutorId(executor_id),
            profile_id=ProfileId(profile_id) if profile_id else DEFAULT_PROFILE_ID,
            state=_state(pod),
            created_at=metadata.creation_timestamp.timestamp()
            if metadata.creation_timestamp
            else 0.0,
            resource_version=metadata.resource_version,
            deleting=metadata.deletion_timestamp is not None,
            node=intern(pod.spec.node_name),
            claims=tuple(
                volume.persistent_volume_claim.claim_name
                for volume in pod.spec.volumes
                if volume.persistent_volume_claim is not None
            ),
            ends=_ends(pod.status.container_statuses),
            reason=reason,
            message=message,
            init_ends=_failed_init_containers(pod),
            phase=intern(pod.status.phase),
            restart_policy=intern(pod.spec.restart_policy),
            node_silent=_node_is_silent(pod),
            size=_size(pod),
        ),
        allocation_uid=intern(labels.get(ALLOCATION_UID_LABEL, "")),
        incarnation=intern(annotations.get(INCARNATION_ANNOTATION, "")),
        next_executor_id=wire.whole_number(annotations.get(NEXT_EXECUTOR_ID_ANNOTATION, "")) or 0,
        application_id=intern(labels.get("spark-app-selector", "")),
    )


def _size(pod: wire.Pod) -> PodSize:
    """Equal sizes are one object: an application has thousands of pods and a few sizes."""
    return _interned_size(
        tuple(
            (*_requested(each), is_init and each.restart_policy != "Always")
            for containers, is_init in (
                (pod.spec.containers, False),
                (pod.spec.init_containers, True),
            )
            for each in containers
        )
    )


def _requested(container: wire.Container) -> tuple[str, str]:
    requests = container.resources.requests if container.resources is not None else None
    return ("", "") if requests is None else (str(requests.cpu), str(requests.memory))


@lru_cache(maxsize=1024)
def _interned_size(containers: tuple[tuple[str, str, bool], ...]) -> PodSize:
    return pod_size([ContainerSize(*each) for each in containers])


def driver_pod(pod: wire.Pod) -> DriverPod:
    """A driver pod."""
    metadata = pod.metadata
    container = _spark_container(pod)
    statuses = [status for status in pod.status.container_statuses if status.name == container.name]
    ports = {port.name: port.container_port for each in pod.spec.containers for port in each.ports}
    started = [
        status.state.running.started_at.timestamp()
        for status in statuses
        if status.state is not None
        and status.state.running is not None
        and status.state.running.started_at is not None
    ]
    return DriverPod(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        phase=pod.status.phase,
        deleting=metadata.deletion_timestamp is not None,
        ip=pod.status.pod_ip or "",
        restart_count=max((status.restart_count for status in statuses), default=0),
        created_at=metadata.creation_timestamp.timestamp() if metadata.creation_timestamp else 0.0,
        ui_port=ports.get(UI_PORT_NAME),
        started_at=max(started, default=None),
        labels=metadata.labels or {},
        annotations=metadata.annotations or {},
    )


def _spark_container(pod: wire.Pod) -> wire.Container:
    """Where the driver runs: Spark's own name for it, else who declares the UI's port, else the first, as kubectl does."""
    containers = pod.spec.containers
    for container in containers:
        if container.name == DRIVER_CONTAINER:
            return container
    for container in containers:
        if any(port.name == UI_PORT_NAME for port in container.ports):
            return container
    return containers[0] if containers else wire.Container()


def _state(pod: wire.Pod) -> PodState:
    """By the newest Spark's defaults: whose configuration holds for it, the watch does not know (`judged`)."""
    return pod_state(
        PodFacts(
            phase=pod.status.phase,
            deleting=pod.metadata.deletion_timestamp is not None,
            restart_policy=pod.spec.restart_policy,
            ends=_ends(pod.status.container_statuses),
        ),
        check_all_containers=True,
    )


def _ends(statuses: list[wire.ContainerStatus]) -> tuple[ContainerEnd, ...]:
    return tuple(
        ContainerEnd(
            name=status.name,
            exit_code=status.state.terminated.exit_code,
            reason=status.state.terminated.reason or "",
            message=(status.state.terminated.message or "")[:_LONGEST_MESSAGE],
        )
        for status in statuses
        if status.state is not None and status.state.terminated is not None
    )


def _failed_init_containers(pod: wire.Pod) -> tuple[ContainerEnd, ...]:
    """Init containers that ended with an error, native sidecars not among them: those are started again."""
    if not pod.status.init_container_statuses:
        return ()
    sidecars = {each.name for each in pod.spec.init_containers if each.restart_policy == "Always"}
    return tuple(
        end
        for end in _ends(pod.status.init_container_statuses)
        if end.exit_code != 0 and end.name not in sidecars
    )


def _reason(pod: wire.Pod) -> tuple[str, str]:
    """The most telling word about a pod that does not run: why it failed, waits, or is not scheduled."""
    status = pod.status
    if status.reason:
        return sys.intern(status.reason), (status.message or "")[:_LONGEST_MESSAGE]
    containers = status.container_statuses
    if status.phase == "Pending":
        # until they are through, the other containers only say that they wait for them
        containers = [*status.init_container_statuses, *containers]
    for container in containers:
        waiting = container.state.waiting if container.state is not None else None
        if waiting is not None and waiting.reason not in _MERELY_WAITING:
            message = waiting.message or ""
            if container.name != SPARK_CONTAINER:
                message = f"container {container.name}: {message or waiting.reason}"
            return sys.intern(waiting.reason or ""), message[:_LONGEST_MESSAGE]
    for condition in status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return sys.intern(condition.reason or ""), (condition.message or "")[:_LONGEST_MESSAGE]
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return sys.intern(condition.reason or ""), (condition.message or "")[:_LONGEST_MESSAGE]
    return (STARTING, "") if status.phase == "Pending" else ("", "")


def _node_is_silent(pod: wire.Pod) -> bool:
    """The node controller takes Ready away from the pods of a node that stops reporting, and nothing else.

    The kubelet itself never says that all containers are ready and the pod is not, unless there are readiness gates.
    So this needs no right to read nodes.
    """
    if pod.status.phase != "Running" or pod.spec.readiness_gates:
        return False
    said = {condition.type: condition.status for condition in pod.status.conditions}
    return said.get("Ready") == "False" and said.get("ContainersReady") == "True"
