"""Enough of Spark's event log to replay who needed how many executors, and when."""

import json
from collections.abc import Iterator

from spark_allocation.core.listener_events import (
    ExecutorAdded,
    ExecutorRemoved,
    JobEnd,
    JobStart,
    ListenerEvent,
    ResourceProfileAdded,
    StageCompleted,
    StageInfo,
    StageSubmitted,
    TaskEnd,
    TaskEndReason,
    TaskStart,
)
from spark_allocation.core.resource_profiles import (
    ExecutorResourceRequest,
    ProfileId,
    ResourceProfile,
    TaskResourceRequest,
)


def timed_events(log: str) -> Iterator[tuple[int, ListenerEvent]]:
    """(epoch milliseconds, event) in the order of the log; an event without a time has the one before."""
    at = 0
    for line in log.splitlines():
        record = json.loads(line)
        moment, event = _event(record)
        at = max(at, moment or 0)
        if event is not None:
            yield at, event


def _event(record: dict) -> tuple[int | None, ListenerEvent | None]:
    match record["Event"].removeprefix("SparkListener"):
        case "ResourceProfileAdded":
            return None, ResourceProfileAdded(_profile(record))
        case "ExecutorAdded":
            profile = ProfileId(record["Executor Info"]["Resource Profile Id"])
            return record["Timestamp"], ExecutorAdded(record["Executor ID"], profile)
        case "ExecutorRemoved":
            return record["Timestamp"], ExecutorRemoved(
                record["Executor ID"], record["Removed Reason"]
            )
        case "JobStart":
            stages = tuple(_stage(info) for info in record["Stage Infos"])
            return record["Submission Time"], JobStart(record["Job ID"], stages)
        case "JobEnd":
            return record["Completion Time"], JobEnd(record["Job ID"])
        case "StageSubmitted":
            info = record["Stage Info"]
            return info.get("Submission Time"), StageSubmitted(_stage(info))
        case "StageCompleted":
            info = record["Stage Info"]
            return info["Completion Time"], StageCompleted(
                info["Stage ID"], info["Stage Attempt ID"]
            )
        case "TaskStart":
            info = record["Task Info"]
            return info["Launch Time"], TaskStart(
                record["Stage ID"],
                record["Stage Attempt ID"],
                info["Index"],
                info["Executor ID"],
                info["Speculative"],
            )
        case "TaskEnd":
            info = record["Task Info"]
            return info["Finish Time"], TaskEnd(
                record["Stage ID"],
                record["Stage Attempt ID"],
                info["Index"],
                info["Executor ID"],
                _reason(record["Task End Reason"]["Reason"]),
                info["Speculative"],
            )
        case _:
            return None, None


def _stage(info: dict) -> StageInfo:
    return StageInfo(
        info["Stage ID"],
        info["Stage Attempt ID"],
        info["Number of Tasks"],
        ProfileId(info["Resource Profile Id"]),
    )


def _reason(name: str) -> TaskEndReason:
    return {"Success": TaskEndReason.SUCCESS, "TaskKilled": TaskEndReason.KILLED}.get(
        name, TaskEndReason.FAILED
    )


def _profile(record: dict) -> ResourceProfile:
    return ResourceProfile(
        ProfileId(record["Resource Profile Id"]),
        {
            name: ExecutorResourceRequest(name, int(request["Amount"]))
            for name, request in record["Executor Resource Requests"].items()
        },
        {
            name: TaskResourceRequest(name, float(request["Amount"]))
            for name, request in record["Task Resource Requests"].items()
        },
    )
