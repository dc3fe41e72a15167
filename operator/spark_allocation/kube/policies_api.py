"""Policies at the API server: the operator reads them by their watches and writes their status, nothing else of them."""

from typing import Any, Protocol
from urllib.parse import quote

from spark_allocation.kube.allocations_api import GROUP_PATH
from spark_allocation.kube.api_client import MERGE_PATCH, ONLY_METADATA, KubernetesApi
from spark_allocation.kube.write_outcomes import WriteOutcome, write_outcome


class PoliciesApi(Protocol):
    """The port through which the status of a policy is written. May raise `ApiUnavailable`."""

    async def patch_status(
        self, plural: str, namespace: str, name: str, status: dict[str, Any]
    ) -> WriteOutcome:
        """Merge into the status of a policy.

        Args:
            plural: of its kind, as in a path.
            namespace: "" for a kind of the cluster.
        """


class KubernetesPoliciesApi:
    """`PoliciesApi` over an API server."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def patch_status(
        self, plural: str, namespace: str, name: str, status: dict[str, Any]
    ) -> WriteOutcome:
        """See `PoliciesApi.patch_status`."""
        within = f"/namespaces/{quote(namespace)}" if namespace else ""
        return write_outcome(
            await self._api.request(
                "PATCH",
                f"{GROUP_PATH}{within}/{plural}/{quote(name)}/status",
                body={"status": status},
                content_type=MERGE_PATCH,
                accept=ONLY_METADATA,
            )
        )
