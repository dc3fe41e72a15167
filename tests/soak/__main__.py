"""Run rounds and say what came of them.

    python -m tests.soak --seeds 1-10 --runs 30
    python -m tests.soak --seeds 7 --runs 3 --only operator

The last lines are a table; the figures of every run are written as JSON. The exit code is 1 when something was lost,
stuck, left or used twice under the operator, and the last line says what.
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from tests.cluster import arguments
from tests.demo.installation import install_without_operator
from tests.faults.__main__ import seeds
from tests.faults.fault_schedule import FaultSchedule
from tests.soak.drivers import Allocator
from tests.soak.round import LONG, SHORT, Played, Round
from tests.soak.verdict import figures, line, runs_of, table, violations
from tests.soak.workload import Job


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=seeds, default=seeds("1-10"), help="of rounds, as 1-10")
    parser.add_argument("--runs", type=int, default=30, help="under each allocator")
    parser.add_argument("--at-once", type=int, default=3, help="runs in a round")
    parser.add_argument("--only", type=Allocator, choices=list(Allocator))
    parser.add_argument("--short", action="store_true", help="as in the test suite")
    arguments.add_arguments(parser)
    parser.add_argument(
        "--folder", type=Path, help="for logs and results; a temporary one if left out"
    )
    options = parser.parse_args()
    if math.ceil(options.runs / options.at_once) > len(options.seeds):
        parser.error(f"{options.runs} runs, {options.at_once} at once, need more seeds")
    cluster, image = arguments.cluster_and_image(parser, options, install_without_operator)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    results = folder / "soak.json"
    rounds: list[Played] = []
    failed: list[str] = []
    left = options.runs
    for seed in options.seeds[: math.ceil(options.runs / options.at_once)]:
        jobs = [
            Job.from_seed(seed, number, short=options.short)
            for number in range(min(left, options.at_once))
        ]
        left -= len(jobs)
        print(f"\n{FaultSchedule.from_seed(seed, SHORT if options.short else LONG)}", flush=True)
        for allocator in [options.only] if options.only else list(Allocator):
            began = time.monotonic()

            def say(words: str, began: float = began, who: str = allocator.value) -> None:
                print(f"  {time.monotonic() - began:6.1f} s  {who:8}  {words}", flush=True)

            own = folder / f"seed-{seed}-{allocator.name.lower()}"
            own.mkdir(parents=True)
            one = Round(
                cluster,
                image,
                seed,
                own,
                jobs=jobs,
                allocator=allocator,
                shape=SHORT if options.short else LONG,
                say=say,
            )
            try:
                played = asyncio.run(one.play())
            except Exception:  # noqa: BLE001  (the other rounds are played all the same)
                traceback.print_exc()
                failed.append(f"seed {seed}: the round itself failed, see above; logs in {own}")
                continue
            rounds.append(played)
            for run in played.runs:
                print(line(run), flush=True)
            for each in played.broken:
                print(f"seed {seed}: {each}", flush=True)
            results.write_text(as_json(rounds))
    print(f"\n{table(rounds)}\n\nfigures of each run: {results}")
    broken = failed + violations(rounds)
    if broken:
        print("BROKEN:\n" + "\n".join(f"  {each}" for each in broken))
        return 1
    print("nothing lost, nothing stuck, nothing left")
    return 0


def as_json(rounds: list[Played]) -> str:
    """All figures, of each run and summed."""
    document = {
        "rounds": [
            {
                "seed": each.seed,
                "allocator": each.allocator,
                "seconds": round(each.seconds, 1),
                "kills": each.kills,
                "faults": dict(each.schedule.met),
                "broken": each.broken,
                "logs": [str(log) for log in each.logs],
                "runs": [asdict(run) | {"makespan": run.work.makespan} for run in each.runs],
            }
            for each in rounds
        ],
        "sums": {each.value: asdict(figures(runs_of(rounds, each))) for each in Allocator},
        "violations": violations(rounds),
    }
    return json.dumps(document, indent=1)


if __name__ == "__main__":
    sys.exit(main())
