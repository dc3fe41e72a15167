"""The manifests: confined as Pod Security `restricted` demands, and the namespaced ones the same but for their scope.

That the rights in them are those that are used is shown on a real API server (tests/security/test_rights.py).
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from spark_allocation.api.group import MANAGED_LABEL

DEPLOY = Path(__file__).parents[2] / "deploy"
Object = dict[str, Any]


def documents(*files: Path) -> list[Object]:
    return [
        document
        for file in files
        for document in yaml.safe_load_all(file.read_text())
        if document is not None
    ]


CLUSTER = documents(*sorted(DEPLOY.glob("*.yaml")))
NAMESPACED = documents(*sorted((DEPLOY / "namespaced").glob("[0-9]*.yaml")))
FURTHER = documents(DEPLOY / "namespaced" / "further-namespace.yaml")


def one(found: list[Object], kind: str, name: str = "spark-allocation-operator") -> Object:
    (match,) = (each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return match


def granted(found: list[Object], resource: str) -> set[str]:
    return {
        verb
        for document in found
        for rule in document.get("rules", ())
        if resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("found", [CLUSTER, NAMESPACED], ids=["cluster", "namespaced"])
def test_pods_can_be_made_and_deleted_one_by_one_but_not_changed(found: list[Object]) -> None:
    assert granted(found, "pods") == {"get", "list", "watch", "create", "delete"}


@pytest.mark.parametrize("found", [CLUSTER, NAMESPACED, FURTHER], ids=["all", "one", "further"])
def test_no_right_that_would_be_everybody_s(found: list[Object]) -> None:
    rules = [rule for document in found for rule in document.get("rules", ())]
    assert rules
    for rule in rules:
        assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
        assert not {"secrets", "pods/exec", "pods/status", "serviceaccounts/token", "roles"} & set(
            rule["resources"]
        )
        assert not {"deletecollection", "escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_the_namespaced_installation_has_nothing_that_is_of_the_cluster() -> None:
    namespaced = {"Role", "RoleBinding", "ServiceAccount", "Deployment", "NetworkPolicy", "PodDisruptionBudget"}  # fmt: skip
    assert {document["kind"] for document in (*NAMESPACED, *FURTHER)} <= namespaced
    assert all(document["metadata"]["namespace"] for document in (*NAMESPACED, *FURTHER))


def test_a_role_grants_in_a_namespace_what_the_cluster_role_grants_in_all() -> None:
    of_the_cluster = (
        ["clustersparkallocationpolicies"],
        ["clustersparkallocationpolicies/status"],
        ["nodes"],
    )
    rules = [
        rule
        for rule in one(CLUSTER, "ClusterRole")["rules"]
        if rule["resources"] not in of_the_cluster
    ]
    assert one(NAMESPACED, "Role")["rules"] == rules
    assert one(FURTHER, "Role")["rules"] == rules
    leader = "spark-allocation-operator-leader"
    assert one(NAMESPACED, "Role", leader)["rules"] == one(CLUSTER, "Role", leader)["rules"]


def test_the_namespaced_deployment_differs_in_what_it_serves_alone() -> None:
    ours, theirs = copy.deepcopy(one(NAMESPACED, "Deployment")), one(CLUSTER, "Deployment")
    (container,) = ours["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["run", f"--namespace={ours['metadata']['namespace']}"]
    container["args"] = ["run"]
    ours["metadata"]["namespace"] = theirs["metadata"]["namespace"]
    assert ours == theirs


@pytest.mark.parametrize("found", [CLUSTER, NAMESPACED], ids=["cluster", "namespaced"])
def test_the_operator_is_confined(found: list[Object]) -> None:
    spec = one(found, "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"hostNetwork", "hostPID", "hostIPC", "volumes"} & spec.keys() == set()
    resources = container["resources"]
    assert resources["requests"].keys() == {"cpu", "memory"}
    assert resources["limits"].keys() == {"memory"}, "a throttled operator decides on old answers"


def test_the_operator_s_namespace_demands_it() -> None:
    labels = one(CLUSTER, "Namespace", "spark-allocation-system")["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"


@pytest.mark.parametrize("found", [CLUSTER, NAMESPACED], ids=["cluster", "namespaced"])
def test_a_network_policy_lets_out_what_is_asked_and_no_more(found: list[Object]) -> None:
    policy = one(found, "NetworkPolicy")["spec"]
    pod = one(found, "Deployment")["spec"]["template"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    to_anywhere = {
        port["port"] for rule in policy["egress"] if "to" not in rule for port in rule["ports"]
    }
    assert to_anywhere == {443, 6443}, "the API server"
    (probes,) = policy["ingress"]
    (container,) = pod["spec"]["containers"]
    assert {port["port"] for port in probes["ports"]} == {
        port["containerPort"] for port in container["ports"]
    }


@pytest.mark.parametrize("found", [CLUSTER, NAMESPACED], ids=["cluster", "namespaced"])
def test_a_network_policy_lets_the_operator_reach_every_driver(found: list[Object]) -> None:
    # given a driver that Spark has labelled, one that asks for a SparkAllocation, and that of the quick start
    (example,) = documents(DEPLOY.parent / "examples/driver-pod.yaml")
    drivers = [{"spark-role": "driver"}, {MANAGED_LABEL: "true"}, example["metadata"]["labels"]]
    (rule,) = (each for each in one(found, "NetworkPolicy")["spec"]["egress"] if "to" in each)
    wanted = [peer["podSelector"]["matchLabels"] for peer in rule["to"]]
    for labels in drivers:
        assert any(each.items() <= labels.items() for each in wanted)
    # and none that is an executor
    assert not any(each.items() <= {"spark-role": "executor"}.items() for each in wanted)


def test_the_sample_for_isolated_drivers_covers_that_of_the_quick_start() -> None:
    (example,) = documents(DEPLOY.parent / "examples/driver-pod.yaml")
    (sample,) = documents(DEPLOY / "samples/drivers-network-policy.yaml")
    wanted = sample["spec"]["podSelector"]["matchLabels"]
    assert wanted.items() <= example["metadata"]["labels"].items()
    (operator, _) = sample["spec"]["ingress"]
    pod = one(CLUSTER, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert operator["from"][0]["podSelector"]["matchLabels"].items() <= pod.items()
