"""Run every kind of test that this machine can run, and say in one line why another was left out.

    python -m tests.everything            # what `make test` runs
    python -m tests.everything --only unit,integration

Kinds run one after the other, because some of them measure a cluster that all share. The last lines are a summary; the
exit code is 1 when anything failed.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PYTEST = (sys.executable, "-m", "pytest", "-q", "--durations=10", "--durations-min=10")


@dataclass(frozen=True)
class Kind:
    """A kind of test: what it runs, and why it cannot run here ("" when it can)."""

    name: str
    command: tuple[str, ...]
    left_out_because: Callable[[], str] = lambda: ""


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
        Kind("fuzz", (*PYTEST, "tests/fuzz")),
        Kind("conformance", (*PYTEST, "tests/conformance"), no_jdk),
        Kind("integration", (*PYTEST, "tests/integration", "-m", "not slow"), no_cluster),
        Kind("rights", (*PYTEST, "tests/security", "-m", "cluster"), no_cluster),
        Kind("faults", (*PYTEST, "tests/faults"), no_cluster),
        Kind("e2e", (*PYTEST, "tests/e2e", "-m", "not slow"), no_cluster),
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
    results = [
        run(kind, spark=options.spark) for kind in kinds() if not wanted or kind.name in wanted
    ]
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


def run(kind: Kind, *, spark: str) -> Result:
    reason = kind.left_out_because()
    if reason:
        return Result(kind.name, "skipped", 0.0, reason)
    print(f"\n=== {kind.name}: {' '.join(kind.command)}", flush=True)
    began = time.monotonic()
    # a kind that runs must not pass by skipping for want of something that was just found to be there
    code = subprocess.run(kind.command, check=False, env={**os.environ, "SPARK": spark}).returncode
    return Result(kind.name, "failed" if code else "passed", time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
