"""A picture of streams over time: input rate, backlog, batch duration against what it may be, and executors."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from spark_allocation.reports.stream_trace import QueryPoint, StreamPoint
from spark_allocation.reports.what_if_plot import PlotsMissing

_CURVES: tuple[tuple[str, Callable[[QueryPoint], float | None]], ...] = (
    ("rows a second\nthat come", lambda point: point.input_rate),
    ("backlog (s)", lambda point: point.backlog_s),
    ("batch duration (s)", lambda point: point.batch_s),
)
_DURATION = 2


def plot_streams(path: Path, title: str, points: Sequence[StreamPoint]) -> None:
    """Draw it.

    Args:
        path: its ending says what kind of file: .png, .svg, .pdf.
        points: at least one.

    Raises:
        PlotsMissing: without matplotlib.
        ValueError: for an ending that it does not write.
    """
    try:
        matplotlib: Any = import_module("matplotlib")
        figures: Any = import_module("matplotlib.figure")
    except ImportError:
        raise PlotsMissing("plot needs the package matplotlib (pip install matplotlib)") from None
    began = points[0].at
    times = [(point.at - began) / 60 for point in points]
    names = sorted({each.query for point in points for each in point.queries})
    with matplotlib.rc_context({"font.size": 8}):
        figure = figures.Figure(figsize=(11, 8), layout="constrained")
        axes = figure.subplots(len(_CURVES) + 1, 1, sharex=True)
        figure.suptitle(title)
        for place, (label, value) in enumerate(_CURVES):
            axis = axes[place]
            for name in names:
                (line,) = axis.step(
                    times, _values(points, name, value), where="post", label=name, linewidth=1.2
                )
                if place == _DURATION:
                    may_take = _values(points, name, lambda point: point.interval_s)
                    axis.plot(
                        times, may_take, linestyle="--", linewidth=0.8, color=line.get_color()
                    )
            _finish(axis, label)
        if names:
            axes[0].legend(loc="upper right")
        executors = axes[-1]
        executors.step(times, [each.executors for each in points], where="post", label="running")
        executors.step(
            times, [each.target for each in points], where="post", label="wanted", linestyle="--"
        )
        executors.legend(loc="upper right")
        _finish(executors, "executors")
        executors.set_xlabel("minutes")
        figure.savefig(path, dpi=120)


def _values(
    points: Sequence[StreamPoint], name: str, value: Callable[[QueryPoint], float | None]
) -> list[float]:
    """Of one query; a gap where nothing is known."""
    found = []
    for point in points:
        of_query = next((each for each in point.queries if each.query == name), None)
        known = None if of_query is None else value(of_query)
        found.append(float("nan") if known is None else known)
    return found


def _finish(axis: Any, label: str) -> None:
    axis.set_ylabel(label)
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
