"""Who may do what with our kinds: the cluster's own roles view, edit and admin with what deploy/ adds to them."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.cluster import Cluster
from tests.demo.manifests import DEPLOY
from tests.integration.operator_world import (
    ALLOCATIONS,
    CLUSTER_POLICIES,
    OperatorWorld,
    eventually,
)
from tests.integration.people import RBAC, Person

pytestmark = pytest.mark.cluster

ROLES = DEPLOY / "15-user-roles.yaml"

People = dict[str, Person]


@pytest.fixture
async def people(world: OperatorWorld) -> AsyncIterator[People]:
    """One person for each role, in the world's namespace."""
    world.cluster.kubectl("apply", "-f", str(ROLES))
    made = {}
    for role in ("view", "edit", "admin", "spark-allocation-edit"):
        made[role] = await Person(world, f"{role}-{secrets.token_hex(3)}").may_as(role)

    async def aggregated() -> bool:
        # a controller adds our rules to the cluster's roles
        answers = [await person.request("GET", world.allocations_path) for person in made.values()]
        policy = await made["admin"].request("POST", policies_path(world), body=a_policy(), query={"dryRun": "All"})  # fmt: skip
        return all(answer.ok for answer in [*answers, policy])

    await eventually(aggregated, "the cluster's roles have our rules", within=60)
    yield made


def policies_path(world: OperatorWorld) -> str:
    return f"{ALLOCATIONS}/namespaces/{world.namespace}/sparkallocationpolicies"


def a_policy(kind: str = "SparkAllocationPolicy") -> dict[str, Any]:
    return {
        "apiVersion": "sparkallocation.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": f"theirs-{secrets.token_hex(3)}"},
        "spec": {"limits": {"dynamicAllocation": {"maxExecutors": {"max": 3}}}},
    }


async def allowed(people: People, *request: Any, **more: Any) -> set[str]:
    """The roles whose person may make this request."""
    found = set()
    for role, person in people.items():
        answer = await person.request(*request, **more)
        assert answer.ok or answer.status == 403, (role, answer.status, answer.message)
        found |= {role} if answer.ok else set()
    return found


async def test_reading(world: OperatorWorld, people: People) -> None:
    await world.allocate("job", {"driver": {"podName": "driver"}})
    everybody = set(people)
    for path in (
        world.allocations_path,
        f"{world.allocations_path}/job",
        f"{world.allocations_path}/job/status",
        policies_path(world),
    ):
        assert await allowed(people, "GET", path) == everybody, path
    # a role that is bound in a namespace shows nothing of the cluster
    assert await allowed(people, "GET", CLUSTER_POLICIES) == set()


async def test_writing_allocations(world: OperatorWorld, people: People) -> None:
    await world.allocate("job", {"driver": {"podName": "driver"}})
    writers = {"edit", "admin", "spark-allocation-edit"}
    path, dry = f"{world.allocations_path}/job", {"dryRun": "All"}
    for role, person in people.items():
        assert (await person.create("new", dry=True)).ok == (role in writers), role
        assert (await person.change("job", spec={"mode": "Paused"})).ok == (role in writers), role
        assert (await person.request("DELETE", path, query=dry)).ok == (role in writers), role
        # nobody empties a namespace with one request
        assert not (await person.request("DELETE", world.allocations_path, query=dry)).ok, role
        # and what the operator has seen is its own to say: ids below nextExecutorId are used up
        answer = await person.change("job", part="/status", status={"nextExecutorId": 1})
        assert answer.ok == (role == "admin"), role


async def test_limits_are_not_for_those_to_write_who_are_limited(
    world: OperatorWorld, people: People
) -> None:
    dry = {"dryRun": "All"}
    theirs = policies_path(world)
    assert await allowed(people, "POST", theirs, body=a_policy(), query=dry) == {"admin"}
    policy = await world.did("POST", theirs, a_policy())
    one = f"{theirs}/{policy['metadata']['name']}"
    assert await allowed(people, "DELETE", one, query=dry) == {"admin"}
    for role, person in people.items():
        assert (await person.patch(one, {"spec": {"priority": 1}})).ok == (role == "admin"), role
    of_the_cluster = a_policy("ClusterSparkAllocationPolicy")
    assert await allowed(people, "POST", CLUSTER_POLICIES, body=of_the_cluster, query=dry) == set()


async def test_cluster_policies_are_read_by_whom_they_are_shown_to(world: OperatorWorld) -> None:
    world.cluster.kubectl("apply", "-f", str(ROLES))
    reader = Person(world, f"reader-{secrets.token_hex(3)}")
    assert (await reader.request("GET", CLUSTER_POLICIES)).status == 403
    binding = {
        "metadata": {"name": reader.name},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "spark-allocation-cluster-policy-view",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": reader.name}],
    }  # fmt: skip
    await world.did("POST", f"{RBAC}/clusterrolebindings", binding)
    try:

        async def reads() -> bool:
            return (await reader.request("GET", CLUSTER_POLICIES)).ok

        await eventually(reads, "the reader reads")
        answer = await reader.request("POST", CLUSTER_POLICIES, body=a_policy("ClusterSparkAllocationPolicy"))  # fmt: skip
        assert answer.status == 403
    finally:
        await world.did("DELETE", f"{RBAC}/clusterrolebindings/{reader.name}")


async def test_who_administers_a_namespace_installs_an_operator_there(
    cluster: Cluster, world: OperatorWorld, people: People
) -> None:
    """Nobody can grant what he does not have: the rights of deploy/namespaced/ are within those of an admin."""
    as_admin = (f"--as={people['admin'].name}", "--as-group=system:authenticated")
    as_editor = (f"--as={people['edit'].name}", "--as-group=system:authenticated")
    for file in sorted((DEPLOY / "namespaced").glob("[0-9]*.yaml")):
        text = file.read_text().replace("namespace: spark-jobs", f"namespace: {world.namespace}")
        # the roles in earnest, as a binding is judged by the role that it finds; pods are not wanted here
        dry = () if "rbac" in file.name else ("--dry-run=server",)
        cluster.kubectl("apply", *as_admin, *dry, "--validate=strict", "-f", "-", stdin=text)
        if "rbac" in file.name:
            from tests.cluster import ClusterError

            with pytest.raises(ClusterError, match="forbidden"):
                cluster.kubectl("apply", *as_editor, "-f", "-", stdin=text.replace("leader", "other"))  # fmt: skip
