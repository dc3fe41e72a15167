"""Our allocation and Spark's own, one after the other on one API server: how soon executor pods are there, at what cost.

    python -m tests.perf.beside_spark
    python -m tests.perf.beside_spark --first 5 --waves 1 --most 200 --json beside.json

A real driver has a job of 2,000 tasks that nobody works on: its executor pods name a scheduler that does not exist and
stay Pending, so that what is measured is allocation alone. `--first` rounds end with the first pod, `--waves` rounds
with `--most` of them; a round begins when the job is submitted (the driver's clock, which is this machine's) and a pod
is there when a watch of the test sees it. Both allocators have their defaults but for the idle timeout, which is short,
so that the next round can begin. At the end the driver has no work for `--calm` seconds: the requests of that time are
those of the steady state, from the API server's audit log.

CPU is that of the processes over all rounds: of the driver's JVM from within its container, of the operator's process.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import kubernetes.watch
import urllib3.exceptions
from tests.cluster import Cluster, arguments
from tests.cluster.audit import AuditLog
from tests.day.samples import process_figures
from tests.demo.api import Api
from tests.demo.installation import delete_namespace, install_on_host, make_namespace
from tests.demo.manifests import OPERATOR, OPERATOR_NAMESPACE
from tests.e2e import self_allocating
from tests.e2e.waiting import eventually
from tests.e2e.workspace import PROPERTIES, Workspace
from tests.images.spark_image import DEFAULT_SPARK_VERSION
from tests.perf import machine

JOB = Path(__file__).parent / "jobs" / "backlog.py"
NAMESPACE = "beside-spark"
"""One of those whose requests are in the audit log."""
DRIVER = "backlog"
NOBODY = "nobody-schedules-this"
IDLE_TIMEOUT = "2s"
MILESTONES = (1, 10, 50, 100, 200, 500)
ROUND_SECONDS = 240.0
SETTLES_SECONDS = 30.0
"""After the last pod: counts are written to the status ten seconds after the last ones."""
OPERATOR_USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}"


class Way(StrEnum):
    """Who allocates, and how its target rises."""

    SPARK = "Spark's own"
    EXPONENTIAL = "operator, exponential"
    IMMEDIATE = "operator, immediate"


@dataclass(slots=True)
class Found:
    """What one way came to.

    Attributes:
        waits: of each round, pods that were there to seconds from the job's submission.
        calm_requests: by verb and resource, of the allocator, in the steady state.
    """

    way: Way
    waits: list[dict[int, float]] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    calm_requests: Counter[str] = field(default_factory=Counter)
    driver_cpu_seconds: float = 0.0
    operator_cpu_seconds: float = 0.0
    pods: int = 0

    def seconds_to(self, count: int) -> list[float]:
        return [wait[count] for wait in self.waits if count in wait]


class Arrivals:
    """The moments at which executor pods of one namespace were first seen, in seconds since 1970."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        client = kubernetes.config.new_client_from_config(
            config_file=str(cluster.kubeconfig), context=cluster.context, persist_config=False
        )
        self._core = kubernetes.client.CoreV1Api(client)
        self._namespace = namespace
        self._watch = kubernetes.watch.Watch()
        self._seen: dict[str, float] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def since(self, moment: float) -> list[float]:
        return sorted(at for at in list(self._seen.values()) if at >= moment)

    def _look(self) -> None:
        try:
            for event in self._watch.stream(
                self._core.list_namespaced_pod,
                self._namespace,
                label_selector="spark-role=executor",
                _preload_content=False,
            ):
                uid = event["raw_object"]["metadata"]["uid"]
                self._seen.setdefault(uid, time.time())
        except urllib3.exceptions.ProtocolError:
            if not self._closed:
                raise

    def close(self) -> None:
        self._closed = True
        self._watch.stop()


