"""The pictures of docs/performance.md, made of what benchmarks wrote.

Each PNG holds a digest of the JSON that it was drawn of, by which a test tells that it is an old one: another version of
the font library draws other pixels.
"""

import hashlib
import json
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from tests.perf import aims, machine

SPARK, EXPONENTIAL, IMMEDIATE = "Spark's own", "operator, exponential", "operator, immediate"
WAYS = {
    SPARK: ("Spark's own allocation", "tab:orange", "s"),
    EXPONENTIAL: ("operator", "tab:blue", "o"),
    IMMEDIATE: ("operator, rampUp: Immediate", "tab:green", "D"),
}
RATIO_AIMS = {
    (EXPONENTIAL, 1): aims.FIRST_POD_RATIO,
    (IMMEDIATE, 1): aims.FIRST_POD_RATIO,
    (EXPONENTIAL, 100): aims.HUNDRED_PODS_RATIO,
    (IMMEDIATE, 100): aims.HUNDRED_PODS_IMMEDIATE_RATIO,
}
"""By who allocates, and how many pods."""
DIGEST = "Source"
"""Name of the PNG's text that holds the digest."""
_AIM = "tab:red"
_PLAIN = FuncFormatter(lambda value, _: f"{value:,.10g}")

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes:
        file: in docs/images.
        of: the JSON in docs/performance.
        says: to who cannot see it.
        inches: width and height; a page shows it about nine inches wide.
    """

    file: str
    of: str
    says: str
    inches: tuple[float, float]
    draw: Callable[[Figure, Document], None]

    def write(self, found: Document, folder: Path) -> None:
        """Draw it."""
        with mpl.rc_context({"font.size": 9}):
            figure = Figure(figsize=self.inches, layout="constrained")
            figure.get_layout_engine().set(w_pad=0.08)
            self.draw(figure, found)
            metadata = {DIGEST: digest(found), "Software": None}
            figure.savefig(folder / self.file, dpi=150, metadata=metadata)


def digest(found: Document) -> str:
    """Of what a picture is drawn of."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def waits(found: Document, way: str) -> dict[int, list[float]]:
    """Seconds from the job's submission to so many pods, in each round that came so far."""
    seconds: dict[int, list[float]] = {}
    for each in found["ways"][way]["secondsToPods"]:
        for count, wait in each.items():
            seconds.setdefault(int(count), []).append(wait)
    return dict(sorted(seconds.items()))


# -- beside Spark's own allocation ------------------------------------------------------------------------------------


def _waves(figure: Figure, found: Document) -> None:
    axes = figure.subplots()
    spark = {count: statistics.median(each) for count, each in waits(found, SPARK).items()}
    for way, (label, colour, marker) in WAYS.items():
        rounds = waits(found, way)
        counts = list(rounds)
        medians = [statistics.median(each) for each in rounds.values()]
        axes.plot(counts, medians, color=colour, marker=marker, markersize=5, label=label)
        least, most = zip(*((min(each), max(each)) for each in rounds.values()), strict=True)
        axes.vlines(counts, least, most, color=colour, linewidth=4, alpha=0.35)
        axes.annotate(
            f"{medians[-1]:.1f} s",
            (counts[-1], medians[-1]),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=colour,
        )
        for (of, count), aim in RATIO_AIMS.items():
            if of == way and count in spark:
                _aim_mark(axes, count, aim.bound * spark[count], colour)
    axes.plot([], [], color="grey", linewidth=4, alpha=0.35, label="all rounds")
    axes.plot([], [], **_AIM_MARK, color="grey", label="aim: not above")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(list(spark))
    axes.set_yticks([1, 2, 5, 10, 20, 50, 100])
    axes.set_xlim(0.85, max(spark) * 2)
    axes.set_ylim(0.8, 1.4 * max(spark.values()))
    _plain(axes)
    axes.set_xlabel("executor pods")
    axes.set_ylabel("seconds since the job began (median)")
    axes.legend(loc="upper left")


_AIM_MARK: dict[str, Any] = {
    "linestyle": "none",
    "marker": "_",
    "markersize": 15,
    "markeredgewidth": 2,
}


def _aim_mark(axes: Axes, at: float, bound: float, colour: str) -> None:
    """A short line over which a figure should not be."""
    axes.plot([at], [bound], **_AIM_MARK, color=colour, zorder=3)


