"""Stages and their attempts while they are simulated: what is done, what waits, and where outputs lie.

Theory of operation
-------------------
A stage is done when each of its tasks has succeeded once. The outputs of a stage that writes shuffle data lie on the
executors that ran its tasks; when one is lost with them, those tasks are to be done again before anybody can read the
stage (``DAGScheduler.handleExecutorLost``, ``resubmitFailedStages``).

An *attempt* hands tasks out. A task that reads a cached block prefers the executor that has it: others get it only when
nothing was started where it belongs for the locality wait (``TaskSetManager``, one level: the executor).

Source: ``org.apache.spark.scheduler.DAGScheduler``, ``TaskSetManager``.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from enum import Enum

from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.simulation.application import RecordedStage


class StageState(Enum):
    """Where a stage stands."""

    IDLE = 0
    DUE = 1
    """It is going to be submitted after its pause."""
    RUNNING = 2


class StageRun:
    """A stage of the simulated application.

    Attributes:
        remaining: tasks without a result.
        where: for each task the executor that has its output; empty when it leaves none.
        wanted: a job that has begun needs it.
        ran: tasks that succeeded at some time.
        tries: how often tasks that fail by themselves did so.
    """

    __slots__ = (
        "attempts",
        "children",
        "current",
        "done",
        "ran",
        "record",
        "remaining",
        "running",
        "state",
        "tries",
        "wanted",
        "where",
    )

    def __init__(self, record: RecordedStage) -> None:
        self.record = record
        self.state = StageState.IDLE
        self.wanted = False
        self.done = bytearray(record.num_tasks)
        self.ran = bytearray(record.num_tasks)
        self.remaining = record.num_tasks
        self.running: set[int] = set()
        self.where: dict[int, ExecutorId] = {}
        self.attempts = 0
        self.current: Attempt | None = None
        self.tries: dict[int, int] = {}
        self.children: list[int] = []

    @property
    def stage_id(self) -> int:
        """Its id in the log."""
        return self.record.stage_id

    def missing(self) -> list[int]:
        """Tasks to be done that do not run."""
        return [
            index
            for index in range(self.record.num_tasks)
            if not self.done[index] and index not in self.running
        ]

    def begin_attempt(self, job: int, now_ms: int, homes: Mapping[int, ExecutorId]) -> "Attempt":
        """Hand the missing tasks out.

        Args:
            job: the first job that wants it; earlier jobs go first.
            now_ms: when.
            homes: the executors that some of its tasks prefer.
        """
        attempt = Attempt(
            self, self.attempts, job=job, tasks=self.missing(), homes=homes, now_ms=now_ms
        )
        self.attempts += 1
        self.current = attempt
        self.state = StageState.RUNNING
        return attempt

    def lose(self, executor_id: ExecutorId) -> list[int]:
        """The outputs on an executor are gone; returns whose."""
        lost = [index for index, place in self.where.items() if place == executor_id]
        for index in lost:
            del self.where[index]
            self.done[index] = 0
        self.remaining += len(lost)
        return lost


class Attempt:
    """An attempt of a stage (``TaskSetManager``).

    Attributes:
        key: its place in the queue: jobs first come, first served; then by stage.
        succeeded: how many of its tasks have.
    """

    __slots__ = ("_at_home", "_launched_at_ms", "_pending", "key", "num_tasks", "number", "running", "stage", "succeeded")  # fmt: skip

    def __init__(
        self,
        stage: StageRun,
        number: int,
        *,
        job: int,
        tasks: Iterable[int],
        homes: Mapping[int, ExecutorId],
        now_ms: int,
    ) -> None:
        self.stage = stage
        self.number = number
        self.key = (job, stage.stage_id, number)
        self._pending: deque[int] = deque()
        self._at_home: dict[ExecutorId, deque[int]] = {}
        for index in tasks:
            home = homes.get(index)
            if home is None:
                self._pending.append(index)
            else:
                self._at_home.setdefault(home, deque()).append(index)
        self.num_tasks = self.pending
        self.running = 0
        self.succeeded = 0
        self._launched_at_ms = now_ms

    @property
    def pending(self) -> int:
        """Tasks that wait for a place."""
        return len(self._pending) + sum(map(len, self._at_home.values()))

    @property
    def has_pending(self) -> bool:
        """Some task waits for a place."""
        return bool(self._pending) or bool(self._at_home)

    def take(self, executor_id: ExecutorId, now_ms: int, locality_wait_ms: int) -> int | None:
        """The task that an executor with a free place gets; None when it gets none now."""
        own = self._at_home.get(executor_id)
        if own:
            self._launched_at_ms = now_ms
            return self._from_home(executor_id, own)
        if self._pending:
            return self._pending.popleft()
        if self._at_home and now_ms - self._launched_at_ms >= locality_wait_ms:
            home, tasks = max(self._at_home.items(), key=lambda each: (len(each[1]), -each[0]))
            return self._from_home(home, tasks)
        return None

    def opens_at_ms(self, locality_wait_ms: int) -> int | None:
        """When tasks may go elsewhere than where they belong; None when none waits for that."""
        return self._launched_at_ms + locality_wait_ms if self._at_home else None

    def put_back(self, index: int) -> None:
        """A task is to be started again."""
        self._pending.append(index)

    def forget_home(self, executor_id: ExecutorId) -> None:
        """An executor takes no more tasks."""
        tasks = self._at_home.pop(executor_id, None)
        if tasks:
            self._pending.extend(tasks)

    def give_up(self) -> None:
        """Nothing more is started; what runs goes on."""
        self._pending.clear()
        self._at_home.clear()

    def _from_home(self, home: ExecutorId, tasks: deque[int]) -> int:
        index = tasks.popleft()
        if not tasks:
            del self._at_home[home]
        return index
