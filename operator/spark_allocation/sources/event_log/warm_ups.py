"""By how much the first tasks of an executor took longer than they would have later: what warming up costs.

Theory of operation
-------------------
An executor that has just started loads classes, starts its Python processes and runs code that is not compiled yet. Its first
tasks, those that began before any had ended there, take longer by that. It belongs to the executor and not to the task: with
more executors it is paid more often, and for other tasks.

What a first task would have taken is seen from its neighbours in the same stage: the nearest by place that ran later on some
executor, as neighbours are of the same kind and often of the same size (files are read in the order of their sizes). The
executor's warm-up is what its first task took beyond their median, if it took longer than all of them; of several first tasks
the least, because the work itself may differ.

A large first task looks like a long warm-up. So an executor is believed to have taken at most `MOST` times as long as the others
in the middle, and where only one can be measured nothing is said. What is taken out of the durations is what the executor gets:
the same run simulated comes out the same.

Source: ``Executor.TaskRunner``, ``PythonWorkerFactory``.
"""

from bisect import bisect_left
from collections.abc import Container, Mapping
from statistics import median_low

from spark_allocation.sources.event_log import wire
from spark_allocation.sources.event_log.program import UNKNOWN, LoggedStage

NEIGHBOURS = 5
LEAST_NEIGHBOURS = 2
LEAST_EXECUTORS = 2
HANDOVER_MS = 100
"""A place is given to the next task shortly before the end of the one before is noted."""
MOST = 2
"""Times the warm-up in the middle."""


class WarmUps:
    """Of the executors of one application, while the log is read."""

    def __init__(self) -> None:
        self._warm_since: dict[str, int] = {}
        self._cold: dict[LoggedStage, dict[int, str]] = {}

    def was_cold(self, info: wire.TaskInfo) -> bool:
        """Whether the executor had ended no task when this one began; tasks are told in the order of their ends."""
        warm_since = self._warm_since.get(info.executor_id)
        if warm_since is None:
            self._warm_since[info.executor_id] = info.finished_at
            return True
        return info.launched_at < warm_since - HANDOVER_MS

    def note(self, executor_id: str, stage: LoggedStage, place: int) -> None:
        """A task that was cold, of which the duration is known."""
        self._cold.setdefault(stage, {})[place] = executor_id

    def taken_out(self) -> Mapping[str, int]:
        """Milliseconds by executor, where they can be told; durations of stages are those without them from now on."""
        found: dict[str, int] = {}
        counted: list[tuple[str, LoggedStage, int]] = []
        # stage by stage: what is laid out of one is as large as the stage
        for stage, cold in self._cold.items():
            warm_tasks = _WarmTasks(stage, cold)
            for place, executor_id in cold.items():
                more = warm_tasks.beyond_ms(place, stage.durations[place])
                if more is not None:
                    found[executor_id] = min(more, found.get(executor_id, more))
                    counted.append((executor_id, stage, place))
        if len(found) < LEAST_EXECUTORS:
            return {}
        middle = median_low(found.values())
        believed = {each: took if took <= MOST * middle else middle for each, took in found.items()}
        for executor_id, stage, place in counted:
            stage.durations[place] -= believed[executor_id]
        return believed


class _WarmTasks:
    """Of one stage: what tasks took that were not cold."""

    def __init__(self, stage: LoggedStage, cold: Container[int]) -> None:
        self._took = [
            (place, took)
            for place, took in enumerate(stage.durations)
            if took != UNKNOWN and place not in cold
        ]

    def beyond_ms(self, place: int, took: int) -> int | None:
        """By how much a task took longer than the nearest ones; 0 unless than all; None with too few of them."""
        if len(self._took) < LEAST_NEIGHBOURS:
            return None
        at = bisect_left(self._took, (place, 0))
        around = self._took[max(0, at - NEIGHBOURS) : at + NEIGHBOURS]
        nearest = sorted(around, key=lambda each: abs(each[0] - place))[:NEIGHBOURS]
        usual = [each for _, each in nearest]
        return took - median_low(usual) if took > max(usual) else 0
