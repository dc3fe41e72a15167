"""Metrics of traces, collected when they are asked for; all zero where none are kept."""

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from spark_allocation.reports.metrics import PREFIX
from spark_allocation.traces.recorder import TraceCounts


class TraceMetrics(Collector):
    """What became of what was to be kept."""

    def __init__(self, counts: Callable[[], TraceCounts]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        counts = self._counts()
        yield CounterMetricFamily(
            f"{PREFIX}trace_lines", "Lines of traces that were written.", counts.lines
        )
        yield CounterMetricFamily(
            f"{PREFIX}trace_written_bytes",
            "Bytes of traces that were written, packed.",
            counts.written_bytes,
        )
        dropped = CounterMetricFamily(
            f"{PREFIX}trace_dropped",
            "What is missing in traces, by why: QueueFull when too much waited to be written, NotWritten when it could not be.",
            labels=["reason"],
        )
        dropped.add_metric(["QueueFull"], counts.not_taken)
        dropped.add_metric(["NotWritten"], counts.not_written)
        yield dropped
        yield CounterMetricFamily(
            f"{PREFIX}trace_parts_removed",
            "Files of traces that had to make room for newer ones.",
            counts.parts_removed,
        )
        yield GaugeMetricFamily(
            f"{PREFIX}trace_bytes", "Bytes of all traces that are kept.", counts.kept_bytes
        )
