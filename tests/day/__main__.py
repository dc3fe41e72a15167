"""Run the day and say what came of it.

    python -m tests.day --minutes 60
    python -m tests.day --minutes 5 --applications 40 --keep

Each step is said as it happens; the last lines are a table. The exit code is 1 when an invariant was broken or the memory
grew. The cluster is one of its own, for the operator serves all of it; it is taken down at the end.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests import cluster as clusters
from tests.cluster import local
from tests.day import report
from tests.day.plan import Day
from tests.day.run import DayRun
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="that the 24 hours take")
    parser.add_argument("--applications", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cluster", default="day")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    parser.add_argument("--output", type=Path, help="folder for day.json, day.txt and day.png")
    options = parser.parse_args()
    folder = options.output or Path(tempfile.mkdtemp(prefix="day-"))
    folder.mkdir(parents=True, exist_ok=True)
    day = Day.from_seed(options.seed, minutes=options.minutes, count=options.applications)
    try:
        cluster = clusters.require(options.cluster, Reporter())
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 2
    began = time.monotonic()

    def say(words: str) -> None:
        seconds = time.monotonic() - began
        print(f"{int(seconds // 60):4}:{seconds % 60:04.1f}  {words}", flush=True)

    run = DayRun(cluster, day, folder, say=say)
    try:
        asyncio.run(run.run())
    finally:
        found = report.figures(run.result)
        report.write(run.result, found, folder)
        print(
            f"\n{report.table(found)}\n\n  in {folder}: day.json, day.txt, day.png, operator-0.log"
        )
        if not options.keep:
            local.down(options.cluster, Reporter())
    return 1 if found["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
