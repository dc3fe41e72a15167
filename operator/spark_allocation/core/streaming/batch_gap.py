"""When executors of a stream may leave: streams hold shuffle data and state all the time, so it matters in which moment.

Theory of operation
-------------------
What a batch shuffles is read by the same batch alone. So between two batches an executor holds nothing that a stream needs
again, but for its local copy of the state, which is loaded from the checkpoint where it is missed.

- *In a gap* (no batch and no job runs, and the next trigger is some seconds away) executors without a task and without
  cached blocks lose nothing by leaving, whether they hand on or not. They all leave at once then; one at a time where a query
  keeps state, or may: what was local of it is loaded anew by the next batch, which should not have to do so for all.
- *Elsewhere, with migration*, what leaves is handed on: one executor at a time, after a batch has ended if one does within
  `StreamingSettings.boundary_wait_s`, else while one runs.
- *Elsewhere, without*, what a running batch has shuffled would be lost with its executor and be computed again, so nobody
  leaves. When no gap has come for long enough (batches take their whole interval, or follow each other without one), or
  cached blocks hold everybody in it, it is refused with `StreamingCondition.NO_BATCH_GAP`.

Between the decision and the deletion a batch may begin. So who was chosen between two batches goes only while no job runs, as
the driver is asked once more right before.
"""

from dataclasses import dataclass
from enum import StrEnum

LEAST_GAP_S = 2.0
"""The next trigger has to be so far away: an executor is asked to leave some tenths of a second after the decision."""
LONGEST_WAIT_PERIODS = 3.0
"""Without a gap for so many trigger intervals none is hoped for."""


class GapVerdict(StrEnum):
    """What becomes of executors that are too many."""

    GO = "Go"
    WAIT = "Wait"
    """For the end of a batch, or for one that is leaving."""
    NO_GAP = "NoBatchGap"
    """None has come for long enough; they still go when one does."""


@dataclass(frozen=True, slots=True)
class BatchBoundaries:
    """Where the queries of a profile are between two batches. Times are seconds.

    Attributes:
        running: a batch runs, of any query; also when that is not known.
        ended_at: when the last batch has ended, of any query.
        next_at: when the next one can begin at the earliest; None when it may be at any moment.
        period_s: the longest trigger interval; None when unknown.
        keeps_state: a query has rows in its state stores, or nobody says whether it has.
    """

    running: bool
    ended_at: float | None = None
    next_at: float | None = None
    period_s: float | None = None
    keeps_state: bool = False

    def is_gap(self, now: float) -> bool:
        """No batch runs, and none begins soon."""
        return not self.running and self.next_at is not None and self.next_at - now >= LEAST_GAP_S


@dataclass(frozen=True, slots=True)
class GapDecision:
    """How many may leave now, and if none, why.

    Attributes:
        between_batches: only executors that hold nothing but what ended batches have shuffled, and only while no job runs.
    """

    executors: int
    verdict: GapVerdict
    between_batches: bool = False


NOBODY_LEAVES = GapDecision(0, GapVerdict.WAIT)


class BatchGap:
    """Lets the executors of a stream leave in the right moments. Times are seconds of the clock of the boundaries."""

    def __init__(self) -> None:
        self._waiting_since: float | None = None

    def decide(
        self,
        surplus: int,
        boundaries: BatchBoundaries,
        *,
        now: float,
        migrates: bool,
        leaving: int,
        idle: bool,
        free: int,
        boundary_wait_s: float,
    ) -> GapDecision:
        """Decide.

        Args:
            surplus: executors that are too many.
            boundaries: of the batches.
            migrates: what leaves is handed on.
            leaving: executors that are on their way out already.
            idle: no job of the application runs.
            free: executors that run nothing and have no cached blocks.
            boundary_wait_s: see `StreamingSettings`.
        """
        if surplus <= 0:
            self._waiting_since = None
            return GapDecision(0, GapVerdict.GO)
        if self._waiting_since is None:
            self._waiting_since = now
        waited_s = now - self._waiting_since
        if free > 0 and idle and boundaries.is_gap(now):
            self._waiting_since = now
            count = min(surplus, free)
            if boundaries.keeps_state:
                count = 1 if leaving == 0 else 0
            verdict = GapVerdict.GO if count else GapVerdict.WAIT
            return GapDecision(count, verdict, between_batches=True)
        if migrates:
            if leaving > 0:
                self._waiting_since = now
                return NOBODY_LEAVES
            ended = boundaries.ended_at is not None and boundaries.ended_at >= self._waiting_since
            if ended or not boundaries.running or waited_s >= boundary_wait_s:
                self._waiting_since = now
                return GapDecision(1, GapVerdict.GO)
            return NOBODY_LEAVES
        patience_s = max(boundary_wait_s, LONGEST_WAIT_PERIODS * (boundaries.period_s or 0.0))
        verdict = GapVerdict.NO_GAP if waited_s >= patience_s else GapVerdict.WAIT
        return GapDecision(0, verdict)
