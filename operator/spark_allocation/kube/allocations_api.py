"""Our own kind at the API server: read it, make it, delete it, write its status.

Two writes touch a status. Reports are merge patches without a precondition: the last one wins and nothing reads them
back. The reservation of executor ids is the fence between two operators: it carries the resource version that it was
decided on, and a conflict means that somebody else may have reserved the same ids.
"""

from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote

from spark_allocation.kube.api_client import MERGE_PATCH, KubernetesApi

GROUP_PATH = "/apis/sparkallocation.dev/v1alpha1"
PLURAL = "sparkallocations"


class AllocationsApi(Protocol):
    """The port through which SparkAllocations are handled."""

    async def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """One SparkAllocation, or None when there is none."""

    async def create(self, namespace: str, allocation: dict[str, Any]) -> tuple[bool, str]:
        """Create it: (created now, the server's words when not)."""

    async def delete(self, namespace: str, name: str, uid: str) -> None:
        """Delete the object with this uid; an object that is gone is fine."""

    async def patch_status(
        self, namespace: str, name: str, status: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Merge into the status; None when the object is gone or the server refused."""

    async def reserve_executor_ids(
        self, namespace: str, name: str, *, next_executor_id: int, resource_version: str
    ) -> bool:
        """Write ``status.nextExecutorId`` only if the object is unchanged since ``resource_version``."""


class KubernetesAllocationsApi:
    """`AllocationsApi` over an API server."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """See `AllocationsApi.get`."""
        answer = await self._api.request("GET", _path(namespace, name))
        return answer.json() if answer.ok else None

    async def create(self, namespace: str, allocation: dict[str, Any]) -> tuple[bool, str]:
        """See `AllocationsApi.create`."""
        answer = await self._api.request("POST", _path(namespace), body=allocation)
        if answer.ok or (answer.status == HTTPStatus.CONFLICT and answer.reason == "AlreadyExists"):
            return answer.ok, ""
        return False, answer.message

    async def delete(self, namespace: str, name: str, uid: str) -> None:
        """See `AllocationsApi.delete`."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        await self._api.request("DELETE", _path(namespace, name), body=options)

    async def patch_status(
        self, namespace: str, name: str, status: dict[str, Any]
    ) -> dict[str, Any] | None:
        """See `AllocationsApi.patch_status`."""
        answer = await self._api.request(
            "PATCH",
            f"{_path(namespace, name)}/status",
            body={"status": status},
            content_type=MERGE_PATCH,
        )
        return answer.json() if answer.ok else None

    async def reserve_executor_ids(
        self, namespace: str, name: str, *, next_executor_id: int, resource_version: str
    ) -> bool:
        """See `AllocationsApi.reserve_executor_ids`."""
        answer = await self._api.request(
            "PATCH",
            f"{_path(namespace, name)}/status",
            body={
                "metadata": {"resourceVersion": resource_version},
                "status": {"nextExecutorId": next_executor_id},
            },
            content_type=MERGE_PATCH,
        )
        return answer.ok


def _path(namespace: str, name: str | None = None) -> str:
    collection = f"{GROUP_PATH}/namespaces/{quote(namespace)}/{PLURAL}"
    return collection if name is None else f"{collection}/{quote(name)}"
