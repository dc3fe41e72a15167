"""What the driver's program does in a simulated run: it submits jobs and unpersists RDDs.

Theory of operation
-------------------
The program is a list of things that it did. Each follows the ends of as many jobs of its thread of work as had ended when it
was recorded, after the recorded pause; a batch of a streaming query also waits for its time. Ends count without a gap: the
second job to end counts when the first has. The application ends a while after its last job.
"""

from collections.abc import Callable
from functools import partial

from spark_allocation.core.listener_events import JobEnd, ListenerEvent
from spark_allocation.core.simulation.agenda import Agenda, Order
from spark_allocation.core.simulation.application import (
    RecordedApplication,
    RecordedJob,
    RecordedUnpersist,
)
from spark_allocation.core.simulation.executor_data import ExecutorData
from spark_allocation.core.simulation.stage_scheduler import StageScheduler


class DriverProgram:
    """Runs the application's program.

    Args:
        application: what there is to do.
        agenda: the clock.
        stages: has jobs done.
        data: keeps cached blocks.
        post: tells the driver's listeners.
    """

    def __init__(
        self,
        application: RecordedApplication,
        agenda: Agenda,
        stages: StageScheduler,
        data: ExecutorData,
        *,
        post: Callable[[ListenerEvent], None],
    ) -> None:
        self._agenda = agenda
        self._stages = stages
        self._data = data
        self._post = post
        self._threads = {job.follows.thread: _Thread() for job in application.jobs}
        self._threads.setdefault("", _Thread())
        actions: list[RecordedJob | RecordedUnpersist] = [
            *application.jobs,
            *application.unpersists,
        ]
        for action in sorted(actions, key=lambda each: each.follows.jobs):
            self._threads[action.follows.thread].actions.append(action)
        self._running: set[int] = set()
        self._jobs_left = len(application.jobs)
        self._tail_ms = application.tail_ms
        self._ended_ms: int | None = None

    @property
    def running_jobs(self) -> tuple[int, ...]:
        """Ids of jobs that have begun and not ended, in their order."""
        return tuple(sorted(self._running))

    @property
    def ended_ms(self) -> int | None:
        """When the application ended; None while it runs."""
        return self._ended_ms

    def begin(self) -> None:
        """Do what follows nothing."""
        for thread in self._threads.values():
            self._advance(thread)

    def _advance(self, thread: "_Thread") -> None:
        """What follows the jobs that have ended is done after its pause."""
        for action in thread.take_due():
            at = self._agenda.now_ms + action.follows.pause_ms
            act: Callable[[], None]
            if isinstance(action, RecordedJob):
                at = max(at, action.not_before_ms or 0)
                act = partial(self._job_begins, action)
            else:
                act = partial(self._data.unpersist, action.rdd_id)
            self._agenda.later(at, Order.DRIVER_ACTS, act)

    def _job_begins(self, job: RecordedJob) -> None:
        self._running.add(job.job_id)
        self._stages.run_job(job, partial(self._stages_are_done, job))

    def _stages_are_done(self, job: RecordedJob) -> None:
        at = self._agenda.now_ms + job.tail_ms
        self._agenda.later(at, Order.JOB_ENDS, partial(self._job_ends, job))

    def _job_ends(self, job: RecordedJob) -> None:
        self._post(JobEnd(job.job_id))
        self._running.discard(job.job_id)
        thread = self._threads[job.follows.thread]
        thread.end(job.rank)
        self._advance(thread)
        self._jobs_left -= 1
        if self._jobs_left == 0:
            self._agenda.later(self._agenda.now_ms + self._tail_ms, Order.END, self._end)

    def _end(self) -> None:
        self._ended_ms = self._agenda.now_ms


class _Thread:
    """What the driver does in one thread of work, in order."""

    __slots__ = ("_ended", "_ended_in_order", "_next", "actions")

    def __init__(self) -> None:
        self.actions: list[RecordedJob | RecordedUnpersist] = []
        self._next = 0
        self._ended_in_order = 0
        self._ended: set[int] = set()

    def take_due(self) -> list[RecordedJob | RecordedUnpersist]:
        """What follows no more jobs than have ended, and was not taken before."""
        begin = self._next
        while (
            self._next < len(self.actions)
            and self.actions[self._next].follows.jobs <= self._ended_in_order
        ):
            self._next += 1
        return self.actions[begin : self._next]

    def end(self, rank: int) -> None:
        """The job of this rank has ended."""
        self._ended.add(rank)
        while self._ended_in_order in self._ended:
            self._ended.remove(self._ended_in_order)
            self._ended_in_order += 1
