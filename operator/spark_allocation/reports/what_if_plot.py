"""A picture of simulated runs: executors, running tasks and waiting ones over time, and a lane for each executor."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spark_allocation.core.simulation.outcome import Outcome
from spark_allocation.reports.pictures import finish_axis, picture

MOST_LANES = 200
_SECOND = 1_000
_CURVES = ((1, "executors"), (2, "running tasks"), (3, "waiting tasks"))


def plot(path: Path, title: str, runs: Sequence[tuple[str, Outcome]]) -> None:
    """Draw runs of one application over each other, and the executors of each below.

    Args:
        path: its ending says what kind of file: .png, .svg, .pdf.

    Raises:
        PlotsMissing: without matplotlib.
        ValueError: for an ending that it does not write.
    """
    lanes = [(name, outcome) for name, outcome in runs if outcome.lanes]
    heights = [2.0] * len(_CURVES) + [
        max(0.8, min(len(outcome.lanes), MOST_LANES) * 0.08) for _, outcome in lanes
    ]
    with picture(path, title, inches=(11, 1.0 + sum(heights)), wanted_by="--plot") as figure:
        axes = figure.subplots(
            len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
        )[:, 0]
        for axis, (column, label) in zip(axes, _CURVES, strict=False):
            for name, outcome in runs:
                points = list(outcome.timeline)
                times = [point[0] / _SECOND for point in points] + [outcome.makespan_ms / _SECOND]
                heights_of = [point[column] for point in points] + [0]
                axis.step(times, heights_of, where="post", label=name, linewidth=1.2)
            finish_axis(axis, label)
        axes[0].legend(loc="upper right")
        for axis, (name, outcome) in zip(axes[len(_CURVES) :], lanes, strict=True):
            _draw_lanes(axis, name, outcome)
        axes[-1].set_xlabel("seconds since the application's start")


def _draw_lanes(axis: Any, name: str, outcome: Outcome) -> None:
    for place, lane in enumerate(outcome.lanes[:MOST_LANES]):
        whole = [(lane.begin_ms / _SECOND, (lane.end_ms - lane.begin_ms) / _SECOND)]
        axis.broken_barh(whole, (place - 0.4, 0.8), facecolors="#c8d3de")
        busy = [(begin / _SECOND, (end - begin) / _SECOND) for begin, end in lane.busy]
        if busy:
            axis.broken_barh(busy, (place - 0.4, 0.8), facecolors="#2c6fad")
    shown = min(len(outcome.lanes), MOST_LANES)
    axis.set_ylim(-1, shown)
    axis.invert_yaxis()
    left_out = len(outcome.lanes) - shown
    axis.set_ylabel(name + (f"\n(+{left_out} more)" if left_out else ""))
