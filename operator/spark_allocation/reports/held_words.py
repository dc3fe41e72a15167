"""Executors that have nothing to do and stay because some job always runs: when that is told, and what to do about it."""

from spark_allocation.core.allocation_step import Step

ALWAYS_BUSY_MS = 600_000
"""Jobs take turns for this long before it is called a habit of the driver."""


def always_busy(step: Step) -> bool:
    """Executors above the target are held for shuffle data of jobs that have ended, because others always run."""
    return step.busy_for_ms >= ALWAYS_BUSY_MS and any(
        profile.held_by_shuffle > 0 and profile.running > profile.target
        for profile in step.profiles
    )


def held_for_ever(step: Step) -> str:
    """What holds them, and how to let them go."""
    held = sum(profile.held_by_shuffle for profile in step.profiles)
    minutes = step.busy_for_ms // 60_000
    return (
        f"{held} idle executors are kept for their shuffle data: for {minutes} min some job has always run, and "
        "dynamicAllocation.shuffleHold is Strict. Set it to Timeout together with "
        "dynamicAllocation.shuffleTracking.timeout, or let executors hand their data on with decommission.migrate and a "
        "driver that migrates."
    )