def measure(space: Workspace, way: Way, operator: int | None, options: argparse.Namespace) -> Found:
    """One way, all of its rounds."""
    found = Found(way)
    rounds = [1] * options.first + [options.most] * options.waves
    if way is Way.IMMEDIATE:
        rounds = [options.most] * options.waves
    _start(space, way, len(rounds), options.most)
    eventually(
        lambda: "READY" in space.log(DRIVER, lines=400),
        what="the driver is ready",
        within=120,
        explain=lambda: space.log(DRIVER),
    )
    if way is not Way.SPARK:
        space.await_condition(DRIVER, "DriverReachable", status="True", reason="Answers")
    arrivals = Arrivals(space.cluster, space.namespace)
    audit = AuditLog(space.cluster)
    driver_before, operator_before = _driver_cpu(space), _cpu(operator)
    try:
        for number, most in enumerate(rounds):
            found.waits.append(_round(space, arrivals, number, most))
            found.pods += max(found.waits[-1])
            _say(f"{way}: round {number + 1} of {len(rounds)}: {_line(found.waits[-1])}")
            space.await_no_executors(within=180)
    finally:
        arrivals.close()
    found.driver_cpu_seconds = _driver_cpu(space) - driver_before
    found.operator_cpu_seconds = _cpu(operator) - operator_before
    found.requests = _requests(audit, space, way)
    return found


def _start(space: Workspace, way: Way, rounds: int, most: int) -> None:
    self_allocating.put_account(space.cluster, space.namespace, allocates=way is Way.SPARK)
    with tempfile.TemporaryDirectory() as folder:
        space.put_job_files(JOB, PROPERTIES, self_allocating.properties_file(Path(folder)))
    settings = {"spark.kubernetes.executor.scheduler.name": NOBODY}
    if way is Way.SPARK:
        settings |= {
            "spark.dynamicAllocation.maxExecutors": str(most),
            "spark.dynamicAllocation.executorIdleTimeout": IDLE_TIMEOUT,
        }
    pod = space.driver_pod(
        DRIVER,
        f"--rounds={rounds + 1}",
        job=JOB,
        conf=tuple(f"{key}={value}" for key, value in settings.items()),
    )
    # as spark-submit labels it: one without is asked for every few seconds
    pod["metadata"]["labels"] = {"spark-role": "driver"}
    if way is Way.SPARK:
        self_allocating.let_it_allocate(pod)
    space.create(pod)
    if way is not Way.SPARK:
        space.allocate(
            DRIVER,
            DRIVER,
            dynamicAllocation={"maxExecutors": most, "executorIdleTimeout": IDLE_TIMEOUT},
            allocation={"rampUp": "Immediate" if way is Way.IMMEDIATE else "Exponential"},
        )


def _round(space: Workspace, arrivals: Arrivals, number: int, most: int) -> dict[int, float]:
    space.touch(DRIVER, f"/opt/life/start-{number}")
    marker = f"ROUND {number} "

    def submitted() -> float | None:
        lines = space.log(DRIVER, lines=1000).splitlines()
        said = [line for line in lines if line.startswith(marker)]
        return float(said[0].split()[2]) if said else None

    began = float(eventually(submitted, what=f"round {number} begins", within=60))
    eventually(
        lambda: len(arrivals.since(began)) >= most,
        what=f"{most} executor pods",
        within=ROUND_SECONDS,
        explain=lambda: f"{len(arrivals.since(began))} are there\n{space.log(DRIVER)}",
    )
    came = arrivals.since(began)
    space.touch(DRIVER, f"/opt/life/stop-{number}")
    return {count: came[count - 1] - began for count in MILESTONES if count <= most}


def calm(space: Workspace, found: Found, seconds: float) -> None:
    """The steady state: one wave is there and nothing changes."""
    number = len(found.waits)
    space.touch(DRIVER, f"/opt/life/start-{number}")
    most = max(found.waits[-1])
    eventually(
        lambda: len(space.executors()) >= most,
        what=f"{most} executor pods",
        within=ROUND_SECONDS,
    )
    time.sleep(SETTLES_SECONDS)
    audit = AuditLog(space.cluster)
    time.sleep(seconds)  # what is counted is what happens in this time
    found.calm_requests = _requests(audit, space, found.way)


def _requests(audit: AuditLog, space: Workspace, way: Way) -> Counter[str]:
    """What the allocator asked of the API server."""
    of_driver = f"system:serviceaccount:{space.namespace}:spark-driver"
    user = of_driver if way is Way.SPARK else OPERATOR_USER
    return Counter(f"{each.verb} {each.resource or each.path}" for each in audit.requests(user))


