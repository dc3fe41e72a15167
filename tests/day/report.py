"""The day's figures: as JSON, as a table for people, as a picture."""

import json
import os
import platform
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.day.memory import Slope, slope
from tests.day.run import DayResult
from tests.day.samples import Sample

MOST_MIB_PER_HOUR = 8.0
"""Two hundred applications come and go in the hour: 41 KiB for each, about what one allocation takes while it lives."""
WARM_UP_SHARE = 0.2
SHORTEST_JUDGED_MINUTES = 18.0
"""A shorter day has too few samples after its warm-up to say anything of a slope."""

Document = dict[str, Any]


class Memory:
    """The memory of the operator's process that lived longest, after its warm-up: a fifth of the day, and the day's crowd.

    Attributes:
        alone: slope over time.
        like_for_like: slope over time at the same number of allocations and executors.
    """

    def __init__(self, result: DayResult) -> None:
        by_process: dict[int, list[Sample]] = {}
        for sample in result.samples:
            by_process.setdefault(sample.pid, []).append(sample)
        longest = max(by_process.values(), key=len, default=[])
        warm = longest[0].at + WARM_UP_SHARE * result.day.seconds if longest else 0.0
        for count in ("allocations", "executors"):
            # CPython gives little back: memory follows the most that there was at once, and is warm once that was there
            most = max((getattr(each, count) for each in longest), default=0)
            first = next((each.at for each in longest if getattr(each, count) == most), 0.0)
            warm = max(warm, first)
        self.samples = [each for each in longest if each.at >= warm]
        at = [each.at for each in self.samples]
        rss = [each.rss_mib for each in self.samples]
        allocations = [float(each.allocations) for each in self.samples]
        executors = [float(each.executors) for each in self.samples]
        self.processes = len(by_process)
        self.alone: Slope | None = slope(at, rss)
        self.like_for_like: Slope | None = slope(at, rss, allocations, executors)
        self.is_judged = result.day.minutes >= SHORTEST_JUDGED_MINUTES

    def problem(self) -> str:
        """Why the memory is not flat; "" when it is, or when the day was too short to tell."""
        if not self.is_judged:
            return ""
        if self.like_for_like is None:
            return "no process of the operator lived long enough to judge its memory"
        if self.like_for_like.mib_per_hour > MOST_MIB_PER_HOUR:
            return f"memory grows by {self.like_for_like}, {MOST_MIB_PER_HOUR} MiB/h are allowed"
        return ""


def figures(result: DayResult) -> Document:
    """All that was measured."""
    memory = Memory(result)
    counts = result.requests
    seconds = max(1.0, result.seconds)
    calm = max(1.0, counts.calm_seconds)
    peak = max((each.rss_mib for each in result.samples), default=0.0)
    return {
        "seed": result.day.seed,
        "minutes": result.day.minutes,
        "wall seconds": round(result.seconds, 1),
        "of these standing still": round(result.stood_still, 1),
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "load, mean of the one-minute means": _mean(each.load for each in result.samples),
            "load, highest": max((each.load for each in result.samples), default=0.0),
            "fleet late, s": _spread([each.fleet_late for each in result.samples]),
        },
        "applications": result.started,
        "applications at once, most": max((each.allocations for each in result.samples), default=0),
        "executors at once, most": max((each.executors for each in result.samples), default=0),
        "executor pods created": result.creations,
        "executors registered": result.registered,
        "tasks done": result.tasks,
        "operator killed": result.kills,
        "faults met": result.met.total(),
        "faults": dict(result.met.most_common()),
        "windows": [asdict(each) for each in result.windows],
        "swept after the end, s": _spread(result.swept_seconds),
        "memory": {
            "after warm-up, MiB": _spread([each.rss_mib for each in memory.samples]),
            "peak, MiB": round(peak, 1),
            "slope over time": memory.alone and asdict(memory.alone),
            "slope at the same allocations and executors": memory.like_for_like
            and asdict(memory.like_for_like),
            "bound, MiB/h": MOST_MIB_PER_HOUR,
            "judged": memory.is_judged,
            "minutes in the fit": round(
                (memory.samples[-1].at - memory.samples[0].at) / 60 if memory.samples else 0.0, 1
            ),
            "processes": memory.processes,
        },
        "CPU of the operator, s": round(_cpu(result.samples), 1),
        "CPU of the operator, share of a core": round(_cpu(result.samples) / seconds, 3),
        "requests to the API server": dict(counts.all.most_common()),
        "requests to the API server in calm times": dict(counts.calm.most_common()),
        "calm seconds": round(counts.calm_seconds, 1),
        "lists in calm times": {
            name: count for name, count in counts.calm.items() if name.startswith("list ")
        },
        "status patches a second": {
            "calm, mean": round(counts.calm_statuses_by_second.total() / calm, 2),
            "all day, mean": round(counts.statuses_by_second.total() / seconds, 2),
            "all day, most": max(counts.statuses_by_second.values(), default=0),
        },
        "requests to drivers": result.driver_requests,
        "bytes from drivers, MiB": round(result.driver_bytes / 2**20, 1),
        "broken": [*result.broken, *filter(None, [memory.problem()])],
    }


