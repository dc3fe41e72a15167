"""Executors that fail, that prove themselves, and that cannot start: what is remembered of them, and what it holds back.

Theory of operation
-------------------
Three kinds of news come together here: executors on the driver's list (`ExecutorFailures.take_report`), executors that
ended and pods that the kubelet refuses to start (`take_ends`), and the answers to creations. `FailureBackoff` judges them
by class; this module decides what counts as a failure or as a success in the first place:

- A success speaks for new executors once: the first task that an executor finishes, or its first minute on the
  driver's list. Old executors that work on do not excuse new ones that fail.
- A failure is an executor that ended badly, one that ran and never registered or ended well before it did, or a pod
  whose configuration the kubelet refuses; that last one once for each pod, however long it stays.
- Toward the limit (`FailureLimit`) counts every end that nobody asked for, whoever brought it about: Spark counts pods
  in the state Failed alone, but a loop of deletions makes as many pods as a loop of crashes.
- An executor that ends well by itself was told to by its driver, which ends its executors when it stops, after its REST
  API. Until the driver has answered again no pod is asked for.
- What keeps a pod from starting is told only after some seconds: a pod waits for a node or for its image for a moment
  in the best of clusters.

Source: ``ExecutorPodsAllocator``'s and ``ExecutorPodsLifecycleManager``'s counts of failed executors; the rest is ours.
"""

from collections.abc import Set as AbstractSet
from dataclasses import replace

from spark_allocation.core.driver_report import DriverReport
from spark_allocation.core.executor_exits import (
    ExecutorExit,
    has_start_problem,
    is_merely_slow,
    start_failure,
    start_problem,
)
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.exit_reasons import ExecutorExitReason, FailureClass, failure_class
from spark_allocation.core.failure_tracker import (
    BackoffConf,
    FailureBackoff,
    FailureCount,
    FailureLimit,
    FailureLimitConf,
)
from spark_allocation.core.lifecycle_manager import ExecutorRemoval
from spark_allocation.core.pods_plan import PodRequests
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

START_PROBLEM_PATIENCE_SECONDS = 5
SLOW_START_SECONDS = 120
"""A pod without a word of what keeps it may pull a large image to a new node."""

_NANOSECONDS_PER_MILLISECOND = 1_000_000
_NANOSECONDS_PER_SECOND = 1_000_000_000


