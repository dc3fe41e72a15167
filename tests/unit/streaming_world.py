"""A stream told batch by batch: for tests of `core.streaming`."""

from spark_allocation.core.streaming.decisions import StreamingDecision
from spark_allocation.core.streaming.demand import StreamingDemand
from spark_allocation.core.streaming.observations import (
    BatchSample,
    QueryName,
    QueryObservation,
    QueryState,
    RunningBatch,
    Slots,
    StreamingObservation,
    Trigger,
)
from spark_allocation.core.streaming.settings import StreamingSettings

ORDERS = QueryName("orders")
CLICKS = QueryName("clicks")
MONDAY = 1_780_272_000.0
"""2026-06-01, a Monday, 00:00 UTC."""


def batch(
    number: int | None,
    ended_at: float,
    duration: float,
    rows: float | None = None,
    *,
    tasks: int | None = None,
    **about: object,
) -> BatchSample:
    return BatchSample(
        ended_at=ended_at,
        duration_s=duration,
        batch_id=number,
        input_rows=rows,
        largest_stage_tasks=tasks,
        **about,  # type: ignore[arg-type]
    )


def query(
    *batches: BatchSample,
    name: QueryName = ORDERS,
    interval: float | None = 10.0,
    age: float | None = None,
    run: str = "run-1",
    state: QueryState = QueryState.ACTIVE,
    trigger: Trigger = Trigger.PROCESSING_TIME,
    **about: object,
) -> QueryObservation:
    return QueryObservation(
        name,
        run_id=run,
        state=state,
        trigger=trigger,
        trigger_interval_s=interval,
        batches=batches,
        running=None if age is None else RunningBatch(age),
        **about,  # type: ignore[arg-type]
    )


class Stream:
    """Queries with a batch every ten seconds, and a demand that is asked after each.

    Batches take ``work`` executor seconds ÷ executors, and ``fixed`` seconds.
    """

    def __init__(
        self,
        settings: StreamingSettings | None = None,
        *,
        executors: int = 4,
        minimum: int = 0,
        maximum: int = 100,
        finishes_tasks: bool = True,
        starts_at_once: bool = True,
    ) -> None:
        self.demand = StreamingDemand(settings or StreamingSettings())
        self.now = 1000.0
        self.executors = self.asked = executors
        self.minimum, self.maximum = minimum, maximum
        self.finishes_tasks = finishes_tasks
        self.starts_at_once = starts_at_once
        self.running_tasks = 0
        self.number = 100

    @property
    def slots(self) -> Slots:
        return Slots(self.executors, 1, self.running_tasks, self.asked)

    def tell(self, *queries: QueryObservation) -> None:
        self.demand.take(StreamingObservation(self.now, queries), self.slots)

    def decide(self) -> StreamingDecision:
        decision = self.demand.decide(
            now=self.now,
            wall_clock_s=MONDAY + self.now,
            slots=self.slots,
            min_executors=self.minimum,
            max_executors=self.maximum,
            finishes_tasks=self.finishes_tasks,
        )
        if decision.executors is not None:
            self.asked = decision.executors
            if self.starts_at_once:
                self.executors = self.asked
        return decision

    def interval(
        self,
        work: float,
        *,
        rows: float | None = 1000.0,
        fixed: float = 0.0,
        names: tuple[QueryName, ...] = (ORDERS,),
        tasks: int | None = None,
    ) -> StreamingDecision:
        """Ten seconds with a batch of each query in them that is in time, and a decision."""
        duration = min(9.9, fixed + work / max(1, self.executors))
        began = self.now
        self.number += 1
        self.now = began + 10.0
        self.tell(
            *(
                query(batch(self.number, began + duration, duration, rows, tasks=tasks), name=name)
                for name in names
            )
        )
        return self.decide()

    def intervals(self, count: int, work: float, **about: object) -> StreamingDecision:
        decision = self.interval(work, **about)  # type: ignore[arg-type]
        for _ in range(count - 1):
            decision = self.interval(work, **about)  # type: ignore[arg-type]
        return decision
