"""The lives of a simulated run's executors, from the request for their pods to their ends.

Theory of operation
-------------------
Pods start one after the other at the pace of the cluster, each after its delay, and register; a while later they take tasks.
An executor that is asked to leave gets no more tasks and is gone a moment after those that it runs have ended; with
migration it hands on what it holds. One that is lost takes its tasks with it. Whoever is gone is taken from the driver's
list, its blocks go with it, and its outputs unless they lie elsewhere or were handed on.

Source: ``ExecutorPodsAllocator``, ``CoarseGrainedSchedulerBackend``, ``DAGScheduler.handleExecutorLost``.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.listener_events import ExecutorAdded, ExecutorRemoved, ListenerEvent
from spark_allocation.core.resource_profiles import CORES, ProfileId, ResourceProfileManager
from spark_allocation.core.simulation.agenda import Agenda, Order
from spark_allocation.core.simulation.cluster import ClusterModel
from spark_allocation.core.simulation.executor_data import ExecutorData
from spark_allocation.core.simulation.hosts import epoch_ms
from spark_allocation.core.simulation.simulated_executors import SimulatedExecutor, SimulatedPods
from spark_allocation.core.simulation.stage_scheduler import StageScheduler
from spark_allocation.core.simulation.tally import Tally
from spark_allocation.core.simulation.task_scheduler import TaskScheduler
from spark_allocation.core.snapshots import ExecutorPodsSnapshot


class SimulatedCluster:
    """Starts executors and lets them go. It is the `Cluster` of a host.

    Args:
        model: how pods start and fail.
        profiles: say what an executor has.
        agenda: the clock.
        tally: counts.
        data: what executors hold.
        tasks: gives executors tasks.
        stages: learns of tasks and outputs that are lost.
        post: tells the driver's listeners.
    """

    def __init__(
        self,
        model: ClusterModel,
        profiles: ResourceProfileManager,
        agenda: Agenda,
        tally: Tally,
        *,
        data: ExecutorData,
        tasks: TaskScheduler,
        stages: StageScheduler,
        post: Callable[[ListenerEvent], None],
    ) -> None:
        self._model = model
        self._profiles = profiles
        self._agenda = agenda
        self._tally = tally
        self._data = data
        self._tasks = tasks
        self._stages = stages
        self._post = post
        self._pods = SimulatedPods()
        self._next_start_ms = 0.0
        self._executors: dict[ExecutorId, SimulatedExecutor] = {}
        self._registered: dict[ExecutorId, SimulatedExecutor] = {}

    @property
    def executors(self) -> Sequence[SimulatedExecutor]:
        """All that were asked for, in that order."""
        return tuple(self._executors.values())

    @property
    def registered(self) -> Mapping[ExecutorId, SimulatedExecutor]:
        """Those that the driver lists, in the order in which they registered."""
        return self._registered

    # -- what a host asks for ----------------------------------------------------------------------------------------------

    def create(self, profile_id: ProfileId, wanted_since_ms: int | None = None) -> ExecutorId:
        """Ask for a pod; its executor's id."""
        now = self._agenda.now_ms
        number = len(self._executors)
        executor_id = ExecutorId(number + 1)
        starts = max(float(now), self._next_start_ms)
        self._next_start_ms = starts + self._model.pause_between_pods_ms
        begin = round(starts)
        if self._model.delays_count_from_target and wanted_since_ms is not None:
            begin -= now - wanted_since_ms
        ready_ms = max(round(starts), begin + self._model.start_delay_ms(number))
        capacity = self._profiles.capacity(profile_id)
        executor = SimulatedExecutor(
            executor_id,
            profile_id,
            slots=max(1, capacity.tasks if capacity is not None else 1),
            cores=self._cores(profile_id),
            ready_ms=ready_ms,
            warm_up_ms=self._model.warm_up_ms(number),
        )
        self._executors[executor_id] = executor
        self._pods.add(executor_id, profile_id, epoch_ms(now))
        self._agenda.later(ready_ms, Order.EXECUTOR_READY, partial(self._ready, executor))
        return executor_id

    def withdraw(self, executor_id: ExecutorId) -> None:
        """Delete a pod that does not run yet."""
        executor = self._executors[executor_id]
        if not executor.registered and executor.gone_ms is None:
            executor.gone_ms = self._agenda.now_ms
            self._pods.vanish(executor_id)

    def leave(self, executor_id: ExecutorId) -> None:
        """Let an executor go: it gets no more tasks and is gone when those that it runs have ended."""
        executor = self._executors[executor_id]
        if executor.leaving or executor.gone_ms is not None:
            return
        executor.leaving = True
        self._tally.drains += 1
        self._pods.is_deleted(executor_id)
        self._tasks.leaves(executor)
        self._go_when_idle(executor)

    def delete_ended(self, executor_id: ExecutorId) -> None:
        """Delete a pod that has ended."""
        if self._executors[executor_id].gone_ms is not None:
            self._pods.vanish(executor_id)

    def snapshot(self, now_ms: int) -> ExecutorPodsSnapshot:
        """The pods."""
        return self._pods.snapshot(epoch_ms(now_ms))

    def take_vanished(self) -> Sequence[ExecutorPod]:
        """Pods that went since this was last asked."""
        return self._pods.take_vanished()

    def _cores(self, profile_id: ProfileId) -> int:
        for each in (self._profiles.get(profile_id), self._profiles.get(ProfileId(0))):
            if each is not None and CORES in each.executor_resources:
                return each.executor_resources[CORES].amount
        return 1

    # -- what becomes of executors -------------------------------------------------------------------------------------------

    def task_ended(self, executor: SimulatedExecutor) -> None:
        """An executor has a place again: it gets another task, or goes when it is to leave and runs none."""
        if executor.leaving:
            self._go_when_idle(executor)
        else:
            self._tasks.offer(executor)

    def _go_when_idle(self, executor: SimulatedExecutor) -> None:
        if not executor.running:
            at = self._agenda.now_ms + self._model.leaves_after_ms
            self._agenda.later(at, Order.EXECUTOR_GONE, partial(self._gone, executor))

    def _ready(self, executor: SimulatedExecutor) -> None:
        if executor.gone_ms is not None:
            return  # it was withdrawn while it started
        executor.registered = True
        self._registered[executor.id] = executor
        self._pods.runs(executor.id)
        self._post(ExecutorAdded(str(executor.id), executor.profile_id))
        now = self._agenda.now_ms
        fails_after = self._model.fails_after_ms(executor.id)
        if fails_after is not None:
            self._agenda.later(
                now + fails_after, Order.EXECUTOR_LOST, partial(self._lost, executor)
            )
        if self._model.first_task_after_ms:
            at = now + self._model.first_task_after_ms
            self._agenda.later(at, Order.EXECUTOR_TAKES_TASKS, partial(self._takes_tasks, executor))
        else:
            self._takes_tasks(executor)

    def _takes_tasks(self, executor: SimulatedExecutor) -> None:
        if not executor.leaving and executor.gone_ms is None:
            executor.takes_tasks = True
            self._tasks.add(executor)

    def _gone(self, executor: SimulatedExecutor) -> None:
        """It was asked to leave, and has."""
        if executor.gone_ms is not None:
            return
        staying = [each for each in self._registered.values() if not each.leaving]
        moved = self._data.hand_on(executor, staying)
        self._remove(executor, "Executor decommission: asked to leave", moved=moved)
        self._pods.vanish(executor.id)

    def _lost(self, executor: SimulatedExecutor) -> None:
        """It ends unasked, with all that it runs."""
        if executor.gone_ms is not None:
            return
        self._tally.losses += 1
        self._pods.fails(executor.id)
        for task in list(executor.running):
            self._tasks.cut(task)
            executor.leaving = True
            self._stages.task_lost(task)
        self._remove(executor, "The executor was lost", moved=False)

    def _remove(self, executor: SimulatedExecutor, reason: str, *, moved: bool) -> None:
        executor.gone_ms = self._agenda.now_ms
        executor.leaving = True
        self._registered.pop(executor.id, None)
        self._tasks.remove(executor)
        self._data.lose_blocks(executor)
        self._post(ExecutorRemoved(str(executor.id), reason))
        if not moved and self._data.goes_with_executors:
            self._stages.lose_outputs(executor)
