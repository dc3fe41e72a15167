"""What a step decided, without words and without names: what a replay is compared by.

Sentences are left out, for they say what the kubelet said, and so are pods' names; everything that is acted on, every
count and every reason is there. Two steps with equal values here would have been carried out alike.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from spark_allocation.core.allocation_step import Step
from spark_allocation.core.budget_cap import ProfileDemand
from spark_allocation.core.executor_exits import ExecutorExit
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.exit_reasons import ExecutorExitReason, FailureClass
from spark_allocation.core.failure_tracker import FailureCount
from spark_allocation.core.lifecycle_manager import DeletionCause
from spark_allocation.core.pods_plan import PodRequests
from spark_allocation.core.profile_states import ProfileState
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.streaming.decisions import StreamingDecision


class ExecutorEnd(NamedTuple):
    """An executor that is no more."""

    executor_id: ExecutorId
    reason: ExecutorExitReason
    exit_code: int
    charged: bool
    failed: bool
    never_registered: bool


class Deleted(NamedTuple):
    """A pod that is to be deleted."""

    executor_id: ExecutorId
    cause: DeletionCause


@dataclass(frozen=True, slots=True)
class Decided:
    """The attributes of `Step`, as far as they are no words; executors are given by their ids.

    Attributes:
        planned: a round of the pods allocator was due.
        create: what it asks for.
        withdraw: pods that it withdraws.
        given_up: pods that it counts no more.
    """

    profiles: tuple[ProfileState, ...] = ()
    planned: bool = False
    create: tuple[PodRequests, ...] = ()
    withdraw: tuple[ExecutorId, ...] = ()
    given_up: tuple[ExecutorId, ...] = ()
    drains: tuple[ExecutorId, ...] = ()
    evacuations: tuple[ExecutorId, ...] = ()
    surplus: tuple[ExecutorId, ...] = ()
    above_maximum: tuple[ExecutorId, ...] = ()
    above_streams: tuple[ExecutorId, ...] = ()
    while_idle: tuple[ExecutorId, ...] = ()
    between_batches: tuple[ExecutorId, ...] = ()
    delete: tuple[Deleted, ...] = ()
    ends: tuple[ExecutorEnd, ...] = ()
    held_back: tuple[FailureClass, ...] = ()
    failures: FailureCount = field(default_factory=FailureCount)
    avoid_nodes: tuple[str, ...] = ()
    start_problem: ExecutorExitReason | None = None
    retry_at_ms: int | None = None
    wake_at_ns: int | None = None
    would_leave: tuple[tuple[ProfileId, int], ...] = ()
    busy_for_ms: int = 0
    demands: tuple[ProfileDemand, ...] = ()
    streaming: tuple[StreamingDecision, ...] = ()


def decided(step: Step) -> Decided:
    """What a step decided."""
    plan = step.plan
    return Decided(
        profiles=step.profiles,
        planned=plan is not None,
        create=() if plan is None else plan.create,
        withdraw=()
        if plan is None
        else tuple(each for excess in plan.withdraw for each in excess.executor_ids),
        given_up=()
        if plan is None
        else tuple(pod.executor_id for given_up in plan.given_up for pod in given_up.pods),
        drains=_ids(step.drains),
        evacuations=_ids(step.evacuations),
        surplus=_ids(step.surplus),
        above_maximum=_ids(step.above_maximum),
        above_streams=_ids(step.above_streams),
        while_idle=tuple(sorted(step.while_idle)),
        between_batches=tuple(sorted(step.between_batches)),
        delete=tuple(Deleted(each.pod.executor_id, each.cause) for each in step.delete),
        ends=tuple(
            ExecutorEnd(
                each.executor_id,
                each.exit.reason,
                each.exit.exit_code,
                each.exit.charged,
                each.failed,
                each.never_registered,
            )
            for each in step.removals
        ),
        held_back=tuple(sorted(step.held_back)),
        failures=step.failures,
        avoid_nodes=tuple(sorted(step.avoid_nodes)),
        start_problem=_reason(step.start_problem),
        retry_at_ms=step.retry_at_ms,
        wake_at_ns=step.wake_at_ns,
        would_leave=tuple(sorted(step.would_leave.items())),
        busy_for_ms=step.busy_for_ms,
        demands=step.demands,
        streaming=step.streaming,
    )


def _ids(pods: tuple[ExecutorPod, ...]) -> tuple[ExecutorId, ...]:
    return tuple(pod.executor_id for pod in pods)


def _reason(problem: ExecutorExit | None) -> ExecutorExitReason | None:
    return None if problem is None else problem.reason
