"""The reasons for which executors end: a closed list, with the class in which each backs off and what a person can do.

Metrics, status, Events and the documentation hang on these words. `core.executor_exits` finds the reason of a pod.
"""

from enum import StrEnum


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
    INIT_CONTAINER = "InitContainerFailed"
    IMAGE_PULL = "ImagePull"
    CONFIG_ERROR = "ConfigError"
    UNSCHEDULABLE = "Unschedulable"
    STARTING_SLOWLY = "StartingSlowly"


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
    ExecutorExitReason.INIT_CONTAINER: FailureClass.CONFIGURATION,
    ExecutorExitReason.IMAGE_PULL: FailureClass.CONFIGURATION,
    ExecutorExitReason.CONFIG_ERROR: FailureClass.CONFIGURATION,
    ExecutorExitReason.UNSCHEDULABLE: FailureClass.CAPACITY,
    ExecutorExitReason.EVICTED: FailureClass.CAPACITY,
    ExecutorExitReason.PREEMPTED: FailureClass.CAPACITY,
    ExecutorExitReason.NODE_REFUSED: FailureClass.CAPACITY,
    ExecutorExitReason.NODE_LOST: FailureClass.INFRASTRUCTURE,
    ExecutorExitReason.STARTING_SLOWLY: FailureClass.INFRASTRUCTURE,
    ExecutorExitReason.DISK_FAILURE: FailureClass.INFRASTRUCTURE,
    ExecutorExitReason.HEARTBEAT_FAILURE: FailureClass.INFRASTRUCTURE,
    ExecutorExitReason.DRIVER_UNREACHABLE: FailureClass.INFRASTRUCTURE,
    ExecutorExitReason.DRIVER_LOST: FailureClass.INFRASTRUCTURE,
}


def failure_class(reason: ExecutorExitReason) -> FailureClass | None:
    """The class in which a reason backs off; None when it is no failure."""
    return _CLASSES.get(reason)


_REMEDIES: dict[ExecutorExitReason, str] = {
    ExecutorExitReason.DRIVER_LOST: "See the logs of the executor and of the driver.",
    ExecutorExitReason.OOM_KILLED: "Raise spark.executor.memoryOverhead.",
    ExecutorExitReason.JVM_OUT_OF_MEMORY: "Raise spark.executor.memory.",
    ExecutorExitReason.SIGKILL: "See what its node says of memory; a liveness probe kills too.",
    ExecutorExitReason.SIGTERM: "Somebody stopped its container: see the events of the pod.",
    ExecutorExitReason.SEGMENTATION_FAULT: "See its log: native libraries, or the JVM itself.",
    ExecutorExitReason.ABORTED: "See its log: native libraries, or the JVM itself.",
    ExecutorExitReason.UNCAUGHT_EXCEPTION: "See its log.",
    ExecutorExitReason.DISK_FAILURE: "See the volumes behind spark.local.dir.",
    ExecutorExitReason.HEARTBEAT_FAILURE: "See the network and the driver's garbage collection.",
    ExecutorExitReason.KILLED_BY_TASK_REAPER: "See spark.task.reaper.killTimeout and its log.",
    ExecutorExitReason.DRIVER_UNREACHABLE: "See the network between executor and driver.",
    ExecutorExitReason.COMMAND_NOT_FOUND: "See the image and its command.",
    ExecutorExitReason.APPLICATION_ERROR: "See its log.",
    ExecutorExitReason.EVICTED: "Make room on the nodes, or let memory requests tell the truth.",
    ExecutorExitReason.PREEMPTED: "Make room in the cluster, or give executors a higher priority.",
    ExecutorExitReason.NODE_LOST: "See the node.",
    ExecutorExitReason.NODE_REFUSED: "See the node; other schedulers may fill it.",
    ExecutorExitReason.INIT_CONTAINER: "See the log of that container.",
    ExecutorExitReason.IMAGE_PULL: "Correct spark.kubernetes.container.image or its pull secrets.",
    ExecutorExitReason.CONFIG_ERROR: "Correct the executor's pod template or configuration.",
    ExecutorExitReason.UNSCHEDULABLE: "Make room in the cluster, or ask for smaller executors.",
    ExecutorExitReason.STARTING_SLOWLY: "See the events of the pod: kubectl describe pod.",
}


def remedy(reason: ExecutorExitReason) -> str:
    """What a person can do about it, in one sentence; "" when there is nothing to do."""
    return _REMEDIES.get(reason, "")
