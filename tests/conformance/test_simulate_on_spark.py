"""``simulate`` as a Spark job gives the answer of one machine: with a real spark-submit, two executor threads and a process a task.

Needs a JDK and pyspark (installed on first use, see oracle_jvm). ``SPARK`` is the version.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.conformance.oracle_jvm import java, python_with_pyspark, spark_home
from tests.unit.event_log_builder import EventLog
from tests.unit.fsspec_stores import put_store

SPARK = os.environ.get("SPARK", "4.1.4")
ROOT = Path(__file__).parents[2]
JOB = ROOT / "examples" / "what-if" / "simulate_on_spark.py"
POLICIES = [ROOT / "examples" / "what-if" / f"{name}.yaml" for name in ("idle-120s", "backlog-1s")]
WITHIN_SECONDS = 300

KILLED_WHEN_OPENED = "os.kill(os.getpid(), signal.SIGKILL)"
"""As by the kernel for want of memory."""


def log_of_jobs(path: Path, tasks: int) -> None:
    log = EventLog(name=path.name, properties={"spark.dynamicAllocation.enabled": "true"})
    log.executor_added("1", 4.0, requested_at=2.0)
    at = 5.0
    for number in range(2):
        stage = log.stage(number, tasks)
        log.job_start(number, at, [stage])
        end = log.run_stage(stage, at, [3] * tasks, ["1"])
        log.job_end(number, end)
        at = end + 200
    log.application_end(at)
    log.write(path)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three good logs of several sizes, one that is cut, and what is none."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for number, name in enumerate(("small", "middle", "large")):
        log_of_jobs(folder / name, 10 * (number + 1))
    cut = folder / "cut"
    log_of_jobs(cut, 5)
    cut.write_text(cut.read_text()[:-200])
    (folder / "noise").write_bytes(bytes(range(256)))
    (folder / "eventlog_v2_spark-1").mkdir()
    return folder


def environment(folder: Path) -> dict[str, str]:
    site = folder / "site"
    site.mkdir(exist_ok=True)
    put_store(site, "deadly", KILLED_WHEN_OPENED)
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(ROOT / "operator")))}


def submitted(
    folder: Path, *arguments: object, **settings: str
) -> subprocess.CompletedProcess[str]:
    home = spark_home(SPARK)
    own: Mapping[str, str] = {
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "JAVA_HOME": str(Path(java()).resolve().parents[1]),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    command = [
        *(str(home / "bin" / "spark-submit"), "--master", "local[2,3]"),
        *("--driver-java-options", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"),
        *("--conf", "spark.ui.enabled=false", "--conf", f"spark.local.dir={folder}"),
        *(str(JOB), *map(str, arguments)),
    ]
    return subprocess.run(
        command,
        env={**environment(folder), **own, **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WITHIN_SECONDS,
        check=False,
    )


def on_one_machine(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spark_allocation", "simulate", "--workers", "2"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WITHIN_SECONDS,
        check=False,
    )


@pytest.mark.spark
def test_a_spark_job_gives_the_answer_of_one_machine(logs: Path, tmp_path: Path) -> None:
    # given good logs and broken ones, one that takes its process along, and policies
    policies = [each for file in POLICIES for each in ("--policy", file)]
    asked = ["logs", "deadly://log", *policies, "--failure-rate", "5", "--price", "0.04", "-o", "json"]  # fmt: skip
    # when they are simulated on Spark, and on one machine
    on_spark, alone = submitted(tmp_path, *asked), on_one_machine(tmp_path, *asked)
    # then
    assert (on_spark.returncode, alone.returncode) == (0, 0), on_spark.stderr + alone.stderr
    answer, wanted = (json.loads(each.stdout)["applications"] for each in (on_spark, alone))
    assert answer[:-1] == wanted[:-1]
    assert [each["log"] for each in answer if "problem" not in each] == [
        f"logs/{name}" for name in ("cut", "large", "middle", "small")
    ]
    assert all(len(each["outcomes"]) == 3 for each in answer if "problem" not in each)
    assert [each["log"] for each in (answer[-1], wanted[-1])] == ["deadly://log"] * 2
    assert "given up after 2 tries" in answer[-1]["problem"]
    assert "the process that simulated it was killed" in wanted[-1]["problem"]


@pytest.mark.spark
def test_executors_without_the_package_are_told_what_they_lack(logs: Path, tmp_path: Path) -> None:
    # given executors with a Python of their own, in which there is PySpark and nothing else
    bare = {"PYSPARK_PYTHON": str(python_with_pyspark(SPARK))}
    # when
    result = submitted(tmp_path, logs, **bare)
    # then that is all that is said beside Spark's log; spark-submit puts both outputs of Python into one
    assert result.returncode == 1
    assert re.fullmatch(
        r"the executors' Python has no module \w+: put spark-allocation-operator\[what-if\] into .*\n",
        result.stdout,
    ), result.stdout + result.stderr[-3000:]
