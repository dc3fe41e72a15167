"""Runs the stream of `tests/e2e/jobs/stepped_stream.py` in one of three ways, from files or from Kafka, and works out what
came of it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.demo.api import Object
from tests.e2e import self_allocating
from tests.e2e.workspace import PROPERTIES, RISE_AND_FALL, Workspace
from tests.machine.reporting import Reporter
from tests.soak.drivers import (
    LEAN_JVM,
)
from tests.streams import kafka_broker, kafka_jars

from spark_allocation.core.passive_driver import MIGRATION_SETTINGS
from spark_allocation.driver import streaming_progress

JOBS = Path(__file__).parent.parent / "e2e" / "jobs"
STREAM = JOBS / "stepped_stream.py"
STREAM_PARTS = (JOBS / "stepped_input.py", JOBS / "paced_rows.py")
HELPER = Path(streaming_progress.__file__)
DRIVER = "stepped"
INPUT = "/opt/input"
SOURCE_JARS = "/opt/kafka-source"
MOST = 8
FIXED = 6
INTERVAL_SECONDS = 10
ROW_SECONDS = 0.1
PARTS = 24
"""Tasks of a batch: so many that a few rows more or less in one of them matter little."""
PARTITIONS = 8
MOST_ROWS = int(MOST * INTERVAL_SECONDS / ROW_SECONDS)
"""Of a batch from Kafka: what all executors manage within the interval."""
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


class Source(StrEnum):
    """Where the rows are until they are read."""

    FILES = "files"
    KAFKA = "kafka"


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

    @property
    def peak(self) -> int:
        """The most executors at once."""
        return max((count for _, count in self.executors), default=0)

    @property
    def last(self) -> int:
        """Executors at the end."""
        return self.executors[-1][1] if self.executors else 0

    def is_late(self, batch: Batch) -> bool:
        return batch.seconds > self.interval

    @property
    def late_share(self) -> float:
        """Share of the batches that took longer than the interval."""
        late = sum(self.is_late(each) for each in self.batches)
        return late / len(self.batches) if self.batches else 1.0

    def complaints(self) -> list[str]:
        """What must not be: rows that were lost or doubled, and tasks that failed."""
        wrong = [
            f"{question}: {answer['computed']} instead of {answer['known']}"
            for question, answer in self.result["answers"].items()
            if answer["computed"] != answer["known"]
        ]
        failed = self.result["failedTasks"]
        return wrong + ([f"{failed} tasks failed"] if failed else [])

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


def start(
    space: Workspace, folder: Path, way: Way, phases: str, source: Source = Source.FILES
) -> None:
    """Start the driver, and a broker first where it reads from one, and say what the operator is to do.

    Args:
        folder: of this host, for the rows; made.

    Raises:
        ClusterError: Kafka cannot be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own_allocator = way is not Way.OPERATOR
    self_allocating.put_account(space.cluster, space.namespace, allocates=own_allocator)
    own = self_allocating.properties_file(folder)
    space.put_job_files(RISE_AND_FALL, STREAM, *STREAM_PARTS, HELPER, PROPERTIES, own)
    entered = _from_kafka(space) if source is Source.KAFKA else _from_files(folder)
    settings = {
        "spark.sql.streaming.metricsEnabled": "true",
        "spark.sql.streaming.numRecentProgressUpdates": "1000",
        "spark.driver.extraJavaOptions": LEAN_JVM,
        "spark.executor.extraJavaOptions": LEAN_JVM,
        **{each.key: each.value for each in MIGRATION_SETTINGS},
        **entered.settings,
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
        *entered.arguments,
        *(f"--phases={phases}", f"--interval={INTERVAL_SECONDS}"),
        *(f"--row-seconds={ROW_SECONDS}", f"--parts={PARTS}"),
        job=STREAM,
        conf=tuple(f"{key}={value}" for key, value in settings.items()),
    )
    pod["metadata"].pop("labels")
    if own_allocator:
        self_allocating.let_it_allocate(pod)
    _mount(pod, "input", entered.mounted_at, entered.folder)
    space.create(pod)
    if way is Way.OPERATOR:
        space.allocate(
            DRIVER,
            DRIVER,
            dynamicAllocation={"minExecutors": 1, "maxExecutors": MOST},
            decommission={"migrate": True},
            streaming=STREAMING,
        )


@dataclass(frozen=True, slots=True)
class _Input:
    """What a driver needs to read from a source.

    Attributes:
        folder: of this host.
        mounted_at: where the driver finds it.
    """

    arguments: tuple[str, ...]
    settings: dict[str, str]
    folder: Path
    mounted_at: str


def _from_files(folder: Path) -> _Input:
    rows = folder / "rows"
    rows.mkdir()
    rows.chmod(0o777)
    volume = "spark.kubernetes.executor.volumes.hostPath.input"
    return _Input(
        arguments=(f"--folder={INPUT}",),
        settings={f"{volume}.mount.path": INPUT, f"{volume}.options.path": str(rows)},
        folder=rows,
        mounted_at=INPUT,
    )


def _from_kafka(space: Workspace) -> _Input:
    """Starts a broker. Executors get the source's jars from the driver."""
    reporter = Reporter()
    version = space.spark_image.rsplit(":", 1)[1]
    jars = kafka_jars.source_jars(version, reporter)
    address = kafka_broker.start_broker(space, kafka_jars.broker_jars(reporter))
    return _Input(
        arguments=(
            f"--kafka={address}",
            f"--partitions={PARTITIONS}",
            f"--most-rows={MOST_ROWS}",
        ),
        settings={"spark.jars": ",".join(f"{SOURCE_JARS}/{jar.name}" for jar in jars)},
        folder=jars[0].parent,
        mounted_at=SOURCE_JARS,
    )


def _mount(pod: Object, name: str, path: str, folder: Path) -> None:
    """Show a folder of this host to a pod's container."""
    (container,) = pod["spec"]["containers"]
    pod["spec"]["volumes"].append({"name": name, "hostPath": {"path": str(folder)}})
    container["volumeMounts"].append({"name": name, "mountPath": path})


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


@dataclass(frozen=True, slots=True)
class Courses:
    """Courses that were run one after the other.

    Attributes:
        spark: its version.
    """

    source: Source
    spark: str
    courses: tuple[Course, ...]


def write_courses(file: Path, courses: Sequence[Course], source: Source, *, spark: str) -> None:
    """As JSON, for `read_courses`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    results = {each.way.name: each.result for each in courses}
    document = {"source": source, "spark": spark, "results": results}
    file.write_text(json.dumps(document, indent=1))


def read_courses(file: Path) -> Courses:
    """What `write_courses` wrote."""
    document = json.loads(file.read_text())
    return Courses(
        Source(document["source"]),
        document["spark"],
        tuple(course_of(Way[way], result) for way, result in document["results"].items()),
    )
