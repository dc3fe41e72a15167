"""Executor pods as allocation sees them: a dozen facts of each, never the whole API object.

Theory of operation
-------------------
Spark looks at a pod and sees one of seven states. Three rules are easy to get wrong and decide whether tasks are
charged for a loss:

1. A pod with a deletionTimestamp is *deleted* unless it still says Running: graceful deletion of a running executor
   leaves it RUNNING until the kubelet publishes its end, so a draining executor still counts for Spark.
2. A Running pod whose Spark container has ended is FAILED or SUCCEEDED although sidecars keep the phase Running.
3. With ``checkAllContainers`` (the default from 4.0) any container of a ``restartPolicy: Never`` pod that ended
   with an error makes the pod FAILED, even while Spark itself runs.

Native sidecars (init containers that restart) are no containers in this sense: their ends are no ends of the pod.

Whoever decodes pods fills `PodFacts` and stores the resulting `PodState` in `ExecutorPod`; nothing else of the
API object is kept, because tens of thousands of them live in memory at once. The watch sees the pods of all
applications and knows nobody's configuration, so it judges by the newest Spark's defaults; `judged` gives the state
again as the application's own `ContainerRule` has it.

Source: ``scheduler.cluster.k8s.ExecutorPodsSnapshot.toState``, ``ExecutorPodStates``.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NewType

from spark_allocation.core.pod_size import NO_SIZE, PodSize
from spark_allocation.core.resource_profiles import ProfileId

ExecutorId = NewType("ExecutorId", int)

SPARK_CONTAINER = "spark-kubernetes-executor"
"""Name of the Spark container unless ``spark.kubernetes.executor.podTemplateContainerName`` says otherwise."""


STARTING = "Starting"
"""`ExecutorPod.reason` of a pending pod of which nobody says what keeps it: it is on its way, or stuck without a word."""


class PodState(StrEnum):
    """The states of ``scheduler.cluster.k8s.ExecutorPodState``."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TERMINATING = "terminating"
    DELETED = "deleted"
    UNKNOWN = "unknown"

    @property
    def is_final(self) -> bool:
        """The executor will never run again (Spark's ``FinalPodState``)."""
        return self in _FINAL_STATES


_FINAL_STATES = frozenset(
    {PodState.SUCCEEDED, PodState.FAILED, PodState.DELETED, PodState.TERMINATING}
)


_WITHOUT_A_PLACE = frozenset({PodState.SUCCEEDED, PodState.FAILED, PodState.DELETED})


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """How a terminated container ended: the kubelet's words."""

    name: str
    exit_code: int
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRule:
    """Which containers of a running pod decide its state.

    Attributes:
        check_all_containers: ``spark.kubernetes.executor.checkAllContainers``: false by default in 3.x, true from 4.0.
        spark_container: the name of the container that runs the executor
            (``spark.kubernetes.executor.podTemplateContainerName``).
    """

    check_all_containers: bool = True
    spark_container: str = SPARK_CONTAINER


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What of a pod decides its state.

    Attributes:
        phase: ``status.phase`` as written; empty when the pod has no status yet.
        deleting: ``metadata.deletionTimestamp`` is set.
        restart_policy: ``spec.restartPolicy`` as written.
        ends: the ``state.terminated`` of each ended container, in the order of ``status.containerStatuses``.
    """

    phase: str
    deleting: bool = False
    restart_policy: str = "Never"
    ends: tuple[ContainerEnd, ...] = ()


@dataclass(frozen=True, slots=True)
class ExecutorPod:
    """One executor pod.

    Attributes:
        created_at: ``metadata.creationTimestamp`` as epoch seconds.
        deleting: a deletionTimestamp is set (a graceful deletion of a running pod is still ``RUNNING``).
        claims: names of the persistent volume claims that the pod mounts.
        ends: of its containers that have ended, native sidecars not among them.
        init_ends: of init containers that failed; with one of them the others never start.
        reason: the API server's word for a state (``status.reason``, or why a container of it waits).
        message: the sentence that belongs to ``reason``.
        phase: ``status.phase`` as written; only `judged` looks at it.
        restart_policy: ``spec.restartPolicy`` as written.
        node_silent: its node does not report any more, says the node controller.
        size: what it asks for.
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
    init_ends: tuple[ContainerEnd, ...] = ()
    phase: str = ""
    restart_policy: str = "Never"
    node_silent: bool = False
    size: PodSize = NO_SIZE

    @property
    def occupies(self) -> bool:
        """Whether it still has a place on a node, or is to get one: only the end of all its containers frees that."""
        phase = self.phase.lower()
        if phase:
            return phase not in ("succeeded", "failed")
        return self.state not in _WITHOUT_A_PLACE


def judged(pod: ExecutorPod, rule: ContainerRule) -> ExecutorPod:
    """The pod with the state that its application's rule gives it; only running pods with ended containers differ."""
    if not pod.ends or pod.phase.lower() != "running":
        return pod
    facts = PodFacts(pod.phase, pod.deleting, pod.restart_policy, pod.ends)
    state = _running_state(facts, rule.check_all_containers, rule.spark_container)
    return pod if state is pod.state else replace(pod, state=state)


def pod_state(
    facts: PodFacts, *, check_all_containers: bool, spark_container: str = SPARK_CONTAINER
) -> PodState:
    """The state that Spark gives a pod (``ExecutorPodsSnapshot.toState``).

    Args:
        facts: of the pod.
        check_all_containers: ``spark.kubernetes.executor.checkAllContainers``: false by default in 3.x, true from 4.0.
        spark_container: the name of the container that runs the executor.

    Returns:
        The state; a pod without a phase that nobody deleted is UNKNOWN (Spark would fail on it).
    """
    phase = facts.phase.lower()
    if facts.deleting and phase not in ("running", "terminating"):
        return PodState.DELETED
    if phase == "running":
        return _running_state(facts, check_all_containers, spark_container)
    return _STATE_BY_PHASE.get(phase, PodState.UNKNOWN)


_STATE_BY_PHASE = {
    "pending": PodState.PENDING,
    "failed": PodState.FAILED,
    "succeeded": PodState.SUCCEEDED,
    "terminating": PodState.TERMINATING,
}


def _running_state(facts: PodFacts, check_all_containers: bool, spark_container: str) -> PodState:
    if not facts.ends:
        return PodState.RUNNING
    if (
        check_all_containers
        and facts.restart_policy == "Never"
        and any(end.exit_code != 0 for end in facts.ends)
    ):
        return PodState.FAILED
    end = end_of(spark_container, facts.ends)
    if end is None:
        return PodState.RUNNING
    return PodState.SUCCEEDED if end.exit_code == 0 else PodState.FAILED


def end_of(container: str, ends: tuple[ContainerEnd, ...]) -> ContainerEnd | None:
    """The end of the named container, or None while it has not ended."""
    return next((end for end in ends if end.name == container), None)
