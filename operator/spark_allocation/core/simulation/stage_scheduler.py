"""What waits for what in a simulated run: jobs for their stages, stages for those that they read.

Theory of operation
-------------------
A job wants its stages; a stage wants those that it reads and that lack outputs, then waits for its pause and is submitted. A
task that fails is started again. Outputs that go with their executor are computed again as soon as somebody wants to read
them, and an attempt of a stage that reads them and has tasks left is given up until they are there: its fetches fail.

Source: ``DAGScheduler.submitStage``, ``handleTaskCompletion``, ``handleExecutorLost``, ``resubmitFailedStages``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from spark_allocation.core.listener_events import (
    JobStart,
    ListenerEvent,
    StageCompleted,
    StageInfo,
    StageSubmitted,
    TaskEnd,
    TaskEndReason,
)
from spark_allocation.core.simulation.agenda import Agenda, Order
from spark_allocation.core.simulation.application import RecordedJob
from spark_allocation.core.simulation.executor_data import ExecutorData
from spark_allocation.core.simulation.simulated_executors import SimulatedExecutor, SimulatedTask
from spark_allocation.core.simulation.stage_runs import Attempt, StageRun, StageState
from spark_allocation.core.simulation.tally import Tally
from spark_allocation.core.simulation.task_scheduler import TaskScheduler


class StageScheduler:
    """Has jobs done, stage by stage.

    Args:
        stages: of the application, by id.
        agenda: the clock.
        tally: counts.
        data: where outputs lie.
        tasks: gives tasks their executors.
        post: tells the driver's listeners.
    """

    def __init__(
        self,
        stages: Mapping[int, StageRun],
        agenda: Agenda,
        tally: Tally,
        data: ExecutorData,
        tasks: TaskScheduler,
        *,
        post: Callable[[ListenerEvent], None],
    ) -> None:
        self._stages = stages
        for stage_id, stage in stages.items():
            for parent in stage.record.parents:
                if parent in stages:
                    stages[parent].children.append(stage_id)
        self._agenda = agenda
        self._tally = tally
        self._data = data
        self._tasks = tasks
        self._post = post
        self._attempts: dict[tuple[int, int], Attempt] = {}
        self._left_of_job: dict[int, set[int]] = {}
        self._when_done: dict[int, Callable[[], None]] = {}
        self._jobs_of_stage: dict[int, list[int]] = {}

    @property
    def attempts(self) -> Iterable[Attempt]:
        """Those that are under way, and those given up of which tasks still run; in the order of their submission."""
        return self._attempts.values()

    # -- jobs and their stages -------------------------------------------------------------------------------------------

    def run_job(self, job: RecordedJob, when_done: Callable[[], None]) -> None:
        """Have a job's stages run.

        Args:
            job: it begins now.
            when_done: called when its last stage has completed; at once when all had.
        """
        stages = [self._stages[each] for each in job.stage_ids if each in self._stages]
        read = [self._stages[each] for each in job.reads if each in self._stages]
        self._post(JobStart(job.job_id, tuple(_info(stage) for stage in (*stages, *read))))
        left = {stage.stage_id for stage in stages if stage.remaining}
        for stage_id in left:
            self._jobs_of_stage.setdefault(stage_id, []).append(job.job_id)
        if left:
            self._left_of_job[job.job_id] = left
            self._when_done[job.job_id] = when_done
        else:
            when_done()
        for stage in stages:
            self._want(stage)

    def _want(self, stage: StageRun) -> None:
        """Have a stage run as soon as all that it reads is there."""
        pending = [stage]
        while pending:
            each = pending.pop()
            each.wanted = True
            if not each.remaining:
                self._complete(each)
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
                at = self._agenda.now_ms + pause
                self._agenda.later(at, Order.STAGE_SUBMITTED, partial(self._submit, each))

    def _submit(self, stage: StageRun) -> None:
        if any(
            self._stages[each].remaining for each in stage.record.parents if each in self._stages
        ):
            # what it reads was lost during its pause
            stage.state = StageState.IDLE
            self._want(stage)
            return
        job = min(self._jobs_of_stage.get(stage.stage_id, [0]))
        homes = self._data.homes(stage)
        self._data.stage_begins(stage)
        info = _info(stage)
        attempt = stage.begin_attempt(job, self._agenda.now_ms, homes)
        self._attempts[stage.stage_id, attempt.number] = attempt
        self._post(StageSubmitted(replace(info, num_tasks=attempt.num_tasks)))
        self._tasks.submit(attempt)

    def _complete(self, stage: StageRun) -> None:
        if stage.current is not None:
            self._end_attempt(stage, stage.current)
        stage.state = StageState.IDLE
        for job_id in self._jobs_of_stage.pop(stage.stage_id, []):
            left = self._left_of_job.get(job_id)
            if left is not None and stage.stage_id in left:
                left.remove(stage.stage_id)
                if not left:
                    del self._left_of_job[job_id]
                    self._when_done.pop(job_id)()
        for child_id in stage.children:
            child = self._stages[child_id]
            if child.wanted and child.remaining and child.state is StageState.IDLE:
                self._want(child)

    def _end_attempt(self, stage: StageRun, attempt: Attempt) -> None:
        stage.current = None
        self._tasks.withdraw(attempt)
        self._forget_if_over(attempt)
        self._post(StageCompleted(stage.stage_id, attempt.number))

    def _forget_if_over(self, attempt: Attempt) -> None:
        if not attempt.running and attempt.stage.current is not attempt:
            self._attempts.pop((attempt.stage.stage_id, attempt.number), None)

    # -- ends of tasks ---------------------------------------------------------------------------------------------------

    def task_ended(self, task: SimulatedTask) -> None:
        """A task has come to its end, with success unless it fails by itself."""
        attempt, executor, index = task.attempt, task.executor, task.index
        stage = attempt.stage
        if task.fails:
            executor.failed_tasks += 1
            stage.tries[index] = stage.tries.get(index, 0) + 1
        else:
            attempt.succeeded += 1
            self._keep_result(task)
        reason = TaskEndReason.FAILED if task.fails else TaskEndReason.SUCCESS
        self._post(TaskEnd(stage.stage_id, attempt.number, index, str(executor.id), reason))
        self._data.keep_blocks(task)
        if task.fails:
            self._try_again(stage, index)
        self._forget_if_over(attempt)
        if not stage.remaining and stage.current is not None:
            self._complete(stage)

    def task_lost(self, task: SimulatedTask) -> None:
        """A task is gone with its executor."""
        self._post_failure(task.attempt, task.index, task.executor)
        self._forget_if_over(task.attempt)
        self._try_again(task.attempt.stage, task.index)

    def _keep_result(self, task: SimulatedTask) -> None:
        stage, index, executor = task.attempt.stage, task.index, task.executor
        if stage.ran[index]:
            self._tally.recomputed_ms += self._agenda.now_ms - task.began_ms
        else:
            self._tally.recomputed_ms += task.again_ms
        stage.ran[index] = 1
        if stage.done[index]:
            return
        stage.done[index] = 1
        stage.remaining -= 1
        if stage.record.writes_shuffle:
            executor.wrote = True
            stage.where[index] = executor.id
            executor.outputs[stage.stage_id] += 1

    def _try_again(self, stage: StageRun, index: int) -> None:
        attempt = stage.current
        if attempt is not None and not stage.done[index] and index not in stage.running:
            self._tasks.try_again(attempt, index)

    def _post_failure(self, attempt: Attempt, index: int, executor: SimulatedExecutor) -> None:
        stage_id = attempt.stage.stage_id
        self._post(TaskEnd(stage_id, attempt.number, index, str(executor.id), TaskEndReason.FAILED))

    # -- losses ----------------------------------------------------------------------------------------------------------

    def lose_outputs(self, executor: SimulatedExecutor) -> None:
        """The outputs on an executor are gone: those of stages under way are computed again at once."""
        touched = []
        for stage_id in sorted(executor.outputs):
            stage = self._stages[stage_id]
            lost = stage.lose(executor.id)
            if not lost:
                continue
            touched.append(stage)
            if stage.current is not None:
                for index in lost:
                    self._post_failure(stage.current, index, executor)
                    self._try_again(stage, index)
        executor.outputs.clear()
        for stage in touched:
            for child_id in stage.children:
                child = self._stages[child_id]
                if child.current is not None and child.current.has_pending:
                    self._suspend(child, child.current)

    def _suspend(self, stage: StageRun, attempt: Attempt) -> None:
        """What it reads was lost: fetches fail, and it is tried again when the data is there."""
        self._end_attempt(stage, attempt)
        stage.state = StageState.IDLE
        self._want(stage)


def _info(stage: StageRun) -> StageInfo:
    """A stage as its next attempt announces it."""
    record = stage.record
    return StageInfo(
        stage_id=stage.stage_id,
        attempt=stage.attempts,
        num_tasks=record.num_tasks,
        profile_id=record.profile_id,
        shuffle_id=stage.stage_id if record.writes_shuffle else None,
    )
