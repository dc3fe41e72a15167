"""The chart on a cluster: installed, upgraded in the middle of a job, uninstalled; and by a namespace's own administrator.

The operator runs as pods of its own image. The cluster is made for these tests and taken down after them, so that the
installation is the first one there: CLUSTER names another, and one that is up stays up. KIND_CONTEXT names the context of a kind cluster instead,
which `make test-kind` has made and given the images.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests import cluster as clusters
from tests.chart.helm import CHART, NAMESPACE, RELEASE, ROOT, Helm, HelmError, Object
from tests.chart.images import with_tag
from tests.cluster import Cluster, local
from tests.demo import manifests
from tests.demo.api import Api
from tests.demo.installation import delete_namespace, make_namespace
from tests.e2e.waiting import eventually, throughout
from tests.e2e.workspace import Workspace
from tests.images.operator_image import OPERATOR_IMAGE, operator_archive
from tests.machine.errors import ClusterError
from tests.machine.reporting import Reporter

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

DRIVER = "batch"
EXECUTORS = 3
TASK_SECONDS = 0.6
REPOSITORY, TAG = OPERATOR_IMAGE.rsplit(":", 1)
NEXT_TAG = "next"
IMAGE = {"repository": REPOSITORY, "tag": TAG}
WAIT = ("--wait", "--timeout=400s")
CRD = "sparkallocations.sparkallocation.dev"
USER_ROLES = str(ROOT / "deploy/15-user-roles.yaml")
PATIENCE = tuple(
    f"spark.kubernetes.driver.{what}Timeout=120000" for what in ("connection", "request")
)
"""On a busy machine a driver's first call takes longer than the 10 s after which Spark gives up."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    reporter = Reporter()
    context = os.environ.get("KIND_CONTEXT")
    if context:
        yield clusters.connect_existing(context)
        return
    if os.geteuid() != 0:
        pytest.skip("the local cluster needs root")
    name = os.environ.get("CLUSTER", "chart")
    was_up = is_up(name)
    found = clusters.require(name, reporter)
    archive = operator_archive(reporter)
    clusters.load_archive(found, reporter, archive)
    copy = tmp_path_factory.mktemp("image") / "operator.tar"
    again = with_tag(archive, f"{REPOSITORY}:{NEXT_TAG}", copy)
    clusters.load_archive(found, reporter, again)
    again.unlink()
    yield found
    if not was_up:
        local.down(name, reporter)


def is_up(name: str) -> bool:
    try:
        clusters.connect(name)
    except ClusterError:
        return False
    return True


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Api]:
    with Api(cluster) as connection:
        yield connection


@pytest.fixture(scope="module")
def spark_image(cluster: Cluster) -> str:
    if cluster.layout is None:
        return os.environ["SPARK_IMAGE"]
    return clusters.load_spark(cluster, Reporter(), version=os.environ.get("SPARK") or None)


@pytest.fixture
def helm(program: Helm, cluster: Cluster) -> Helm:
    return Helm(program.program, cluster)


@pytest.fixture
def space(cluster: Cluster, api: Api, spark_image: str) -> Iterator[Workspace]:
    namespace = f"chart-{secrets.token_hex(4)}"
    make_namespace(cluster, namespace)
    yield Workspace(cluster, api, namespace, spark_image)
    delete_namespace(cluster, namespace)


@pytest.fixture
def home(cluster: Cluster) -> Iterator[str]:
    """The operator's namespace, which lets in only what Pod Security `restricted` does."""
    cluster.kubectl("apply", "-f", str(ROOT / "deploy/00-namespace.yaml"))
    yield NAMESPACE
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=90s")


def start_job(space: Workspace, *, seconds: float, most: int = EXECUTORS) -> None:
    """A job that takes at least so long with all executors at work, and asks for so many of them at most."""
    tasks = round(EXECUTORS * seconds / TASK_SECONDS)
    space.start_driver(
        DRIVER,
        *(f"--tasks={tasks}", f"--task-seconds={TASK_SECONDS}"),
        annotations={
            "spec.sparkallocation.dev/dynamicAllocation.maxExecutors": str(most),
            "spec.sparkallocation.dev/dynamicAllocation.executorIdleTimeout": "60s",
        },
        conf=PATIENCE,
    )


