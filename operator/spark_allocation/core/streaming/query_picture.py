"""One query as the policies see it: measured, cleaned and smoothed, at one moment.

Everything is None, or 0 where that is said, when it is not known. Rates are rows a second, times seconds.
"""

from dataclasses import dataclass

from spark_allocation.core.streaming.batch_cost import LearnedCost
from spark_allocation.core.streaming.executor_starts import Stretch
from spark_allocation.core.streaming.observations import QueryName

LATE_SHARE = 0.25
"""Of a period."""


@dataclass(frozen=True, slots=True)
class QueryPicture:
    """One query at one moment.

    Attributes:
        executors: that the profile is to have at the moment.
        tasks_per_executor: at least 1.
        interval_s: what a batch may take: the target duration, else the trigger interval; above 0.
        period_s: from one trigger to the next when batches are in time: the trigger interval, else `interval_s`.
        back_to_back: one batch follows the other without a pause, so the more executors, the shorter *and smaller* they are.
        busy_executors: executors × share of the interval that batches took, smoothed: what stays the same when
            executors come or go.
        input_rate: at which rows arrive.
        rate_of_batches: the same without what the batch that runs shows.
        processing_rate: at which they are processed while a batch runs, on `measured_on` executors.
        late_s: by so much the rows of the batch that runs, or of the next one, took longer to arrive than one period.
        behind_rows: that wait beyond those of one batch; 0 when batches are in time or nothing is known.
        behind_is_growing: and are more than some moments ago.
        none_came_of: executors that were asked for when the first batch began, while none of them has come, 0 when nobody
            knows how many those were; None otherwise.
        catch_up_s: in which these are to be processed; above 0.
        tasks: of the largest stage of the last batches.
        until_more: executors that there will be, until one that is asked for now would be there; empty when that is not known.
    """

    query: QueryName
    executors: int
    tasks_per_executor: int = 1
    interval_s: float | None = None
    period_s: float | None = None
    back_to_back: bool = False
    busy_executors: float | None = None
    input_rate: float | None = None
    rate_of_batches: float | None = None
    processing_rate: float | None = None
    measured_on: float = 0.0
    late_s: float = 0.0
    none_came_of: int | None = None
    behind_rows: float = 0.0
    behind_is_known: bool = False
    behind_is_growing: bool = False
    catch_up_s: float = 300.0
    cost: LearnedCost | None = None
    tasks: int | None = None
    until_more: tuple[Stretch, ...] = ()

    @property
    def is_measured(self) -> bool:
        """Enough usual batches have been seen to know what they cost."""
        return self.cost is not None and self.cost.is_sure

    @property
    def utilization(self) -> float | None:
        """Share of the interval that batches would take on the executors there are to be."""
        if self.busy_executors is None:
            return None
        return self.busy_executors / max(1, self.executors)

    @property
    def is_late(self) -> bool:
        """Rows wait for so much longer than one period that it is no chance."""
        return self.waiting_s > LATE_SHARE * (self.period_s or 0.0)

    @property
    def waiting_s(self) -> float:
        """In how many seconds what waits came: how late the rows are, or more where batches leave some."""
        if self.behind_is_known and self.input_rate:
            return max(self.late_s, self.behind_rows / self.input_rate)
        return self.late_s

    @property
    def backlog_s(self) -> float | None:
        """How long it would take to process what waits, without anything new."""
        if not self.behind_is_known or not self.processing_rate:
            return None
        return self.behind_rows / self.processing_rate
