"""Runs the stream of `tests/e2e/jobs/stepped_stream.py` in one of three ways, and works out what came of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.demo import manifests
from tests.e2e.workspace import PROPERTIES, RISE_AND_FALL, Workspace
from tests.soak.drivers import (
    LEAN_JVM,
    RIGHTS_OF_A_SELF_ALLOCATING_DRIVER,
    SELF_ALLOCATING,
)

from spark_allocation.core.passive_driver import FALLBACK_SETTINGS, MIGRATION_SETTINGS
from spark_allocation.driver import streaming_progress

STREAM = Path(__file__).parent.parent / "e2e" / "jobs" / "stepped_stream.py"
HELPER = Path(streaming_progress.__file__)
DRIVER = "stepped"
INPUT = "/opt/input"
MOST = 8
FIXED = 6
INTERVAL_SECONDS = 10
ENDS_WITHIN_SECONDS = 900
STREAMING = {
    "catchUpTime": "60s",
    "stabilization": {"down": "30s"},
    "scaleDownInterval": "20s",
    "cooldown": "10s",
}
"""Shorter than the defaults, as all of it happens within minutes."""


class Way(StrEnum):
    """Who says how many executors there are."""

    OPERATOR = "operator"
    SPARK = "Spark's dynamic allocation"
    FIXED = f"{FIXED} executors, fixed"


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch; `began` in seconds of the stream."""

    number: int
    began: float
    seconds: float
    rows: int


@dataclass(frozen=True, slots=True)
class Course:
    """What came of a stream.

    Attributes:
        executors: (seconds of the stream, registered executors), about every second.
    """

    way: Way
    phases: list[tuple[float, float]]
    interval: float
    batches: list[Batch]
    executors: list[tuple[float, int]]
    result: dict[str, Any]

    @property
    def executor_seconds(self) -> float:
        """Of registered executors, until the last batch ended."""
        total = 0.0
        for (at, count), (following, _) in zip(self.executors, self.executors[1:], strict=False):
            total += count * (following - at)
        return total

    def is_late(self, batch: Batch) -> bool:
        return batch.seconds > self.interval

    @property
    def late_share(self) -> float:
        """Share of the batches that took longer than the interval."""
        late = sum(self.is_late(each) for each in self.batches)
        return late / len(self.batches) if self.batches else 1.0

    def phase_began(self, number: int) -> float:
        return sum(seconds for seconds, _ in self.phases[:number])

    def rows_by(self, at: float) -> float:
        """That had come by then."""
        rows = 0.0
        for seconds, rate in self.phases:
            rows += rate * max(0.0, min(at, seconds))
            at -= seconds
        return rows

    def backlog(self) -> list[tuple[float, float]]:
        """(seconds, rows that had come and were in no batch that had ended), at each end of a batch."""
        done, found = 0, [(0.0, 0.0)]
        for each in self.batches:
            ended = each.began + each.seconds
            found.append((ended, self.rows_by(ended) - done))
            done += each.rows
            found.append((ended, self.rows_by(ended) - done))
        return found

    def back_in_time_after(self, phase: int) -> float | None:
        """Seconds from the beginning of a phase until batches were no longer late; None when they stayed so."""
        began = self.phase_began(phase)
        ends = began + self.phases[phase][0]
        within = [each for each in self.batches if began <= each.began < ends]
        late = [each for each in within if self.is_late(each)]
        if not within or (late and late[-1] is within[-1]):
            return None
        return late[-1].began + late[-1].seconds - began if late else 0.0


def start(space: Workspace, folder: Path, way: Way, phases: str) -> None:
    """Start the driver, and say what the operator is to do.

    Args:
        folder: of this host, for the rows; made.
    """
    rows = folder / "rows"
    rows.mkdir(parents=True)
    rows.chmod(0o777)
    objects = manifests.namespace_objects(space.namespace)
    if way is not Way.OPERATOR:
        for each in objects:
            if each["kind"] == "Role":
                each["rules"] = RIGHTS_OF_A_SELF_ALLOCATING_DRIVER
    space.cluster.kubectl("apply", "-f", "-", stdin=manifests.to_yaml(objects))
    own = folder / SELF_ALLOCATING
    own.write_text("".join(f"{each.key}={each.value}\n" for each in FALLBACK_SETTINGS))
    space.put_job_files(RISE_AND_FALL, STREAM, HELPER, PROPERTIES, own)
    volume = "spark.kubernetes.executor.volumes.hostPath.input"
    settings = {
        f"{volume}.mount.path": INPUT,
        f"{volume}.options.path": str(rows),
        "spark.sql.streaming.metricsEnabled": "true",
        "spark.sql.streaming.numRecentProgressUpdates": "1000",
        "spark.driver.extraJavaOptions": LEAN_JVM,
        "spark.executor.extraJavaOptions": LEAN_JVM,
        **{each.key: each.value for each in MIGRATION_SETTINGS},
    }
    if way is Way.SPARK:
        settings |= {
            "spark.dynamicAllocation.minExecutors": "1",
            "spark.dynamicAllocation.maxExecutors": str(MOST),
        }
    if way is Way.FIXED:
        settings |= {
            "spark.dynamicAllocation.enabled": "false",
            "spark.executor.instances": str(FIXED),
        }
    pod = space.driver_pod(
        DRIVER,
        *(f"--folder={INPUT}", f"--phases={phases}", f"--interval={INTERVAL_SECONDS}"),
        *("--row-seconds=0.1", "--parts=24"),
        job=STREAM,
        conf=tuple(f"{key}={value}" for key, value in settings.items()),
    )
    pod["metadata"].pop("labels")
    (container,) = pod["spec"]["containers"]
    if way is not Way.OPERATOR:
        container["args"] = [
            each.replace(PROPERTIES.name, SELF_ALLOCATING) for each in container["args"]
        ]
    pod["spec"]["volumes"].append({"name": "input", "hostPath": {"path": str(rows)}})
    container["volumeMounts"].append({"name": "input", "mountPath": INPUT})
    space.create(pod)
    if way is Way.OPERATOR:
        space.allocate(
            DRIVER,
            DRIVER,
            dynamicAllocation={"minExecutors": 1, "maxExecutors": MOST},
            decommission={"migrate": True},
            streaming=STREAMING,
        )


def course_of(way: Way, result: dict[str, Any]) -> Course:
    """From what the driver printed last."""
    began = result["began"]
    batches = [
        Batch(
            number=each["batch"],
            began=datetime.fromisoformat(each["at"]).timestamp() - began,
            seconds=each["seconds"],
            rows=each["rows"],
        )
        for each in result["batches"]
        if each["rows"]
    ]
    return Course(
        way=way,
        phases=[(seconds, rate) for seconds, rate in result["phases"]],
        interval=float(result["interval"]),
        batches=batches,
        executors=[(at, count) for at, count in result["registered"]],
        result=result,
    )
