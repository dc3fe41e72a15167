"""What somebody on call wants to see first when an allocation went wrong."""

from rich.console import Console
from rich.rule import Rule
from tests.cluster import Cluster, ClusterError
from tests.demo.installation import Installation

LOG_LINES = 40


def print_diagnosis(
    console: Console, installation: Installation, *, namespace: str, driver_pod: str
) -> None:
    """The allocation as described, the pods, the newest Events, and the ends of both logs."""
    cluster = installation.cluster
    here = f"--namespace={namespace}"
    sections = {
        "SparkAllocations": ("describe", "sparkallocations", here),
        "Pods": ("get", "pods", here, "--output=wide", "--show-labels"),
        "Events": ("get", "events", here, "--sort-by=.lastTimestamp"),
        f"Driver log, last {LOG_LINES} lines": ("logs", here, driver_pod, f"--tail={LOG_LINES}"),
    }
    for title, arguments in sections.items():
        _print(console, title, _said(cluster, arguments))
    try:
        log = installation.operator_log(LOG_LINES)
    except ClusterError as error:
        log = str(error)
    _print(console, f"Operator log, last {LOG_LINES} lines", log)


def _said(cluster: Cluster, arguments: tuple[str, ...]) -> str:
    try:
        return cluster.kubectl(*arguments)
    except ClusterError as error:
        return str(error)


def _print(console: Console, title: str, text: str) -> None:
    console.print(Rule(title, style="dim", align="left"))
    console.print(text.rstrip() or "(nothing)", markup=False, highlight=False, soft_wrap=True)
