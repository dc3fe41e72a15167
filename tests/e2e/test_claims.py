"""A volume that outlives its executor, on a real node: the next executor finds what the one before wrote."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.waiting import eventually
from tests.e2e.workspace import Workspace

DRIVER = "driver"
WRITES_ITS_NAME = {
    # no JVM: what is tested is which volume it gets
    "spec": {
        "containers": [
            {
                "name": "spark-kubernetes-executor",
                "command": [
                    "sh",
                    "-c",
                    (
                        "echo $SPARK_EXECUTOR_POD_NAME >> /data/names; "
                        "trap 'exit 0' TERM; while true; do sleep 0.2; done"
                    ),
                ],
            }
        ]
    }
}
VOLUME = "spark.kubernetes.executor.volumes.persistentVolumeClaim.data."


@pytest.fixture
def volume(space: Workspace, tmp_path: Path) -> Iterator[Path]:
    """A persistent volume made by hand, in a storage class of its own: a folder of this host, there once."""
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o777)
    space.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": space.namespace},
            "spec": {
                "storageClassName": space.namespace,
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOncePod"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(folder), "type": "Directory"},
            },
        }
    )
    yield folder
    space.cluster.kubectl("delete", "persistentvolume", space.namespace, "--wait=false")


def claims(space: Workspace) -> list[str]:
    listed = space.cluster.kubectl(
        "get", "persistentvolumeclaims", f"--namespace={space.namespace}", "--output=name"
    )
    return listed.split()


def test_an_executor_finds_what_the_one_before_left(space: Workspace, volume: Path) -> None:
    # given a driver that lets its executors wait for the claim of the one before
    settings = {
        VOLUME + "mount.path": "/data",
        VOLUME + "options.claimName": "OnDemand",
        VOLUME + "options.storageClass": space.namespace,
        VOLUME + "options.sizeLimit": "1Gi",
        "spark.kubernetes.driver.waitToReusePersistentVolumeClaim": "true",
        "spark.kubernetes.allocation.executor.timeout": "1s",
        # as the volume is offered, whatever this version's default
        "spark.kubernetes.legacy.useReadWriteOnceAccessMode": "false",
    }
    space.start_fake_driver(DRIVER, settings=settings, gives=WRITES_ITS_NAME["spec"])
    space.allocate(
        "job",
        DRIVER,
        dynamicAllocation={"minExecutors": 1, "maxExecutors": 1},
        executor={"podTemplate": WRITES_ITS_NAME},
    )
    first = _names(space, volume, 1)
    assert len(claims(space)) == 1
    # when the executor goes
    space.delete("pod", first[0])
    # then the next one has its volume, and no other was made
    both = _names(space, volume, 2)
    assert both[0] == first[0]
    assert both[1] != first[0]
    assert len(claims(space)) == 1
    # and the driver, which owns the claim, takes it along
    space.delete("pod", DRIVER)
    eventually(lambda: not claims(space), what="the claim is gone", within=60)


def _names(space: Workspace, volume: Path, count: int) -> list[str]:
    def written() -> list[str]:
        file = volume / "names"
        lines = file.read_text().split() if file.exists() else []
        return lines if len(lines) >= count else []

    return eventually(
        written,
        what=f"{count} executors have written",
        within=120,
        explain=lambda: (space.status("job"), list(space.executors())),
    )
