"""Pods in memory, with the API server's rules as far as the operator can meet them.

Names are unique, uids never come back, resource versions grow, deletions name a uid, a running pod stays until its
kubelet has ended it, a watch can be compacted away. Pods are plain documents, as on the wire.
"""

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from spark_allocation.kube.api_client import ApiAnswer, ApiUnavailable
from spark_allocation.kube.pods_api import (
    CreateOutcome,
    CreateResult,
    DeleteOutcome,
    DeleteResult,
)
from spark_allocation.testing.faults import Call, Faulty

Pod = dict[str, Any]
_BROKEN = object()
_ENDED = object()


class FakePodsApi(Faulty):
    """A `spark_allocation.kube.pods_api.PodsApi` over pods in memory.

    Attributes:
        pods: by namespace and name; change them through the methods, so that watches hear of it.
        quota: most pods in a namespace; None for no quota.
        page_size: pods on one page of a list.
    """

    def __init__(
        self,
        *,
        quota: int | None = None,
        page_size: int = 500,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            now: epoch seconds, for the times that the server writes into pods.
        """
        super().__init__()
        self._now = now
        self.pods: dict[tuple[str, str], Pod] = {}
        self.quota = quota
        self.page_size = page_size
        self.resource_version = 100
        self._uids = 0
        self._history: list[tuple[int, str, Pod]] = []
        self._compacted = 0
        self._watches: list[asyncio.Queue[object]] = []

    # -- the port ----------------------------------------------------------------------------------------------------

    async def create(self, namespace: str, pod: dict[str, Any]) -> CreateOutcome:
        """See `PodsApi.create`."""
        call = Call("create", namespace, pod["metadata"]["name"], {"pod": pod})
        return await self.meet(call, lambda: self._create(namespace, pod))

    async def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """See `PodsApi.get`."""
        call = Call("get", namespace, name)
        return await self.meet(call, lambda: copy.deepcopy(self.pods.get((namespace, name))))

    async def delete(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        grace_seconds: int | None = None,
        resource_version: str | None = None,
    ) -> DeleteOutcome:
        """See `PodsApi.delete`."""
        details = {"uid": uid, "grace_seconds": grace_seconds, "resource_version": resource_version}
        return await self.meet(
            Call("delete", namespace, name, details),
            lambda: self._delete(namespace, name, uid, grace_seconds, resource_version),
        )

    async def list_page(
        self, namespace: str | None, selector: str, continue_token: str
    ) -> ApiAnswer:
        """See `PodsApi.list_page`."""
        call = Call("list_page", namespace, selector, {"continue_token": continue_token})
        return await self.meet(call, lambda: self._page(namespace, selector, continue_token))

    async def watch(
        self, namespace: str | None, selector: str, resource_version: str
    ) -> AsyncIterator[bytes]:
        """See `PodsApi.watch`."""
        self.calls.append(
            Call("watch", namespace, selector, {"resource_version": resource_version})
        )
        since = int(resource_version)
        if since < self._compacted:
            yield _line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
            return
        queue: asyncio.Queue[object] = asyncio.Queue()
        for version, kind, pod in self._history:
            if version > since:
                queue.put_nowait((kind, pod))
        self._watches.append(queue)
        try:
            while True:
                said = await queue.get()
                if said is _ENDED:
                    return
                if said is _BROKEN:
                    raise ApiUnavailable("watch: the connection broke")
                if isinstance(said, bytes):
                    yield said
                elif isinstance(said, tuple):
                    kind, pod = said
                    if _matches(pod, namespace, selector):
                        yield _line(kind, pod)
        finally:
            self._watches.remove(queue)

    # -- the world ---------------------------------------------------------------------------------------------------

    def put(self, pod: Mapping[str, Any]) -> Pod:
        """A pod that somebody else made; uid, resource version and creation time are added."""
        metadata = pod["metadata"]
        outcome = self._create(metadata["namespace"], dict(pod), limited=False)
        assert outcome.result is CreateResult.CREATED, outcome
        return self.pods[metadata["namespace"], metadata["name"]]

    def change(self, name: str, namespace: str, **status: Any) -> Pod:
        """A pod's status changes, such as ``phase="Running"``; keys are those of the document."""
        pod = self.pods[namespace, name]
        pod.setdefault("status", {}).update(status)
        self._say("MODIFIED", pod)
        return pod

    def run(self, name: str, namespace: str) -> Pod:
        """The kubelet has started the pod's containers."""
        self.pods[namespace, name].setdefault("spec", {})["nodeName"] = "node"
        started = {"running": {"startedAt": self._timestamp()}}
        containers = self.pods[namespace, name]["spec"].get("containers") or [{"name": "main"}]
        statuses = [
            {"name": each["name"], "restartCount": 0, "state": started} for each in containers
        ]
        return self.change(
            name, namespace, phase="Running", podIP="127.0.0.1", containerStatuses=statuses
        )

    def relabel(self, name: str, namespace: str, **labels: str) -> Pod:
        """Somebody edits labels (underscores stand for hyphens)."""
        pod = self.pods[namespace, name]
        pod["metadata"].setdefault("labels", {}).update(
            {key.replace("_", "-"): value for key, value in labels.items()}
        )
        self._say("MODIFIED", pod)
        return pod

    def remove(self, name: str, namespace: str) -> None:
        """The pod is gone: its kubelet has ended it, or it was deleted by force."""
        self._say("DELETED", self.pods.pop((namespace, name)))

    def say(self, line: bytes) -> None:
        """Send a line to every open watch, sense or nonsense."""
        for queue in self._watches:
            queue.put_nowait(line)

    def replay(self, kind: str, pod: Mapping[str, Any]) -> None:
        """Say something again that was said before."""
        self.say(_line(kind, pod))

    def bookmark(self) -> None:
        """Send a bookmark of now."""
        self.resource_version += 1
        metadata = {"resourceVersion": str(self.resource_version)}
        self.say(_line("BOOKMARK", {"kind": "Pod", "metadata": metadata}))

    def end_watches(self) -> None:
        """Every watch ends, as after its timeout."""
        for queue in self._watches:
            queue.put_nowait(_ENDED)

    def break_watches(self) -> None:
        """Every connection of a watch breaks."""
        for queue in self._watches:
            queue.put_nowait(_BROKEN)

    def compact(self) -> None:
        """Older resource versions cannot be watched any more; changes that no watch has heard are lost."""
        self._compacted = self.resource_version
        self._history.clear()

    @property
    def open_watches(self) -> int:
        """Watches that are being read."""
        return len(self._watches)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _create(self, namespace: str, pod: Pod, *, limited: bool = True) -> CreateOutcome:
        name = pod["metadata"]["name"]
        if (namespace, name) in self.pods:
            return CreateOutcome(CreateResult.EXISTS, f'pods "{name}" already exists')
        here = sum(1 for at, _ in self.pods if at == namespace)
        if limited and self.quota is not None and here >= self.quota:
            words = f'pods "{name}" is forbidden: exceeded quota: pods, limited: pods={self.quota}'
            return CreateOutcome(CreateResult.QUOTA_EXCEEDED, words)
        self._uids += 1
        made = copy.deepcopy(pod)
        made["metadata"].update(
            namespace=namespace,
            uid=made["metadata"].get("uid") or f"uid-{self._uids}",
            creationTimestamp=made["metadata"].get("creationTimestamp") or self._timestamp(),
        )
        made.setdefault("status", {}).setdefault("phase", "Pending")
        self.pods[namespace, name] = made
        self._say("ADDED", made)
        return CreateOutcome(CreateResult.CREATED, uid=made["metadata"]["uid"])

    def _delete(
        self,
        namespace: str,
        name: str,
        uid: str,
        grace_seconds: int | None,
        resource_version: str | None,
    ) -> DeleteOutcome:
        pod = self.pods.get((namespace, name))
        if pod is None:
            return DeleteOutcome(DeleteResult.GONE)
        metadata = pod["metadata"]
        if metadata["uid"] != uid:
            return DeleteOutcome(DeleteResult.NOT_THE_SAME, "the UID in the precondition differs")
        if resource_version not in (None, metadata["resourceVersion"]):
            return DeleteOutcome(DeleteResult.NOT_THE_SAME, "the resourceVersion differs")
        grace = pod.get("spec", {}).get("terminationGracePeriodSeconds", 30)
        grace = grace if grace_seconds is None else grace_seconds
        waits_for_kubelet = bool(pod.get("spec", {}).get("nodeName")) and grace > 0
        if waits_for_kubelet and pod["status"]["phase"] in ("Pending", "Running"):
            metadata.setdefault("deletionTimestamp", self._timestamp())
            metadata["deletionGracePeriodSeconds"] = grace
            self._say("MODIFIED", pod)
        else:
            self.remove(name, namespace)
        return DeleteOutcome(DeleteResult.ACCEPTED)

    def _timestamp(self) -> str:
        moment = datetime.fromtimestamp(self._now(), UTC)
        return moment.isoformat(timespec="seconds").replace("+00:00", "Z")

    def _page(self, namespace: str | None, selector: str, token: str) -> ApiAnswer:
        offset, version = (int(each) for each in token.split("@")) if token else (0, 0)
        if token and version < self._compacted:
            return ApiAnswer(HTTPStatus.GONE, b'{"kind":"Status","reason":"Expired"}')
        version = version or self.resource_version
        found = [pod for pod in self.pods.values() if _matches(pod, namespace, selector)]
        page = found[offset : offset + self.page_size]
        more = f"{offset + self.page_size}@{version}"
        metadata = {
            "resourceVersion": str(version),
            "continue": more if offset + self.page_size < len(found) else "",
        }
        return ApiAnswer(HTTPStatus.OK, json.dumps({"metadata": metadata, "items": page}).encode())

    def _say(self, kind: str, pod: Pod) -> None:
        self.resource_version += 1
        pod["metadata"]["resourceVersion"] = str(self.resource_version)
        seen = copy.deepcopy(pod)
        self._history.append((self.resource_version, kind, seen))
        for queue in self._watches:
            queue.put_nowait((kind, seen))


def _matches(pod: Mapping[str, Any], namespace: str | None, selector: str) -> bool:
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    wanted = (each.split("=", 1) for each in selector.split(",") if each)
    return namespace in (None, metadata.get("namespace")) and all(
        labels.get(key) == value for key, value in wanted
    )


def _line(kind: str, document: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": document}).encode()
