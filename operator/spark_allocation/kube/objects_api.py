"""What else the operator touches: leftovers of an application, and Events."""

from typing import Any, Protocol
from urllib.parse import quote

from spark_allocation.kube.api_client import ONLY_METADATA, ApiAnswer, ApiUnavailable, KubernetesApi
from spark_allocation.kube.write_outcomes import WriteOutcome, write_outcome


class ObjectsApi(Protocol):
    """The port for config maps, claims and Events. Every method may raise `ApiUnavailable`."""

    async def get(self, namespace: str, kind: str, name: str) -> dict[str, Any] | None:
        """One object of a kind (``configmaps``, ``persistentvolumeclaims``); None when not there or not readable."""

    async def list_named(self, namespace: str, kind: str, selector: str) -> list[dict[str, Any]]:
        """Objects of a kind with these labels; [] when refused."""

    async def create(self, namespace: str, kind: str, body: dict[str, Any]) -> WriteOutcome:
        """Create an object."""

    async def delete(self, namespace: str, kind: str, name: str, uid: str) -> WriteOutcome:
        """Delete the object with this uid."""

    async def post_event(self, namespace: str, event: dict[str, Any]) -> None:
        """Post an Event; a refused Event is not worth a failure."""


class KubernetesObjectsApi:
    """`ObjectsApi` over an API server."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def get(self, namespace: str, kind: str, name: str) -> dict[str, Any] | None:
        """See `ObjectsApi.get`."""
        answer = await self._api.request("GET", f"{_path(namespace, kind)}/{quote(name)}")
        return answer.json() if _readable(answer).ok else None

    async def list_named(self, namespace: str, kind: str, selector: str) -> list[dict[str, Any]]:
        """See `ObjectsApi.list_named`."""
        answer = await self._api.request(
            "GET", _path(namespace, kind), query={"labelSelector": selector}
        )
        items = answer.json().get("items") if _readable(answer).ok else None
        return items if isinstance(items, list) else []

    async def create(self, namespace: str, kind: str, body: dict[str, Any]) -> WriteOutcome:
        """See `ObjectsApi.create`."""
        return write_outcome(await self._post(namespace, kind, body))

    async def delete(self, namespace: str, kind: str, name: str, uid: str) -> WriteOutcome:
        """See `ObjectsApi.delete`."""
        answer = await self._api.request(
            "DELETE",
            f"{_path(namespace, kind)}/{quote(name)}",
            body={"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}},
            accept=ONLY_METADATA,
        )
        return write_outcome(answer)

    async def post_event(self, namespace: str, event: dict[str, Any]) -> None:
        """See `ObjectsApi.post_event`."""
        await self._post(namespace, "events", event)

    async def _post(self, namespace: str, kind: str, body: dict[str, Any]) -> ApiAnswer:
        return await self._api.request(
            "POST", _path(namespace, kind), body=body, accept=ONLY_METADATA
        )


def _path(namespace: str, kind: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace)}/{kind}"


def _readable(answer: ApiAnswer) -> ApiAnswer:
    """The answer, unless the server is busy or broken: then nobody knows whether there is such an object."""
    if answer.is_transient:
        raise ApiUnavailable(f"{answer.status} {answer.message}")
    return answer
