"""What was done in a run, and what had to be done again, from Spark's own event log.

Work is done again when a task that had succeeded runs another time: a map task of the same data set and partition (also
in a later stage, where its output had been lost between two jobs), or a result task of the same stage and partition.
Work is lost when a task ends otherwise than well. Each of the two names the executor that it goes back to, so that what
an executor took with it that somebody deleted by hand can be told from what a drain has cost.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]
SUCCESS = "Success"
RESUBMITTED = "Resubmitted"


@dataclass(frozen=True, slots=True)
class Loss:
    """Seconds of work that were for nothing, or had to be done again.

    Attributes:
        at_ms: when it came to light.
        seconds: of task time.
        kind: Spark's reason, or "again" for a task that had succeeded before.
        executor: whose going caused it; "" when Spark does not say.
        charged: whether Spark counts it against the task.
    """

    at_ms: int
    seconds: float
    kind: str
    executor: str
    charged: bool = False
    words: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt of a stage.

    Attributes:
        executor: whose going caused it; "" when Spark does not say.
    """

    at_ms: int
    stage: int
    attempt: int
    executor: str


@dataclass(slots=True)
class Work:
    """One application's work.

    Attributes:
        began_ms, ended_ms: of the application; 0 when it did not come to that.
        task_seconds: of all tasks.
        executors: ids in the order of their registration.
        removed: executor id → when, and what Spark said.
    """

    began_ms: int = 0
    ended_ms: int = 0
    task_seconds: float = 0.0
    tasks: int = 0
    losses: list[Loss] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)
    executors: list[str] = field(default_factory=list)
    removed: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def makespan(self) -> float:
        """Seconds from the application's start to its end."""
        return (self.ended_ms - self.began_ms) / 1000

    def owed_to(self, hit: Collection[str], event: Loss | Retry, *, migrate: bool) -> bool:
        """Whether it goes back to an executor that somebody ended by hand.

        Args:
            hit: ids of those.
            migrate: what an executor held may be that of another one, so that any of them may be the cause.
        """
        gone = {
            each for each in hit if each in self.removed and self.removed[each][0] <= event.at_ms
        }
        # a task that ends with its executor is told of before the executor is
        return event.executor in hit or (bool(gone) and (migrate or not event.executor))


def work_of(log: str) -> Work:
    """Read an event log, also one that breaks off."""
    work = Work()
    datasets: dict[int, int] = {}
    first: dict[tuple[str, int, int], str] = {}
    blamed = ""
    for record in _records(log):
        match record["Event"].removeprefix("SparkListener"):
            case "ApplicationStart":
                work.began_ms = record["Timestamp"]
            case "ApplicationEnd":
                work.ended_ms = record["Timestamp"]
            case "ExecutorAdded":
                work.executors.append(record["Executor ID"])
            case "ExecutorRemoved":
                work.removed[record["Executor ID"]] = (
                    record["Timestamp"],
                    record["Removed Reason"],
                )
            case "StageSubmitted":
                info = record["Stage Info"]
                datasets[info["Stage ID"]] = info["RDD Info"][0]["RDD ID"]
                if info["Stage Attempt ID"] > 0:
                    at = info.get("Submission Time") or 0
                    work.retries.append(
                        Retry(at, info["Stage ID"], info["Stage Attempt ID"], blamed)
                    )
            case "TaskEnd":
                blamed = _task(record, work, datasets, first) or blamed
    return work


def _task(
    record: Record, work: Work, datasets: dict[int, int], first: dict[tuple[str, int, int], str]
) -> str:
    """Account for one task's end; the executor that it blames, if any."""
    info, reason = record["Task Info"], record["Task End Reason"]
    kind = reason["Reason"]
    if kind == RESUBMITTED:
        # its seconds are those of a success that has been counted; the next one is the loss
        return str(info["Executor ID"])
    seconds = (info["Finish Time"] - info["Launch Time"]) / 1000
    work.task_seconds += seconds
    work.tasks += 1
    if kind == SUCCESS:
        stage = record["Stage ID"]
        maps = record["Task Type"] == "ShuffleMapTask"
        partition = info.get("Partition ID", info["Index"])
        key = (record["Task Type"], datasets.get(stage, -1) if maps else stage, partition)
        if key in first:
            work.losses.append(Loss(info["Launch Time"], seconds, "again", first[key]))
        first[key] = str(info["Executor ID"])
        return ""
    executor, words, charged = _failure(info, reason)
    work.losses.append(Loss(info["Finish Time"], seconds, kind, executor, charged, words))
    return executor


def _failure(info: Record, reason: Record) -> tuple[str, str, bool]:
    """Whose fault it is, in which words, and whether the task is charged with it."""
    match reason["Reason"]:
        case "FetchFailed":
            address = reason.get("Block Manager Address") or {}
            return str(address.get("Executor ID", "")), str(reason.get("Message", ""))[:200], False
        case "ExecutorLostFailure":
            charged = bool(reason.get("Exit Caused By App", True))
            return str(reason["Executor ID"]), str(reason.get("Loss Reason", ""))[:200], charged
        case "TaskKilled":
            return "", str(reason.get("Kill Reason", ""))[:200], False
        case _:
            words = str(reason.get("Description") or reason.get("Class Name") or "")[:200]
            return str(info["Executor ID"]), words, True


def _records(log: str) -> Iterator[Record]:
    for line in log.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            # the last line of a log that breaks off
            return
