"""A recorded application, run again in thought under a host that allocates.

Theory of operation
-------------------
A discrete-event simulation: the clock jumps from one happening to the next. The driver's program is a list of things it did
(submit a job, unpersist an RDD), each of which follows the ends of certain jobs after a pause. A job wants its stages, a
stage waits for the stages that it reads, then for its pause. Its tasks take places as `TaskSchedulerImpl` gives them: first
job first; a new stage spreads over all free executors, one task each and round by round; an executor that has become free
or new is offered alone. A task takes as long as it did.

What goes with an executor: running tasks start again elsewhere; outputs are computed again as soon as somebody wants to
read them, and what reads them just then is suspended for so long; cached blocks are computed again by whoever needs them,
for as long as that took the first time. With migration, an executor that leaves hands outputs and blocks on.

Not simulated: the network, memory, the speed of nodes, speculation, preferred hosts, how a longer or shorter run changes
what tasks do. Tasks of one kind on a new executor are not slower.

Source: ``DAGScheduler``, ``TaskSchedulerImpl.resourceOffers``, ``TaskSetManager``, ``BlockManagerDecommissioner``.
"""

import heapq
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from spark_allocation.core.driver_report import DriverReport, ExecutorReport, StageReport
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.listener_events import (
    BlockUpdated,
    ExecutorAdded,
    ExecutorRemoved,
    JobEnd,
    JobStart,
    ListenerEvent,
    RddBlock,
    ResourceProfileAdded,
    ShuffleDataBlock,
    StageCompleted,
    StageInfo,
    StageSubmitted,
    TaskEnd,
    TaskEndReason,
    TaskStart,
    UnpersistRdd,
)
from spark_allocation.core.resource_profiles import (
    CORES,
    InvalidProfile,
    ProfileId,
    ResourceProfileManager,
)
from spark_allocation.core.simulation.application import (
    RecordedApplication,
    RecordedJob,
    RecordedUnpersist,
)
from spark_allocation.core.simulation.cluster import ClusterModel, mixed
from spark_allocation.core.simulation.hosts import AllocationHost, epoch_ms
from spark_allocation.core.simulation.outcome import Outcome
from spark_allocation.core.simulation.simulated_executors import (
    SimulatedExecutor,
    SimulatedPods,
    SimulatedTask,
)
from spark_allocation.core.simulation.stage_runs import Attempt, StageRun, StageState
from spark_allocation.core.simulation.timeline import Timeline
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

LOCALITY_WAIT_MS = 3_000
"""``spark.locality.wait``."""
LONGEST_MS = 24 * 3_600_000
LONGEST_TIMES = 20
"""A run that takes a day and so many times as long as the recorded one is given up."""


@dataclass(frozen=True, slots=True)
class DataRules:
    """What becomes of what executors hold.

    Attributes:
        goes_with_executors: shuffle data is on the executors; otherwise a service or another storage keeps it.
        migrates: an executor that is asked to leave hands on outputs and cached blocks.
    """

    goes_with_executors: bool = True
    migrates: bool = False


class _Kind(IntEnum):
    """What happens, in the order in which things of one moment happen."""

    TASK_ENDS = 0
    JOB_ENDS = 1
    EXECUTOR_GONE = 2
    EXECUTOR_READY = 3
    EXECUTOR_TAKES_TASKS = 4
    EXECUTOR_LOST = 5
    DRIVER_ACTS = 6
    STAGE_SUBMITTED = 7
    LOCALITY = 8
    DECIDE = 9
    END = 10


_Happening = tuple[int, int, int, object]


