"""Run seeds and say what came of them.

    python -m tests.faults --seeds 1-20
    python -m tests.faults --seeds 7 --short --operators 2

Each run says what goes on; the last lines are a table. The exit code is 1 when an invariant was broken.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests import cluster as clusters
from tests.faults.fault_schedule import LONG, SHORT, FaultSchedule
from tests.faults.run import Run, Verdict
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter


def seeds(text: str) -> list[int]:
    """1-3,7 → 1, 2, 3, 7."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=seeds, default=[1], help="such as 1-20 or 3,5,8")
    parser.add_argument("--short", action="store_true", help="as in the test suite")
    parser.add_argument(
        "--operators", type=int, help="at once; by default every third seed has two"
    )
    parser.add_argument("--applications", type=int, default=3)
    parser.add_argument("--cluster", default=os.environ.get("CLUSTER", clusters.DEFAULT_NAME))
    options = parser.parse_args()
    try:
        cluster = clusters.require(options.cluster, Reporter())
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    verdicts: list[Verdict] = []
    for seed in options.seeds:
        schedule = FaultSchedule.from_seed(seed, SHORT if options.short else LONG)
        print(f"\n{schedule}", flush=True)
        began = time.monotonic()

        def say(words: str, began: float = began) -> None:
            print(f"  {time.monotonic() - began:6.1f} s  {words}", flush=True)

        own = folder / f"seed-{seed}"
        own.mkdir()
        operators = options.operators or (2 if seed % 3 == 0 else 1)
        run = Run(
            cluster,
            schedule,
            own,
            applications=options.applications,
            operators=operators,
            say=say,
        )
        try:
            verdict = asyncio.run(run.judge())
        except Exception:  # noqa: BLE001  (the other seeds are run all the same)
            traceback.print_exc()
            verdict = run.verdict
            verdict.broken.append("the run itself failed, see above")
        verdicts.append(verdict)
        print(verdict, flush=True)
    print()
    print(table(verdicts))
    return 1 if any(verdict.broken for verdict in verdicts) else 0


def table(verdicts: list[Verdict]) -> str:
    """One line a seed."""
    lines = ["seed  operators  faults  kills  requests  creations  targets  pods     time  verdict"]
    lines += [
        f"{each.seed:4}  {each.operators:9}  {each.faults:6}  {each.kills:5}  {each.requests:8}  "
        f"{each.creations:9}  {each.stable_after:5.1f} s  {each.pods_after:4.1f} s  {each.seconds:4.0f} s  "
        f"{'; '.join(each.broken) or 'held'}"
        for each in verdicts
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
