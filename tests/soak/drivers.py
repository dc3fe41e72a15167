"""The drivers of a round: the same jobs, with executors allocated by the operator or by Spark itself."""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.demo.api import Object
from tests.e2e import self_allocating
from tests.e2e.workspace import PROPERTIES, RISE_AND_FALL, Workspace
from tests.soak.workload import Job

from spark_allocation.core.passive_driver import MIGRATION_SETTINGS

STEPS = Path(__file__).parent / "jobs" / "steps.py"
EVENTS = "/opt/events"
"""Where drivers write their event logs: a folder of this host."""
LEAN_JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
"""Most of what a run costs is the start of JVMs."""
EVENT_LOG = {
    "spark.eventLog.enabled": "true",
    "spark.eventLog.dir": f"file://{EVENTS}",
    "spark.eventLog.compress": "false",
    "spark.eventLog.rolling.enabled": "false",
}


class Allocator(StrEnum):
    """Who makes and ends the executors."""

    OPERATOR = "operator"
    SPARK = "Spark"


@dataclass(frozen=True, slots=True)
class Drivers:
    """Starts the drivers of one namespace.

    Attributes:
        folder: of this host; event logs are written below it.
    """

    space: Workspace
    folder: Path
    allocator: Allocator

    def prepare(self) -> None:
        """What drivers need: rights, the job, their properties, a folder for event logs."""
        events = self.folder / "events"
        events.mkdir()
        events.chmod(0o777)
        self_allocating.put_account(
            self.space.cluster,
            self.space.namespace,
            allocates=self.allocator is Allocator.SPARK,
        )
        own = self_allocating.properties_file(self.folder)
        self.space.put_job_files(RISE_AND_FALL, STEPS, PROPERTIES, own)

    def start(self, job: Job) -> Object:
        """Create a driver pod; what the API server made of it."""
        settings = {
            **EVENT_LOG,
            "spark.driver.extraJavaOptions": LEAN_JVM,
            "spark.executor.extraJavaOptions": LEAN_JVM,
            **({each.key: each.value for each in MIGRATION_SETTINGS} if job.migrate else {}),
        }
        if self.allocator is Allocator.SPARK:
            settings |= {
                "spark.dynamicAllocation.minExecutors": str(job.minimum),
                "spark.dynamicAllocation.maxExecutors": str(job.maximum),
            }
        pod = self.space.driver_pod(
            job.name,
            f"--steps={json.dumps(job.steps)}",
            job=STEPS,
            conf=tuple(f"{key}={value}" for key, value in settings.items()),
        )
        pod["metadata"].pop("labels")
        (container,) = pod["spec"]["containers"]
        if self.allocator is Allocator.SPARK:
            self_allocating.let_it_allocate(pod)
        folder = str(self.folder / "events")
        pod["spec"]["volumes"].append({"name": "events", "hostPath": {"path": folder}})
        container["volumeMounts"].append({"name": "events", "mountPath": EVENTS})
        self.space.create(pod)
        created = self.space.api.pod(self.space.namespace, job.name)
        assert created is not None, f"the driver pod {job.name} is gone"
        return created


def event_log(folder: Path, application_id: str) -> str:
    """What a driver of this folder wrote, "" when it wrote none; its end is missing when it was killed."""
    for name in (application_id, f"{application_id}.inprogress"):
        file = folder / "events" / name
        if application_id and file.is_file():
            return file.read_text()
    return ""
