"""Who may say what executor pods are: the admission policies of deploy/ on a real API server, judging people."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import Cluster
from tests.demo.manifests import DEPLOY, OPERATOR, OPERATOR_NAMESPACE
from tests.integration.operator_world import CRDS, NOBODY, OperatorWorld, eventually
from tests.integration.people import Person

from spark_allocation.api.admission import ANNOTATIONS_POLICY, FIELDS_POLICY

pytestmark = pytest.mark.cluster

ROLES, POLICIES = DEPLOY / "15-user-roles.yaml", DEPLOY / "16-admission-policies.yaml"
ADMISSION = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
TEMPLATE = {"podTemplate": {"spec": {"volumes": [{"name": "v", "secret": {"secretName": "keys"}}]}}}
SECRET = {"spark.kubernetes.executor.secrets.keys": "/keys"}
SECRET_FIELD = "spec.sparkallocation.dev/sparkConf"
NOT_ALLOWED = "may be set or changed only by users who may create pods in namespace"


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> None:
    """What is installed once for a cluster."""
    files = (CRDS, DEPLOY / "00-namespace.yaml", DEPLOY / "10-rbac.yaml", ROLES, POLICIES)
    cluster.kubectl("apply", *(f"--filename={file}" for file in files))


@pytest.fixture
async def tenant(world: OperatorWorld, installed: None) -> AsyncIterator[Person]:
    """Somebody with every right on SparkAllocations and no other."""
    person = await Person(world, f"tenant-{secrets.token_hex(3)}").may_as("spark-allocation-edit")

    async def refused() -> bool:
        # an API server learns of a policy, and of a right, a moment after it has stored them
        answer = await person.create("probe", dry=True, executor=TEMPLATE)
        return answer.status == 403 and NOT_ALLOWED in answer.message

    await eventually(refused, "the policies are in force", within=60)
    yield person


@pytest.fixture
async def developer(world: OperatorWorld, tenant: Person) -> Person:
    """Somebody who may also create pods."""
    person = await Person(world, f"developer-{secrets.token_hex(3)}").may_as("edit")

    async def allowed() -> bool:
        return (await person.create("probe", dry=True)).ok

    await eventually(allowed, "the cluster's edit role has our rights", within=60)
    return person


# -- fields -----------------------------------------------------------------------------------------------------------


async def test_sizes_and_times_are_everybody_s_who_may_write_allocations(
    world: OperatorWorld, tenant: Person
) -> None:
    made = await tenant.create(
        "job",
        mode="Paused",
        dynamicAllocation={"minExecutors": 1, "maxExecutors": 3, "executorIdleTimeout": "30s"},
        allocation={"batchSize": 2},
        decommission={"gracePeriod": "1min"},
        deletionPolicy="Drain",
        ttlSecondsAfterFinished=60,
        sparkConf={"spark.executor.memory": "2g", "spark.kubernetes.executor.request.cores": "1"},
    )
    assert made.ok, made.message
    for change in (
        {"dynamicAllocation": {"maxExecutors": 5}},
        {"profiles": [{"match": {"id": 1}, "maxExecutors": 2}]},
        {"driver": {"podName": "other"}},
    ):
        changed = await tenant.change("job", spec=change)
        assert changed.ok, changed.message


GUARDED: list[tuple[str, dict[str, Any], str]] = [
    ("a pod template", {"executor": TEMPLATE}, "spec.executor may"),
    ("an empty pod template", {"executor": {"podTemplate": {}}}, "spec.executor may"),
    ("whether ended pods stay", {"executor": {"deleteOnTermination": False}}, "spec.executor may"),
    ("a secret as a volume", {"sparkConf": SECRET}, "spec.sparkConf: spark.kubernetes.executor.secrets.keys may"),
    ("a secret as a variable", {"sparkConf": {"spark.kubernetes.executor.secretKeyRef.A": "keys:a"}}, "secretKeyRef.A may"),
    ("an image of executors", {"executor": {"image": "other"}}, "spec.executor may"),
    ("a template of one profile", {"profiles": [{"match": {"id": 1}, **TEMPLATE}]}, "spec.profiles[].podTemplate may"),
    ("a volume", {"sparkConf": {"spark.kubernetes.executor.volumes.hostPath.a.mount.path": "/a"}}, "volumes.hostPath.a.mount.path may"),
    ("an image", {"sparkConf": {"spark.kubernetes.container.image": "other"}}, "spark.kubernetes.container.image may"),
    ("a label", {"sparkConf": {"spark.kubernetes.executor.label.app": "payments"}}, "label.app may"),
    ("Java options", {"sparkConf": {"spark.executor.extraJavaOptions": "-javaagent:/a.jar"}}, "extraJavaOptions may"),
    ("a variable", {"sparkConf": {"spark.executorEnv.LD_PRELOAD": "/a.so"}}, "LD_PRELOAD may"),
    ("a key that nobody knows", {"sparkConf": {"spark.kubernetes.executor.novelty": "1"}}, "novelty may"),
    ("one among others", {"sparkConf": {"spark.executor.memory": "1g", **SECRET}}, "spec.sparkConf: spark.kubernetes.executor.secrets.keys may"),
    ("an open key with something behind it", {"sparkConf": {"spark.executor.memory.b": "1"}}, "spark.executor.memory.b may"),
]  # fmt: skip


async def test_what_executors_are_is_for_those_who_may_create_pods(
    tenant: Person, developer: Person
) -> None:
    for what, spec, words in GUARDED:
        refused = await tenant.create("job", dry=True, **spec)
        assert refused.status == 403, what
        assert words in refused.message, what
        assert NOT_ALLOWED in refused.message, what
        assert "ask somebody who may create pods there" in refused.message, what
        assert FIELDS_POLICY in refused.message, what
        taken = await developer.create("job", dry=True, **spec)
        assert taken.ok, (what, taken.message)


async def test_a_change_of_something_else_passes_and_of_a_guarded_field_does_not(
    world: OperatorWorld, tenant: Person, developer: Person
) -> None:
    # given an allocation with a template and a secret, from somebody who may
    conf = {**SECRET, "spark.executor.memory": "1g"}
    made = await developer.create("job", executor=TEMPLATE, sparkConf=conf)
    assert made.ok, made.message
    # then a tenant may change how many and how large
    for spec in (
        {"dynamicAllocation": {"maxExecutors": 7}},
        {"sparkConf": {"spark.executor.memory": "2g"}},
        {"sparkConf": {"spark.executor.memory": None}},
        {"executor": TEMPLATE},
    ):
        answer = await tenant.change("job", spec=spec)
        assert answer.ok, answer.message
    relabelled = await tenant.change("job", metadata={"labels": {"team": "a"}})
    assert relabelled.ok, relabelled.message
    # and not what they are, nor take away what somebody else has set
    for spec in (
        {"executor": {"podTemplate": {"spec": {"nodeName": "a"}}}},
        {"executor": {"deleteOnTermination": False}},
        {"executor": None},
        {"sparkConf": {"spark.kubernetes.executor.secrets.keys": "/other"}},
        {"sparkConf": {"spark.kubernetes.executor.secrets.keys": None}},
        {"sparkConf": None},
    ):
        answer = await tenant.change("job", spec=spec)
        assert answer.status == 403, spec
        assert NOT_ALLOWED in answer.message
        assert (await developer.change("job", spec=spec)).ok
        restored = await developer.change("job", spec={"executor": TEMPLATE, "sparkConf": conf})
        assert restored.ok, restored.message
    # nor take what it says to another driver
    moved = await tenant.change("job", spec={"driver": {"podName": "other"}})
    assert moved.status == 403
    assert "spec.driver of a SparkAllocation that says what executor pods are may" in moved.message
    assert (await developer.change("job", spec={"driver": {"podName": "other"}})).ok
    # and it may be deleted
    path = f"{world.allocations_path}/job"
    assert (await tenant.request("DELETE", path)).ok


async def test_entries_of_profiles_stay_where_one_of_them_has_a_template(
    tenant: Person, developer: Person
) -> None:
    first, second = {"match": {"id": 1}, "maxExecutors": 2}, {"match": {"id": 2}, **TEMPLATE}
    made = await developer.create("job", profiles=[first, second])
    assert made.ok, made.message
    larger = await tenant.change("job", spec={"profiles": [{**first, "maxExecutors": 9}, second]})
    assert larger.ok, larger.message
    for entries in (
        [second, first],
        [second],
        [first],
        [first, {"match": {"id": 3}, **TEMPLATE}],
        [{"match": {"id": 2}}, first, second],
        None,
    ):
        answer = await tenant.change("job", spec={"profiles": entries})
        assert answer.status == 403, entries
        assert "spec.profiles[].podTemplate may" in answer.message


async def test_a_template_of_half_a_megabyte_is_compared(developer: Person, tenant: Person) -> None:
    env = [{"name": f"V{number}", "value": "x" * 80} for number in range(5000)]
    large = {"podTemplate": {"spec": {"containers": [{"name": "c", "env": env}]}}}
    made = await developer.create("large", executor=large)
    assert made.ok, made.message
    answer = await tenant.change("large", spec={"dynamicAllocation": {"maxExecutors": 7}})
    assert answer.ok, answer.message
    env[-1]["value"] = "y"
    assert (await tenant.change("large", spec={"executor": large})).status == 403


# -- the operator -----------------------------------------------------------------------------------------------------


async def test_the_operator_s_account_writes_what_it_has_to(
    world: OperatorWorld, tenant: Person, developer: Person
) -> None:
    operator = Person(world, f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}")
    # the object of a labelled driver, whose annotations say what its executors are
    made = await operator.create("made", executor=TEMPLATE, sparkConf=SECRET)
    assert made.ok, made.message
    await _writes_status_and_finalizers(operator, "made")


async def test_status_and_finalizers_need_no_right_on_pods(
    world: OperatorWorld, tenant: Person, developer: Person
) -> None:
    assert (await developer.create("job", executor=TEMPLATE, sparkConf=SECRET)).ok
    keeper = Person(world, f"keeper-{secrets.token_hex(3)}")
    for resource in ("sparkallocations", "sparkallocations/status"):
        await keeper.may("get", "patch", resource=resource, api_group="sparkallocation.dev")
    await _writes_status_and_finalizers(keeper, "job")


async def _writes_status_and_finalizers(person: Person, name: str) -> None:
    for answer in (
        await person.change(name, metadata={"finalizers": ["sparkallocation.dev/executors"]}),
        await person.change(name, part="/status", status={"state": "Idle"}),
        await person.change(name, metadata={"finalizers": None}),
    ):
        assert answer.ok, answer.message


# -- annotations ------------------------------------------------------------------------------------------------------


async def test_who_may_change_pods_and_not_create_them_sets_sizes_by_annotation_only(
    world: OperatorWorld, tenant: Person, developer: Person
) -> None:
    patcher = await Person(world, f"patcher-{secrets.token_hex(3)}").may("get", "patch", resource="pods")  # fmt: skip
    await world.put_driver("driver")
    path = f"{world.pods_path}/driver"

    async def annotates(person: Person, key: str, value: str | None, **labels: str | None) -> str:
        metadata: dict[str, Any] = {"annotations": {key: value}, "labels": labels}
        answer = await person.patch(path, {"metadata": metadata})
        return "" if answer.ok else answer.message

    managed = {"sparkallocation.dev/managed": "true"}

    async def allowed() -> bool:
        return not await annotates(patcher, "note", "1", **managed)

    await eventually(allowed, "the person may change pods")
    # a managed pod: how many, and nothing else
    sizes = "spec.sparkallocation.dev/dynamicAllocation.maxExecutors"
    assert await annotates(patcher, sizes, "3") == ""
    for key in (
        "spec.sparkallocation.dev/executor",
        "spec.sparkallocation.dev/executor.podTemplate",
        SECRET_FIELD,
        "spec.sparkallocation.dev/novelty",
    ):
        refusal = await annotates(patcher, key, "{}")
        assert f"annotation {key} {NOT_ALLOWED}" in refusal
        assert ANNOTATIONS_POLICY in refusal
    # what somebody else has set stays, and does not stand in the way
    assert await annotates(developer, SECRET_FIELD, "{}") == ""
    assert await annotates(patcher, sizes, "4") == ""
    assert SECRET_FIELD in await annotates(patcher, SECRET_FIELD, None)
    # and the way round it: first without the label, then with it
    assert await annotates(patcher, "note", "2", **dict.fromkeys(managed)) == ""
    assert await annotates(patcher, SECRET_FIELD, "{a: b}") == "", "nobody reads it"
    assert SECRET_FIELD in await annotates(patcher, "note", "3", **managed)
    assert await annotates(developer, "note", "3", **managed) == ""


# -- the files --------------------------------------------------------------------------------------------------------


async def test_the_expressions_are_typed_without_a_warning(
    world: OperatorWorld, tenant: Person
) -> None:
    for name in (FIELDS_POLICY, ANNOTATIONS_POLICY):

        async def checked(name: str = name) -> dict[str, Any] | None:
            policy = await world.did("GET", f"{ADMISSION}/{name}")
            status = policy.get("status") or {}
            current = status.get("observedGeneration") == policy["metadata"]["generation"]
            return status if current and "typeChecking" in status else None

        status = await eventually(checked, f"{name} has been type-checked", within=60)
        assert status["typeChecking"] == {}


@pytest.mark.parametrize("file", [ROLES, POLICIES], ids=lambda file: file.name)
def test_applying_a_file_again_changes_nothing(cluster: Cluster, file: Path) -> None:
    cluster.kubectl("apply", "--validate=strict", "-f", str(file))
    again = cluster.kubectl("apply", "--validate=strict", "-f", str(file))
    assert {line.split()[-1] for line in again.splitlines()} == {"unchanged"}


# -- the sample -------------------------------------------------------------------------------------------------------


async def test_protected_labels_are_kept_from_executors_of_chosen_namespaces(
    cluster: Cluster, world: OperatorWorld
) -> None:
    sample = str(DEPLOY / "samples" / "protected-labels.yaml")
    container = {"name": "c", "image": "spark:test"}

    async def refusal(**labels: str) -> str:
        pod = {
            "metadata": {"name": "pod", "labels": labels},
            "spec": {"schedulerName": NOBODY, "containers": [container]},
        }
        answer = await world.request("POST", world.pods_path, pod, dryRun="All")
        return "" if answer.ok else answer.message

    cluster.kubectl("apply", "--validate=strict", "-f", sample)
    try:
        # given the policy, and a namespace that it is for
        chosen = {"metadata": {"labels": {"spark-drivers": "strangers"}}}
        await world.did("PATCH", f"/api/v1/namespaces/{world.namespace}", chosen)

        async def enforced() -> str:
            return await refusal(**{"spark-role": "executor", "app": "payments"})

        told = await eventually(enforced, "the sample is in force", within=60)
        # then an executor carries no label of a Service, and other pods and labels are left alone
        assert "an executor may not carry the label app" in told
        assert "spark.kubernetes.executor.label.*" in told
        assert await refusal(**{"spark-role": "executor", "team": "a"}) == ""
        assert await refusal(app="payments") == ""
        # and so are other namespaces
        nobody_s = {"metadata": {"labels": {"spark-drivers": None}}}
        await world.did("PATCH", f"/api/v1/namespaces/{world.namespace}", nobody_s)

        async def let_go() -> bool:
            return not await enforced()

        await eventually(let_go, "the namespace is no longer chosen", within=60)
    finally:
        cluster.kubectl("delete", "-f", sample)
