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

A message has three parts: what happened, what a person can do about it (`remedy`), and at its end the words of
whoever saw it. Beside it stand Spark's own words (`ExecutorExit.spark_words`), for those who search a log for them.

Source: ``ExecutorPodsLifecycleManager.findExitReason``, ``describeExitCode``, ``util.SparkExitCode``,
``executor.ExecutorExitCode.explainExitCode``; kubelet's pod and container reasons.
"""

from dataclasses import dataclass

from spark_allocation.core.executor_pods import (
    SPARK_CONTAINER,
    STARTING,
    ContainerEnd,
    ExecutorPod,
    PodState,
    end_of,
)
from spark_allocation.core.exit_reasons import (
    ExecutorExitReason,
    FailureClass,
    failure_class,
    remedy,
)

UNKNOWN_EXIT_CODE = -1


@dataclass(frozen=True, slots=True)
class ExecutorExit:
    """How an executor ended.

    Attributes:
        exit_code: of the Spark container; -1 when nobody knows it.
        charged: the driver counts its running tasks as failed.
        message: for people.
        spark_words: Spark's own sentence about the same end, without its table of containers.
    """

    reason: ExecutorExitReason
    exit_code: int
    charged: bool
    message: str
    spark_words: str = ""


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
    "TaintToleration": (
        ExecutorExitReason.NODE_LOST,
        "refused by its node when that came back: it has a taint that the pod does not tolerate",
    ),
    "NodeName": (ExecutorExitReason.NODE_REFUSED, "refused by its node: it has another name"),
    "InvalidNodeInfo": (ExecutorExitReason.NODE_REFUSED, "refused by its node"),
    "UnexpectedPredicateFailureType": (ExecutorExitReason.NODE_REFUSED, "refused by its node"),
    "UnknownReason": (ExecutorExitReason.NODE_REFUSED, "refused by its node"),
    "PodOSNotSupported": (ExecutorExitReason.NODE_REFUSED, "refused by its node: another OS"),
    "PodOSSelectorNodeLabelDoesNotMatch": (
        ExecutorExitReason.NODE_REFUSED,
        "refused by its node: another OS",
    ),
    "SupplementalGroupsPolicyNotSupported": (
        ExecutorExitReason.NODE_REFUSED,
        "refused by its node: it is too old for the pod's supplementalGroupsPolicy",
    ),
    "NodePorts": (ExecutorExitReason.NODE_REFUSED, "refused by its node: a host port is taken"),
    "TopologyAffinityError": (
        ExecutorExitReason.NODE_REFUSED,
        "refused by its node: CPUs and devices are not on one NUMA node",
    ),
    "DeadlineExceeded": (
        ExecutorExitReason.SIGKILL,
        "stopped by activeDeadlineSeconds of its pod template",
    ),
}

_NODE_HAS_TOO_LITTLE = "OutOf"
"""The kubelet's word begins so when a pod does not fit: OutOfcpu, OutOfmemory, OutOfpods, OutOfnvidia.com/gpu."""

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
    "SignatureValidationFailed": (
        ExecutorExitReason.IMAGE_PULL,
        "the signature of its image is not accepted",
    ),
    "CrashLoopBackOff": (
        ExecutorExitReason.INIT_CONTAINER,
        "a container that has to run beside Spark ends again and again",
    ),
    "CreateContainerConfigError": (
        ExecutorExitReason.CONFIG_ERROR,
        "its container refers to a ConfigMap, Secret or key that does not exist",
    ),
    "CreateContainerError": (
        ExecutorExitReason.CONFIG_ERROR,
        "its container cannot be created",
    ),
    "PreStartHookError": (ExecutorExitReason.CONFIG_ERROR, "its container cannot be started"),
    "PostStartHookError": (
        ExecutorExitReason.CONFIG_ERROR,
        "the postStart hook of its container fails",
    ),
    "RunContainerError": (ExecutorExitReason.CONFIG_ERROR, "its container cannot be started"),
    "ContainerCannotRun": (ExecutorExitReason.CONFIG_ERROR, "its container cannot be started"),
    "StartError": (ExecutorExitReason.CONFIG_ERROR, "its container cannot be started"),
    "Unschedulable": (ExecutorExitReason.UNSCHEDULABLE, "no node takes it"),
    "SchedulingGated": (ExecutorExitReason.UNSCHEDULABLE, "it waits behind a scheduling gate"),
    STARTING: (
        ExecutorExitReason.STARTING_SLOWLY,
        "has not started for minutes, and its status does not say why: its volumes, its network or a large image",
    ),
}

