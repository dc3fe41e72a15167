"""`make test-kind`: the tests of the chart on a cluster in Docker, made for them and deleted after them.

python -m tests.chart.kind

kind is built from its Go module. Where no Docker engine runs, this says so and leaves it at that: `make test-chart` runs
the same tests on the local cluster. SPARK_IMAGE names another Spark image than the official one.
"""

import os
import shutil
import subprocess
import sys

from tests.chart.helm import ROOT, TOOLS
from tests.chart.test_installed import NEXT_TAG, REPOSITORY
from tests.cluster.programs import ensure_program
from tests.images.operator_image import OPERATOR_IMAGE
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter

NAME = "spark-allocation"
SPARK_IMAGE = "apache/spark:4.1.1-python3"


def why_not() -> str:
    """Why no kind cluster can be made here, or ""."""
    if shutil.which("docker") is None:
        return "there is no docker on the PATH"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "no Docker engine runs"
    if shutil.which("kubectl") is None:
        return "there is no kubectl on the PATH"
    return ""


def run(*command: str) -> None:
    """Run a step and show it.

    Raises:
        ClusterError: it failed.
    """
    print(f"+ {' '.join(command)}", flush=True)
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise ClusterError(f"`{' '.join(command[:3])}` failed.")


def main() -> int:
    reason = why_not()
    if reason:
        print(f"No kind cluster here: {reason}. `make test-chart` runs the same tests without it.")
        return 0
    spark_image = os.environ.get("SPARK_IMAGE", SPARK_IMAGE)
    try:
        kind = str(ensure_program(TOOLS, "kind", Reporter()))
        run("docker", "build", "--tag", OPERATOR_IMAGE, ".")
        run("docker", "tag", OPERATOR_IMAGE, f"{REPOSITORY}:{NEXT_TAG}")
        run("docker", "pull", spark_image)
        run(kind, "create", "cluster", "--name", NAME, "--wait", "180s")
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    try:
        for image in (OPERATOR_IMAGE, f"{REPOSITORY}:{NEXT_TAG}", spark_image):
            run(kind, "load", "docker-image", image, "--name", NAME)
        tests = [sys.executable, "-m", "pytest", "tests/chart", "-m", "cluster"]
        environment = {"KIND_CONTEXT": f"kind-{NAME}", "SPARK_IMAGE": spark_image}
        return subprocess.run(tests, cwd=ROOT, env=os.environ | environment, check=False).returncode
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        run(kind, "delete", "cluster", "--name", NAME)


if __name__ == "__main__":
    sys.exit(main())
