"""Every file of examples/ and deploy/ is one that a real API server takes, strictly and without a warning."""

import subprocess
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from tests.cluster import Cluster
from tests.demo.manifests import DEPLOY, EXAMPLES, ROOT
from tests.integration.operator_world import CRDS
from typer.testing import CliRunner

from spark_allocation.cli.app import app

pytestmark = pytest.mark.cluster

NO_OBJECTS = {
    "deploy/samples/alerts.yaml": "rules for Prometheus, compared with the metrics in a unit test",
    "examples/passive-driver.properties": "for a driver; what driver-conf writes",
    "examples/jobs/rise_and_fall.py": "the job of the demo, which runs it",
    "examples/jobs/orders_stream.py": "a stream, which an end-to-end test runs",
    "examples/README.md": "what the others are; a unit test looks at its links",
    "examples/what-if/make_logs.py": "a program; a unit test runs it",
    "examples/what-if/backlog-1s.yaml": "settings of Spark to simulate; a unit test does",
    "examples/what-if/backlog-10s.yaml": "the same",
    "examples/spark-submit-cluster.sh": "a command; a unit test runs it",
    "examples/apache-spark-application.yaml": "another operator's kind; a unit test looks at what it makes of the driver",
    "examples/kubeflow-spark-application.yaml": "the same",
    "examples/what-if/simulate_on_spark.py": "tests/conformance/test_simulate_on_spark.py",
}
"""Files that are not for an API server, and where they are tried."""

FILES = sorted(
    str(file.relative_to(ROOT))
    for folder in (DEPLOY, EXAMPLES)
    for file in folder.rglob("*")
    if file.is_file() and "__pycache__" not in file.parts
)
MANIFESTS = [file for file in FILES if file not in NO_OBJECTS]


@pytest.fixture(scope="module")
def homes(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with the CRDs and with the namespaces that the files speak of.

    Without what an earlier version installed there: what cannot be changed in an object would be refused.
    """
    cluster.kubectl("apply", "--validate=strict", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
    cluster.kubectl("apply", "--validate=strict", "-f", str(DEPLOY / "00-namespace.yaml"))
    cluster.kubectl("delete", "--ignore-not-found", "-f", str(DEPLOY / "20-deployment.yaml"))
    cluster.kubectl("apply", "--validate=strict", "-f", str(EXAMPLES / "spark-namespace.yaml"))
    cluster.kubectl("apply", "-f", "-", stdin="{apiVersion: v1, kind: Namespace, metadata: {name: other-jobs}}")  # fmt: skip
    yield cluster
    cluster.kubectl("delete", "namespace", "spark-jobs", "other-jobs", "--wait=false")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kubectl remembers kinds for hours: of a cluster with other CRDs, too."""
    return tmp_path_factory.mktemp("kinds")


@pytest.mark.parametrize("file", MANIFESTS)
def test_a_server_takes_it_strictly_and_warns_of_nothing(
    homes: Cluster, file: str, cache: Path
) -> None:
    command = homes.kubectl_command(
        *("apply", f"--cache-dir={cache}", "--dry-run=server", "--validate=strict"),
        *("-f", str(ROOT / file)),
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    documents = [each for each in yaml.safe_load_all((ROOT / file).read_text()) if each]
    assert len(done.stdout.splitlines()) == len(documents)
    warnings = [line for line in done.stderr.splitlines() if "last-applied-configuration" not in line]  # fmt: skip
    assert warnings == []


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.startswith("examples/") and file.endswith(".yaml")]
)
def test_an_example_says_what_to_expect(file: str) -> None:
    lines = (ROOT / file).read_text().splitlines()
    head = takewhile(lambda line: line.startswith("#"), lines)
    assert any("xpect: " in line for line in head)


def test_the_example_of_a_passive_driver_is_what_the_command_writes() -> None:
    printed = CliRunner().invoke(app, ["driver-conf"])
    assert printed.exit_code == 0
    head, _, settings = (EXAMPLES / "passive-driver.properties").read_text().partition("\n")
    assert head.startswith("# Written by `spark-allocation driver-conf`.")
    assert settings == printed.stdout
