"""Run every kind of test that this machine can run, and say in one line why another was left out.

    python -m tests.everything            # what `make test` runs
    python -m tests.everything --only unit,integration

There are three lanes, which run beside one another; the kinds of a lane run one after the other.

- Real Spark jobs, on the default cluster. They mostly wait. What they print appears as it comes.
- Tests against a real API server, on a second cluster, which is taken down at the end.
- What needs no cluster, with a lower priority, so that it takes only what the others leave.

What the second and third print comes in one piece when a kind has ended. With ``--only`` and kinds of a single lane all of it is as
it would be by hand. The last lines are a summary; the exit code is 1 when anything failed.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from tests.cluster import DEFAULT_NAME

LOWER_PRIORITY = ("nice", "-n", "10")
PYTEST = (sys.executable, "-m", "pytest", "-q", "--durations=10", "--durations-min=10")


class Lane(Enum):
    """Kinds of one lane run one after the other. The first that has any prints as it goes."""

    SPARK_JOBS = auto()
    API_SERVER = auto()
    NO_CLUSTER = auto()


@dataclass(frozen=True)
class Kind:
    """A kind of test: what it runs, and why it cannot run here ("" when it can)."""

    name: str
    command: tuple[str, ...]
    left_out_because: Callable[[], str] = lambda: ""
    lane: Lane = Lane.NO_CLUSTER

    @property
    def title(self) -> str:
        return f"\n=== {self.name}: {' '.join(self.command)}"


@dataclass(frozen=True)
class Result:
    name: str
    outcome: str
    seconds: float
    detail: str = ""


def no_jdk() -> str:
    if shutil.which("java") is None:
        return "there is no java on the PATH: install a JDK 17"
    return ""


def no_go() -> str:
    if shutil.which("go") is None:
        return "there is no go on the PATH to build Helm with: install Go 1.25 or newer"
    return ""


def no_cluster() -> str:
    if platform.system() != "Linux":
        return "the test cluster needs Linux"
    if os.geteuid() != 0:
        return "the test cluster needs root: run it as root, or in a container of your own"
    if not Path("/etc/debian_version").exists():
        return "the test cluster installs packages on Debian and Ubuntu only"
    if shutil.which("go") is None:
        return "there is no go on the PATH to build Kubernetes with: install Go 1.25 or newer"
    return ""


def kinds() -> tuple[Kind, ...]:
    return (
        Kind("lint", ("make", "--no-print-directory", "lint")),
        Kind("types", ("make", "--no-print-directory", "types")),
        Kind("unit", (*PYTEST, "tests/unit")),
        Kind("security", (*PYTEST, "tests/security", "-m", "not cluster")),
        Kind("chart", (*PYTEST, "tests/chart", "-m", "not cluster"), no_go),
        Kind("fuzz", (*PYTEST, "tests/fuzz")),
        Kind("perf", (*PYTEST, "tests/perf")),
        Kind("soak", (*PYTEST, "tests/soak", "-m", "not cluster")),
        Kind("conformance", (*PYTEST, "tests/conformance"), no_jdk),
        Kind(
            "integration",
            (*PYTEST, "tests/integration", "-m", "not slow"),
            no_cluster,
            Lane.API_SERVER,
        ),
        Kind("rights", (*PYTEST, "tests/security", "-m", "cluster"), no_cluster, Lane.API_SERVER),
        Kind("faults", (*PYTEST, "tests/faults"), no_cluster, Lane.API_SERVER),
        Kind("e2e", (*PYTEST, "tests/e2e", "-m", "not slow"), no_cluster, Lane.SPARK_JOBS),
        Kind("soak-jobs", (*PYTEST, "tests/soak", "-m", "cluster"), no_cluster, Lane.SPARK_JOBS),
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", default="", help="comma-separated kinds")
    parser.add_argument("--spark", default="4.1.4", help="Spark version of the e2e tests")
    options = parser.parse_args()
    wanted = set(filter(None, options.only.split(",")))
    unknown = wanted - {kind.name for kind in kinds()}
    if unknown:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    chosen = [kind for kind in kinds() if not wanted or kind.name in wanted]
    results = run_all(chosen, spark=options.spark)
    print()
    for result in results:
        print(
            f"{result.name:12} {result.outcome:8} {result.seconds:7.1f} s  {result.detail}".rstrip()
        )
    passed, failed, skipped = (
        sum(result.outcome == outcome for result in results)
        for outcome in ("passed", "failed", "skipped")
    )
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def run_all(chosen: Sequence[Kind], *, spark: str) -> list[Result]:
    """Results in the order of `chosen`."""
    lanes = [[kind for kind in chosen if kind.lane is lane] for lane in Lane]
    shown, *beside = filter(None, lanes)
    # a kind that runs must not pass by skipping for want of something that was just found to be there
    environment = {**os.environ, "SPARK": spark}
    given_up = threading.Event()
    with ThreadPoolExecutor(max_workers=len(lanes)) as threads:
        others = [threads.submit(run_beside, lane, environment, given_up) for lane in beside]
        try:
            results = [run(kind, environment) for kind in shown]
            for other in others:
                results += other.result()
        except BaseException:
            given_up.set()
            raise
    by_name = {result.name: result for result in results}
    return [by_name[kind.name] for kind in chosen]


def run(kind: Kind, environment: dict[str, str]) -> Result:
    """Run a kind and let it print as it goes."""
    reason = kind.left_out_because()
    if reason:
        return Result(kind.name, "skipped", 0.0, reason)
    print(kind.title, flush=True)
    began = time.monotonic()
    code = subprocess.run(kind.command, check=False, env=environment).returncode
    return Result(kind.name, "failed" if code else "passed", time.monotonic() - began)


def run_beside(
    lane: Sequence[Kind], environment: dict[str, str], given_up: threading.Event
) -> list[Result]:
    """Run the kinds of a lane until `given_up`, each printing in one piece."""
    on_cluster = lane[0].lane is Lane.API_SERVER
    name = f"{os.environ.get('CLUSTER', DEFAULT_NAME)}-api"
    if on_cluster:
        environment = {**environment, "CLUSTER": name}
    results = []
    for kind in lane:
        if given_up.is_set():
            break
        results.append(run_quietly(kind, environment, () if on_cluster else LOWER_PRIORITY))
    if on_cluster and any(result.outcome != "skipped" for result in results):
        subprocess.run(
            (sys.executable, "-m", "tests.cluster", "down", "--name", name),
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return results


def run_quietly(kind: Kind, environment: dict[str, str], priority: tuple[str, ...]) -> Result:
    """Run a kind and print at its end what it printed."""
    reason = kind.left_out_because()
    if reason:
        return Result(kind.name, "skipped", 0.0, reason)
    began = time.monotonic()
    finished = subprocess.run(
        (*priority, *kind.command),
        check=False,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    outcome = "failed" if finished.returncode else "passed"
    seconds = time.monotonic() - began
    print(
        f"\n{kind.title}\n{finished.stdout}--- {kind.name} {outcome}, {seconds:.0f} s", flush=True
    )
    return Result(kind.name, outcome, seconds)


if __name__ == "__main__":
    sys.exit(main())
