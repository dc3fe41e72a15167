"""Feeds manager and monitor with listener events: the counting of ``ExecutorAllocationListener``.

Theory of operation
-------------------
The need of a profile is summed over its live stage attempts. An attempt lives from its submission until it has completed
*and* its last running task has ended: tasks of a completed attempt still occupy executors. Per attempt are kept the
number of tasks, the indices that were started, copies that wait or run, and the number of running tasks. A task that
fails waits again, so its index is no longer started; one that was killed on purpose does not come back.

Three oddities of Spark are kept. The number of pending tasks is not clamped at zero. A ``Resubmitted`` end has no start
of its own, yet counts a running task down. And "no task waits" on the completion of a stage asks whether the *maps* of
task counts and of speculative tasks are empty, not whether the sets in them are.

Preferred hosts of tasks are not followed: Kubernetes ignores them (``KubernetesClusterSchedulerBackend``).

Source: ``ExecutorAllocationManager.ExecutorAllocationListener``; ``ExecutorMonitor``'s event methods.
"""

from collections.abc import Callable

from spark_allocation.core.allocation_manager import ExecutorAllocationManager
from spark_allocation.core.jvm_numbers import wrap_int
from spark_allocation.core.listener_events import (
    BlockUpdated,
    ExecutorAdded,
    ExecutorRemoved,
    JobEnd,
    JobStart,
    ListenerEvent,
    OtherBlock,
    RddBlock,
    ResourceProfileAdded,
    ShuffleCleaned,
    ShuffleDataBlock,
    SpeculativeTaskSubmitted,
    StageCompleted,
    StageSubmitted,
    TaskEnd,
    TaskEndReason,
    TaskStart,
    UnpersistRdd,
    UnschedulableTaskSetAdded,
    UnschedulableTaskSetRemoved,
)
from spark_allocation.core.resource_profiles import ProfileId, ResourceProfileManager
from spark_allocation.core.workload import NO_TASKS, ProfileWorkload

_AttemptKey = tuple[int, int]


class _StageAttempt:
    """What is known of one stage attempt; None stands for "not in Spark's map", which differs from an empty set."""

    __slots__ = (
        "num_tasks",
        "pending_speculative",
        "profiles",
        "running",
        "running_speculative",
        "started",
        "unschedulable",
    )

    def __init__(self) -> None:
        self.num_tasks: int | None = None
        self.running = 0
        self.started: set[int] | None = None
        self.pending_speculative: set[int] | None = None
        self.running_speculative: set[int] | None = None
        self.unschedulable = False
        self.profiles: list[ProfileId] = []

    @property
    def pending(self) -> int:
        return (self.num_tasks or 0) - (len(self.started) if self.started else 0)

    @property
    def waits(self) -> bool:
        """Tasks wait, and a profile counts them."""
        return bool(self.profiles) and (bool(self.pending_speculative) or self.pending > 0)

    @property
    def unused(self) -> bool:
        return (
            self.num_tasks is None
            and self.running == 0
            and self.started is None
            and self.pending_speculative is None
            and self.running_speculative is None
        )


