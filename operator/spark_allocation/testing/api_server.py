"""An API server of plain documents, for commands that read: GET, list by path and label, POST of access reviews, PATCH.

Documents are stored under the path that they are asked for by. What a test does not put there is 404; what it forbids
is 403.
"""

import copy
import json
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from spark_allocation.api.group import PLURAL
from spark_allocation.kube.allocations_api import GROUP_PATH
from spark_allocation.kube.api_client import JSON, ApiAnswer, ApiUnavailable

Document = dict[str, Any]


class FakeApiServer:
    """The port `kube.cluster_reading.RawApi`, in memory.

    Attributes:
        objects: by path.
        forbidden: beginnings of paths that answer 403.
        absent: beginnings of paths that answer 404, as those of a kind that is not installed.
        denied: (group, resource, verb) that an access review refuses.
        pages: raw answers by path, such as what a driver says through the proxy of its pod.
        skew_seconds: of the server's clock against ours.
        lost: nothing answers.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Document] = {}
        self.pages: dict[str, Any] = {
            "/version": {"gitVersion": "v1.35.4"},
            GROUP_PATH: {"resources": [{"name": PLURAL}]},
        }
        self.forbidden: set[str] = set()
        self.absent: set[str] = set()
        self.denied: set[tuple[str, str, str]] = set()
        self.reviews: list[Document] = []
        self.skew_seconds = 0.0
        self.lost = False
        self._version = 100

    def put(self, path: str, **fields: Any) -> Document:
        """Store an object; its name and namespace are those of its path."""
        parts = path.split("/")
        metadata: Document = {"name": parts[-1], "uid": f"uid-{parts[-1]}"}
        if "namespaces" in parts:
            metadata["namespace"] = parts[parts.index("namespaces") + 1]
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        document = {**fields, "metadata": {**metadata, **fields.get("metadata", {})}}
        self.objects[path] = document
        return document

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,  # noqa: ARG002  (the port's signature)
        timeout_seconds: float = 0,  # noqa: ARG002
    ) -> ApiAnswer:
        """Answer as an API server does."""
        if self.lost:
            raise ApiUnavailable(f"{method} {path}: nothing answers")
        if any(path.startswith(prefix) for prefix in self.forbidden):
            return self._answer(403, {"reason": "Forbidden", "message": f"{path} is forbidden"})
        if any(path.startswith(prefix) for prefix in self.absent):
            return self._answer(404, {"reason": "NotFound", "message": f"{path} is not there"})
        if method == "POST":
            return self._reviewed(body)
        if method == "PATCH":
            return self._patched(path, body)
        if path in self.pages:
            return self._answer(200, self.pages[path])
        if path in self.objects:
            return self._answer(200, self.objects[path])
        return self._listed(path, query or {})

    def _listed(self, path: str, query: Mapping[str, str]) -> ApiAnswer:
        kind = path.rsplit("/", 1)[1]
        root = path[: -len(kind)].split("/namespaces/", maxsplit=1)[0].rstrip("/")
        if "limit" not in query:
            return self._answer(404, {"reason": "NotFound", "message": f"{path} is not there"})
        namespace = (
            path.split("/namespaces/")[1].split("/", maxsplit=1)[0]
            if "/namespaces/" in path
            else None
        )
        wanted = [each.split("=") for each in query.get("labelSelector", "").split(",") if each]
        found = [
            document
            for stored, document in self.objects.items()
            if stored.startswith(root)
            and stored.split("/")[-2] == kind
            and namespace in (None, document["metadata"].get("namespace"))
            and all((document["metadata"].get("labels") or {}).get(k) == v for k, v in wanted)
        ]
        return self._answer(200, {"metadata": {"resourceVersion": "1"}, "items": found})

    def _reviewed(self, body: Document) -> ApiAnswer:
        self.reviews.append(body)
        asked = body["spec"]["resourceAttributes"]
        resource = "/".join(each for each in (asked["resource"], asked["subresource"]) if each)
        allowed = (asked["group"], resource, asked["verb"]) not in self.denied
        return self._answer(201, {**body, "status": {"allowed": allowed}})

    def _patched(self, path: str, body: Document) -> ApiAnswer:
        document = self.objects.get(path)
        if document is None:
            return self._answer(404, {"reason": "NotFound", "message": f"{path} is not there"})
        metadata = body.get("metadata", {})
        wanted = metadata.get("resourceVersion")
        if wanted not in (None, document["metadata"]["resourceVersion"]):
            return self._answer(409, {"reason": "Conflict", "message": "it has been modified"})
        self._version += 1
        document["metadata"] |= {**metadata, "resourceVersion": str(self._version)}
        if "spec" in body:
            document["spec"] = {**document.get("spec", {}), **body["spec"]}
        return self._answer(200, document)

    def _answer(self, status: int, document: Any) -> ApiAnswer:
        body = json.dumps(copy.deepcopy(document)).encode()
        return ApiAnswer(
            status, body, date=formatdate(time.time() + self.skew_seconds, usegmt=True)
        )

    async def close(self) -> None:
        """Nothing is open."""
