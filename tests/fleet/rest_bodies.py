"""What a driver's REST API and metrics say, with every field that Spark 4.1 writes, made as cheaply as possible.

The operator reads a few of these fields; it has to pay for reading past the others. So lengths are those of a real driver:
an executor 1.9 KB, a stage 3.7 KB, the metrics 20 KB, the environment 60 KB.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

_PEAK_NAMES = (
    "JVMHeapMemory JVMOffHeapMemory OnHeapExecutionMemory OffHeapExecutionMemory OnHeapStorageMemory "
    "OffHeapStorageMemory OnHeapUnifiedMemory OffHeapUnifiedMemory DirectPoolMemory MappedPoolMemory "
    "ProcessTreeJVMVMemory ProcessTreeJVMRSSMemory ProcessTreePythonVMemory ProcessTreePythonRSSMemory "
    "ProcessTreeOtherVMemory ProcessTreeOtherRSSMemory MinorGCCount MinorGCTime MajorGCCount MajorGCTime "
    "TotalGCTime ConcurrentGCCount ConcurrentGCTime"
)
_STAGE_FIGURE_NAMES = (
    "numCompleteTasks numFailedTasks numKilledTasks executorDeserializeTime executorDeserializeCpuTime executorRunTime "
    "executorCpuTime resultSize jvmGcTime resultSerializationTime memoryBytesSpilled diskBytesSpilled "
    "peakExecutionMemory inputBytes inputRecords outputBytes outputRecords shuffleRemoteBlocksFetched "
    "shuffleLocalBlocksFetched shuffleFetchWaitTime shuffleRemoteBytesRead shuffleRemoteBytesReadToDisk "
    "shuffleLocalBytesRead shuffleReadBytes shuffleReadRecords shuffleCorruptMergedBlockChunks "
    "shuffleMergedFetchFallbackCount shuffleMergedRemoteBlocksFetched shuffleMergedLocalBlocksFetched "
    "shuffleMergedRemoteChunksFetched shuffleMergedLocalChunksFetched shuffleMergedRemoteBytesRead "
    "shuffleMergedLocalBytesRead shuffleRemoteReqsDuration shuffleMergedRemoteReqsDuration shuffleWriteBytes "
    "shuffleWriteTime shuffleWriteRecords shufflePushMergersCount"
)
_CALL_SITE = "\n".join(
    f"org.apache.spark.sql.execution.exchange.{place}(ShuffleExchangeExec.scala:{line})"
    for line, place in enumerate(("doExecute", "inputRDD", "getShuffleRDD", "submitShuffleJob") * 4, 140)
)  # fmt: skip
_SOURCE_NAMES = (
    "BlockManager.memory DAGScheduler.job DAGScheduler.stage ExecutorMetrics JVMCPU HiveExternalCatalog CodeGenerator "
    "LiveListenerBus.numEventsPosted LiveListenerBus.queue.appStatus LiveListenerBus.queue.executorManagement appStatus"
)

_PEAKS, _STAGE_FIGURES, _SOURCES = (
    each.split() for each in (_PEAK_NAMES, _STAGE_FIGURE_NAMES, _SOURCE_NAMES)
)


def moment(at: float) -> str:
    """Epoch seconds as Spark writes them."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return f"{whole}.{int(at % 1 * 1000):03d}GMT"