class StageWorkload:
    """The workload as counted from stages and tasks: a `WorkloadView`."""

    def __init__(self) -> None:
        self._attempts: dict[_AttemptKey, _StageAttempt] = {}
        self._of_profile: dict[ProfileId, dict[_AttemptKey, _StageAttempt]] = {}
        self._waiting: set[_AttemptKey] = set()
        # Attempts that stand in Spark's maps of task counts and of speculative tasks.
        self._in_queue: set[_AttemptKey] = set()

    @property
    def has_pending_tasks(self) -> bool:
        """Whether any task waits for a place (``hasPendingTasks``)."""
        return bool(self._waiting)

    @property
    def is_drained(self) -> bool:
        """Whether no submitted attempt and no speculative task is left (the test of ``onStageCompleted``)."""
        return not self._in_queue

    def of_profile(self, profile_id: ProfileId) -> ProfileWorkload:
        """The tasks of one profile, summed over its live stage attempts."""
        attempts = self._of_profile.get(profile_id)
        if not attempts:
            return NO_TASKS
        pending = speculative = running = unschedulable = 0
        for attempt in attempts.values():
            pending += attempt.pending
            if attempt.pending_speculative:
                speculative += len(attempt.pending_speculative)
            running += attempt.running
            unschedulable += attempt.unschedulable
        return ProfileWorkload(wrap_int(pending), speculative, running, unschedulable)

    def stage_submitted(self, key: _AttemptKey, num_tasks: int, profile_id: ProfileId) -> None:
        """A stage attempt waits for its tasks to be placed."""
        attempt = self._attempt(key)
        attempt.num_tasks = num_tasks
        if profile_id not in attempt.profiles:
            attempt.profiles.append(profile_id)
            self._of_profile.setdefault(profile_id, {})[key] = attempt
        self._changed(key, attempt)

    def stage_completed(self, key: _AttemptKey) -> None:
        """A stage attempt is over; tasks of it may still run."""
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.num_tasks = None
            attempt.started = None
            attempt.pending_speculative = None
            attempt.running_speculative = None
            self._drop_if_unused(key, attempt)

    def task_started(self, key: _AttemptKey, index: int, *, speculative: bool) -> None:
        """A task found a place."""
        attempt = self._attempt(key)
        attempt.running += 1
        if speculative:
            if attempt.running_speculative is None:
                attempt.running_speculative = set()
            attempt.running_speculative.add(index)
            if attempt.pending_speculative is not None:
                attempt.pending_speculative.discard(index)
        else:
            if attempt.started is None:
                attempt.started = set()
            attempt.started.add(index)
        self._changed(key, attempt)

    def task_left(self, key: _AttemptKey, index: int, *, speculative: bool) -> None:
        """A task gave its place back, for whatever reason."""
        attempt = self._attempts.get(key)
        if attempt is None:
            return
        if attempt.running > 0:
            attempt.running -= 1
            if attempt.running == 0:
                self._drop_if_unused(key, attempt)
        if speculative and attempt.running_speculative is not None:
            attempt.running_speculative.discard(index)

    def copy_not_needed(self, key: _AttemptKey, index: int) -> None:
        """The task has succeeded: a copy of it that still waits is dropped."""
        attempt = self._attempts.get(key)
        if attempt is not None and attempt.pending_speculative is not None:
            attempt.pending_speculative.discard(index)
            self._changed(key, attempt)

    def task_waits_again(self, key: _AttemptKey, index: int) -> None:
        """A regular task failed and will be tried again."""
        attempt = self._attempts.get(key)
        if attempt is not None and attempt.started is not None:
            attempt.started.discard(index)
            self._changed(key, attempt)

    def speculative_submitted(self, key: _AttemptKey, index: int) -> None:
        """A copy of a running task waits for a place."""
        attempt = self._attempt(key)
        if attempt.pending_speculative is None:
            attempt.pending_speculative = set()
        attempt.pending_speculative.add(index)
        self._changed(key, attempt)

    def unschedulable_added(self, key: _AttemptKey) -> None:
        """No executor may run the tasks of the attempt."""
        self._attempt(key).unschedulable = True

    def unschedulable_removed(self, key: _AttemptKey) -> None:
        """The attempt can be scheduled again, or is over."""
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.unschedulable = False
            self._drop_if_unused(key, attempt)

    def _attempt(self, key: _AttemptKey) -> _StageAttempt:
        attempt = self._attempts.get(key)
        if attempt is None:
            attempt = self._attempts[key] = _StageAttempt()
        return attempt

    def _changed(self, key: _AttemptKey, attempt: _StageAttempt) -> None:
        if attempt.waits:
            self._waiting.add(key)
        else:
            self._waiting.discard(key)
        if (
            attempt.num_tasks is not None
            or attempt.pending_speculative is not None
            or attempt.running_speculative is not None
        ):
            self._in_queue.add(key)
        else:
            self._in_queue.discard(key)

    def _drop_if_unused(self, key: _AttemptKey, attempt: _StageAttempt) -> None:
        """``removeStageFromResourceProfileIfUnused``."""
        if attempt.unused and len(attempt.profiles) == 1:
            del self._of_profile[attempt.profiles.pop()][key]
        self._changed(key, attempt)
        if attempt.unused and not attempt.profiles and not attempt.unschedulable:
            del self._attempts[key]


