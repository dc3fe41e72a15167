"""What the driver of a simulated run says of itself: which executors it has, and what its REST API shows.

Source: ``CoarseGrainedSchedulerBackend.isExecutorActive``, ``AppStatusStore``, and for the gauge of needed executors
``ExecutorAllocationManager.maxNumExecutorsNeededPerResourceProfile``.
"""

from collections.abc import Mapping

from spark_allocation.core.driver_report import DriverReport, ExecutorReport, StageReport
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.simulation.driver_program import DriverProgram
from spark_allocation.core.simulation.hosts import epoch_ms
from spark_allocation.core.simulation.simulated_executors import SimulatedExecutor
from spark_allocation.core.simulation.stage_runs import Attempt
from spark_allocation.core.simulation.stage_scheduler import StageScheduler


class SimulatedDriver:
    """Answers for the driver. It is the `Driver` of a host.

    Args:
        executors: those that have registered and are not gone, by id; it goes on changing.
        stages: knows the attempts.
        program: knows the jobs.
        profiles: say how many tasks fit on an executor.
    """

    def __init__(
        self,
        executors: Mapping[ExecutorId, SimulatedExecutor],
        stages: StageScheduler,
        program: DriverProgram,
        profiles: ResourceProfileManager,
    ) -> None:
        self._executors = executors
        self._stages = stages
        self._program = program
        self._profiles = profiles

    def is_idle(self, executor_id: ExecutorId) -> bool:
        """A registered executor that stays and runs no task."""
        return self.is_active(executor_id) and not self._executors[executor_id].running

    def is_active(self, executor_id: ExecutorId) -> bool:
        """A registered executor that stays."""
        executor = self._executors.get(executor_id)
        return executor is not None and not executor.leaving

    def registered(self) -> frozenset[ExecutorId]:
        """Executors that the driver lists."""
        return frozenset(self._executors)

    def report(self) -> DriverReport:
        """What the driver's REST API says, with the gauge of needed executors that a passive driver has."""
        return DriverReport(
            stages=tuple(
                _stage_report(each) for each in self._stages.attempts if each.stage.current is each
            ),
            executors=tuple(map(_executor_report, self._executors.values())),
            running_jobs=self._program.running_jobs,
            max_needed_executors=self._needed(),
        )

    def _needed(self) -> int:
        tasks: dict[ProfileId, int] = {}
        for attempt in self._stages.attempts:
            profile_id = attempt.stage.record.profile_id
            tasks[profile_id] = tasks.get(profile_id, 0) + attempt.pending + attempt.running
        needed = 0
        for profile_id, count in tasks.items():
            capacity = self._profiles.capacity(profile_id)
            needed += -(-count // max(1, capacity.tasks if capacity is not None else 1))
        return needed


def _stage_report(attempt: Attempt) -> StageReport:
    return StageReport(
        stage_id=attempt.stage.stage_id,
        attempt_id=attempt.number,
        profile_id=attempt.stage.record.profile_id,
        num_tasks=attempt.num_tasks,
        completed_indices=attempt.succeeded,
        active_tasks=attempt.running,
    )


def _executor_report(executor: SimulatedExecutor) -> ExecutorReport:
    return ExecutorReport(
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
