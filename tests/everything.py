"""Run every kind of test that this machine can run, and say in one line why another was left out.

    python -m tests.everything            # what `make test` runs
    python -m tests.everything --only unit,integration

Kinds that need the test cluster run one after the other, because they share it, and they mostly wait. Beside them run
those that need none, one after the other as well and with a lower priority, so that they take only what the others leave;
what they print comes in one piece. The last lines are a summary; the exit code is 1 when anything failed.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

LOWER_PRIORITY = ("nice", "-n", "10")
PYTEST = (sys.executable, "-m", "pytest", "-q", "--durations=10", "--durations-min=10")


@dataclass(frozen=True)
class Kind:
    """A kind of test: what it runs, why it cannot run here ("" when it can), and whether it shares the test cluster."""

    name: str
    command: tuple[str, ...]
    left_out_because: Callable[[], str] = lambda: ""
    shares_cluster: bool = False


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
        Kind("soak", (*PYTEST, "tests/soak", "-m", "not slow")),
        Kind("conformance", (*PYTEST, "tests/conformance"), no_jdk),
        Kind("integration", (*PYTEST, "tests/integration", "-m", "not slow"), no_cluster, True),
        Kind("rights", (*PYTEST, "tests/security", "-m", "cluster"), no_cluster, True),
        Kind("faults", (*PYTEST, "tests/faults"), no_cluster, True),
        Kind("e2e", (*PYTEST, "tests/e2e", "-m", "not slow"), no_cluster, True),
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
    sharing = [kind for kind in chosen if kind.shares_cluster]
    alone = [kind for kind in chosen if not kind.shares_cluster]
    if not sharing or not alone:
        return [run(kind, spark=spark) for kind in chosen]
    results: dict[str, Result] = {}
    with ThreadPoolExecutor(max_workers=1) as one_at_a_time:
        beside = [one_at_a_time.submit(run_beside, kind, spark=spark) for kind in alone]
        try:
            for kind in sharing:
                results[kind.name] = run(kind, spark=spark)
                while beside and beside[0].done():
                    show(beside.pop(0), results)
            while beside:
                show(beside.pop(0), results)
        except BaseException:
            one_at_a_time.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[kind.name] for kind in chosen]


def run(kind: Kind, *, spark: str) -> Result:
    """Run a kind and let it print as it goes."""
    reason = kind.left_out_because()
    if reason:
        return Result(kind.name, "skipped", 0.0, reason)
    print(f"\n{title(kind)}", flush=True)
    began = time.monotonic()
    # a kind that runs must not pass by skipping for want of something that was just found to be there
    code = subprocess.run(kind.command, check=False, env={**os.environ, "SPARK": spark}).returncode
    return Result(kind.name, "failed" if code else "passed", time.monotonic() - began)


def run_beside(kind: Kind, *, spark: str) -> tuple[Result, str]:
    """Run a kind with a lower priority, and keep what it prints."""
    reason = kind.left_out_because()
    if reason:
        return Result(kind.name, "skipped", 0.0, reason), ""
    began = time.monotonic()
    finished = subprocess.run(
        (*LOWER_PRIORITY, *kind.command),
        check=False,
        env={**os.environ, "SPARK": spark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    outcome = "failed" if finished.returncode else "passed"
    seconds = time.monotonic() - began
    print(f"\n--- beside: {kind.name} {outcome} after {seconds:.0f} s", flush=True)
    return Result(kind.name, outcome, seconds), f"\n{title(kind)}\n{finished.stdout}"


def show(beside: Future[tuple[Result, str]], results: dict[str, Result]) -> None:
    """Wait for what ran beside, print what it printed, and note its result."""
    result, printed = beside.result()
    results[result.name] = result
    print(printed, end="", flush=True)


def title(kind: Kind) -> str:
    return f"=== {kind.name}: {' '.join(kind.command)}"


if __name__ == "__main__":
    sys.exit(main())
