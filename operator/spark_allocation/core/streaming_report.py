"""What one answer of a driver tells of its streaming queries, as it was said.

Numbers may be anything that JSON can hold. What they mean over time is put together in
`spark_allocation.sources.streaming_batches`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueryGauges:
    """Spark's own gauges of one query (``MetricsReporter``); they speak of the last batch that has completed.

    Attributes:
        name: of the query, or its id when it has none.
        latency_ms: how long that batch took.
        watermark_ms: epoch milliseconds; 0 for none.
    """

    name: str
    latency_ms: float | None = None
    input_rate: float | None = None
    processing_rate: float | None = None
    watermark_ms: float | None = None
    state_rows: float | None = None
    state_bytes: float | None = None


@dataclass(frozen=True, slots=True)
class QueryProgress:
    """What the helper within a driver says of one query (`spark_allocation.driver`).

    Attributes:
        event: ``started``, ``progress``, ``idle`` or ``terminated``.
        name: None when the query has none.
        at_ms: epoch milliseconds of the driver, when it was said.
        trigger: kind of trigger as Spark calls it, without the word Trigger; "" when unknown.
        batch_id: of the last batch that has completed, as what follows; None before the first.
    """

    event: str
    query_id: str
    run_id: str
    name: str | None = None
    at_ms: float = 0.0
    trigger: str = ""
    trigger_interval_ms: float | None = None
    batch_id: int | None = None
    rows: float | None = None
    input_rate: float | None = None
    processing_rate: float | None = None
    duration_ms: float | None = None
    rows_behind: float | None = None
    partitions: int | None = None


@dataclass(frozen=True, slots=True)
class StreamingJob:
    """A running job of a streaming query.

    Attributes:
        name: of the query; None when it has none.
        query_id: "" when only the run is known.
        batch_id: None when it is not told, or for what is done before the first batch.
        stage_ids: of all its stages.
        tasks: of all its stages together.
        submitted_at_ms: epoch milliseconds of the driver.
    """

    run_id: str
    query_id: str = ""
    name: str | None = None
    batch_id: int | None = None
    stage_ids: tuple[int, ...] = ()
    tasks: int = 0
    submitted_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StreamingReport:
    """All of it.

    Attributes:
        unreadable: what could not be read; sentences.
    """

    gauges: tuple[QueryGauges, ...] = ()
    progress: tuple[QueryProgress, ...] = ()
    jobs: tuple[StreamingJob, ...] = ()
    unreadable: tuple[str, ...] = ()


NO_STREAMS = StreamingReport()