_BY_EXIT_CODE: dict[int, tuple[ExecutorExitReason, str]] = {
    2: (ExecutorExitReason.COMMAND_NOT_FOUND, "its shell was given a command it does not take"),
    3: (ExecutorExitReason.COMMAND_NOT_FOUND, "a path that its command needs does not exist"),
    10: (ExecutorExitReason.UNCAUGHT_EXCEPTION, "uncaught exception"),
    50: (ExecutorExitReason.UNCAUGHT_EXCEPTION, "uncaught exception"),
    51: (ExecutorExitReason.UNCAUGHT_EXCEPTION, "uncaught exception, and another while logging it"),
    52: (ExecutorExitReason.JVM_OUT_OF_MEMORY, "the JVM ran out of memory"),
    53: (
        ExecutorExitReason.DISK_FAILURE,
        "cannot create its local directories: disk full or broken",
    ),
    54: (ExecutorExitReason.DISK_FAILURE, "cannot start its external block store"),
    55: (ExecutorExitReason.DISK_FAILURE, "cannot create the directories of its block store"),
    56: (ExecutorExitReason.HEARTBEAT_FAILURE, "heartbeats to the driver failed"),
    57: (ExecutorExitReason.KILLED_BY_TASK_REAPER, "a killed task did not stop in time"),
    58: (ExecutorExitReason.HEARTBEAT_FAILURE, "the driver refused its block manager"),
    101: (ExecutorExitReason.COMMAND_NOT_FOUND, "its main class was not found"),
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
    255: (ExecutorExitReason.APPLICATION_ERROR, "ended with -1: the JVM or its script gave up"),
}

_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    7: "SIGBUS",
    8: "SIGFPE",
    10: "SIGUSR1",
    12: "SIGUSR2",
    13: "SIGPIPE",
    14: "SIGALRM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    30: "SIGPWR",
    31: "SIGSYS",
}
"""Of Linux; those with words of their own are above."""

_SPARK_ON_EXIT_CODE = {
    0: "(success)",
    1: "(generic, look at logs to clarify)",
    10: "(Uncaught exception)",
    42: "(Douglas Adams fan)",
    50: "(Uncaught exception)",
    52: "(JVM OOM)",
    53: "(DiskStore failed to create temp dir)",
    126: "(not executable - possibly perm or arch)",
    137: "(SIGKILL, possible container OOM)",
    255: "(exit-1, your guess is as good as mine)",
}

_OOM_KILLED = "killed by the kernel because its container reached the memory limit"


def describe_exit_code(code: int) -> str:
    """Spark's words for an exit code (``ExecutorPodsLifecycleManager.describeExitCode``)."""
    return f"{code}{_SPARK_ON_EXIT_CODE.get(code, '(unexpected)')}"


