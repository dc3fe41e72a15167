"""The rights that deploy/ grants are exactly those that are used: on a real API server, under its audit log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import Cluster, ClusterError
from tests.cluster.audit import AuditLog, Request
from tests.demo import manifests
from tests.demo.installation import apply_operator
from tests.demo.manifests import DEPLOY, OPERATOR, OPERATOR_NAMESPACE, Object
from tests.integration.operator_world import OperatorWorld
from tests.security.restricted_operator import RestrictedOperator
from tests.security.whole_life import HIDDEN, live

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.cluster

Right = tuple[str, str, str]


def granted(documents: list[Object], kind: str) -> set[Right]:
    """(API group, resource, verb) of all rules of this kind of role."""
    return {
        (group, resource, verb)
        for document in documents
        if document["kind"] == kind
        for rule in document["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(requests: list[Request]) -> set[Right]:
    return {request.right for request in requests if request.resource}


@pytest.fixture
def audit(cluster: Cluster) -> AuditLog:
    return AuditLog(cluster)


@pytest.fixture
def operator(
    cluster: Cluster, world: OperatorWorld, audit: AuditLog, tmp_path: Path
) -> Iterator[RestrictedOperator]:
    """Installed as deploy/ says, over all namespaces."""
    objects = manifests.operator_objects(image="none", replicas=0)
    apply_operator(cluster, objects)
    cluster.kubectl(
        *("wait", "pod", f"--namespace={OPERATOR_NAMESPACE}", "--for=delete", "--timeout=120s"),
        f"--selector=app.kubernetes.io/name={OPERATOR}",
    )
    # a Lease that another run has left would not have to be made
    cluster.kubectl(
        *("delete", "lease", OPERATOR, f"--namespace={OPERATOR_NAMESPACE}", "--ignore-not-found")
    )
    operator = RestrictedOperator(cluster, tmp_path)
    yield operator
    operator.close()


async def test_each_right_is_used_and_none_is_missing(
    world: OperatorWorld, audit: AuditLog, operator: RestrictedOperator
) -> None:
    # given an operator that leads
    await operator.says("lease_taken")
    # when it serves a driver from its start to after its end
    async with FakeDriver() as driver:
        await live(world, driver, with_cluster_policy=True)
    assert await operator.ends() == 0
    # then nothing was refused, and nothing is granted that was not needed
    requests = audit.requests(operator.user)
    assert [request for request in requests if not request.allowed] == []
    documents = manifests.documents(DEPLOY / "10-rbac.yaml")
    in_all = granted(documents, "ClusterRole")
    in_its_own = granted(documents, "Role")
    asked_in_its_own = [each for each in requests if each.namespace == OPERATOR_NAMESPACE]
    elsewhere = [each for each in requests if each.namespace != OPERATOR_NAMESPACE]
    assert used(elsewhere) == in_all
    assert used(asked_in_its_own) == in_its_own
    _shows_nothing(operator)


async def test_what_is_not_granted_shows_in_the_audit_log(
    cluster: Cluster, audit: AuditLog, operator: RestrictedOperator
) -> None:
    with pytest.raises(ClusterError, match="forbidden"):
        cluster.kubectl("get", "secrets", "--namespace=default", f"--token={operator.token}")
    (request,) = (each for each in audit.requests(operator.user) if each.resource == "secrets")
    assert (request.right, request.allowed, request.code) == (("", "secrets", "list"), False, 403)


def _shows_nothing(operator: RestrictedOperator) -> None:
    """Neither its token nor a header nor a masked value stands in its log, at the level that tells most."""
    log = operator.log
    assert "driver_served" in log, "it has told what it did"
    assert operator.token not in log
    assert operator.token.rsplit(".", 1)[-1] not in log, "not even the signature of its token"
    assert "authorization" not in log.lower()
    assert "Bearer" not in log
    assert HIDDEN not in log


# -- namespaced -------------------------------------------------------------------------------------------------------

NAMESPACED = "spark-allocation-namespaced"
"""Where the operator of these tests lives: a namespace that the audit policy names."""


@pytest.fixture
def namespaced(cluster: Cluster, world: OperatorWorld) -> Iterator[str]:
    """deploy/namespaced/ in a namespace of its own, and its further-namespace.yaml for the world's."""
    cluster.kubectl("create", "namespace", NAMESPACED)
    home = (DEPLOY / "namespaced/10-rbac.yaml").read_text()
    further = (DEPLOY / "namespaced/further-namespace.yaml").read_text()
    for text in (home, further):
        here = text.replace("namespace: spark-jobs", f"namespace: {NAMESPACED}")
        here = here.replace("namespace: other-jobs", f"namespace: {world.namespace}")
        cluster.kubectl("apply", "-f", "-", stdin=here)
    yield NAMESPACED
    cluster.kubectl("delete", "namespace", NAMESPACED)


async def test_roles_alone_are_enough_and_nothing_of_the_cluster_is_asked_for(
    cluster: Cluster, world: OperatorWorld, audit: AuditLog, namespaced: str, tmp_path: Path
) -> None:
    operator = RestrictedOperator(
        cluster, tmp_path, namespace=namespaced, serves=(namespaced, world.namespace)
    )
    try:
        await operator.says("lease_taken")
        async with FakeDriver() as driver:
            await live(world, driver)
        assert await operator.ends() == 0
    finally:
        operator.close()
    requests = audit.requests(operator.user)
    assert [request for request in requests if not request.allowed] == []
    of_the_cluster = [each for each in requests if each.resource and not each.namespace]
    assert of_the_cluster == []
    assert {each.namespace for each in requests if each.resource} == {namespaced, world.namespace}
    served = [each for each in requests if each.namespace == world.namespace]
    assert used(served) == granted(manifests.documents(DEPLOY / "namespaced/further-namespace.yaml"), "Role")  # fmt: skip
    _shows_nothing(operator)


# -- confinement ------------------------------------------------------------------------------------------------------


def test_pod_security_restricted_has_no_complaint(cluster: Cluster) -> None:
    objects = manifests.operator_objects(image="none", replicas=0)
    apply_operator(cluster, objects)
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "confined", "namespace": OPERATOR_NAMESPACE},
        "spec": deployment["spec"]["template"]["spec"],
    }
    dry_run = ("create", "--dry-run=server", "-f", "-")
    assert "confined" in cluster.kubectl(*dry_run, stdin=manifests.to_yaml([pod]))
    # and the namespace would have complained
    pod["spec"]["containers"][0]["securityContext"].pop("capabilities")
    with pytest.raises(ClusterError, match="violates PodSecurity"):
        cluster.kubectl(*dry_run, stdin=manifests.to_yaml([pod]))
