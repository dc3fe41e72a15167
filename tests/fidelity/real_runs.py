"""Real runs on the test cluster: a driver that allocates for itself, once for each shape and policy, one after the other.

One at a time, because the machine has few cores and executors that start together start slowly.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import Cluster
from tests.demo.api import Api
from tests.demo.installation import delete_namespace, make_namespace
from tests.e2e import self_allocating
from tests.e2e.workspace import PROPERTIES, Workspace
from tests.fidelity.comparison import RealRun
from tests.soak.drivers import (
    EVENT_LOG,
    EVENTS,
    LEAN_JVM,
)

SHAPES = Path(__file__).parent / "jobs" / "shapes.py"
ENDS_WITHIN_SECONDS = 900
_DYNAMIC = "spark.dynamicAllocation"
_ONE_BY_ONE = {f"{_DYNAMIC}.sustainedSchedulerBacklogTimeout": "5s"}
"""Executors that start together start slowly where there are few cores, which says nothing of a cluster."""
POLICIES = {
    "few": {
        **_ONE_BY_ONE,
        f"{_DYNAMIC}.maxExecutors": "2",
        f"{_DYNAMIC}.executorIdleTimeout": "10s",
        f"{_DYNAMIC}.shuffleTracking.timeout": "20s",
        f"{_DYNAMIC}.cachedExecutorIdleTimeout": "20s",
    },
    "many": {
        **_ONE_BY_ONE,
        f"{_DYNAMIC}.maxExecutors": "4",
        f"{_DYNAMIC}.executorIdleTimeout": "25s",
        f"{_DYNAMIC}.shuffleTracking.timeout": "60s",
        f"{_DYNAMIC}.cachedExecutorIdleTimeout": "60s",
    },
}


class RunFailed(Exception):
    """A driver did not end well, or left no log."""


@dataclass(frozen=True, slots=True)
class RealRuns:
    """Runs in one namespace.

    Attributes:
        folder: of this host, below which drivers write their logs.
    """

    space: Workspace
    folder: Path

    def run(self, shape: str, policy: str) -> RealRun:
        """One run, to its end.

        Raises:
            RunFailed: when the job did not end with the right answer.
        """
        name = f"{shape}-{policy}"
        events = self.folder / "events" / name
        events.mkdir(parents=True)
        events.chmod(0o777)
        settings = {
            **EVENT_LOG,
            "spark.driver.extraJavaOptions": LEAN_JVM,
            "spark.executor.extraJavaOptions": LEAN_JVM,
            **POLICIES[policy],
        }
        pod = self.space.driver_pod(
            name,
            shape,
            job=SHAPES,
            conf=tuple(f"{key}={value}" for key, value in settings.items()),
        )
        pod["metadata"].pop("labels", None)
        (container,) = pod["spec"]["containers"]
        self_allocating.let_it_allocate(pod)
        pod["spec"]["volumes"].append({"name": "events", "hostPath": {"path": str(events)}})
        container["volumeMounts"].append({"name": "events", "mountPath": EVENTS})
        self.space.create(pod)
        phase = self.space.await_end(name, within=ENDS_WITHIN_SECONDS)
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        if phase != "Succeeded":
            raise RunFailed(f"{name} ended {phase}:\n{self.space.log(name)}")
        answers = self.space.result(name)["answers"]
        if any(each["computed"] != each["known"] for each in answers.values()):
            raise RunFailed(f"{name} computed {answers}")
        logs = [each for each in events.iterdir() if not each.name.startswith(".")]
        if len(logs) != 1:
            raise RunFailed(f"{name} left {len(logs)} event logs in {events}")
        self.space.delete("pod", name)
        self.space.await_no_executors()
        return RealRun(shape, policy, logs[0], POLICIES[policy], load)


@contextmanager
def real_runs(cluster: Cluster, spark_image: str, folder: Path) -> Iterator[RealRuns]:
    """A namespace with what drivers need, and its end."""
    namespace = f"fidelity-{secrets.token_hex(4)}"
    shutil.rmtree(folder / "events", ignore_errors=True)
    own = self_allocating.properties_file(folder)
    with Api(cluster) as api:
        make_namespace(cluster, namespace)
        try:
            self_allocating.put_account(cluster, namespace)
            space = Workspace(cluster, api, namespace, spark_image)
            space.put_job_files(SHAPES, PROPERTIES, own)
            yield RealRuns(space, folder)
        finally:
            delete_namespace(cluster, namespace)
