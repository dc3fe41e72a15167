"""Executor pods as allocation sees them: a dozen facts of each, never the whole API object."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from spark_allocation.core.resource_profiles import ProfileId

ExecutorId = NewType("ExecutorId", int)


class PodState(StrEnum):
    """The states of ``scheduler.cluster.k8s.ExecutorPodState``."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TERMINATING = "terminating"
    DELETED = "deleted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """How a terminated container ended: the kubelet's words."""

    name: str
    exit_code: int
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ExecutorPod:
    """One executor pod.

    Attributes:
        created_at: ``metadata.creationTimestamp`` as epoch seconds.
        deleting: a deletionTimestamp is set (a graceful deletion of a running pod is still ``RUNNING``).
        claims: names of the persistent volume claims that the pod mounts.
        reason: the API server's word for a state (``status.reason``, or the waiting reason of the Spark container).
        message: the sentence that belongs to ``reason``.
    """

    uid: str
    name: str
    namespace: str
    executor_id: ExecutorId
    profile_id: ProfileId
    state: PodState
    created_at: float
    resource_version: str = ""
    deleting: bool = False
    node: str = ""
    claims: tuple[str, ...] = ()
    ends: tuple[ContainerEnd, ...] = ()
    reason: str = ""
    message: str = ""
