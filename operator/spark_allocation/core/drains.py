"""Who leaves, and which executors with nothing to do may leave now.

Theory of operation
-------------------
The manager says how many executors a profile can spare and the monitor which ones have timed out. Three things are left
to decide, and all of them for the sake of what executors hold:

- *Which first* (`Drains.in_order`). Among executors that may all go, those on a node that is about to go anyway; then
  the fewest cached bytes; then those whose removal empties a node, the smallest groups first; then Spark's order, by
  id as text.
- *How many at once.* An application may have so many leaving executors at a time, whoever asked them to leave.
- *Never the last of its kind.* An executor that hands its shuffle data on, or is writing some, needs somebody to take it: of several
  that could go together, one stays (`shuffle_holders` keeps it from then on). One on a node about to go, or on one that
  does not report, takes nothing over.

A driver that cannot decommission loses what a deleted executor runs. There only an executor goes that was idle in an
answer not older than `PLAIN_DELETION_FRESH_MS`.

A pod that is being deleted is *leaving*, whoever deletes it, since a deletion cannot be undone. When the API server
refuses to let an executor go, nobody is drained for `DRAIN_PAUSE_SECONDS`; when one is needed after all, or it is not known
whether it was asked to go, for `SECOND_THOUGHTS_SECONDS`.

Source: ``ExecutorAllocationManager.removeExecutors``, ``CoarseGrainedSchedulerBackend.killExecutors``; the order is ours.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import cast

from spark_allocation.core.driver_report import ExecutorReport
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.shuffle_holders import ShuffleHolders
from spark_allocation.core.snapshots import EMPTY_SNAPSHOT, ExecutorPodsSnapshot

DRAIN_PAUSE_SECONDS = 10
SECOND_THOUGHTS_SECONDS = 1
PLAIN_DELETION_FRESH_MS = 3_000

_NANOSECONDS_PER_SECOND = 1_000_000_000
_NO_LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class DrainConf:
    """How executors leave.

    Attributes:
        decommissions: the driver lets an executor that leaves finish its tasks.
        max_concurrent: executors that may be leaving at once, at least one; None for no limit.
    """

    decommissions: bool = True
    max_concurrent: int | None = None


class Drains:
    """Of one life of a driver.

    Attributes:
        leaving: executors whose pods are on their way out.
        own: those among them that were asked to go because nobody needed them, or their node.
    """

    def __init__(
        self,
        conf: DrainConf,
        holders: ShuffleHolders,
        executors: Callable[[], Mapping[ExecutorId, ExecutorReport]],
    ) -> None:
        """
        Args:
            holders: says who holds shuffle data.
            executors: what the driver lists.
        """
        self._conf = conf
        self._holders = holders
        self._executors = executors
        self._snapshot = EMPTY_SNAPSHOT
        self._going_nodes: AbstractSet[str] = frozenset()
        self._now_ns = 0
        self._paused_until_ns = 0
        self.leaving: set[ExecutorId] = set()
        self.own: set[ExecutorId] = set()

    def reconfigure(self, conf: DrainConf) -> None:
        """Judge by other rules from now on."""
        self._conf = conf

    def take(
        self,
        snapshot: ExecutorPodsSnapshot,
        *,
        going_nodes: AbstractSet[str] = frozenset(),
        now_ns: int,
    ) -> set[ExecutorId]:
        """Look at the pods; returns who has begun to leave since the last look.

        Args:
            snapshot: the pods.
            going_nodes: nodes that are about to go.
            now_ns: monotonic nanoseconds.
        """
        self._snapshot = snapshot
        self._going_nodes = going_nodes
        self._now_ns = now_ns
        leaving = {pod.executor_id for pod in snapshot.by_state.deleting}
        leaving |= self.leaving & snapshot.pods.keys()
        news = leaving - self.leaving
        self.leaving = leaving
        return news

    def forget_gone(self) -> None:
        """The ends of those that are gone have been judged."""
        self.own &= self._snapshot.pods.keys()

    @property
    def paused_until_ns(self) -> int:
        """Nobody is drained before this moment."""
        return self._paused_until_ns

    # -- who goes ----------------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many more executors may begin to leave now."""
        if self._now_ns < self._paused_until_ns:
            return 0
        if self._conf.max_concurrent is None:
            return _NO_LIMIT
        pods = self._snapshot.pods
        under_way = sum(
            1
            for executor_id in self.leaving
            if executor_id in pods and pods[executor_id].state is PodState.RUNNING
        )
        return max(0, self._conf.max_concurrent - under_way)

    def begin_idle(
        self, executor_ids: Iterable[str], *, report_age_ms: int | None
    ) -> list[ExecutorPod]:
        """Of executors that have timed out, in this order, those that may go now; they are leaving from now on.

        Args:
            executor_ids: who may go.
            report_age_ms: milliseconds since the driver's answer on which this rests; None when there is none.
        """
        if not self._conf.decommissions and (
            report_age_ms is None or report_age_ms > PLAIN_DELETION_FRESH_MS
        ):
            return []
        return self.begin(cast("Iterable[ExecutorId]", map(int, executor_ids)))

    def begin(self, executor_ids: Iterable[ExecutorId]) -> list[ExecutorPod]:
        """The same for executors of which it does not matter whether they are idle, where the driver decommissions."""
        room = self.room
        begun: list[ExecutorPod] = []
        takers: int | None = None
        reports = self._executors()
        pods, running = self._snapshot.pods, PodState.RUNNING
        decommissions, hands_on = self._conf.decommissions, self._holders.hands_on
        leaving, own = self.leaving, self.own
        handing_on = hands_on and self._a_holder_leaves(reports)
        for executor_id in executor_ids:
            if len(begun) >= room:
                break
            pod = pods.get(executor_id)
            if pod is None or pod.state is not running or executor_id in leaving:
                continue
            report = reports.get(executor_id) if hands_on or not decommissions else None
            if not decommissions and (report is None or report.active_tasks > 0):
                continue
            if hands_on:
                takes = self._takes_over(executor_id)
                holds = report is not None and self._holders.holds_or_writes(report)
                if takers is None and (holds or handing_on):
                    takers = sum(1 for each in reports if self._takes_over(each))
                if takers is not None:
                    # the last one to take over stays, whether it holds anything itself or not
                    last = (takes or holds) and takers - takes < 1
                    if last and not self._holders.conf.fallback_storage:
                        continue
                    takers -= takes
            leaving.add(executor_id)
            own.add(executor_id)
            begun.append(pod)
        return begun

    def not_begun(self, executor_id: ExecutorId) -> None:
        """Nobody was asked to let the executor go: it stays."""
        self.leaving.discard(executor_id)
        self.own.discard(executor_id)
        self._pause(SECOND_THOUGHTS_SECONDS)

    def refused(self, executor_id: ExecutorId) -> None:
        """The API server does not let the executor go: nobody is asked again for a while."""
        self.not_begun(executor_id)
        self._pause(DRAIN_PAUSE_SECONDS)

    def _pause(self, seconds: int) -> None:
        until = self._now_ns + seconds * _NANOSECONDS_PER_SECOND
        self._paused_until_ns = max(self._paused_until_ns, until)

    def _a_holder_leaves(self, reports: Mapping[ExecutorId, ExecutorReport]) -> bool:
        """One that was asked to leave before may still be handing on what it holds."""
        return any(
            (report := reports.get(each)) is not None and self._holders.holds_or_writes(report)
            for each in self.leaving
        )

    def _takes_over(self, executor_id: ExecutorId) -> bool:
        """It is there to stay, so it can take blocks over."""
        pod = self._snapshot.pods.get(executor_id)
        return (
            pod is not None
            and pod.state is PodState.RUNNING
            and executor_id not in self.leaving
            and pod.node not in self._going_nodes
            and not pod.node_silent
        )

    # -- which first -------------------------------------------------------------------------------------------------

    def in_order(
        self, timed_out: Sequence[tuple[str, ProfileId]], all_may_go: bool
    ) -> Sequence[tuple[str, ProfileId]]:
        """The same executors, those that are missed least first; equal ones in the order given.

        Args:
            timed_out: ids as text, with their profiles, in Spark's order: by id as text.
            all_may_go: the manager keeps none of them.
        """
        room = self.room
        if room == 0 or (all_may_go and len(timed_out) <= room and not self._holders.hands_on):
            return timed_out  # none goes, or all do
        reports, pods, running = self._executors(), self._snapshot.pods, PodState.RUNNING
        ids = [ExecutorId(int(executor_id)) for executor_id, _ in timed_out]
        by_node: dict[str, list[int]] = {}
        for place, executor_id in enumerate(ids):
            pod = pods.get(executor_id)
            by_node.setdefault(pod.node if pod is not None else "", []).append(place)
        there = Counter(
            pod.node
            for pod in pods.values()
            if pod.state is running and pod.executor_id not in self.leaving
        )

        def missed(node: str) -> tuple[bool, int, str]:
            return not node or there[node] > len(by_node[node]), there[node], node

        places = [place for node in sorted(by_node, key=missed) for place in by_node[node]]
        cached = [
            report.cached_bytes if (report := reports.get(each)) is not None else 0 for each in ids
        ]
        if any(cached):
            places.sort(key=cached.__getitem__)
        going = {place for node in by_node.keys() & self._going_nodes for place in by_node[node]}
        if going:
            places.sort(key=lambda place: place not in going)
        return [timed_out[place] for place in places]
