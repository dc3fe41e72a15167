"""Writes event logs of four small applications, to try `spark-allocation simulate` with.

    python examples/what-if/make_logs.py logs/

Each was run with as many executors as it has tasks at once. The logs hold what a simulation reads of a log and nothing else;
times begin at 2026-01-31 12:00 UTC.

ramp        one stage of 100 tasks of a minute each
pauses      a job, ten minutes without one, and the same again
engine      a SQL engine that lives on after a query of 400 tasks
stream-day  a streaming query with a batch each five minutes, four tasks at night and up to forty at noon
"""

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path

BEGIN_MS = 1_769_860_800_000


class Log:
    """Lines of one event log; times in seconds since the application's start."""

    def __init__(self, name: str, executors: int) -> None:
        self.lines: list[str] = []
        self.stages = 0
        self.jobs = 0
        self.event("LogStart", {"Spark Version": "4.1.4"})
        properties = {"spark.app.name": name, "spark.executor.instances": str(executors)}
        self.event("EnvironmentUpdate", {"Spark Properties": properties})
        self.event("ApplicationStart", {"App Name": name, "App ID": name, "Timestamp": BEGIN_MS})
        for number in range(1, executors + 1):
            about = {"Timestamp": ms(5), "Executor ID": str(number)}
            self.event("ExecutorAdded", about | {"Executor Info": {"Total Cores": 1}})

    def event(self, kind: str, fields: dict) -> None:
        self.lines.append(json.dumps({"Event": f"SparkListener{kind}"} | fields))

    def job(self, at: float, seconds: Iterable[float], properties: dict | None = None) -> float:
        """A job of one stage, each of its tasks on an executor of its own; returns when it ended."""
        seconds = list(seconds)
        stage_id, job_id = self.stages, self.jobs
        self.stages, self.jobs = stage_id + 1, job_id + 1
        stage = {"Stage ID": stage_id, "Stage Attempt ID": 0, "Number of Tasks": len(seconds)}
        end = at + max(seconds)
        started = {"Job ID": job_id, "Submission Time": ms(at), "Stage Infos": [stage]}
        self.event("JobStart", started | {"Stage IDs": [stage_id], "Properties": properties or {}})
        self.event("StageSubmitted", {"Stage Info": stage | {"Submission Time": ms(at)}})
        about = {"Stage ID": stage_id, "Stage Attempt ID": 0}
        tasks = [
            {
                "Index": index,
                "Executor ID": str(index + 1),
                "Launch Time": ms(at),
                "Speculative": False,
            }
            for index in range(len(seconds))
        ]
        for task in tasks:
            self.event("TaskStart", about | {"Task Info": task})
        for duration, index in sorted(zip(seconds, range(len(seconds)), strict=True)):
            task = tasks[index] | {"Finish Time": ms(at + duration)}
            self.event(
                "TaskEnd", about | {"Task End Reason": {"Reason": "Success"}, "Task Info": task}
            )
        self.event("StageCompleted", {"Stage Info": stage | {"Completion Time": ms(end)}})
        self.event("JobEnd", {"Job ID": job_id, "Completion Time": ms(end)})
        return end

    def write(self, path: Path, end: float) -> None:
        self.event("ApplicationEnd", {"Timestamp": ms(end)})
        path.write_text("\n".join(self.lines) + "\n")


def ms(seconds: float) -> int:
    return BEGIN_MS + round(seconds * 1000)


def ramp(path: Path) -> None:
    log = Log("ramp", 100)
    log.write(path, log.job(10, [60] * 100) + 5)


def pauses(path: Path) -> None:
    log = Log("pauses", 8)
    end = log.job(10, [30] * 8)
    log.write(path, log.job(end + 600, [30] * 8) + 5)


def engine(path: Path) -> None:
    log = Log("engine", 400)
    log.write(path, log.job(60, [120] * 400) + 1800)


def stream_day(path: Path) -> None:
    log = Log("stream-day", 40)
    for batch in range(288):
        at = 300.0 * (batch + 1)
        load = (1 - math.cos(2 * math.pi * batch / 288)) / 2
        properties = {"sql.streaming.queryId": "clicks", "streaming.sql.batchId": str(batch)}
        end = log.job(at, [45] * round(4 + 36 * load), properties)
    log.write(path, end + 5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="made if need be")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for make in (ramp, pauses, engine, stream_day):
        name = make.__name__.replace("_", "-")
        make(folder / name)
        print(folder / name)


if __name__ == "__main__":
    main()
