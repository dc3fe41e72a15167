"""One cluster and one operator for all of these tests, a fresh namespace for each.

The operator is a process of this host with the rights that deploy/ grants it, so that tests can kill it. SPARK in the
environment chooses another Spark version, CLUSTER another of the clusters that tests/cluster makes; no other cluster
is ever touched.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import cluster as clusters
from tests.cluster import Cluster, ClusterError
from tests.cluster.audit import AuditLog
from tests.demo.api import Api
from tests.demo.installation import delete_namespace, install_on_host, make_namespace
from tests.demo.manifests import OPERATOR, OPERATOR_NAMESPACE
from tests.demo.operator_process import OperatorProcess
from tests.e2e.workspace import Workspace
from tests.machine.reporting import Reporter

from spark_allocation.controller.trace_study import trace_studies
from spark_allocation.controller.what_if_study import SupposedCluster
from spark_allocation.traces.files import find_traces

OPERATOR_LOG_LINES = 60
OPERATOR_USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    if os.geteuid() != 0:
        pytest.skip("the local cluster needs root")
    return clusters.require(os.environ.get("CLUSTER", clusters.DEFAULT_NAME), Reporter())


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Iterator[Api]:
    with Api(cluster) as connection:
        yield connection


@pytest.fixture(scope="session")
def spark_image(cluster: Cluster) -> str:
    return clusters.load_spark(cluster, Reporter(), version=os.environ.get("SPARK") or None)


@pytest.fixture(scope="session")
def started_operator(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    audit = AuditLog(cluster)
    folder = tmp_path_factory.mktemp("operator")
    installation = install_on_host(cluster, folder, traces=folder / "traces")
    assert installation.process is not None
    yield installation.process
    installation.close()
    assert installation.process.token not in installation.process.log.read_text(errors="replace")
    refused = [request for request in audit.requests(OPERATOR_USER) if not request.allowed]
    assert not refused, f"deploy/ does not grant what the operator needs: {refused[:5]}"
    _decides_the_same_again(folder / "traces")


@pytest.fixture(scope="session")
def make_workspace(
    cluster: Cluster, api: Api, spark_image: str, started_operator: OperatorProcess
) -> Iterator[Callable[[], Workspace]]:
    """Makes namespaces; at the session's end all of them have to go, while the operator runs."""
    made: list[str] = []

    def make() -> Workspace:
        namespace = f"e2e-{secrets.token_hex(4)}"
        made.append(namespace)
        make_namespace(cluster, namespace)
        return Workspace(cluster, api, namespace, spark_image)

    yield make
    if not started_operator.running:
        started_operator.start()
    stuck = []
    for namespace in made:
        try:
            delete_namespace(cluster, namespace)
        except ClusterError as error:
            stuck.append(str(error))
    assert not stuck, "namespaces that do not go: " + "; ".join(stuck)


@pytest.fixture
def operator(started_operator: OperatorProcess) -> OperatorProcess:
    """The operator, running at the test's start whatever the test before did to it."""
    if not started_operator.running:
        started_operator.start()
    return started_operator


@pytest.fixture
def space(
    make_workspace: Callable[[], Workspace], operator: OperatorProcess, cluster: Cluster
) -> Iterator[Workspace]:
    workspace = make_workspace()
    yield workspace
    cluster.kubectl("delete", "namespace", workspace.namespace, "--wait=false")


@pytest.fixture(autouse=True)
def operator_survives(
    request: pytest.FixtureRequest, started_operator: OperatorProcess
) -> Iterator[None]:
    """No input may end the operator; its log is shown beside a failure."""
    yield
    log = started_operator.log_tail(OPERATOR_LOG_LINES)
    request.node.add_report_section("teardown", "operator log", log)
    assert started_operator.running, f"the operator has ended; the end of its log:\n{log}"


def _decides_the_same_again(folder: Path) -> None:
    """What all these tests had it decide is decided again from its traces, also across the times that it was killed."""
    traces = find_traces(str(folder))
    assert traces, f"nothing was traced in {folder}"
    exact = 0
    for study in trace_studies(traces, [], SupposedCluster()):
        if study.sameness is not None:
            assert not study.sameness.different, f"{study.trace}: {study.notes}"
            exact += study.sameness.exact
    assert exact, "no step of all traces could be compared"
