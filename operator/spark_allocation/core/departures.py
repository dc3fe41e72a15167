"""Running executors that go though no timeout of theirs has run out: because their profile has more than it may have.

Theory of operation
-------------------
There are three reasons: budgets grant fewer, ``maxExecutors`` was lowered below what runs, or streams ask for fewer. In each
case only those go with whom nothing is lost (`Departures.may_be_given_back`), in the order of `surplus`, and as many as may
leave at once (`drains`); the others leave by their own timeouts. Between two batches of a stream, where nothing at all runs,
shuffle data counts for nothing: nobody reads again what batches that have ended have written.

The executor monitor is told of all who go, so that it counts them no more.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from spark_allocation.core.drains import Drains
from spark_allocation.core.driver_feeder import DriverFeeder
from spark_allocation.core.driver_report import ExecutorReport
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.idle_sight import IdleSight
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.shuffle_holders import ShuffleHolders
from spark_allocation.core.snapshots import EMPTY_SNAPSHOT, ExecutorPodsSnapshot
from spark_allocation.core.streaming.streams import Streams
from spark_allocation.core.surplus import chosen_to_go

_NANOSECONDS_PER_SECOND = 1_000_000_000


class Departures:
    """Of one life of a driver.

    Args:
        conf: bounds, and whether the driver lets an executor that leaves finish its tasks.
        drains: who leaves, and how many may at once.
        holders: who holds shuffle data.
        sight: since when an executor is believed to be idle.
        feeder: what the driver lists.
        monitor: told of who goes.
    """

    def __init__(
        self,
        conf: DynamicAllocationConf,
        drains: Drains,
        holders: ShuffleHolders,
        sight: IdleSight,
        *,
        feeder: DriverFeeder,
        monitor: ExecutorMonitor,
    ) -> None:
        self._conf = conf
        self._drains = drains
        self._holders = holders
        self._sight = sight
        self._feeder = feeder
        self._monitor = monitor
        self._snapshot = EMPTY_SNAPSHOT
        self._going_nodes: AbstractSet[str] = frozenset()
        self._report_age_ms: int | None = None
        self._now_ns = 0

    def reconfigure(self, conf: DynamicAllocationConf) -> None:
        """Judge by other settings from now on."""
        self._conf = conf

    def look(
        self,
        snapshot: ExecutorPodsSnapshot,
        *,
        going_nodes: AbstractSet[str],
        report_age_ms: int | None,
        now_ns: int,
    ) -> None:
        """What the decisions that follow rest on.

        Args:
            snapshot: the pods.
            going_nodes: nodes that are about to go.
            report_age_ms: milliseconds since the driver's answer; None when there is none.
            now_ns: monotonic nanoseconds.
        """
        self._snapshot = snapshot
        self._going_nodes = going_nodes
        self._report_age_ms = report_age_ms
        self._now_ns = now_ns

    # -- who goes ----------------------------------------------------------------------------------------------------

    def begin_idle(self, executor_ids: Iterable[str]) -> list[ExecutorPod]:
        """Of executors that were found idle, in this order, those that may go now: see `Drains.begin_idle`."""
        return self._drains.begin_idle(executor_ids, report_age_ms=self._report_age_ms)

    def let_go(
        self,
        too_many: Mapping[ProfileId, int],
        may_go: Callable[[ExecutorId], bool] | None = None,
    ) -> tuple[ExecutorPod, ...]:
        """Drain so many running executors of each profile, as far as nothing is lost with them.

        Args:
            too_many: by profile.
            may_go: whether nothing is lost with an executor, where another rule than the usual one holds.
        """
        if not too_many:
            return ()
        chosen = chosen_to_go(
            too_many,
            self._snapshot,
            leaving=self._drains.leaving,
            may_go=may_go or self.may_be_given_back,
            tasks=lambda executor_id: self._feeder.executors[executor_id].active_tasks,
            going_nodes=self._going_nodes,
        )
        begun = tuple(self.begin_idle(map(str, chosen)))
        if not begun:
            return ()
        gone = [str(pod.executor_id) for pod in begun]
        if self._conf.decommission_enabled:
            self._monitor.executors_decommissioned(gone)
        else:
            self._monitor.executors_killed(gone)
        return begun

    def let_go_above_maximum(self, not_counted: frozenset[ExecutorId]) -> tuple[ExecutorPod, ...]:
        """Drain running executors beyond ``maxExecutors``, which can be lowered while they run.

        Args:
            not_counted: pods that are there and do not count any more.
        """
        # without those that this very step has begun to drain
        staying = self._snapshot.staying(not_counted | self._drains.leaving)
        return self.let_go(
            {
                profile_id: count - most
                for profile_id, count in staying.running.items()
                if count > (most := self._conf.bounds(profile_id).max_executors)
            }
        )

    def let_go_above_streams(
        self,
        streams: Streams,
        targets: Mapping[ProfileId, int],
        not_counted: frozenset[ExecutorId],
        *,
        jobs_run: bool,
    ) -> tuple[list[ExecutorPod], frozenset[ExecutorId]]:
        """Drain running executors that are more than streams ask for: they are seldom idle for an idle timeout.

        Args:
            streams: of the application.
            targets: of the profiles whose streams ask for a number.
            not_counted: pods that are there and do not count any more.
            jobs_run: the driver runs some job.

        Returns:
            Who goes, and those of them that go only while no job runs at all.
        """
        begun: list[ExecutorPod] = []
        between_batches: frozenset[ExecutorId] = frozenset()
        for profile_id, target in targets.items():
            pods = self._snapshot.staying(not_counted | self._drains.leaving)
            surplus = pods.running.get(profile_id, 0) - target
            staying = self.staying(profile_id) if surplus > 0 else []
            decided = streams.may_leave(
                profile_id,
                surplus,
                now=self._now_ns / _NANOSECONDS_PER_SECOND,
                migrates=any(self.may_be_given_back(each.id) for each in staying),
                leaving=pods.leaving.get(profile_id, 0),
                idle=not jobs_run,
                free=sum(self._is_free_between_batches(each.id) for each in staying),
            )
            if not decided.executors:
                continue
            too_many = {profile_id: decided.executors}
            if decided.between_batches:
                go = self.let_go(too_many, self._is_free_between_batches)
                between_batches |= {pod.executor_id for pod in go}
            else:
                go = self.let_go(too_many)
            begun += go
        return begun, between_batches

    def staying(self, profile_id: ProfileId) -> list[ExecutorReport]:
        """Executors of a profile that the driver lists and that are not on their way out."""
        leaving = self._drains.leaving
        return [
            executor
            for executor in self._feeder.executors.values()
            if executor.profile_id == profile_id and executor.id not in leaving
        ]

    # -- who may go --------------------------------------------------------------------------------------------------

    def is_idle(self, executor_id: ExecutorId) -> bool:
        """The driver lists the executor, and it runs no task."""
        return self._feeder.executors[executor_id].active_tasks == 0

    def may_be_given_back(self, executor_id: ExecutorId) -> bool:
        """The driver knows the executor, and nothing that it runs or holds is lost with it."""
        executor = self._feeder.executors.get(executor_id)
        if executor is None:
            return False
        if not self._conf.decommission_enabled and (
            executor.active_tasks > 0 or self._sight.believed_at_ns(executor) > self._now_ns
        ):
            return False
        return not self._holders.would_lose(executor)

    def loses_something(self, executor_id: ExecutorId) -> bool:
        """Draining this executor now would lose what it runs or holds."""
        executor = self._feeder.executors.get(executor_id)
        if executor is None or not self._conf.decommission_enabled:
            return True
        return self._holders.would_lose(executor)

    def _is_free_between_batches(self, executor_id: ExecutorId) -> bool:
        """What batches that have ended have shuffled nobody reads again; cached blocks may be."""
        executor = self._feeder.executors.get(executor_id)
        return executor is not None and executor.active_tasks == 0 and executor.rdd_blocks == 0