class Simulation:
    """One run. It is a `Scene` for its host.

    Args:
        application: what there is to do.
        host: who allocates.
        profiles: the application's; those that the log names are added.
        cluster: how pods start and fail.
        data: what becomes of what executors hold.
        observer: told of every event of the driver with its time, in milliseconds.
    """

    def __init__(
        self,
        application: RecordedApplication,
        host: AllocationHost,
        profiles: ResourceProfileManager,
        cluster: ClusterModel | None = None,
        data: DataRules | None = None,
        *,
        observer: Callable[[int, ListenerEvent], None] | None = None,
    ) -> None:
        self._application = application
        self._host = host
        self._profiles = profiles
        self._cluster = cluster or ClusterModel()
        self._data = data or DataRules()
        self._observer = observer
        self._now = 0
        self._number = 0
        self._heap: list[_Happening] = []
        self._decide_at: int | None = None
        self._pods = SimulatedPods()
        self._next_start_ms = 0.0
        self._executors: dict[ExecutorId, SimulatedExecutor] = {}
        self._alive: dict[ExecutorId, SimulatedExecutor] = {}
        self._places: dict[ProfileId, dict[ExecutorId, SimulatedExecutor]] = {}
        self._queue: dict[ProfileId, list[tuple[tuple[int, int, int], Attempt]]] = {}
        self._locality_at: dict[ProfileId, int] = {}
        self._attempts: dict[tuple[int, int], Attempt] = {}
        self._stages = {
            stage_id: StageRun(record) for stage_id, record in application.stages.items()
        }
        for stage_id, stage in self._stages.items():
            for parent in stage.record.parents:
                if parent in self._stages:
                    self._stages[parent].children.append(stage_id)
        self._jobs = {job.job_id: job for job in application.jobs}
        self._begun: set[int] = set()
        self._left_of_job: dict[int, set[int]] = {}
        self._jobs_of_stage: dict[int, list[int]] = {}
        self._threads = {job.follows.thread: _Thread() for job in application.jobs}
        self._threads.setdefault("", _Thread())
        actions: list[RecordedJob | RecordedUnpersist] = [
            *application.jobs,
            *application.unpersists,
        ]
        for action in actions:
            self._threads[action.follows.thread].actions.append(action)
        self._computed_by: dict[int, int] = {}
        self._holders: dict[tuple[int, int], set[ExecutorId]] = {}
        self._jobs_left = len(application.jobs)
        self._running = self._waiting = 0
        self._waiting_since: int | None = None
        self._timeline = Timeline()
        self._busy = self._recomputed = self._backlog = 0
        self._drains = self._losses = 0
        self._end_ms: int | None = None

    # -- the run ---------------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Run to the end of the application, or until it is clear that there is none."""
        application = self._application
        for profile in application.profiles:
            try:
                self._profiles.add(profile)
            except InvalidProfile:
                continue  # Spark would have refused it: no stage can have it
            self._post(ResourceProfileAdded(profile))
        self._host.begin(self, 0)
        for thread in self._threads.values():
            thread.actions.sort(key=lambda action: action.follows.jobs)
            self._advance(thread)
        self._timeline.add(0, 0, 0, 0)
        limit = max(LONGEST_MS, LONGEST_TIMES * application.duration_ms)
        self._arrange_decision()
        heap = self._heap
        while heap and self._end_ms is None:
            at = heap[0][0]
            if at > limit:
                break
            self._now = at
            while heap and heap[0][0] == at:
                _, kind, _, about = heapq.heappop(heap)
                self._happens(_Kind(kind), about)
            self._count_backlog()
            self._timeline.add(at, len(self._alive), self._running, self._waiting)
            if self._end_ms is None:
                self._arrange_decision()
        return self._outcome()

    def _happens(self, kind: _Kind, about: object) -> None:
        match kind, about:
            case _Kind.TASK_ENDS, SimulatedTask() as task:
                self._task_ends(task)
            case _Kind.JOB_ENDS, RecordedJob() as job:
                self._job_ends(job)
            case _Kind.EXECUTOR_READY, SimulatedExecutor() as executor:
                self._executor_ready(executor)
            case _Kind.EXECUTOR_TAKES_TASKS, SimulatedExecutor() as executor:
                self._executor_takes_tasks(executor)
            case _Kind.EXECUTOR_GONE, SimulatedExecutor() as executor:
                self._executor_gone(executor)
            case _Kind.EXECUTOR_LOST, SimulatedExecutor() as executor:
                self._executor_lost(executor)
            case _Kind.DRIVER_ACTS, RecordedJob() as job:
                self._job_starts(job)
            case _Kind.DRIVER_ACTS, RecordedUnpersist() as unpersist:
                self._unpersist(unpersist)
            case _Kind.STAGE_SUBMITTED, StageRun() as stage:
                self._submit(stage)
            case _Kind.LOCALITY, int() as profile_id:
                self._locality_at.pop(ProfileId(profile_id), None)
                self._offer_all(ProfileId(profile_id))
            case _Kind.DECIDE, _:
                if self._decide_at == self._now:
                    self._decide_at = None
                    self._host.decide(self._now)
            case _Kind.END, _:
                self._end_ms = self._now

    def _later(self, at_ms: int, kind: _Kind, about: object) -> None:
        self._number += 1
        heapq.heappush(self._heap, (max(at_ms, self._now), kind, self._number, about))

    def _arrange_decision(self) -> None:
        at = self._host.next_at_ms(self._now)
        if at is not None and (self._decide_at is None or at < self._decide_at):
            self._decide_at = at
            self._later(at, _Kind.DECIDE, None)

    def _post(self, event: ListenerEvent) -> None:
        if self._observer is not None:
            self._observer(self._now, event)
        self._host.post(event, self._now)

    # -- the driver's program --------------------------------------------------------------------------------------------

    def _advance(self, thread: "_Thread") -> None:
        """What follows the jobs that have ended is done after its pause."""
        while thread.next_action < len(thread.actions):
            action = thread.actions[thread.next_action]
            if action.follows.jobs > thread.ended_in_order:
                return
            thread.next_action += 1
            at = self._now + action.follows.pause_ms
            if isinstance(action, RecordedJob) and action.not_before_ms is not None:
                at = max(at, action.not_before_ms)
            self._later(at, _Kind.DRIVER_ACTS, action)

    def _job_starts(self, job: RecordedJob) -> None:
        self._begun.add(job.job_id)
        stages = [self._stages[each] for each in job.stage_ids if each in self._stages]
        read = [self._stages[each] for each in job.reads if each in self._stages]
        self._post(
            JobStart(
                job.job_id,
                tuple(self._info(stage) for stage in (*stages, *read)),
            )
        )
        left = {stage.stage_id for stage in stages if stage.remaining}
        self._left_of_job[job.job_id] = left
        for stage_id in left:
            self._jobs_of_stage.setdefault(stage_id, []).append(job.job_id)
        if not left:
            self._later(self._now + job.tail_ms, _Kind.JOB_ENDS, job)
        for stage in stages:
            self._want(stage)

    def _info(self, stage: StageRun) -> StageInfo:
        record = stage.record
        return StageInfo(
            stage_id=stage.stage_id,
            attempt=stage.attempts,
            num_tasks=record.num_tasks,
            profile_id=record.profile_id,
            shuffle_id=stage.stage_id if record.writes_shuffle else None,
        )

    def _job_ends(self, job: RecordedJob) -> None:
        self._post(JobEnd(job.job_id))
        self._begun.discard(job.job_id)
        thread = self._threads[job.follows.thread]
        thread.end(job.rank)
        self._advance(thread)
        self._jobs_left -= 1
        if self._jobs_left == 0:
            self._later(self._now + self._application.tail_ms, _Kind.END, None)

    def _unpersist(self, unpersist: RecordedUnpersist) -> None:
        for block in [each for each in self._holders if each[0] == unpersist.rdd_id]:
            for executor_id in self._holders.pop(block):
                self._executors[executor_id].blocks.discard(block)
        self._computed_by.pop(unpersist.rdd_id, None)
        self._post(UnpersistRdd(unpersist.rdd_id))

    # -- stages ----------------------------------------------------------------------------------------------------------

    def _want(self, stage: StageRun) -> None:
        """Have a stage run as soon as all that it reads is there."""
        pending = [stage]
        while pending:
            each = pending.pop()
            each.wanted = True
            if not each.remaining:
                self._stage_completes(each)
                continue
            if each.state is not StageState.IDLE:
                continue
            missing = [
                parent
                for parent in map(self._stages.get, each.record.parents)
                if parent is not None and parent.remaining
            ]
            if missing:
                pending += [parent for parent in missing if parent.state is StageState.IDLE]
            else:
                each.state = StageState.DUE
                again = each.attempts > 0
                pause = 0 if again else each.record.pause_ms
                self._later(self._now + pause, _Kind.STAGE_SUBMITTED, each)

    def _submit(self, stage: StageRun) -> None:
        if any(
            self._stages[each].remaining for each in stage.record.parents if each in self._stages
        ):
            # what it reads was lost during its pause
            stage.state = StageState.IDLE
            self._want(stage)
            return
        job = min(self._jobs_of_stage.get(stage.stage_id, [0]))
        homes = self._homes(stage)
        for rdd_id in stage.record.cached_rdds:
            self._computed_by.setdefault(rdd_id, stage.stage_id)
        info = self._info(stage)
        attempt = stage.begin_attempt(job, self._now, homes)
        self._attempts[stage.stage_id, attempt.number] = attempt
        self._post(
            StageSubmitted(
                StageInfo(
                    info.stage_id,
                    attempt.number,
                    attempt.num_tasks,
                    info.profile_id,
                    info.shuffle_id,
                )
            )
        )
        if attempt.has_pending:
            self._waiting += attempt.num_tasks
            self._enqueue(attempt)
            self._offer_all(stage.record.profile_id)

    def _homes(self, stage: StageRun) -> dict[int, ExecutorId]:
        """Where tasks find the cached block that they read."""
        if not stage.record.cached_rdds:
            return {}
        nearest = stage.record.cached_rdds[0]
        homes = {}
        for index in range(stage.record.num_tasks):
            staying = [
                each
                for each in self._holders.get((nearest, index), ())
                if not self._executors[each].leaving
            ]
            if staying:
                homes[index] = min(staying)
        return homes

    def _stage_completes(self, stage: StageRun) -> None:
        current, stage.current = stage.current, None
        if current is not None:
            self._withdraw_attempt(current)
            self._post(StageCompleted(stage.stage_id, current.number))
        stage.state = StageState.IDLE
        for job_id in self._jobs_of_stage.pop(stage.stage_id, []):
            left = self._left_of_job.get(job_id)
            if left is not None and stage.stage_id in left:
                left.remove(stage.stage_id)
                if not left:
                    del self._left_of_job[job_id]
                    job = self._jobs[job_id]
                    self._later(self._now + job.tail_ms, _Kind.JOB_ENDS, job)
        for child_id in stage.children:
            child = self._stages[child_id]
            if child.wanted and child.remaining and child.state is StageState.IDLE:
                self._want(child)

    def _suspend(self, stage: StageRun) -> None:
        """What it reads was lost: fetches fail, and it is tried again when the data is there."""
        current, stage.current = stage.current, None
        assert current is not None
        self._withdraw_attempt(current)
        self._post(StageCompleted(stage.stage_id, current.number))
        stage.state = StageState.IDLE
        self._want(stage)

    def _withdraw_attempt(self, attempt: Attempt) -> None:
        self._waiting -= attempt.pending
        attempt.give_up()
        self._dequeue(attempt)
        if not attempt.running:
            self._attempts.pop((attempt.stage.stage_id, attempt.number), None)

    # -- places for tasks ------------------------------------------------------------------------------------------------

    def _enqueue(self, attempt: Attempt) -> None:
        queue = self._queue.setdefault(attempt.stage.record.profile_id, [])
        if (attempt.key, attempt) not in queue:
            insort(queue, (attempt.key, attempt), key=lambda each: each[0])

    def _dequeue(self, attempt: Attempt) -> None:
        queue = self._queue.get(attempt.stage.record.profile_id)
        if queue and (attempt.key, attempt) in queue:
            queue.remove((attempt.key, attempt))

    def _offer(self, executor: SimulatedExecutor, most: int | None = None) -> int:
        """Give an executor what it may run; returns how many tasks it got."""
        given = 0
        while executor.has_place and (most is None or given < most):
            for _, attempt in self._queue.get(executor.profile_id, ()):
                index = attempt.take(executor.id, self._now, LOCALITY_WAIT_MS)
                if index is not None:
                    break
            else:
                break
            self._launch(attempt, index, executor)
            given += 1
        if most is None and executor.has_place:
            self._await_locality(executor.profile_id)
        return given

    def _offer_all(self, profile_id: ProfileId) -> None:
        """Give free executors one task each, round by round, in an order of chance."""
        queue = self._queue.get(profile_id)
        if not queue:
            return
        places = self._places.get(profile_id, {})
        offers = sorted(
            places.values(), key=lambda each: mixed(self._cluster.seed, self._now, each.id)
        )
        while offers and queue:
            offers = [
                executor
                for executor in offers
                if self._offer(executor, most=1) and executor.has_place
            ]
        if places:
            self._await_locality(profile_id)

    def _await_locality(self, profile_id: ProfileId) -> None:
        """Places are free, and tasks wait for others: offer again when they have waited long enough."""
        opens = [
            at
            for _, attempt in self._queue.get(profile_id, ())
            if (at := attempt.opens_at_ms(LOCALITY_WAIT_MS)) is not None and at > self._now
        ]
        if opens and self._locality_at.get(profile_id, 0) <= self._now:
            self._locality_at[profile_id] = min(opens)
            self._later(min(opens), _Kind.LOCALITY, int(profile_id))

    def _launch(self, attempt: Attempt, index: int, executor: SimulatedExecutor) -> None:
        stage, now = attempt.stage, self._now
        task = SimulatedTask(attempt, index, executor, now)
        executor.running.add(task)
        executor.started_tasks += 1
        if executor.busy_since_ms is None:
            executor.busy_since_ms = now
        if len(executor.running) >= executor.slots:
            self._places[executor.profile_id].pop(executor.id, None)
        attempt.running += 1
        stage.running.add(index)
        self._running += 1
        self._waiting -= 1
        if not attempt.has_pending:
            self._dequeue(attempt)
        self._later(now + self._takes_ms(task), _Kind.TASK_ENDS, task)
        self._post(TaskStart(stage.stage_id, attempt.number, index, str(executor.id)))

    def _takes_ms(self, task: SimulatedTask) -> int:
        record = task.attempt.stage.record
        tries = record.failures_ms.get(task.index)
        if tries:
            tried = task.attempt.stage.tries.get(task.index, 0)
            if tried < len(tries):
                task.fails = True
                return tries[tried]
        for rdd_id in record.cached_rdds[:1]:
            first = self._computed_by.get(rdd_id)
            if first is None or first == record.stage_id or self._holders.get((rdd_id, task.index)):
                continue
            computed = self._application.stages[first].durations_ms
            if task.index < len(computed) and self._stages[first].ran[task.index]:
                task.again_ms = computed[task.index]
        return record.durations_ms[task.index] + task.again_ms

    def _task_ends(self, task: SimulatedTask) -> None:
        if task.cut:
            return
        attempt, executor, index = task.attempt, task.executor, task.index
        stage = attempt.stage
        self._leave_place(task)
        self._busy += self._now - task.began_ms
        reason = TaskEndReason.FAILED if task.fails else TaskEndReason.SUCCESS
        if task.fails:
            executor.failed_tasks += 1
            stage.tries[index] = stage.tries.get(index, 0) + 1
        else:
            attempt.succeeded += 1
            self._keep_result(task)
        self._post(TaskEnd(stage.stage_id, attempt.number, index, str(executor.id), reason))
        self._keep_blocks(task)
        if task.fails:
            self._try_again(stage, index)
        if not attempt.running and stage.current is not attempt:
            self._attempts.pop((stage.stage_id, attempt.number), None)
        if not stage.remaining and stage.current is not None:
            self._stage_completes(stage)
        if executor.leaving:
            if not executor.running:
                self._later(
                    self._now + self._cluster.leaves_after_ms, _Kind.EXECUTOR_GONE, executor
                )
        else:
            self._offer(executor)

    def _leave_place(self, task: SimulatedTask) -> None:
        executor, attempt = task.executor, task.attempt
        executor.running.discard(task)
        if not executor.running and executor.busy_since_ms is not None:
            executor.busy.append((executor.busy_since_ms, self._now))
            executor.busy_since_ms = None
        if executor.has_place:
            self._places[executor.profile_id][executor.id] = executor
        attempt.running -= 1
        attempt.stage.running.discard(task.index)
        self._running -= 1

    def _keep_result(self, task: SimulatedTask) -> None:
        stage, index, executor = task.attempt.stage, task.index, task.executor
        if stage.ran[index]:
            self._recomputed += self._now - task.began_ms
        else:
            self._recomputed += task.again_ms
        stage.ran[index] = 1
        if stage.done[index]:
            return
        stage.done[index] = 1
        stage.remaining -= 1
        if stage.record.writes_shuffle:
            executor.wrote = True
            stage.where[index] = executor.id
            executor.outputs[stage.stage_id] += 1

    def _keep_blocks(self, task: SimulatedTask) -> None:
        """What its stage caches and nobody has yet is cached where the task ran."""
        cached = task.attempt.stage.record.cached_rdds
        if task.fails or not cached or self._holders.get((cached[0], task.index)):
            return
        executor = task.executor
        for rdd_id in cached:
            block = (rdd_id, task.index)
            if self._holders.get(block):
                continue
            self._holders[block] = {executor.id}
            executor.blocks.add(block)
            self._post(BlockUpdated(str(executor.id), RddBlock(rdd_id, task.index)))

    def _try_again(self, stage: StageRun, index: int) -> None:
        attempt = stage.current
        if attempt is None or stage.done[index] or index in stage.running:
            return
        attempt.put_back(index)
        self._waiting += 1
        self._enqueue(attempt)
        self._offer_all(stage.record.profile_id)

    # -- executors ---------------------------------------------------------------------------------------------------------

    def _executor_ready(self, executor: SimulatedExecutor) -> None:
        if executor.gone_ms is not None:
            return  # it was withdrawn while it started
        executor.registered = True
        self._alive[executor.id] = executor
        self._pods.runs(executor.id)
        self._post(ExecutorAdded(str(executor.id), executor.profile_id))
        fails_after = self._cluster.fails_after_ms(executor.id)
        if fails_after is not None:
            self._later(self._now + fails_after, _Kind.EXECUTOR_LOST, executor)
        if self._cluster.first_task_after_ms:
            at = self._now + self._cluster.first_task_after_ms
            self._later(at, _Kind.EXECUTOR_TAKES_TASKS, executor)
        else:
            self._executor_takes_tasks(executor)

    def _executor_takes_tasks(self, executor: SimulatedExecutor) -> None:
        if executor.leaving or executor.gone_ms is not None:
            return
        executor.takes_tasks = True
        self._places.setdefault(executor.profile_id, {})[executor.id] = executor
        self._offer(executor)

    def _executor_gone(self, executor: SimulatedExecutor) -> None:
        """It was asked to leave, and has."""
        if executor.gone_ms is not None:
            return
        moved = self._data.migrates and self._hand_on(executor)
        self._remove(executor, "Executor decommission: asked to leave", moved=moved)
        self._pods.vanish(executor.id)

    def _executor_lost(self, executor: SimulatedExecutor) -> None:
        """It ends unasked, with all that it runs."""
        if executor.gone_ms is not None:
            return
        self._losses += 1
        self._pods.fails(executor.id)
        for task in list(executor.running):
            task.cut = True
            self._leave_place(task)
            executor.failed_tasks += 1
            self._busy += self._now - task.began_ms
            self._recomputed += self._now - task.began_ms
            stage = task.attempt.stage
            self._post(
                TaskEnd(
                    stage.stage_id,
                    task.attempt.number,
                    task.index,
                    str(executor.id),
                    TaskEndReason.FAILED,
                )
            )
            if not task.attempt.running and stage.current is not task.attempt:
                self._attempts.pop((stage.stage_id, task.attempt.number), None)
            executor.leaving = True
            self._try_again(stage, task.index)
        self._remove(executor, "The executor was lost", moved=False)

    def _remove(self, executor: SimulatedExecutor, reason: str, *, moved: bool) -> None:
        executor.gone_ms = self._now
        executor.leaving = True
        self._alive.pop(executor.id, None)
        self._places.get(executor.profile_id, {}).pop(executor.id, None)
        for queue in self._queue.values():
            for _, attempt in queue:
                attempt.forget_home(executor.id)
        for block in executor.blocks:
            holders = self._holders.get(block)
            if holders is not None:
                holders.discard(executor.id)
        executor.blocks.clear()
        self._post(ExecutorRemoved(str(executor.id), reason))
        if not moved and self._data.goes_with_executors:
            self._lose_outputs(executor)

    def _lose_outputs(self, executor: SimulatedExecutor) -> None:
        touched = []
        for stage_id in sorted(executor.outputs):
            stage = self._stages[stage_id]
            lost = stage.lose(executor.id)
            if not lost:
                continue
            touched.append(stage)
            if stage.current is not None:
                for index in lost:
                    self._post(
                        TaskEnd(
                            stage_id,
                            stage.current.number,
                            index,
                            str(executor.id),
                            TaskEndReason.FAILED,
                        )
                    )
                    self._try_again(stage, index)
        executor.outputs.clear()
        for stage in touched:
            for child_id in stage.children:
                child = self._stages[child_id]
                if child.current is not None and child.current.has_pending:
                    self._suspend(child)

    def _hand_on(self, executor: SimulatedExecutor) -> bool:
        """Outputs and blocks go to others that stay; False when there is nobody."""
        others = [
            each for each in self._alive.values() if each is not executor and not each.leaving
        ]
        if not others:
            return False
        for stage_id in sorted(executor.outputs):
            stage = self._stages[stage_id]
            for index, place in stage.where.items():
                if place == executor.id:
                    other = others[mixed(self._cluster.seed, stage_id, index) % len(others)]
                    stage.where[index] = other.id
                    if not other.outputs[stage_id]:
                        self._post(BlockUpdated(str(other.id), ShuffleDataBlock(stage_id)))
                    other.outputs[stage_id] += 1
        executor.outputs.clear()
        for block in sorted(executor.blocks):
            other = others[mixed(self._cluster.seed, *block) % len(others)]
            other.blocks.add(block)
            self._holders.setdefault(block, set()).add(other.id)
            self._post(BlockUpdated(str(other.id), RddBlock(*block)))
        return True

    # -- the scene -----------------------------------------------------------------------------------------------------------

    def create(self, profile_id: ProfileId, wanted_since_ms: int | None = None) -> ExecutorId:
        """Ask for a pod; its executor's id."""
        number = len(self._executors)
        executor_id = ExecutorId(number + 1)
        starts = max(float(self._now), self._next_start_ms)
        self._next_start_ms = starts + self._cluster.pause_between_pods_ms
        begin = round(starts)
        if self._cluster.delays_count_from_target and wanted_since_ms is not None:
            begin -= self._now - wanted_since_ms
        ready_ms = max(round(starts), begin + self._cluster.start_delay_ms(number))
        capacity = self._profiles.capacity(profile_id)
        executor = SimulatedExecutor(
            executor_id,
            profile_id,
            slots=max(1, capacity.tasks if capacity is not None else 1),
            cores=self._cores(profile_id),
            ready_ms=ready_ms,
        )
        self._executors[executor_id] = executor
        self._pods.add(executor_id, profile_id, epoch_ms(self._now))
        self._later(executor.ready_ms, _Kind.EXECUTOR_READY, executor)
        return executor_id

    def _cores(self, profile_id: ProfileId) -> int:
        for each in (self._profiles.get(profile_id), self._profiles.get(ProfileId(0))):
            if each is not None and CORES in each.executor_resources:
                return each.executor_resources[CORES].amount
        return 1

    def withdraw(self, executor_id: ExecutorId) -> None:
        """Delete a pod that does not run yet."""
        executor = self._executors[executor_id]
        if not executor.registered and executor.gone_ms is None:
            executor.gone_ms = self._now
            self._pods.vanish(executor_id)

    def leave(self, executor_id: ExecutorId) -> None:
        """Let an executor go: it gets no more tasks and is gone when those that it runs have ended."""
        executor = self._executors[executor_id]
        if executor.leaving or executor.gone_ms is not None:
            return
        executor.leaving = True
        self._drains += 1
        self._places.get(executor.profile_id, {}).pop(executor_id, None)
        self._pods.is_deleted(executor_id)
        for _, attempt in self._queue.get(executor.profile_id, ()):
            attempt.forget_home(executor_id)
        if not executor.running:
            self._later(self._now + self._cluster.leaves_after_ms, _Kind.EXECUTOR_GONE, executor)

    def delete_ended(self, executor_id: ExecutorId) -> None:
        """Delete a pod that has ended."""
        if self._executors[executor_id].gone_ms is not None:
            self._pods.vanish(executor_id)

    def is_idle(self, executor_id: ExecutorId) -> bool:
        """A registered executor that stays and runs no task."""
        return self.is_active(executor_id) and not self._alive[executor_id].running

    def is_active(self, executor_id: ExecutorId) -> bool:
        """A registered executor that stays."""
        executor = self._alive.get(executor_id)
        return executor is not None and not executor.leaving

    def registered(self) -> frozenset[ExecutorId]:
        """Executors that the driver lists."""
        return frozenset(self._alive)

    def snapshot(self, now_ms: int) -> ExecutorPodsSnapshot:
        """The pods."""
        return self._pods.snapshot(epoch_ms(now_ms))

    def take_vanished(self) -> Sequence[ExecutorPod]:
        """Pods that went since this was last asked."""
        return self._pods.take_vanished()

    def report(self) -> DriverReport:
        """What the driver's REST API says, with the gauge of needed executors that a passive driver has."""
        live = [each for each in self._attempts.values() if each.stage.current is each]
        tasks: dict[ProfileId, int] = {}
        for attempt in self._attempts.values():
            profile_id = attempt.stage.record.profile_id
            tasks[profile_id] = tasks.get(profile_id, 0) + attempt.pending + attempt.running
        needed = 0
        for profile_id, count in tasks.items():
            capacity = self._profiles.capacity(profile_id)
            needed += -(-count // max(1, capacity.tasks if capacity is not None else 1))
        return DriverReport(
            stages=tuple(
                StageReport(
                    stage_id=attempt.stage.stage_id,
                    attempt_id=attempt.number,
                    profile_id=attempt.stage.record.profile_id,
                    num_tasks=attempt.num_tasks,
                    completed_indices=attempt.succeeded,
                    active_tasks=attempt.running,
                )
                for attempt in live
            ),
            executors=tuple(
                ExecutorReport(
                    id=executor.id,
                    profile_id=executor.profile_id,
                    active=True,
                    active_tasks=len(executor.running),
                    max_tasks=executor.slots,
                    total_tasks=executor.started_tasks,
                    failed_tasks=executor.failed_tasks,
                    rdd_blocks=len(executor.blocks),
                    cached_bytes=len(executor.blocks),
                    shuffle_write_bytes=int(executor.wrote),
                    added_at_ms=epoch_ms(executor.ready_ms),
                )
                for executor in self._alive.values()
            ),
            running_jobs=tuple(sorted(self._begun)),
            max_needed_executors=needed,
        )

    # -- what came of it -------------------------------------------------------------------------------------------------------

    def _count_backlog(self) -> None:
        if self._waiting > 0:
            if self._waiting_since is None:
                self._waiting_since = self._now
        elif self._waiting_since is not None:
            self._backlog += self._now - self._waiting_since
            self._waiting_since = None

    def _outcome(self) -> Outcome:
        finished = self._end_ms is not None
        end = self._end_ms if self._end_ms is not None else self._now
        if self._waiting_since is not None:
            self._backlog += end - self._waiting_since
        for executor in self._alive.values():
            under_way = sum(end - task.began_ms for task in executor.running)
            self._busy += under_way
            if finished:
                # nobody waited for it: outputs that were lost, and then needed by nobody
                self._recomputed += under_way
        lives = [(each, each.lived_ms(end)) for each in self._executors.values()]
        why = ""
        if not finished:
            why = (
                "tasks wait, and nobody asks for an executor that could run them"
                if self._waiting and not self._alive
                else "it took too long: the simulation was given up"
            )
        return Outcome(
            finished=finished,
            makespan_ms=end,
            executor_ms=sum(lived for _, lived in lives),
            core_ms=sum(lived * executor.cores for executor, lived in lives),
            slot_ms=sum(lived * executor.slots for executor, lived in lives),
            busy_ms=self._busy,
            backlog_ms=self._backlog,
            drains=self._drains,
            recomputed_ms=self._recomputed,
            losses=self._losses,
            asked=len(self._executors),
            timeline=self._timeline,
            lanes=tuple(
                executor.lane(end) for executor, lived in lives if lived and executor.registered
            ),
            why_not_finished=why,
        )


class _Thread:
    """What the driver does in one thread of work, in order.

    Attributes:
        ended_in_order: so many jobs have ended, without a gap in the order of their recorded ends.
    """

    __slots__ = ("_ended", "actions", "ended_in_order", "next_action")

    def __init__(self) -> None:
        self.actions: list[RecordedJob | RecordedUnpersist] = []
        self.next_action = 0
        self.ended_in_order = 0
        self._ended: set[int] = set()

    def end(self, rank: int) -> None:
        self._ended.add(rank)
        while self.ended_in_order in self._ended:
            self._ended.remove(self.ended_in_order)
            self.ended_in_order += 1
