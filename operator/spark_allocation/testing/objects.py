"""SparkAllocations and other objects in memory, with the API server's rules as far as the operator can meet them."""

import copy
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from spark_allocation.kube.write_outcomes import DONE, WriteOutcome, WriteResult
from spark_allocation.testing.faults import Call, Faulty

Document = dict[str, Any]


class FakeAllocationsApi(Faulty):
    """A `spark_allocation.kube.allocations_api.AllocationsApi` in memory.

    Attributes:
        objects: by namespace and name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[tuple[str, str], Document] = {}
        self._version = 0
        self._uids = 0

    def put(
        self, name: str, spec: Document, *, namespace: str = "jobs", **metadata: Any
    ) -> Document:
        """A SparkAllocation that a user made, or changed; returns it as the API server shows it."""
        before = self.objects.get((namespace, name))
        self._uids += before is None
        made: Document = {
            "metadata": {
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "uid": f"allocation-{self._uids}",
                "generation": 0,
                **(before["metadata"] if before else {}),
                **metadata,
                "name": name,
                "namespace": namespace,
            },
            "spec": copy.deepcopy(spec),
            "status": before["status"] if before else {},
        }
        made["metadata"]["generation"] += 1
        self.objects[namespace, name] = made
        self._touch(made)
        return copy.deepcopy(made)

    def remove(self, name: str, *, namespace: str = "jobs") -> None:
        """Somebody deleted it."""
        del self.objects[namespace, name]

    def status(self, name: str, *, namespace: str = "jobs") -> Document:
        """What the operator says of it."""
        status: Document = self.objects[namespace, name].get("status") or {}
        return status

    # -- the port ----------------------------------------------------------------------------------------------------

    async def get(self, namespace: str, name: str) -> Document | None:
        """See `AllocationsApi.get`."""
        call = Call("get", namespace, name)
        return await self.meet(call, lambda: copy.deepcopy(self.objects.get((namespace, name))))

    async def uids(self, namespace: str | None) -> set[str]:
        """See `AllocationsApi.uids`."""
        return await self.meet(
            Call("uids", namespace, ""),
            lambda: {
                each["metadata"]["uid"]
                for (at, _), each in self.objects.items()
                if namespace in (None, at)
            },
        )

    async def create(self, namespace: str, allocation: Document) -> WriteOutcome:
        """See `AllocationsApi.create`."""
        name = allocation["metadata"]["name"]
        call = Call("create", namespace, name, {"allocation": allocation})
        return await self.meet(call, lambda: self._create(namespace, name, allocation))

    async def delete(self, namespace: str, name: str, uid: str) -> WriteOutcome:
        """See `AllocationsApi.delete`."""
        call = Call("delete", namespace, name, {"uid": uid})
        return await self.meet(call, lambda: self._delete(namespace, name, uid))

    async def patch_status(
        self, namespace: str, name: str, uid: str, status: Document
    ) -> WriteOutcome:
        """See `AllocationsApi.patch_status`."""
        call = Call("patch_status", namespace, name, {"uid": uid, "status": status})
        return await self.meet(call, lambda: self._patch(namespace, name, uid, status))

    async def reserve_executor_ids(
        self, namespace: str, name: str, uid: str, *, next_executor_id: int, resource_version: str
    ) -> WriteOutcome:
        """See `AllocationsApi.reserve_executor_ids`."""
        details = {"uid": uid, "next_executor_id": next_executor_id, "version": resource_version}
        return await self.meet(
            Call("reserve_executor_ids", namespace, name, details),
            lambda: self._patch(
                namespace, name, uid, {"nextExecutorId": next_executor_id}, resource_version
            ),
        )

    # -- inside ------------------------------------------------------------------------------------------------------

    def _create(self, namespace: str, name: str, allocation: Document) -> WriteOutcome:
        if (namespace, name) in self.objects:
            return WriteOutcome(WriteResult.EXISTS, f"{name} already exists")
        metadata = {
            key: value
            for key, value in allocation["metadata"].items()
            if key not in ("name", "namespace")
        }
        self.put(name, allocation["spec"], namespace=namespace, **metadata)
        return DONE

    def _delete(self, namespace: str, name: str, uid: str) -> WriteOutcome:
        found = self.objects.get((namespace, name))
        if found is None:
            return WriteOutcome(WriteResult.GONE)
        if found["metadata"]["uid"] != uid:
            return WriteOutcome(WriteResult.CONFLICT, "the UID in the precondition differs")
        del self.objects[namespace, name]
        return DONE

    def _patch(
        self, namespace: str, name: str, uid: str, status: Document, version: str | None = None
    ) -> WriteOutcome:
        found = self.objects.get((namespace, name))
        if found is None:
            return WriteOutcome(WriteResult.GONE)
        another = found["metadata"]["uid"] != uid
        if version is not None and (another or version != found["metadata"]["resourceVersion"]):
            return WriteOutcome(WriteResult.CONFLICT, "the object has been modified")
        merged = {**(found.get("status") or {}), **copy.deepcopy(status)}
        found["status"] = {key: value for key, value in merged.items() if value is not None}
        self._touch(found)
        # as the API server: a merge patch of a status is carried out whatever uid it names
        return WriteOutcome(WriteResult.CONFLICT, "it is another object now") if another else DONE

    def _touch(self, document: Document) -> None:
        self._version += 1
        document["metadata"]["resourceVersion"] = str(self._version)


class FakeObjectsApi(Faulty):
    """A `spark_allocation.kube.objects_api.ObjectsApi` in memory.

    Attributes:
        objects: by namespace, kind (``configmaps``, ``persistentvolumeclaims``) and name.
        events: Events that were posted.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        """
        Args:
            now: epoch seconds, for the creation times that the server writes.
        """
        super().__init__()
        self._now = now
        self.objects: dict[tuple[str, str, str], Document] = {}
        self.events: list[Document] = []
        self._uids = 0

    def put(self, kind: str, document: Document, *, namespace: str = "jobs") -> Document:
        """An object that somebody else made."""
        self._uids += 1
        made = copy.deepcopy(document)
        made["metadata"].setdefault("uid", f"{kind}-{self._uids}")
        created = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        made["metadata"].setdefault("creationTimestamp", created)
        self.objects[namespace, kind, made["metadata"]["name"]] = made
        return made

    # -- the port ----------------------------------------------------------------------------------------------------

    async def get(self, namespace: str, kind: str, name: str) -> Document | None:
        """See `ObjectsApi.get`."""
        return await self.meet(
            Call("get", namespace, name, {"kind": kind}),
            lambda: copy.deepcopy(self.objects.get((namespace, kind, name))),
        )

    async def list_named(self, namespace: str, kind: str, selector: str) -> list[Document]:
        """See `ObjectsApi.list_named`."""
        wanted = dict(each.split("=", 1) for each in selector.split(","))
        return await self.meet(
            Call("list_named", namespace, selector, {"kind": kind}),
            lambda: [
                copy.deepcopy(each)
                for (at, of, _), each in self.objects.items()
                if (at, of) == (namespace, kind)
                and wanted.items() <= (each["metadata"].get("labels") or {}).items()
            ],
        )

    async def create(self, namespace: str, kind: str, body: Document) -> WriteOutcome:
        """See `ObjectsApi.create`."""
        name = body["metadata"]["name"]
        return await self.meet(
            Call("create", namespace, name, {"kind": kind, "body": body}),
            lambda: self._create(namespace, kind, name, body),
        )

    async def delete(self, namespace: str, kind: str, name: str, uid: str) -> WriteOutcome:
        """See `ObjectsApi.delete`."""
        return await self.meet(
            Call("delete", namespace, name, {"kind": kind, "uid": uid}),
            lambda: self._delete(namespace, kind, name, uid),
        )

    async def post_event(self, namespace: str, event: Document) -> None:
        """See `ObjectsApi.post_event`."""
        call = Call("post_event", namespace, event["reason"], {"event": event})
        await self.meet(call, lambda: self.events.append(event))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _create(self, namespace: str, kind: str, name: str, body: Document) -> WriteOutcome:
        if (namespace, kind, name) in self.objects:
            return WriteOutcome(WriteResult.EXISTS, f"{name} already exists")
        self.put(kind, body, namespace=namespace)
        return DONE

    def _delete(self, namespace: str, kind: str, name: str, uid: str) -> WriteOutcome:
        found = self.objects.get((namespace, kind, name))
        if found is None:
            return WriteOutcome(WriteResult.GONE)
        if found["metadata"]["uid"] != uid:
            return WriteOutcome(WriteResult.CONFLICT, "the UID in the precondition differs")
        del self.objects[namespace, kind, name]
        return DONE