def at_work(space: Workspace) -> set[str]:
    """The executors, once all of them are there and have done something."""
    eventually(
        lambda: (
            space.phase(DRIVER) == "Failed"
            or (space.completed_tasks(DRIVER) >= 20 and len(space.registered(DRIVER)) == EXECUTORS)
        ),
        what="all executors at work",
        within=1200,
        explain=lambda: (space.api.allocations(space.namespace), list(space.executors())),
    )
    assert space.phase(DRIVER) == "Running", space.log(DRIVER)
    return uids(space)


def uids(space: Workspace) -> set[str]:
    return {
        pod["metadata"]["uid"]
        for pod in space.executors().values()
        if "deletionTimestamp" not in pod["metadata"]
    }


def ends_well(space: Workspace) -> None:
    assert space.await_end(DRIVER, within=900) == "Succeeded", space.log(DRIVER)
    result = space.result(DRIVER)
    assert all(answer["computed"] == answer["known"] for answer in result["answers"].values())
    assert result["failedTasks"] == 0
    assert len(result["executors"]) == EXECUTORS, "nobody was replaced"


def operator_pods(api: Api, namespace: str) -> list[Object]:
    return api.pods(namespace, f"app.kubernetes.io/name={RELEASE}")


def outlives_an_upgrade(
    helm: Helm, home: str, space: Workspace, before: set[str], *, chart: str, values: Object
) -> str:
    """Upgrade to another image in the middle of a job; returns the name of the job's SparkAllocation."""
    values = {**values, "image": {**IMAGE, "tag": NEXT_TAG}}
    helm.run("upgrade", RELEASE, chart, f"--namespace={home}", *WAIT, values=values)
    eventually(lambda: len(operator_pods(space.api, home)) == 2, what="the former pods go", within=180)  # fmt: skip
    images = {pod["spec"]["containers"][0]["image"] for pod in operator_pods(space.api, home)}
    assert images == {f"{REPOSITORY}:{NEXT_TAG}"}
    # then nobody lost an executor, and the new operator serves on
    done = space.completed_tasks(DRIVER)
    throughout(
        lambda: uids(space) == before,
        until=lambda: space.completed_tasks(DRIVER) >= done + 30,
        what="the executors stay over the upgrade",
        within=300,
    )
    name = space.await_allocation_of(DRIVER)
    space.await_condition(name, "Ready", status="True", reason="Running", within=120)
    return name


def outlives_an_uninstallation(
    helm: Helm, home: str, space: Workspace, before: set[str], name: str
) -> None:
    """Uninstall while the job runs: its executors work on, and nothing holds its SparkAllocation or the namespace."""
    helm.run("uninstall", RELEASE, f"--namespace={home}", *WAIT)
    assert uids(space) == before
    assert space.allocation(name) is not None, "CRDs and SparkAllocations stay"
    assert not finalizers(space, name)
    eventually(lambda: not operator_pods(space.api, home), what="the operator is gone", within=60)


def of_the_release(cluster: Cluster) -> set[str]:
    found = cluster.kubectl(
        *("get", "all,roles,rolebindings,serviceaccounts,clusterroles,clusterrolebindings"),
        *("--all-namespaces", f"--selector=app.kubernetes.io/instance={RELEASE}", "--output=name"),
        "--ignore-not-found",
    )
    return set(found.split())


def next_version(folder: Path) -> Path:
    """The chart as its next version might be: its CRD shows another column."""
    chart = folder / CHART.name
    shutil.copytree(CHART, chart)
    file = chart / "files/crds" / f"{CRD}.yaml"
    text = file.read_text()
    column = "    - name: Mode\n      type: string\n      jsonPath: .spec.mode\n"
    anchor = "    additionalPrinterColumns:\n"
    assert text.count(anchor) == 1
    file.write_text(text.replace(anchor, anchor + column))
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "0.2.0"}))
    return chart


def columns(cluster: Cluster) -> list[str]:
    found = json.loads(cluster.kubectl("get", "crd", CRD, "--output=json"))
    return [each["name"] for each in found["spec"]["versions"][0]["additionalPrinterColumns"]]


