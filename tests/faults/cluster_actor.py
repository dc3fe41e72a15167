"""Plays what the operator does not: schedulers and kubelets that run pods, and drivers that know what executors do.

`SparkApplication` is the driver's truth: which executor works on which task. What the operator may know of it is what
the fake driver's REST API says. `Kubelets` gives each executor pod a life: it starts after a while, registers, works,
ends when it is told to and its task is done. Some start late, fail, are slow to end.
"""

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.e2e.waiting import happens_within
from tests.faults.fault_proxy import FaultProxy
from tests.faults.judged_application import (
    ALLOCATION_LABEL,
    JudgedApplication,
    TrueExecutor,
    owner_uid,
)
from tests.faults.pods_feed import PodsFeed
from tests.integration.operator_world import OperatorWorld

from spark_allocation.kube.api_client import ApiAnswer
from spark_allocation.testing.driver import FakeDriver

Document = dict[str, Any]
TURN_SECONDS = 0.1
NODE_HEARTBEAT_SECONDS = 8.0


@dataclass
class SparkApplication(JudgedApplication):
    """One application: its driver pod, its driver's port behind a proxy, and the truth about its tasks."""

    driver: FakeDriver = field(kw_only=True)
    proxy: FaultProxy = field(kw_only=True)
    lives: int = 1
    profiles: int = 1
    waiting: deque[tuple[float, int]] = field(default_factory=deque)
    submitted: Counter[int] = field(default_factory=Counter)
    done: Counter[int] = field(default_factory=Counter)

    def submit(self, tasks: int, seconds: float) -> None:
        """Work for the driver: one task for each executor at a time, for each profile in turn."""
        for number in range(tasks):
            profile_id = number % self.profiles
            self.waiting.append((seconds, profile_id))
            self.submitted[profile_id] += 1

    def forget_waiting(self) -> None:
        """Whatever waits is not to be done any more."""
        for _, profile_id in self.waiting:
            self.submitted[profile_id] -= 1
        self.waiting.clear()

    def register(self, executor_id: int, pod_uid: str, profile_id: int = 0) -> None:
        self.executors[executor_id] = TrueExecutor(pod_uid, time.monotonic(), profile_id=profile_id)

    def lose(self, executor_id: int, pod_uid: str, *, because: str = "") -> None:
        """The executor is gone; a task that it worked on waits again."""
        executor = self.executors.get(executor_id)
        if executor is None or executor.pod_uid != pod_uid:
            return
        del self.executors[executor_id]
        self.driver.dead.append(self.driver.executor(executor_id, total=executor.tasks))
        if executor.busy_since is not None:
            self.waiting.appendleft((executor.task_seconds, executor.profile_id))
            if because:
                self.cut_short.append(f"executor {executor_id}: {because}")

    def restart(self) -> None:
        """Another application in the same pod: nobody is registered, and all work is to be done anew."""
        self.lives += 1
        self.driver.application_id = f"spark-{self.name}-{self.lives}"
        self.driver.started_at_ms += 60_000
        self.driver.dead = []
        self.executors = {}
        self.heard.clear()
        self.submitted -= self.done
        self.done.clear()
        self.waiting = deque((2.0, each) for each in self.submitted.elements())

    def turn(self) -> None:
        """Tasks end, tasks begin, and the REST API says so. A driver that pauses schedules nothing."""
        now = time.monotonic()
        if now < self.proxy.paused_until:
            return
        for executor in self.executors.values():
            if executor.busy_since is not None and executor.task_ends <= now:
                executor.busy_since = None
                executor.tasks += 1
                self.done[executor.profile_id] += 1
        for executor in self.executors.values():
            task = next((each for each in self.waiting if each[1] == executor.profile_id), None)
            if task is not None and executor.busy_since is None and not executor.leaving:
                self.waiting.remove(task)
                executor.task_seconds = task[0]
                executor.busy_since, executor.task_ends = now, now + executor.task_seconds
        self._publish()

    @property
    def needed(self) -> Counter[int]:
        """Executors that the tasks need, by profile."""
        return self.submitted - self.done

    @property
    def working_while_leaving(self) -> int:
        """Executors that have a task and are on their way out."""
        return sum(each.leaving and each.busy_since is not None for each in self.executors.values())

    def wanted(self, minimum: int, maximum: int) -> int:
        """The sum of what all profiles need within these bounds, which are of each."""
        return sum(max(minimum, min(maximum, self.needed[each])) for each in range(self.profiles))

    def _publish(self) -> None:
        driver = self.driver
        busy = Counter(
            each.profile_id for each in self.executors.values() if each.busy_since is not None
        )
        driver.executors = [
            driver.executor(
                number,
                active=0 if each.busy_since is None else 1,
                total=each.tasks + (each.busy_since is not None),
                profile_id=each.profile_id,
            )
            for number, each in self.executors.items()
        ]
        driver.stages = [
            driver.stage(
                tasks=self.submitted[each],
                stage_id=each,
                active=busy[each],
                done=self.done[each],
                profile_id=each,
            )
            for each in self.needed
        ]
        driver.jobs = [0] if driver.stages else []
        driver.gauge = self.needed.total()


