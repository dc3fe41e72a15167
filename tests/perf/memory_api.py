"""An API server that keeps everything in memory, for figures that a real one on the same two cores would disturb.

It speaks as much of the API as the operator and kopf use: discovery, GET, LIST in pages with label selectors, WATCH,
POST, merge patches of objects and their status, DELETE with preconditions. Objects have resource versions, uids and
finalizers, pods a phase; there is no validation, no other defaulting and no quota. Each request is counted by verb and resource.
"""

import asyncio
import itertools
import json
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import jsonpatch
import msgspec
from aiohttp import web

BOOKMARK_SECONDS = 20.0

Document = dict[str, Any]
Listener = Callable[[str, Document], None]
PartOf = Callable[[Document], Document]
"""What a client wants to see of an object."""

ONLY_METADATA = "as=PartialObjectMetadata"

REMEMBERED_CHANGES = 200_000
_KINDS = {
    "pods": ("", "v1", "Pod", True),
    "nodes": ("", "v1", "Node", False),
    "events": ("", "v1", "Event", True),
    "configmaps": ("", "v1", "ConfigMap", True),
    "persistentvolumeclaims": ("", "v1", "PersistentVolumeClaim", True),
    "namespaces": ("", "v1", "Namespace", False),
    "leases": ("coordination.k8s.io", "v1", "Lease", True),
    "customresourcedefinitions": ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", False),
    "sparkallocations": ("sparkallocation.dev", "v1alpha1", "SparkAllocation", True),
    "sparkallocationpolicies": ("sparkallocation.dev", "v1alpha1", "SparkAllocationPolicy", True),
    "clustersparkallocationpolicies": (
        "sparkallocation.dev",
        "v1alpha1",
        "ClusterSparkAllocationPolicy",
        False,
    ),
}


@dataclass
class Resource:
    """All objects of one kind.

    Attributes:
        changes: the newest, as lines of a watch, with the resource version and the labels of the object.
        listeners: told the type of each change and the object, in order.
    """

    name: str
    objects: dict[tuple[str, str], Document] = field(default_factory=dict)
    changes: deque[tuple[int, Document, bytes]] = field(
        default_factory=lambda: deque(maxlen=REMEMBERED_CHANGES)
    )
    watchers: set[asyncio.Queue[tuple[Document, bytes]]] = field(default_factory=set)
    listeners: list[Listener] = field(default_factory=list)


