"""Tells an operator outside the driver how the streaming queries of this PySpark application fare.

Spark's own gauges tell how long the last batch took, but not which one it was, how far behind its source a query is, or
how often it is meant to run. A ``StreamingQueryListener`` knows, and puts it where Spark's metrics are: one gauge for
each query, in the registry that ``/metrics/json/`` shows. Nothing is sent anywhere.

The value of a gauge is one JSON document, replaced as a whole, so that who reads it never sees the rows of one batch with
the duration of another. Text is what every metrics sink of Spark leaves out that takes numbers only. The key ends with
`GAUGE_PREFIX` and the id of the query; its name, in which anything may stand, is in the document.

A driver's job comes first: whatever goes wrong here is logged once, and nothing more is reported from then on.

This module stands alone, and works with every Python that Spark 3.4 and later run on: it can be handed to an
application by itself (``--py-files streaming_progress.py``, then ``from streaming_progress import …``).
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
from collections import OrderedDict
from importlib import import_module
from typing import Any, Callable, Iterable, Mapping  # noqa: UP035  (Python 3.8)

FORMAT = 1
"""Of the documents; another number is another format."""
GAUGE_PREFIX = "sparkallocation.streaming."
MOST_QUERIES = 64
"""Of which something is told at once: the longest silent one makes room, ended ones first."""
LONGEST_NAME = 200

_TRIGGER = re.compile(r"(\w+?)(?:Trigger)?(?:\((\d+)\b.*\))?$")

_log = logging.getLogger("spark_allocation.driver")
_reporting: set[str] = set()
_lock = threading.Lock()


def report_streaming_progress(spark: Any) -> bool:
    """Report on all streaming queries of this session from now on.

    Call it once, before queries are started. It never raises.

    Args:
        spark: a ``pyspark.sql.SparkSession``.

    Returns:
        Whether it reports: not with Spark Connect, whose client has no access to the driver's metrics.
    """
    try:
        application = str(spark.sparkContext.applicationId)
        with _lock:
            if application in _reporting:
                return True
            _reporting.add(application)
        spark.streams.addListener(_listener(Reporter(_Registry(spark), _trigger_of(spark))))
    except Exception:  # noqa: BLE001  (the job comes first)
        _log.warning("progress of streaming queries is not reported", exc_info=True)
        return False
    return True


class Reporter:
    """Turns what happens to queries into documents, until something fails."""

    def __init__(
        self,
        registry: Registry,
        trigger: Callable[[str], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            registry: where documents go.
            trigger: tells the trigger of an active query by its id, as Spark writes it; "" when it is not known.
            clock: epoch seconds.
        """
        self._registry = registry
        self._trigger = trigger
        self._clock = clock
        self._told: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._quiet = False
        self._one_at_a_time = threading.Lock()

    def started(self, event: Any) -> None:
        """``onQueryStarted``."""
        self._guarded(lambda: self._tell("started", event, name=_name(event.name)))

    def progressed(self, event: Any) -> None:
        """``onQueryProgress``."""
        self._guarded(lambda: self._progress(event.progress))

    def idle(self, event: Any) -> None:
        """``onQueryIdle``: there was nothing to do (Spark 3.5 and later)."""
        self._guarded(lambda: self._tell("idle", event))

    def terminated(self, event: Any) -> None:
        """``onQueryTerminated``."""
        self._guarded(lambda: self._tell("terminated", event, failed=event.exception is not None))

    def _progress(self, progress: Any) -> None:
        durations = progress.durationMs or {}
        if "addBatch" not in durations:
            # Spark 3.4 tells so of a trigger that found nothing; the batch of this number is yet to come
            self._tell("idle", progress, name=_name(progress.name))
            return
        sources = list(progress.sources or ())
        self._tell(
            "progress",
            progress,
            name=_name(progress.name),
            batchId=progress.batchId,
            rows=progress.numInputRows,
            inputRate=_finite(progress.inputRowsPerSecond),
            processingRate=_finite(progress.processedRowsPerSecond),
            durationMs=durations.get("triggerExecution"),
            batchStartedAt=progress.timestamp,
            rowsBehind=rows_behind(sources),
            partitions=partitions(sources),
        )

    def _tell(self, what: str, event: Any, **fields: Any) -> None:
        """Replace the document of a query. What a later event does not say stays as it was within one run."""
        query, run = str(event.id), str(event.runId)
        before = self._told.pop(query, None) or {}
        if before.get("runId") != run:
            trigger, interval_ms = parsed_trigger(self._trigger(query))
            before = {"trigger": trigger, "triggerIntervalMs": interval_ms}
        document = {
            **before,
            "format": FORMAT,
            "event": what,
            "id": query,
            "runId": run,
            "atMs": int(self._clock() * 1000),
            **fields,
        }
        self._make_room()
        self._told[query] = document
        self._registry.put(GAUGE_PREFIX + query, json.dumps(document))

    def _make_room(self) -> None:
        while len(self._told) >= MOST_QUERIES:
            ended = (query for query, told in self._told.items() if told["event"] == "terminated")
            oldest = next(ended, None) or next(iter(self._told))
            del self._told[oldest]
            self._registry.remove(GAUGE_PREFIX + oldest)

    def _guarded(self, work: Callable[[], None]) -> None:
        with self._one_at_a_time:
            if self._quiet:
                return
            try:
                work()
            except Exception:  # noqa: BLE001  (the job comes first)
                self._quiet = True
                _log.warning(
                    "progress of streaming queries is not reported any longer", exc_info=True
                )


