"""Why an executor ended, in words that help.

Theory of operation
-------------------
The kubelet knows more than an exit code: ``OOMKilled``, ``Evicted``, ``Preempting`` are its own words, and they win.
Then come the exit codes, Spark's own first. The reasons are a closed list, because metrics, status and back-off hang
on them. Two judgements are kept apart:

- ``charged``: what the *driver* believes (``ExecutorExited.exitCausedByApp``), so whether running tasks count as
  failed. Spark says yes for every pod that ended by itself, no for every pod that was deleted.
- `FailureClass`: what would help against a repetition, for back-off: nothing that the operator can do about a broken
  image is the same as what it can do about a full cluster.

Source: ``ExecutorPodsLifecycleManager.findExitReason``, ``describeExitCode``, ``util.SparkExitCode``,
``executor.ExecutorExitCode``; kubelet's pod and container reasons.
"""

from dataclasses import dataclass
from enum import StrEnum

from spark_allocation.core.executor_pods import (
    SPARK_CONTAINER,
    ContainerEnd,
    ExecutorPod,
    PodState,
    end_of,
)

UNKNOWN_EXIT_CODE = -1


class ExecutorExitReason(StrEnum):
    """Every reason for which an executor stops counting."""

    SUCCEEDED = "Succeeded"
    DRAINED = "Drained"
    DELETED = "Deleted"
    MISSING = "Missing"
    DRIVER_LOST = "DriverLost"
    OOM_KILLED = "OOMKilled"
    JVM_OUT_OF_MEMORY = "JvmOutOfMemory"
    SIGKILL = "Killed"
    SIGTERM = "Terminated"
    SEGMENTATION_FAULT = "SegmentationFault"
    ABORTED = "Aborted"
    UNCAUGHT_EXCEPTION = "UncaughtException"
    DISK_FAILURE = "DiskFailure"
    HEARTBEAT_FAILURE = "HeartbeatFailure"
    KILLED_BY_TASK_REAPER = "KilledByTaskReaper"
    DRIVER_UNREACHABLE = "DriverUnreachable"
    COMMAND_NOT_FOUND = "CommandNotFound"
    APPLICATION_ERROR = "Error"
    EVICTED = "Evicted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    NODE_REFUSED = "NodeRefused"
    IMAGE_PULL = "ImagePull"
    CONFIG_ERROR = "ConfigError"
    UNSCHEDULABLE = "Unschedulable"


class FailureClass(StrEnum):
    """What a repeated failure has in common with its repetitions; each class backs off by itself."""

    APPLICATION = "Application"
    CONFIGURATION = "Configuration"
    CAPACITY = "Capacity"
    INFRASTRUCTURE = "Infrastructure"


_CLASSES: dict[ExecutorExitReason, FailureClass] = {
    ExecutorExitReason.OOM_KILLED: FailureClass.APPLICATION,
    ExecutorExitReason.JVM_OUT_OF_MEMORY: FailureClass.APPLICATION,
    ExecutorExitReason.SIGKILL: FailureClass.APPLICATION,
    ExecutorExitReason.SIGTERM: FailureClass.APPLICATION,
    ExecutorExitReason.SEGMENTATION_FAULT: FailureClass.APPLICATION,
    ExecutorExitReason.ABORTED: FailureClass.APPLICATION,
    ExecutorExitReason.UNCAUGHT_EXCEPTION: FailureClass.APPLICATION,
    ExecutorExitReason.KILLED_BY_TASK_REAPER: FailureClass.APPLICATION,
    ExecutorExitReason.APPLICATION_ERROR: FailureClass.APPLICATION,
    ExecutorExitReason.COMMAND_NOT_FOUND: FailureClass.CONFIGURATION,
    ExecutorExitReason.IMAGE_PULL: FailureClass.CONFIGURATION,
    ExecutorExitReason.CONFIG_ERROR: FailureClass.CONFIGURATION,
    ExecutorExitReason.UNSCHEDULABLE: FailureClass.CAPACITY,
    ExecutorExitReason.EVICTED: FailureClass.CAPACITY,
    ExecutorExitReason.PREEMPTED: FailureClass.CAPACITY,
    ExecutorExitReason.NODE_REFUSED: FailureClass.CAPACITY,
    ExecutorExitReason.NODE_LOST: FailureClass.INFRASTRUCTURE,
    ExecutorExitReason.DISK_FAILURE: FailureClass.INFRASTRUCTURE,
    ExecutorExitReason.HEARTBEAT_FAILURE: FailureClass.INFRASTRUCTURE,
    ExecutorExitReason.DRIVER_UNREACHABLE: FailureClass.INFRASTRUCTURE,
    ExecutorExitReason.DRIVER_LOST: FailureClass.INFRASTRUCTURE,
}