def _driver_cpu(space: Workspace) -> float:
    """Seconds of all processes of the driver's container."""
    answer = space.cluster.kubectl(
        *("exec", f"--namespace={space.namespace}", DRIVER, "--"),
        *("bash", "-c", "cat /proc/[0-9]*/stat"),
    )
    ticks = 0
    for line in answer.splitlines():
        fields = line.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _cpu(process: int | None) -> float:
    found = None if process is None else process_figures(process)
    return 0.0 if found is None else found[1]


def table(courses: list[Found]) -> str:
    """Medians, and their ratio to Spark's."""
    spark = next((each for each in courses if each.way is Way.SPARK), None)
    rows = [f"{'pods':>5}" + "".join(f"{each.way:>34}" for each in courses)]
    for count in MILESTONES:
        if not any(each.seconds_to(count) for each in courses):
            continue
        cells = []
        for each in courses:
            waits = each.seconds_to(count)
            if not waits:
                cells.append(f"{'-':>34}")
                continue
            middle = statistics.median(waits)
            cell = f"{middle:.2f} s ({min(waits):.2f}–{max(waits):.2f})"
            if spark is not None and each is not spark and spark.seconds_to(count):
                cell += f" {middle / statistics.median(spark.seconds_to(count)):.2f}×"
            cells.append(f"{cell:>34}")
        rows.append(f"{count:>5}" + "".join(cells))
    rows.append("")
    return "\n".join(rows + [_costs(each) for each in courses])


def _costs(found: Found) -> str:
    calm = ", ".join(f"{key} {count}" for key, count in sorted(found.calm_requests.items()))
    return (
        f"{found.way}: {found.pods} pods; CPU of the driver {found.driver_cpu_seconds:.1f} s, of the operator "
        f"{found.operator_cpu_seconds:.1f} s; steady state: {calm or 'no request'}"
    )


def _line(wait: dict[int, float]) -> str:
    return ", ".join(f"{count} pods {seconds:.2f} s" for count, seconds in wait.items())


def _say(words: str) -> None:
    print(words, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--ways", default=",".join(way.name.lower() for way in Way))
    parser.add_argument("--first", type=int, default=20, help="rounds to the first pod")
    parser.add_argument("--waves", type=int, default=3, help="rounds to --most pods")
    parser.add_argument("--most", type=int, default=500)
    parser.add_argument("--calm", type=float, default=180.0, help="seconds of steady state")
    parser.add_argument("--json", type=Path, default=Path("demo-output") / "beside-spark.json")
    arguments.add_arguments(parser)
    options = parser.parse_args()
    ways = [Way[each.upper()] for each in options.ways.split(",")]
    cluster, image = arguments.cluster_and_image(parser, options)
    courses: list[Found] = []
    with Api(cluster) as api:
        for way in ways:
            namespace = NAMESPACE
            folder = Path(tempfile.mkdtemp(prefix="beside-"))
            installation = None if way is Way.SPARK else install_on_host(cluster, folder)
            process = None if installation is None else installation.process
            make_namespace(cluster, namespace)
            space = Workspace(cluster, api, namespace, image)
            try:
                found = measure(space, way, None if process is None else process.pid, options)
                calm(space, found, options.calm)
                courses.append(found)
            finally:
                delete_namespace(cluster, namespace)
                if installation is not None:
                    installation.close()
    machine.write(options.json, _report(courses, options))
    print(f"\n{table(courses)}\n\n{options.json}")
    return 0


def _report(courses: list[Found], options: argparse.Namespace) -> dict[str, Any]:
    return {
        "machine": machine.machine(),
        "spark": options.spark or DEFAULT_SPARK_VERSION,
        "ways": {
            each.way: {
                "secondsToPods": each.waits,
                "requests": each.requests,
                "calmSeconds": options.calm,
                "calmRequests": each.calm_requests,
                "driverCpuSeconds": each.driver_cpu_seconds,
                "operatorCpuSeconds": each.operator_cpu_seconds,
                "pods": each.pods,
            }
            for each in courses
        },
    }


if __name__ == "__main__":
    sys.exit(main())
