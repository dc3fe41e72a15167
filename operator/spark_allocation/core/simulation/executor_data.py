"""What the executors of a simulated run hold: outputs of stages and cached blocks, and what becomes of both.

Theory of operation
-------------------
A block of a cached RDD is kept by the executor whose task computed it first, and is there until that executor is gone or
the program unpersists the RDD. Who then needs the block computes it again, for as long as that took the stage which
computed it the first time. A task prefers the executor that has its block.

Outputs lie where their tasks ran (`StageRun.where`). With migration, an executor that leaves hands outputs and blocks on to
those that stay, each to one drawn by chance.

Source: ``BlockManagerMasterEndpoint``, ``MapOutputTrackerMaster``, ``BlockManagerDecommissioner``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.listener_events import (
    BlockUpdated,
    ListenerEvent,
    RddBlock,
    ShuffleDataBlock,
    UnpersistRdd,
)
from spark_allocation.core.simulation.cluster import mixed
from spark_allocation.core.simulation.simulated_executors import SimulatedExecutor, SimulatedTask
from spark_allocation.core.simulation.stage_runs import StageRun


@dataclass(frozen=True, slots=True)
class DataRules:
    """What becomes of what executors hold.

    Attributes:
        goes_with_executors: shuffle data is on the executors; otherwise a service or another storage keeps it.
        migrates: an executor that is asked to leave hands on outputs and cached blocks.
    """

    goes_with_executors: bool = True
    migrates: bool = False


class ExecutorData:
    """Where outputs and cached blocks lie.

    Args:
        stages: of the application, by id.
        rules: what becomes of data.
        seed: of the chance by which data is handed on.
        post: tells the driver's listeners.
    """

    def __init__(
        self,
        stages: Mapping[int, StageRun],
        rules: DataRules,
        seed: int,
        post: Callable[[ListenerEvent], None],
    ) -> None:
        self._stages = stages
        self._rules = rules
        self._seed = seed
        self._post = post
        self._holders: dict[tuple[int, int], set[SimulatedExecutor]] = {}
        self._computed_by: dict[int, StageRun] = {}

    @property
    def goes_with_executors(self) -> bool:
        """Outputs are gone when the executor is that has them."""
        return self._rules.goes_with_executors

    # -- cached blocks ---------------------------------------------------------------------------------------------------

    def homes(self, stage: StageRun) -> dict[int, ExecutorId]:
        """Where tasks find the cached block that they read."""
        if not stage.record.cached_rdds:
            return {}
        nearest = stage.record.cached_rdds[0]
        homes = {}
        for index in range(stage.record.num_tasks):
            staying = [
                each.id for each in self._holders.get((nearest, index), ()) if not each.leaving
            ]
            if staying:
                homes[index] = min(staying)
        return homes

    def stage_begins(self, stage: StageRun) -> None:
        """The first stage that has a cached RDD is the one that computes it."""
        for rdd_id in stage.record.cached_rdds:
            self._computed_by.setdefault(rdd_id, stage)

    def again_ms(self, stage: StageRun, index: int) -> int:
        """How long a task takes for a block that was cached once and is gone; 0 when it has nothing to compute again."""
        for rdd_id in stage.record.cached_rdds[:1]:
            first = self._computed_by.get(rdd_id)
            if first is None or first is stage or self._holders.get((rdd_id, index)):
                continue
            computed = first.record.durations_ms
            if index < len(computed) and first.ran[index]:
                return computed[index]
        return 0

    def keep_blocks(self, task: SimulatedTask) -> None:
        """What its stage caches and nobody has yet is cached where the task ran."""
        cached = task.attempt.stage.record.cached_rdds
        if task.fails or not cached or self._holders.get((cached[0], task.index)):
            return
        executor = task.executor
        for rdd_id in cached:
            block = (rdd_id, task.index)
            if self._holders.get(block):
                continue
            self._holders[block] = {executor}
            executor.blocks.add(block)
            self._post(BlockUpdated(str(executor.id), RddBlock(rdd_id, task.index)))

    def unpersist(self, rdd_id: int) -> None:
        """An RDD is no longer cached."""
        for block in [each for each in self._holders if each[0] == rdd_id]:
            for executor in self._holders.pop(block):
                executor.blocks.discard(block)
        self._computed_by.pop(rdd_id, None)
        self._post(UnpersistRdd(rdd_id))

    def lose_blocks(self, executor: SimulatedExecutor) -> None:
        """The blocks of an executor are gone."""
        for block in executor.blocks:
            holders = self._holders.get(block)
            if holders is not None:
                holders.discard(executor)
        executor.blocks.clear()

    # -- both ------------------------------------------------------------------------------------------------------------

    def hand_on(self, executor: SimulatedExecutor, others: Sequence[SimulatedExecutor]) -> bool:
        """Outputs and blocks go to others that stay; False when nothing is handed on or there is nobody."""
        if not self._rules.migrates or not others:
            return False
        for stage_id in sorted(executor.outputs):
            stage = self._stages[stage_id]
            for index, place in stage.where.items():
                if place == executor.id:
                    other = others[mixed(self._seed, stage_id, index) % len(others)]
                    stage.where[index] = other.id
                    if not other.outputs[stage_id]:
                        self._post(BlockUpdated(str(other.id), ShuffleDataBlock(stage_id)))
                    other.outputs[stage_id] += 1
        executor.outputs.clear()
        for block in sorted(executor.blocks):
            other = others[mixed(self._seed, *block) % len(others)]
            other.blocks.add(block)
            self._holders.setdefault(block, set()).add(other)
            self._post(BlockUpdated(str(other.id), RddBlock(*block)))
        return True
