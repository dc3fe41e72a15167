"""Plays schedulers and kubelets for the executor pods of a fleet: on a node, running, told to end, ended, gone.

It ends a pod when its executor has finished its tasks or its grace is over, as a kubelet with the operator's preStop
hook does; therefore it has to know the executors' truth, which the stages of a simulated kubelet do not.
Some pods start late, fail at once, are killed for their memory or are slow to end; which ones follows from the seed.
"""

import asyncio
import contextlib
import time
from random import Random
from typing import Any

from tests.e2e.waiting import happens_within
from tests.faults.pods_feed import PodsFeed
from tests.fleet.executor_lives import ExecutorLives

from spark_allocation.kube.api_client import JSON, ApiAnswer, ApiUnavailable, KubernetesApi

Document = dict[str, Any]
NODE_HEARTBEAT_SECONDS = 12.0
AT_ONCE = 32
"""Requests under way."""
LATE, FAILS_AT_START, KILLED_FOR_MEMORY, SLOW_TO_END = 0.04, 0.06, 0.07, 0.97
"""Up to here a pod's number between 0 and 1 means the one, and from here the last."""


class PodPlayer:
    """Gives the executor pods of a fleet their lives, between `start` and `stop`.

    Attributes:
        mishaps: whether some pods come to harm by themselves.
    """

    def __init__(
        self, api: KubernetesApi, feed: PodsFeed, lives: ExecutorLives, *, seed: int, nodes: int
    ) -> None:
        self._api = api
        self._feed = feed
        self._executors = lives
        self._chance = Random(f"pods {seed}")
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._pods: dict[str, asyncio.Task[None]] = {}
        self._told: dict[str, asyncio.Event] = {}
        self._heartbeat: asyncio.Task[None] | None = None
        self.nodes = [f"fleet-node-{number}" for number in range(nodes)]
        self.mishaps = True
        self.errors: list[str] = []

    async def start(self) -> None:
        for name in self.nodes:
            await self.insist("POST", "/api/v1/nodes", _node(name))
        await self._beat()
        self._feed.listeners.append(self._seen)
        self._heartbeat = asyncio.create_task(self._beat_on())

    async def stop(self) -> None:
        """The nodes go, with whatever is on them."""
        tasks = [*self._pods.values()]
        if self._heartbeat is not None:
            tasks.append(self._heartbeat)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name in self.nodes:
            await self.insist("DELETE", f"/api/v1/nodes/{name}")

    async def evict(self, pod: Document) -> None:
        """What an eviction leaves: a failed pod."""
        self._executors.ended_by_others.add(pod["metadata"]["uid"])
        await self._end(pod, "Failed", 137, "Evicted")

    async def delete_by_hand(self, pod: Document) -> None:
        """As a user does with kubectl."""
        uid = pod["metadata"]["uid"]
        self._executors.ended_by_others.add(uid)
        options = {"gracePeriodSeconds": 3, "preconditions": {"uid": uid}}
        await self.insist("DELETE", pod_path(pod), options)

    # -- lives -------------------------------------------------------------------------------------------------------

    def _seen(self, kind: str, pod: Document) -> None:
        metadata = pod["metadata"]
        uid = metadata["uid"]
        if kind == "DELETED":
            self._told.pop(uid, None)
            task = self._pods.pop(uid, None)
            if task is not None:
                task.cancel()
            return
        if self._executors.application_of(pod) is None:
            return
        if uid not in self._pods:
            self._told[uid] = asyncio.Event()
            task = asyncio.create_task(
                self._live(pod, self._chance.random(), self._chance.random())
            )
            task.add_done_callback(self._note)
            self._pods[uid] = task
        if "deletionTimestamp" in metadata:
            self._told[uid].set()

    def _note(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.errors.append(repr(task.exception()))

    async def _live(self, pod: Document, mishap: float, haste: float) -> None:
        uid = pod["metadata"]["uid"]
        told = self._told[uid]
        if not self.mishaps:
            mishap = 0.5
        await happens_within(told, 5.0 if mishap < LATE else 0.3 + 1.2 * haste)
        node = self.nodes[int(haste * 1000) % len(self.nodes)]
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]},
                   "target": {"kind": "Node", "name": node}}  # fmt: skip
        await self.insist("POST", f"{pod_path(pod)}/binding", binding)
        if LATE <= mishap < FAILS_AT_START:
            await self._end(pod, "Failed", 1, "Error")
        else:
            await self._run(pod)
            if FAILS_AT_START <= mishap < KILLED_FOR_MEMORY and not await happens_within(
                told, 30 * haste
            ):
                self._executors.ended_by_others.add(uid)
                await self._end(pod, "Failed", 137, "OOMKilled")
        await told.wait()
        await self._leave(uid, linger=4.0 if mishap > SLOW_TO_END else 0.0)

    async def _leave(self, uid: str, *, linger: float) -> None:
        pod = self._feed.pods[uid]
        grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        ends_at = time.monotonic() + grace
        while self._executors.is_working(pod) and time.monotonic() < ends_at:
            await asyncio.sleep(0.1)
        await asyncio.sleep(min(linger, grace))
        if pod["status"].get("phase") == "Running":
            await self._end(pod, "Succeeded", 0, "Completed")
        await self.insist(
            "DELETE", pod_path(pod), {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        )

    # -- the API -----------------------------------------------------------------------------------------------------

    async def _run(self, pod: Document) -> None:
        running = {"running": {"startedAt": _timestamp()}}
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": _timestamp()}
        await self._patch(pod, "Running", running, {"podIP": "10.42.7.1", "conditions": [ready]})

    async def _end(self, pod: Document, phase: str, code: int, reason: str) -> None:
        ended = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": _timestamp()}}
        await self._patch(pod, phase, ended, {"reason": reason} if reason == "Evicted" else {})

    async def _patch(self, pod: Document, phase: str, state: Document, more: Document) -> None:
        container = {"name": "spark-kubernetes-executor", "image": "spark:test", "imageID": "",
                     "ready": phase == "Running", "restartCount": 0, "state": state}  # fmt: skip
        status = {"phase": phase, "containerStatuses": [container], **more}
        await self.insist("PATCH", f"{pod_path(pod)}/status", {"status": status})

    async def insist(self, method: str, path: str, body: Any = None) -> ApiAnswer:
        """Try until the API server has answered, whatever it says."""
        content = "application/merge-patch+json" if method == "PATCH" else JSON
        while True:
            with contextlib.suppress(ApiUnavailable):
                async with self._at_once:
                    answer = await self._api.request(
                        method, path, body=body, query={}, content_type=content
                    )
                if not answer.is_transient:
                    return answer
            await asyncio.sleep(0.3)

    async def _beat(self) -> None:
        moment = _timestamp()
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
                 "lastHeartbeatTime": moment, "lastTransitionTime": moment}  # fmt: skip
        for name in self.nodes:
            path = f"/api/v1/nodes/{name}/status"
            await self.insist("PATCH", path, {"status": {"conditions": [ready]}})

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(NODE_HEARTBEAT_SECONDS)
            await self._beat()


def pod_path(pod: Document) -> str:
    """Where the API server keeps it."""
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


def _timestamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _node(name: str) -> Document:
    taint = {"key": "only-for", "value": "the-fleet", "effect": "NoSchedule"}
    return {
        "metadata": {"name": name},
        "spec": {"taints": [taint]},
        "status": {"capacity": {"pods": "2000", "cpu": "2000", "memory": "8000Gi"}},
    }
