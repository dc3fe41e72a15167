"""The best that the other rules can be, on seeds that nothing is compared on."""

import itertools
import statistics
from collections.abc import Sequence

from tests.streaming_plant.comparison import DEFAULTS, TUNING_SEEDS, Builder, Result, compare
from tests.streaming_plant.rules import Fixed, Hpa, HpaSettings, Ours, SparkBacklog

HPA_GRID = tuple(
    HpaSettings(metric, target, down_s, up_s)
    for metric, target, down_s, up_s in itertools.product(
        ("cpu", "duration"),
        (0.6, 0.65, 0.7, 0.725, 0.75, 0.775, 0.8, 0.85, 0.9),
        (15.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0),
        (0.0, 30.0),
    )
)
IDLE_GRID = (10.0, 30.0, 60.0, 120.0, 300.0)
SHARE_GRID = (0.6, 0.7, 0.8, 0.9, 1.0)


def grids() -> dict[str, dict[str, Builder]]:
    """All that is tried, by rule."""
    return {
        "HPA": {str(each): (lambda work, each=each: Hpa(work, each)) for each in HPA_GRID},
        "Spark": {
            f"idle {each:.0f} s": (lambda work, each=each: SparkBacklog(work, each))
            for each in IDLE_GRID
        },
        "fixed": {
            f"share {each}": (lambda work, each=each: Fixed(work.needed(max(work.rates), each)))
            for each in SHARE_GRID
        },
    }


def mean_of(results: Sequence[Result]) -> tuple[float, float]:
    """Cost over the oracle's, and lag."""
    return (
        statistics.mean(each.ratio for each in results),
        statistics.mean(each.lag for each in results),
    )


def tune(processes: int = 1) -> None:
    """Print each rule's settings from the cheapest on, and whether their lag is at most ours."""
    ours = compare(TUNING_SEEDS, {"ours": lambda work: Ours(work, DEFAULTS)}, processes)["ours"]
    cost, lag = mean_of(ours)
    print(f"ours: {cost:.3f} × the oracle's cost, lag {lag:.4f}")
    for rule, grid in grids().items():
        found = sorted(
            (mean_of(results), name)
            for name, results in compare(TUNING_SEEDS, grid, processes).items()
        )
        chosen = [each for each in found if each[0][1] <= lag]
        print(f"{rule}: chosen {chosen[0] if chosen else min(found, key=lambda each: each[0][1])}")
        for (their_cost, their_lag), name in found:
            print(f"  {their_cost:.3f}  {their_lag:.4f}  {name}")
