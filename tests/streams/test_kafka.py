"""A stream from a real broker of Kafka on this machine: every row comes once, and the operator can tell what waits.

It needs a JDK and Maven but no cluster: two small JVMs, for about a minute. SPARK in the environment chooses another version.
"""

import json
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.oracle_jvm import python_with_pyspark
from tests.demo import manifests
from tests.demo.verdict import job_result
from tests.e2e.waiting import eventually
from tests.images.spark_image import DEFAULT_SPARK_VERSION
from tests.machine.reporting import Reporter
from tests.soak.drivers import LEAN_JVM
from tests.streams import kafka_jars
from tests.streams.course import HELPER, STREAM
from tests.streams.kafka_broker import LocalBroker

from spark_allocation.core.streaming_report import QueryProgress
from spark_allocation.sources.streaming_gauges import read_streaming

pytestmark = [pytest.mark.spark, pytest.mark.slow]

SPARK = os.environ.get("SPARK") or DEFAULT_SPARK_VERSION
PARTITIONS, PARTS, MOST_ROWS, INTERVAL_SECONDS = 4, 8, 60, 2
PHASES = "3:10,6:60,3:5"
"""More than a batch may have come within each trigger interval of the second phase."""
ENDS_WITHIN_SECONDS = 420


@dataclass
class Driver:
    """A driver of this machine, as the operator sees it at its UI port."""

    port: int
    told: list[QueryProgress] = field(default_factory=list)
    most_tasks: int = 0
    """Of a stage."""

    def look(self) -> None:
        gauges = {
            key: entry["value"] for key, entry in self._get("/metrics/json/")["gauges"].items()
        }
        self.told += [each for each in read_streaming(gauges).progress if each.batch_id is not None]
        (application,) = self._get("/api/v1/applications")
        stages = self._get(f"/api/v1/applications/{application['id']}/stages")
        self.most_tasks = max([self.most_tasks, *(each["numTasks"] for each in stages)])

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def broker() -> Iterator[LocalBroker]:
    with LocalBroker(kafka_jars.broker_jars(Reporter())) as started:
        yield started


def test_a_stream_reads_every_row_of_a_topic_once_and_tells_what_waits(
    broker: LocalBroker, tmp_path: Path
) -> None:
    # given a stream whose batches may not have all the rows that come at the highest rate
    driver = Driver(free_port())
    output = tmp_path / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [
                *(str(python_with_pyspark(SPARK)), str(STREAM)),
                *(f"--kafka={broker.address}", f"--partitions={PARTITIONS}"),
                *(f"--parts={PARTS}", f"--most-rows={MOST_ROWS}", f"--phases={PHASES}"),
                *(f"--interval={INTERVAL_SECONDS}", "--row-seconds=0.02"),
                f"--checkpoint={tmp_path / 'checkpoint'}",
            ],
            env=environment(driver.port, tmp_path),
            stdout=file,
            stderr=file,
        )
        try:
            # when it has read everything
            eventually(
                lambda: ended(process, driver),
                what="the stream ends",
                within=ENDS_WITHIN_SECONDS,
                every=0.2,
                explain=lambda: output.read_text()[-3000:],
            )
        finally:
            process.kill()
            process.wait()
    # then each row came once, however many batches it took
    result = job_result(output.read_text())
    assert result is not None, output.read_text()[-3000:]
    assert all(each["computed"] == each["known"] for each in result["answers"].values()), result
    assert result["failedTasks"] == 0
    assert all(each["rows"] <= MOST_ROWS for each in result["batches"])
    # and what the operator read at the driver says how many rows waited, and then that none did any longer
    assert {each.name for each in driver.told} == {"stepped"}
    assert {each.partitions for each in driver.told} == {PARTITIONS}
    assert {each.trigger_interval_ms for each in driver.told} == {1000 * INTERVAL_SECONDS}
    behind = [each.rows_behind or 0 for each in driver.told]
    assert max(behind) > MOST_ROWS
    assert behind[-1] < max(behind)
    # and a batch may have more tasks than the topic has partitions
    assert driver.most_tasks > PARTITIONS


def environment(ui_port: int, folder: Path) -> dict[str, str]:
    jars = kafka_jars.source_jars(SPARK, Reporter())
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": LEAN_JVM,
        "spark.driver.host": "127.0.0.1",
        "spark.jars": ",".join(map(str, jars)),
        "spark.local.dir": str(folder),
        "spark.sql.streaming.metricsEnabled": "true",
        "spark.sql.streaming.numRecentProgressUpdates": "1000",
        "spark.ui.port": str(ui_port),
        "spark.ui.showConsoleProgress": "false",
    }
    modules = (manifests.EXAMPLES / "jobs", HELPER.parent)
    return os.environ | {
        "PYSPARK_PYTHON": str(python_with_pyspark(SPARK)),
        "PYTHONPATH": os.pathsep.join(map(str, modules)),
        "PYSPARK_SUBMIT_ARGS": " ".join(
            [
                "--master local[1] --driver-memory 512m",
                *(f"--conf '{key}={value}'" for key, value in settings.items()),
                "pyspark-shell",
            ]
        ),
    }


def ended(process: subprocess.Popen[bytes], driver: Driver) -> bool:
    # its UI is not there yet, or no longer
    with suppress(OSError, HTTPException, ValueError):
        driver.look()
    return process.poll() is not None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
