"""A picture of streams over time: input rate, backlog, batch duration against what it may be, and executors."""

from collections.abc import Callable, Sequence
from pathlib import Path

from spark_allocation.reports.pictures import finish_axis, picture
from spark_allocation.traces.looks import QueryPoint, StreamPoint

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
    began = points[0].at
    times = [(point.at - began) / 60 for point in points]
    names = sorted({each.query for point in points for each in point.queries})
    with picture(path, title, inches=(11, 8), wanted_by="plot") as figure:
        axes = figure.subplots(len(_CURVES) + 1, 1, sharex=True)
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
            finish_axis(axis, label)
        if names:
            axes[0].legend(loc="upper right")
        executors = axes[-1]
        executors.step(times, [each.executors for each in points], where="post", label="running")
        executors.step(
            times, [each.target for each in points], where="post", label="wanted", linestyle="--"
        )
        executors.legend(loc="upper right")
        finish_axis(executors, "executors")
        executors.set_xlabel("minutes")


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
