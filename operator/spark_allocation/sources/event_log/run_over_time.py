"""How a logged application really went: its clock, its executors, and how many tasks ran and waited.

Theory of operation
-------------------
Lines are in the order of the listener bus, which is nearly that of time. A time long before the latest one means that the
driver's clock was set back: all later times are moved forward by as much.

A task waits from the submission of its stage's attempt to its start, and again when it failed or its output was lost; what is
left of an attempt waits no longer when the attempt is over. When tasks have waited all the time since an executor registered,
its first task tells when it could take one.

Source: ``AppStatusListener``, ``LiveListenerBus``.
"""

from collections.abc import Mapping
from dataclasses import replace

from spark_allocation.core.simulation.application import RecordedExecutor, RecordedRun
from spark_allocation.core.simulation.timeline import Timeline
from spark_allocation.sources.event_log.log_notes import LogNotes

CLOCK_SET_BACK_MS = 60_000
"""A time further back than this does not come from the order of lines."""


class RunOverTime:
    """The run while the log is read. Times are epoch milliseconds.

    Args:
        notes: counts how often the clock was set back.

    Attributes:
        begin: of the application, or of the log; None before the first time.
        latest: of all times so far; None before the first.
        shift: by how much the times of the log are moved forward.
        busy_ms: of all tasks together.
        lost_ms: of these, tasks that were lost or had to be run again because data was lost.
    """

    def __init__(self, notes: LogNotes) -> None:
        self._notes = notes
        self.begin: int | None = None
        self.latest: int | None = None
        self.shift = 0
        self.busy_ms = self.lost_ms = 0
        self._backlog_ms = 0
        self._executors: dict[str, RecordedExecutor] = {}
        self._awaited: dict[str, int] = {}
        self._waiting: dict[tuple[int, int], int] = {}
        self._alive = self._running = self._pending = 0
        self._timeline = Timeline()

    # -- time --------------------------------------------------------------------------------------------------------

    def now(self, at: int | None) -> int:
        """The time of an event, put right; that of the event before when it has none."""
        latest = self.latest
        if at is None or at <= 0:
            return latest or 0
        at += self.shift
        if latest is not None and at < latest - CLOCK_SET_BACK_MS:
            self._notes.clock_set_back += 1
            self.shift += latest - at
            at = latest
        if latest is None or at > latest:
            if latest is not None and self._pending > 0:
                self._backlog_ms += at - latest
            self.latest = at
        if self.begin is None:
            self.begin = at
        return at

    def note(self) -> None:
        """Whatever happened at this time has been told: from now on these counts hold."""
        if self.latest is not None and self.begin is not None:
            at = max(0, self.latest - self.begin)
            self._timeline.add(at, self._alive, self._running, max(0, self._pending))

    def application_started(self, at: int) -> None:
        """The application begins, at the time of this event or at an earlier one."""
        self.begin = min(at, self.begin) if self.begin is not None else at
        self.note()

    # -- executors -----------------------------------------------------------------------------------------------------

    def executor_added(self, executor: RecordedExecutor) -> None:
        """An executor has registered; ``added_ms`` is the time of the event."""
        self._executors[executor.executor_id] = executor
        self._alive += 1
        if self._pending > 0:
            self._awaited[executor.executor_id] = executor.added_ms
        self.note()

    def executor_removed(self, executor_id: str, at: int) -> None:
        """The driver has let go of an executor."""
        executor = self._executors.get(executor_id)
        if executor is None or executor.removed_ms is not None:
            return
        self._executors[executor_id] = replace(executor, removed_ms=at)
        self._alive -= 1
        self.note()

    def was_gone(self, executor_id: str, at: int) -> bool:
        """The executor had been there and was no more, at a time as the log has it."""
        executor = self._executors.get(executor_id)
        return (
            executor is not None
            and executor.removed_ms is not None
            and executor.removed_ms <= at + self.shift
        )

    # -- tasks, by stage and attempt -------------------------------------------------------------------------------------

    def attempt_submitted(self, key: tuple[int, int], tasks: int) -> None:
        """So many tasks wait."""
        self._waiting[key] = tasks
        self._pending += tasks
        self.note()

    def attempt_completed(self, key: tuple[int, int]) -> None:
        """None of its tasks waits any longer."""
        self._pending -= max(0, self._waiting.pop(key, 0))
        self.note()

    def task_started(
        self, key: tuple[int, int], executor_id: str, at: int, *, speculative: bool
    ) -> None:
        """A task has got a place."""
        if self._awaited:
            self._note_first_task(executor_id, at)
        self._running += 1
        if not speculative:
            self._wait(key, -1)
        self.note()

    def task_ended(self, key: tuple[int, int], took_ms: int, *, again: bool) -> None:
        """A task has left its place.

        Args:
            took_ms: 0 where the log does not tell it.
            again: it waits once more.
        """
        self._running = max(0, self._running - 1)
        self.busy_ms += took_ms
        if again:
            self._wait(key, +1)
        self.note()

    def output_lost(self, key: tuple[int, int]) -> None:
        """A task that had ended waits once more."""
        self._wait(key, +1)

    def _wait(self, key: tuple[int, int], change: int) -> None:
        if key in self._waiting:
            self._waiting[key] += change
            self._pending += change

    def _note_first_task(self, executor_id: str, at: int) -> None:
        added_at = self._awaited.pop(executor_id, None)
        executor = self._executors.get(executor_id)
        if added_at is not None and executor is not None:
            self._executors[executor_id] = replace(executor, first_task_ms=max(0, at - added_at))
        if self._pending <= 1:
            self._awaited.clear()

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self, begin: int, warm_ups_ms: Mapping[str, int]) -> RecordedRun:
        """The run, with times since its beginning.

        Args:
            warm_ups_ms: by executor, where they are known.
        """
        return RecordedRun(
            executors=tuple(
                replace(_since(each, begin), warm_up_ms=warm_ups_ms.get(each.executor_id))
                for each in self._executors.values()
            ),
            busy_ms=self.busy_ms,
            lost_ms=self.lost_ms,
            backlog_ms=self._backlog_ms,
            timeline=self._timeline,
        )


def _since(executor: RecordedExecutor, begin: int) -> RecordedExecutor:
    removed = executor.removed_ms
    return replace(
        executor,
        added_ms=max(0, executor.added_ms - begin),
        removed_ms=None if removed is None else max(0, removed - begin),
    )