class Registry:
    """Where documents go, by the key of a gauge."""

    def put(self, key: str, document: str) -> None:
        """Set a gauge, and make it if there is none."""
        raise NotImplementedError

    def remove(self, key: str) -> None:
        """Take a gauge away."""
        raise NotImplementedError


class _Registry(Registry):
    """The metrics of Spark's driver.

    ``AccumulatorSource`` is the one source that Spark lets applications make; gauges that are added to its registry
    later show up in Spark's own (``com.codahale.metrics.MetricRegistry.register`` follows a registry within a registry).
    """

    def __init__(self, spark: Any) -> None:
        jvm: Any = spark.sparkContext._jvm  # noqa: SLF001  (PySpark has no other way)
        source = jvm.org.apache.spark.metrics.source.LongAccumulatorSource()
        jvm.org.apache.spark.SparkEnv.get().metricsSystem().registerSource(source)
        self._metrics = source.metricRegistry()
        self._gauge = jvm.com.codahale.metrics.DefaultSettableGauge
        self._gauges: dict[str, Any] = {}

    def put(self, key: str, document: str) -> None:
        if key in self._gauges:
            self._gauges[key].setValue(document)
        else:
            gauge = self._gauge(document)
            self._metrics.register(key, gauge)
            self._gauges[key] = gauge

    def remove(self, key: str) -> None:
        if self._gauges.pop(key, None) is not None:
            self._metrics.remove(key)


def parsed_trigger(text: str) -> tuple[str, int | None]:
    """Kind and interval in milliseconds of a trigger as Spark writes it, such as ``ProcessingTimeTrigger(10000)``.

    The kind is ``ProcessingTime``, ``AvailableNow``, ``OneTime``, ``Continuous`` or whatever a later Spark has; "" when
    the text is none.
    """
    found = _TRIGGER.match(text.strip())
    if found is None:
        return "", None
    return found.group(1), None if found.group(2) is None else int(found.group(2))


def rows_behind(sources: Iterable[Any]) -> int | None:
    """Rows that the sources have and that were not read yet when the batch was planned; None when no source tells.

    A source tells by offsets in the form of Kafka's, ``{"topic": {"0": 17}}``, or by its metric
    ``avgOffsetsBehindLatest`` (``KafkaMicroBatchStream.metrics``). One that does not tell adds nothing.
    """
    told = [each for each in map(_behind, sources) if each is not None]
    return sum(told) if told else None


def partitions(sources: Iterable[Any]) -> int | None:
    """Partitions of all sources that have offsets in the form of Kafka's; None when there is none."""
    told = [len(offsets) for each in sources if (offsets := _offsets(each.endOffset))]
    return sum(told) if told else None


def _behind(source: Any) -> int | None:
    reached, latest = _offsets(source.endOffset), _offsets(source.latestOffset)
    if reached and latest:
        return sum(
            max(0, there - reached.get(partition, there)) for partition, there in latest.items()
        )
    metrics = source.metrics or {}
    try:
        return max(0, round(float(metrics["avgOffsetsBehindLatest"]) * max(1, len(reached))))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _offsets(text: Any) -> Mapping[tuple[str, str], int]:
    """By topic and partition; empty for offsets of another form."""
    try:
        document = json.loads(text)
        return {
            (topic, partition): offset
            for topic, of_topic in document.items()
            for partition, offset in of_topic.items()
            if isinstance(offset, int)
        }
    except (TypeError, ValueError, AttributeError):
        return {}


def _finite(rate: Any) -> float | None:
    """JSON has no infinity, which is Spark's rate of a batch that took no time."""
    return rate if isinstance(rate, (int, float)) and math.isfinite(rate) else None


def _name(name: Any) -> str | None:
    return None if name is None else str(name)[:LONGEST_NAME]


def _trigger_of(spark: Any) -> Callable[[str], str]:
    def trigger(query: str) -> str:
        try:
            found = spark._jsparkSession.streams().get(query)  # noqa: SLF001
            return "" if found is None else str(found.streamingQuery().trigger().toString())
        except Exception:  # noqa: BLE001  (py4j has its own, and what is missing is only the trigger)
            _log.info("the trigger of a streaming query is not known", exc_info=True)
            return ""

    return trigger


def _listener(reporter: Reporter) -> Any:
    base: Any = import_module("pyspark.sql.streaming").StreamingQueryListener

    class Listener(base):  # type: ignore[misc]
        def onQueryStarted(self, event: Any) -> None:  # noqa: N802
            reporter.started(event)

        def onQueryProgress(self, event: Any) -> None:  # noqa: N802
            reporter.progressed(event)

        def onQueryIdle(self, event: Any) -> None:  # noqa: N802
            reporter.idle(event)

        def onQueryTerminated(self, event: Any) -> None:  # noqa: N802
            reporter.terminated(event)

    return Listener()
