"""Writes docs/metrics.md: every metric with what its help text says.

python -m tests.documents.metrics_reference
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from spark_allocation.kube.pods_api import CreateResult
from spark_allocation.reports.budget_metrics import BudgetFigures, BudgetMetrics
from spark_allocation.reports.metrics import (
    PREFIX,
    AllocationFigures,
    ExecutorEndCounters,
    ProcessMetrics,
    RequestCounters,
)
from spark_allocation.reports.streams import StreamingFigures
from spark_allocation.reports.trace_metrics import TraceMetrics
from spark_allocation.traces.recorder import TraceCounts

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
_HEAD = """\
# Metrics

The operator serves them on port 8080 at `/metrics`, without a login; the chart's NetworkPolicy says who may read them
(`networkPolicy.metricsPeers`). The chart also makes a PodMonitor or ServiceMonitor, alerts and a Grafana dashboard
(`metrics.…` in its [values](../charts/spark-allocation-operator/README.md)); without Helm, the alerts are
[deploy/samples/alerts.yaml](../deploy/samples/alerts.yaml) and the dashboard is
[spark-allocation.json](../charts/spark-allocation-operator/files/dashboards/spark-allocation.json).

There is no label for a pod or an application, so the number of time series does not grow with them: it grows with
namespaces, and with the reasons of what is wrong in them. One job's figures are in the status of its SparkAllocation.

Every pod of the operator serves metrics. One that stands by counts no SparkAllocations: sum over the pods, or take the
largest. Beside those below there are the usual `process_…` metrics (CPU, memory, open files).

This page is generated from the code (`make chart`).

| Metric | Type | Labels | What it says |
|---|---|---|---|
"""


@dataclass(frozen=True)
class _Watch:
    scope: str = "all"
    last_word_at: float = 0.0
    lists: int = 1
    events: int = 1


def registry() -> CollectorRegistry:
    """Every metric of the operator, each with at least one sample."""
    found = CollectorRegistry()
    ExecutorEndCounters(found)
    requests = RequestCounters(found, CreateResult)
    requests.poll("ConnectionRefused", 0.1)
    figures = AllocationFigures(
        "jobs", {"running": 1}, [("Stalled", "QuotaExceeded")], StreamingFigures(queries=1)
    )
    found.register(
        ProcessMetrics(
            store=(),
            allocations=lambda: [figures],
            watches=[_Watch()],
            loop_lag=lambda: 0.0,
            leads=lambda: True,
        )
    )
    amounts = dict.fromkeys(("executors", "cores", "memory_bytes", "pending_pods"), 1)
    budget = BudgetFigures("prod", "team", amounts, amounts, 1, 1, 0, below_minima=False)
    found.register(
        BudgetMetrics(figures=lambda: [budget], divisions=lambda: 1, seconds=lambda: 0.0)
    )
    found.register(TraceMetrics(TraceCounts))
    return found


def metrics() -> list[Metric]:
    """By name."""
    return sorted(registry().collect(), key=lambda metric: metric.name)


def shown_name(metric: Metric) -> str:
    """As it is written in a query."""
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def series(found: Iterable[Metric]) -> dict[str, frozenset[str]]:
    """Every name that a query can use, with its labels."""
    names: dict[str, frozenset[str]] = {}
    for metric in found:
        for sample in metric.samples:
            if sample.name.startswith(PREFIX) and not sample.name.endswith("_created"):
                names[sample.name] = names.get(sample.name, frozenset()) | sample.labels.keys()
    return names


def page() -> str:
    """The page."""
    rows = []
    for metric in metrics():
        labels = sorted({label for sample in metric.samples for label in sample.labels} - {"le"})
        said = metric.documentation.replace("|", "\\|")
        rows.append(
            f"| `{shown_name(metric)}` | {metric.type} | {', '.join(f'`{each}`' for each in labels)} | {said} |"
        )
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
