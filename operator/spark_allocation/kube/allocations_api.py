"""Our own kind at the API server: read it, make it, delete it, write its status.

Two writes touch a status. Reports are merge patches without a precondition on the version: the last one wins and
nothing reads them back. The reservation of executor ids is the fence between two operators: it carries the resource
version that it was decided on, and a conflict means that somebody else may have reserved the same ids. A version names
the object as well; a merge patch of a status cannot (the server overlooks the uid in it), so a report learns from the
answer that it went to an object that was made anew under the same name, whose own reports will replace it.
"""

from typing import Any, Protocol
from urllib.parse import quote

from spark_allocation.api.group import GROUP, PLURAL, VERSION
from spark_allocation.kube.api_client import (
    MERGE_PATCH,
    ONLY_METADATA,
    ApiAnswer,
    ApiUnavailable,
    KubernetesApi,
)
from spark_allocation.kube.write_outcomes import WriteOutcome, WriteResult, write_outcome

GROUP_PATH = f"/apis/{GROUP}/{VERSION}"
PAGE_SIZE = "500"


class AllocationsApi(Protocol):
    """The port through which SparkAllocations are handled. Every method may raise `ApiUnavailable`."""

    async def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """One SparkAllocation, or None when there is none."""

    async def uids(self, namespace: str | None) -> set[str]:
        """The uids of all SparkAllocations of a namespace; None for all namespaces."""

    async def create(self, namespace: str, allocation: dict[str, Any]) -> WriteOutcome:
        """Create it."""

    async def delete(self, namespace: str, name: str, uid: str) -> WriteOutcome:
        """Delete the object with this uid."""

    async def patch_status(
        self, namespace: str, name: str, uid: str, status: dict[str, Any]
    ) -> WriteOutcome:
        """Merge into the status of the object; CONFLICT when it turns out to be another one than this uid."""

    async def reserve_executor_ids(
        self, namespace: str, name: str, uid: str, *, next_executor_id: int, resource_version: str
    ) -> WriteOutcome:
        """Write ``status.nextExecutorId`` only if the object is unchanged since ``resource_version``."""


class KubernetesAllocationsApi:
    """`AllocationsApi` over an API server."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """See `AllocationsApi.get`."""
        path = _path(namespace, name)
        return (await self._api.request("GET", path)).found(path)

    async def uids(self, namespace: str | None) -> set[str]:
        """See `AllocationsApi.uids`."""
        path = f"{GROUP_PATH}/{PLURAL}" if namespace is None else _path(namespace)
        query = {"limit": PAGE_SIZE}
        found: set[str] = set()
        while True:
            answer = await self._api.request("GET", path, query=query)
            if not answer.ok:
                raise ApiUnavailable(f"list {path}: {answer.status} {answer.message}")
            page = answer.json()
            found.update(item["metadata"]["uid"] for item in page.get("items") or ())
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            query = {"limit": PAGE_SIZE, "continue": token}

    async def create(self, namespace: str, allocation: dict[str, Any]) -> WriteOutcome:
        """See `AllocationsApi.create`."""
        return write_outcome(await self._api.request("POST", _path(namespace), body=allocation))

    async def delete(self, namespace: str, name: str, uid: str) -> WriteOutcome:
        """See `AllocationsApi.delete`."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        return write_outcome(
            await self._api.request("DELETE", _path(namespace, name), body=options)
        )

    async def patch_status(
        self, namespace: str, name: str, uid: str, status: dict[str, Any]
    ) -> WriteOutcome:
        """See `AllocationsApi.patch_status`."""
        answer = await self._patch(namespace, name, {"uid": uid}, status)
        outcome = write_outcome(answer)
        if outcome.done and answer.uid not in ("", uid):
            return WriteOutcome(WriteResult.CONFLICT, f"{name} is another object now")
        return outcome

    async def reserve_executor_ids(
        self, namespace: str, name: str, uid: str, *, next_executor_id: int, resource_version: str
    ) -> WriteOutcome:
        """See `AllocationsApi.reserve_executor_ids`."""
        metadata = {"uid": uid, "resourceVersion": resource_version}
        return write_outcome(
            await self._patch(namespace, name, metadata, {"nextExecutorId": next_executor_id})
        )

    async def _patch(
        self, namespace: str, name: str, metadata: dict[str, str], status: dict[str, Any]
    ) -> ApiAnswer:
        return await self._api.request(
            "PATCH",
            f"{_path(namespace, name)}/status",
            body={"metadata": metadata, "status": status},
            content_type=MERGE_PATCH,
            accept=ONLY_METADATA,
        )


def _path(namespace: str, name: str | None = None) -> str:
    collection = f"{GROUP_PATH}/namespaces/{quote(namespace)}/{PLURAL}"
    return collection if name is None else f"{collection}/{quote(name)}"