def test_a_job_outlives_an_upgrade_and_an_uninstallation(
    helm: Helm, home: str, space: Workspace, tmp_path: Path
) -> None:
    api, cluster = space.api, space.cluster
    # given the chart with its defaults but for the image's name
    values = {"image": IMAGE}
    began = time.monotonic()
    helm.run("install", RELEASE, str(CHART), f"--namespace={home}", *WAIT, values=values)
    installed_in = time.monotonic() - began
    # then both pods are Ready, and one of them leads
    pods = operator_pods(api, home)
    assert len(pods) == 2
    for pod in pods:
        assert {each["type"]: each["status"] for each in pod["status"]["conditions"]}["Ready"] == "True"  # fmt: skip
    lease = api.get(f"/apis/coordination.k8s.io/v1/namespaces/{home}/leases/{RELEASE}")
    assert lease is not None
    leader = lease["spec"]["holderIdentity"]
    assert sum(leader.startswith(pod["metadata"]["name"]) for pod in pods) == 1
    # and `helm test` is content
    assert "Succeeded" in helm.run("test", RELEASE, f"--namespace={home}", "--timeout=300s")
    # when a job runs that outlasts an upgrade and an uninstallation at this machine's pace
    start_job(space, seconds=60 + 4 * installed_in)
    before = at_work(space)
    # and the chart is upgraded in the middle of it, to another image and another CRD
    assert "Mode" not in columns(cluster)
    name = outlives_an_upgrade(
        helm, home, space, before, chart=str(next_version(tmp_path)), values={}
    )
    assert "Mode" in columns(cluster)
    # and the chart is uninstalled while the job still runs
    outlives_an_uninstallation(helm, home, space, before, name)
    assert not of_the_release(cluster)
    ends_well(space)
    # and the CRDs can go with all that is of them
    cluster.kubectl("delete", "-f", str(manifests.CRDS), "--timeout=60s")
    assert space.allocation(name) is None


@pytest.mark.parametrize("deleted", ["the CRDs", "the namespace"])
def test_what_an_operator_left_that_is_gone_can_be_released_by_hand(
    helm: Helm, home: str, space: Workspace, deleted: str
) -> None:
    cluster = space.cluster
    what, name = {
        "the CRDs": (("-f", str(manifests.CRDS)), f"crd/{CRD}"),
        "the namespace": (("namespace", space.namespace), f"namespace/{space.namespace}"),
    }[deleted]
    # given an operator that was taken away without its hook, and objects with its finalizer
    values = {"image": IMAGE, "replicas": 1}
    helm.run("install", RELEASE, str(CHART), f"--namespace={home}", *WAIT, values=values)
    space.allocate("left", "no-such-driver")
    eventually(lambda: finalizers(space, "left"), what="the finalizer is there", within=120)
    helm.run("uninstall", RELEASE, f"--namespace={home}", "--no-hooks", *WAIT)
    # when what they need is deleted first
    cluster.kubectl("delete", *what, "--wait=false")
    # then it waits for them
    eventually(lambda: is_being_deleted(space, "left"), what="the object is to go", within=60)
    assert finalizers(space, "left")
    # and goes when they are released
    release = [
        *(
            str(Path(sys.executable).with_name("spark-allocation")),
            "release",
            "--all",
            "-A",
            "--yes",
        ),
        *(f"--kubeconfig={cluster.kubeconfig}", f"--context={cluster.context}"),
    ]
    said = subprocess.run(release, capture_output=True, text=True, check=True).stdout
    assert f"{space.namespace}/left" in said
    cluster.kubectl("wait", "--for=delete", name, "--timeout=90s")