class ExecutorFailures:
    """Of one life of a driver.

    Attributes:
        count: executors that failed in this life.
    """

    def __init__(
        self, limit: FailureLimitConf | None = None, conf: BackoffConf | None = None
    ) -> None:
        self._conf = conf or BackoffConf()
        self._limit = FailureLimit(limit or FailureLimitConf())
        self._backoff = FailureBackoff(self._conf)
        self._listed_since_ns: dict[ExecutorId, int] = {}
        self._proven: set[ExecutorId] = set()
        self._refused_pods: frozenset[ExecutorId] = frozenset()
        self._problem_since_ns: dict[ExecutorId, int] = {}
        self._slow_since_ns: dict[ExecutorId, int] = {}
        self._driver_may_have_stopped = False
        self._tried: ProfileId | None = None
        """The profile that was given something last while not all could be."""
        self.count = 0

    @property
    def held_back(self) -> frozenset[FailureClass]:
        """Classes of repeated failures that keep pods from being asked for."""
        return self._backoff.opened()

    def retry_at(self, now_ms: int) -> int | None:
        """Epoch milliseconds at which the back-off may allow something; None when it does already."""
        return self._backoff.retry_at(now_ms)

    @property
    def next_attempt_at(self) -> int | None:
        """Epoch milliseconds from which on one is tried; None while nothing is held back or one is under way."""
        return self._backoff.next_probe_at

    def reconfigure(self, limit: FailureLimitConf) -> None:
        """Use another limit from now on."""
        self._limit.reconfigure(limit)

    def toward_limit(self, now_ms: int) -> FailureCount:
        """How near the limit is."""
        return self._limit.count(now_ms)

    def allowed(
        self, requests: tuple[PodRequests, ...], now_ms: int, *, executors_wanted: int
    ) -> tuple[PodRequests, ...]:
        """Fewer pods while creations or starts keep failing: none, or one to try; none for a driver that may have stopped.

        Args:
            requests: what the plan would ask for.
            now_ms: epoch milliseconds.
            executors_wanted: the targets of all profiles.
        """
        if self._driver_may_have_stopped:
            return ()
        wanted = sum(request.count for request in requests)
        left = self._backoff.allowed(wanted, now_ms)
        left = self._limit.allowed(left, now_ms, executors_wanted=executors_wanted)
        counts = self._in_turn(requests, left) if left < wanted else {}
        return tuple(
            replace(request, count=count, held_back=request.count - count)
            for request in requests
            for count in (counts.get(request.profile_id, request.count),)
        )

    def _in_turn(self, requests: tuple[PodRequests, ...], left: int) -> dict[ProfileId, int]:
        """So many of all: profiles take turns, as one whose executors always fail says nothing about those of another."""
        last = self._tried
        counts: dict[ProfileId, int] = {}
        for request in sorted(
            requests,
            key=lambda each: (last is not None and each.profile_id <= last, each.profile_id),
        ):
            count = counts[request.profile_id] = min(request.count, left)
            left -= count
            if count > 0:
                self._tried = request.profile_id
        return counts

    # -- what happens ------------------------------------------------------------------------------------------------

    def creation_attempted(self, executor_id: ExecutorId, now_ms: int) -> None:
        """A pod is asked for, or would have been had it been possible to build it."""
        self._backoff.created([executor_id], now_ms)
        self._limit.created(now_ms)

    def creation_failed(self, failure: FailureClass, executor_id: ExecutorId, now_ms: int) -> None:
        """The API server made no such pod, or failed over it."""
        self._backoff.failed(failure, executor_id, now_ms)

    def take_report(self, report: DriverReport, now_ns: int) -> None:
        """Note who has proven itself.

        Args:
            report: one answer of the driver.
            now_ns: monotonic nanoseconds.
        """
        self._driver_may_have_stopped = False
        listed = {executor.id for executor in report.executors}
        self._proven &= listed
        self._listed_since_ns = {
            executor_id: self._listed_since_ns.get(executor_id, now_ns) for executor_id in listed
        }
        healthy_after_ns = self._conf.healthy_after_ms * _NANOSECONDS_PER_MILLISECOND
        for executor in report.executors:
            if executor.id in self._proven:
                continue
            finished = executor.total_tasks > executor.active_tasks + executor.failed_tasks
            if finished or now_ns - self._listed_since_ns[executor.id] >= healthy_after_ns:
                self._proven.add(executor.id)
                self._backoff.succeeded(executor.id)

    def take_ends(
        self,
        snapshot: ExecutorPodsSnapshot,
        removals: tuple[ExecutorRemoval, ...],
        now_ms: int,
    ) -> None:
        """Note who has failed.

        Args:
            snapshot: the pods that are there.
            removals: executors that ended since the last time.
            now_ms: epoch milliseconds.
        """
        for removal in removals:
            self.count += removal.failed
            if removal.exit.reason is ExecutorExitReason.SUCCEEDED and not removal.never_registered:
                self._driver_may_have_stopped = True
            if removal.exit.reason is not ExecutorExitReason.DRAINED:
                self._limit.ended(now_ms)
            kind = _kind_of_failure(removal)
            if kind is not None:
                self._backoff.failed(kind, removal.executor_id, now_ms)
        refused: set[ExecutorId] = set()
        for pod in snapshot.by_state.explained:
            kind = start_failure(pod)
            if kind is FailureClass.CONFIGURATION:
                refused.add(pod.executor_id)
                if pod.executor_id not in self._refused_pods:
                    self._backoff.failed(kind, pod.executor_id, now_ms)
        self._refused_pods = frozenset(refused)

    # -- what is told ------------------------------------------------------------------------------------------------

    def start_problem(
        self, snapshot: ExecutorPodsSnapshot, *, leaving: AbstractSet[ExecutorId], now_ns: int
    ) -> ExecutorExit | None:
        """Of the pods that wait, each with the kubelet's or the scheduler's words, the one that has waited longest."""
        since: dict[ExecutorId, int] = {}
        slow: dict[ExecutorId, int] = {}
        for pod in snapshot.by_state.explained:
            if has_start_problem(pod) and pod.executor_id not in leaving:
                if is_merely_slow(pod):
                    slow[pod.executor_id] = self._slow_since_ns.get(pod.executor_id, now_ns)
                else:
                    since[pod.executor_id] = self._problem_since_ns.get(pod.executor_id, now_ns)
        self._problem_since_ns, self._slow_since_ns = since, slow
        for waiting, patience in (
            (since, START_PROBLEM_PATIENCE_SECONDS),
            (slow, SLOW_START_SECONDS),
        ):
            first = min(waiting.values(), default=now_ns)
            if waiting and now_ns - first >= patience * _NANOSECONDS_PER_SECOND:
                oldest = min(each for each, at in waiting.items() if at == first)
                return start_problem(snapshot.pods[oldest])
        return None


def _kind_of_failure(removal: ExecutorRemoval) -> FailureClass | None:
    """As what the back-off takes this end; None when it is no failure."""
    reason = removal.exit.reason
    if removal.never_registered and reason is ExecutorExitReason.SUCCEEDED:
        return FailureClass.APPLICATION  # it did nothing, and so will the next
    never_came = removal.never_registered and reason is ExecutorExitReason.DRIVER_LOST
    return failure_class(reason) if removal.failed or never_came else None
