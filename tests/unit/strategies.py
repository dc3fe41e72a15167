"""Hypothesis strategies, all in one place."""

from hypothesis import strategies as st

from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.workload import ProfileWorkload


@st.composite
def dynamic_allocation_confs(draw: st.DrawFn) -> DynamicAllocationConf:
    """Settings with small bounds and timeouts, so that everything happens soon."""
    low = draw(st.integers(0, 4))
    high = draw(st.integers(max(low, 1), 12))
    return DynamicAllocationConf(
        min_executors=low,
        initial_executors=draw(st.integers(low, high)),
        max_executors=high,
        executor_allocation_ratio=draw(st.sampled_from([1.0, 0.5, 0.25])),
        scheduler_backlog_timeout_s=draw(st.integers(1, 3)),
        sustained_scheduler_backlog_timeout_s=draw(st.none() | st.integers(1, 3)),
        executor_idle_timeout_s=draw(st.integers(0, 5)),
        cached_executor_idle_timeout_s=draw(st.integers(0, 9)),
        shuffle_tracking_timeout_ms=draw(st.integers(0, 9000)),
        decommission_enabled=draw(st.booleans()),
    )


def profile_workloads() -> st.SearchStrategy[ProfileWorkload]:
    """Tasks of one profile."""
    return st.builds(
        ProfileWorkload,
        pending=st.integers(0, 40),
        pending_speculative=st.integers(0, 5),
        running=st.integers(0, 40),
        unschedulable=st.integers(0, 2),
    )


def monitor_operations() -> st.SearchStrategy[tuple[str, str, int]]:
    """What may happen to an executor: (operation, executor id, a small number)."""
    names = [
        "add",
        "start",
        "end",
        "cache",
        "drop",
        "unpersist",
        "remove",
        "kill",
        "job",
        "job end",
        "clean",
        "wait",
    ]
    return st.tuples(st.sampled_from(names), st.sampled_from(["1", "2", "10"]), st.integers(0, 3))
