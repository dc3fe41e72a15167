"""Metrics of the process: counted as things happen, or collected when they are asked for.

No labels for pods, none for applications: their number is the tenants' to choose. What is told by namespace carries the
label ``spark_namespace``, because Prometheus itself writes ``namespace``, that of the operator's pod. docs/metrics.md is
made from this module.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from spark_allocation.core.exit_reasons import ExecutorExitReason
from spark_allocation.reports.streams import NO_STREAMS, StreamingFigures

PREFIX = "spark_allocation_"
ANSWERED = "Answered"
_DRIVER_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_API_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

EXECUTOR_COUNTS: Mapping[str, str] = {
    "desired": "Executors that the tasks need.",
    "target": "Executors wanted now: the need within the bounds, as far as the ramp has come.",
    "running": "Executor pods that run.",
    "registered": "Executors that drivers count as their own.",
    "pending": "Executor pods that exist and do not run yet, or were created and not seen yet.",
    "idle": "Registered executors without a task.",
    "held_by_shuffle": "Idle executors that are kept for their shuffle data.",
    "held_by_cache": "Idle executors that are kept for their cached blocks.",
    "decommissioning": "Executors that drain.",
}
"""What each of the gauges ``spark_allocation_executors_…`` says, a sum over the applications of a namespace."""


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


class RequestCounters:
    """What was asked of the API server and of drivers, what became of it, and how long it took."""

    def __init__(self, registry: CollectorRegistry, creation_results: Iterable[str]) -> None:
        """
        Args:
            creation_results: everything that can become of the creation of a pod.
        """
        self._creations = Counter(
            f"{PREFIX}executor_creations",
            "Creations of executor pods that the API server answered, by what it answered.",
            ["result"],
            registry=registry,
        )
        for result in creation_results:
            self._creations.labels(_word(result))
        self._polls = Counter(
            f"{PREFIX}driver_polls",
            f"Questions to drivers what their tasks need: {ANSWERED}, or the reason of the condition DriverReachable.",
            ["outcome"],
            registry=registry,
        )
        self._polls.labels(ANSWERED)
        self._backlogs = Counter(
            f"{PREFIX}streaming_backlog_questions",
            f"Questions to Prometheus for the backlog of streams: {ANSWERED}, or why none is known.",
            ["outcome"],
            registry=registry,
        )
        self._backlogs.labels(ANSWERED)
        self._poll_seconds = Histogram(
            f"{PREFIX}driver_poll_duration_seconds",
            "How long drivers took to say what their tasks need, answered or not.",
            buckets=_DRIVER_BUCKETS,
            registry=registry,
        )
        self._api = Counter(
            f"{PREFIX}api_requests",
            "Requests to the API server, watches apart; the code is none when no answer came.",
            ["method", "code"],
            registry=registry,
        )
        self._api.labels("GET", str(int(HTTPStatus.OK)))
        self._api_seconds = Histogram(
            f"{PREFIX}api_request_duration_seconds",
            "How long the API server took to answer, watches apart.",
            ["method"],
            buckets=_API_BUCKETS,
            registry=registry,
        )
        self._api_seconds.labels("GET")

    def creation(self, result: str) -> None:
        """A creation of an executor pod was answered."""
        self._creations.labels(_word(result)).inc()

    def poll(self, outcome: str, seconds: float) -> None:
        """A driver was asked."""
        self._polls.labels(outcome).inc()
        self._poll_seconds.observe(seconds)

    def backlog(self, outcome: str) -> None:
        """A Prometheus server was asked, or was not to be."""
        self._backlogs.labels(outcome).inc()

    def api_request(self, method: str, status: int | None, seconds: float) -> None:
        """The API server was asked; ``status`` None when it did not answer."""
        self._api.labels(method, "none" if status is None else str(status)).inc()
        self._api_seconds.labels(method).observe(seconds)


class Watch(Protocol):
    """What a pods watch tells of itself."""

    scope: str
    last_word_at: float
    lists: int
    events: int


@dataclass(frozen=True, slots=True)
class AllocationFigures:
    """What one SparkAllocation adds to the sums.

    Attributes:
        executors: by the keys of `EXECUTOR_COUNTS`.
        problems: condition and reason of what wants somebody's attention.
        streaming: what its streams add.
    """

    namespace: str
    executors: Mapping[str, int]
    problems: Sequence[tuple[str, str]] = ()
    streaming: StreamingFigures = NO_STREAMS


class ProcessMetrics(Collector):
    """How the operator itself fares, and what its SparkAllocations add up to."""

    def __init__(
        self,
        *,
        store: object,
        allocations: Callable[[], Iterable[AllocationFigures]],
        watches: Sequence[Watch],
        loop_lag: Callable[[], float],
        leads: Callable[[], bool],
        unallocated: Callable[[], int] = lambda: 0,
    ) -> None:
        self._store = store
        self._allocations = allocations
        self._watches = watches
        self._loop_lag = loop_lag
        self._leads = leads
        self._unallocated = unallocated

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        yield GaugeMetricFamily(
            f"{PREFIX}leader",
            "1 in the process that leads and allocates, 0 in one that stands by.",
            int(self._leads()),
        )
        yield GaugeMetricFamily(
            f"{PREFIX}executor_pods",
            "Executor pods that the watches report.",
            len(self._store),  # type: ignore[arg-type]
        )
        allocations = list(self._allocations())
        yield GaugeMetricFamily(
            f"{PREFIX}allocations", "SparkAllocations that are served.", len(allocations)
        )
        yield from _sums(allocations)
        yield _problems(allocations)
        yield from _streams(allocations)
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
            "Time since a watch last said anything; NaN before its first word.",
            labels=["scope"],
        )
        lists = CounterMetricFamily(
            f"{PREFIX}watch_lists", "Full lists that were made.", labels=["scope"]
        )
        events = CounterMetricFamily(
            f"{PREFIX}watch_events", "Pod events that were taken.", labels=["scope"]
        )
        for watch in self._watches:
            silence = time.monotonic() - watch.last_word_at if watch.last_word_at else math.nan
            age.add_metric([watch.scope], silence)
            lists.add_metric([watch.scope], watch.lists)
            events.add_metric([watch.scope], watch.events)
        yield age
        yield lists
        yield events


def _sums(allocations: Iterable[AllocationFigures]) -> Iterable[Metric]:
    sums: dict[str, dict[str, int]] = {}
    for figures in allocations:
        of_namespace = sums.setdefault(figures.namespace, dict.fromkeys(EXECUTOR_COUNTS, 0))
        for name in EXECUTOR_COUNTS:
            of_namespace[name] += figures.executors.get(name, 0)
    for name, said in EXECUTOR_COUNTS.items():
        family = GaugeMetricFamily(f"{PREFIX}executors_{name}", said, labels=["spark_namespace"])
        for namespace, counts in sums.items():
            family.add_metric([namespace], counts[name])
        yield family


def _problems(allocations: Iterable[AllocationFigures]) -> Metric:
    counts: dict[tuple[str, str, str], int] = {}
    for figures in allocations:
        for condition, reason in figures.problems:
            key = (figures.namespace, condition, reason)
            counts[key] = counts.get(key, 0) + 1
    family = GaugeMetricFamily(
        f"{PREFIX}allocation_problems",
        "SparkAllocations with a condition that wants somebody's attention, by condition and reason.",
        labels=["spark_namespace", "condition", "reason"],
    )
    for key, count in counts.items():
        family.add_metric(list(key), count)
    return family


def _streams(allocations: Iterable[AllocationFigures]) -> Iterable[Metric]:
    """Of namespaces that have streams."""
    of_namespaces: dict[str, list[StreamingFigures]] = {}
    for figures in allocations:
        if figures.streaming != NO_STREAMS:
            of_namespaces.setdefault(figures.namespace, []).append(figures.streaming)
    for name, said, value in (
        (
            "queries",
            "Streaming queries that decide how many executors there are.",
            lambda each: sum(one.queries for one in each),
        ),
        (
            "late_queries",
            "Of those the ones whose batches take longer than they may.",
            lambda each: sum(one.late for one in each),
        ),
        (
            "executors_asked",
            "Executors that streams ask for.",
            lambda each: sum(one.executors for one in each),
        ),
        (
            "backlog_seconds",
            "How long it would take to process what waits, of the query with the most; NaN when nothing is known of any.",
            _longest_backlog,
        ),
    ):
        family = GaugeMetricFamily(f"{PREFIX}streaming_{name}", said, labels=["spark_namespace"])
        for namespace, each in of_namespaces.items():
            family.add_metric([namespace], value(each))
        yield family


def _longest_backlog(each: Sequence[StreamingFigures]) -> float:
    known = [one.backlog_seconds for one in each if one.backlog_seconds is not None]
    return max(known, default=math.nan)


def _word(text: str) -> str:
    return text.replace(" ", "_")
