"""Event logs as Spark writes them: every line with the fields, names and order of ``JsonProtocol``."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

EPOCH_MS = 1_780_000_000_000
NO_STORAGE = {"Use Disk": False, "Use Memory": False, "Use Off Heap": False, "Deserialized": False, "Replication": 1}  # fmt: skip
IN_MEMORY = {**NO_STORAGE, "Use Memory": True, "Deserialized": True}


def rdd(
    rdd_id: int, *, cached: bool = False, partitions: int = 1, parents: Iterable[int] = ()
) -> dict[str, Any]:
    return {
        "RDD ID": rdd_id,
        "Name": "MapPartitionsRDD",
        "Scope": json.dumps({"id": str(rdd_id), "name": "map"}),
        "Callsite": "map at Job.scala:42",
        "Parent IDs": list(parents),
        "Storage Level": IN_MEMORY if cached else NO_STORAGE,
        "Barrier": False,
        "DeterministicLevel": "DETERMINATE",
        "Number of Partitions": partitions,
        "Number of Cached Partitions": 0,
        "Memory Size": 0,
        "Disk Size": 0,
    }


class EventLog:
    """Lines of one log; times in seconds since its beginning.

    Args:
        spark: the version; 3.0 knows no resource profiles.
        properties: Spark properties.
        bulk: more accumulables in the ends of tasks, as an application with SQL has.
    """

    def __init__(
        self,
        *,
        spark: str = "4.1.4",
        properties: Mapping[str, str] | None = None,
        name: str = "nightly",
        application_id: str = "spark-0123456789abcdef",
        bulk: int = 4,
    ) -> None:
        self.lines: list[str] = []
        self._old = spark.startswith("3.0")
        self._bulk = bulk
        self._tasks = 0
        self._stages: dict[tuple[int, int], dict[str, Any]] = {}
        self.event("LogStart", **{"Spark Version": spark})
        if not self._old:
            self.profile(0, cores=int((properties or {}).get("spark.executor.cores", "1")))
        self.event(
            "EnvironmentUpdate",
            **{
                "JVM Information": {"Java Version": "17.0.12 (Eclipse Adoptium)"},
                "Spark Properties": {
                    "spark.app.name": name,
                    "spark.master": "k8s://https://10.96.0.1:443",
                    **(properties or {}),
                },
                "Hadoop Properties": {"dfs.replication": "3"},
                "System Properties": {"java.io.tmpdir": "/tmp"},
                "Metrics Properties": {},
                "Classpath Entries": {"/opt/spark/jars/spark-core.jar": "System Classpath"},
            },
        )
        self.event(
            "ApplicationStart",
            **{
                "App Name": name,
                "App ID": application_id,
                "Timestamp": EPOCH_MS,
                "User": "spark",
            },
        )

    def event(self, kind: str, /, **fields: Any) -> None:
        """One line."""
        name = kind if "." in kind else f"SparkListener{kind}"
        self.lines.append(json.dumps({"Event": name, **fields}, separators=(",", ":")))

    @property
    def text(self) -> str:
        return "".join(line + "\n" for line in self.lines)

    def write(self, path: Path) -> Path:
        path.write_text(self.text)
        return path

    # -- events --------------------------------------------------------------------------------------------------------

    def profile(
        self, profile_id: int, *, cores: int = 1, gpus: int = 0, task_cpus: float = 1.0
    ) -> None:
        executor = {"cores": cores, "memory": 1024, "offHeap": 0} | ({"gpu": gpus} if gpus else {})
        task = {"cpus": task_cpus} | ({"gpu": 1.0} if gpus else {})
        self.event(
            "ResourceProfileAdded",
            **{
                "Resource Profile Id": profile_id,
                "Executor Resource Requests": {
                    name: {
                        "Resource Name": name,
                        "Amount": amount,
                        "Discovery Script": "",
                        "Vendor": "",
                    }
                    for name, amount in executor.items()
                },
                "Task Resource Requests": {
                    name: {"Resource Name": name, "Amount": amount} for name, amount in task.items()
                },
            },
        )

    def executor_added(
        self,
        executor_id: str,
        at: float,
        *,
        cores: int = 1,
        profile: int = 0,
        requested_at: float | None = None,
    ) -> None:
        info: dict[str, Any] = {
            "Host": f"10.1.0.{executor_id}",
            "Total Cores": cores,
            "Log Urls": {},
            "Attributes": {},
            "Resources": {},
            "Resource Profile Id": profile,
        }
        if requested_at is not None:
            info |= {"Registration Time": _ms(at), "Request Time": _ms(requested_at)}
        if self._old:
            del info["Resource Profile Id"]
        self.event(
            "ExecutorAdded",
            **{"Timestamp": _ms(at), "Executor ID": executor_id, "Executor Info": info},
        )

    def executor_removed(
        self, executor_id: str, at: float, reason: str = "Executor killed by driver."
    ) -> None:
        self.event(
            "ExecutorRemoved",
            **{"Timestamp": _ms(at), "Executor ID": executor_id, "Removed Reason": reason},
        )

    def stage(
        self,
        stage_id: int,
        tasks: int,
        *,
        attempt: int = 0,
        parents: Iterable[int] = (),
        rdds: Iterable[dict[str, Any]] | None = None,
        profile: int = 0,
    ) -> dict[str, Any]:
        """A stage's description; its own RDD is the first of ``rdds``."""
        info = {
            "Stage ID": stage_id,
            "Stage Attempt ID": attempt,
            "Stage Name": f"stage {stage_id}",
            "Number of Tasks": tasks,
            "RDD Info": list(rdds) if rdds is not None else [rdd(stage_id, partitions=tasks)],
            "Parent IDs": list(parents),
            "Details": "org.apache.spark.rdd.RDD.collect(RDD.scala:1049)",
            "Accumulables": [],
            "Resource Profile Id": profile,
            "Shuffle Push Enabled": False,
            "Shuffle Push Mergers Count": 0,
        }
        if self._old:
            del info["Resource Profile Id"]
        self._stages[stage_id, attempt] = info
        return info

    def job_start(
        self,
        job_id: int,
        at: float,
        stages: Iterable[dict[str, Any]],
        properties: Mapping[str, str] | None = None,
    ) -> None:
        stages = list(stages)
        self.event(
            "JobStart",
            **{
                "Job ID": job_id,
                "Submission Time": _ms(at),
                "Stage Infos": stages,
                "Stage IDs": [stage["Stage ID"] for stage in stages],
                "Properties": dict(properties or {}),
            },
        )

    def job_end(self, job_id: int, at: float) -> None:
        self.event(
            "JobEnd",
            **{
                "Job ID": job_id,
                "Completion Time": _ms(at),
                "Job Result": {"Result": "JobSucceeded"},
            },
        )

    def stage_submitted(self, stage: Mapping[str, Any], at: float) -> None:
        self.event(
            "StageSubmitted",
            **{"Stage Info": {**stage, "Submission Time": _ms(at)}, "Properties": {}},
        )

    def stage_completed(
        self, stage: Mapping[str, Any], at: float, *, failed: str | None = None
    ) -> None:
        info = {**stage, "Submission Time": _ms(at), "Completion Time": _ms(at)}
        self.event(
            "StageCompleted",
            **{"Stage Info": info | ({"Failure Reason": failed} if failed else {})},
        )

    def task_start(
        self,
        stage: Mapping[str, Any],
        index: int,
        executor_id: str,
        at: float,
        *,
        attempt: int = 0,
        partition: int | None = None,
        speculative: bool = False,
    ) -> None:
        info = self._task(
            index,
            executor_id,
            at,
            ended_at=None,
            attempt=attempt,
            partition=partition,
            speculative=speculative,
        )
        self.event(
            "TaskStart",
            **{
                "Stage ID": stage["Stage ID"],
                "Stage Attempt ID": stage["Stage Attempt ID"],
                "Task Info": info,
            },
        )

    def task_end(
        self,
        stage: Mapping[str, Any],
        index: int,
        executor_id: str,
        at: float,
        ended_at: float,
        *,
        reason: str = "Success",
        writes: bool = False,
        attempt: int = 0,
        partition: int | None = None,
        speculative: bool = False,
    ) -> None:
        info = self._task(
            index,
            executor_id,
            at,
            ended_at=ended_at,
            attempt=attempt,
            partition=partition,
            speculative=speculative,
        )
        info["Failed"] = reason not in ("Success", "TaskKilled")
        info["Killed"] = reason == "TaskKilled"
        info["Accumulables"] = [
            {
                "ID": 1000 + number,
                "Name": f"internal.metrics.number{number}",
                "Update": 17 * number,
                "Value": 1234 * number + index,
                "Internal": True,
                "Count Failed Values": True,
            }
            for number in range(self._bulk)
        ]
        self.event(
            "TaskEnd",
            **{
                "Stage ID": stage["Stage ID"],
                "Stage Attempt ID": stage["Stage Attempt ID"],
                "Task Type": "ShuffleMapTask" if writes else "ResultTask",
                "Task End Reason": {"Reason": reason},
                "Task Info": info,
                "Task Executor Metrics": {"JVMHeapMemory": 0, "ProcessTreeJVMVMemory": 0},
                "Task Metrics": {
                    "Executor Deserialize Time": 3,
                    "Executor Run Time": int((ended_at - at) * 1000),
                    "Result Size": 1234,
                    "Shuffle Write Metrics": {
                        "Shuffle Bytes Written": 4096 if writes else 0,
                        "Shuffle Write Time": 1,
                        "Shuffle Records Written": 12,
                    },
                    "Updated Blocks": [],
                },
            },
        )

    def unpersist(self, rdd_id: int) -> None:
        self.event("UnpersistRDD", **{"RDD ID": rdd_id})

    def application_end(self, at: float) -> None:
        self.event("ApplicationEnd", Timestamp=_ms(at))

    # -- scenes --------------------------------------------------------------------------------------------------------

    def run_stage(
        self,
        stage: Mapping[str, Any],
        at: float,
        durations: Iterable[float],
        executors: Iterable[str],
        *,
        writes: bool = False,
        places_from: float | None = None,
    ) -> float:
        """A stage whose tasks go to whichever executor is free first, one task each; returns when it ended.

        Args:
            places_from: when the executors take tasks, if that is later than the submission.
        """
        self.stage_submitted(stage, at)
        free = dict.fromkeys(executors, at if places_from is None else max(at, places_from))
        end = at
        for index, seconds in enumerate(durations):
            executor_id = min(free, key=lambda each: (free[each], each))
            began = free[executor_id]
            free[executor_id] = began + seconds
            end = max(end, began + seconds)
            self.task_start(stage, index, executor_id, began)
            self.task_end(stage, index, executor_id, began, began + seconds, writes=writes)
        self.stage_completed(stage, end)
        return end

    def _task(
        self,
        index: int,
        executor_id: str,
        at: float,
        *,
        ended_at: float | None,
        attempt: int,
        partition: int | None,
        speculative: bool,
    ) -> dict[str, Any]:
        self._tasks += ended_at is None
        return {
            "Task ID": self._tasks,
            "Index": index,
            "Attempt": attempt,
            "Partition ID": index if partition is None else partition,
            "Launch Time": _ms(at),
            "Executor ID": executor_id,
            "Host": f"10.1.0.{executor_id}",
            "Locality": "PROCESS_LOCAL",
            "Speculative": speculative,
            "Getting Result Time": 0,
            "Finish Time": 0 if ended_at is None else _ms(ended_at),
            "Failed": False,
            "Killed": False,
            "Accumulables": [],
        }


def _ms(seconds: float) -> int:
    return EPOCH_MS + round(seconds * 1000)