def table(found: Document) -> str:
    """The figures that people ask for."""
    memory = found["memory"]
    lines = [
        ("applications", f"{found['applications']}, at most {found['applications at once, most']} at once"),
        ("executor pods", f"{found['executor pods created']} created, at most {found['executors at once, most']} at once"),
        ("tasks", f"{found['tasks done']}"),
        ("time", f"{found['wall seconds'] / 60:.1f} min, of which {found['of these standing still'] / 60:.1f} min standing still"),
        ("faults met", f"{found['faults met']} in {len(found['windows'])} windows; operator killed {found['operator killed']} times"),
        ("plan stable after", ", ".join(f"{each['stable_after']:.1f}" for each in found["windows"]) + " s"),
        ("swept after", f"median {found['swept after the end, s']['median']} s, most {found['swept after the end, s']['most']} s"),
        ("memory", f"{memory['after warm-up, MiB']['least']}–{memory['after warm-up, MiB']['most']} MiB after warm-up, {memory['minutes in the fit']} min fitted"),
        ("slope over time", _slope_words(memory["slope over time"])),
        ("slope, like for like", f"{_slope_words(memory['slope at the same allocations and executors'])}; allowed {memory['bound, MiB/h']}"),
        ("CPU of the operator", f"{found['CPU of the operator, s']} s, {found['CPU of the operator, share of a core']:.1%} of a core"),
        ("requests to drivers", f"{found['requests to drivers']}, {found['bytes from drivers, MiB']} MiB"),
        ("status patches", f"{found['status patches a second']['calm, mean']}/s calm, {found['status patches a second']['all day, mean']}/s all day, most {found['status patches a second']['all day, most']}/s"),
        ("LISTs, calm", f"{found['lists in calm times'] or 'none'} in {found['calm seconds'] / 60:.1f} min"),
        ("machine", f"{found['machine']['cores']} cores, load {found['machine']['load, mean of the one-minute means']} (most {found['machine']['load, highest']:.1f}), fleet late by {found['machine']['fleet late, s']['median']} s (most {found['machine']['fleet late, s']['most']} s)"),
    ]  # fmt: skip
    text = [f"  {name:22} {words}" for name, words in lines]
    text += ["", "  requests to the API server        all day     calm"]
    text += [
        f"  {name:32} {count:8} {found['requests to the API server in calm times'].get(name, 0):8}"
        for name, count in found["requests to the API server"].items()
    ]
    text += ["", *(f"  BROKEN: {each}" for each in found["broken"])]
    return "\n".join(text).rstrip()


def write(result: DayResult, found: Document, folder: Path) -> None:
    """day.json, day.txt and day.png."""
    document = {**found, "samples": [each.document() for each in result.samples]}
    (folder / "day.json").write_text(json.dumps(document, indent=1))
    (folder / "day.txt").write_text(table(found) + "\n")
    plot(result, folder / "day.png")


def plot(result: DayResult, file: Path) -> None:
    """Memory, applications and executors, and faults over the day."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    memory = Memory(result)
    at = [each.at / 60 for each in result.samples]
    picture, (top, middle, bottom) = plt.subplots(3, 1, sharex=True, figsize=(11, 9))
    top.plot(at, [each.rss_mib for each in result.samples], color="tab:blue", linewidth=1)
    if memory.samples and memory.alone is not None:
        ends = [memory.samples[0].at, memory.samples[-1].at]
        middle_at = statistics.mean(each.at for each in memory.samples)
        level = statistics.mean(each.rss_mib for each in memory.samples)
        line = [level + memory.alone.mib_per_hour * (each - middle_at) / 3600 for each in ends]
        top.plot([each / 60 for each in ends], line, color="tab:red", label=f"{memory.alone}")
        top.legend(loc="lower right")
    top.set_ylabel("memory of the operator, MiB")
    highest = max((each.rss_mib for each in result.samples), default=1.0)
    top.set_ylim(0, 1.2 * highest)
    middle.plot(at, [each.executors for each in result.samples], label="executor pods", linewidth=1)
    middle.plot(
        at, [each.needed for each in result.samples], label="needed", linewidth=1, alpha=0.7
    )
    middle.plot(
        at, [each.allocations for each in result.samples], label="applications", linewidth=1
    )
    middle.legend(loc="upper right")
    middle.set_ylabel("at once")
    bottom.plot(at, [each.faults for each in result.samples], color="tab:red", linewidth=1)
    bottom.set_ylabel("faults met")
    bottom.set_xlabel("minutes")
    for axis in (top, middle, bottom):
        for window in result.windows:
            axis.axvspan(
                window.began / 60, window.ended / 60, color="tab:red", alpha=0.12, linewidth=0
            )
        axis.grid(alpha=0.3)
    picture.suptitle(
        f"A day of {result.started} applications in {result.day.minutes:.0f} minutes, seed {result.day.seed}; "
        "windows of faults are red"
    )
    picture.tight_layout()
    picture.savefig(file, dpi=110)
    plt.close(picture)


def _cpu(samples: list[Sample]) -> float:
    by_process = {each.pid: each.cpu_seconds for each in samples}
    return sum(by_process.values())


def _mean(numbers: Any) -> float:
    listed = list(numbers)
    return round(statistics.mean(listed), 1) if listed else 0.0


def _spread(numbers: list[float]) -> dict[str, float]:
    if not numbers:
        return {"least": 0.0, "median": 0.0, "most": 0.0}
    found = {"least": min(numbers), "median": statistics.median(numbers), "most": max(numbers)}
    return {name: round(number, 1) for name, number in found.items()}


def _slope_words(found: Document | None) -> str:
    return str(Slope(**found)) if found else "too few samples"
