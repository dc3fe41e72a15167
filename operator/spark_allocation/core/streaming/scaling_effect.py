"""Whether more executors made a query faster; if not, there is no point in still more.

Theory of operation
-------------------
When executors are added, what the query processed a second while busy, without what its batches cost by themselves, is
remembered with the executors that it had. Once it has processed some batches on at least a quarter more, both are compared:

    effect = (rate after ÷ rate before − 1) ÷ (executors after ÷ executors before − 1)

1 is a speed-up in proportion. Below the least share (a tenth by default) there was none, and no scale-up follows for some
time. Fewer executors than a quarter more are not judged: batches of one size differ by as much. Nor are so many that tasks would
take no wave less (`task_waves`): a few more may. Several scale-ups in a row are compared with what was before the first.

Batches of one size differ (`batch_cost.NOISE`), and a stream that is told wrongly that more does not help falls behind for as long as
that holds. So it is said only once chance would hardly show it (`BEYOND_CHANCE`): the fewer executors were added, the more batches
that takes. Where `MOST_BATCHES` do not show it, nothing is said.

Reasons there may be: fewer tasks than slots; state that is where its executor is, so tasks wait for that one
(``spark.locality.wait``); a sink or a source that is no faster.

Source: Flink's ``scaling.effectiveness.detection``.
"""

import math
from dataclasses import dataclass

from spark_allocation.core.streaming.batch_cost import NOISE
from spark_allocation.core.streaming.observations import QueryName
from spark_allocation.core.streaming.query_history import QueryHistory
from spark_allocation.core.streaming.query_run import Throughput
from spark_allocation.core.streaming.task_waves import whole_waves

LEAST_GROWTH = 1.25
LEAST_BATCHES = 2
MOST_BATCHES = 6
BEYOND_CHANCE = 5.0
"""Standard deviations between the least effect and one in proportion, before it is said that there was none; half as many where batches
differ by twice as much."""


@dataclass(frozen=True, slots=True)
class _Watched:
    query: QueryName
    before: Throughput
    fixed_s: float
    changed_at: float


class ScalingEffect:
    """Of the streams of one profile. Times are seconds."""

    def __init__(self) -> None:
        self._watched: _Watched | None = None
        self._held_until: float | None = None

    def is_held(self, now: float) -> bool:
        """No more executors for now."""
        return self._held_until is not None and now < self._held_until

    def scaled_up(self, history: QueryHistory, now: float) -> None:
        """More executors were asked for on behalf of a query."""
        watched = self._watched
        if watched is not None and watched.query == history.name:
            return
        self._watched, before = None, history.throughput(most=MOST_BATCHES)
        if before is not None:
            self._watched = _Watched(history.name, before, history.cost.fixed_s, now)

    def scaled_down(self) -> None:
        """Fewer are wanted: nothing is left to compare."""
        self._watched = None

    def look(
        self, history: QueryHistory | None, *, now: float, least_share: float, hold_s: float
    ) -> None:
        """Judge, when there is enough to judge by.

        Args:
            history: of the query that was watched; None when it is gone.
            least_share: see `StreamingSettings.effective_share`.
            hold_s: for how long nothing is added after a scale-up without effect.
        """
        watched = self._watched
        if watched is None:
            return
        if history is None:
            self._watched = None
            return
        before = watched.before
        after = history.throughput(
            since=watched.changed_at,
            least_executors=before.executors * LEAST_GROWTH,
            most=MOST_BATCHES,
        )
        if after is None or after.batches < LEAST_BATCHES:
            return
        if after.tasks is not None and after.slots < after.tasks:
            waves = whole_waves(after.slots, after.tasks)
            if waves == whole_waves(before.slots, after.tasks):
                return
        faster = after.rate(watched.fixed_s) / before.rate(watched.fixed_s)
        growth = after.executors / before.executors - 1
        if (faster - 1) / growth < least_share:
            chance = NOISE * math.sqrt(1 / before.batches + 1 / after.batches)
            if growth * (1 - least_share) >= BEYOND_CHANCE * chance:
                self._held_until = now + hold_s
            elif after.batches < MOST_BATCHES:
                return
        self._watched = None

    @property
    def watched(self) -> QueryName | None:
        """The query on whose behalf executors were added last."""
        return None if self._watched is None else self._watched.query
