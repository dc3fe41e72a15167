"""What a simulated run comes to, counted while it goes: from its tasks and executors to an `Outcome`."""

from collections.abc import Sequence

from spark_allocation.core.simulation.outcome import Outcome
from spark_allocation.core.simulation.simulated_executors import SimulatedExecutor
from spark_allocation.core.simulation.timeline import Timeline


class Tally:
    """The counts of one run. Times are milliseconds.

    Attributes:
        running: tasks that run now.
        waiting: tasks that wait for a place now.
        busy_ms: of tasks that have ended, one after the other.
        recomputed_ms: of these, what had been done before or was thrown away.
        drains: executors that were asked to leave.
        losses: executors that were lost unasked.
    """

    __slots__ = (
        "_backlog_ms",
        "_timeline",
        "_waiting_since_ms",
        "busy_ms",
        "drains",
        "losses",
        "recomputed_ms",
        "running",
        "waiting",
    )

    def __init__(self) -> None:
        self.running = self.waiting = 0
        self.busy_ms = self.recomputed_ms = 0
        self.drains = self.losses = 0
        self._backlog_ms = 0
        self._waiting_since_ms: int | None = None
        self._timeline = Timeline()

    def moment(self, now_ms: int, executors: int) -> None:
        """A moment has passed, after which there are so many registered executors."""
        if self.waiting > 0:
            if self._waiting_since_ms is None:
                self._waiting_since_ms = now_ms
        elif self._waiting_since_ms is not None:
            self._backlog_ms += now_ms - self._waiting_since_ms
            self._waiting_since_ms = None
        self._timeline.add(now_ms, executors, self.running, self.waiting)

    def outcome(
        self, executors: Sequence[SimulatedExecutor], end_ms: int, *, finished: bool
    ) -> Outcome:
        """What came of it.

        Args:
            executors: all that were asked for, in that order.
            end_ms: the application's end, or the moment at which the simulation was given up.
            finished: the application came to its end.
        """
        alive = [each for each in executors if each.registered and each.gone_ms is None]
        backlog, busy, recomputed = self._backlog_ms, self.busy_ms, self.recomputed_ms
        if self._waiting_since_ms is not None:
            backlog += end_ms - self._waiting_since_ms
        for executor in alive:
            under_way = sum(end_ms - task.began_ms for task in executor.running)
            busy += under_way
            if finished:
                # nobody waited for it: outputs that were lost, and then needed by nobody
                recomputed += under_way
        lives = [(each, each.lived_ms(end_ms)) for each in executors]
        why = ""
        if not finished:
            why = (
                "tasks wait, and nobody asks for an executor that could run them"
                if self.waiting and not alive
                else "it took too long: the simulation was given up"
            )
        return Outcome(
            finished=finished,
            makespan_ms=end_ms,
            executor_ms=sum(lived for _, lived in lives),
            core_ms=sum(lived * executor.cores for executor, lived in lives),
            slot_ms=sum(lived * executor.slots for executor, lived in lives),
            busy_ms=busy,
            backlog_ms=backlog,
            drains=self.drains,
            recomputed_ms=recomputed,
            losses=self.losses,
            asked=len(executors),
            timeline=self._timeline,
            lanes=tuple(
                executor.lane(end_ms) for executor, lived in lives if lived and executor.registered
            ),
            why_not_finished=why,
        )
