"""The live table: what the SparkAllocation says, beside what the pods and the driver say."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from tests.demo.observation import Observation, PodCounts, executor_id

PLAIN_EVERY_SECONDS = 10.0
DECISIONS_SHOWN = 5

COLUMNS = {
    "desired": "desired",
    "target": "target",
    "running": "running",
    "registered": "known",
    "pending": "pending",
    "idle": "idle",
    "heldByShuffle": "shuffle",
    "heldByCache": "cache",
    "decommissioning": "draining",
}
"""Field of ``status.profiles`` -> column."""

STATE_STYLES = {
    "Allocated": "green",
    "Idle": "green",
    "Finished": "green",
    "Stalled": "red",
    "Conflicted": "red",
}


class Display(Protocol):
    """Where observations are shown."""

    def show(self, observation: Observation) -> None: ...


@contextmanager
def display(console: Console) -> Iterator[Display]:
    """A table that stays in place on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        yield _PlainLines(console)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield _LiveTable(live)


def rendered(observation: Observation) -> RenderableType:
    return Group(
        headline(observation), _profiles(observation), _pods(observation), *_decisions(observation)
    )


class _LiveTable:
    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, observation: Observation) -> None:
        self._live.update(rendered(observation), refresh=True)


class _PlainLines:
    """One line when a number of executors or the state changes, and every ten seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: object = None
        self._said_at = -PLAIN_EVERY_SECONDS

    def show(self, observation: Observation) -> None:
        news = (
            observation.driver_phase,
            observation.status.get("state"),
            observation.targets,
            dict(observation.executors),
        )
        silent_for = observation.seconds - self._said_at
        if news == self._said and silent_for < PLAIN_EVERY_SECONDS:
            return
        self._said, self._said_at = news, observation.seconds
        self._console.print(
            f"{observation.seconds:4.0f} s  {plain_line(observation)}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def plain_line(observation: Observation) -> str:
    """The whole observation in one line."""
    state = observation.status.get("state") or "no SparkAllocation yet"
    parts = [f"driver {observation.driver_phase or 'absent'}", state]
    targets = observation.targets
    for profile in sorted({*targets, *observation.executors}):
        pods = observation.executors.get(profile, PodCounts())
        counted = f"profile {profile}: target {targets.get(profile, '?')}"
        counted += f", {pods.pending} pending, {pods.running} running"
        counted += f", {pods.leaving} draining" if pods.leaving else ""
        parts.append(counted)
    if observation.waiting_tasks is not None:
        parts.append(f"{observation.waiting_tasks} tasks waiting")
    return " · ".join(parts)


def headline(observation: Observation) -> Text:
    status = observation.status
    state = status.get("state") or "no SparkAllocation yet"
    text = Text()
    text.append(f"{observation.seconds:4.0f} s  ", style="dim")
    text.append(state, style=STATE_STYLES.get(state, "bold cyan"))
    text.append(f"  {status.get('message') or ''}\n")
    text.append(
        f"        driver {observation.driver_phase or 'absent'}"
        f" · application {status.get('applicationId') or '–'}"
        f" · Spark {status.get('sparkVersion') or '–'}"
        f" · tasks waiting {_or_dash(observation.waiting_tasks)}",
        style="dim",
    )
    return text


def _profiles(observation: Observation) -> Table:
    table = Table("profile", box=None, pad_edge=False, header_style="bold", expand=False)
    for column in COLUMNS.values():
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("why", style="dim", no_wrap=True, overflow="ellipsis")
    for profile in observation.status.get("profiles", []):
        table.add_row(
            str(profile["id"]),
            *(str(profile.get(field, 0)) for field in COLUMNS),
            profile.get("reason", ""),
        )
    return table


def _pods(observation: Observation) -> Text:
    text = Text("executor pods ", style="bold")
    pods = sorted(observation.executor_pods, key=executor_id)
    if not pods:
        text.append("none", style="dim")
    for pod in pods:
        labels = pod["metadata"]["labels"]
        phase = pod.get("status", {}).get("phase", "Pending")
        word = "Draining" if "deletionTimestamp" in pod["metadata"] else phase
        style = {"Running": "green", "Pending": "yellow", "Draining": "magenta"}.get(word, "dim")
        profile = labels.get("spark-exec-resourceprofile-id", "?")
        text.append(f" {labels['spark-exec-id']}", style="bold")
        text.append(f"/{profile} {word}", style=style)
    return text


def _decisions(observation: Observation) -> list[Text]:
    lines = [Text("decisions", style="bold")]
    for decision in observation.status.get("decisions", [])[:DECISIONS_SHOWN]:
        line = Text(f"  {decision['time'][11:19]} ", style="dim")
        line.append(f"profile {decision['profile']} → {decision['target']}", style="cyan")
        line.append(f"  {decision['reason']}  {decision.get('message', '')}")
        line.no_wrap, line.overflow = True, "ellipsis"
        lines.append(line)
    lines += [Text("  –", style="dim")] * (DECISIONS_SHOWN + 1 - len(lines))
    return lines


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)