def failure_class(reason: ExecutorExitReason) -> FailureClass | None:
    """The class in which a reason backs off; None when it is no failure."""
    return _CLASSES.get(reason)


@dataclass(frozen=True, slots=True)
class ExecutorExit:
    """How an executor ended.

    Attributes:
        exit_code: of the Spark container; -1 when nobody knows it.
        charged: the driver counts its running tasks as failed.
        message: one sentence for people.
    """

    reason: ExecutorExitReason
    exit_code: int
    charged: bool
    message: str


# What the kubelet or the API server writes into a pod's status.reason.
_BY_POD_REASON: dict[str, tuple[ExecutorExitReason, str]] = {
    "Evicted": (ExecutorExitReason.EVICTED, "evicted by the kubelet because the node ran short"),
    "EvictionByEvictionAPI": (
        ExecutorExitReason.EVICTED,
        "evicted through the API, as when its node is drained",
    ),
    "Preempting": (ExecutorExitReason.PREEMPTED, "preempted on its node by a critical pod"),
    "Preempted": (ExecutorExitReason.PREEMPTED, "preempted by a pod of higher priority"),
    "PreemptionByScheduler": (
        ExecutorExitReason.PREEMPTED,
        "preempted by a pod of higher priority",
    ),
    "NodeLost": (ExecutorExitReason.NODE_LOST, "its node was lost"),
    "NodeShutdown": (ExecutorExitReason.NODE_LOST, "its node was shut down"),
    "TerminationByKubelet": (
        ExecutorExitReason.EVICTED,
        "ended by the kubelet: its node runs short, is shut down or makes room for a critical pod",
    ),
    "Shutdown": (ExecutorExitReason.NODE_LOST, "its node was shut down"),
    "Terminated": (ExecutorExitReason.NODE_LOST, "its node was shut down"),
    "DeletionByTaintManager": (ExecutorExitReason.NODE_LOST, "its node was tainted NoExecute"),
    "DeletionByPodGC": (ExecutorExitReason.NODE_LOST, "its node no longer exists"),
    "UnexpectedAdmissionError": (ExecutorExitReason.NODE_REFUSED, "refused by its node"),
    "NodeAffinity": (ExecutorExitReason.NODE_REFUSED, "refused by its node: the labels changed"),
    "OutOfcpu": (ExecutorExitReason.NODE_REFUSED, "refused by its node: no CPU left"),
    "OutOfmemory": (ExecutorExitReason.NODE_REFUSED, "refused by its node: no memory left"),
    "OutOfpods": (ExecutorExitReason.NODE_REFUSED, "refused by its node: too many pods"),
    "DeadlineExceeded": (
        ExecutorExitReason.SIGKILL,
        "stopped by activeDeadlineSeconds of its pod template",
    ),
}

# What the kubelet writes into the waiting or terminated reason of a container that cannot start.
_BY_START_REASON: dict[str, tuple[ExecutorExitReason, str]] = {
    "ErrImagePull": (ExecutorExitReason.IMAGE_PULL, "its image cannot be pulled"),
    "ImagePullBackOff": (ExecutorExitReason.IMAGE_PULL, "its image cannot be pulled"),
    "InvalidImageName": (ExecutorExitReason.IMAGE_PULL, "the name of its image is not valid"),
    "ErrImageNeverPull": (
        ExecutorExitReason.IMAGE_PULL,
        "its image is not on the node and imagePullPolicy is Never",
    ),
    "ImageInspectError": (ExecutorExitReason.IMAGE_PULL, "its image cannot be read"),
    "RegistryUnavailable": (ExecutorExitReason.IMAGE_PULL, "the image registry is unavailable"),
    "CreateContainerConfigError": (
        ExecutorExitReason.CONFIG_ERROR,
        "its container refers to a ConfigMap, Secret or key that does not exist",
    ),
    "CreateContainerError": (
        ExecutorExitReason.CONFIG_ERROR,
        "its container cannot be created",
    ),
    "RunContainerError": (ExecutorExitReason.CONFIG_ERROR, "its container cannot be started"),
    "ContainerCannotRun": (ExecutorExitReason.CONFIG_ERROR, "its container cannot be started"),
    "StartError": (ExecutorExitReason.CONFIG_ERROR, "its container cannot be started"),
    "Unschedulable": (ExecutorExitReason.UNSCHEDULABLE, "no node has room for it"),
}

