"""The first batches of a run of a query: they take longer than they would later, and so are no measure of what batches cost.

Theory of operation
-------------------
The first batches plan anew, fill caches, make state stores and start Python workers: seconds, however long they are by themselves.
So of each of the first ones some seconds count as lost (`LOSE_S`): under it executors are worth as much less. Of a batch that takes
minutes that is next to nothing, and such a batch is believed. Executors that have just come are worth less as well
(`executors_over_time`); of both, the greater loss counts, because they lose the same seconds.

Only of a run that was seen to begin, or whose batches have small numbers, it is known which are its first.
"""

from spark_allocation.core.streaming.executors_over_time import FIRST_WORTH, ExecutorsOverTime

LOSE_S = (12.0, 6.0, 3.0)


class RunBeginning:
    """Of one query. Times are seconds.

    Args:
        seen: the query was not there when its application was looked at before.
    """

    def __init__(self, *, seen: bool) -> None:
        self._batches: int | None = 0 if seen else None

    def anew(self) -> None:
        """Another run has begun."""
        self._batches = 0

    def numbered(self, batch_id: int | None) -> None:
        """The batch that is looked at has this number, counted from the first one that the query ever had."""
        if batch_id is not None and 0 <= batch_id < len(LOSE_S):
            self._batches = batch_id

    def passed(self) -> None:
        """A batch has completed."""
        if self._batches is not None:
            self._batches += 1

    def worth(self, executors: ExecutorsOverTime, since: float, until: float) -> float:
        """What executors were worth between two moments under the next batch of the run, in executors that have warmed up."""
        worth = executors.worth(since, until)
        if self._batches is None or self._batches >= len(LOSE_S) or until <= since:
            return worth
        share = max(FIRST_WORTH, 1 - LOSE_S[self._batches] / (until - since))
        return min(worth, share * executors.mean(since, until))
