"""Logs under policies as a job of Spark: one task a log, each of which does what a process of one machine does.

Theory of operation
-------------------
The driver finds the logs and reads the policies; a task gets the place of a log and all policies, opens the log itself, and
gives back what tables and documents tell of it. The largest logs go first, so that none of them is begun at the end.

One log must not cost the others their answers. What goes wrong in Python is part of the answer already (`study_of_many`).
A log that takes its process along, as one does for which there is no memory, is tried as often as Spark tries a task; the last
time its task gives up at once, and says why.
"""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

from spark_allocation.controller.policy_files import PolicyFile
from spark_allocation.controller.what_if_study import (
    LogStudy,
    Progress,
    SupposedCluster,
    study_of_many,
)
from spark_allocation.sources.event_log.log_files import LogFiles

APPLICATION_NAME = "spark-allocation simulate"
_TOLD_EVERY_SECONDS = 0.5
_DEFAULT_MAX_FAILURES = 4
"""``spark.task.maxFailures``."""


class SparkMissing(RuntimeError):  # noqa: N818  (what the user lacks)
    """There is no PySpark here, or none that can start; the message says what to do."""


class SparkJobFailed(RuntimeError):  # noqa: N818  (what the user reads)
    """The job as a whole came to nothing; the message says why, as far as Spark tells it."""


def studies_on_spark(
    logs: Sequence[LogFiles],
    policies: Sequence[PolicyFile],
    supposed: SupposedCluster,
    progress: Progress = lambda _bytes: None,
) -> list[LogStudy]:
    """All logs, in their order: the same as `studies`, on the executors of a Spark application.

    The application is the one that spark-submit has started, or a new one with the settings that Spark finds.

    Raises:
        SparkMissing: without PySpark.
        SparkJobFailed: when the job fails as a whole.
    """
    pyspark = _pyspark()
    try:
        conf = pyspark.SparkConf().setIfMissing("spark.app.name", APPLICATION_NAME)
        conf.set("spark.speculation", "false")  # a copy of a slow task would count as a try of it
        context = pyspark.SparkContext.getOrCreate(conf)
    except Exception as error:  # noqa: BLE001  (PySpark has an exception for each way not to start)
        raise SparkMissing(f"--spark: Spark does not start: {_reason(error)}") from None
    try:
        done = context.accumulator(0)
        by_size = sorted(enumerate(map(_from_anywhere, logs)), key=lambda each: -each[1].size)
        task = _Task(tuple(policies), supposed, _tries(context), done)
        job = context.parallelize(by_size, max(1, len(by_size))).map(task)
        with _told(done, progress):
            found = dict(job.collect())
    except Exception as error:  # py4j's, PySpark's and those of pickling
        raise SparkJobFailed(_failure(error)) from error
    finally:
        context.stop()
    return [found[place] for place in range(len(logs))]


class _Task:
    """What an executor does with one log. Executors import this class: they need the package as the driver does."""

    def __init__(
        self, policies: tuple[PolicyFile, ...], supposed: SupposedCluster, tries: int, done: Any
    ) -> None:
        self._policies = policies
        self._supposed = supposed
        self._tries = tries
        self._done = done

    def __call__(self, numbered: tuple[int, LogFiles]) -> tuple[int, LogStudy]:
        place, files = numbered
        before = import_module("pyspark").TaskContext.get().attemptNumber()
        if before > 0 and before + 1 >= self._tries:
            why = (
                f"given up after {before} tries, whose executors were lost: evicted, or killed for memory "
                "(spark.executor.memoryOverhead)"
            )
            return place, LogStudy(files.name, problem=f"{files.name}: {why}")
        found = study_of_many(files, self._policies, self._supposed)
        self._done += files.size
        if found.problem and any(_is_out_of_sight(part) for part in files.parts):
            found = replace(found, problem=f"{found.problem}; executors have to see it: name a URL, or a folder that all of them mount")  # fmt: skip
        return place, found


def _from_anywhere(files: LogFiles) -> LogFiles:
    """The same log for a process in another working directory."""
    return replace(
        files,
        parts=tuple(part if "://" in part else os.path.abspath(part) for part in files.parts),  # noqa: PTH100
    )


def _is_out_of_sight(part: str) -> bool:
    return "://" not in part and not os.path.lexists(part)


def _tries(context: Any) -> int:
    """How often Spark tries a task before it gives the job up."""
    local = re.fullmatch(r"local\[[^,\]]+(?:,\s*(\d+))?\]|local", context.master)
    if local:
        return int(local[1] or 1)
    return int(context.getConf().get("spark.task.maxFailures", str(_DEFAULT_MAX_FAILURES)))


@contextmanager
def _told(done: Any, progress: Progress) -> Iterator[None]:
    """Tell how many bytes are done while the driver waits for the job."""
    over = threading.Event()

    def tell() -> None:
        before = 0
        while not over.wait(_TOLD_EVERY_SECONDS):
            now = done.value
            progress(now - before)
            before = now

    teller = threading.Thread(target=tell, name="progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _pyspark() -> Any:
    try:
        pyspark = import_module("pyspark")
        _ = pyspark.SparkContext
    except (ImportError, AttributeError):
        raise SparkMissing(
            "--spark: PySpark is not here: start it with spark-submit, as examples/what-if/simulate_on_spark.py says, "
            "or install it (pip install pyspark)"
        ) from None
    return pyspark


def _failure(error: Exception) -> str:
    missing = re.search(r"No module named '(\w+)", str(error))
    if missing:
        return (
            f"the executors' Python has no module {missing[1]}: put spark-allocation-operator[what-if] into their image, "
            "or into an archive that spark.archives and spark.pyspark.python name"
        )
    return f"the Spark job failed: {_reason(error)}"


def _reason(error: Exception) -> str:
    """The first line that tells something: the rest are stack traces."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("An error occurred while calling", ":"))]  # fmt: skip
    return (telling or lines or [type(error).__name__])[0]
