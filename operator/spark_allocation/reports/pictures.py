"""Pictures of values over time: the library they need, which not everybody has, and how they look."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any


class PlotsMissing(RuntimeError):  # noqa: N818  (what the user lacks)
    """matplotlib is not installed; the message names the remedy."""


@contextmanager
def picture(
    path: Path, title: str, *, inches: tuple[float, float], wanted_by: str
) -> Iterator[Any]:
    """A figure of matplotlib, written to a file at the end.

    Args:
        path: its ending says what kind of file: .png, .svg, .pdf.
        inches: width and height.
        wanted_by: the command or option, for the message when matplotlib is missing.

    Raises:
        PlotsMissing: without matplotlib.
        ValueError: for an ending that it does not write.
    """
    matplotlib, figures = _library(wanted_by)
    with matplotlib.rc_context({"font.size": 8}):
        figure = figures.Figure(figsize=inches, layout="constrained")
        figure.suptitle(title)
        yield figure
        figure.savefig(path, dpi=120)


def check_picture(path: Path, *, wanted_by: str) -> None:
    """See that a picture can be written there, before anybody waits for what it is to show.

    Raises:
        PlotsMissing: without matplotlib.
        ValueError: for an ending that it does not write, or a folder that is not there.
    """
    _, figures = _library(wanted_by)
    ending = path.suffix.removeprefix(".").lower()
    if ending and ending not in figures.Figure().canvas.get_supported_filetypes():
        raise ValueError(f"{path}: the ending has to be .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")


def _library(wanted_by: str) -> tuple[Any, Any]:
    """matplotlib, and its figures, which need no screen."""
    try:
        return import_module("matplotlib"), import_module("matplotlib.figure")
    except ImportError:
        raise PlotsMissing(
            f"{wanted_by} needs the package matplotlib (pip install matplotlib)"
        ) from None


def finish_axis(axis: Any, label: str) -> None:
    """Name the values of an axis, from 0 on."""
    axis.set_ylabel(label)
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