def _executor_document(profile_id: int, slots: int) -> dict[str, Any]:
    """One executor; what differs between executors is a mark."""
    return {
        "id": "%(id)s",
        "hostPort": "10.42.7.%(id)s:41337",
        "isActive": True,
        "rddBlocks": "%(blocks)d",
        "memoryUsed": "%(cached)d",
        "diskUsed": 0,
        "totalCores": slots,
        "maxTasks": slots,
        "activeTasks": "%(active)d",
        "failedTasks": 0,
        "completedTasks": "%(done)d",
        "totalTasks": "%(total)d",
        "totalDuration": "%(done)d",
        "totalGCTime": 1837,
        "totalInputBytes": 73_400_320,
        "totalShuffleRead": "%(shuffle)d",
        "totalShuffleWrite": "%(shuffle)d",
        "isBlacklisted": False,
        "maxMemory": 2_101_975_449,
        "addTime": "%(added)s",
        "executorLogs": {
            stream: f"http://10.42.7.%(id)s:8081/logPage/?appId=app&executorId=%(id)s&logType={stream}"
            for stream in ("stdout", "stderr")
        },
        "memoryMetrics": {
            "usedOnHeapStorageMemory": "%(cached)d",
            "usedOffHeapStorageMemory": 0,
            "totalOnHeapStorageMemory": 2_101_975_449,
            "totalOffHeapStorageMemory": 0,
        },
        "blacklistedInStages": [],
        "peakMemoryMetrics": {name: 1_234_567 + 89 * number for number, name in enumerate(_PEAKS)},
        "attributes": {"NODE_POOL": "spark-spot-m6i", "AVAILABILITY_ZONE": "eu-central-1a"},
        "resources": {},
        "resourceProfileId": profile_id,
        "isExcluded": False,
        "excludedInStages": [],
    }


def _template(document: Any) -> str:
    """JSON to be filled with ``%``: numbers lose the quotes that their marks have."""
    text = json.dumps(document, separators=(",", ":"))
    for name in (
        "blocks",
        "cached",
        "active",
        "done",
        "total",
        "shuffle",
        "needed",
        "tasks",
        "stage",
    ):
        text = text.replace(f'"%({name})d"', f"%({name})d")
    return text


@lru_cache(maxsize=64)
def _executor_template(profile_id: int, slots: int) -> str:
    return _template(_executor_document(profile_id, slots))


def executor(profile_id: int, slots: int, figures: Mapping[str, Any], *, alive: bool = True) -> str:
    """An executor, filled in.

    Args:
        figures: id, blocks, cached, active, done, total, shuffle, added.
    """
    text = _executor_template(profile_id, slots) % figures
    if alive:
        return text
    gone = f'"isActive":false,"removeTime":"{figures["added"]}","removeReason":"Executor decommission finished."'
    return text.replace('"isActive":true', gone, 1)


DRIVER = executor(
    0, 0,
    {"id": "driver", "blocks": 0, "cached": 0, "active": 0, "done": 0, "total": 0, "shuffle": 0, "added": moment(0)},
)  # fmt: skip


@lru_cache(maxsize=1)
def _stage_template() -> str:
    return _template(
        {
            "status": "ACTIVE",
            "stageId": "%(stage)d",
            "attemptId": 0,
            "numTasks": "%(tasks)d",
            "numActiveTasks": "%(active)d",
            "numCompletedIndices": "%(done)d",
            "killedTasksSummary": {},
            "submissionTime": "%(submitted)s",
            "firstTaskLaunchedTime": "%(submitted)s",
            "schedulingPool": "default",
            "name": "collect at /opt/jobs/aggregate_orders.py:118",
            "details": _CALL_SITE,
            "rddIds": list(range(40, 56)),
            "accumulatorUpdates": [],
            "resourceProfileId": "%(profile)s",
            "peakExecutorMetrics": dict.fromkeys(_PEAKS, 987_654),
            "isShufflePushEnabled": False,
            **dict.fromkeys(_STAGE_FIGURES, 4_321),
        }
    ).replace('"%(profile)s"', "%(profile)s")


def stage(figures: Mapping[str, Any]) -> str:
    """An active stage.

    Args:
        figures: stage, tasks, active, done, submitted, profile.
    """
    return _stage_template() % figures


def job(job_id: int, submitted: str, stage_ids: Iterable[int], tasks: int) -> str:
    """A running job."""
    return json.dumps(
        {
            "jobId": job_id,
            "name": "collect at /opt/jobs/aggregate_orders.py:118",
            "description": "aggregate orders by customer",
            "submissionTime": submitted,
            "stageIds": list(stage_ids),
            "jobGroup": "8f14e45f-ceea-467f-a0f3-0d0e2b5f0a11",
            "jobTags": [],
            "status": "RUNNING",
            "numTasks": tasks,
            **{
                f"num{what}": 0
                for what in (
                    "ActiveTasks", "CompletedTasks", "SkippedTasks", "FailedTasks", "KilledTasks", "CompletedIndices",
                    "ActiveStages", "CompletedStages", "SkippedStages", "FailedStages",
                )
            },
            "killedTasksSummary": {},
        }
    )  # fmt: skip


