"""Answers scenarios of kind ``eam`` with our own manager, monitor and listener feeder, in the oracle's format."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spark_allocation.core.allocation_client import ClusterManagerUnreachable
from spark_allocation.core.allocation_manager import ExecutorAllocationManager
from spark_allocation.core.dynamic_allocation_conf import DynamicAllocationConf
from spark_allocation.core.executor_monitor import ExecutorMonitor
from spark_allocation.core.executor_tracker import ExecutorTracker
from spark_allocation.core.jvm_numbers import saturate_long
from spark_allocation.core.listener_events import (
    BlockUpdated,
    ExecutorAdded,
    ExecutorRemoved,
    JobEnd,
    JobStart,
    ListenerEvent,
    OtherBlock,
    RddBlock,
    ResourceProfileAdded,
    ShuffleCleaned,
    ShuffleDataBlock,
    SpeculativeTaskSubmitted,
    StageCompleted,
    StageInfo,
    StageSubmitted,
    TaskEnd,
    TaskEndReason,
    TaskStart,
    UnpersistRdd,
    UnschedulableTaskSetAdded,
    UnschedulableTaskSetRemoved,
)
from spark_allocation.core.listener_feeder import ListenerFeeder
from spark_allocation.core.resource_profiles import (
    ExecutorResourceRequest,
    InvalidProfile,
    ProfileId,
    ResourceProfile,
    ResourceProfileManager,
    TaskResourceRequest,
)
from spark_allocation.core.spark_conf import MILLISECOND, InvalidSetting, SparkConf
from spark_allocation.core.workload import ReportedWorkload

Json = dict[str, Any]

_CONF_DEFAULTS = {
    "spark.master": "k8s://https://127.0.0.1:1",
    "spark.app.name": "oracle",
    "spark.dynamicAllocation.enabled": "true",
}
_REASONS = {"success": TaskEndReason.SUCCESS, "killed": TaskEndReason.KILLED}
_LEVELS_ON_DISK = ("DISK_ONLY", "MEMORY_AND_DISK", "OFF_HEAP")


class StubClient:
    """Answers the manager as the scenario says; the oracle has the same one."""

    def __init__(self) -> None:
        self.calls: list[Json] = []
        self.active: dict[str, None] = {}
        self.ack = True
        self.grants = "all"
        self.request_throws = False

    def request_total_executors(self, totals: Mapping[ProfileId, int]) -> bool:
        self.calls.append(
            {"call": "requestTotalExecutors", "totals": _by_text(totals), "ack": self.ack}
        )
        if self.request_throws:
            raise ClusterManagerUnreachable("stub: requestTotalExecutors")
        return self.ack

    def kill_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        granted = self._granted(executor_ids)
        self.calls.append(
            {"call": "killExecutors", "ids": list(executor_ids), "returned": list(granted)}
        )
        return granted

    def decommission_executors(self, executor_ids: Sequence[str]) -> Sequence[str]:
        granted = self._granted(executor_ids)
        self.calls.append(
            {"call": "decommissionExecutors", "ids": list(executor_ids), "returned": list(granted)}
        )
        return granted

    def is_executor_active(self, executor_id: str) -> bool:
        return executor_id in self.active

    def _granted(self, executor_ids: Sequence[str]) -> Sequence[str]:
        match self.grants:
            case "none":
                return []
            case "active":
                return [executor_id for executor_id in executor_ids if executor_id in self.active]
            case "first":
                return executor_ids[:1]
            case _:
                return executor_ids


class EamSession:
    """One application under a manual clock: operations in, steps out."""

    def __init__(self, scenario: Json) -> None:
        spark_conf = SparkConf({**_CONF_DEFAULTS, **scenario.get("conf", {})})
        self.conf = DynamicAllocationConf.from_spark_conf(
            spark_conf, reliable_shuffle_storage=scenario.get("reliableShuffleStorage", False)
        )
        self.client = StubClient()
        self.profiles = ResourceProfileManager(spark_conf)
        self.monitor = ExecutorMonitor(self.conf, self.client.is_executor_active)
        self.manager = ExecutorAllocationManager(
            self.conf, self.client, self.monitor, self.profiles, ReportedWorkload()
        )
        self.feeder = ListenerFeeder(self.manager, self.profiles)
        self.milliseconds = scenario.get("startMs", 10_000)
        self._profile_ids = {0}
        self._brief = scenario.get("detail") == "brief"
        # Spark hears no event before it has started.
        self._started = scenario.get("autoStart", True)
        if self._started:
            self.manager.start(self.now)

    @property
    def now(self) -> int:
        return saturate_long(self.milliseconds * MILLISECOND)

    def step(self, index: int, operation: Json) -> Json:
        errors: Json = {}
        try:
            self._apply(operation)
        except ClusterManagerUnreachable as lost:
            where = "error" if operation["op"] in ("tick", "start") else "listenerErrors"
            errors[where] = {"class": "stub", "message": str(lost)}
        except (InvalidProfile, InvalidSetting) as refused:
            errors["error"] = {"class": type(refused).__name__, "message": str(refused)}
        return {**self.state(index, operation["op"]), **errors}

    def state(self, index: int, operation: str) -> Json:
        calls, self.client.calls = self.client.calls, []
        manager = self.manager
        trackers = self.monitor._executors
        ids = sorted(
            self._profile_ids
            | set(manager.targets)
            | {tracker.profile_id for tracker in trackers.values()}
        )
        counters = self.monitor.counters
        told = {
            "i": index,
            "op": operation,
            "ms": self.milliseconds,
            "targets": _by_text(manager.targets),
            "toAdd": _by_text(manager.to_add),
            "addTimeNs": manager.add_time,
            "initializing": manager.initializing,
            "calls": calls,
            "monitor": self._monitor_state(ids, trackers),
            "counters": {
                "gracefullyDecommissioned": counters.gracefully_decommissioned,
                "decommissionUnfinished": counters.decommission_unfinished,
                "driverKilled": counters.driver_killed,
                "exitedUnexpectedly": counters.exited_unexpectedly,
            },
        }
        if self._brief:
            return told
        executors = {
            executor_id: self._executor(tracker) for executor_id, tracker in trackers.items()
        }
        return {**told, "load": self._load(ids), "executors": executors}

    def _apply(self, operation: Json) -> None:
        name = operation["op"]
        if name in ("advance", "tick"):
            self.milliseconds += operation.get("ms", 0)
        match name:
            case "advance":
                pass
            case "tick":
                self.manager.tick(self.now)
            case "start":
                self._started = True
                self.manager.start(self.now)
            case "reset":
                self.manager.reset()
            case "client":
                self._configure_client(operation)
            case "rp":
                profile = profile_of(operation)
                self.feeder.post(ResourceProfileAdded(profile), self.now)
                self._profile_ids.add(profile.id)
            case _:
                if name == "executorAdded" and operation.get("active", True):
                    self.client.active[operation["exec"]] = None
                if name == "executorRemoved":
                    self.client.active.pop(operation["exec"], None)
                if self._started:
                    self.feeder.post(_EVENTS[name](operation), self.now)

    def _configure_client(self, operation: Json) -> None:
        client = self.client
        client.ack = operation.get("ack", client.ack)
        client.grants = operation.get("kill", client.grants)
        client.request_throws = operation.get("requestThrows", client.request_throws)
        for executor_id, active in operation.get("active", {}).items():
            if active:
                client.active[executor_id] = None
            else:
                client.active.pop(executor_id, None)

    def _monitor_state(
        self, ids: Sequence[ProfileId], trackers: Mapping[str, ExecutorTracker]
    ) -> Json:
        monitor = self.monitor
        return {
            "executorCount": monitor.executor_count(),
            "pendingRemoval": monitor.pending_removal_count(),
            "decommissioning": monitor.decommissioning_count(),
            "perRp": {
                str(profile_id): {
                    "count": monitor.executor_count(profile_id),
                    "pendingRemoval": monitor.pending_removal_count(profile_id),
                    "decommissioning": monitor.decommissioning_count(profile_id),
                }
                for profile_id in ids
            },
            "timedOut": sorted(
                executor_id for executor_id, tracker in trackers.items() if tracker.timed_out
            ),
            "dueNow": sorted(
                executor_id
                for executor_id, tracker in trackers.items()
                if not (
                    tracker.pending_removal or tracker.has_active_shuffle or tracker.decommissioning
                )
                and tracker.timeout_at <= self.now
            ),
            "nextTimeoutNs": monitor.next_timeout_ns,
        }

    def _load(self, ids: Sequence[ProfileId]) -> Json:
        tasks = {profile_id: self.feeder.workload.of_profile(profile_id) for profile_id in ids}
        needs = {profile_id: self.manager.max_needed(profile_id) for profile_id in ids}
        return {
            "pending": {str(id_): load.pending for id_, load in tasks.items()},
            "pendingSpeculative": {
                str(id_): load.pending_speculative for id_, load in tasks.items()
            },
            "unschedulable": {str(id_): load.unschedulable for id_, load in tasks.items()},
            "running": {str(id_): load.running for id_, load in tasks.items()},
            "maxNeeded": {
                str(id_): {"error": "unknown profile"} if need is None else need
                for id_, need in needs.items()
            },
        }

    def _executor(self, tracker: ExecutorTracker) -> Json:
        return {
            "rp": tracker.profile_id,
            "running": tracker.running_tasks,
            "idle": tracker.is_idle,
            "idleStart": tracker.idle_start,
            "timeoutAt": tracker.timeout_at,
            "timedOut": tracker.timed_out,
            "pendingRemoval": tracker.pending_removal,
            "decommissioning": tracker.decommissioning,
            "hasActiveShuffle": tracker.has_active_shuffle,
            "cached": {
                str(rdd_id): sorted(splits) for rdd_id, splits in tracker.cached_blocks.items()
            },
            "shuffles": sorted(tracker.shuffle_ids) if self.conf.tracks_shuffle else None,
        }


def answer(scenario: Json) -> Json:
    """Our answer to one scenario."""
    head = {"id": scenario.get("id"), "kind": "eam"}
    try:
        session = EamSession(scenario)
    except (InvalidSetting, InvalidProfile) as refused:
        error = {"class": type(refused).__name__, "message": str(refused)}
        if isinstance(refused, InvalidSetting):
            error["key"] = refused.key
        return {**head, "startError": error}
    steps = [session.state(-1, "init")]
    steps += [session.step(index, op) for index, op in enumerate(scenario.get("ops", []))]
    return {**head, "steps": steps}


def profile_of(operation: Json) -> ResourceProfile:
    """A profile as the oracle's scenarios write it."""
    executor = {}
    for name, value in operation.get("executor", {}).items():
        fields = value if isinstance(value, dict) else {"amount": value}
        executor[name] = ExecutorResourceRequest(
            name, fields["amount"], fields.get("discoveryScript", ""), fields.get("vendor", "")
        )
    task = {
        name: TaskResourceRequest(name, float(amount))
        for name, amount in operation.get("task", {}).items()
    }
    return ResourceProfile(
        ProfileId(operation["id"]), executor, task, task_only=operation.get("taskOnly", False)
    )


