"""Metrics: names and units as Prometheus wants them, few series, and alerts and dashboard that speak of what there is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from tests.documents import metrics_reference

from spark_allocation.kube.pods_api import CreateResult
from spark_allocation.reports.metrics import AllocationFigures, ProcessMetrics, RequestCounters

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/samples/alerts.yaml"
DASHBOARD = ROOT / "charts/spark-allocation-operator/files/dashboards/spark-allocation.json"
METRICS = metrics_reference.metrics()
SERIES = metrics_reference.series(METRICS)
UNBOUNDED = {"pod", "executor", "driver", "application", "app_id", "name", "allocation", "namespace"}  # fmt: skip
"""Labels of which tenants make as many values as they like; and Prometheus's own."""


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_has_a_name_with_its_unit_and_says_what_it_is(metric: Metric) -> None:
    assert re.fullmatch(r"spark_allocation_[a-z][a-z_]*[a-z]", metric.name)
    assert metric.documentation.endswith(".")
    assert not re.search(r"_(milliseconds|ms|kilobytes|percent|count|sum|bucket|total)$", metric.name)  # fmt: skip
    if metric.type == "histogram":
        assert metric.name.endswith("_seconds")
    labels = {label for sample in metric.samples for label in sample.labels}
    assert not labels & UNBOUNDED, "series must not grow with jobs"


def test_the_page_is_up_to_date() -> None:
    assert metrics_reference.PAGE.read_text() == metrics_reference.page(), "make chart"


def test_executors_are_summed_by_namespace_and_problems_counted_by_reason() -> None:
    figures = [
        AllocationFigures("a", {"running": 3, "target": 5}, [("Stalled", "QuotaExceeded")]),
        AllocationFigures("a", {"running": 1}, [("Stalled", "QuotaExceeded")]),
        AllocationFigures("b", {"running": 7}),
    ]
    text = exposed(figures)
    assert 'spark_allocation_executors_running{spark_namespace="a"} 4.0' in text
    assert 'spark_allocation_executors_running{spark_namespace="b"} 7.0' in text
    assert 'spark_allocation_executors_target{spark_namespace="a"} 5.0' in text
    problem = 'condition="Stalled",reason="QuotaExceeded",spark_namespace="a"'
    assert f"spark_allocation_allocation_problems{{{problem}}} 2.0" in text
    assert "spark_allocation_allocations 3.0" in text
    assert "spark_allocation_leader 1.0" in text


def test_without_allocations_there_is_still_their_number() -> None:
    text = exposed([])
    assert "spark_allocation_allocations 0.0" in text, "absent() is for an operator that is away"


def exposed(figures: list[AllocationFigures]) -> str:
    registry = CollectorRegistry()
    registry.register(
        ProcessMetrics(
            store=(),
            allocations=lambda: figures,
            watches=(),
            loop_lag=lambda: 0.0,
            leads=lambda: True,
        )
    )
    return generate_latest(registry).decode()


def test_requests_are_counted_by_what_became_of_them() -> None:
    registry = CollectorRegistry()
    counters = RequestCounters(registry, CreateResult)
    counters.creation(CreateResult.QUOTA_EXCEEDED)
    counters.poll("ConnectionTimedOut", 4.0)
    counters.api_request("PATCH", 409, 0.02)
    counters.api_request("PATCH", None, 10.0)
    text = generate_latest(registry).decode()
    assert 'spark_allocation_executor_creations_total{result="quota_exceeded"} 1.0' in text
    assert 'spark_allocation_executor_creations_total{result="created"} 0.0' in text
    assert 'spark_allocation_driver_polls_total{outcome="ConnectionTimedOut"} 1.0' in text
    assert "spark_allocation_driver_poll_duration_seconds_count 1.0" in text
    assert 'spark_allocation_api_requests_total{code="409",method="PATCH"} 1.0' in text
    assert 'spark_allocation_api_requests_total{code="none",method="PATCH"} 1.0' in text


# -- what reads them ----------------------------------------------------------------------------------------------------


def alert_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in found:
        yield panel
        yield from panels(panel.get("panels", []))


def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text()))


def expressions() -> list[str]:
    of_panels = [
        target["expr"]
        for panel in panels(dashboard()["panels"])
        for target in panel.get("targets", [])
    ]
    of_variables = [
        variable["query"]
        for variable in dashboard()["templating"]["list"]
        if variable["type"] == "query"
    ]
    return [*(rule["expr"] for rule in alert_rules()), *of_panels, *of_variables]


def test_alerts_and_dashboard_ask_for_something() -> None:
    assert len(alert_rules()) >= 6
    assert len(expressions()) >= 20


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_uses_metrics_and_labels_that_there_are(expression: str) -> None:
    names = set(re.findall(r"\b(?:spark_allocation|process)_\w+", expression))
    names -= set(re.findall(r"job=~?\"[^\"]*\"", expression))
    assert names
    ours = {name for name in names if name.startswith("spark_allocation_")}
    assert ours <= SERIES.keys()
    for name, selector in re.findall(r"(spark_allocation_\w+)\{([^}]*)\}", expression):
        used = {part.split("=")[0].rstrip("!") for part in re.findall(r"\w+!?=~?\"", selector)}
        assert used <= SERIES[name] | {"le", "namespace"}, f"{name} has not all of {used}"
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        used = {label.strip() for label in grouped.split(",")}
        known = frozenset().union(*(SERIES[name] for name in ours)) | {"le", "pod", "namespace"}
        assert used <= known, f"nothing here has {used - known}"
    counters = re.findall(r"(?<!rate\()(?<!increase\()\b(spark_allocation_\w+_total)\b", expression)
    assert not counters, "a counter is read by its rate"
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_an_alert_waits_and_says_what_it_means(rule: dict[str, Any]) -> None:
    assert rule["for"]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"].endswith(".")
    assert len(rule["annotations"]["summary"]) > 40


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
