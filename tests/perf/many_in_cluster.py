"""`bench_many` on the real API server of a test cluster: its scheduler schedules, and kwok plays the kubelets.

Drivers are pods of the API server too, on kwok's nodes; they get the addresses at which the fleet answers. Executors
register when a watch shows that their pods run. What the operator asks is read from the API server's audit log.
"""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from tests.cluster.access import connect
from tests.cluster.audit import AuditLog, Request
from tests.cluster.kwok import NODE_SELECTOR, POD_ADDRESS
from tests.demo.manifests import OPERATOR, OPERATOR_NAMESPACE
from tests.demo.operator_process import write_kubeconfig
from tests.faults.pods_feed import PodsFeed
from tests.integration.operator_world import Everywhere, OperatorWorld, eventually
from tests.perf.many_world import NAMESPACES, Asked, Document, Load, play

from spark_allocation.kube.api_client import open_kubernetes_api

OPERATOR_USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}"
AT_ONCE = 32
"""Requests under way."""
DRIVERS_RUN_SECONDS = 600.0
WATCH_SECONDS = 6 * 3600
"""Listing all pods again would halt the world for a second."""


class PodsInCluster:
    """`ManyPods` of a test cluster."""

    def __init__(self, everywhere: Everywhere, feed: PodsFeed, kubeconfig: str) -> None:
        self._everywhere = everywhere
        self._feed = feed
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._audit = AuditLog(everywhere.cluster)
        self.kubeconfig = kubeconfig
        self.lease_namespace = OPERATOR_NAMESPACE
        selector = "spark.kubernetes.executor.node.selector"
        self.conf = {
            "spark.kubernetes.executor.scheduler.name": "default-scheduler",
            **{f"{selector}.{key}": value for key, value in NODE_SELECTOR.items()},
        }

    def listen(self, listener: Callable[[str, Document], None]) -> None:
        def changed(kind: str, pod: Document) -> None:
            if _role(pod) == "executor":
                listener(kind, pod)

        self._feed.listeners.append(changed)

    async def put_driver(self, pod: Document, address: str) -> str:
        metadata = pod["metadata"] | {"annotations": {POD_ADDRESS: address}}
        spec = {
            "nodeSelector": NODE_SELECTOR,
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
        }
        team = self._team(pod)
        async with self._at_once:
            body = {"metadata": metadata, "spec": pod["spec"] | spec}
            made = await team.did("POST", team.pods_path, body)
        return str(made["metadata"]["uid"])

    async def put_allocation(self, allocation: Document) -> None:
        kind = {"apiVersion": "sparkallocation.dev/v1alpha1", "kind": "SparkAllocation"}
        team = self._team(allocation)
        async with self._at_once:
            await team.did("POST", team.allocations_path, kind | allocation)

    async def put_foreign(self, pods: int) -> None:
        assert not pods, "pods of others are there in memory alone"

    async def drivers_run(self) -> None:
        def waiting() -> int:
            drivers = [pod for pod in self._feed.pods.values() if _role(pod) == "driver"]
            return sum(pod["status"].get("phase") != "Running" for pod in drivers)

        async def none_waits() -> bool:
            return not waiting()

        await eventually(none_waits, "all driver pods run", within=DRIVERS_RUN_SECONDS)

    def turn(self, now: float) -> None:
        """The cluster goes by its own time."""

    def executors(self) -> Iterable[Document]:
        return [pod for pod in self._feed.pods.values() if _role(pod) == "executor"]

    def begin(self) -> None:
        self._audit = AuditLog(self._everywhere.cluster)

    def asked(self) -> Asked:
        requests = self._audit.requests(OPERATOR_USER)
        names = [f"{each.verb} {each.resource or each.path}" for each in requests]
        statuses = Counter(int(each.at) for each in requests if _writes_status(each))
        return Asked(Counter(names), max(statuses.values(), default=0))

    def _team(self, document: Document) -> OperatorWorld:
        namespace = document["metadata"]["namespace"]
        return OperatorWorld(self._everywhere.cluster, self._everywhere.api, namespace)


def _role(pod: Document) -> str:
    return str((pod["metadata"].get("labels") or {}).get("spark-role", ""))


def _writes_status(request: Request) -> bool:
    return (request.verb, request.resource) == ("patch", "sparkallocations/status")


@contextlib.asynccontextmanager
async def pods_in(cluster_name: str) -> AsyncIterator[PodsInCluster]:
    """Those of a running test cluster on which the operator is installed and kwok runs, in namespaces made for them."""
    cluster = connect(cluster_name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kubeconfig"
        write_kubeconfig(cluster, file)
        kubeconfig = file.read_text()
    api = await open_kubernetes_api(kubeconfig=cluster.kubeconfig, context=cluster.context)
    try:
        everywhere = Everywhere(cluster, api, "default")
        await everywhere.is_served()
        teams = [OperatorWorld(cluster, api, f"team-{number}") for number in range(NAMESPACES)]
        for team in teams:
            await team.did("POST", "/api/v1/namespaces", {"metadata": {"name": team.namespace}})
        for team in teams:
            await team.takes_pods()
        feed = PodsFeed(everywhere, watch_seconds=WATCH_SECONDS)
        async with asyncio.TaskGroup() as group:
            following = group.create_task(feed.run())
            await feed.synced.wait()
            yield PodsInCluster(everywhere, feed, kubeconfig)
            following.cancel()
    finally:
        await api.close()


async def serve(cluster_name: str, load: Load) -> None:
    """The world, until stdin ends."""
    async with pods_in(cluster_name) as pods:
        await play(pods, load)