_BY_EXIT_CODE: dict[int, tuple[ExecutorExitReason, str]] = {
    50: (ExecutorExitReason.UNCAUGHT_EXCEPTION, "uncaught exception"),
    51: (ExecutorExitReason.UNCAUGHT_EXCEPTION, "uncaught exception, and another while logging it"),
    52: (ExecutorExitReason.JVM_OUT_OF_MEMORY, "JVM out of memory: raise spark.executor.memory"),
    53: (
        ExecutorExitReason.DISK_FAILURE,
        "cannot create its local directories: disk full or broken",
    ),
    56: (ExecutorExitReason.HEARTBEAT_FAILURE, "heartbeats to the driver failed"),
    57: (ExecutorExitReason.KILLED_BY_TASK_REAPER, "a killed task did not stop in time"),
    58: (ExecutorExitReason.HEARTBEAT_FAILURE, "the driver refused its block manager"),
    124: (ExecutorExitReason.DRIVER_UNREACHABLE, "the driver did not answer in time"),
    126: (ExecutorExitReason.COMMAND_NOT_FOUND, "its command is not executable"),
    127: (ExecutorExitReason.COMMAND_NOT_FOUND, "its command was not found in the image"),
    134: (ExecutorExitReason.ABORTED, "aborted by SIGABRT: a crash of the JVM"),
    137: (ExecutorExitReason.SIGKILL, "killed by SIGKILL, possibly for want of memory on the node"),
    139: (
        ExecutorExitReason.SEGMENTATION_FAULT,
        "segmentation fault in the JVM or a native library",
    ),
    143: (ExecutorExitReason.SIGTERM, "terminated by SIGTERM"),
}

_OOM_KILLED = "killed by the kernel because its container reached the memory limit: raise spark.executor.memoryOverhead"


def exit_of(pod: ExecutorPod, spark_container: str = SPARK_CONTAINER) -> ExecutorExit:
    """How an ended executor ended (``findExitReason``).

    Args:
        pod: in a final state.
        spark_container: the name of the container that runs the executor; other containers do not give the code.
    """
    end = end_of(spark_container, pod.ends)
    code = UNKNOWN_EXIT_CODE if end is None else end.exit_code
    if pod.state is PodState.DELETED or pod.deleting:
        reason, words = _BY_POD_REASON.get(
            pod.reason, (ExecutorExitReason.DELETED, "deleted by a user or the framework")
        )
        # Spark: a deleted pod of which a sidecar still runs is Failed, so the driver charges its tasks.
        charged = pod.state is not PodState.DELETED
        return ExecutorExit(reason, code, charged, _sentence(pod, words, code))
    reason, words = _reason_of_end(pod, end)
    return ExecutorExit(reason, code, charged=True, message=_sentence(pod, words, code))


def start_problem(pod: ExecutorPod) -> ExecutorExit | None:
    """What keeps a pending pod from starting, when the kubelet or the scheduler says so."""
    if pod.state is not PodState.PENDING or pod.reason not in _BY_START_REASON:
        return None
    reason, words = _BY_START_REASON[pod.reason]
    return ExecutorExit(
        reason, UNKNOWN_EXIT_CODE, charged=False, message=_sentence(pod, words, UNKNOWN_EXIT_CODE)
    )


def _reason_of_end(pod: ExecutorPod, end: ContainerEnd | None) -> tuple[ExecutorExitReason, str]:
    if pod.reason in _BY_POD_REASON:
        return _BY_POD_REASON[pod.reason]
    if any(each.reason == "OOMKilled" for each in pod.ends if end is None or each.name == end.name):
        return ExecutorExitReason.OOM_KILLED, _OOM_KILLED
    if end is None:
        return _end_of_others(pod)
    if end.reason in _BY_START_REASON:
        return _BY_START_REASON[end.reason]
    if end.exit_code in _BY_EXIT_CODE:
        return _BY_EXIT_CODE[end.exit_code]
    if end.exit_code == 0:
        if pod.state is PodState.FAILED:
            return _end_of_others(pod)
        return ExecutorExitReason.SUCCEEDED, "ended by itself"
    return ExecutorExitReason.APPLICATION_ERROR, "ended with an error: see its log"


def _end_of_others(pod: ExecutorPod) -> tuple[ExecutorExitReason, str]:
    other = next((end for end in pod.ends if end.exit_code != 0), None)
    if other is not None:
        return (
            ExecutorExitReason.APPLICATION_ERROR,
            f"its container {other.name} ended with exit code {other.exit_code}",
        )
    if pod.state is PodState.SUCCEEDED:
        return ExecutorExitReason.SUCCEEDED, "ended by itself"
    return ExecutorExitReason.APPLICATION_ERROR, "failed before its container ran"


def _sentence(pod: ExecutorPod, words: str, code: int) -> str:
    text = f"Executor {pod.executor_id} (pod {pod.name}): {words}"
    if code != UNKNOWN_EXIT_CODE:
        text += f" (exit code {code})"
    if pod.message:
        text += f". {pod.message}"
    return text
