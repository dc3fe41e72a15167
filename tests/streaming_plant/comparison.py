"""Rules side by side, over many seeds.

How the HorizontalPodAutoscaler was tuned: of a grid over its metric, target and windows, on seeds that are not compared
(`TUNING_SEEDS`), the one that costs least on average among those whose lag is on average not above ours; the same for the margin
of the fixed number and for the idle timeout of Spark's rule, of which none has so little lag: there it is the one with the least. ``python -m tests.streaming_plant --tune`` does it again.

*Better* on a seed is to cost less at equal or less lag, where lags that differ by less than `SAME_LAG_SHARE` of what a batch may
take, on average over the whole time, are equal.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

from tests.streaming_plant.judge import judge
from tests.streaming_plant.oracle import cheapest_cost
from tests.streaming_plant.plant import Rule, simulate
from tests.streaming_plant.rules import Fixed, Hpa, HpaSettings, Ours, SparkBacklog
from tests.streaming_plant.workload import Workload, workload

from spark_allocation.core.streaming.settings import (
    BacklogSettings,
    BatchDurationSettings,
    StreamingSettings,
)

TUNING_SEEDS = range(10_000, 10_040)
FIRST_SEED = 1000
"""Below are seeds on which the rules were developed."""
SAME_LAG_SHARE = 0.05

DEFAULTS = StreamingSettings()
OURS: Mapping[str, StreamingSettings] = {
    "ours, defaults (rate)": DEFAULTS,
    "ours, batch duration alone": replace(
        DEFAULTS, rate=None, batch_duration=BatchDurationSettings()
    ),
    "ours, backlog alone": replace(DEFAULTS, rate=None, backlog=BacklogSettings()),
    "ours, all three": replace(
        DEFAULTS, batch_duration=BatchDurationSettings(), backlog=BacklogSettings()
    ),
}
ACCEPTED_LAG_S: Mapping[str, float] = {"ours, backlog alone": BacklogSettings().target_s}
"""What a rule is meant to leave alone: it has not failed to catch up with that."""

TUNED_HPA = HpaSettings("duration", 0.7, 30.0, 0.0)
CHEAPER_HPA = HpaSettings("duration", 0.725, 30.0, 0.0)
"""Next to it in the grid: the cheapest whose lag is above ours by a tenth at most, on the seeds of the tuning."""
TUNED_IDLE_S = 300.0
TUNED_SHARE = 1.0
"""Of the interval, that a batch takes with the fixed number at the highest input."""

Builder = Callable[[Workload], Rule]


def others() -> dict[str, Builder]:
    """What ours is compared with."""
    return {
        "HPA, tuned": lambda work: Hpa(work, TUNED_HPA),
        "HPA, next cheaper": lambda work: Hpa(work, CHEAPER_HPA),
        "Spark's backlog rule, tuned": lambda work: SparkBacklog(work, TUNED_IDLE_S),
        "fixed number, tuned": lambda work: Fixed(work.needed(max(work.rates), TUNED_SHARE)),
    }


def builders() -> dict[str, Builder]:
    """All rules, by name."""
    ours: dict[str, Builder] = {
        name: (lambda work, settings=settings: Ours(work, settings))
        for name, settings in OURS.items()
    }
    return ours | others()


@dataclass(frozen=True, slots=True)
class Result:
    """One rule on one workload.

    Attributes:
        ratio: cost over the oracle's.
        lag: mean excess lag, as a share of what a batch may take.
    """

    seed: int
    shape: str
    ratio: float
    lag: float
    late_share: float
    judged: bool
    stable: bool
    overshoots: bool
    catches_up: bool


def result(work: Workload, oracle: float, name: str, build: Builder) -> Result:
    """Run and judge."""
    run = simulate(work, build(work))
    verdict = judge(work, run, accepted_s=ACCEPTED_LAG_S.get(name, 0.0))
    return Result(
        seed=work.seed,
        shape=work.shape.value,
        ratio=run.cost / oracle,
        lag=run.mean_excess_s / work.target_s,
        late_share=run.late_share,
        judged=bool(verdict.reversals),
        stable=verdict.is_stable,
        overshoots=verdict.overshoots,
        catches_up=verdict.catches_up,
    )


def compare(
    seeds: Iterable[int], rules: Mapping[str, Builder], processes: int = 1
) -> dict[str, list[Result]]:
    """Every rule on every seed.

    Args:
        processes: over which the seeds are spread.
    """
    if processes > 1:
        # rules are functions, which are not sent to another process but are there in one that is forked
        with ProcessPoolExecutor(
            processes, get_context("fork"), initializer=_compared.update, initargs=(rules,)
        ) as pool:
            of_seeds = list(pool.map(_of_compared, seeds))
    else:
        of_seeds = [_of_seed(seed, rules) for seed in seeds]
    return {name: [found[name] for found in of_seeds] for name in rules}


_compared: dict[str, Builder] = {}
"""In a process that `compare` has forked."""


def _of_compared(seed: int) -> dict[str, Result]:
    return _of_seed(seed, _compared)


def _of_seed(seed: int, rules: Mapping[str, Builder]) -> dict[str, Result]:
    work = workload(seed)
    oracle = cheapest_cost(work)
    return {name: result(work, oracle, name, build) for name, build in rules.items()}


def is_better(ours: Result, theirs: Result) -> bool:
    """Costs less at equal or less lag."""
    return ours.ratio < theirs.ratio and ours.lag <= theirs.lag + SAME_LAG_SHARE


def share_better(ours: Sequence[Result], theirs: Sequence[Result]) -> float:
    """Of the seeds."""
    return statistics.mean(is_better(a, b) for a, b in zip(ours, theirs, strict=True))


def share_cheaper(ours: Sequence[Result], theirs: Sequence[Result]) -> float:
    """Of the seeds, whatever the lag."""
    return statistics.mean(a.ratio < b.ratio for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True, slots=True)
class Line:
    """One rule over all seeds: a line of the table."""

    rule: str
    ratio_median: float
    ratio_p90: float
    lag_mean: float
    late_share: float
    unstable: tuple[int, ...]
    overshooting: tuple[int, ...]
    not_caught_up: tuple[int, ...]
    judged: int


def line(rule: str, results: Sequence[Result]) -> Line:
    """Put the seeds together."""
    ratios = sorted(each.ratio for each in results)
    return Line(
        rule=rule,
        ratio_median=statistics.median(ratios),
        ratio_p90=ratios[min(len(ratios) - 1, int(len(ratios) * 0.9))],
        lag_mean=statistics.mean(each.lag for each in results),
        late_share=statistics.mean(each.late_share for each in results),
        unstable=tuple(each.seed for each in results if not each.stable),
        overshooting=tuple(each.seed for each in results if each.overshoots),
        not_caught_up=tuple(each.seed for each in results if not each.catches_up),
        judged=sum(each.judged for each in results),
    )
