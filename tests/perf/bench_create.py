"""What the creation of an executor pod costs: building the pod, asking for it, and how many a second are sustained.

    python -m tests.perf.bench_create [--pods 3000] [--runs 3] [--json create-memory.json] [--profile]
    python -m tests.perf.bench_create --real [--cluster NAME] [--json create.json]
    python -m tests.perf.bench_create --pace 450

The driver is one with two hundred Spark properties, the API server one in memory, in a process of its own, or with
``--real`` that of a test cluster, whose etcd and controllers share the machine. *CPU* is that of this process, which
other load on the machine disturbs little; creations a second and how long each takes are those of the wall clock, 16 at
once, with nothing to slow them down: on a busy machine they say nothing. With ``--pace`` there are so many a second and no
more, as on a cluster whose API server takes longer: then the process sleeps and wakes for each of them.
"""

import argparse
import asyncio
import contextlib
import cProfile
import multiprocessing
import os
import pstats
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import kubernetes.aio.client
import uvloop
from tests.cluster.access import Cluster, require
from tests.cluster.layout import DEFAULT_NAME
from tests.demo.api import Api
from tests.demo.installation import delete_namespace, make_namespace
from tests.demo.manifests import to_yaml
from tests.machine.reporting import Reporter
from tests.perf import machine
from tests.perf.memory_api import MemoryApi

from spark_allocation.controller.driver_configuration import (
    DriverConfiguration,
    read_driver_configuration,
)
from spark_allocation.controller.driver_connection import Connection
from spark_allocation.controller.executor_building import ExecutorBuilding
from spark_allocation.controller.pod_creation import CONCURRENT_CREATES, Obstacle
from spark_allocation.core.driver_report import Application, Environment
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ResourceProfileManager
from spark_allocation.kube.api_client import KubernetesApi, kubernetes_api, open_kubernetes_api
from spark_allocation.kube.pacing import CreationPacer
from spark_allocation.kube.pods_api import CreateResult, KubernetesPodsApi
from spark_allocation.testing.objects import FakeObjectsApi

NAMESPACE = "jobs"
APPLICATION = Application("spark-0123456789abcdef", "nightly", 1, False, "4.1.4", "185")
_TOKEN = {"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": "token"}
WARMING_PODS = 100
NOBODY = "nobody-schedules-this"
DRIVER_POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "nightly-driver", "namespace": NAMESPACE, "uid": "driver-uid"},
    "spec": {
        "schedulerName": NOBODY,
        "serviceAccountName": "default",
        "containers": [
            {"name": "spark-kubernetes-driver", "image": "spark:4.1.4", "volumeMounts": [_TOKEN]}
        ],
        "volumes": [{"name": "token", "projected": {"sources": []}}],
    },
}


def properties(namespace: str) -> dict[str, str]:
    """Those of a job that somebody has tuned, and two hundred that the operator has nothing to do with."""
    return {
        "spark.app.id": APPLICATION.id,
        "spark.app.name": APPLICATION.name,
        "spark.driver.host": "nightly-driver-svc.jobs.svc",
        "spark.driver.port": "7078",
        "spark.executor.cores": "4",
        "spark.executor.memory": "8g",
        "spark.executor.memoryOverhead": "2g",
        "spark.executor.extraJavaOptions": "-XX:+UseG1GC -Dlog4j.configurationFile=log4j2.properties",
        "spark.executorEnv.TZ": "UTC",
        "spark.executorEnv.AWS_REGION": "eu-central-1",
        "spark.kubernetes.namespace": namespace,
        "spark.kubernetes.container.image": "spark:4.1.4",
        "spark.kubernetes.executor.request.cores": "3500m",
        "spark.kubernetes.executor.limit.cores": "4",
        "spark.kubernetes.executor.label.team": "payments",
        "spark.kubernetes.executor.label.cost-centre": "4711",
        "spark.kubernetes.executor.annotation.prometheus.io/scrape": "true",
        "spark.kubernetes.node.selector.pool": "spark",
        "spark.kubernetes.executor.volumes.emptyDir.spark-local-dir-1.mount.path": "/scratch",
        "spark.kubernetes.executor.volumes.emptyDir.spark-local-dir-1.options.sizeLimit": "50Gi",
        "spark.kubernetes.executor.scheduler.name": NOBODY,
        **{f"spark.sql.catalog.lake.option-{number}": f"value-{number}" for number in range(200)},
    }


async def building(driver_pod: dict[str, Any]) -> ExecutorBuilding:
    """What builds the executors of that driver."""
    namespace = driver_pod["metadata"]["namespace"]
    found = await read_driver_configuration(
        driver_pod=driver_pod,
        application=APPLICATION,
        environment=Environment(properties(namespace), ()),
        spark_conf={},
        objects=FakeObjectsApi(),
    )
    assert isinstance(found, DriverConfiguration), found
    connection = Connection(
        rest=None,  # type: ignore[arg-type]
        application=APPLICATION,
        configuration=found,
        settings=None,  # type: ignore[arg-type]
        profiles=ResourceProfileManager(found.conf),
        driver_document=driver_pod,
        passive=True,
        profile_errors="",
    )
    return ExecutorBuilding(
        connection, incarnation="0123abcd", allocation_uid="allocation-uid", ids=ExecutorIds()
    )


def serve(port_to: Pipe) -> None:
    """The API server, until it is killed."""

    async def run() -> None:
        async with MemoryApi() as api:
            port_to.send(api.port)
            await asyncio.Event().wait()

    asyncio.run(run())


