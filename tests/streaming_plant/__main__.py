"""Rules for streams, compared on simulated ones.

    python -m tests.streaming_plant [--seeds N] [--from SEED] [--json] [--tune] [--processes N]

Printed is a line for each rule and the share of seeds on which ours is better; `tests.streaming_plant.comparison` says what that
means. ``--tune`` looks for the best settings of the other rules, on other seeds.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from tests.streaming_plant.comparison import (
    FIRST_SEED,
    OURS,
    Result,
    builders,
    compare,
    line,
    others,
    share_better,
    share_cheaper,
)
from tests.streaming_plant.tuning import tune


def _table(found: Mapping[str, Sequence[Result]]) -> str:
    rows = [
        "| Rule | cost ÷ oracle, median | p90 | mean lag ÷ interval | late batches | unstable | overshoots | late to catch up | of |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, results in found.items():
        each = line(name, results)
        rows.append(
            f"| {name} | {each.ratio_median:.2f} | {each.ratio_p90:.2f} | {each.lag_mean:.3f} "
            f"| {each.late_share:.1%} | {len(each.unstable)} | {len(each.overshooting)} "
            f"| {len(each.not_caught_up)} | {each.judged} |"
        )
    rows += [
        "",
        "| Better than | " + " | ".join(OURS) + " |",
        "|---|" + "---|" * len(OURS),
    ]
    for other in others():
        cells = [
            f"{share_better(found[ours], found[other]):.1%} "
            f"(cheaper {share_cheaper(found[ours], found[other]):.1%})"
            for ours in OURS
        ]
        rows.append(f"| {other} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _json(found: Mapping[str, Sequence[Result]]) -> str:
    return json.dumps(
        {
            "rules": [asdict(line(name, results)) for name, results in found.items()],
            "better": {
                ours: {other: share_better(found[ours], found[other]) for other in others()}
                for ours in OURS
            },
            "seeds": {name: [asdict(each) for each in results] for name, results in found.items()},
        },
        indent=1,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--from", type=int, default=FIRST_SEED, dest="first", help="the first one")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.add_argument("--tune", action="store_true", help="tune the other rules instead")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    wishes = parser.parse_args()
    if wishes.tune:
        tune(wishes.processes)
        return
    seeds = range(wishes.first, wishes.first + wishes.seeds)
    found = compare(seeds, builders(), wishes.processes)
    print(_json(found) if wishes.json else _table(found))


if __name__ == "__main__":
    main()
