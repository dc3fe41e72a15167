"""How long an event log takes to read: CPU and memory for a gigabyte, and whether that grows in proportion.

    python -m tests.perf.bench_event_log [--megabytes 100 200 400] [--packed zstd] [--simulate]

A log of each size is made first, with ends of tasks as large as those of an application with SQL (about 2 KB). Each size
is then read in a process of its own, so that its memory is its own. Printed is CPU time; nothing is asserted.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.unit.event_log_builder import EventLog

TASKS_OF_A_STAGE = 200
EXECUTORS = [str(number) for number in range(1, 41)]
MEGABYTE = 1_000_000


def make_log(path: Path, size: int) -> int:
    """Jobs of two stages each until the file has this size; returns the number of tasks."""
    log = EventLog(bulk=16)
    for executor_id in EXECUTORS:
        log.executor_added(executor_id, 1.0, requested_at=0.5)
    at, job, tasks = 2.0, 0, 0
    with path.open("w") as file:
        while file.tell() < size:
            first = log.stage(2 * job, TASKS_OF_A_STAGE)
            second = log.stage(2 * job + 1, TASKS_OF_A_STAGE, parents=[2 * job])
            log.job_start(job, at, [first, second])
            durations = [1 + (index % 7) / 7 for index in range(TASKS_OF_A_STAGE)]
            at = log.run_stage(first, at, durations, EXECUTORS, writes=True)
            at = log.run_stage(second, at, durations, EXECUTORS)
            log.job_end(job, at)
            job, at, tasks = job + 1, at + 1, tasks + 2 * TASKS_OF_A_STAGE
            file.write(log.text)
            log.lines.clear()
        log.application_end(at)
        file.write(log.text)
    return tasks


def packed(path: Path) -> Path:
    """The same file as zstd."""
    import zstandard

    target = path.with_suffix(".zstd")
    with path.open("rb") as source, target.open("wb") as file:
        zstandard.ZstdCompressor(level=1).copy_stream(source, file)
    return target


def measure(path: Path, *, simulate: bool) -> dict[str, float]:
    """Read one log in this process."""
    from spark_allocation.sources.event_log.log_files import find_logs
    from spark_allocation.sources.event_log.reading import read_log

    (files,) = find_logs(str(path))
    before = time.process_time()
    application = read_log(files).application
    found = {
        "cpu_s": time.process_time() - before,
        "tasks": application.num_tasks,
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if simulate:
        from spark_allocation.controller.what_if import as_recorded, simulated
        from spark_allocation.core.simulation.cluster import ClusterModel

        before = time.process_time()
        simulated(application, as_recorded(application), ClusterModel())
        found["simulate_cpu_s"] = time.process_time() - before
        found["simulate_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 200, 400])
    parser.add_argument("--packed", choices=["zstd"])
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.measure, simulate=options.simulate)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in options.megabytes:
            path = Path(folder) / "log"
            make_log(path, megabytes * MEGABYTE)
            where = packed(path) if options.packed else path
            command = [sys.executable, "-m", "tests.perf.bench_event_log", "--measure", str(where)]
            answer = subprocess.run(
                command + ["--simulate"] * options.simulate, check=True, capture_output=True
            )
            found = json.loads(answer.stdout)
            figures = "  ".join(f"{name} {value:.1f}" for name, value in found.items())
            print(f"{megabytes} MB ({where.stat().st_size / MEGABYTE:.0f} stored): {figures}")


if __name__ == "__main__":
    main()
