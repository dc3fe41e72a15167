"""Limits of ``spec.streaming`` as policies write them, v1alpha1: the fields of a SparkAllocation, each with ``min`` and ``max``.

What is switched or named (a policy that is on, the sizing, the behaviour without metrics) is locked, not limited.
"""

from spark_allocation.api.api_model import ApiModel
from spark_allocation.api.limit_ranges import (
    CountLimits,
    DurationLimits,
    NumberLimits,
    RatioLimits,
)


class StreamingBatchDurationLimits(ApiModel):
    """Limits of the policy by batch duration."""

    target_utilization: RatioLimits | None = None
    """Limits of targetUtilization."""
    step: CountLimits | None = None
    """Limits of step."""


class StreamingRateLimits(ApiModel):
    """Limits of the policy by rate."""

    target_utilization: RatioLimits | None = None
    """Limits of targetUtilization."""
    catch_up: NumberLimits | None = None
    """Limits of catchUp."""


class StreamingBacklogLimits(ApiModel):
    """Limits of the policy by backlog."""

    target: DurationLimits | None = None
    """Limits of target."""
    low: DurationLimits | None = None
    """Limits of low, which always lies at or below target."""
    low_utilization: RatioLimits | None = None
    """Limits of lowUtilization."""


class StreamingMissingMetricsLimits(ApiModel):
    """Limits of what is done when nothing is known of the streams."""

    executors: CountLimits | None = None
    """Limits of executors, where somebody gives it."""
    after: DurationLimits | None = None
    """Limits of after."""


class StreamingStabilizationLimits(ApiModel):
    """Limits of for how long another number must be wanted."""

    up: DurationLimits | None = None
    """Limits of up."""
    down: DurationLimits | None = None
    """Limits of down."""
    down_batches: CountLimits | None = None
    """Limits of downBatches."""


class StreamingStepLimits(ApiModel):
    """Limits of how far one change may go."""

    share: NumberLimits | None = None
    """Limits of share."""
    executors: CountLimits | None = None
    """Limits of executors."""


class StreamingLimits(ApiModel):
    """Limits of executors for Structured Streaming; a band lies within its targetUtilization and has none of its own."""

    target_duration: DurationLimits | None = None
    """Limits of targetDuration, where somebody gives it: the trigger interval, which holds where it is left out, is not limited."""
    catch_up_time: DurationLimits | None = None
    """Limits of catchUpTime. Its min keeps streams from asking for many executors for a short time."""
    nominal_rate: CountLimits | None = None
    """Limits of nominalRate. Its min is what an executor has to carry at least before the safeguard asks for another one; a max holds also where nobody has asked for the safeguard."""
    batch_duration: StreamingBatchDurationLimits | None = None
    """Limits of the policy by batch duration."""
    rate: StreamingRateLimits | None = None
    """Limits of the policy by rate."""
    backlog: StreamingBacklogLimits | None = None
    """Limits of the policy by backlog."""
    on_missing_metrics: StreamingMissingMetricsLimits | None = None
    """Limits of what is done when nothing is known of the streams."""
    stabilization: StreamingStabilizationLimits | None = None
    """Limits of for how long another number must be wanted."""
    cooldown: DurationLimits | None = None
    """Limits of cooldown."""
    scale_down_interval: DurationLimits | None = None
    """Limits of scaleDownInterval."""
    step_up: StreamingStepLimits | None = None
    """Limits of how far one scale-up may go."""
    step_down: StreamingStepLimits | None = None
    """Limits of how far one scale-down may go."""
    ineffective_hold: DurationLimits | None = None
    """Limits of ineffectiveHold."""
    effective_share: NumberLimits | None = None
    """Limits of effectiveShare."""
    boundary_wait: DurationLimits | None = None
    """Limits of boundaryWait."""
