"""What many SparkAllocations cost one operator process: CPU, memory, requests, and how fast it reacts.

    python -m tests.perf.bench_many --applications 1000 --pods 10000 --seconds 60
    python -m tests.perf.bench_many --applications 10,100,1000 --pods 10 --per-application --json many.json

The operator is a process of its own, as in a cluster. Its API server is one in memory and its drivers are a fleet that
answers real HTTP with bodies as long as a real driver's; both, with the kubelets, are one other process (`many_world`).
CPU and memory are the operator's own, read from /proc; reactions and requests are what the world saw.
"""

import argparse
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.day.samples import process_figures

COMPLETE_WITHIN_SECONDS = 600.0


class WorldProcess:
    """`tests.perf.many_world` in a process of its own."""

    def __init__(self, applications: int, pods: int, share_active: float, seed: int) -> None:
        serving = f"asyncio.run(serve({applications}, {pods}, {share_active}, {seed}))"
        code = f"import asyncio; from tests.perf.many_world import serve; {serving}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.kubeconfig = str(self._answer()["kubeconfig"])

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(command, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the world ended by itself, see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)


class OperatorProcess:
    """`spark-allocation run` against that world."""

    def __init__(self, kubeconfig: str, folder: Path, environment: dict[str, str]) -> None:
        path = folder / "kubeconfig"
        path.write_text(kubeconfig)
        self.log = folder / "operator.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", "--"),
                    *(str(Path(sys.executable).with_name("spark-allocation")), "run"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **{
                        key: value
                        for key, value in os.environ.items()
                        if not key.startswith("KUBE")
                    },
                    "POD_NAMESPACE": "",
                    "SPARK_ALLOCATION_KUBECONFIG": str(path),
                    "SPARK_ALLOCATION_HEALTH_HOST": "127.0.0.1",
                    "SPARK_ALLOCATION_HEALTH_PORT": "18080",
                    **environment,
                },
            )

    @property
    def figures(self) -> tuple[float, float]:
        """Resident MiB and CPU seconds."""
        found = process_figures(self.process.pid)
        if found is None:
            raise SystemExit(f"the operator ended: {self.log.read_text()[-2000:]}")
        return found

    def loop_lag(self) -> float:
        """Seconds by which its event loop was late at the last look."""
        with urllib.request.urlopen("http://127.0.0.1:18080/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(r"^spark_allocation_event_loop_lag_seconds (\S+)", text, re.MULTILINE)
        return float(found.group(1)) if found else math.nan

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)


def measure(options: argparse.Namespace, applications: int) -> dict[str, Any]:
    """One run."""
    pods = options.pods * applications if options.per_application else options.pods
    folder = Path(tempfile.mkdtemp(prefix="bench-many-"))
    world = WorldProcess(applications, pods, options.active, options.seed)
    operator = None
    try:
        began = time.monotonic()
        operator = OperatorProcess(
            world.kubeconfig,
            folder,
            {
                "SPARK_ALLOCATION_IDLE_POLL_SECONDS": str(options.idle_poll),
                "SPARK_ALLOCATION_CREATES_PER_SECOND": "1000",
            },
        )
        while not (state := world.ask("complete"))["complete"]:
            if time.monotonic() - began > COMPLETE_WITHIN_SECONDS:
                raise SystemExit(f"not all executors came: {state}, see {operator.log}")
            operator.figures  # noqa: B018  (it must be alive)
            time.sleep(0.5)
        complete_after, (_, complete_cpu) = time.monotonic() - began, operator.figures
        _say(
            f"{applications} applications, {state['registered']} executors after {complete_after:.1f} s"
        )
        world.ask(f"jobs {options.jobs}")
        time.sleep(options.settle)
        world.ask("begin")
        _, cpu_before = operator.figures
        world_before = process_figures(world.pid)
        lags: list[float] = []
        began = time.monotonic()
        while time.monotonic() - began < options.seconds:
            time.sleep(1.0)
            lags.append(operator.loop_lag())
        figures = world.ask("figures")
        rss, cpu_after = operator.figures
        world_after = process_figures(world.pid)
        seconds = figures["seconds"]
        assert world_before is not None
        assert world_after is not None
        return {
            "applications": applications,
            "pods": figures["pods"],
            "seconds": round(seconds, 1),
            "complete_after_seconds": round(complete_after, 1),
            "complete_cpu_seconds": round(complete_cpu, 2),
            "cpu_cores": round((cpu_after - cpu_before) / seconds, 3),
            "world_cpu_cores": round((world_after[1] - world_before[1]) / seconds, 3),
            "rss_mib": round(rss, 1),
            "jobs": figures["jobs"],
            "lost": figures["lost"],
            "reaction_active": _quantiles(figures["reactions_active"]),
            "reaction_resting": _quantiles(figures["reactions_resting"]),
            "loop_lag": _quantiles(lags),
            "requests_per_second": {
                name: round(count / seconds, 2) for name, count in figures["requests"].items()
            },
            "most_statuses_in_a_second": figures["most_statuses_in_a_second"],
            "api_kib_per_second": round(figures["api_bytes"] / seconds / 1024, 1),
            "driver_requests_per_second": round(figures["driver_requests"] / seconds, 1),
            "driver_kib_per_second": round(figures["driver_bytes"] / seconds / 1024, 1),
            "world_late_seconds": round(figures["late_seconds"], 3),
            "log": str(operator.log),
        }
    finally:
        if operator is not None:
            operator.close()
        world.close()


def _quantiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {"count": 0}
    ordered = sorted(values)
    return {
        "count": len(ordered),
        "p50": round(statistics.median(ordered), 3),
        "p99": round(ordered[min(len(ordered) - 1, math.ceil(0.99 * len(ordered)) - 1)], 3),
        "worst": round(ordered[-1], 3),
    }


def growth(runs: list[dict[str, Any]], figure: str) -> float:
    """The exponent b of ``figure = a × applications ** b``, fitted in logarithms."""
    points = [(math.log(each["applications"]), math.log(max(each[figure], 1e-6))) for each in runs]
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--applications", default="1000", help="one number, or several by commas")
    parser.add_argument("--pods", type=int, default=10_000, help="executor pods in all")
    parser.add_argument(
        "--per-application", action="store_true", help="--pods is for each application"
    )
    parser.add_argument("--active", type=float, default=0.1, help="share that is always at work")
    parser.add_argument("--idle-poll", type=float, default=5.0, help="seconds")
    parser.add_argument("--jobs", type=float, default=2.0, help="that need more, a second")
    parser.add_argument("--settle", type=float, default=20.0, help="seconds before it is measured")
    parser.add_argument("--seconds", type=float, default=60.0, help="that are measured")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    runs = []
    for applications in map(int, options.applications.split(",")):
        runs.append(measure(options, applications))
        print(json.dumps(runs[-1], indent=1), flush=True)
    document: dict[str, Any] = {
        "machine": {
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "system": platform.platform(),
        },
        "runs": runs,
    }
    if len(runs) > 1:
        document["growth"] = {
            figure: round(growth(runs, figure), 2)
            for figure in (
                "cpu_cores",
                "rss_mib",
                "complete_cpu_seconds",
                "driver_requests_per_second",
            )
        }
        print(json.dumps(document["growth"]))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
