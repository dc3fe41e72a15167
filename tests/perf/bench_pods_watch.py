"""What the pods watch costs: CPU and memory of the first picture, and CPU of each later event.

    python -m tests.perf.bench_pods_watch [--pods 50000] [--events 20000]

A loopback API server in a process of its own serves executor pods as the kubelet leaves them (about 5 KB of JSON each);
the figures are those of this process: CPU seconds, which other load on the machine disturbs little.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import uvloop
from aiohttp import web

PAGE = 500


def pod(number: int, *, version: int) -> dict[str, Any]:
    """An executor pod with the managed fields and status that a real one has."""
    environment = [{"name": f"SPARK_VARIABLE_{k}", "value": "v" * 40} for k in range(30)]
    return {
        "metadata": {
            "name": f"application-{number // 50}-exec-{number}",
            "namespace": f"team-{number % 20}",
            "uid": f"00000000-0000-0000-0000-{number:012d}",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "spark-app-selector": f"spark-{number // 50}",
                "spark-exec-id": str(number % 50 + 1),
                "spark-exec-resourceprofile-id": "0",
                "spark-role": "executor",
                "sparkallocation.dev/allocation-uid": f"allocation-{number // 50}",
            },
            "annotations": {"sparkallocation.dev/incarnation": "0a1b2c3d"},
            "ownerReferences": [
                {
                    "kind": "Pod",
                    "name": "driver",
                    "uid": f"driver-{number // 50}",
                    "controller": True,
                }
            ],
            "managedFields": [
                {"manager": "kubelet", "fieldsV1": {f"f:field{k}": {} for k in range(60)}}
            ],
        },
        "spec": {
            "containers": [
                {
                    "name": "spark-kubernetes-executor",
                    "image": "spark",
                    "env": environment,
                    "args": ["executor"],
                }
            ],
            "nodeName": f"node-{number % 300}",
            "restartPolicy": "Never",
            "volumes": [{"name": "spark-local-dir-1", "emptyDir": {}}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [
                {"type": kind, "status": "True"}
                for kind in ("Ready", "PodScheduled", "Initialized")
            ],
            "containerStatuses": [
                {
                    "name": "spark-kubernetes-executor",
                    "state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}},
                }
            ],
        },
    }


def serve(pods: int, events: int, port_to: Connection) -> None:
    """The loopback API server: pages of pods, then a watch with events as fast as they are taken."""
    items = [json.dumps(pod(number, version=number + 1)).encode() for number in range(pods)]
    changes = [
        b'{"type":"MODIFIED","object":'
        + json.dumps(pod(number % pods, version=pods + number)).encode()
        + b"}\n"
        for number in range(events)
    ]

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            for change in changes:
                await response.write(change)
            await asyncio.sleep(3600)
            return response
        start = int(request.query.get("continue") or 0)
        page = items[start : start + PAGE]
        following = str(start + PAGE) if start + PAGE < pods else ""
        head = json.dumps({"resourceVersion": str(pods), "continue": following}).encode()
        return web.Response(
            body=b'{"metadata":' + head + b',"items":[' + b",".join(page) + b"]}",
            content_type="application/json",
        )

    async def run() -> None:
        application = web.Application()
        application.router.add_get("/api/v1/pods", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port_to.send(runner.addresses[0][1])
        await asyncio.sleep(3600)

    asyncio.run(run())


async def measure(port: int, pods: int, events: int) -> dict[str, float]:
    import kubernetes.aio.client

    from spark_allocation.kube.api_client import kubernetes_api
    from spark_allocation.kube.pods_api import KubernetesPodsApi
    from spark_allocation.snapshots_store import ExecutorPodsSnapshotsStore, SeenPod
    from spark_allocation.sources.executor_pods import EXECUTOR_SELECTOR, seen_pod
    from spark_allocation.sources.pods_watch import PodsWatch

    configuration = kubernetes.aio.client.Configuration(host=f"http://127.0.0.1:{port}")
    api = kubernetes_api(configuration)
    store = ExecutorPodsSnapshotsStore()
    watch = PodsWatch[SeenPod](
        KubernetesPodsApi(api),
        namespace=None,
        selector=EXECUTOR_SELECTOR,
        project=seen_pod,
        sink=store,
    )
    before, memory = time.process_time(), _resident_mib()
    running = asyncio.create_task(watch.run())
    await store.synced.wait()
    listed = time.process_time()
    after_list = _resident_mib()
    while watch.events < events:
        await asyncio.sleep(0.01)
    ended = time.process_time()
    running.cancel()
    await api.close()
    assert len(store) == pods
    return {
        "pods": pods,
        "first picture, CPU s": round(listed - before, 3),
        "a pod, CPU ms": round((listed - before) / pods * 1000, 4),
        "an event, CPU ms": round((ended - listed) / events * 1000, 4),
        "memory added, MiB": round(after_list - memory, 1),
        "peak memory, MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _resident_mib() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pods", type=int, default=50_000)
    parser.add_argument("--events", type=int, default=20_000)
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(options.pods, options.events, there), daemon=True)
    server.start()
    try:
        figures = uvloop.run(measure(here.recv(), options.pods, options.events))
    finally:
        server.terminate()
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
