"""From a pod on the wire to what the store keeps of it."""

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
from spark_allocation.sources.shared_texts import shared

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
    driver_uid = _controlling_pod(metadata.owner_references)
    executor_id = wire.whole_number(labels.get("spark-exec-id", ""))
    profile_id = wire.whole_number(labels.get("spark-exec-resourceprofile-id", "0"))
    if not driver_uid or executor_id is None or profile_id is None:
        return None
    reason, message = _reason(pod)
    ends = _ends(pod.status.container_statuses)
    key = _driver_key(metadata.namespace, driver_uid)
    return SeenPod(
        key=key,
        pod=ExecutorPod(
            uid=metadata.uid,
            name=metadata.name,
            namespace=key.namespace,
            executor_id=ExecutorId(executor_id),
            profile_id=ProfileId(profile_id) if profile_id else DEFAULT_PROFILE_ID,
            state=_state(pod, ends),
            created_at=metadata.creation_timestamp.timestamp()
            if metadata.creation_timestamp
            else 0.0,
            resource_version=metadata.resource_version,
            deleting=metadata.deletion_timestamp is not None,
            node=shared(pod.spec.node_name),
            claims=_claims(pod.spec.volumes),
            ends=ends,
            reason=reason,
            message=message,
            init_ends=_failed_init_containers(pod),
            phase=shared(pod.status.phase),
            restart_policy=shared(pod.spec.restart_policy),
            node_silent=_node_is_silent(pod),
            size=_size(pod),
        ),
        allocation_uid=shared(labels.get(ALLOCATION_UID_LABEL, "")),
        incarnation=shared(annotations.get(INCARNATION_ANNOTATION, "")),
        next_executor_id=wire.whole_number(annotations.get(NEXT_EXECUTOR_ID_ANNOTATION, "")) or 0,
        application_id=shared(labels.get("spark-app-selector", "")),
    )


@lru_cache(maxsize=4096)
def _driver_key(namespace: str, uid: str) -> DriverKey:
    """One object for all executors of a driver."""
    return DriverKey(namespace, uid)


def _controlling_pod(owners: list[wire.Owner]) -> str:
    """Its uid; "" when none controls the pod."""
    for owner in owners:
        if owner.controller and owner.kind == "Pod":
            return owner.uid
    return ""


def _claims(volumes: list[wire.Volume]) -> tuple[str, ...]:
    found = [
        volume.persistent_volume_claim.claim_name
        for volume in volumes
        if volume.persistent_volume_claim is not None
    ]
    return tuple(found)


def _size(pod: wire.Pod) -> PodSize:
    """Equal sizes are one object: an application has thousands of pods and a few sizes."""
    asked = [_asked(each, ends=False) for each in pod.spec.containers]
    asked += [
        _asked(each, ends=each.restart_policy != "Always") for each in pod.spec.init_containers
    ]
    return _interned_size(tuple(asked))


def _asked(container: wire.Container, *, ends: bool) -> tuple[str, str, bool]:
    requests = container.resources.requests if container.resources is not None else None
    return ("", "", ends) if requests is None else (str(requests.cpu), str(requests.memory), ends)


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


def _state(pod: wire.Pod, ends: tuple[ContainerEnd, ...]) -> PodState:
    """By the newest Spark's defaults: whose configuration holds for it, the watch does not know (`judged`)."""
    return pod_state(
        PodFacts(
            phase=pod.status.phase,
            deleting=pod.metadata.deletion_timestamp is not None,
            restart_policy=pod.spec.restart_policy,
            ends=ends,
        ),
        check_all_containers=True,
    )


def _ends(statuses: list[wire.ContainerStatus]) -> tuple[ContainerEnd, ...]:
    ends = [
        ContainerEnd(
            name=status.name,
            exit_code=status.state.terminated.exit_code,
            reason=status.state.terminated.reason or "",
            message=(status.state.terminated.message or "")[:_LONGEST_MESSAGE],
        )
        for status in statuses
        if status.state is not None and status.state.terminated is not None
    ]
    return tuple(ends)


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
        return shared(status.reason), (status.message or "")[:_LONGEST_MESSAGE]
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
            return shared(waiting.reason or ""), message[:_LONGEST_MESSAGE]
    for condition in status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return shared(condition.reason or ""), (condition.message or "")[:_LONGEST_MESSAGE]
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return shared(condition.reason or ""), (condition.message or "")[:_LONGEST_MESSAGE]
    return (STARTING, "") if status.phase == "Pending" else ("", "")


def _node_is_silent(pod: wire.Pod) -> bool:
    """The node controller takes Ready away from the pods of a node that stops reporting, and nothing else.

    The kubelet itself never says that all containers are ready and the pod is not, unless there are readiness gates.
    So this needs no right to read nodes.
    """
    if pod.status.phase != "Running" or pod.spec.readiness_gates:
        return False
    ready = containers_ready = ""
    for condition in pod.status.conditions:
        if condition.type == "Ready":
            ready = condition.status
        elif condition.type == "ContainersReady":
            containers_ready = condition.status
    return ready == "False" and containers_ready == "True"