class ListenerFeeder:
    """Delivers events to manager and monitor in the order in which Spark's bus would.

    Args:
        manager: its ``workload`` becomes this feeder's count.
        profiles: learns of new profiles.
    """

    def __init__(
        self, manager: ExecutorAllocationManager, profiles: ResourceProfileManager
    ) -> None:
        self.workload = StageWorkload()
        manager.workload = self.workload
        self._manager = manager
        self._monitor = manager.monitor
        self._profiles = profiles
        self._handlers: dict[type, Callable[..., None]] = {
            JobStart: self._on_job_start,
            JobEnd: self._on_job_end,
            StageSubmitted: self._on_stage_submitted,
            StageCompleted: self._on_stage_completed,
            TaskStart: self._on_task_start,
            TaskEnd: self._on_task_end,
            SpeculativeTaskSubmitted: self._on_speculative_task_submitted,
            UnschedulableTaskSetAdded: self._on_unschedulable_task_set_added,
            UnschedulableTaskSetRemoved: self._on_unschedulable_task_set_removed,
            ExecutorAdded: self._on_executor_added,
            ExecutorRemoved: self._on_executor_removed,
            BlockUpdated: self._on_block_updated,
            UnpersistRdd: self._on_unpersist_rdd,
            ShuffleCleaned: self._on_shuffle_cleaned,
            ResourceProfileAdded: self._on_resource_profile_added,
        }

    def post(self, event: ListenerEvent, now_ns: int) -> None:
        """Deliver one event.

        Raises:
            ClusterManagerUnreachable: from the client, when a new profile's initial target is published.
        """
        self._handlers[type(event)](event, now_ns)

    def _on_job_start(self, event: JobStart, _now_ns: int) -> None:
        self._monitor.job_started(
            event.job_id,
            [
                (stage.stage_id, stage.shuffle_id)
                for stage in event.stages
                if stage.shuffle_id is not None
            ],
        )

    def _on_job_end(self, event: JobEnd, _now_ns: int) -> None:
        self._monitor.job_ended(event.job_id)

    def _on_stage_submitted(self, event: StageSubmitted, now_ns: int) -> None:
        stage = event.stage
        key = (stage.stage_id, stage.attempt)
        self.workload.stage_submitted(key, stage.num_tasks, stage.profile_id)
        self._manager.on_scheduler_backlogged(now_ns)
        self._manager.on_stage_submitted(stage.profile_id, now_ns)

    def _on_stage_completed(self, event: StageCompleted, _now_ns: int) -> None:
        self.workload.stage_completed((event.stage_id, event.attempt))
        if self.workload.is_drained:
            self._manager.on_scheduler_queue_empty()

    def _on_task_start(self, event: TaskStart, now_ns: int) -> None:
        self.workload.task_started(
            (event.stage_id, event.attempt), event.index, speculative=event.speculative
        )
        if not self.workload.has_pending_tasks:
            self._manager.on_scheduler_queue_empty()
        self._monitor.task_started(event.executor_id, now_ns)

    def _on_task_end(self, event: TaskEnd, now_ns: int) -> None:
        key = (event.stage_id, event.attempt)
        self.workload.task_left(key, event.index, speculative=event.speculative)
        if event.reason is TaskEndReason.SUCCESS:
            self.workload.copy_not_needed(key, event.index)
        elif event.reason is TaskEndReason.FAILED:
            if not self.workload.has_pending_tasks:
                self._manager.on_scheduler_backlogged(now_ns)
            if not event.speculative:
                self.workload.task_waits_again(key, event.index)
        self._monitor.task_ended(
            event.executor_id,
            event.stage_id,
            now_ns,
            succeeded=event.reason is TaskEndReason.SUCCESS,
        )

    def _on_speculative_task_submitted(self, event: SpeculativeTaskSubmitted, now_ns: int) -> None:
        self.workload.speculative_submitted((event.stage_id, event.attempt), event.index)
        self._manager.on_scheduler_backlogged(now_ns)

    def _on_unschedulable_task_set_added(
        self, event: UnschedulableTaskSetAdded, now_ns: int
    ) -> None:
        self.workload.unschedulable_added((event.stage_id, event.attempt))
        self._manager.on_scheduler_backlogged(now_ns)

    def _on_unschedulable_task_set_removed(
        self, event: UnschedulableTaskSetRemoved, _now_ns: int
    ) -> None:
        self.workload.unschedulable_removed((event.stage_id, event.attempt))

    def _on_executor_added(self, event: ExecutorAdded, now_ns: int) -> None:
        self._monitor.executor_added(event.executor_id, event.profile_id, now_ns)

    def _on_executor_removed(self, event: ExecutorRemoved, _now_ns: int) -> None:
        self._monitor.executor_removed(event.executor_id, event.reason)

    def _on_block_updated(self, event: BlockUpdated, _now_ns: int) -> None:
        match event.block:
            case RddBlock(rdd_id, split):
                self._monitor.rdd_block_updated(
                    event.executor_id, rdd_id, split, stored=event.stored, on_disk=event.on_disk
                )
            case ShuffleDataBlock(shuffle_id):
                self._monitor.shuffle_block_added(event.executor_id, shuffle_id)
            case OtherBlock():
                self._monitor.other_block_updated(event.executor_id)

    def _on_unpersist_rdd(self, event: UnpersistRdd, _now_ns: int) -> None:
        self._monitor.rdd_unpersisted(event.rdd_id)

    def _on_shuffle_cleaned(self, event: ShuffleCleaned, _now_ns: int) -> None:
        self._monitor.shuffle_cleaned(event.shuffle_id)

    def _on_resource_profile_added(self, event: ResourceProfileAdded, _now_ns: int) -> None:
        self._profiles.add(event.profile)
