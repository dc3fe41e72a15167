"""The executors of a simulated run: their pods, what they run, what they hold, and what that comes to."""

from collections import Counter
from dataclasses import replace

from spark_allocation.core.executor_pods import ContainerEnd, ExecutorId, ExecutorPod, PodState
from spark_allocation.core.pod_size import NO_SIZE, PodSize
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.simulation.outcome import ExecutorLane
from spark_allocation.core.simulation.stage_runs import Attempt
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

LOST_EXIT_CODE = 137


class SimulatedTask:
    """A task that runs.

    Attributes:
        again_ms: of its time, how much is spent on a block that had been cached once.
        fails: it fails by itself.
        cut: its executor is gone, and it with it.
    """

    __slots__ = ("again_ms", "attempt", "began_ms", "cut", "executor", "fails", "index")

    def __init__(
        self, attempt: Attempt, index: int, executor: "SimulatedExecutor", began_ms: int
    ) -> None:
        self.attempt = attempt
        self.index = index
        self.executor = executor
        self.began_ms = began_ms
        self.again_ms = 0
        self.fails = False
        self.cut = False


class SimulatedExecutor:
    """An executor from the request for its pod to its end.

    Attributes:
        slots: tasks that fit on it.
        ready_ms: when it registers.
        takes_tasks: it has told the driver that it is there.
        cold_ms: by which tasks take longer that begin now; 0 once one has ended.
        outputs: of which stages it has how many outputs.
        wrote: it has ever written shuffle data.
        running: its tasks, in the order of their starts: the same run is to come out again.
        blocks: cached blocks by RDD and partition.
    """

    __slots__ = (
        "blocks",
        "busy",
        "busy_since_ms",
        "cold_ms",
        "cores",
        "failed_tasks",
        "gone_ms",
        "id",
        "leaving",
        "outputs",
        "profile_id",
        "ready_ms",
        "registered",
        "running",
        "slots",
        "started_tasks",
        "takes_tasks",
        "wrote",
    )

    def __init__(
        self,
        executor_id: ExecutorId,
        profile_id: ProfileId,
        *,
        slots: int,
        cores: int,
        ready_ms: int,
        warm_up_ms: int = 0,
    ) -> None:
        self.id = executor_id
        self.profile_id = profile_id
        self.slots = slots
        self.cores = cores
        self.ready_ms = ready_ms
        self.cold_ms = warm_up_ms
        self.gone_ms: int | None = None
        self.registered = False
        self.takes_tasks = False
        self.leaving = False
        self.running: dict[SimulatedTask, None] = {}
        self.outputs: Counter[int] = Counter()
        self.wrote = False
        self.blocks: set[tuple[int, int]] = set()
        self.started_tasks = 0
        self.failed_tasks = 0
        self.busy_since_ms: int | None = None
        self.busy: list[tuple[int, int]] = []

    @property
    def has_place(self) -> bool:
        """It takes a task."""
        return self.takes_tasks and not self.leaving and len(self.running) < self.slots

    def lived_ms(self, until_ms: int) -> int:
        """From registration to its end, or to this moment."""
        if self.ready_ms > until_ms or (self.gone_ms is not None and self.gone_ms < self.ready_ms):
            return 0
        end = until_ms if self.gone_ms is None else self.gone_ms
        return max(0, end - self.ready_ms)

    def lane(self, until_ms: int) -> ExecutorLane:
        """It over time."""
        end = self.ready_ms + self.lived_ms(until_ms)
        busy = list(self.busy)
        if self.busy_since_ms is not None:
            busy.append((self.busy_since_ms, end))
        return ExecutorLane(str(self.id), self.ready_ms, end, tuple(busy))


def asked_pod(
    executor_id: ExecutorId, profile_id: ProfileId, epoch_ms: int, size: PodSize = NO_SIZE
) -> ExecutorPod:
    """A pod that has just been asked for, as a watch of the API server shows it.

    Args:
        executor_id: its executor, after which uid and name are made.
        profile_id: its profile.
        epoch_ms: when it was asked for.
        size: what it asks for, where that counts.
    """
    return ExecutorPod(
        uid=f"uid-{executor_id}",
        name=f"exec-{executor_id}",
        namespace="",
        executor_id=executor_id,
        profile_id=profile_id,
        state=PodState.PENDING,
        created_at=epoch_ms / 1000,
        size=size,
    )


class SimulatedPods:
    """The pods of all executors, as a watch of the API server shows them."""

    def __init__(self) -> None:
        self._pods: dict[ExecutorId, ExecutorPod] = {}
        self._vanished: list[ExecutorPod] = []
        self._snapshot: ExecutorPodsSnapshot | None = None

    def add(self, executor_id: ExecutorId, profile_id: ProfileId, epoch_ms: int) -> None:
        """A pod that waits for its node, which is to be its own."""
        pod = asked_pod(executor_id, profile_id, epoch_ms)
        self._put(replace(pod, node=f"node-{executor_id}"))

    def runs(self, executor_id: ExecutorId) -> None:
        """It has begun to run."""
        self._put(replace(self._pods[executor_id], state=PodState.RUNNING))

    def is_deleted(self, executor_id: ExecutorId) -> None:
        """It has a deletionTimestamp, and runs on."""
        self._put(replace(self._pods[executor_id], deleting=True))

    def fails(self, executor_id: ExecutorId) -> None:
        """It has ended unasked."""
        end = ContainerEnd("spark-kubernetes-executor", LOST_EXIT_CODE, "Error")
        self._put(replace(self._pods[executor_id], state=PodState.FAILED, ends=(end,)))

    def vanish(self, executor_id: ExecutorId) -> None:
        """It is gone."""
        pod = self._pods.pop(executor_id, None)
        if pod is not None:
            self._vanished.append(pod)
            self._snapshot = None

    def snapshot(self, epoch_ms: int) -> ExecutorPodsSnapshot:
        """All that are there; the same object while nothing changes."""
        if self._snapshot is None:
            self._snapshot = ExecutorPodsSnapshot(dict(self._pods), epoch_ms)
        return self._snapshot

    def take_vanished(self) -> list[ExecutorPod]:
        """Those that went since this was last asked."""
        gone, self._vanished = self._vanished, []
        return gone

    def __contains__(self, executor_id: object) -> bool:
        return executor_id in self._pods

    def _put(self, pod: ExecutorPod) -> None:
        self._pods[pod.executor_id] = pod
        self._snapshot = None
