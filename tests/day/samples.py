"""What is measured during the day: the operator's process from outside, and its requests as they pass."""

import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.fault_proxy import Passage

TICKS = os.sysconf("SC_CLK_TCK")
_SUBRESOURCES = frozenset({"status", "binding", "log", "eviction"})


@dataclass(frozen=True, slots=True)
class Sample:
    """One look.

    Attributes:
        at: seconds of the run.
        pid: of the operator.
        rss_mib: its resident memory.
        cpu_seconds: that it has used since it started.
        allocations: SparkAllocations of live drivers.
        faults: met so far.
        disturbed: a window of faults, or the half minute after it.
        load: of the machine, one minute's mean.
        fleet_late: seconds by which the fleet's own loop was late at worst: then drivers answer late as well.
    """

    at: float
    pid: int
    rss_mib: float
    cpu_seconds: float
    allocations: int
    executors: int
    running: int
    needed: int
    requests: int
    driver_requests: int
    faults: int
    disturbed: bool
    load: float
    fleet_late: float = 0.0

    def document(self) -> dict[str, float]:
        return {
            key: round(value, 2) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


def process_figures(pid: int) -> tuple[float, float] | None:
    """Resident MiB and CPU seconds; None when there is no such process."""
    try:
        statm = Path(f"/proc/{pid}/statm").read_text().split()
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if stat[0] in "ZX":
        return None
    rss = int(statm[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return rss, (int(stat[11]) + int(stat[12])) / TICKS


def request_name(passage: Passage) -> str:
    """Verb and resource, as Kubernetes names them, such as ``patch sparkallocations/status``."""
    parts = [each for each in passage.path.split("/") if each]
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    resource = parts[0] if parts else passage.path
    named = len(parts) > 1
    if len(parts) > 2 and parts[2] in _SUBRESOURCES:
        resource = f"{resource}/{parts[2]}"
    if passage.kind == "watch":
        return f"watch {resource}"
    verb = {"GET": "get" if named else "list", "POST": "create"}.get(
        passage.method, passage.method.lower()
    )
    return f"{verb} {resource}"


class RequestCounts:
    """Requests of the operator to the API server.

    Attributes:
        calm_seconds: how long nothing was wrong, as far as told by `calm`.
    """

    def __init__(self) -> None:
        self.all: Counter[str] = Counter()
        self.calm: Counter[str] = Counter()
        self.statuses_by_second: Counter[int] = Counter()
        self.calm_statuses_by_second: Counter[int] = Counter()
        self.is_calm = False
        self.calm_seconds = 0.0

    def count(self, passage: Passage) -> None:
        """It has arrived."""
        name = request_name(passage)
        second = int(time.monotonic())
        self.all[name] += 1
        is_status = name == "patch sparkallocations/status"
        self.statuses_by_second[second] += is_status
        if self.is_calm:
            self.calm[name] += 1
            self.calm_statuses_by_second[second] += is_status