def _plain(axes: Axes) -> None:
    """Numbers as they are, not as powers of ten, and a grid."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_PLAIN)
        axis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)


# -- many applications ------------------------------------------------------------------------------------------------

_COSTS = (
    ("cpu_cores", "CPU, cores", aims.CPU_CORES),
    ("rss_mib", "memory, MiB", aims.MEMORY_MIB),
    ("complete_cpu_seconds", "CPU until complete, s", None),
)


def _growth(figure: Figure, found: Document) -> None:
    runs = found["runs"]
    sizes = [run["applications"] for run in runs]
    for axes, (name, label, aim) in zip(figure.subplots(1, len(_COSTS)), _COSTS, strict=True):
        figures = [run[name] for run in runs]
        factor, exponent = machine.power_law(sizes, figures)
        ends = [min(sizes), max(sizes)]
        axes.plot(sizes, figures, "o", color="tab:blue", markersize=5, label="measured")
        axes.plot(
            ends,
            [factor * size**exponent for size in ends],
            "--",
            color="tab:blue",
            linewidth=1,
            label=f"exponent {exponent:.2f}",
        )
        if aim is not None:
            _aim_mark(axes, aims.APPLICATIONS, aim.bound, _AIM)
            axes.plot([], [], **_AIM_MARK, color=_AIM, label="aim: not above")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(sizes)
        least, most = min(figures), max(*figures, aim.bound if aim is not None else 0)
        powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
        digits = (1, 2, 5) if most < 40 * least else (1,)
        axes.set_yticks([digit * 10.0**power for power in powers for digit in digits])
        axes.set_ylim(least / 1.5, most * 2.2)
        _plain(axes)
        axes.set_title(label, fontsize="medium")
        axes.set_xlabel("applications")
        axes.legend(loc="upper left", fontsize="small")


_REACTIONS = (
    ("reaction_active", "at work", "tab:blue", aims.REACTION_ACTIVE_SECONDS),
    ("reaction_resting", "at rest", "tab:purple", aims.REACTION_RESTING_SECONDS),
)


def _reactions(figure: Figure, found: Document) -> None:
    axes = figure.subplots()
    runs = [run for run in found["runs"] if any(run[name]["count"] for name, *_ in _REACTIONS)]
    ticks, names = [], []
    for number, run in enumerate(runs):
        for place, (name, label, colour, aim) in enumerate(_REACTIONS):
            seen = run[name]
            if not seen["count"]:
                continue
            at = number + (place - 0.5) * 0.4
            ticks.append(at)
            names.append(f"{label}\n{seen['count']} jobs")
            axes.bar(at, seen["p50"], width=0.3, color=colour, alpha=0.75)
            axes.vlines(at, seen["p50"], seen["worst"], color=colour, linewidth=1.5)
            axes.plot(at, seen["p99"], "v", color=colour, markersize=7)
            axes.plot(at, seen["worst"], "_", color=colour, markersize=12)
            axes.hlines(aim.bound, at - 0.18, at + 0.18, color=_AIM, linewidth=2)
            axes.annotate(
                f"{seen['p99']:.2f}",
                (at, max(seen["worst"], aim.bound if seen["worst"] > aim.bound - 0.5 else 0)),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
            )
        axes.text(
            number,
            -0.17,
            f"{run['applications']:,} applications",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
        )
    axes.set_xticks(ticks, names)
    axes.set_xlim(-0.6, len(runs) - 0.4)
    axes.set_ylabel("seconds to the first new executor")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3, axis="y")
    axes.bar([0], [0], color="grey", alpha=0.75, label="half within")
    axes.plot([], [], "v", color="grey", label="99 % within")
    axes.plot([], [], "_", color="grey", markersize=12, label="all within")
    axes.plot([], [], color=_AIM, linewidth=2, label="aim for 99 %")
    axes.legend(loc="upper left", ncols=4)
    axes.set_ylim(top=1.2 * max(axes.get_ylim()[1], 1))


WAVES = Picture(
    "beside-spark.png",
    "beside-spark",
    "Seconds from the beginning of a job to so many executor pods, with Spark's own allocation and with the operator",
    (7.5, 4.2),
    _waves,
)
GROWTH = Picture(
    "many-growth.png",
    "many",
    "CPU, memory and CPU until complete against the number of applications, with the exponents of their growth",
    (9, 3.2),
    _growth,
)
REACTIONS = Picture(
    "many-reactions.png",
    "many",
    "Seconds from a job to its first new executor, for applications at work and at rest, beside the aims",
    (7.5, 3.8),
    _reactions,
)
PICTURES = (WAVES, GROWTH, REACTIONS)
