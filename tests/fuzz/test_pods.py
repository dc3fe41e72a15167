"""Pods, lists and lines of a watch: whatever a pod says, the watches and what they feed go on."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.hostile import Document, spoilt, spoilt_bytes, texts
from tests.unit.executor_pod_documents import driver_document, executor_document

from spark_allocation.api.group import (
    FIELD_ANNOTATION_PREFIX,
    MANAGED_LABEL,
    NEXT_EXECUTOR_ID_ANNOTATION,
)
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.controller.managed_drivers import managed_allocation
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.kube.api_client import ApiAnswer
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore, SeenPod
from spark_allocation.sources import wire
from spark_allocation.sources.executor_pods import driver_pod, seen_pod
from spark_allocation.sources.pods_watch import PodsWatch
from spark_allocation.testing.pods import FakePodsApi

EXECUTOR = executor_document(3, phase="Running")
EXECUTOR["metadata"] |= {
    "uid": "uid-3", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z",
    "annotations": {NEXT_EXECUTOR_ID_ANNOTATION: "9", "sparkallocation.dev/incarnation": "0a1b2c3d"},
}  # fmt: skip
EXECUTOR["spec"] |= {
    "nodeName": "node",
    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
}
EXECUTOR["status"] |= {
    "reason": "Evicted", "message": "why",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}],
    "containerStatuses": [
        {"name": "spark-kubernetes-executor", "restartCount": 0,
         "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "m"}}},
        {"name": "sidecar", "restartCount": 2, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "m"}}},
    ],
}  # fmt: skip
DRIVER = driver_document(uid="driver", ui_port=4040, labels={MANAGED_LABEL: "true"})
DRIVER["metadata"] |= {"resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"}
KINDS = st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "", "NEWS"])


@st.composite
def lines(draw: st.DrawFn, pod: Document) -> bytes:
    """A line of a watch about this pod."""
    event = {"type": draw(KINDS), "object": pod}
    return draw(spoilt_bytes(event)).replace(b"\n", b" ")


async def fed(said: list[bytes], good: Document, project: Any, sink: Any) -> FakePodsApi:
    """A watch that hears these lines, and after them of a good pod."""
    pods = FakePodsApi()
    selector = f"spark-role={good['metadata']['labels']['spark-role']}"
    watch: PodsWatch[Any] = PodsWatch(
        pods, namespace=None, selector=selector, project=project, sink=sink, first_pause_seconds=0.001
    )  # fmt: skip
    watching = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(60):
            for line in said:
                while not pods.open_watches:
                    assert not watching.done(), watching.exception()
                    await asyncio.sleep(0)
                pods.say(line)
                await asyncio.sleep(0)
            pods.put(good)
            while not sink_has(sink, good):
                assert not watching.done(), watching.exception()
                await asyncio.sleep(0.001)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return pods


def sink_has(sink: Any, good: Document) -> bool:
    name = good["metadata"]["name"]
    if isinstance(sink, DriverDirectory):
        return sink.named("jobs", name) is not None
    view = sink.take(DriverKey("jobs", good["metadata"]["ownerReferences"][0]["uid"]))
    return any(seen.pod.name == name for seen in view.pods)


@given(said=st.lists(lines(EXECUTOR), min_size=1, max_size=5))
def test_lines_about_executors(said: list[bytes]) -> None:
    good = executor_document(4, name="good")
    asyncio.run(fed(said, good, seen_pod, ExecutorPodsSnapshotsStore()))


@given(said=st.lists(lines(DRIVER), min_size=1, max_size=5))
def test_lines_about_drivers(said: list[bytes]) -> None:
    asyncio.run(fed(said, driver_document("good"), driver_pod, DriverDirectory()))


@given(page=spoilt_bytes({"metadata": {"resourceVersion": "7"}, "items": [EXECUTOR, DRIVER]}))
def test_a_page_of_a_list(page: bytes) -> None:
    async def listed() -> None:
        pods = FakePodsApi()
        pods.will("list_page", ApiAnswer(HTTPStatus.OK, page))
        store = ExecutorPodsSnapshotsStore()
        watch: PodsWatch[SeenPod] = PodsWatch(
            pods, namespace=None, selector="spark-role=executor", project=seen_pod, sink=store, first_pause_seconds=0.001
        )  # fmt: skip
        watching = asyncio.create_task(watch.run())
        async with asyncio.timeout(60):
            await store.synced.wait()
        assert not watching.done()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(listed())


@given(
    annotations=st.dictionaries(
        st.sampled_from(
            ["dynamicAllocation.maxExecutors", "dynamicAllocation", "mode", "driver.uiPort", "driver.podName", "driver",
             "driver.access", "sparkConf", "executor.podTemplate", "executor.podTemplate.spec.hostNetwork", "a.b.c", "",
             "streaming", "deletionPolicy", "ttlSecondsAfterFinished", ".", "a..b"]
        ).map(lambda field: FIELD_ANNOTATION_PREFIX + field)
        | texts,
        texts
        | st.sampled_from(
            ["{a: 1}", "- 1", "&a [*a]", "&a {b: *a}", "!!python/object/apply:os.system [id]", "? {a: b}\n: c",
             "2026-01-01", "0o777", "1_000", ".inf", ".nan", "~", "!!binary aGk=", "a: b\n---\nc: d", "[" * 5000,
             "{a: &x [1,2], b: [*x,*x]}", "<<: {a: 1}", "0x7fffffffffffffffffff", "!!set {a, b}", "!!timestamp 1"]
        ),
        max_size=4,
    )
)  # fmt: skip
def test_annotations_of_managed_drivers(annotations: dict[str, str]) -> None:
    pod = DriverPod(
        "jobs", "driver", "uid", "Running", False, "10.0.0.1", 0, 0.0, annotations=annotations
    )
    body = managed_allocation(pod)
    if isinstance(body, str):
        assert body
        return
    # what is made names this pod and no other, and can be sent
    assert body["spec"]["driver"]["podName"] == "driver"
    assert "selector" not in body["spec"]["driver"]
    assert len(json.dumps(body)) < 200_000


@given(document=spoilt(EXECUTOR), data=st.data())
def test_a_pod_that_is_decoded_is_projected(document: Document, data: st.DataObject) -> None:
    try:
        pod = wire.decode_pod(json.dumps(document).encode())
    except msgspec.DecodeError:
        return
    seen = seen_pod(pod)
    if seen is not None:
        assert len(seen.pod.message) <= 512
        assert 0 <= seen.pod.executor_id < 2**31
    assert driver_pod(pod).name == pod.metadata.name
