"""Courses of a stream as a picture: input, backlog, batch duration and executors over time, one column a way."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from tests.streams.course import Course


def write_png(courses: Sequence[Course], file: Path) -> None:
    """Draw them side by side, with the same scales."""
    figure = Figure(figsize=(5.2 * len(courses), 8.5), layout="constrained")
    rows = figure.subplots(4, len(courses), sharex=True, sharey="row", squeeze=False)
    for column, course in enumerate(courses):
        inputs, waiting, batches, executors = (row[column] for row in rows)
        inputs.set_title(
            f"{course.way}\n{course.executor_seconds:.0f} executor-seconds, "
            f"{course.late_share:.0%} of batches late"
        )
        ends = [0.0]
        for seconds, _ in course.phases:
            ends.append(ends[-1] + seconds)
        rates = [rate for _, rate in course.phases]
        inputs.stairs(rates, ends, color="tab:blue", linewidth=2)
        waiting.plot(*zip(*course.backlog(), strict=True), color="tab:orange")
        batches.vlines(
            [each.began + each.seconds for each in course.batches],
            0,
            [each.seconds for each in course.batches],
            color=["tab:red" if course.is_late(each) else "tab:green" for each in course.batches],
            linewidth=3,
        )
        batches.axhline(course.interval, color="grey", linestyle="--", linewidth=1)
        executors.step(*zip(*course.executors, strict=True), where="post", color="tab:purple")
        executors.set_xlabel("seconds")
        for axes in (inputs, waiting, batches, executors):
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
    for row, name in zip(
        rows,
        ("input, rows/s", "rows that wait", "batch, s (at its end)", "executors"),
        strict=True,
    ):
        row[0].set_ylabel(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