class Kubelets:
    """Gives executor pods of known applications their lives. Use as a context; end with `stop`."""

    def __init__(
        self,
        world: OperatorWorld,
        feed: PodsFeed,
        applications: list[SparkApplication],
        *,
        seed: int,
    ) -> None:
        self._world = world
        self._feed = feed
        self._applications = {each.pod_uid: each for each in applications}
        self._seed = seed
        self.mishaps = True
        """Whether some executors start late, fail, or are slow to end."""
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._going: dict[str, asyncio.Event] = {}
        self._gone: set[str] = set()
        self._others: list[asyncio.Task[None]] = []
        self.node = f"{world.namespace}-node"
        self.evicted: set[str] = set()
        """Uids of pods that were evicted, or deleted by hand."""

    async def start(self) -> None:
        await self._world.insist("POST", "/api/v1/nodes", _node(self.node))
        await self._beat()
        self._feed.listeners.append(self._seen)
        self._others = [asyncio.create_task(self._heartbeat()), asyncio.create_task(self._work())]

    async def stop(self) -> None:
        tasks = [*self._others, *self._lives.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for path in [
            f"{self._world.pods_path}/{pod['metadata']['name']}" for pod in await self._world.pods()
        ]:
            await self._world.insist("DELETE", path, {"gracePeriodSeconds": 0})
        await self._world.insist("DELETE", f"/api/v1/nodes/{self.node}")

    async def evict(self, pod: Document) -> None:
        """What an eviction leaves: a failed pod."""
        self.evicted.add(pod["metadata"]["uid"])
        await self._end_pod(pod["metadata"]["name"], "Failed", 137, reason="Evicted")

    async def delete_by_hand(self, pod: Document) -> None:
        self.evicted.add(pod["metadata"]["uid"])
        await self._world.insist(
            "DELETE",
            f"{self._world.pods_path}/{pod['metadata']['name']}",
            {"gracePeriodSeconds": 3, "preconditions": {"uid": pod["metadata"]["uid"]}},
        )

    # -- lives -------------------------------------------------------------------------------------------------------

    def _seen(self, kind: str, pod: Document) -> None:
        metadata = pod["metadata"]
        uid = metadata["uid"]
        application = self._applications.get(owner_uid(pod))
        if application is None or ALLOCATION_LABEL not in metadata.get("labels", {}):
            return
        if uid not in self._lives and kind != "DELETED":
            self._going[uid] = asyncio.Event()
            self._lives[uid] = asyncio.create_task(self._live(pod, application))
        if kind == "DELETED":
            self._gone.add(uid)
        if uid in self._going and (
            kind == "DELETED"
            or "deletionTimestamp" in metadata
            or pod.get("status", {}).get("phase") == "Failed"
        ):
            self._going[uid].set()

    async def _live(self, pod: Document, application: SparkApplication) -> None:
        metadata = pod["metadata"]
        name, uid = metadata["name"], metadata["uid"]
        number = int(metadata["labels"]["spark-exec-id"])
        life = application.lives
        going = self._going[uid]
        chance = Random(f"{self._seed} {application.name} {life} {number}")
        mishap = chance.random() if self.mishaps else 1.0
        start = 4.0 if mishap < 0.05 else chance.uniform(0.1, 0.8)
        if await happens_within(going, start) and uid in self._gone:
            return
        target = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                  "target": {"kind": "Node", "name": self.node}}  # fmt: skip
        await self._world.insist("POST", f"{self._world.pods_path}/{name}/binding", target)
        if uid in self._gone:
            return
        if 0.05 <= mishap < 0.10:
            await self._end_pod(name, "Failed", 1, reason="Error")
            return
        await self._run_pod(name)
        await happens_within(going, chance.uniform(0.1, 0.8))
        if not going.is_set() and application.lives == life and application.ended_at is None:
            profile_id = int(metadata["labels"].get("spark-exec-resourceprofile-id", 0))
            application.register(number, uid, profile_id)
        await going.wait()
        await self._leave(application, number, uid, name, linger=3.0 if mishap > 0.95 else 0.0)

    async def _leave(
        self, application: SparkApplication, number: int, uid: str, name: str, *, linger: float
    ) -> None:
        """Told to end: the task that runs is finished within the grace, and nothing new is begun."""
        executor = application.executors.get(number)
        pod = self._feed.pods.get(uid)
        grace = (pod or {}).get("metadata", {}).get("deletionGracePeriodSeconds") or 0
        failed = (pod or {}).get("status", {}).get("phase") == "Failed"
        ends_at = time.monotonic() + (0 if failed or pod is None else grace)
        if executor is not None and executor.pod_uid == uid:
            executor.leaving = True
            while executor.busy_since is not None and time.monotonic() < ends_at:
                await asyncio.sleep(0.05)
                if application.executors.get(number) is not executor or uid in self._gone:
                    break
            theirs = uid in self.evicted or failed
            application.lose(number, uid, because="" if theirs else f"pod {name} was deleted")
        if failed:
            return
        await asyncio.sleep(linger)
        if uid not in self._gone:
            await self._end_pod(name, "Succeeded", 0)
            await self._world.insist(
                "DELETE",
                f"{self._world.pods_path}/{name}",
                {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}},
            )

    # -- the API -----------------------------------------------------------------------------------------------------

    async def _run_pod(self, name: str) -> None:
        running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        await self._patch_status(name, "Running", running, {"podIP": "127.0.0.1"})

    async def _end_pod(self, name: str, phase: str, code: int, *, reason: str = "") -> None:
        ended = {"terminated": {"exitCode": code, "reason": reason or "Completed"}}
        await self._patch_status(name, phase, ended, {"reason": reason} if reason else {})

    async def _patch_status(
        self, name: str, phase: str, state: Document, more: Document
    ) -> ApiAnswer:
        container = {"name": "spark-kubernetes-executor", "image": "spark:test", "imageID": "",
                     "ready": False, "restartCount": 0, "state": state}  # fmt: skip
        status = {"phase": phase, "containerStatuses": [container], **more}
        return await self._world.insist(
            "PATCH", f"{self._world.pods_path}/{name}/status", {"status": status}
        )

    async def _beat(self) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                 "lastHeartbeatTime": now, "lastTransitionTime": now}  # fmt: skip
        await self._world.insist(
            "PATCH", f"/api/v1/nodes/{self.node}/status", {"status": {"conditions": [ready]}}
        )

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(NODE_HEARTBEAT_SECONDS)
            await self._beat()

    async def _work(self) -> None:
        while True:
            for application in self._applications.values():
                if application.ended_at is None:
                    application.turn()
            await asyncio.sleep(TURN_SECONDS)


def _node(name: str) -> Document:
    taint = {"key": "only-for", "value": "fault-tests", "effect": "NoSchedule"}
    return {
        "metadata": {"name": name},
        "spec": {"unschedulable": True, "taints": [taint]},
        "status": {"capacity": {"pods": "500", "cpu": "500", "memory": "500Gi"}},
    }
