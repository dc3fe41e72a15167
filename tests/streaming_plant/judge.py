"""Verdicts on one run."""

from dataclasses import dataclass
from itertools import pairwise

from tests.streaming_plant.plant import Run
from tests.streaming_plant.workload import STEP_S, Shape, Workload

from spark_allocation.core.streaming.settings import StreamingSettings

CATCH_UP_S = StreamingSettings().catch_up_time_s
SETTLING_S = 1200.0
LARGEST_OVERSHOOT = 1.25
AIMED_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a run with changes of input at known moments, of which the first is the beginning; empty lists for the others.

    Attributes:
        reversals: of the target's direction, in each settled stretch.
        swing: largest less smallest target in each settled stretch.
        overshoot: after each rise, the highest target over what the input and the backlog there was needed.
        catch_up_s: after each rise, until nothing was too late any more; endless when it never was.
        allowed_s: for that.
    """

    reversals: tuple[int, ...]
    swing: tuple[int, ...]
    overshoot: tuple[float, ...]
    catch_up_s: tuple[float, ...]
    allowed_s: tuple[float, ...]

    @property
    def is_stable(self) -> bool:
        """Once settled, the target goes back and forth by one executor at most."""
        return all(
            back == 0 or by <= 1 for back, by in zip(self.reversals, self.swing, strict=True)
        )

    @property
    def overshoots(self) -> bool:
        return any(each > LARGEST_OVERSHOOT for each in self.overshoot)

    @property
    def catches_up(self) -> bool:
        return all(
            took <= allowed for took, allowed in zip(self.catch_up_s, self.allowed_s, strict=True)
        )


def judge(work: Workload, run: Run, *, accepted_s: float = 0.0) -> Verdict:
    """Judge a run of `Shape.STEPS`; of any other shape there is nothing to judge here.

    Args:
        accepted_s: excess lag that the rule is meant to accept.
    """
    if work.shape is not Shape.STEPS:
        return Verdict((), (), (), (), ())
    reversals, swings, overshoots, caught, allowed = [], [], [], [], []
    begins, ends = (0, *work.changes), (*work.changes, len(work.rates))
    for begin, end in zip(begins, ends, strict=True):
        settled = run.targets[begin + int(SETTLING_S / STEP_S) : end]
        reversals.append(_reversals(settled))
        swings.append(max(settled) - min(settled))
        before = work.rates[begin - 2] if begin else 0.0
        after = work.rates[min(begin + 2, end - 1)]
        if after <= before * 1.1:
            continue
        rate = sum(work.rates[begin:end]) / (end - begin)
        lags = run.lags[begin:end]
        waiting = max(lags)
        enough = work.needed(rate * (1 + waiting / CATCH_UP_S), share=AIMED_SHARE)
        peak = max(run.targets[begin:end])
        # of few executors one more is more than a quarter
        overshoots.append(min(peak / max(enough, 1), max(1.0, peak - enough)))
        late = [
            place for place, lag in enumerate(lags) if lag > max(accepted_s, 0.1 * work.target_s)
        ]
        caught.append(_caught_up(late) * STEP_S)
        seen = 2 * work.target_s
        # when the query begins nothing is seen before the first executors have started
        starts = 1 if begin else 2
        allowed.append(CATCH_UP_S + starts * work.start_s * 1.3 + seen)
    return Verdict(
        tuple(reversals), tuple(swings), tuple(overshoots), tuple(caught), tuple(allowed)
    )


def _caught_up(late: list[int]) -> int:
    """The step after the first stretch in which something was late: one that a minute without ends; 0 without any."""
    if not late:
        return 0
    last = late[0]
    for each in late[1:]:
        if (each - last) * STEP_S > 60:
            break
        last = each
    return last + 1


def _reversals(targets: list[int]) -> int:
    moves = [b - a for a, b in pairwise(targets) if b != a]
    return sum(1 for a, b in pairwise(moves) if (a > 0) != (b > 0))
