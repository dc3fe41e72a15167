"""The timeline as a picture: columns of blocks in a terminal, and a PNG."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.text import Text
from tests.demo.observation import Observation
from tests.demo.timeline import Timeline

BLOCKS = " ▁▂▃▄▅▆▇█"
ROWS = 3

ROWS_OF_CHART: tuple[tuple[str, str, Callable[[Observation], int | None]], ...] = (
    ("target", "cyan", lambda seen: seen.target),
    ("running", "green", lambda seen: seen.all_executors.running),
    ("pending", "yellow", lambda seen: seen.all_executors.pending),
    ("draining", "magenta", lambda seen: seen.all_executors.leaving),
    ("tasks waiting", "white", lambda seen: seen.waiting_tasks),
)
"""Name, colour and value of each series."""


def terminal_chart(timeline: Timeline, *, width: int) -> RenderableType:
    """One band of blocks a series, a common time axis below; executors share one scale."""
    seen = timeline.observations
    label_width = max(len(name) for name, _, _ in ROWS_OF_CHART) + 6
    columns = max(20, min(width - label_width, len(seen)))
    top_executors = max(
        max((value(item) or 0) for item in seen) for _, _, value in ROWS_OF_CHART[:-1]
    )
    lines: list[Text] = []
    for name, colour, value in ROWS_OF_CHART:
        values = compressed([value(item) or 0 for item in seen], columns)
        top = max(values) if name == "tasks waiting" else top_executors
        for row in reversed(range(ROWS)):
            label = f"{name:>{label_width - 6}}" if row == ROWS // 2 else " " * (label_width - 6)
            scale = f"{top:>4} " if row == ROWS - 1 else f"{0:>4} " if row == 0 else "     "
            line = Text(label + scale, style="dim")
            line.append("".join(_block(number, top, row) for number in values), style=colour)
            lines.append(line)
    lines.append(Text(" " * label_width + _axis(seen, columns), style="dim"))
    return Group(*lines)


def compressed(values: Sequence[int], columns: int) -> list[int]:
    """The values in fewer columns, each showing the highest value that falls into it."""
    result = []
    for column in range(columns):
        first = column * len(values) // columns
        last = max(first + 1, (column + 1) * len(values) // columns)
        result.append(max(values[first:last], default=0))
    return result


def write_png(timeline: Timeline, file: Path, *, title: str) -> None:
    """Targets and pods of every profile above, waiting tasks below, against seconds."""
    seen = timeline.observations
    seconds = [item.seconds for item in seen]
    figure = Figure(figsize=(11, 6.2), dpi=130, layout="constrained")
    executors, backlog = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])

    alive = [item.all_executors for item in seen]
    running = [counts.running for counts in alive]
    pending = [counts.pending for counts in alive]
    leaving = [counts.leaving for counts in alive]
    executors.stackplot(
        seconds,
        running,
        leaving,
        pending,
        labels=["running", "draining", "pending"],
        colors=["#7fbf7b", "#c2a5cf", "#fee08b"],
        step="post",
    )
    for profile, style in zip(timeline.profiles(), ("-", "--", ":", "-."), strict=False):
        executors.step(
            seconds,
            [item.targets.get(profile, 0) for item in seen],
            where="post",
            linestyle=style,
            color="#1b3a5c",
            linewidth=1.8,
            label=f"target, profile {profile}",
        )
    executors.set_ylabel("executors")
    executors.set_ylim(
        0, max(1, *(counts.alive for counts in alive), *(s.target for s in seen)) + 0.6
    )
    executors.yaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    executors.set_title(title, loc="left", fontsize=11)

    backlog.fill_between(
        seconds,
        [item.waiting_tasks or 0 for item in seen],
        step="post",
        color="#d6604d",
        alpha=0.75,
    )
    backlog.set_ylim(bottom=0)
    backlog.set_ylabel("tasks waiting")
    backlog.set_xlabel("seconds")
    for axes in (executors, backlog):
        axes.grid(alpha=0.25)
        axes.margins(x=0)
        axes.spines[["top", "right"]].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _block(number: int, top: int, row: int) -> str:
    eighths = 0 if top == 0 else round(number / top * ROWS * 8)
    if number > 0:
        eighths = max(1, eighths)
    return BLOCKS[max(0, min(8, eighths - row * 8))]


def _axis(seen: Sequence[Observation], columns: int) -> str:
    axis = ""
    while len(axis) < columns - 6:
        moment = seen[min(len(seen) - 1, len(axis) * len(seen) // columns)]
        axis += f"{moment.seconds:<12.0f}"
    return axis[: columns - 6].rstrip() + " s"