async def measure(
    api: KubernetesApi, driver_pod: dict[str, Any], pods: int, first: int, pace: float
) -> dict[str, Any]:
    """CPU milliseconds of each part of one creation, creations a second, and the seconds that each takes.

    Args:
        pace: so many a second at most.
        first: id of the first executor; names of pods are made of them.
    """
    namespace = driver_pod["metadata"]["namespace"]
    makes, asks = await building(driver_pod), KubernetesPodsApi(api)
    pacer = CreationPacer(pace)
    took: list[float] = []

    def built(number: int) -> dict[str, Any]:
        manifest = makes.build(ExecutorId(number), DEFAULT_PROFILE_ID)
        assert not isinstance(manifest, Obstacle), manifest
        return dict(manifest.pod)

    async def ask(pod: dict[str, Any]) -> None:
        await pacer.wait_for_turn()
        began = time.monotonic()
        outcome = await asks.create(namespace, pod)
        took.append(time.monotonic() - began)
        assert outcome.result is CreateResult.CREATED, outcome

    warming = range(first, first + WARMING_PODS)
    await _all(lambda number: ask(built(number)), warming)  # connections, caches
    took.clear()
    began = time.process_time()
    ready = [built(number) for number in range(warming.stop, warming.stop + pods)]
    building_ms = (time.process_time() - began) / pods * 1000
    began, wall = time.process_time(), time.monotonic()
    await _all(ask, ready)
    asking_ms = (time.process_time() - began) / pods * 1000
    asked_a_second = pods / (time.monotonic() - wall)
    return {
        "pods": pods,
        "build_cpu_ms": round(building_ms, 4),
        "ask_cpu_ms": round(asking_ms, 4),
        "creation_cpu_ms": round(building_ms + asking_ms, 4),
        "asked_a_second": round(asked_a_second),
        "answered_within_seconds": machine.quantiles(took),
    }


async def _all(work: Callable[[Any], Awaitable[None]], items: Any) -> None:
    slots = asyncio.Semaphore(CONCURRENT_CREATES)

    async def one(item: Any) -> None:
        async with slots:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))


@contextlib.contextmanager
def served_in_memory() -> Iterator[tuple[Callable[[], Awaitable[KubernetesApi]], dict[str, Any]]]:
    """An API server in memory, and a driver pod."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    port = here.recv()

    async def connect() -> KubernetesApi:
        configuration = kubernetes.aio.client.Configuration(host=f"http://127.0.0.1:{port}")
        return kubernetes_api(configuration)

    try:
        yield connect, DRIVER_POD
    finally:
        server.terminate()


@contextlib.contextmanager
def served_by_cluster(
    cluster: Cluster,
) -> Iterator[tuple[Callable[[], Awaitable[KubernetesApi]], dict[str, Any]]]:
    """A test cluster's API server, and a driver pod that nobody schedules."""
    namespace = f"create-{secrets.token_hex(4)}"
    make_namespace(cluster, namespace)
    metadata = {"name": DRIVER_POD["metadata"]["name"], "namespace": namespace}
    asked = {**DRIVER_POD, "metadata": metadata, "spec": _without_token(DRIVER_POD["spec"])}

    async def connect() -> KubernetesApi:
        return await open_kubernetes_api(kubeconfig=cluster.kubeconfig, context=cluster.context)

    try:
        cluster.kubectl("create", "-f", "-", stdin=to_yaml([asked]))
        with Api(cluster) as api:
            made = api.pod(namespace, metadata["name"])
        assert made is not None, f"the driver pod is not in {namespace}"
        yield connect, {**DRIVER_POD, "metadata": made["metadata"]}
    finally:
        delete_namespace(cluster, namespace)


def _without_token(spec: dict[str, Any]) -> dict[str, Any]:
    """As somebody writes it, before the API server has added a token."""
    (container,) = spec["containers"]
    container = {key: value for key, value in container.items() if key != "volumeMounts"}
    return {**spec, "containers": [container], "volumes": []}


async def connected(
    connect: Callable[[], Awaitable[KubernetesApi]],
    driver_pod: dict[str, Any],
    pods: int,
    first: int,
    pace: float,
) -> dict[str, Any]:
    """`measure` on a connection of its own."""
    api = await connect()
    try:
        return await measure(api, driver_pod, pods, first, pace)
    finally:
        await api.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pods", type=int, default=3_000, help="of each run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pace", type=float, default=1_000_000, help="so many a second at most")
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--real", action="store_true", help="on a test cluster")
    parser.add_argument("--cluster", default=os.environ.get("CLUSTER", DEFAULT_NAME))
    options = parser.parse_args()
    before = machine.machine()
    profile = cProfile.Profile(time.process_time)  # other load on the machine is not ours
    served = (
        served_by_cluster(require(options.cluster, Reporter()))
        if options.real
        else served_in_memory()
    )
    with served as (connect, driver_pod):
        if options.profile:
            profile.enable()
        every = WARMING_PODS + options.pods
        creations = [
            uvloop.run(connected(connect, driver_pod, options.pods, first, options.pace))
            for first in range(1, options.runs * every, every)
        ]
        profile.disable()
    if options.profile:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(40)
    api = "cluster" if options.real else "memory"
    machine.write(options.json, {"machine": before, "api": api, "creations": creations})
    return 0


if __name__ == "__main__":
    sys.exit(main())
