"""What comes of one step of `spark_allocation.core.allocation.Allocation`, as one value: to be carried out, and to be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from spark_allocation.core.allocation_decisions import ProfileDecision, SparkLogLine
from spark_allocation.core.budget_cap import ProfileDemand
from spark_allocation.core.executor_exits import ExecutorExit
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.exit_reasons import FailureClass
from spark_allocation.core.failure_tracker import FailureCount
from spark_allocation.core.lifecycle_manager import (
    ExecutorRemoval,
    PodDeletion,
)
from spark_allocation.core.pods_plan import PodsPlan
from spark_allocation.core.profile_states import ProfileState
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.streaming.decisions import StreamingDecision


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what to do, what was decided, and when to come again at the latest.

    Attributes:
        plan: pods to ask for and to withdraw; None when no round was due.
        drains: running executors to remove because they are idle.
        evacuations: running executors to remove because their node is about to go.
        surplus: running executors to remove because budgets grant them to others.
        delete: pods that have ended or that the driver has lost.
        removals: executors that ended since the last step, each told once.
        start_problem: what keeps the pod that has waited longest from starting; None when none waits for long.
        held_back: classes of repeated failures that keep pods from being asked for.
        failures: executors that ended unasked lately, against the limit.
        avoid_nodes: nodes that new pods are sent away from.
        retry_at_ms: epoch milliseconds from which on one is tried while ``held_back``; None while one is under way.
        demands: what budgets are asked for; empty when none covers the application.
        decisions: per profile; empty when the driver's answer was too old to decide.
        log: sentences in Spark's words.
        wake_at_ns: when a timer runs out; None when only news can change anything.
        above_maximum: running executors to remove because ``maxExecutors`` allows fewer.
        would_leave: while nothing may be done, executors that would have been drained, by profile.
        busy_for_ms: for how long jobs have taken turns without a pause, where that holds executors with shuffle data
            (`ShuffleHolders.busy_for_ms`); else 0.
        streaming: what streams ask for, and why, by profile; empty without settings for them, and before any was observed.
        above_streams: running executors to remove because streams ask for fewer.
        while_idle: of executors to remove those that were chosen because they run nothing: they go only if that still holds.
        between_batches: and those of them that go only while no job runs at all.
    """

    plan: PodsPlan | None
    drains: tuple[ExecutorPod, ...]
    delete: tuple[PodDeletion, ...]
    removals: tuple[ExecutorRemoval, ...]
    held_back: frozenset[FailureClass]
    decisions: Mapping[ProfileId, ProfileDecision]
    profiles: tuple[ProfileState, ...]
    log: tuple[SparkLogLine, ...] = ()
    wake_at_ns: int | None = None
    start_problem: ExecutorExit | None = None
    evacuations: tuple[ExecutorPod, ...] = ()
    failures: FailureCount = field(default_factory=FailureCount)
    avoid_nodes: frozenset[str] = frozenset()
    retry_at_ms: int | None = None
    surplus: tuple[ExecutorPod, ...] = ()
    demands: tuple[ProfileDemand, ...] = ()
    would_leave: Mapping[ProfileId, int] = field(default_factory=dict)
    busy_for_ms: int = 0
    above_maximum: tuple[ExecutorPod, ...] = ()
    streaming: tuple[StreamingDecision, ...] = ()
    above_streams: tuple[ExecutorPod, ...] = ()
    while_idle: frozenset[ExecutorId] = frozenset()
    between_batches: frozenset[ExecutorId] = frozenset()

    @property
    def is_at_rest(self) -> bool:
        """Nothing is to be done and nothing is under way: until a timer runs out, only news can change anything."""
        leaving = (
            self.drains,
            self.evacuations,
            self.surplus,
            self.above_maximum,
            self.above_streams,
        )
        return not any((*leaving, self.delete, self.held_back)) and all(
            profile.is_at_rest for profile in self.profiles
        )