def exit_of(
    pod: ExecutorPod, spark_container: str = SPARK_CONTAINER, *, gone: bool = False
) -> ExecutorExit:
    """How an ended executor ended (``findExitReason``).

    Args:
        pod: in a final state, or as it was last seen when it is gone.
        spark_container: the name of the container that runs the executor; other containers do not give the code.
        gone: nobody saw it end: it was deleted.
    """
    end = end_of(spark_container, pod.ends)
    code = UNKNOWN_EXIT_CODE if end is None else end.exit_code
    deleted = gone or pod.state is PodState.DELETED
    if deleted or pod.deleting:
        reason, words = _BY_POD_REASON.get(
            pod.reason, (ExecutorExitReason.DELETED, "deleted by a user or the framework")
        )
        # Spark: a deleted pod of which a sidecar still runs is Failed, so the driver charges its tasks.
        charged = not deleted
    else:
        reason, words = _reason_of_end(pod, end)
        charged = True
    if charged:
        spark_words = f"The executor with id {pod.executor_id} exited with exit code {describe_exit_code(code)}."
    else:
        spark_words = (
            f"The executor with id {pod.executor_id} was deleted by a user or the framework."
        )
    return ExecutorExit(reason, code, charged, _sentence(pod, reason, words, code), spark_words)


_START_FAILURES = {word: failure_class(reason) for word, (reason, _) in _BY_START_REASON.items()}


def start_failure(pod: ExecutorPod) -> FailureClass | None:
    """The class of `start_problem`, for a pending pod; None when nothing keeps it, or nothing that backs off."""
    return _START_FAILURES.get(pod.reason)


def is_merely_slow(pod: ExecutorPod) -> bool:
    """Whether what keeps a pending pod is only that it takes long: every pod does that at first."""
    return pod.reason == STARTING


def has_start_problem(pod: ExecutorPod) -> bool:
    """Whether something keeps a pending pod from starting."""
    return pod.reason in _BY_START_REASON


def start_problem(pod: ExecutorPod) -> ExecutorExit | None:
    """What keeps a pending pod from starting, when the kubelet or the scheduler says so."""
    if pod.state is not PodState.PENDING or not has_start_problem(pod):
        return None
    reason, words = _BY_START_REASON[pod.reason]
    return ExecutorExit(
        reason,
        UNKNOWN_EXIT_CODE,
        charged=False,
        message=_sentence(pod, reason, words, UNKNOWN_EXIT_CODE),
    )


def _reason_of_end(pod: ExecutorPod, end: ContainerEnd | None) -> tuple[ExecutorExitReason, str]:
    if pod.reason in _BY_POD_REASON:
        return _BY_POD_REASON[pod.reason]
    if pod.reason.startswith(_NODE_HAS_TOO_LITTLE):
        lacking = pod.reason.removeprefix(_NODE_HAS_TOO_LITTLE)
        return ExecutorExitReason.NODE_REFUSED, f"refused by its node: too little {lacking} left"
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
    signal = _SIGNALS.get(end.exit_code - 128)
    if signal is not None:
        return ExecutorExitReason.APPLICATION_ERROR, f"ended by the signal {signal}"
    return ExecutorExitReason.APPLICATION_ERROR, "ended with an error"


def _end_of_others(pod: ExecutorPod) -> tuple[ExecutorExitReason, str]:
    other = next((end for end in pod.ends if end.exit_code != 0), None)
    if other is not None:
        return (
            ExecutorExitReason.APPLICATION_ERROR,
            f"its container {other.name} ended with exit code {other.exit_code}",
        )
    if pod.state is PodState.SUCCEEDED:
        return ExecutorExitReason.SUCCEEDED, "ended by itself"
    if pod.init_ends:
        first = pod.init_ends[0]
        return (
            ExecutorExitReason.INIT_CONTAINER,
            f"its init container {first.name} ended with exit code {first.exit_code}",
        )
    return ExecutorExitReason.APPLICATION_ERROR, "failed before its container ran"


def _sentence(pod: ExecutorPod, reason: ExecutorExitReason, words: str, code: int) -> str:
    text = f"Executor {pod.executor_id} (pod {pod.name}): {words}"
    if code != UNKNOWN_EXIT_CODE:
        text += f" (exit code {code})"
    parts = [text + ".", remedy(reason), pod.message]
    return " ".join(part for part in parts if part)
