"""What the operator does about executors that end, and what a person can do when there are too few: in words."""

from collections.abc import Mapping

from spark_allocation.api.conditions import Reason
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.exit_reasons import ExecutorExitReason, failure_class
from spark_allocation.core.failure_tracker import BackoffConf, FailureCount
from spark_allocation.reports.status import timestamp

REMEDIES: Mapping[Reason, str] = {
    Reason.POD_INVALID: "Correct spec.executor.podTemplate or the driver's configuration.",
    Reason.POD_NOT_BUILT: "Correct the driver's configuration.",
    Reason.FIELD_NOT_ALLOWED: "Give the same to the driver pod, or leave it out of the executors'.",
    Reason.ALLOCATION_MAXIMUM: "Raise spark.kubernetes.allocation.maximum, or leave it out.",
    Reason.QUOTA_EXCEEDED: "Raise the ResourceQuota of the namespace, or lower maxExecutors.",
    Reason.CREATE_FORBIDDEN: "Grant the operator what it lacks, or change the policy that refused.",
    Reason.NAMESPACE_TERMINATING: "Nothing: the namespace is being deleted.",
    Reason.API_UNAVAILABLE: "Nothing: it is tried again by itself. Does it last, see the API server.",
    Reason.POD_NAME_TAKEN: "Nothing: the next id is taken.",
}
"""For what the API server or the builder refuses. What the kubelet or the scheduler says brings its remedy along."""


def too_few(step: Step, last_failure: str) -> str:
    """Why executors are held back, what is done about it, and when the next one is tried."""
    last = f" The last one: {last_failure}" if last_failure else ""
    if step.held_back:
        classes = ", ".join(sorted(step.held_back))
        return f"executors keep failing ({classes}): {_one_at_a_time(step)}.{last}"
    return f"{_above_limit(step.failures)}.{last} Raise spec.allocation.failures.max to bear more."


def reaction(reason: ExecutorExitReason, step: Step) -> str:
    """What the operator does about executors that end for this reason."""
    if reason is ExecutorExitReason.DRAINED:
        return "it was asked to leave; replaced when it is needed"
    if failure_class(reason) in step.held_back:
        return f"held back: {_one_at_a_time(step)}"
    if step.failures.reached:
        return "replaced if it is needed, one a minute: above the failure limit"
    if failure_class(reason) is None:
        return "replaced at once if it is needed"
    most = BackoffConf().failures_to_open
    return f"replaced at once if it is needed; after {most} new ones in a row, one at a time"


def _one_at_a_time(step: Step) -> str:
    if step.retry_at_ms is None:
        return "one is being tried now, others follow when it works"
    return f"one is tried from {timestamp(step.retry_at_ms / 1000)} on, others follow when it works"


def _above_limit(count: FailureCount) -> str:
    minutes = count.window_ms / 60_000
    return (
        f"{count.ended} executors ended unasked within {minutes:g} min, more than the limit of {count.limit}: "
        "one a minute is created until there are fewer"
    )
