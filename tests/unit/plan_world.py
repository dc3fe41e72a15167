"""A served life whose plans meet a fake API server: for tests of what carries plans out."""

from collections.abc import Iterator
from typing import Any

import msgspec
from tests.unit import served_driver
from tests.unit.executor_pod_documents import executor_document
from tests.unit.served_driver import ServedDriver, report, stage

from spark_allocation.controller.executor_claims import ClaimOwner, ExecutorClaims
from spark_allocation.controller.plan_execution import PlanExecution
from spark_allocation.controller.pod_creation import Apis, Identity, Obstacle
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pod_builder import ExecutorPodManifest
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod
from spark_allocation.core.pods_plan import PodRequests, PodsPlan
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.trace.driven_allocation import DrivenAllocation
from spark_allocation.kube.pacing import CreationPacer
from spark_allocation.sources import wire
from spark_allocation.sources.executor_pods import seen_pod
from spark_allocation.testing.objects import FakeAllocationsApi, FakeObjectsApi
from spark_allocation.testing.pods import FakePodsApi


class World:
    """A served life whose plans meet a fake API server."""

    def __init__(self, *, reserved: int = 1, **wishes: Any) -> None:
        self.pods = FakePodsApi(now=lambda: self.life.now_ms / 1000)
        self.allocations = FakeAllocationsApi()
        self.objects = FakeObjectsApi(now=lambda: self.life.now_ms / 1000)
        self.allocations.put("job", {"driver": {"podName": "driver"}}, uid="allocation")
        self.pacer = CreationPacer(100_000)
        self.volumes: tuple[dict[str, Any], ...] = ()
        self.claims_follow_pod = False
        self.mounted_by_driver: frozenset[str] = frozenset()
        self.build_refusal: Obstacle | None = None
        self.life = ServedDriver(served_driver.settings(**wishes))
        self.ids = ExecutorIds.after_restart(reserved_until=reserved, block_size=20)
        self.execution = self._execution()

    def _execution(self) -> PlanExecution:
        driven = DrivenAllocation(self.life.allocation, self.life.profiles)
        execution = PlanExecution(
            driven,
            Apis(self.pods, self.allocations, self.objects, self.pacer),
            Identity("jobs", "job", "allocation", "driver"),
            ids=self.ids,
            pod_name=lambda executor_id: f"app-exec-{executor_id}",
            build_pod=self._build,
            claims=ExecutorClaims(
                self.objects,
                driven,
                ClaimOwner(
                    "jobs",
                    "app-1",
                    "driver",
                    mounted_by_driver=self.mounted_by_driver,
                    makes_claims=True,
                ),
                now_ms=lambda: self.life.now_ms,
            ),
            now_ms=lambda: self.life.now_ms,
        )
        execution.drain_grace_seconds = 600
        return execution

    def _build(
        self, executor_id: ExecutorId, profile_id: ProfileId
    ) -> ExecutorPodManifest | Obstacle:
        if self.build_refusal is not None:
            return self.build_refusal
        pod = executor_document(executor_id, profile_id=profile_id)
        made = [
            self._claim(volume, f"app-exec-{executor_id}-pvc-{index}", executor_id)
            for index, volume in enumerate(self.volumes)
        ]
        pod["spec"]["volumes"] = [
            {
                "name": f"v{index}",
                "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]},
            }
            for index, claim in enumerate(made)
        ]
        return ExecutorPodManifest(
            pod=pod,
            resources=tuple(made),
            executor_container="",
            resources_follow_pod=self.claims_follow_pod,
        )

    def _claim(
        self, volume: dict[str, Any], on_demand: str, executor_id: ExecutorId
    ) -> dict[str, Any]:
        name = volume.get("name", on_demand).replace("SPARK_EXECUTOR_ID", str(executor_id))
        made = claim_document(name, volume.get("size", "1Gi"), volume.get("class", "fast"))
        if self.claims_follow_pod:
            del made["metadata"]["ownerReferences"]
        return made

    def restart(self) -> None:
        """The operator dies and comes back: ids from the status, pods from a list."""
        stored = self.allocations.status("job").get("nextExecutorId", 1)
        targets = {int(key): n for key, n in self.life.allocation.manager.targets.items()}
        now = self.life.now_ns
        self.life = ServedDriver(self.life.allocation.settings, targets=targets)
        self.life.now_ns = now
        self.ids = ExecutorIds.after_restart(reserved_until=stored, block_size=20)
        self.execution = self._execution()

    def seen(self) -> Iterator[ExecutorPod]:
        for document in self.pods.pods.values():
            seen = seen_pod(msgspec.convert(document, wire.Pod))
            if seen is not None and seen.allocation_uid == "allocation":
                yield seen.pod

    def step(self, told: Any = None, *, after: float = 1.1) -> Step:
        self.life.later(after)
        if told is not None:
            self.life.says(told)
        return self.life.allocation.step(
            ExecutorPodsSnapshot.replaced(self.seen(), at=1),
            now_ns=self.life.now_ns,
            now_ms=self.life.now_ms,
            report_is_fresh=told is not None,
        )

    async def turn(self, told: Any = None, *, after: float = 1.1) -> Step:
        step = self.step(told, after=after)
        await self.execution.apply(step)
        return step

    async def want(self, tasks: int, turns: int = 8) -> None:
        """A stage of so many tasks, and turns until the pods are there."""
        for _ in range(turns):
            await self.turn(report(stage(tasks=tasks), gauge=tasks))

    @property
    def names(self) -> list[str]:
        return sorted(name for _, name in self.pods.pods)

    def created_ids(self) -> list[int]:
        labels = [each.details["pod"]["metadata"]["labels"] for each in self.pods.made("create")]
        return [int(each["spark-exec-id"]) for each in labels]


def claim_document(
    name: str, size: str = "1Gi", storage_class: str = "fast", *, driver_uid: str = "driver"
) -> dict[str, Any]:
    """A claim as the builder describes it, or as the API server shows one that was made."""
    owner = {"kind": "Pod", "name": "driver", "uid": driver_uid, "controller": True}
    return {
        "metadata": {
            "name": name,
            "labels": {"spark-app-selector": "app-1"},
            "ownerReferences": [owner],
        },
        "spec": {
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": size}},
        },
    }


def creation(count: int, profile_id: int = 0) -> Step:
    request = PodRequests(ProfileId(profile_id), count, count, 0, count)
    return Step(PodsPlan(create=(request,)), (), (), (), frozenset(), {}, ())
