"""What else the operator touches: leftovers of an application, and Events."""

from typing import Any, Protocol
from urllib.parse import quote

from spark_allocation.kube.api_client import KubernetesApi


class ObjectsApi(Protocol):
    """The port for config maps, claims and Events."""

    async def get_config_map(self, namespace: str, name: str) -> dict[str, Any] | None:
        """One config map, or None when it is not there or not readable."""

    async def list_named(self, namespace: str, kind: str, selector: str) -> list[dict[str, Any]]:
        """Objects of a kind (``configmaps``, ``persistentvolumeclaims``) with these labels; [] when refused."""

    async def create(self, namespace: str, kind: str, body: dict[str, Any]) -> tuple[bool, str]:
        """Create an object: (created, the server's words when not)."""

    async def delete(self, namespace: str, kind: str, name: str, uid: str) -> bool:
        """Delete the object with this uid."""

    async def post_event(self, namespace: str, event: dict[str, Any]) -> None:
        """Post an Event; a refused Event is not worth a failure."""


class KubernetesObjectsApi:
    """`ObjectsApi` over an API server."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def get_config_map(self, namespace: str, name: str) -> dict[str, Any] | None:
        """See `ObjectsApi.get_config_map`."""
        answer = await self._api.request("GET", f"{_path(namespace, 'configmaps')}/{quote(name)}")
        return answer.json() if answer.ok else None

    async def list_named(self, namespace: str, kind: str, selector: str) -> list[dict[str, Any]]:
        """See `ObjectsApi.list_named`."""
        answer = await self._api.request(
            "GET", _path(namespace, kind), query={"labelSelector": selector}
        )
        items = answer.json().get("items") if answer.ok else None
        return items if isinstance(items, list) else []

    async def create(self, namespace: str, kind: str, body: dict[str, Any]) -> tuple[bool, str]:
        """See `ObjectsApi.create`."""
        answer = await self._api.request("POST", _path(namespace, kind), body=body)
        return answer.ok, "" if answer.ok else answer.message

    async def delete(self, namespace: str, kind: str, name: str, uid: str) -> bool:
        """See `ObjectsApi.delete`."""
        answer = await self._api.request(
            "DELETE",
            f"{_path(namespace, kind)}/{quote(name)}",
            body={"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}},
        )
        return answer.ok

    async def post_event(self, namespace: str, event: dict[str, Any]) -> None:
        """See `ObjectsApi.post_event`."""
        await self._api.request("POST", _path(namespace, "events"), body=event)


def _path(namespace: str, kind: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace)}/{kind}"
