"""Our answer to a scenario of kind ``alloc`` (oracle/README.md).

``answer`` plays the scenario against the pods allocator of this project, in Spark's mode: batches, one pod after the
other, all of Spark's faults. Around it stand the same neighbours as around Spark's class: an API server in memory that
logs requests, the snapshots store with its queue, a scheduler backend that knows executors.
"""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.scala_maps import ImmutableMap212, MutableMap212, mutable_order_213

from spark_allocation.core.claim_reuse import PersistentVolumeClaim, ReusableClaims
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pods import (
    SPARK_CONTAINER,
    ContainerEnd,
    ExecutorId,
    ExecutorPod,
    PodFacts,
    PodState,
    pod_state,
)
from spark_allocation.core.pods_allocator import ExecutorPodsAllocator
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.pods_plan import ExcessPods, GivenUpPods, PodRequests
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.spark_conf import InvalidSetting, SparkConf
from spark_allocation.core.spark_version import SparkVersion

DEFAULT_SPARK_VERSION = os.environ.get("ORACLE_VERSION", "4.0.1")
START_MS = 1_700_000_000_000
_CLAIM_VOLUMES = "spark.kubernetes.executor.volumes.persistentVolumeClaim."
_DRIVER_POD_NAME = "spark.kubernetes.driver.pod.name"


def answer(scenario: dict[str, Any], spark_version: str = DEFAULT_SPARK_VERSION) -> dict[str, Any]:
    """Play the scenario; the answer has the form of the oracle's."""
    version = SparkVersion.parse(str(scenario.get("sparkVersion", spark_version)))
    head = {"id": scenario.get("id"), "kind": "alloc"}
    try:
        session = AllocSession(scenario, version)
    except (InvalidSetting, DriverPodMissing) as refusal:
        return {**head, "startError": {"message": str(refusal)}}
    steps = [session.step(-1, "init", None)]
    for index, op in enumerate(scenario.get("ops", [])):
        error = session.apply(op)
        steps.append(session.step(index, op["op"], error))
    return {**head, "steps": steps}


class DriverPodMissing(Exception):
    """The pod that ``spark.kubernetes.driver.pod.name`` names does not exist."""


class CreationRefused(Exception):
    """The API server refused a pod."""


@dataclass
class ApiPod:
    """A pod in the API server."""

    name: str
    executor_id: ExecutorId
    profile_id: ProfileId
    created_ms: int
    claims: list[str] = field(default_factory=list)
    facts: PodFacts = field(default_factory=lambda: PodFacts("Pending"))

    def brief(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "execId": str(self.executor_id),
            "rp": str(self.profile_id),
            "claims": list(self.claims),
        }


@dataclass(frozen=True)
class QueuedSnapshot:
    """A snapshot in the subscriber's queue, with the order that Scala 2.12 gives its map."""

    snapshot: ExecutorPodsSnapshot
    order_212: ImmutableMap212