def _stage(fields: Json) -> StageInfo:
    return StageInfo(
        fields["stage"],
        fields.get("attempt", 0),
        fields.get("tasks", 1),
        ProfileId(fields.get("rp", 0)),
        fields.get("shuffle"),
    )


def _task_start(op: Json) -> TaskStart:
    return TaskStart(
        op["stage"],
        op.get("attempt", 0),
        op.get("index", 0),
        op.get("exec", "1"),
        op.get("speculative", False),
    )


def _task_end(op: Json) -> TaskEnd:
    return TaskEnd(
        op["stage"],
        op.get("attempt", 0),
        op.get("index", 0),
        op.get("exec", "1"),
        _REASONS.get(op.get("reason", "success"), TaskEndReason.FAILED),
        op.get("speculative", False),
    )


def _block_updated(op: Json) -> BlockUpdated:
    level = op.get("level", "MEMORY_ONLY")
    return BlockUpdated(
        op["exec"],
        _block(op["block"]),
        stored=level != "NONE",
        on_disk=level.startswith(_LEVELS_ON_DISK),
    )


def _block(name: str) -> RddBlock | ShuffleDataBlock | OtherBlock:
    if name.startswith("rdd_"):
        _, rdd_id, split = name.split("_")
        return RddBlock(int(rdd_id), int(split))
    if name.startswith("shuffle_") and name.endswith(".data"):
        return ShuffleDataBlock(int(name.split("_")[1]))
    return OtherBlock()


