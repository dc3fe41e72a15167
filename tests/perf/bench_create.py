"""What the creation of an executor pod costs: building the pod, asking for it, and how many a second are sustained.

    python -m tests.perf.bench_create [--pods 2000] [--json create.json] [--profile]

The driver is one with two hundred Spark properties, the API server one in memory, in a process of its own. *CPU* is
that of this process, which other load on the machine disturbs little; creations a second are those of the wall clock,
16 at once, with nothing to slow them down: on a busy machine they say nothing.
"""

import argparse
import asyncio
import cProfile
import multiprocessing
import pstats
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import kubernetes.aio.client
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
from spark_allocation.kube.api_client import KubernetesApi
from spark_allocation.kube.pacing import CreationPacer
from spark_allocation.kube.pods_api import CreateResult, KubernetesPodsApi
from spark_allocation.testing.objects import FakeObjectsApi

NAMESPACE = "jobs"
APPLICATION = Application("spark-0123456789abcdef", "nightly", 1, False, "4.1.4", "185")
_TOKEN = {"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": "token"}
DRIVER_POD: dict[str, Any] = {
    "metadata": {"name": "nightly-driver", "namespace": NAMESPACE, "uid": "driver-uid"},
    "spec": {
        "serviceAccountName": "spark",
        "containers": [
            {"name": "spark-kubernetes-driver", "image": "spark:4.1.4", "volumeMounts": [_TOKEN]}
        ],
        "volumes": [{"name": "token", "projected": {"sources": []}}],
    },
}


def properties() -> dict[str, str]:
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
        "spark.kubernetes.namespace": NAMESPACE,
        "spark.kubernetes.container.image": "spark:4.1.4",
        "spark.kubernetes.executor.request.cores": "3500m",
        "spark.kubernetes.executor.limit.cores": "4",
        "spark.kubernetes.executor.label.team": "payments",
        "spark.kubernetes.executor.label.cost-centre": "4711",
        "spark.kubernetes.executor.annotation.prometheus.io/scrape": "true",
        "spark.kubernetes.node.selector.pool": "spark",
        "spark.kubernetes.executor.volumes.emptyDir.spark-local-dir-1.mount.path": "/scratch",
        "spark.kubernetes.executor.volumes.emptyDir.spark-local-dir-1.options.sizeLimit": "50Gi",
        **{f"spark.sql.catalog.lake.option-{number}": f"value-{number}" for number in range(200)},
    }


async def building() -> ExecutorBuilding:
    """What builds the executors of that driver."""
    found = await read_driver_configuration(
        driver_pod=DRIVER_POD,
        application=APPLICATION,
        environment=Environment(properties(), ()),
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
        driver_document=DRIVER_POD,
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


async def measure(port: int, pods: int) -> dict[str, float]:
    """CPU milliseconds of each part of one creation, and creations a second."""
    configuration = kubernetes.aio.client.Configuration(host=f"http://127.0.0.1:{port}")
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.connection_pool_maxsize = 64
    api = KubernetesApi(kubernetes.aio.client.ApiClient(configuration))
    makes, asks = await building(), KubernetesPodsApi(api)
    pacer = CreationPacer(1_000_000)

    def built(number: int) -> dict[str, Any]:
        manifest = makes.build(ExecutorId(number), DEFAULT_PROFILE_ID)
        assert not isinstance(manifest, Obstacle), manifest
        return dict(manifest.pod)

    async def ask(pod: dict[str, Any]) -> None:
        await pacer.wait_for_turn()
        outcome = await asks.create(NAMESPACE, pod)
        assert outcome.result is CreateResult.CREATED, outcome

    try:
        await _all(lambda number: ask(built(number)), range(1, 101))  # connections, caches
        began = time.process_time()
        ready = [built(number) for number in range(1_000, 1_000 + pods)]
        building_ms = (time.process_time() - began) / pods * 1000
        began, wall = time.process_time(), time.monotonic()
        await _all(ask, ready)
        asking_ms = (time.process_time() - began) / pods * 1000
        asked_a_second = pods / (time.monotonic() - wall)
    finally:
        await api.close()
    return {
        "pods": pods,
        "build_cpu_ms": round(building_ms, 4),
        "ask_cpu_ms": round(asking_ms, 4),
        "creation_cpu_ms": round(building_ms + asking_ms, 4),
        "asked_a_second": round(asked_a_second),
    }


async def _all(work: Callable[[Any], Awaitable[None]], items: Any) -> None:
    slots = asyncio.Semaphore(CONCURRENT_CREATES)

    async def one(item: Any) -> None:
        async with slots:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(one(item))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pods", type=int, default=2_000)
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(there,), daemon=True)
    server.start()
    before = machine.machine()
    profile = cProfile.Profile(time.process_time)  # other load on the machine is not ours
    try:
        port = here.recv()
        if options.profile:
            profile.enable()
        figures = asyncio.run(measure(port, options.pods))
        profile.disable()
    finally:
        server.terminate()
    if options.profile:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(40)
    machine.write(options.json, {"machine": before, "creation": figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
