"""Ended, missing and lost executors: what became of them, and which pods to delete when.

Theory of operation
-------------------
Two pictures disagree from time to time: the pods (a watch, seconds old at most) and the driver's executors (a poll).

- A pod in a final state, or one that is gone, is an *exit*. It is reported once. The driver must see the same pod to learn why its executor
  is gone: deleted too early, an application's own crash looks like a deletion by the framework, and the tasks are not
  charged. So an ended pod is deleted at the earliest `LifecycleConf.finished_pod_grace_ms` after its end was seen here,
  and never when ``deleteOnTermination`` is off. Then pods that had ended before the first review have been told before.
- An executor that the driver has and no pod shows is *missing*: reported once, when a full list that was asked for
  more than the delta after its registration does not show it (``missingPodDetectDelta``).
- A running pod whose executor the driver does not have is *lost*: the driver lists it as dead, or has not listed it
  as alive for the registration timeout. It stops counting at once, so that it is replaced, and it is reported and its
  pod deleted when a later poll, at least the grace afterwards, still says so: an executor that just exits by itself is
  on the driver's list of the dead before its pod shows the end, and the end tells more. While there are no polls this rule is frozen, and the time without
  polls is not held against anybody: a driver that did not answer did not register executors either. One that never
  registered in its time, or late, gives those after it twice as long, up to ten minutes: on a machine where everything
  is slow each would otherwise be deleted just before it registers, and the next one as well.
- Of a wave (a node pool that goes, a driver that loses everybody) so many are told and deleted in one review, and the
  rest in the next ones: thousands at once must not hold up the decisions. What counts changes at once.
- A pod that leaves because somebody drains it is not lost, whatever the driver says.

An executor that ends before the driver ever listed it, or runs and never registers, may have its node to thank for it:
`core.node_avoidance` judges, and `LifecycleReview.avoid_nodes` names the nodes that the next pods should not go to.

No pod is deleted by force. One whose node is silent keeps its name until the node is back or its Node object is gone;
then Kubernetes' own garbage collection removes it. It has stopped counting long before.

`ExecutorPodsLifecycleManager.review` is a state machine over successive pictures: it asks for a deletion again when
the pod is still there half a minute later, and everything it remembers of a pod ends with the pod.

Source: ``scheduler.cluster.k8s.ExecutorPodsLifecycleManager``.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from spark_allocation.core.executor_exits import UNKNOWN_EXIT_CODE, ExecutorExit, exit_of
from spark_allocation.core.executor_pods import (
    SPARK_CONTAINER,
    ContainerRule,
    ExecutorId,
    ExecutorPod,
    PodState,
)
from spark_allocation.core.exit_reasons import ExecutorExitReason, remedy
from spark_allocation.core.node_avoidance import NodeAvoidance
from spark_allocation.core.pods_allocator_conf import DELETE_ON_TERMINATION
from spark_allocation.core.resource_profiles import UNKNOWN_PROFILE_ID, ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.spark_conf import LONG_MAX, MILLISECOND, SparkConf
from spark_allocation.core.spark_version import SparkVersion

_NOBODY: frozenset[ExecutorId] = frozenset()
_ENDED = frozenset({PodState.SUCCEEDED, PodState.FAILED, PodState.DELETED})
_NODE_S_DOING = frozenset(
    {
        ExecutorExitReason.APPLICATION_ERROR,
        ExecutorExitReason.DISK_FAILURE,
        ExecutorExitReason.DRIVER_UNREACHABLE,
        ExecutorExitReason.HEARTBEAT_FAILURE,
        ExecutorExitReason.NODE_REFUSED,
        ExecutorExitReason.UNCAUGHT_EXCEPTION,
    }
)
"""How an executor ends before it registers when its node, or the driver's judgement of its node, is to blame."""
DELETE_AGAIN_AFTER_MS = 30_000
AT_ONCE = 250
"""Of a wave of ends so many are told, and so many pods deleted, in one review; the rest follows in the next ones."""
MOST_PATIENCE_MS = 600_000
"""So long at most a pod may run without an executor, however slow the ones before it were: as long as a creation may take."""
LONGEST_PAUSE_BETWEEN_POLLS_MS = 30_000
"""Longer, and the driver counts as having been out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleConf:
    """Settings of `ExecutorPodsLifecycleManager`; times in milliseconds.

    Attributes:
        delete_on_termination: ended pods are deleted; else they stay until the driver ends.
        finished_pod_grace_ms: the least time between the sight of an end and the deletion of the pod.
        missing_pod_delta_ms: how long after its registration an executor may be without a pod.
        registration_timeout_ms: how long a running pod may be without an executor, until others have been slower.
        node_avoidance_ms: how long a node is avoided on which executors come to nothing.
        containers: which containers decide the state of a running pod.
    """

    delete_on_termination: bool = True
    finished_pod_grace_ms: int = 5_000
    missing_pod_delta_ms: int = 30_000
    registration_timeout_ms: int = 120_000
    node_avoidance_ms: int = 3_600_000
    containers: ContainerRule = field(default_factory=ContainerRule)

    @classmethod
    def from_spark_conf(cls, conf: SparkConf, version: SparkVersion) -> "LifecycleConf":
        """Read what Spark has keys for; the grace and the registration timeout have none.

        Args:
            conf: the driver's.
            version: of the driver's Spark, because defaults differ.

        Raises:
            InvalidSetting: for what Spark refuses.
        """
        return cls(
            delete_on_termination=conf.boolean(DELETE_ON_TERMINATION, True),
            missing_pod_delta_ms=conf.time(
                "spark.kubernetes.executor.missingPodDetectDelta", 30_000, MILLISECOND
            ),
            node_avoidance_ms=conf.time("spark.excludeOnFailure.timeout", 3_600_000, MILLISECOND),
            containers=ContainerRule(
                check_all_containers=conf.boolean(
                    "spark.kubernetes.executor.checkAllContainers", version.at_least(4, 0)
                ),
                spark_container=conf.get(
                    "spark.kubernetes.executor.podTemplateContainerName", SPARK_CONTAINER
                ),
            ),
        )


@dataclass(frozen=True, slots=True)
class DriverExecutor:
    """An executor on the driver's list.

    Attributes:
        active: the driver gives it tasks; else the driver has removed it.
        added_at: epoch milliseconds of its registration.
    """

    active: bool
    added_at: int | None = None


@dataclass(frozen=True, slots=True)
class DriverExecutors:
    """The driver's list of executors.

    Attributes:
        by_id: alive ones, and dead ones as far as the poll asked for them.
        observed_at: epoch milliseconds of the poll.
    """

    by_id: Mapping[ExecutorId, DriverExecutor]
    observed_at: int


@dataclass(frozen=True, slots=True)
class ExecutorRemoval:
    """An executor that is no more; told once.

    Attributes:
        failed: its pod was seen in the state Failed: counts against ``spark.executor.maxNumFailures``.
        never_registered: the driver never listed it.
        node: where its pod was.
    """

    executor_id: ExecutorId
    profile_id: ProfileId
    exit: ExecutorExit
    failed: bool = False
    never_registered: bool = False
    node: str = ""


class DeletionCause(StrEnum):
    """Why the lifecycle manager deletes a pod."""

    FINISHED = "Finished"
    DRIVER_LOST = "DriverLost"


@dataclass(frozen=True, slots=True)
class PodDeletion:
    """A pod to delete, by its uid."""

    pod: ExecutorPod
    cause: DeletionCause


@dataclass(frozen=True, slots=True)
class LifecycleReview:
    """What one look at the pictures says.

    Attributes:
        removals: executors that ended since the last look.
        delete: pods to delete now.
        driver_lost: running pods that must not be counted as executors.
        avoid_nodes: nodes that the next pods should not go to.
        wake_at: epoch milliseconds of the next look that can say something new without new pictures.
    """

    removals: tuple[ExecutorRemoval, ...] = ()
    delete: tuple[PodDeletion, ...] = ()
    driver_lost: frozenset[ExecutorId] = _NOBODY
    avoid_nodes: frozenset[str] = frozenset()
    wake_at: int | None = None


class ExecutorPodsLifecycleManager:
    """Follows the executors of one driver to their end (``ExecutorPodsLifecycleManager``)."""

    def __init__(self, conf: LifecycleConf) -> None:
        self._conf = conf
        self._end_seen_at: dict[ExecutorId, int] = {}
        self._absent_since: dict[ExecutorId, int] = {}
        self._lost_since: dict[ExecutorId, int] = {}
        self._deletion_asked_at: dict[ExecutorId, int] = {}
        self._registered: set[ExecutorId] = set()
        self._patience_ms = 0
        self._removed: set[ExecutorId] = set()
        self._nodes = NodeAvoidance()
        self._untold: dict[ExecutorId, tuple[ExecutorPod, bool]] = {}
        self._first_review = True
        self._last_poll = 0
        self._last_pods: Mapping[ExecutorId, ExecutorPod] = {}

    @property
    def driver_lost(self) -> frozenset[ExecutorId]:
        """Running pods that the driver has lost, as of the last review."""
        return frozenset(self._lost_since)

    def reconfigure(self, conf: LifecycleConf) -> None:
        """Use other settings from the next review on."""
        self._conf = conf

    def review(
        self,
        snapshot: ExecutorPodsSnapshot,
        driver: DriverExecutors | None,
        *,
        now: int,
        vanished: Iterable[ExecutorPod] = (),
        draining: AbstractSet[ExecutorId] = _NOBODY,
    ) -> LifecycleReview:
        """Look at both pictures.

        Args:
            snapshot: the pods.
            driver: the driver's executors, or None while it cannot be asked.
            now: epoch milliseconds.
            vanished: the last sight of pods that went since the last review; the sight tells how they ended.
            draining: executors whose pods leave at our request.
        """
        if driver is not None:
            for executor_id in driver.by_id.keys() - self._registered:
                absent_since = self._absent_since.get(executor_id, driver.observed_at)
                self._has_waited(driver.observed_at - absent_since)
            self._registered.update(driver.by_id)
        if self._first_review and not self._conf.delete_on_termination:
            self._removed.update(pod.executor_id for pod in snapshot.by_state.ended)
        self._first_review = False
        self._note_ends(snapshot, now, draining)
        self._note_gone(snapshot, vanished, draining)
        removals = [*self._told(now), *self._missing(snapshot, driver, draining)]
        removals += self._lost(snapshot, driver, draining)
        self._forget_gone(snapshot, driver)
        finished, wake_at = self._finished_to_delete(snapshot, now)
        lost = tuple(self._lost_to_delete(snapshot, driver, now))
        return LifecycleReview(
            removals=tuple(removals),
            delete=(*finished, *lost),
            driver_lost=self.driver_lost,
            avoid_nodes=self._avoided(snapshot, driver, now),
            wake_at=now if self._untold else wake_at,
        )

    def _note_ends(
        self, snapshot: ExecutorPodsSnapshot, now: int, draining: AbstractSet[ExecutorId]
    ) -> None:
        for pod in snapshot.by_state.ended:
            executor_id = pod.executor_id
            if executor_id not in self._end_seen_at:
                self._end_seen_at[executor_id] = now
                self._lost_since.pop(executor_id, None)
                self._note_end(pod, draining)

    def _note_gone(
        self,
        snapshot: ExecutorPodsSnapshot,
        vanished: Iterable[ExecutorPod],
        draining: AbstractSet[ExecutorId],
    ) -> None:
        missing = self._last_pods.keys() - snapshot.pods.keys()
        gone = (
            {each: pod for each, pod in self._last_pods.items() if each in missing}
            if missing
            else {}
        )
        gone |= {pod.executor_id: pod for pod in vanished if pod.executor_id not in snapshot.pods}
        self._last_pods = snapshot.pods
        for pod in gone.values():
            self._note_end(pod, draining)

    def _note_end(self, pod: ExecutorPod, draining: AbstractSet[ExecutorId]) -> None:
        executor_id = pod.executor_id
        if executor_id not in self._removed:
            self._removed.add(executor_id)
            self._untold[executor_id] = (pod, executor_id in draining)

    def _told(self, now: int) -> Iterable[ExecutorRemoval]:
        for executor_id in list(islice(self._untold, AT_ONCE)):
            pod, drained = self._untold.pop(executor_id)
            yield self._removal(pod, now, drained=drained)

    def _removal(self, pod: ExecutorPod, now: int, *, drained: bool) -> ExecutorRemoval:
        gone = pod.state not in _ENDED
        end = exit_of(pod, self._conf.containers.spark_container, gone=gone)
        never_registered = pod.executor_id not in self._registered
        failed = pod.state is PodState.FAILED
        if drained and end.reason in (
            ExecutorExitReason.SUCCEEDED,
            ExecutorExitReason.DELETED,
            ExecutorExitReason.SIGTERM,
        ):
            end = ExecutorExit(
                ExecutorExitReason.DRAINED, end.exit_code, charged=False, message=end.message
            )
        elif failed and never_registered and end.reason in _NODE_S_DOING:
            self._refused_by(pod.node, now)
        return ExecutorRemoval(
            pod.executor_id, pod.profile_id, end, failed, never_registered, pod.node
        )

    def _refused_by(self, node: str, now: int) -> None:
        if node:
            self._nodes.refused(node, now, within_ms=self._conf.node_avoidance_ms)

    def _missing(
        self,
        snapshot: ExecutorPodsSnapshot,
        driver: DriverExecutors | None,
        draining: AbstractSet[ExecutorId],
    ) -> Iterable[ExecutorRemoval]:
        if driver is None:
            return
        for executor_id in sorted(driver.by_id.keys() - snapshot.pods.keys()):
            executor = driver.by_id[executor_id]
            if (
                executor.active
                and executor.added_at is not None
                and executor_id not in self._removed
                and snapshot.full_sync_at - executor.added_at > self._conf.missing_pod_delta_ms
            ):
                self._removed.add(executor_id)
                reason = (
                    ExecutorExitReason.DRAINED
                    if executor_id in draining
                    else ExecutorExitReason.MISSING
                )
                words = f"Executor {executor_id}: the driver lists it, but it has no pod"
                yield ExecutorRemoval(
                    executor_id,
                    UNKNOWN_PROFILE_ID,
                    ExecutorExit(
                        reason,
                        UNKNOWN_EXIT_CODE,
                        charged=False,
                        message=words,
                        spark_words=f"The executor with ID {executor_id} was not found in the cluster. The executor "
                        "may have been deleted but the driver missed the deletion event. Marking this executor as "
                        "failed.",
                    ),
                )

    def _lost(
        self,
        snapshot: ExecutorPodsSnapshot,
        driver: DriverExecutors | None,
        draining: AbstractSet[ExecutorId],
    ) -> Iterable[ExecutorRemoval]:
        if driver is None or driver.observed_at <= self._last_poll:
            return
        pause = driver.observed_at - self._last_poll
        self._last_poll = driver.observed_at
        if pause > LONGEST_PAUSE_BETWEEN_POLLS_MS:
            self._absent_since = {each: at + pause for each, at in self._absent_since.items()}
        suspects = self._suspects(snapshot, driver, draining)
        for memory in (self._absent_since, self._lost_since):
            for executor_id in memory.keys() - suspects.keys():
                del memory[executor_id]
        now = driver.observed_at
        timeout = self._conf.registration_timeout_ms
        patience = max(timeout, self._patience_ms)
        # A later poll still says so; by then a pod that was ending has shown how it ended.
        surely = now - self._conf.finished_pod_grace_ms
        told = 0
        for executor_id, pod in suspects.items():
            absent_since = self._absent_since.setdefault(executor_id, now)
            dead = executor_id in driver.by_id
            waits = timeout if executor_id in self._registered else patience
            if dead or now - absent_since > waits:
                self._lost_since.setdefault(executor_id, now)
            lost_since = self._lost_since.get(executor_id, LONG_MAX)
            if lost_since <= surely and told < AT_ONCE and executor_id not in self._removed:
                told += 1
                self._removed.add(executor_id)
                removal = self._lost_removal(pod, dead=dead)
                if removal.never_registered:
                    self._refused_by(pod.node, now)
                    if not pod.node_silent:
                        self._has_waited(now - absent_since)
                yield removal

    def _has_waited(self, milliseconds: int) -> None:
        """An executor took so long to register, or never did: those after it may take twice as long."""
        self._patience_ms = max(self._patience_ms, min(2 * milliseconds, MOST_PATIENCE_MS))

    def _suspects(
        self,
        snapshot: ExecutorPodsSnapshot,
        driver: DriverExecutors,
        draining: AbstractSet[ExecutorId],
    ) -> dict[ExecutorId, ExecutorPod]:
        """Pods that run, though the driver has no such executor and nobody asked it to go."""
        alive = {each for each, executor in driver.by_id.items() if executor.active}
        unknown = snapshot.pods.keys() - alive - draining
        if not unknown:
            return {}
        running = PodState.RUNNING
        return {
            each: pod
            for each, pod in snapshot.pods.items()
            if each in unknown and pod.state is running
        }

    def _lost_removal(self, pod: ExecutorPod, *, dead: bool) -> ExecutorRemoval:
        never_registered = pod.executor_id not in self._registered
        if dead:
            words = "the driver has removed it, but its pod runs on"
        elif never_registered:
            words = "its pod runs, but it never registered with the driver"
        else:
            words = "its pod runs, but the driver no longer lists it"
        reason = ExecutorExitReason.DRIVER_LOST
        if pod.node_silent:
            reason = ExecutorExitReason.NODE_LOST
            words += f"; its node {pod.node} does not report any more"
        end = ExecutorExit(
            reason,
            UNKNOWN_EXIT_CODE,
            charged=dead,
            message=f"Executor {pod.executor_id} (pod {pod.name}): {words}. {remedy(reason)}",
        )
        return ExecutorRemoval(
            pod.executor_id,
            pod.profile_id,
            end,
            never_registered=never_registered,
            node=pod.node,
        )

    def _forget_gone(self, snapshot: ExecutorPodsSnapshot, driver: DriverExecutors | None) -> None:
        pods = snapshot.pods
        for memory in (
            self._end_seen_at,
            self._absent_since,
            self._lost_since,
            self._deletion_asked_at,
        ):
            for executor_id in [each for each in memory if each not in pods]:
                del memory[executor_id]
        if driver is not None:
            for names in (self._removed, self._registered):
                names.difference_update(
                    names.difference(pods).difference(driver.by_id).difference(self._untold)
                )

    def _finished_to_delete(
        self, snapshot: ExecutorPodsSnapshot, now: int
    ) -> tuple[list[PodDeletion], int | None]:
        """Pods that have ended and may go now, and when the next one may."""
        if not self._conf.delete_on_termination:
            return [], None
        delete: list[PodDeletion] = []
        due_at: int | None = None
        deleted = PodState.DELETED
        for executor_id, seen_at in self._end_seen_at.items():
            pod = snapshot.pods[executor_id]
            if pod.deleting or pod.state is deleted:
                continue
            at = seen_at + self._conf.finished_pod_grace_ms
            if at <= now and len(delete) < AT_ONCE:
                if self._ask_for_deletion(executor_id, now):
                    delete.append(PodDeletion(pod, DeletionCause.FINISHED))
            elif executor_id not in self._deletion_asked_at:
                due_at = at if due_at is None else min(due_at, at)
        return delete, None if due_at is None else max(now, due_at)

    def _lost_to_delete(
        self,
        snapshot: ExecutorPodsSnapshot,
        driver: DriverExecutors | None,
        now: int,
    ) -> Iterable[PodDeletion]:
        if driver is None:
            return
        latest = driver.observed_at - self._conf.finished_pod_grace_ms
        left = AT_ONCE
        for executor_id, lost_since in self._lost_since.items():
            pod = snapshot.pods[executor_id]
            if (
                lost_since <= latest
                and not pod.deleting
                and executor_id in self._removed
                and self._ask_for_deletion(executor_id, now)
            ):
                yield PodDeletion(pod, DeletionCause.DRIVER_LOST)
                left -= 1
                if left == 0:
                    return

    def _ask_for_deletion(self, executor_id: ExecutorId, now: int) -> bool:
        asked_at = self._deletion_asked_at.get(executor_id)
        if asked_at is not None and now - asked_at < DELETE_AGAIN_AFTER_MS:
            return False
        self._deletion_asked_at[executor_id] = now
        return True

    def _avoided(
        self, snapshot: ExecutorPodsSnapshot, driver: DriverExecutors | None, now: int
    ) -> frozenset[str]:
        working = (
            {each for each, executor in driver.by_id.items() if executor.active}
            if driver is not None and self._nodes
            else _NOBODY
        )
        return self._nodes.avoided(
            snapshot.pods.values(), working, now, for_ms=self._conf.node_avoidance_ms
        )