class MemoryApi:
    """Serves while it is entered.

    Attributes:
        requests: by verb and resource, as ``list pods`` or ``patch sparkallocations/status``.
        received_bytes, sent_bytes: of bodies, watches included.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.statuses_by_second: Counter[int] = Counter()
        self.received_bytes = 0
        self.sent_bytes = 0
        self.port = 0
        self._versions = itertools.count(1)
        self._version = 0
        self._lists: dict[str, tuple[list[Document], int]] = {}
        self._resources = {name: Resource(name) for name in _KINDS}
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None), shutdown_timeout=0.1
        )

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=512)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def listen(self, resource: str, listener: Listener) -> None:
        """Be told of each change of these objects."""
        self._resources[resource].listeners.append(listener)

    def kubeconfig(self) -> str:
        """For a client on this machine."""
        named = {"name": "memory"}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "memory",
                "clusters": [
                    {**named, "cluster": {"server": f"http://127.0.0.1:{self.port}"}},
                ],
                "users": [{**named, "user": {"token": "none"}}],
                "contexts": [{**named, "context": {"cluster": "memory", "user": "memory"}}],
            }
        )

    # -- objects -----------------------------------------------------------------------------------------------------

    def put(self, resource: str, document: Document) -> Document:
        """Make an object."""
        kept = self._resources[resource]
        group, version, kind, _ = _KINDS[resource]
        metadata = document.setdefault("metadata", {})
        if "name" not in metadata:
            metadata["name"] = f"{metadata.get('generateName', '')}{next(self._versions):x}"
        key = metadata.get("namespace", ""), metadata["name"]
        if key in kept.objects:
            raise KeyError(key)
        document["apiVersion"] = f"{group}/{version}" if group else version
        document["kind"] = kind
        metadata["uid"] = f"{next(self._versions):08x}-0000-4000-8000-000000000000"
        metadata["creationTimestamp"] = _timestamp()
        if resource == "pods":
            document.setdefault("status", {}).setdefault("phase", "Pending")
        kept.objects[key] = document
        self._changed(kept, "ADDED", document)
        return document

    def find(self, resource: str, namespace: str, name: str) -> Document | None:
        """One object."""
        return self._resources[resource].objects.get((namespace, name))

    def all(self, resource: str) -> list[Document]:
        """All objects of a kind."""
        return list(self._resources[resource].objects.values())

    def change(self, resource: str, document: Document, patch: Document | list[Document]) -> None:
        """Patch an object: a merge, or single operations.

        Raises:
            jsonpatch.JsonPatchConflict, jsonpatch.JsonPatchTestFailed: the operations do not fit.
        """
        before = msgspec.json.encode(document)
        metadata = document["metadata"]
        kept = {name: metadata[name] for name in ("uid", "creationTimestamp", "resourceVersion")}
        if isinstance(patch, list):
            jsonpatch.apply_patch(document, patch, in_place=True)
        else:
            _merge(document, patch)
        document["metadata"].update(kept)
        if msgspec.json.encode(document) == before:
            return
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self.remove(resource, document)
        else:
            self._changed(self._resources[resource], "MODIFIED", document)

    def remove(self, resource: str, document: Document) -> None:
        """The object is gone, whatever holds it."""
        kept = self._resources[resource]
        metadata = document["metadata"]
        if kept.objects.pop((metadata.get("namespace", ""), metadata["name"]), None) is not None:
            self._changed(kept, "DELETED", document)

    def _changed(self, kept: Resource, kind: str, document: Document) -> None:
        self._version = next(self._versions)
        document["metadata"]["resourceVersion"] = str(self._version)
        line = b'{"type":"%s","object":%s}\n' % (kind.encode(), msgspec.json.encode(document))
        kept.changes.append((self._version, document, line))
        for watcher in kept.watchers:
            watcher.put_nowait((document, line))
        for listener in kept.listeners:
            listener(kind, document)

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        parts = [each for each in request.path.split("/") if each]
        discovered = _discovery(parts)
        if discovered is not None:
            return _json(discovered)
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if len(parts) > 2 and parts[0] == "namespaces":
            namespace, parts = parts[1], parts[2:]
        resource, name, part = (*parts, "", "", "")[:3]
        if resource not in _KINDS:
            return _refusal(404, "NotFound", f"no {request.path}")
        verb = {"GET": "get" if name else "list", "POST": "create"}.get(
            request.method, request.method.lower()
        )
        if request.query.get("watch") in ("true", "1"):
            verb = "watch"
        self.requests[f"{verb} {resource}{'/' if part else ''}{part}"] += 1
        if verb == "patch" and part == "status" and resource == "sparkallocations":
            self.statuses_by_second[int(time.monotonic())] += 1
        match verb:
            case "watch":
                return await self._watch(request, self._resources[resource], namespace)
            case "list":
                return self._list(request, self._resources[resource], namespace)
        content = await request.read()
        self.received_bytes += len(content)
        body = msgspec.json.decode(content) if content else {}
        part_of = _metadata if ONLY_METADATA in request.headers.get("Accept", "") else _whole
        if verb == "create":
            return self._create(resource, namespace, body, part_of)
        found = self.find(resource, namespace, name)
        if found is None:
            return _refusal(404, "NotFound", f'{resource} "{name}" not found')
        if verb == "patch" and isinstance(body, list):
            try:
                self.change(resource, found, body)
            except (jsonpatch.JsonPatchConflict, jsonpatch.JsonPatchTestFailed) as error:
                return _refusal(422, "Invalid", str(error))
        elif verb == "patch":
            version = (body.get("metadata") or {}).get("resourceVersion")
            if version is not None and version != found["metadata"]["resourceVersion"]:
                return _refusal(409, "Conflict", "the object has been modified")
            self.change(resource, found, {"status": body.get("status")} if part else body)
        elif verb == "delete":
            return self._delete(resource, found, body, part_of)
        return self._answer(part_of(found))

    def _create(
        self, resource: str, namespace: str, body: Document, part_of: PartOf
    ) -> web.Response:
        if namespace:
            body.setdefault("metadata", {})["namespace"] = namespace
        try:
            return self._answer(part_of(self.put(resource, body)), status=201)
        except KeyError as error:
            return _refusal(409, "AlreadyExists", f"{resource} {error} already exists")

    def _delete(
        self, resource: str, found: Document, options: Document, part_of: PartOf
    ) -> web.Response:
        metadata = found["metadata"]
        same = options.get("preconditions") or {}
        if any(metadata.get(name) != value for name, value in same.items() if value):
            return _refusal(409, "Conflict", "the preconditions do not hold")
        if "deletionTimestamp" not in metadata:
            grace = options.get("gracePeriodSeconds", 30 if resource == "pods" else 0)
            if metadata.get("finalizers") or grace:
                marks = {
                    "deletionTimestamp": _timestamp(),
                    "deletionGracePeriodSeconds": grace,
                }
                self.change(resource, found, {"metadata": marks})
            else:
                self.remove(resource, found)
        return self._answer(part_of(found))

    def _list(self, request: web.BaseRequest, kept: Resource, namespace: str) -> web.StreamResponse:
        token = request.query.get("continue", "")
        if token:
            found, version = self._lists.pop(token)  # as it was when the first page was asked for
        else:
            matches = _matcher(namespace, request.query.get("labelSelector", ""))
            found = [each for each in kept.objects.values() if matches(each)]
            version = self._version
        limit = int(request.query.get("limit") or 0) or len(found) or 1
        metadata: Document = {"resourceVersion": str(version)}
        if limit < len(found):
            metadata["continue"] = str(next(self._versions))
            self._lists[metadata["continue"]] = found[limit:], version
        group, version, kind, _ = _KINDS[kept.name]
        return self._answer(
            {
                "apiVersion": f"{group}/{version}" if group else version,
                "kind": f"{kind}List",
                "metadata": metadata,
                "items": found[:limit],
            }
        )

    async def _watch(
        self, request: web.BaseRequest, kept: Resource, namespace: str
    ) -> web.StreamResponse:
        matches = _matcher(namespace, request.query.get("labelSelector", ""))
        since = int(request.query.get("resourceVersion") or self._version)
        ends_at = time.monotonic() + float(request.query.get("timeoutSeconds") or 3600)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        queue: asyncio.Queue[tuple[Document, bytes]] = asyncio.Queue()
        for version, document, line in kept.changes:
            if version > since:
                queue.put_nowait((document, line))
        kept.watchers.add(queue)
        bookmark_at = time.monotonic() + BOOKMARK_SECONDS
        try:
            while time.monotonic() < ends_at:
                lines = []
                wait = min(bookmark_at, ends_at) - time.monotonic()
                try:
                    async with asyncio.timeout(max(0.1, wait)):
                        document, line = await queue.get()
                        lines = [line] if matches(document) else []
                except TimeoutError:
                    pass  # that nothing happened is told as well
                while not queue.empty():
                    document, line = queue.get_nowait()
                    if matches(document):
                        lines.append(line)
                if time.monotonic() >= bookmark_at:
                    bookmark_at = time.monotonic() + BOOKMARK_SECONDS
                    lines.append(self._bookmark(kept))
                if lines:
                    content = b"".join(lines)
                    self.sent_bytes += len(content)
                    await response.write(content)
        except (ConnectionResetError, asyncio.CancelledError):
            pass  # whoever watched has gone
        finally:
            kept.watchers.discard(queue)
        return response

    def _bookmark(self, kept: Resource) -> bytes:
        group, version, kind, _ = _KINDS[kept.name]
        bookmark = {
            "apiVersion": f"{group}/{version}" if group else version,
            "kind": kind,
            "metadata": {"resourceVersion": str(self._version)},
        }
        return msgspec.json.encode({"type": "BOOKMARK", "object": bookmark}) + b"\n"

    def _answer(self, document: Document, status: int = 200) -> web.Response:
        response = _json(document, status)
        self.sent_bytes += len(response.body or b"")
        return response


def _discovery(parts: list[str]) -> Document | None:
    """What there is, for clients that ask before they use it."""
    groups = sorted({group for group, *_ in _KINDS.values() if group})
    match parts:
        case ["version"]:
            return {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            return {"kind": "APIGroupList", "groups": [_group(each) for each in groups]}
        case ["apis", group]:
            return _group(group)
        case ["api", version]:
            return _resources("", version)
        case ["apis", group, version]:
            return _resources(group, version)
    return None


def _group(group: str) -> Document:
    version = next(each[1] for each in _KINDS.values() if each[0] == group)
    named = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [named], "preferredVersion": named}


def _resources(group: str, version: str) -> Document:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {
        "kind": "APIResourceList",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": [
            {
                "name": f"{name}{part}",
                "singularName": kind.lower(),
                "namespaced": namespaced,
                "kind": kind,
                "verbs": verbs,
                "shortNames": [],
                "categories": [],
            }
            for name, (of, at, kind, namespaced) in _KINDS.items()
            if (of, at) == (group, version)
            for part in ("", "/status")
        ],
    }


def _matcher(namespace: str, selector: str) -> Callable[[Document], bool]:
    wanted = [each.split("=", 1) for each in selector.split(",") if "=" in each]
    there = [each for each in selector.split(",") if each and "=" not in each]

    def matches(document: Document) -> bool:
        metadata = document["metadata"]
        if namespace and metadata.get("namespace") != namespace:
            return False
        labels = metadata.get("labels") or {}
        return all(labels.get(key) == value.lstrip("=") for key, value in wanted) and all(
            key in labels for key in there
        )

    return matches


def _merge(target: Document, patch: Document) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            inner = target.get(key)
            if not isinstance(inner, dict):
                inner = target[key] = {}
            _merge(inner, value)
        else:
            target[key] = value


def _whole(document: Document) -> Document:
    return document


def _metadata(document: Document) -> Document:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": document["metadata"],
    }


def _json(document: Document, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(document), status=status, content_type="application/json"
    )


def _refusal(status: int, reason: str, message: str) -> web.Response:
    return _json(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": status,
            "reason": reason,
            "message": message,
        },
        status,
    )


def _timestamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
