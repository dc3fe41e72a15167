"""Places for the tasks of a simulated run.

Theory of operation
-------------------
Attempts of stages that have tasks left stand in a queue of their resource profile, first job first. A new attempt spreads
over all free executors, one task each and round by round; an executor that has become free or new is offered alone. While
places are free and tasks wait for the executor that has their block, places are offered again when those tasks have waited
long enough. A task takes as long as it did in the recorded run, and longer by what it has to compute again, and by what the
executor takes to warm up (classes, processes, code that is not compiled yet) as long as none has ended there.

Source: ``TaskSchedulerImpl.resourceOffers``, ``TaskSetManager.resourceOffer``.
"""

from bisect import insort
from collections.abc import Callable
from functools import partial

from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.listener_events import ListenerEvent, TaskStart
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.simulation.agenda import Agenda, Order
from spark_allocation.core.simulation.cluster import mixed
from spark_allocation.core.simulation.executor_data import ExecutorData
from spark_allocation.core.simulation.simulated_executors import SimulatedExecutor, SimulatedTask
from spark_allocation.core.simulation.stage_runs import Attempt
from spark_allocation.core.simulation.tally import Tally

LOCALITY_WAIT_MS = 3_000
"""``spark.locality.wait``."""


class TaskScheduler:
    """Gives tasks their executors.

    Args:
        agenda: the clock.
        tally: counts.
        data: what tasks find on executors.
        seed: of the chance that orders executors.
        post: tells the driver's listeners.
        ended: told of each task that has come to its end and has left its place.
    """

    def __init__(
        self,
        agenda: Agenda,
        tally: Tally,
        data: ExecutorData,
        *,
        seed: int,
        post: Callable[[ListenerEvent], None],
        ended: Callable[[SimulatedTask], None],
    ) -> None:
        self._agenda = agenda
        self._tally = tally
        self._data = data
        self._seed = seed
        self._post = post
        self._ended = ended
        self._places: dict[ProfileId, dict[ExecutorId, SimulatedExecutor]] = {}
        self._queue: dict[ProfileId, list[tuple[tuple[int, int, int], Attempt]]] = {}
        self._locality_at: dict[ProfileId, int] = {}

    # -- attempts of stages ----------------------------------------------------------------------------------------------

    def submit(self, attempt: Attempt) -> None:
        """The tasks of a new attempt wait for places, and get those that are free."""
        if attempt.has_pending:
            self._tally.waiting += attempt.num_tasks
            self._enqueue(attempt)
            self._offer_all(attempt.stage.record.profile_id)

    def try_again(self, attempt: Attempt, index: int) -> None:
        """A task is to be started again."""
        attempt.put_back(index)
        self._tally.waiting += 1
        self._enqueue(attempt)
        self._offer_all(attempt.stage.record.profile_id)

    def withdraw(self, attempt: Attempt) -> None:
        """No more tasks of an attempt are started; those that run go on."""
        self._tally.waiting -= attempt.pending
        attempt.give_up()
        self._dequeue(attempt)

    def _enqueue(self, attempt: Attempt) -> None:
        queue = self._queue.setdefault(attempt.stage.record.profile_id, [])
        if (attempt.key, attempt) not in queue:
            insort(queue, (attempt.key, attempt), key=lambda each: each[0])

    def _dequeue(self, attempt: Attempt) -> None:
        queue = self._queue.get(attempt.stage.record.profile_id)
        if queue and (attempt.key, attempt) in queue:
            queue.remove((attempt.key, attempt))

    # -- executors ---------------------------------------------------------------------------------------------------------

    def add(self, executor: SimulatedExecutor) -> None:
        """An executor takes tasks from now on."""
        self._places.setdefault(executor.profile_id, {})[executor.id] = executor
        self.offer(executor)

    def offer(self, executor: SimulatedExecutor) -> None:
        """An executor may have places: give it what it may run."""
        while executor.has_place and self._give_task(executor):
            pass
        if executor.has_place:
            self._await_locality(executor.profile_id)

    def leaves(self, executor: SimulatedExecutor) -> None:
        """An executor takes no more tasks; those that it runs go on."""
        self._places.get(executor.profile_id, {}).pop(executor.id, None)
        for _, attempt in self._queue.get(executor.profile_id, ()):
            attempt.forget_home(executor.id)

    def remove(self, executor: SimulatedExecutor) -> None:
        """An executor is gone."""
        self._places.get(executor.profile_id, {}).pop(executor.id, None)
        for queue in self._queue.values():
            for _, attempt in queue:
                attempt.forget_home(executor.id)

    def cut(self, task: SimulatedTask) -> None:
        """A task is gone with its executor, and what it has done so far is lost; it does not count as ended."""
        task.cut = True
        self._leave_place(task)
        task.executor.failed_tasks += 1
        self._tally.recomputed_ms += self._agenda.now_ms - task.began_ms

    # -- places --------------------------------------------------------------------------------------------------------------

    def _give_task(self, executor: SimulatedExecutor) -> bool:
        """Start one task on an executor with a free place; False when there is none for it now."""
        for _, attempt in self._queue.get(executor.profile_id, ()):
            index = attempt.take(executor.id, self._agenda.now_ms, LOCALITY_WAIT_MS)
            if index is not None:
                self._launch(attempt, index, executor)
                return True
        return False

    def _offer_all(self, profile_id: ProfileId) -> None:
        """Give free executors one task each, round by round, in an order of chance."""
        queue = self._queue.get(profile_id)
        if not queue:
            return
        places = self._places.get(profile_id, {})
        offers = sorted(
            places.values(), key=lambda each: mixed(self._seed, self._agenda.now_ms, each.id)
        )
        while offers and queue:
            offers = [
                executor
                for executor in offers
                if executor.has_place and self._give_task(executor) and executor.has_place
            ]
        if places:
            self._await_locality(profile_id)

    def _await_locality(self, profile_id: ProfileId) -> None:
        """Places are free, and tasks wait for others: offer again when they have waited long enough."""
        now = self._agenda.now_ms
        opens = [
            at
            for _, attempt in self._queue.get(profile_id, ())
            if (at := attempt.opens_at_ms(LOCALITY_WAIT_MS)) is not None and at > now
        ]
        if opens and self._locality_at.get(profile_id, 0) <= now:
            self._locality_at[profile_id] = min(opens)
            self._agenda.later(min(opens), Order.LOCALITY, partial(self._waited, profile_id))

    def _waited(self, profile_id: ProfileId) -> None:
        self._locality_at.pop(profile_id, None)
        self._offer_all(profile_id)

    # -- tasks ---------------------------------------------------------------------------------------------------------------

    def _launch(self, attempt: Attempt, index: int, executor: SimulatedExecutor) -> None:
        stage, now = attempt.stage, self._agenda.now_ms
        task = SimulatedTask(attempt, index, executor, now)
        executor.running[task] = None
        executor.started_tasks += 1
        if executor.busy_since_ms is None:
            executor.busy_since_ms = now
        if len(executor.running) >= executor.slots:
            self._places[executor.profile_id].pop(executor.id, None)
        attempt.running += 1
        stage.running.add(index)
        self._tally.running += 1
        self._tally.waiting -= 1
        if not attempt.has_pending:
            self._dequeue(attempt)
        self._agenda.later(now + self._takes_ms(task), Order.TASK_ENDS, partial(self._ends, task))
        self._post(TaskStart(stage.stage_id, attempt.number, index, str(executor.id)))

    def _takes_ms(self, task: SimulatedTask) -> int:
        stage = task.attempt.stage
        tries = stage.record.failures_ms.get(task.index)
        if tries:
            tried = stage.tries.get(task.index, 0)
            if tried < len(tries):
                task.fails = True
                return tries[tried]
        task.again_ms = self._data.again_ms(stage, task.index)
        warm_up_ms = task.executor.cold_ms
        return stage.record.durations_ms[task.index] + task.again_ms + warm_up_ms

    def _ends(self, task: SimulatedTask) -> None:
        if not task.cut:
            task.executor.cold_ms = 0
            self._leave_place(task)
            self._ended(task)

    def _leave_place(self, task: SimulatedTask) -> None:
        executor, attempt, now = task.executor, task.attempt, self._agenda.now_ms
        executor.running.pop(task, None)
        if not executor.running and executor.busy_since_ms is not None:
            executor.busy.append((executor.busy_since_ms, now))
            executor.busy_since_ms = None
        if executor.has_place:
            self._places[executor.profile_id][executor.id] = executor
        attempt.running -= 1
        attempt.stage.running.discard(task.index)
        self._tally.running -= 1
        self._tally.busy_ms += now - task.began_ms