@lru_cache(maxsize=1)
def _metrics_template() -> str:
    gauges: dict[str, Any] = {
        f"%(application)s.driver.{source}.figure{number}_MB": {"value": 4_321}
        for source in _SOURCES
        for number in range(12)
    }
    manager = "%(application)s.driver.ExecutorAllocationManager.executors"
    for name in ("numberAllExecutors", "numberExecutorsToAdd", "numberTargetExecutors"):
        gauges[f"{manager}.{name}"] = {"value": 0}
    gauges[f"{manager}.numberMaxNeededExecutors"] = {"value": "%(needed)d"}
    timer = {
        "count": 1234, "max": 1.0, "mean": 0.1, "min": 0.0, "p50": 0.1, "p75": 0.1, "p95": 0.2, "p98": 0.3,
        "p99": 0.4, "p999": 0.9, "stddev": 0.1, "m15_rate": 0.1, "m1_rate": 0.1, "m5_rate": 0.1, "mean_rate": 0.1,
        "duration_units": "milliseconds", "rate_units": "calls/second",
    }  # fmt: skip
    counters = {f"%(application)s.driver.{source}.events": {"count": 77} for source in _SOURCES}
    timers = {f"%(application)s.driver.{source}.listenerTime": timer for source in _SOURCES}
    return _template(
        {
            "version": "4.0.0",
            "gauges": gauges,
            "counters": counters,
            "histograms": {},
            "meters": {},
            "timers": timers,
        }
    )


def metrics(application_id: str, needed: int) -> str:
    """The gauges, with the one that the operator looks for among two hundred others."""
    return _metrics_template() % {"application": application_id, "needed": needed}


def environment(properties: Mapping[str, str], profiles: Sequence[Mapping[str, Any]]) -> str:
    """Configuration and resource profiles, with the class path and Hadoop's settings of a real driver."""
    head = json.dumps({"sparkProperties": list(properties.items()), "resourceProfiles": profiles})
    return head[:-1] + _environment_tail()


@lru_cache(maxsize=1)
def _environment_tail() -> str:
    rest = {
        "runtime": {"javaVersion": "17.0.16 (Debian)", "javaHome": "/usr/lib/jvm/java-17-openjdk-amd64", "scalaVersion": "version 2.13.16"},
        "hadoopProperties": [[f"dfs.client.setting.{number}", "a value as long as they are"] for number in range(400)],
        "systemProperties": [[f"java.property.{number}", "/usr/lib/jvm/java-17-openjdk-amd64"] for number in range(70)],
        "metricsProperties": [["*.sink.servlet.path", "/metrics/json"]],
        "classpathEntries": [[f"/opt/spark/jars/some-library_2.13-4.1.{number}.jar", "System Classpath"] for number in range(290)],
    }  # fmt: skip
    return "," + json.dumps(rest)[1:]


def profile(profile_id: int, cores: int) -> dict[str, Any]:
    """A resource profile as ``/environment`` shows it."""
    return {
        "id": profile_id,
        "executorResources": {
            "cores": {"resourceName": "cores", "amount": cores, "discoveryScript": "", "vendor": ""},
            "memory": {"resourceName": "memory", "amount": 4096, "discoveryScript": "", "vendor": ""},
        },
        "taskResources": {"cpus": {"resourceName": "cpus", "amount": 1.0}},
    }  # fmt: skip


def application(application_id: str, name: str, started_at_ms: int, version: str) -> str:
    """The list of applications, with its one."""
    attempt = {
        "startTime": moment(started_at_ms / 1000),
        "endTime": "1969-12-31T23:59:59.999GMT",
        "lastUpdated": moment(started_at_ms / 1000),
        "duration": 0,
        "sparkUser": "185",
        "completed": False,
        "appSparkVersion": version,
        "startTimeEpoch": started_at_ms,
        "endTimeEpoch": -1,
        "lastUpdatedEpoch": started_at_ms,
    }
    return json.dumps([{"id": application_id, "name": name, "attempts": [attempt]}])
