"""People with rights of their own at a real API server: requests of an administrator who impersonates them."""

from typing import Any, Self

from tests.integration.operator_world import OperatorWorld

from spark_allocation.kube.api_client import ApiAnswer, KubernetesApi

Document = dict[str, Any]
RBAC = "/apis/rbac.authorization.k8s.io/v1"


class Person(KubernetesApi):
    """Somebody whose requests are judged by their own rights."""

    def __init__(self, world: OperatorWorld, name: str) -> None:
        super().__init__(world.api._client)
        self._session = world.api._session  # one session for all, closed with the world
        self.name = name
        self._world = world

    async def _headers(self, content_type: str, accept: str) -> dict[str, str]:
        return await super()._headers(content_type, accept) | {"Impersonate-User": self.name}

    async def may_as(self, cluster_role: str) -> Self:
        """Bind a cluster role to the person in the world's namespace."""
        binding = {
            "metadata": {"generateName": "person-"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": cluster_role,
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": self.name}],
        }  # fmt: skip
        await self._world.did("POST", f"{RBAC}/namespaces/{self._world.namespace}/rolebindings", binding)  # fmt: skip
        return self

    async def may(self, *verbs: str, resource: str, api_group: str = "") -> Self:
        """Give the person a role of these verbs in the world's namespace."""
        where = f"{RBAC}/namespaces/{self._world.namespace}"
        rule = {"apiGroups": [api_group], "resources": [resource], "verbs": list(verbs)}
        role = await self._world.did("POST", f"{where}/roles", {"metadata": {"generateName": "person-"}, "rules": [rule]})  # fmt: skip
        binding = {
            "metadata": {"generateName": "person-"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": role["metadata"]["name"],
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": self.name}],
        }  # fmt: skip
        await self._world.did("POST", f"{where}/rolebindings", binding)
        return self

    async def create(self, name: str, *, dry: bool = False, **spec: Any) -> ApiAnswer:
        """Create a SparkAllocation."""
        body = {
            "apiVersion": "sparkallocation.dev/v1alpha1",
            "kind": "SparkAllocation",
            "metadata": {"name": name},
            "spec": {"driver": {"podName": "driver"}, **spec},
        }
        query = {"dryRun": "All"} if dry else {}
        return await self.request("POST", self._world.allocations_path, query=query, body=body)

    async def change(self, name: str, *, part: str = "", **change: Any) -> ApiAnswer:
        """Merge a change into a SparkAllocation.

        Args:
            part: a subresource, such as ``/status``.
        """
        return await self.patch(f"{self._world.allocations_path}/{name}{part}", change)

    async def patch(self, path: str, change: Any) -> ApiAnswer:
        """Merge a change into an object."""
        return await self.request(
            "PATCH", path, body=change, content_type="application/merge-patch+json"
        )
