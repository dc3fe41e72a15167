"""What a figure was measured on, and how figures grow: the parts that every benchmark's results share."""

import json
import math
import os
import platform
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """The machine, and how busy it is with other things: CPU time is little disturbed by that, waiting time is."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.platform(),
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "processors": os.cpu_count(),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "load": [round(each, 1) for each in os.getloadavg()],
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
    }


def described(found: dict[str, Any]) -> str:
    """The same in words, for a page: the day, what it has, and how busy it was."""
    mebibytes = int(found["memory"].split()[0]) / 2**10
    system = re.match(r"[A-Za-z]+-\d+\.\d+", found["system"])
    parts = [
        f"{found['processors']} processors ({found['processor']})",
        f"{mebibytes / 2**10:.0f} GiB",
        (system[0] if system else found["system"]).replace("-", " "),
        found["python"],
        f"load {found['load'][0]:g} before",
    ]
    if found["priority"] > 0:
        parts.append(f"at a lower priority ({found['priority']})")
    return f"{found['at'][:10]}: {', '.join(parts)}"


def _first(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def power_law(sizes: Sequence[float], figures: Sequence[float]) -> tuple[float, float]:
    """The a and the b of ``figure = a × size ** b`` by least squares in logarithms: with b 1 it grows linearly, with 0 not.

    Raises:
        statistics.StatisticsError: fewer than two different sizes.
    """
    points = [
        (math.log(size), math.log(max(figure, 1e-9)))
        for size, figure in zip(sizes, figures, strict=True)
    ]
    found = statistics.linear_regression(*zip(*points, strict=True))
    return math.exp(found.intercept), found.slope


def exponent(sizes: Sequence[float], figures: Sequence[float]) -> float:
    """The b of a `power_law`."""
    return power_law(sizes, figures)[1]


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """How many, the median, the 99th percentile (nearest rank) and the worst."""
    if not values:
        return {"count": 0}
    ordered = sorted(values)
    rank = min(len(ordered), math.ceil(0.99 * len(ordered))) - 1
    return {
        "count": len(ordered),
        "p50": round(statistics.median(ordered), 3),
        "p99": round(ordered[rank], 3),
        "worst": round(ordered[-1], 3),
    }


def write(path: Path | None, document: dict[str, Any]) -> None:
    """Keep a document where it was asked for, and say it."""
    text = json.dumps(document, indent=1)
    print(text, flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
