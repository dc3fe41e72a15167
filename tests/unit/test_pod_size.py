"""What a pod asks for, as the scheduler counts it."""

import msgspec
import pytest

from spark_allocation.core.pod_size import PodSize, size_of_manifest
from spark_allocation.sources import wire
from spark_allocation.sources.executor_pods import seen_pod


def container(cpu: object = None, memory: object = None, **more: object) -> dict[str, object]:
    amounts = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value is not None}
    return {"name": "c", "resources": {"requests": amounts}, **more}


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        ({}, PodSize(0, 0)),
        ({"containers": [container("1", "1408Mi")]}, PodSize(1000, 1408)),
        ({"containers": [container("500m", "1Gi"), container("0.25", "100M")]}, PodSize(750, 1120)),
        ({"containers": [container(2, 1 << 30)]}, PodSize(2000, 1024)),
        ({"containers": [{"resources": {"limits": {"cpu": "3", "memory": "2Gi"}}}]}, PodSize(3000, 2048)),
        ({"containers": [{"resources": {"limits": {"cpu": "3"}, "requests": {"cpu": "1"}}}]}, PodSize(1000, 0)),
        ({"containers": [container("1", "1Gi")], "initContainers": [container("4", "512Mi")]}, PodSize(4000, 1024)),
        ({"containers": [container("1", "1Gi")], "initContainers": [container("500m", "512Mi", restartPolicy="Always")]}, PodSize(1500, 1536)),
        ({"containers": [container("much", "1e3k")]}, PodSize(0, 0)),
        ({"containers": [container("1u", "1")]}, PodSize(1, 1)),
    ],
)  # fmt: skip
def test_a_pod_is_as_large_as_the_scheduler_takes_it_for(
    spec: dict[str, object], size: PodSize
) -> None:
    assert size_of_manifest({"spec": spec}) == size


def test_the_watch_sees_the_same_size() -> None:
    spec = {
        "containers": [container("1500m", "2Gi")],
        "initContainers": [container("3", "1Gi"), container("1", "1Mi", restartPolicy="Always")],
    }
    document = {
        "metadata": {
            "name": "e", "namespace": "jobs", "uid": "u", "labels": {"spark-exec-id": "1"},
            "ownerReferences": [{"kind": "Pod", "name": "driver", "uid": "d", "controller": True}],
        },
        "spec": spec,
    }  # fmt: skip
    seen = seen_pod(msgspec.convert(document, wire.Pod))
    assert seen is not None
    assert seen.pod.size == size_of_manifest(document) == PodSize(3000, 2049)
