"""Metrics of the process, collected when they are asked for. No labels for pods, none for applications."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from spark_allocation.core.exit_reasons import ExecutorExitReason

PREFIX = "spark_allocation_"


class ExecutorEndCounters:
    """``spark_allocation_executor_ends_total``: how executors ended, of all applications. Every reason is there from 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counter = Counter(
            f"{PREFIX}executor_ends",
            "Executors that ended, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in ExecutorExitReason:
            self._counter.labels(reason.value)

    def count(self, reason: str) -> None:
        """One more."""
        self._counter.labels(reason).inc()


class Watch(Protocol):
    """What a pods watch tells of itself."""

    scope: str
    last_word_at: float
    lists: int
    events: int


class ProcessMetrics(Collector):
    """How the operator itself fares."""

    def __init__(
        self,
        *,
        store: object,
        runners: Callable[[], int],
        watches: Sequence[Watch],
        loop_lag: Callable[[], float],
        unallocated: Callable[[], int] = lambda: 0,
    ) -> None:
        self._store = store
        self._runners = runners
        self._watches = watches
        self._loop_lag = loop_lag
        self._unallocated = unallocated

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        yield GaugeMetricFamily(
            f"{PREFIX}executor_pods",
            "Executor pods that the watches report.",
            len(self._store),  # type: ignore[arg-type]
        )
        yield GaugeMetricFamily(
            f"{PREFIX}allocations", "SparkAllocations that are served.", self._runners()
        )
        yield GaugeMetricFamily(
            f"{PREFIX}unmanaged_passive_drivers",
            "Drivers that left allocation to an operator and that no SparkAllocation names: they get no executors.",
            self._unallocated(),
        )
        yield GaugeMetricFamily(
            f"{PREFIX}event_loop_lag_seconds",
            "How late the event loop runs its timers.",
            self._loop_lag(),
        )
        age = GaugeMetricFamily(
            f"{PREFIX}watch_silence_seconds",
            "Time since a watch last said anything.",
            labels=["scope"],
        )
        lists = CounterMetricFamily(
            f"{PREFIX}watch_lists", "Full lists that were made.", labels=["scope"]
        )
        events = CounterMetricFamily(
            f"{PREFIX}watch_events", "Pod events that were taken.", labels=["scope"]
        )
        for watch in self._watches:
            age.add_metric(
                [watch.scope], time.monotonic() - watch.last_word_at if watch.last_word_at else -1
            )
            lists.add_metric([watch.scope], watch.lists)
            events.add_metric([watch.scope], watch.events)
        yield age
        yield lists
        yield events
