"""What the command line asks an API server: objects of our kinds, driver pods, rights, and a driver through its pod.

A person's rights differ from the operator's. What may not be read is an answer, not an error: each method says so with
None, and the caller tells the person what it could not look at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote

from spark_allocation.api.group import PLURAL
from spark_allocation.kube.allocations_api import GROUP_PATH
from spark_allocation.kube.api_client import (
    JSON,
    MERGE_PATCH,
    REQUEST_TIMEOUT_SECONDS,
    ApiAnswer,
    ApiUnavailable,
)
from spark_allocation.kube.write_outcomes import WriteOutcome, write_outcome

PROXY_PATIENCE_SECONDS = 5.0
_NOT_FOR_US = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)

Document = dict[str, Any]


class RawApi(Protocol):
    """The part of `kube.api_client.KubernetesApi` that is used here."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> ApiAnswer:
        """One request and its answer. Raises `ApiUnavailable`."""


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a resource, as a role grants it; ``namespace`` "" is everywhere."""

    group: str
    resource: str
    verb: str
    namespace: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {kind}{where}"


class ClusterReading:
    """Reads for people. Every method may raise `ApiUnavailable`."""

    def __init__(self, api: RawApi) -> None:
        self._api = api

    async def answer(self, path: str) -> ApiAnswer:
        """A plain GET."""
        return await self._api.request("GET", path)

    async def one(self, path: str) -> Document | None:
        """One object; None when it is not there or may not be read."""
        answer = await self._api.request("GET", path)
        return answer.json() if _readable(answer, path) else None

    async def all_of(self, path: str, selector: str = "") -> list[Document] | None:
        """All objects of a collection; None when it is not there or may not be read."""
        query = {"limit": "500"} | ({"labelSelector": selector} if selector else {})
        found: list[Document] = []
        while True:
            answer = await self._api.request("GET", path, query=query)
            if not _readable(answer, path):
                return None
            page = answer.json()
            found += page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            query = {**query, "continue": token}

    async def allocations(self, namespace: str | None) -> list[Document] | None:
        """SparkAllocations; ``namespace`` None for all."""
        return await self.all_of(collection(PLURAL, namespace))

    async def knows_allocations(self) -> bool:
        """Whether the API server may have SparkAllocations: False when their CustomResourceDefinition is not there."""
        answer = await self._api.request("GET", GROUP_PATH)
        if answer.status == HTTPStatus.NOT_FOUND:
            return False
        if not _readable(answer, GROUP_PATH):
            return True
        return any(each.get("name") == PLURAL for each in answer.json().get("resources") or ())

    async def allocation(self, namespace: str, name: str) -> Document | None:
        """One SparkAllocation."""
        return await self.one(f"{collection(PLURAL, namespace)}/{quote(name)}")

    async def pod(self, namespace: str, name: str) -> Document | None:
        """One pod."""
        return await self.one(f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}")

    async def through_pod(
        self, namespace: str, name: str, port: int, path: str
    ) -> ApiAnswer | None:
        """What a port of a pod answers, asked through the API server; None when that is not allowed or nothing answers."""
        proxied = (
            f"/api/v1/namespaces/{quote(namespace)}/pods/http:{quote(name)}:{port}/proxy{path}"
        )
        try:
            answer = await self._api.request("GET", proxied, timeout_seconds=PROXY_PATIENCE_SECONDS)
        except ApiUnavailable:
            # the API server waits longer for a pod than a person does for a command
            return None
        return answer if answer.ok else None

    async def may(self, right: Right, user: str = "") -> bool | None:
        """Whether we, or a named user, may do this; None when even that may not be asked."""
        attributes = {
            "group": right.group,
            "resource": right.resource.partition("/")[0],
            "subresource": right.resource.partition("/")[2],
            "verb": right.verb,
            **({"namespace": right.namespace} if right.namespace else {}),
        }
        kind = "SubjectAccessReview" if user else "SelfSubjectAccessReview"
        answer = await self._api.request(
            "POST",
            f"/apis/authorization.k8s.io/v1/{kind.lower()}s",
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": kind,
                "spec": {"resourceAttributes": attributes, **({"user": user} if user else {})},
            },
        )
        if answer.is_transient:
            raise ApiUnavailable(f"{kind}: {answer.status} {answer.message}")
        return bool((answer.json().get("status") or {}).get("allowed")) if answer.ok else None

    async def set_finalizers(
        self, namespace: str, name: str, finalizers: list[str], resource_version: str
    ) -> WriteOutcome:
        """Replace the finalizers of a SparkAllocation that is unchanged since this version."""
        return write_outcome(
            await self._api.request(
                "PATCH",
                f"{collection(PLURAL, namespace)}/{quote(name)}",
                body={
                    "metadata": {
                        "finalizers": finalizers or None,
                        "resourceVersion": resource_version,
                    }
                },
                content_type=MERGE_PATCH,
            )
        )

    async def scale_deployment(
        self, namespace: str, name: str, replicas: int
    ) -> Document | str | None:
        """Set the number of a Deployment's pods.

        Returns:
            The Scale as it is now; None when there is no such Deployment; the API server's words when it refused.
        """
        answer = await self._api.request(
            "PATCH",
            f"/apis/apps/v1/namespaces/{quote(namespace)}/deployments/{quote(name)}/scale",
            body={"spec": {"replicas": replicas}},
            content_type=MERGE_PATCH,
        )
        if answer.ok:
            return answer.json()
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.is_transient:
            raise ApiUnavailable(f"{name}: {answer.status} {answer.message}")
        return answer.message


def collection(plural: str, namespace: str | None) -> str:
    """The path of a collection of one of our kinds; ``namespace`` None for all."""
    within = "" if namespace is None else f"/namespaces/{quote(namespace)}"
    return f"{GROUP_PATH}{within}/{plural}"


def _readable(answer: ApiAnswer, path: str) -> bool:
    if answer.ok:
        return True
    if answer.status in _NOT_FOR_US:
        return False
    raise ApiUnavailable(f"{path}: {answer.status} {answer.message}")
