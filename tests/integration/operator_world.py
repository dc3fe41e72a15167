"""A namespace on a real API server in which pods are only documents: a driver answers on this host, tests are the kubelet.

Pods name a scheduler that nobody runs, so that no node ever takes them.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.cluster import Cluster
from tests.machine.own_time import own_seconds

from spark_allocation.kube.api_client import (
    JSON,
    ApiAnswer,
    ApiUnavailable,
    KubernetesApi,
    open_kubernetes_api,
)
from spark_allocation.testing.driver import FakeDriver

Document = dict[str, Any]
ALLOCATIONS = "/apis/sparkallocation.dev/v1alpha1"
CLUSTER_POLICIES = f"{ALLOCATIONS}/clustersparkallocationpolicies"
NOBODY = "nobody-schedules-these"
CRDS = Path(__file__).parents[2] / "crds"


class OperatorWorld:
    """One namespace, seen through the raw API."""

    def __init__(self, cluster: Cluster, api: KubernetesApi, namespace: str) -> None:
        self.cluster = cluster
        self.api = api
        self.namespace = namespace
        self.pods_path = f"/api/v1/namespaces/{namespace}/pods"
        self.allocations_path = f"{ALLOCATIONS}/namespaces/{namespace}/sparkallocations"

    async def request(self, method: str, path: str, body: Any = None, **query: str) -> ApiAnswer:
        content = "application/merge-patch+json" if method == "PATCH" else JSON
        return await self.api.request(method, path, body=body, query=query, content_type=content)

    async def did(self, method: str, path: str, body: Any = None, **query: str) -> Document:
        answer = await self.request(method, path, body, **query)
        assert answer.ok, f"{method} {path}: {answer.status} {answer.message}"
        return answer.json()

    async def insist(self, method: str, path: str, body: Any = None) -> ApiAnswer:
        """Try until the API server has answered, whatever it says."""
        while True:
            with contextlib.suppress(ApiUnavailable):
                answer = await self.request(method, path, body)
                if not answer.is_transient:
                    return answer
            await asyncio.sleep(0.2)

    async def is_served(self) -> None:
        """Wait until our kind can be listed: for a while after a CRD is Established the answer is still 404 or 429."""

        async def listed() -> bool:
            return (await self.request("GET", self.allocations_path)).ok

        await eventually(listed, "SparkAllocations can be listed", within=30)

    async def takes_pods(self) -> None:
        """Wait for the account without which no pod is admitted; a controller makes it."""
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default"

        async def made() -> bool:
            return (await self.request("GET", path)).ok

        await eventually(made, "the namespace has its default account", within=60)

    async def pods(self, role: str = "executor") -> list[Document]:
        listed = await self.did("GET", self.pods_path, labelSelector=f"spark-role={role}")
        return list(listed["items"])

    async def put_driver(self, name: str = "driver") -> Document:
        """A driver pod that answers where this process does."""
        pod = await self.did(
            "POST",
            self.pods_path,
            {
                "metadata": {"name": name, "labels": {"spark-role": "driver"}},
                "spec": {
                    "schedulerName": NOBODY,
                    "automountServiceAccountToken": False,
                    "containers": [{"name": "spark-kubernetes-driver", "image": "spark:test"}],
                },
            },
        )
        await self.run_pod(name, "spark-kubernetes-driver")
        return pod

    async def run_pod(self, name: str, container: str) -> None:
        """Write the status that a kubelet would."""
        status = {
            "name": container,
            "image": "spark:test",
            "imageID": "",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }
        await self.did(
            "PATCH",
            f"{self.pods_path}/{name}/status",
            {"status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
                        "containerStatuses": [status]}},
        )  # fmt: skip

    async def allocate(self, name: str, spec: Document) -> Document:
        body = {
            "apiVersion": "sparkallocation.dev/v1alpha1",
            "kind": "SparkAllocation",
            "metadata": {"name": name},
            "spec": spec,
        }
        return await self.did("POST", self.allocations_path, body)

    async def status(self, name: str) -> Document:
        found = await self.did("GET", f"{self.allocations_path}/{name}")
        return dict(found.get("status") or {})

    def passive(self, driver: FakeDriver) -> None:
        """Let the driver speak of this namespace and of pods that nobody schedules."""
        driver.properties["spark.kubernetes.namespace"] = self.namespace
        driver.properties["spark.kubernetes.executor.scheduler.name"] = NOBODY


class Everywhere(OperatorWorld):
    """All namespaces at once, for whoever lists and watches."""

    def __init__(self, cluster: Cluster, api: KubernetesApi, namespace: str) -> None:
        super().__init__(cluster, api, namespace)
        self.pods_path = "/api/v1/pods"
        self.allocations_path = f"{ALLOCATIONS}/sparkallocations"


@asynccontextmanager
async def operator_world(cluster: Cluster) -> AsyncIterator[OperatorWorld]:
    cluster.kubectl("apply", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
    api = await open_kubernetes_api(kubeconfig=cluster.kubeconfig, context=cluster.context)
    namespace = f"shell-{secrets.token_hex(4)}"
    world = OperatorWorld(cluster, api, namespace)
    try:
        await world.did("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        await world.is_served()
        await world.takes_pods()
        yield world
        for item in (await world.did("GET", world.allocations_path)).get("items", ()):
            path = f"{world.allocations_path}/{item['metadata']['name']}"
            await world.request("PATCH", path, {"metadata": {"finalizers": None}})
        await world.request("DELETE", f"/api/v1/namespaces/{namespace}")
    finally:
        await api.close()


async def eventually(holds: Callable[[], Any], what: str, *, within: float = 20) -> Any:
    """Wait until an asynchronous question has a true answer, and return it."""
    end = own_seconds() + within
    while True:
        answer = await holds()
        if answer:
            return answer
        assert own_seconds() < end, f"{what}: not within {within} s"
        await asyncio.sleep(0.1)


class HostOperator:
    """`spark-allocation run` for one namespace."""

    def __init__(
        self,
        world: OperatorWorld,
        folder: Path,
        name: str,
        *,
        kubeconfig: Path | None = None,
        context: str = "",
        lease: bool = True,
        everywhere: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            name: in the Lease, and of the log, which is appended to.
            kubeconfig: another way to the API server than the cluster's own, with its context.
            lease: whether it has to hold the Lease before it does anything.
            everywhere: serve all namespaces of the cluster.
            environment: further variables of its environment.
        """
        self.log_file = folder / f"{name}.log"
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("KUBE")},
            "POD_NAMESPACE": world.namespace if lease else "",
            "POD_NAME": name,
            "SPARK_ALLOCATION_KUBECONFIG": str(kubeconfig or world.cluster.kubeconfig),
            "SPARK_ALLOCATION_CONTEXT": context or world.cluster.context,
            "SPARK_ALLOCATION_HEALTH_HOST": "127.0.0.1",
            "SPARK_ALLOCATION_HEALTH_PORT": "0",
            **(environment or {}),
        }
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *(str(Path(sys.executable).with_name("spark-allocation")), "run"),
            *(() if everywhere else (f"--namespace={world.namespace}",)),
        ]
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    async def says(self, words: str, *, within: float = 30) -> None:
        async def said() -> bool:
            assert self.process.poll() is None or words in self.log, self.log[-3000:]
            return words in self.log

        await eventually(said, f"{self.log_file.name} says {words}", within=within)

    async def ends(self, *, within: float = 30) -> int:
        async def ended() -> bool:
            return self.process.poll() is not None

        await eventually(ended, f"{self.log_file.name} ends", within=within)
        return int(self.process.returncode)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