def _by_text(values: Mapping[ProfileId, Any]) -> Json:
    return {str(profile_id): value for profile_id, value in values.items()}


_EVENTS: Mapping[str, Callable[[Json], ListenerEvent]] = {
    "jobStart": lambda op: JobStart(op["job"], tuple(_stage(s) for s in op.get("stages", []))),
    "jobEnd": lambda op: JobEnd(op["job"]),
    "stageSubmitted": lambda op: StageSubmitted(_stage(op)),
    "stageCompleted": lambda op: StageCompleted(op["stage"], op.get("attempt", 0)),
    "taskStart": _task_start,
    "taskEnd": _task_end,
    "speculativeSubmitted": lambda op: SpeculativeTaskSubmitted(
        op["stage"], op.get("attempt", 0), op["index"]
    ),
    "unschedulableAdded": lambda op: UnschedulableTaskSetAdded(op["stage"], op.get("attempt", 0)),
    "unschedulableRemoved": lambda op: UnschedulableTaskSetRemoved(
        op["stage"], op.get("attempt", 0)
    ),
    "executorAdded": lambda op: ExecutorAdded(op["exec"], ProfileId(op.get("rp", 0))),
    "executorRemoved": lambda op: ExecutorRemoved(op["exec"], op.get("reason", "stub")),
    "blockUpdated": _block_updated,
    "unpersist": lambda op: UnpersistRdd(op["rdd"]),
    "shuffleCleaned": lambda op: ShuffleCleaned(op["shuffle"]),
}
