"""Streaming queries in what a driver answers: its gauges, and its running jobs.

Three things are read. Spark's own gauges, there with ``spark.sql.streaming.metricsEnabled=true``, under
``<namespace>.driver.spark.streaming.<name or id of the query>.<gauge>``; anything may stand in the name. The documents of
the helper in the driver (`spark_allocation.driver`). And the description that Spark gives the jobs of a batch: name, id,
run id and number of the batch, in four lines.

All of it is a tenant's: what has another form is left out, or told in a sentence.

Source: ``MetricsReporter``, ``StreamExecution.getBatchDescriptionString``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from spark_allocation.core.streaming_report import (
    QueryGauges,
    QueryProgress,
    StreamingJob,
    StreamingReport,
)

MOST_QUERIES = 64
"""Of one driver; more are not looked at."""
LONGEST_NAME = 253
LARGEST_DOCUMENT = 8192
LONGEST_DESCRIPTION = 4096
MOST_STAGES = 1000
"""Of a job."""
PROGRESS_FORMAT = 1

STREAMS = ".streaming."
"""In the key of every gauge that is looked at."""
_GAUGES = ".driver.spark.streaming."
_PROGRESS = ".driver.AccumulatorSource.sparkallocation.streaming."
_FIELD_OF_GAUGE = {
    "latency": "latency_ms",
    "inputRate-total": "input_rate",
    "processingRate-total": "processing_rate",
    "eventTime-watermark": "watermark_ms",
    "states-rowsTotal": "state_rows",
    "states-usedBytes": "state_bytes",
}
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_BREAK = r"(?:\n|<br/>)"
_DESCRIPTION = re.compile(
    rf"(?:(?P<name>.*?){_BREAK})?id = (?P<id>{_UUID}){_BREAK}runId = (?P<run>{_UUID}){_BREAK}batch = (?P<batch>init|[0-9]{{1,18}})",
    re.DOTALL,
)
_RUN = re.compile(_UUID)

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Job(msgspec.Struct, rename="camel", gc=False):
    """What is read of a job."""

    job_id: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
    description: str | None = None
    job_group: str | None = None
    stage_ids: list[int] = msgspec.field(default_factory=list)
    num_tasks: int = 0
    submission_time: str | None = None


class _Progress(msgspec.Struct, rename="camel", gc=False):
    format: int
    event: str
    id: _Id
    run_id: _Id
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


def read_streaming(gauges: Mapping[str, Any], jobs: Iterable[StreamingJob] = ()) -> StreamingReport:
    """What is said of streams.

    Args:
        gauges: values by key, whatever they are.
        jobs: as `streaming_job` made them.
    """
    of_spark: dict[str, dict[str, float]] = {}
    progress: list[QueryProgress] = []
    unreadable: list[str] = []
    for key, value in gauges.items():
        if _GAUGES in key:
            _take_gauge(of_spark, key, value)
        elif _PROGRESS in key and len(progress) < MOST_QUERIES:
            read = _progress(value)
            if isinstance(read, QueryProgress):
                progress.append(read)
            else:
                unreadable.append(read)
    return StreamingReport(
        tuple(QueryGauges(name, **values) for name, values in of_spark.items()),
        tuple(progress),
        tuple(jobs),
        tuple(unreadable[:MOST_QUERIES]),
    )


def streaming_job(job: Job, submitted_at_ms: int | None) -> StreamingJob | None:
    """A job as one of a streaming query; None when it is none.

    An application that describes its jobs itself leaves the group, which is the id of the run: whether it is one, only who
    knows the runs can tell.
    """
    description = job.description or ""
    found = _DESCRIPTION.fullmatch(description) if len(description) <= LONGEST_DESCRIPTION else None
    tasks = max(0, min(job.num_tasks, 2**31 - 1))
    stages = tuple(job.stage_ids[:MOST_STAGES])
    if found is not None:
        batch = found.group("batch")
        return StreamingJob(
            found.group("run"),
            found.group("id"),
            (found.group("name") or "")[:LONGEST_NAME] or None,
            None if batch == "init" else int(batch),
            stages,
            tasks,
            submitted_at_ms,
        )
    if _RUN.fullmatch(job.job_group or ""):
        return StreamingJob(
            job.job_group or "", stage_ids=stages, tasks=tasks, submitted_at_ms=submitted_at_ms
        )
    return None


def _take_gauge(of_spark: dict[str, dict[str, float]], key: str, value: Any) -> None:
    name, dot, gauge = key.split(_GAUGES, 1)[1].rpartition(".")
    field = _FIELD_OF_GAUGE.get(gauge)
    if not dot or not name or len(name) > LONGEST_NAME or field is None:
        return
    if name not in of_spark and len(of_spark) >= MOST_QUERIES:
        return
    values = of_spark.setdefault(name, {})
    number = _number(value)
    if number is not None:
        values[field] = number


def _number(value: Any) -> float | None:
    """A number, whatever it is; Spark writes those that JSON cannot hold as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return float("inf")
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else None


def _progress(value: Any) -> QueryProgress | str:
    if not isinstance(value, str) or len(value) > LARGEST_DOCUMENT:
        return "a gauge of spark_allocation.driver holds no document"
    try:
        read = msgspec.json.decode(value, type=_Progress)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        return f"a document of spark_allocation.driver cannot be read: {str(error)[:100]}"
    if read.format != PROGRESS_FORMAT:
        return f"spark_allocation.driver writes documents of form {read.format}, which this operator does not know"
    return QueryProgress(
        event=read.event[:32],
        query_id=read.id,
        run_id=read.run_id,
        name=None if not read.name else read.name[:LONGEST_NAME],
        at_ms=read.at_ms,
        trigger=read.trigger[:32],
        trigger_interval_ms=read.trigger_interval_ms,
        batch_id=read.batch_id,
        rows=read.rows,
        input_rate=read.input_rate,
        processing_rate=read.processing_rate,
        duration_ms=read.duration_ms,
        rows_behind=read.rows_behind,
        partitions=read.partitions,
    )