def test_nothing_is_stuck_when_the_crds_go_before_the_operator(
    helm: Helm, home: str, space: Workspace
) -> None:
    api, cluster = space.api, space.cluster
    # given an operator that serves
    values = {"image": IMAGE, "replicas": 1}
    helm.run("install", RELEASE, str(CHART), f"--namespace={home}", *WAIT, values=values)
    space.allocate("served", "no-such-driver")
    eventually(lambda: finalizers(space, "served"), what="the finalizer is there", within=120)
    # when the CRDs are deleted, then it lets go of what is of them
    cluster.kubectl("delete", "-f", str(manifests.CRDS), "--timeout=90s")
    assert space.allocation("served") is None
    # and the hook of the uninstallation finds nothing to release, which is no failure
    helm.run("uninstall", RELEASE, f"--namespace={home}", *WAIT)
    eventually(lambda: not operator_pods(api, home), what="the operator is gone", within=60)


def is_being_deleted(space: Workspace, name: str) -> bool:
    found = space.allocation(name)
    return found is not None and "deletionTimestamp" in found["metadata"]


def finalizers(space: Workspace, name: str) -> list[str]:
    found = space.allocation(name) or {"metadata": {}}
    return list(found["metadata"].get("finalizers") or ())


@pytest.fixture
def of_the_cluster(cluster: Cluster) -> Iterator[None]:
    """CRDs and roles for people, which the cluster's administrator applies once."""
    cluster.kubectl("apply", "-f", str(manifests.CRDS), "-f", USER_ROLES)  # fmt: skip
    cluster.kubectl("wait", "-f", str(manifests.CRDS), "--for=condition=Established", "--timeout=30s")  # fmt: skip
    yield
    cluster.kubectl("delete", "-f", str(manifests.CRDS), "-f", USER_ROLES, "--timeout=60s")


@pytest.mark.usefixtures("of_the_cluster")
def test_the_administrator_of_a_namespace_installs_it_with_roles_alone(
    helm: Helm, space: Workspace
) -> None:
    cluster, namespace = space.cluster, space.namespace
    # given somebody who is admin of one namespace
    cluster.kubectl(
        *("create", "rolebinding", "team-lead", f"--namespace={namespace}"),
        *("--clusterrole=admin", "--user=team-lead"),
    )
    eventually(
        lambda: may(cluster, "create", "sparkallocations.sparkallocation.dev", namespace),
        what="the role admin knows SparkAllocations",
        within=60,
    )
    lead = Helm(helm.program, cluster, user="team-lead")
    # who may not install it for all namespaces
    with pytest.raises(HelmError, match="forbidden"):
        lead.run("install", RELEASE, str(CHART), f"--namespace={namespace}", values={"image": IMAGE})  # fmt: skip
    # but may for that one
    the_administrator_s = of_the_release(cluster)
    values: Object = {
        "image": IMAGE,
        "crds": {"install": False},
        "watch": {"namespaces": [namespace]},
        "policies": [
            {
                "name": "limit",
                "spec": {
                    "selector": {"namespaces": ["*"]},
                    "limits": {"dynamicAllocation": {"maxExecutors": {"max": EXECUTORS}}},
                },
            }
        ],
    }
    began = time.monotonic()
    install = ("upgrade", "--install", RELEASE, str(CHART), f"--namespace={namespace}", *WAIT)
    lead.run(*install, values=values)
    installed_in = time.monotonic() - began
    assert "Succeeded" in lead.run("test", RELEASE, f"--namespace={namespace}", "--timeout=300s")
    # when a job asks for more than the policy of the values allows
    start_job(space, seconds=60 + 4 * installed_in, most=3 * EXECUTORS)
    before = at_work(space)
    name = space.await_allocation_of(DRIVER)
    space.await_condition(name, "Limited", status="True", reason="LimitsApplied")
    # then it outlives an upgrade and an uninstallation as it does with rights over the cluster
    assert outlives_an_upgrade(lead, namespace, space, before, chart=str(CHART), values=values) == name  # fmt: skip
    outlives_an_uninstallation(lead, namespace, space, before, name)
    assert of_the_release(cluster) == the_administrator_s
    ends_well(space)


def may(cluster: Cluster, verb: str, resource: str, namespace: str) -> bool:
    try:
        said = cluster.kubectl("auth", "can-i", verb, resource, f"--namespace={namespace}", "--as=team-lead")  # fmt: skip
    except ClusterError:
        return False  # kubectl says "no" with an exit code
    return said.strip() == "yes"