class AllocSession:
    """One scenario's world."""

    def __init__(self, scenario: dict[str, Any], version: SparkVersion) -> None:
        self.version = version
        self.conf = SparkConf(
            {
                "spark.dynamicAllocation.enabled": "true",
                **{key: str(value) for key, value in scenario.get("conf", {}).items()},
            }
        )
        self.now = int(scenario.get("startMs", START_MS))
        self.app_id = scenario.get("appId", "spark-oracle")
        self.profiles = {0, *(profile["id"] for profile in scenario.get("profiles", []))}
        self.requests: list[dict[str, Any]] = []
        self.driver_pod = self._driver_pod(scenario)
        self.pods: dict[str, ApiPod] = {}
        self.claims: dict[str, PersistentVolumeClaim] = {}
        self.known: list[str] = []
        self.fail_left = 0
        self.fail_code = 500
        self.current = QueuedSnapshot(ExecutorPodsSnapshot(), ImmutableMap212())
        self.queue = [self.current]
        self.registered: set[ExecutorId] = set()
        self._last_order_212 = self.current.order_212
        self.allocator_conf = PodsAllocatorConf.from_spark_conf(self.conf, version)
        self.allocator = ExecutorPodsAllocator(
            self.allocator_conf, order_of_excess=self._order_of_excess
        )
        self.ids = ExecutorIds(reserved_until=2**31, maximum=self.allocator_conf.allocation_maximum)

    def _driver_pod(self, scenario: dict[str, Any]) -> str | None:
        name = self.conf.get(_DRIVER_POD_NAME)
        if name is None:
            return None
        pod = scenario.get("driverPod")
        if pod is None or pod["metadata"]["name"] != name:
            raise DriverPodMissing(name)
        get = {"verb": "GET", "kind": "pods"}
        self.requests.append({**get, "name": name, "code": 200})
        ready = {**get, "fieldSelector": f"metadata.name={name}", "found": 1, "code": 200}
        self.requests.append(ready)
        return name

    def step(self, index: int, op: str, error: dict[str, str] | None) -> dict[str, Any]:
        """The state after an op."""
        requests, self.requests = self.requests, []
        step: dict[str, Any] = {
            "i": index,
            "op": op,
            "ms": self.now,
            "requests": requests,
            "newlyCreated": [
                {"exec": pod.executor_id, "rp": pod.profile_id, "ms": pod.asked_at}
                for pod in self.allocator.unseen.values()
            ],
            "schedulerKnownNewlyCreated": {
                str(executor_id): self.allocator.unseen_registered[executor_id].profile_id
                for executor_id in sorted(self.allocator.unseen_registered)
            },
            "deletedExecutorIds": sorted(self.allocator.withdrawn),
            "outstanding": self.allocator.outstanding,
            "pods": {
                str(pod.executor_id): pod.facts.phase
                for pod in sorted(self.pods.values(), key=lambda pod: pod.executor_id)
            },
        }
        return step if error is None else {**step, "error": error}

    def apply(self, op: dict[str, Any]) -> dict[str, str] | None:
        """Carry out an op; returns the error that it throws in the JVM."""
        match op["op"]:
            case "advance":
                self.now += int(op.get("ms", 0))
            case "tick":
                self.now += int(op.get("ms", 0))
                self._run_subscriber()
            case "totals":
                return self._totals(op["totals"])
            case "known":
                self.known = [str(each) for each in op["ids"]]
            case "phase":
                self._phase(op)
            case "gone":
                self._gone(op)
            case "watch":
                pod = self._pod_of(op["exec"])
                if pod is not None:
                    self._update(pod)
            case "poll":
                self._replace()
            case "failCreates":
                self.fail_left = int(op.get("n", 1))
                self.fail_code = int(op.get("code", 500))
            case other:
                raise ValueError(f"unknown op {other!r}")
        return None

    def _totals(self, totals: dict[str, int]) -> dict[str, str] | None:
        for profile in totals:
            if int(profile) not in self.profiles:
                return {
                    "class": "java.util.NoSuchElementException",
                    "message": f"key not found: {profile}",
                }
        if self.allocator.expect({ProfileId(int(rp)): count for rp, count in totals.items()}):
            self._run_subscriber()
        return None

    # --- the API server's pods and what the store hears of them

    def _pod_of(self, executor_id: str) -> ApiPod | None:
        return next(
            (pod for pod in self.pods.values() if str(pod.executor_id) == str(executor_id)), None
        )

    def _phase(self, op: dict[str, Any]) -> None:
        pod = self._pod_of(op["exec"])
        if pod is None:
            return
        phase = op["phase"]
        ends: tuple[ContainerEnd, ...] = ()
        if phase in ("Succeeded", "Failed"):
            code = int(op.get("exitCode", 1 if phase == "Failed" else 0))
            ends = (ContainerEnd(SPARK_CONTAINER, code),)
        deleting = pod.facts.deleting or bool(op.get("deleting", False))
        pod.facts = PodFacts(phase, deleting, pod.facts.restart_policy, ends)
        if op.get("watch", True):
            self._update(pod)

    def _gone(self, op: dict[str, Any]) -> None:
        pod = self._pod_of(op["exec"])
        if pod is None:
            return
        del self.pods[pod.name]
        facts = pod.facts
        pod.facts = PodFacts(facts.phase, True, facts.restart_policy, facts.ends)
        if op.get("watch", True):
            self._update(pod)

    def _seen(self, pod: ApiPod) -> ExecutorPod:
        check_all = self.conf.boolean(
            "spark.kubernetes.executor.checkAllContainers", self.version.at_least(4, 0)
        )
        return ExecutorPod(
            uid=f"uid-{pod.name}",
            name=pod.name,
            namespace="default",
            executor_id=pod.executor_id,
            profile_id=pod.profile_id,
            state=pod_state(pod.facts, check_all_containers=check_all),
            created_at=pod.created_ms / 1000,
            claims=tuple(pod.claims),
        )

    def _update(self, pod: ApiPod) -> None:
        snapshot = self.current.snapshot.with_update(self._seen(pod))
        self._enqueue(QueuedSnapshot(snapshot, self.current.order_212.updated(pod.executor_id)))

    def _replace(self) -> None:
        pods = [self._seen(pod) for pod in self.pods.values()]
        snapshot = ExecutorPodsSnapshot.replaced(pods, at=self.now)
        self._enqueue(QueuedSnapshot(snapshot, ImmutableMap212(pod.executor_id for pod in pods)))

    def _enqueue(self, queued: QueuedSnapshot) -> None:
        self.current = queued
        self.queue.append(queued)

    # --- one round

    def _run_subscriber(self) -> None:
        snapshots, self.queue = self.queue, []
        last = snapshots[-1] if snapshots else None
        if last is not None:
            self._last_order_212 = last.order_212
        vanished = {
            pod.executor_id: pod
            for queued in snapshots
            for pod in queued.snapshot.pods.values()
            if last is not None and pod.executor_id not in last.snapshot.pods
        }
        self.registered = {ExecutorId(int(each)) for each in self.known}
        plan = self.allocator.plan(
            None if last is None else last.snapshot,
            registered=self.registered,
            now=self.now,
            vanished=vanished.values(),
        )
        for lost in plan.given_up:
            self._delete_given_up(lost)
        for excess in plan.withdraw:
            self._delete_excess(excess)
        try:
            for ask in plan.create:
                self._request_new_executors(ask, plan.claims_in_use)
        except CreationRefused:
            self.allocator.round_broken_off()

    def _delete_given_up(self, lost: GivenUpPods) -> None:
        if lost.delete:
            self._delete([pod.executor_id for pod in lost.pods], pending_only=False)

    def _delete_excess(self, excess: ExcessPods) -> None:
        self._delete(sorted(excess.executor_ids), pending_only=True)

    def _delete(self, executor_ids: Sequence[ExecutorId], *, pending_only: bool) -> None:
        matching = [
            pod
            for pod in self.pods.values()
            if pod.executor_id in executor_ids
            and (not pending_only or pod.facts.phase == "Pending")
        ]
        for pod in matching:
            del self.pods[pod.name]
        ids = ",".join(map(str, executor_ids))
        request = {
            "verb": "DELETE",
            "kind": "pods",
            "labelSelector": f"spark-app-selector={self.app_id},spark-role=executor,spark-exec-id in ({ids})",
        }
        if pending_only:
            request["fieldSelector"] = "status.phase=Pending"
        self.requests.append({**request, "objects": [pod.brief() for pod in matching], "code": 200})

    def _request_new_executors(self, ask: PodRequests, claims_in_use: frozenset[str]) -> None:
        reusable = self._reusable_claims(claims_in_use)
        for _ in range(ask.count):
            if self.allocator.must_wait_for_claims(len(reusable)):
                return
            self._create_executor(ask.profile_id, reusable)

    def _reusable_claims(self, in_use: frozenset[str]) -> ReusableClaims:
        claims = self.allocator_conf.claims
        if not (claims.own and claims.reuse and self.driver_pod):
            return ReusableClaims(())
        self.requests.append(
            {
                "verb": "GET",
                "kind": "persistentvolumeclaims",
                "labelSelector": f"spark-app-selector={self.app_id}",
                "found": len(self.claims),
                "code": 200,
            }
        )
        # Spark asks the wall clock here, not the clock that it was given.
        return ReusableClaims.among(
            self.claims.values(),
            in_use=in_use,
            minimum_age_ms=claims.minimum_age_ms,
            now=time.time_ns() // 1_000_000,
        )

    def _create_executor(self, profile_id: ProfileId, reusable: ReusableClaims) -> None:
        executor_id = self.ids.take()
        if executor_id is None:
            raise CreationRefused("spark.kubernetes.allocation.maximum")
        name = f"{self.conf.get('spark.kubernetes.executor.podNamePrefix', 'oracle')}-exec-{executor_id}"
        wanted = self._claims_of(name)
        pod = ApiPod(name, executor_id, profile_id, self.now)
        new_claims = []
        for claim in wanted:
            reused = reusable.take(claim.storage_class, claim.storage)
            pod.claims.append(claim.name if reused is None else reused)
            if reused is None:
                new_claims.append(claim)
        self.allocator.creation_started(executor_id, profile_id, self.now)
        post = {"verb": "POST", "kind": "pods", "object": pod.brief()}
        if self.fail_left > 0:
            self.fail_left -= 1
            self.requests.append({**post, "code": self.fail_code})
            self.allocator.pod_creation_failed(executor_id)
            raise CreationRefused(name)
        self.requests.append({**post, "code": 201})
        self.pods[name] = pod
        self.allocator.pod_created(executor_id, self.now)
        for claim in new_claims:
            self._create_claim(claim, owner=name)

    def _claims_of(self, pod_name: str) -> list[PersistentVolumeClaim]:
        volumes = self.conf.with_prefix(_CLAIM_VOLUMES)
        names = sorted(
            key.removesuffix(".options.claimName")
            for key, value in volumes.items()
            if key.endswith(".options.claimName") and value == "OnDemand"
        )
        return [
            PersistentVolumeClaim(
                name=f"{pod_name}-pvc-{index}",
                storage_class=volumes.get(f"{volume}.options.storageClass"),
                storage=volumes[f"{volume}.options.sizeLimit"],
                created_at=self.now,
            )
            for index, volume in enumerate(names)
        ]

    def _create_claim(self, claim: PersistentVolumeClaim, *, owner: str) -> None:
        owned_by_driver = self.allocator_conf.claims.own and self.driver_pod is not None
        self.claims[claim.name] = claim
        self.allocator.claim_made()
        owners = [self.driver_pod if owned_by_driver else owner]
        brief = {"name": claim.name, "owners": owners}
        self.requests.append(
            {"verb": "POST", "kind": "persistentvolumeclaims", "object": brief, "code": 201}
        )

    def _order_of_excess(self, pods: Iterable[ExecutorPod]) -> Sequence[ExecutorPod]:
        """The order in which Scala's maps give the pending pods; see scala_maps."""
        idle = {int(pod.executor_id): pod for pod in pods}
        if self.version.at_least(4, 0):
            return [idle[key] for key in mutable_order_213(idle)]
        return [idle[key] for key in self._order_212(idle)]

    def _order_212(self, idle: dict[int, ExecutorPod]) -> list[int]:
        if not idle:
            return []
        pods = self.allocator.last_snapshot.pods
        profile = next(iter(idle.values())).profile_id
        one_profile = len(self.allocator.expected) <= 1
        of_profile = MutableMap212(
            key
            for key in self._last_order_212.order()
            if key not in self.allocator.withdrawn
            and (one_profile or pods[ExecutorId(key)].profile_id == profile)
        )
        pending = MutableMap212(
            key for key in of_profile.order() if pods[ExecutorId(key)].state is PodState.PENDING
        )
        unknown = MutableMap212(key for key in pending.order() if key not in self.registered)
        return MutableMap212(key for key in unknown.order() if key in idle).order()
