"""Pods, as the operator handles them: created by name, deleted by uid, listed in pages, watched.

Outcomes are values. `ApiUnavailable` is the only exception: then nobody knows whether the server acted, and the next
full picture of the pods tells.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote

from spark_allocation.kube.api_client import ONLY_METADATA, WATCH_SECONDS, ApiAnswer, KubernetesApi

PAGE_SIZE = 500


class CreateResult(StrEnum):
    """What became of a creation."""

    CREATED = "created"
    EXISTS = "exists"
    QUOTA_EXCEEDED = "quota exceeded"
    FORBIDDEN = "forbidden"
    INVALID = "invalid"
    NAMESPACE_TERMINATING = "namespace terminating"
    CONFLICT = "conflict"
    """Another request was faster at what the server has to count, such as a quota: worth another try at once."""
    THROTTLED = "throttled"
    SERVER_ERROR = "server error"
    """The server failed over it: nobody knows whether there is a pod now."""


@dataclass(frozen=True, slots=True)
class CreateOutcome:
    """A creation's result and the server's words."""

    result: CreateResult
    message: str = ""
    retry_after_seconds: float | None = None
    uid: str = ""


class DeleteResult(StrEnum):
    """What became of a deletion."""

    ACCEPTED = "accepted"
    GONE = "gone"
    NOT_THE_SAME = "not the same"
    REFUSED = "refused"
    SERVER_ERROR = "server error"


@dataclass(frozen=True, slots=True)
class DeleteOutcome:
    """A deletion's result and the server's words."""

    result: DeleteResult
    message: str = ""


class PodsApi(Protocol):
    """The port through which pods are handled."""

    async def create(self, namespace: str, pod: dict[str, Any]) -> CreateOutcome:
        """Create a pod. ``EXISTS`` says only that the name is taken: look before calling it success."""

    async def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """One pod, or None when there is none of that name."""

    async def delete(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        grace_seconds: int | None = None,
        resource_version: str | None = None,
    ) -> DeleteOutcome:
        """Delete the pod only if it still has this uid (and, if given, this resource version)."""

    async def list_page(
        self, namespace: str | None, selector: str, continue_token: str
    ) -> ApiAnswer:
        """One page of a consistent list; the answer may be an error (410 when the token is too old)."""

    def watch(
        self, namespace: str | None, selector: str, resource_version: str
    ) -> AsyncIterator[bytes]:
        """Raw watch events since a resource version, bookmarks included."""


class KubernetesPodsApi:
    """`PodsApi` over an API server."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def create(self, namespace: str, pod: dict[str, Any]) -> CreateOutcome:
        """See `PodsApi.create`."""
        answer = await self._api.request("POST", _pods(namespace), body=pod, accept=ONLY_METADATA)
        if answer.ok:
            uid = answer.uid
            result = CreateResult.CREATED if uid else CreateResult.SERVER_ERROR
            return CreateOutcome(result, "" if uid else "the answer holds no pod", uid=uid)
        return CreateOutcome(_create_result(answer), answer.message, answer.retry_after_seconds)

    async def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """See `PodsApi.get`."""
        path = f"{_pods(namespace)}/{quote(name)}"
        return (await self._api.request("GET", path)).found(path)

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
        preconditions = {"uid": uid}
        if resource_version is not None:
            preconditions["resourceVersion"] = resource_version
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": preconditions,
            "propagationPolicy": "Background",
        }
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        answer = await self._api.request(
            "DELETE", f"{_pods(namespace)}/{quote(name)}", body=options, accept=ONLY_METADATA
        )
        if answer.ok:
            return DeleteOutcome(DeleteResult.ACCEPTED)
        match answer.status:
            case HTTPStatus.NOT_FOUND:
                return DeleteOutcome(DeleteResult.GONE)
            case HTTPStatus.CONFLICT:
                return DeleteOutcome(DeleteResult.NOT_THE_SAME, answer.message)
            case HTTPStatus.FORBIDDEN | HTTPStatus.UNAUTHORIZED:
                return DeleteOutcome(DeleteResult.REFUSED, answer.message)
            case _:
                return DeleteOutcome(DeleteResult.SERVER_ERROR, answer.message)

    async def list_page(
        self, namespace: str | None, selector: str, continue_token: str
    ) -> ApiAnswer:
        """See `PodsApi.list_page`."""
        query = {"labelSelector": selector, "limit": str(PAGE_SIZE)}
        if continue_token:
            query["continue"] = continue_token
        return await self._api.request("GET", _pods(namespace), query=query, timeout_seconds=60)

    def watch(
        self, namespace: str | None, selector: str, resource_version: str
    ) -> AsyncIterator[bytes]:
        """See `PodsApi.watch`."""
        query = {
            "watch": "true",
            "labelSelector": selector,
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        return self._api.stream(_pods(namespace), query=query)


def _pods(namespace: str | None) -> str:
    return "/api/v1/pods" if namespace is None else f"/api/v1/namespaces/{quote(namespace)}/pods"


def _create_result(answer: ApiAnswer) -> CreateResult:
    match answer.status:
        case HTTPStatus.CONFLICT if answer.reason == "AlreadyExists":
            return CreateResult.EXISTS
        case HTTPStatus.CONFLICT:
            return CreateResult.CONFLICT
        case HTTPStatus.FORBIDDEN | HTTPStatus.NOT_FOUND:
            message = answer.message
            if "being terminated" in message or answer.status == HTTPStatus.NOT_FOUND:
                return CreateResult.NAMESPACE_TERMINATING
            return (
                CreateResult.QUOTA_EXCEEDED
                if "exceeded quota" in message
                else CreateResult.FORBIDDEN
            )
        case HTTPStatus.UNPROCESSABLE_ENTITY | HTTPStatus.BAD_REQUEST:
            return CreateResult.INVALID
        case HTTPStatus.UNAUTHORIZED:
            return CreateResult.FORBIDDEN
        case HTTPStatus.TOO_MANY_REQUESTS:
            return CreateResult.THROTTLED
        case _:
            return CreateResult.SERVER_ERROR
