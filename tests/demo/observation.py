"""One look at everything: the SparkAllocation, the executor pods themselves, and the driver's waiting tasks.

Executors are counted from the pods, not from the operator's status: the demo judges the operator by what is there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.demo.api import Api, Object


@dataclass(frozen=True, slots=True)
class PodCounts:
    """Executor pods of one profile.

    Attributes:
        pending: exist, do not run yet.
        running: run and are not being deleted.
        leaving: are being deleted and have not gone yet.
        finished: have ended, and their pods are still there.
    """

    pending: int = 0
    running: int = 0
    leaving: int = 0
    finished: int = 0

    @property
    def alive(self) -> int:
        return self.pending + self.running + self.leaving

    def __add__(self, other: "PodCounts") -> "PodCounts":
        return PodCounts(
            self.pending + other.pending,
            self.running + other.running,
            self.leaving + other.leaving,
            self.finished + other.finished,
        )


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen at one moment.

    Attributes:
        seconds: since the observer began.
        driver_phase: the driver pod's phase, "" when there is no such pod.
        allocation: the SparkAllocation, {} when there is none.
        executors: profile id -> its pods.
        executor_pods: the pods as the API server has them.
        waiting_tasks: tasks of active stages that no executor runs; None when the driver does not answer.
    """

    seconds: float
    driver_phase: str = ""
    allocation: Object = field(default_factory=dict)
    executors: Mapping[int, PodCounts] = field(default_factory=dict)
    executor_pods: tuple[Object, ...] = ()
    waiting_tasks: int | None = None

    @property
    def status(self) -> Object:
        return self.allocation.get("status") or {}

    @property
    def targets(self) -> dict[int, int]:
        return {profile["id"]: profile["target"] for profile in self.status.get("profiles", [])}

    @property
    def target(self) -> int:
        return sum(self.targets.values())

    @property
    def all_executors(self) -> PodCounts:
        return sum(self.executors.values(), PodCounts())

    @property
    def driver_ended(self) -> bool:
        return self.driver_phase in ("Succeeded", "Failed")


def observe(api: Api, namespace: str, driver_pod: str, *, seconds: float) -> Observation:
    """Look once. Never raises for what is not there."""
    pod = api.pod(namespace, driver_pod)
    executor_pods = tuple(api.executor_pods(namespace))
    phase = "" if pod is None else pod.get("status", {}).get("phase", "")
    return Observation(
        seconds=seconds,
        driver_phase=phase,
        allocation=api.allocation_of(namespace, driver_pod) or {},
        executors=count_executors(executor_pods),
        executor_pods=executor_pods,
        waiting_tasks=waiting_tasks(api, namespace, driver_pod) if phase == "Running" else None,
    )


def count_executors(pods: tuple[Object, ...]) -> dict[int, PodCounts]:
    counts: dict[int, PodCounts] = {}
    for pod in pods:
        profile = int(pod["metadata"]["labels"].get("spark-exec-resourceprofile-id", -1))
        counts[profile] = counts.get(profile, PodCounts()) + _counted(pod)
    return counts


def waiting_tasks(api: Api, namespace: str, driver_pod: str) -> int | None:
    stages = driver_answer(api, namespace, driver_pod, "stages?status=active")
    if stages is None:
        return None
    return sum(
        max(0, stage["numTasks"] - stage["numCompletedIndices"] - stage["numActiveTasks"])
        for stage in stages
    )


def driver_answer(api: Api, namespace: str, driver_pod: str, path: str) -> Any:
    """What the driver's REST API answers for its only application, None when it does not."""
    applications = api.driver(namespace, driver_pod, "api/v1/applications")
    if not applications:
        return None
    application_id = applications[0]["id"]
    return api.driver(namespace, driver_pod, f"api/v1/applications/{application_id}/{path}")


def executor_id(pod: Object) -> int:
    return int(pod["metadata"]["labels"]["spark-exec-id"])


def _counted(pod: Object) -> PodCounts:
    phase = pod.get("status", {}).get("phase", "Pending")
    if phase in ("Succeeded", "Failed"):
        return PodCounts(finished=1)
    if "deletionTimestamp" in pod["metadata"]:
        return PodCounts(leaving=1)
    return PodCounts(pending=1) if phase == "Pending" else PodCounts(running=1)
