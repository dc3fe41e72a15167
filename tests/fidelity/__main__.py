"""Run twelve shapes of applications under two policies each on a real cluster, and hold the simulation against them.

    python -m tests.fidelity [--shapes narrow skew] [--folder DIR] [--spark 4.1.4]
    python -m tests.fidelity --folder DIR --compare-only

Each run takes one to two minutes, all of them about forty. Event logs stay below the folder, so that a change of the
simulation can be held against the same runs again. The exit code is 1 when something is further off than it should be.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.cluster import arguments
from tests.demo.installation import install_without_operator
from tests.fidelity.comparison import RealRun, predicted, replayed, table, verdict
from tests.fidelity.jobs.shapes import SHAPES
from tests.fidelity.real_runs import POLICIES, RunFailed, real_runs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--folder", type=Path, help="for event logs and results")
    parser.add_argument("--compare-only", action="store_true", help="runs of an earlier time")
    arguments.add_arguments(parser)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fidelity-"))
    folder.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    if not options.compare_only:
        cluster, image = arguments.cluster_and_image(parser, options, install_without_operator)
        runs: list[RealRun] = []
        with real_runs(cluster, image, folder) as real:
            for shape in options.shapes:
                for policy in POLICIES:
                    try:
                        runs.append(real.run(shape, policy))
                    except (RunFailed, AssertionError) as error:
                        failed.append(f"{shape} under {policy}: {error}")
                        print(failed[-1], flush=True)
                        continue
                    print(f"{shape} under {policy}: {runs[-1].log}", flush=True)
                    keep(folder, runs)
    runs = kept(folder)
    replays = [replayed(run) for run in runs]
    by_shape: dict[str, list[RealRun]] = {}
    for run in runs:
        by_shape.setdefault(run.shape, []).append(run)
    predictions = [
        predicted(one, other) for theirs in by_shape.values() for one in theirs for other in theirs if one is not other
    ]  # fmt: skip
    text = table(predictions, replays)
    (folder / "fidelity.md").write_text(text + "\n")
    print(f"\n{text}\n\nalso in {folder / 'fidelity.md'}")
    missed = failed + verdict(predictions, replays)
    if missed:
        print("NOT AS CLOSE AS IT SHOULD BE:\n" + "\n".join(f"  {each}" for each in missed))
        return 1
    print(
        f"{len(predictions)} predictions and {len(replays)} replays are as close as they should be"
    )
    return 0


def keep(folder: Path, runs: list[RealRun]) -> None:
    """What was run, for another comparison."""
    (folder / "runs.json").write_text(
        json.dumps(
            [
                {
                    "shape": run.shape,
                    "policy": run.policy,
                    "log": str(run.log),
                    "properties": dict(run.properties),
                    "load": run.load,
                }
                for run in runs
            ],
            indent=1,
        )
    )


def kept(folder: Path) -> list[RealRun]:
    """What was run at some time."""
    file = folder / "runs.json"
    if not file.exists():
        return []
    return [
        RealRun(each["shape"], each["policy"], Path(each["log"]), each["properties"], each["load"])
        for each in json.loads(file.read_text())
    ]


if __name__ == "__main__":
    sys.exit(main())
