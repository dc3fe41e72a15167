"""explain, doctor, top, release, plan: what people read, what programs read, and how each of them ends."""

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from typer.testing import CliRunner, Result

from spark_allocation.api.admission import admission_policies
from spark_allocation.api.crd import cluster_policy_crd, policy_crd, sparkallocation_crd
from spark_allocation.api.group import FINALIZER, finalizer_of
from spark_allocation.cli import connection, doctor, release
from spark_allocation.cli.app import app, kubectl_complete_salloc, main
from spark_allocation.controller.dry_run import read_properties
from spark_allocation.controller.operator_rights import (
    IN_ALL_NAMESPACES,
    IN_EACH_NAMESPACE,
    IN_ITS_OWN_NAMESPACE,
)
from spark_allocation.core.passive_driver import MIGRATION_SETTINGS, PASSIVE_SETTINGS
from spark_allocation.kube.cluster_reading import Right
from spark_allocation.testing.api_server import FakeApiServer

GROUP = "/apis/sparkallocation.dev/v1alpha1"
JOBS = f"{GROUP}/namespaces/jobs"
PODS = "/api/v1/namespaces/jobs/pods"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/spark-allocation-system/leases/spark-allocation-operator"
PASSIVE = {setting.key: setting.value for setting in PASSIVE_SETTINGS}
COMMANDS = ["explain", "doctor", "top", "release", "plan", "plot"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeApiServer:
    fake = FakeApiServer()

    async def opened(**_: Any) -> FakeApiServer:
        return fake

    monkeypatch.setattr(connection, "open_kubernetes_api", opened)
    return fake


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """The console script says for its whole process where log lines go."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def run(*arguments: str, answer: str | None = None) -> Result:
    environment = {"KUBECONFIG": "/nowhere", "COLUMNS": "200", "KUBERNETES_SERVICE_HOST": ""}
    return CliRunner().invoke(app, list(arguments), env=environment, input=answer)


def salloc(server: FakeApiServer, name: str = "job", **spec: Any) -> dict[str, Any]:
    return server.put(
        f"{JOBS}/sparkallocations/{name}",
        kind="SparkAllocation",
        metadata={"creationTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER, "other"]},
        spec={"driver": {"podName": f"{name}-driver"}, **spec},
        status={
            "state": "Stalled",
            "message": "2 of 8 executors run",
            "driverPod": f"{name}-driver",
            "driverPodUid": f"uid-{name}-driver",
            "applicationId": "spark-1",
            "sparkVersion": "4.1.4",
            "executors": 2,
            "target": 8,
            "pending": 6,
            "profiles": [{"id": 0, "desired": 40, "granted": 12, "grantReason": "wanted 40, budget team-a left 12, pending limit 8 of budget team-a → 8", "target": 8, "running": 2, "pending": 6, "heldByShuffle": 1, "idle": 1, "reason": "Backlog/PendingLimit"}],
            "conditions": [
                {"type": "Stalled", "status": "True", "reason": "Unschedulable", "message": "no node has room"},
                {"type": "DriverReachable", "status": "True", "reason": "Answers", "message": "answers"},
            ],
            "decisions": [{"time": "2026-01-01T00:00:09Z", "profile": 0, "target": 8, "reason": "Backlog", "message": "Requesting 4 new executors because tasks are backlogged"}],
        },
    )  # fmt: skip


def driver(
    server: FakeApiServer, name: str = "job-driver", properties: Mapping[str, str] | None = None
) -> None:
    server.put(
        f"{PODS}/{name}",
        metadata={"labels": {"spark-role": "driver"}},
        spec={"containers": [{"ports": [{"name": "spark-ui", "containerPort": 4050}]}]},
        status={"phase": "Running"},
    )
    proxy = f"/api/v1/namespaces/jobs/pods/http:{name}:4050/proxy/api/v1/applications"
    attempt = {"appSparkVersion": "4.1.4", "sparkUser": "alice"}
    server.pages[proxy] = [{"id": "spark-1", "attempts": [attempt]}]
    chosen = {**PASSIVE, "spark.cleaner.periodicGC.interval": "5min"} | dict(properties or {})
    server.pages[f"{proxy}/spark-1/environment"] = {"sparkProperties": list(chosen.items())}


def cluster_policy(server: FakeApiServer, name: str = "prod", **spec: Any) -> None:
    server.put(f"{GROUP}/clustersparkallocationpolicies/{name}", spec=spec)


# -- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_an_example_and_names_the_exit_codes(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    assert f"salloc {command}" in words or f"spark-allocation {command}" in words
    assert "Exit codes: 0" in words


@pytest.mark.parametrize(
    "arguments",
    [("explain", "job"), ("doctor",), ("top", "--once"), ("release", "--all", "--yes")],
)
def test_without_an_api_server_they_end_with_4_and_a_sentence(
    server: FakeApiServer, arguments: tuple[str, ...]
) -> None:
    server.lost = True
    result = run(*arguments)
    assert result.exit_code == 4
    assert "does not answer" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [("explain", "job"), ("doctor",), ("top",), ("release", "--all")])  # fmt: skip
def test_without_a_kubeconfig_they_end_with_2(arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "--kubeconfig", "/not/there")
    assert result.exit_code == 2
    assert "/not/there" in result.output


@pytest.mark.parametrize("contexts", ["7", "x", "{a: b}", "[7]", "[{name: a, context: 7}]"])
def test_a_kubeconfig_that_makes_no_sense_ends_with_2_and_a_sentence(
    tmp_path: Path, contexts: str
) -> None:
    file = tmp_path / "config"
    file.write_text(f"apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: {contexts}\n")
    result = run("top", "--kubeconfig", str(file))
    assert isinstance(result.exception, SystemExit)
    assert (result.exit_code, str(file) in result.output) == (2, True)


def test_a_kubeconfig_that_is_not_there_is_named_with_the_remedy() -> None:
    result = run("top")
    assert result.exit_code == 2
    assert "there is no kubeconfig /nowhere: name one with --kubeconfig or KUBECONFIG" in result.output  # fmt: skip


def test_the_namespace_is_that_of_the_context(tmp_path: Path) -> None:
    config = tmp_path / "config"
    contexts = [
        {"name": "a", "context": {"namespace": "mine"}},
        {"name": "b", "context": {"cluster": "x"}},
    ]
    config.write_text(yaml.safe_dump({"current-context": "a", "contexts": contexts}))
    assert connection.namespace_of(None, config, None) == "mine"
    assert connection.namespace_of(None, config, "b") == "default"
    assert connection.namespace_of("given", config, None) == "given"
    assert connection.namespace_of(None, tmp_path / "none", None) == "default"


def test_kubectl_completes_commands_and_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def completed(*words: str) -> list[str]:
        monkeypatch.setattr("sys.argv", ["kubectl_complete-salloc", *words])
        for name in ("_KUBECTL_SALLOC_COMPLETE", "COMP_WORDS", "COMP_CWORD"):
            monkeypatch.setenv(name, "")
        kubectl_complete_salloc()
        return capsys.readouterr().out.split()

    assert completed("ex") == ["explain", ":4"]
    assert completed("explain", "job", "--out") == ["--output", ":4"]
    assert completed("top", "-o", "") == ["table", "wide", "json", "yaml", ":4"]


# -- explain ----------------------------------------------------------------------------------------------------------


def test_explain_shows_who_set_what_and_why_it_is_otherwise(server: FakeApiServer) -> None:
    salloc(server, dynamicAllocation={"maxExecutors": 100})
    driver(server)
    cluster_policy(
        server,
        limits={"dynamicAllocation": {"maxExecutors": {"max": 8}}},
        userDefaults={"___alice___.spark.dynamicAllocation.minExecutors": "2"},
    )
    server.put(f"{JOBS}/sparkallocationpolicies/team", spec={"defaults": {"dynamicAllocation": {"executorIdleTimeout": "90s"}}})  # fmt: skip
    result = run("explain", "job", "-n", "jobs")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert "SparkAllocation jobs/job: Stalled, 2 of 8 executors run" in lines
    assert "dynamicAllocation.maxExecutors 8 SparkAllocation 100 (SparkAllocation) → 8, upper limit of cluster policy prod" in lines  # fmt: skip
    assert "dynamicAllocation.minExecutors 2 cluster policy prod for user alice" in lines
    assert "dynamicAllocation.executorIdleTimeout 90s namespace policy team" in lines
    assert "0 40 12 8 2 6 1 1 0 Backlog/PendingLimit" in lines
    assert (
        "profile 0: wanted 40, budget team-a left 12, pending limit 8 of budget team-a → 8" in lines
    )
    assert "Stalled=True (Unschedulable): no node has room" in result.output
    assert "Requesting 4 new executors because tasks are backlogged" in result.output
    assert "Not known" not in result.output
    assert "batchSize" not in result.output
    assert "allocation.batchSize" in run("explain", "job", "-n", "jobs", "-o", "wide").output


@pytest.mark.parametrize(("output", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_explain_for_programs(server: FakeApiServer, output: str, parse: Any) -> None:
    salloc(server, dynamicAllocation={"maxExecutors": 100})
    driver(server, properties={"spark.kubernetes.allocation.batch.size": "7"})
    document = parse(run("explain", "job", "-n", "jobs", "-o", output).output)
    settings = {each["setting"]: each for each in document["settings"]}
    assert settings["allocation.batchSize"]["value"] == "7"
    assert settings["allocation.batchSize"]["setBy"] == "driver"
    assert settings["dynamicAllocation.maxExecutors"]["sparkKey"] == "spark.dynamicAllocation.maxExecutors"  # fmt: skip
    assert document["unknown"] == []


def test_explain_says_what_it_could_not_read(server: FakeApiServer) -> None:
    salloc(server)
    server.forbidden |= {f"{GROUP}/clustersparkallocationpolicies", PODS}
    result = run("explain", "job", "-n", "jobs")
    assert result.exit_code == 0
    assert "clustersparkallocationpolicies may not be read" in result.output
    assert "the driver's own configuration: pod job-driver is not there, or may not be read" in result.output  # fmt: skip


def test_explain_of_what_is_not_there_ends_with_1(server: FakeApiServer) -> None:
    result = run("explain", "job", "-n", "jobs")
    assert result.exit_code == 1
    assert "no SparkAllocation job in namespace jobs" in result.output


# -- doctor -----------------------------------------------------------------------------------------------------------


def admission_path(policy: dict[str, Any]) -> str:
    plural = "validatingadmissionpolic" + ("ybindings" if "Binding" in policy["kind"] else "ies")
    return f"/apis/admissionregistration.k8s.io/v1/{plural}/{policy['metadata']['name']}"


@pytest.fixture
def healthy(server: FakeApiServer) -> FakeApiServer:
    """An installation and an allocation of which there is nothing to say."""
    for definition in (sparkallocation_crd(), policy_crd(), cluster_policy_crd()):
        name = definition["metadata"]["name"]
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        server.put(path, spec=definition["spec"])
    for policy in admission_policies():
        server.put(admission_path(policy), spec=policy["spec"])
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    server.put(LEASE, spec={"holderIdentity": "operator-0", "renewTime": now})
    body = salloc(server, dynamicAllocation={"minExecutors": 1, "maxExecutors": 9})
    body["status"]["conditions"] = [{"type": "DriverReachable", "status": "True", "reason": "Answers", "message": "answers"}]  # fmt: skip
    driver(server)
    return server


def findings(*options: str) -> list[dict[str, str]]:
    found = json.loads(run("doctor", "-n", "jobs", "-o", "json", *options).stdout)
    assert isinstance(found, list)
    return found


def bad(*options: str) -> dict[str, str]:
    """What is not well, by check."""
    return {
        each["check"]: f"{each['verdict']}: {each['message']}"
        for each in findings(*options)
        if each["verdict"] != "ok"
    }


def test_doctor_finds_nothing_where_nothing_is(healthy: FakeApiServer) -> None:
    result = run("doctor", "-n", "jobs")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("All is well (")
    assert "within a few seconds" in run("doctor", "-n", "jobs", "-o", "wide").output


def test_doctor_asks_for_the_operator_s_rights(healthy: FakeApiServer) -> None:
    healthy.denied |= {("", "pods", "delete"), ("sparkallocation.dev", "sparkallocations/status", "patch")}  # fmt: skip
    result = run("doctor", "-n", "jobs", "--service-account", "operator")
    assert result.exit_code == 1
    assert "may not delete pods in namespace jobs" in result.output
    assert "may not patch sparkallocations/status.sparkallocation.dev in namespace jobs" in result.output  # fmt: skip
    user = "system:serviceaccount:spark-allocation-system:operator"
    assert {review["spec"]["user"] for review in healthy.reviews} == {user}
    assert run("doctor", "-n", "jobs").exit_code == 0, "a person need not have them"


def test_the_rights_are_those_that_the_manifests_grant() -> None:
    files = (Path(__file__).parents[2] / "deploy/10-rbac.yaml").read_text()
    granted = {
        (document["kind"], Right(group, resource, verb))
        for document in yaml.safe_load_all(files)
        if document
        for rule in document.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    everywhere = {("ClusterRole", right) for right in (*IN_EACH_NAMESPACE, *IN_ALL_NAMESPACES)}
    assert granted == everywhere | {("Role", right) for right in IN_ITS_OWN_NAMESPACE}


INSTALLATION = ("doctor", "--installation", "-n", "jobs", "-n", "others", "-o", "wide")


def test_an_installation_is_judged_without_what_tenants_have_written(
    healthy: FakeApiServer,
) -> None:
    # given a driver that does not answer, and a spec that makes no sense
    job = healthy.objects[f"{JOBS}/sparkallocations/job"]
    job["status"]["conditions"] = [{"type": "DriverReachable", "status": "False", "reason": "ConnectionRefused", "message": "no"}]  # fmt: skip
    job["spec"]["dynamicAllocation"] = {"minExecutors": 9, "maxExecutors": 1}
    # then somebody who asks for everything is told, and `helm test` is content
    assert run("doctor", "-n", "jobs").exit_code == 1
    result = run(*INSTALLATION)
    assert result.exit_code == 0, result.output
    assert "jobs/job" not in result.output
    assert {review["spec"]["resourceAttributes"].get("namespace") for review in healthy.reviews} >= {"jobs", "others"}  # fmt: skip


@pytest.mark.parametrize("lacking", ["a right", "a leader", "the kind"])
def test_an_installation_that_cannot_work_fails(healthy: FakeApiServer, lacking: str) -> None:
    if lacking == "a right":
        healthy.denied.add(("", "pods", "create"))
    elif lacking == "a leader":
        del healthy.objects[LEASE]
    else:
        healthy.absent.add(GROUP)
    result = run(*INSTALLATION)
    assert result.exit_code == 1
    assert result.output.count("FAIL ") == (2 if lacking == "a right" else 1), result.output


def test_an_installation_may_do_without_nodes(healthy: FakeApiServer) -> None:
    healthy.denied |= {("", "nodes", "list"), ("", "nodes", "watch")}
    result = run("doctor", "--installation", "-A")
    assert (result.exit_code, "may not watch nodes" in result.output) == (0, True)


def test_the_operator_s_account_need_not_read_definitions(healthy: FakeApiServer) -> None:
    healthy.forbidden |= {"/apis/apiextensions.k8s.io", "/apis/admissionregistration.k8s.io"}
    assert run(*INSTALLATION).exit_code == 0


@pytest.mark.parametrize(
    ("properties", "check", "words"),
    [
        ({"spark.decommission.enabled": "false"}, "decommission", "warning: spark.decommission.enabled is off"),
        ({"spark.cleaner.periodicGC.interval": "30min"}, "shuffle-tracking", "warning: spark.cleaner.periodicGC.interval is 1800 s"),
        ({"spark.cleaner.periodicGC.interval": "often"}, "driver-configuration", "failure: "),
    ],
)  # fmt: skip
def test_doctor_looks_at_the_driver(
    healthy: FakeApiServer, properties: dict[str, str], check: str, words: str
) -> None:
    driver(healthy, properties=properties)
    assert words in bad()[check]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"minExecutors": 9, "maxExecutors": 9}, "warning: initialExecutors 9 is maxExecutors 9"),
        ({"minExecutors": 3, "initialExecutors": 1, "maxExecutors": 9}, "warning: initialExecutors 1 is below minExecutors 3"),
    ],
)  # fmt: skip
def test_doctor_knows_the_rules_of_sizing(
    healthy: FakeApiServer, spec: dict[str, int], words: str
) -> None:
    healthy.objects[f"{JOBS}/sparkallocations/job"]["spec"]["dynamicAllocation"] = spec
    assert words in bad()["sizing"]


def test_doctor_warns_of_migration_that_the_driver_does_not_do(healthy: FakeApiServer) -> None:
    job = healthy.objects[f"{JOBS}/sparkallocations/job"]
    job["spec"]["decommission"] = {"migrate": True}
    assert "failure: decommission.migrate is true, but in the driver" in bad()["migration"]
    driver(healthy, properties={each.key: each.value for each in MIGRATION_SETTINGS})
    assert "migration" not in bad()


def test_doctor_finds_a_passive_driver_that_nobody_serves(healthy: FakeApiServer) -> None:
    driver(healthy, "lonely")
    driver(healthy, "ordinary", {"spark.dynamicAllocation.enabled": "false"})
    (found,) = (each for each in findings() if each["check"] == "unserved-drivers")
    assert found["about"] == "jobs/lonely"
    assert "nobody allocates" in found["message"]


def test_doctor_compares_clocks_crds_and_the_lease(healthy: FakeApiServer) -> None:
    healthy.skew_seconds = -60
    assert re.search(r"(59|60) s before the API server's", bad()["clock"])
    healthy.skew_seconds = 60
    assert re.search(r"(59|60) s behind the API server's", bad()["clock"])
    healthy.skew_seconds = 0
    name = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sparkallocations.sparkallocation.dev"
    schema = healthy.objects[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    mode = schema["properties"]["spec"]["properties"].pop("mode")
    assert "failure: is older than this command: spec.mode missing" in bad()["crd"]
    schema["properties"]["spec"]["properties"] |= {"mode": mode, "future": {"type": "string"}}
    assert "warning: is newer than this command" in bad()["crd"]
    healthy.objects[LEASE]["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"
    assert "failure: operator-0 led until" in bad()["operator"]
    del healthy.objects[LEASE]
    assert "unknown: there is no such Lease" in bad()["operator"]


@pytest.mark.parametrize("number", range(len(admission_policies())))
def test_doctor_misses_each_admission_policy_and_its_binding(
    healthy: FakeApiServer, number: int
) -> None:
    del healthy.objects[admission_path(admission_policies()[number])]
    (told,) = (each for each in findings() if each["check"] == "admission" and each["verdict"] != "ok")  # fmt: skip
    assert told["verdict"] == "warning"
    assert "whoever may write SparkAllocations" in told["message"]
    assert "deploy/16-admission-policies.yaml" in told["remedy"]


def test_doctor_tells_admission_policies_of_another_version(healthy: FakeApiServer) -> None:
    path = admission_path(admission_policies()[0])
    healthy.objects[path]["spec"]["validations"][0]["expression"] = "true"
    assert bad()["admission"] == "warning: is not the one of this version"


def test_doctor_may_not_be_allowed_to_look_at_admission(healthy: FakeApiServer) -> None:
    healthy.forbidden.add("/apis/admissionregistration")
    assert bad()["admission"] == "unknown: may not be read"


def test_what_doctor_may_not_look_at_is_a_finding(healthy: FakeApiServer) -> None:
    healthy.forbidden |= {"/apis/apiextensions", "/apis/authorization", "/api/v1/"}
    unknown = [each["check"] for each in findings() if each["verdict"] == "unknown"]
    assert {"crd", "rights", "driver-configuration", "unserved-drivers"} <= set(unknown)


def test_doctor_finds_policies_that_are_for_nobody(healthy: FakeApiServer) -> None:
    cluster_policy(healthy, "ours")
    cluster_policy(healthy, "theirs", selector={"namespaces": ["another"]})
    path = f"{JOBS}/sparkallocationpolicies/lost"
    healthy.put(path, spec={"selector": {"driverLabels": {"kind": "none"}}})
    assert bad()["policies"] == (
        "warning: this namespace policy is for no SparkAllocation that there is now"
    ), "of other namespaces nothing is known"
    found = json.loads(run("doctor", "-A", "-o", "json").stdout)
    unused = [each["about"] for each in found if each["check"] == "policies"]
    assert unused == ["theirs", "jobs/lost"]


def test_doctor_repeats_what_the_operator_says(healthy: FakeApiServer) -> None:
    conditions = [{"type": "DriverPassive", "status": "False", "reason": "AllocatesItself", "message": "the driver allocates for itself"}]  # fmt: skip
    healthy.objects[f"{JOBS}/sparkallocations/job"]["status"]["conditions"] = conditions
    assert bad()["driver-passive"] == "failure: the driver allocates for itself"
    healthy.objects[f"{JOBS}/sparkallocations/job"]["status"]["conditions"] = []
    assert "the operator has said nothing of it" in bad()["operator"]


def test_each_verdict_has_a_sign() -> None:
    assert doctor._SIGNS.keys() == set(doctor.Verdict)


# -- top --------------------------------------------------------------------------------------------------------------


def test_top_shows_the_largest_first(server: FakeApiServer) -> None:
    salloc(server, "small")["status"]["executors"] = 1
    salloc(server, "large")["status"]["executors"] = 99
    result = run("top", "-n", "jobs")
    rows = [line.split() for line in result.output.splitlines()]
    assert rows[0][:4] == ["NAMESPACE", "NAME", "STATE", "DESIRED"]
    assert [row[1] for row in rows[1:]] == ["large", "small"]
    assert rows[1][2:11] == ["Stalled", "40", "8", "99", "6", "1", "1", "0", "0"]
    assert "spark-1" in run("top", "-A", "-o", "wide").output
    assert [each["name"] for each in json.loads(run("top", "-A", "-o", "json").output)] == ["small", "large"]  # fmt: skip


def test_top_of_nothing_and_of_what_may_not_be_listed(server: FakeApiServer) -> None:
    assert run("top", "-n", "jobs").output == "No SparkAllocations.\n"
    server.forbidden.add(GROUP)
    assert run("top", "-n", "jobs").exit_code == 1


# -- release ----------------------------------------------------------------------------------------------------------


def finalizers(server: FakeApiServer, name: str = "job") -> list[str] | None:
    found: list[str] | None = server.objects[f"{JOBS}/sparkallocations/{name}"]["metadata"]["finalizers"]  # fmt: skip
    return found


RECOMMENDATION = {
    "since": "2026-01-01T08:00:00Z",
    "sparkExecutors": 18,
    "ours": 12,
    "executorHours": {"spark": 9.1, "ours": 5.7, "saved": 3.4},
}


def test_top_has_a_column_of_what_would_be_saved_while_somebody_is_advised(
    server: FakeApiServer,
) -> None:
    salloc(server, "plain")
    assert "SAVED" not in run("top", "-n", "jobs").output
    salloc(server, "advised")["status"]["recommendation"] = RECOMMENDATION
    rows = [line.split() for line in run("top", "-n", "jobs").output.splitlines()]
    assert rows[0][-1] == "SAVED"
    assert next(row for row in rows if "advised" in row)[-2:] == ["3.40h", "37%"]


def test_explain_puts_both_counts_beside_each_other(server: FakeApiServer) -> None:
    salloc(server, mode="Recommend")["status"]["recommendation"] = RECOMMENDATION
    lines = [line.split() for line in run("explain", "job", "-n", "jobs").output.splitlines()]
    assert ["SINCE", "2026-01-01T08:00:00Z", "SPARK", "OURS", "SAVED"] in lines
    assert ["executors", "now", "18", "12", "6", "(33%)"] in lines
    assert ["executor-hours", "9.1", "5.7", "3.4", "(37%)"] in lines


def test_explain_shows_what_streams_want_and_what_came_of_it(server: FakeApiServer) -> None:
    status = salloc(server, streaming={"targetDuration": "10s"})["status"]
    status["streaming"] = [
        {
            "query": "orders",
            "utilization": 0.97,
            "batchSeconds": 14.2,
            "intervalSeconds": 10.0,
            "inputRate": 48_000.0,
            "desired": 9,
            "reason": "Rate",
        }
    ]
    status["streamingDecisions"] = [
        {"profile": 0, "wanted": 9, "executors": 8, "reason": "StepLimited", "query": "orders", "policy": "Rate"}
    ]  # fmt: skip
    output = run("explain", "job", "-n", "jobs").output
    lines = [line.split() for line in output.splitlines()]
    assert ["orders", "97%", "14.2s", "10s", "48,000", "-", "-", "9", "Rate"] in lines
    assert "profile 0: 9 wanted, by Rate of query orders; 8 executors (StepLimited)" in output
    assert ["streaming.enabled", "true", "SparkAllocation"] in lines
    assert ["streaming.targetDuration", "10s", "SparkAllocation"] in lines


def test_explain_shows_what_is_otherwise_in_a_resource_profile(server: FakeApiServer) -> None:
    salloc(
        server,
        dynamicAllocation={"maxExecutors": 40},
        profiles=[
            {"match": {"id": 0}, "maxExecutors": 4, "executorIdleTimeout": "5s"},
            {"match": {"resources": {"custom": {"gpu": 1}}}, "maxExecutors": 1},
        ],
    )
    driver(server)
    output = run("explain", "job", "-n", "jobs").output
    assert "Resource profile 0, by profiles[0] (id 0):" in output
    assert "SparkAllocation profiles[0]" in output
    assert "profiles[1] (gpu 1) is for none so far" in output


def test_release_asks_and_takes_no_for_an_answer(server: FakeApiServer) -> None:
    salloc(server)
    assert run("release", "--all", "-n", "jobs", answer="n\n").exit_code == 1
    assert finalizers(server) == [FINALIZER, "other"]
    assert run("release", "--all", "-n", "jobs", answer="y\n").exit_code == 0
    assert finalizers(server) == ["other"], "only our own"


def test_release_of_some(server: FakeApiServer) -> None:
    salloc(server, "a")
    salloc(server, "b")
    assert run("release", "a", "-n", "jobs", "--yes").exit_code == 0
    assert finalizers(server, "b") == [FINALIZER, "other"]
    assert run("release", "a", "-n", "jobs", "--yes").output == "No SparkAllocation has the operator's finalizer.\n"  # fmt: skip
    assert run("release", "c", "-n", "jobs", "--yes").exit_code == 1


def test_release_of_one_installation(server: FakeApiServer) -> None:
    salloc(server)
    document = server.objects[f"{JOBS}/sparkallocations/job"]
    document["metadata"]["finalizers"] = [finalizer_of("blue"), FINALIZER, "other"]
    assert run("release", "job", "-n", "jobs", "--yes", "--managed-by", "blue").exit_code == 0
    assert finalizers(server) == [FINALIZER, "other"]
    document["metadata"]["finalizers"] = [finalizer_of("blue"), FINALIZER, "other"]
    assert run("release", "job", "-n", "jobs", "--yes", "--managed-by", "").exit_code == 0
    assert finalizers(server) == [finalizer_of("blue"), "other"]
    assert run("release", "job", "-n", "jobs", "--yes").exit_code == 0
    assert finalizers(server) == ["other"]


@pytest.mark.parametrize("arguments", [(), ("a", "--all"), ("a", "-A")])
def test_release_wants_names_or_all(arguments: tuple[str, ...]) -> None:
    assert run("release", *arguments).exit_code == 2


OPERATOR_SCALE = "/apis/apps/v1/namespaces/system/deployments/operator/scale"
OPERATOR_POD = "/api/v1/namespaces/system/pods/operator-1"


@pytest.fixture
def running_operator(server: FakeApiServer) -> FakeApiServer:
    """A SparkAllocation, and an operator whose pod outlives its Deployment's scale."""
    salloc(server)
    server.put(OPERATOR_SCALE, spec={"replicas": 2}, status={"selector": "app=operator"})
    server.put(OPERATOR_POD, metadata={"labels": {"app": "operator"}})
    return server


def release_of_all() -> Result:
    return run("release", "--all", "-n", "jobs", "--yes", "--scale-to-zero=system/operator")


def test_nothing_is_released_while_an_operator_that_would_undo_it_runs(
    running_operator: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "PODS_GONE_SECONDS", 0.0)
    result = release_of_all()
    assert (result.exit_code, "operator-1; nothing is released" in result.output) == (1, True)
    assert running_operator.objects[OPERATOR_SCALE]["spec"] == {"replicas": 0}
    assert finalizers(running_operator) == [FINALIZER, "other"]
    # and what may not be looked at counts as running
    running_operator.forbidden.add("/api/v1/namespaces/system/pods")
    assert "nobody knows whether the operator has ended" in release_of_all().output
    assert finalizers(running_operator) == [FINALIZER, "other"]


def test_release_follows_the_end_of_the_operator(running_operator: FakeApiServer) -> None:
    del running_operator.objects[OPERATOR_POD]
    assert release_of_all().exit_code == 0
    assert finalizers(running_operator) == ["other"]


def test_release_without_an_operator_to_stop(server: FakeApiServer) -> None:
    salloc(server)
    assert release_of_all().exit_code == 0
    assert finalizers(server) == ["other"]


def test_release_ends_where_the_operator_may_not_be_stopped(
    running_operator: FakeApiServer,
) -> None:
    running_operator.forbidden.add("/apis/apps")
    result = release_of_all()
    assert (result.exit_code, "cannot be scaled" in result.output) == (1, True)
    assert finalizers(running_operator) == [FINALIZER, "other"]


def test_where_the_kind_is_gone_nothing_is_left_to_release(server: FakeApiServer) -> None:
    # given CRDs that were deleted, and with them every SparkAllocation
    server.absent.add(GROUP)
    # then the hook of an uninstallation, which releases all, does not fail
    result = run("release", "--all", "-A", "--yes")
    assert (result.exit_code, "No SparkAllocation has" in result.output) == (0, True)
    # but whoever named one is told that it is not there
    assert run("release", "job", "-n", "jobs", "--yes").exit_code == 1


def test_what_may_not_be_listed_may_well_be_there(server: FakeApiServer) -> None:
    server.forbidden.add(f"{GROUP}/sparkallocations")
    result = run("release", "--all", "-A", "--yes")
    assert (result.exit_code, "may not be listed" in result.output) == (1, True)


def test_release_in_several_namespaces(server: FakeApiServer) -> None:
    salloc(server)
    theirs = server.put(
        f"{GROUP}/namespaces/others/sparkallocations/job", metadata={"finalizers": [FINALIZER]}
    )
    assert run("release", "--all", "-n", "jobs", "-n", "others", "--yes").exit_code == 0
    assert (finalizers(server), theirs["metadata"]["finalizers"]) == (["other"], None)
    assert run("release", "job", "-n", "jobs", "-n", "others", "--yes").exit_code == 2
    assert run("release", "--all", "--yes", "--scale-to-zero=operator").exit_code == 2


# -- plan -------------------------------------------------------------------------------------------------------------

JOB = {
    "kind": "SparkAllocation",
    "metadata": {"name": "job", "namespace": "team-a"},
    "spec": {"driver": {"podName": "d"}, "dynamicAllocation": {"maxExecutors": 100}},
}
LIMIT = {
    "kind": "ClusterSparkAllocationPolicy",
    "metadata": {"name": "prod"},
    "spec": {
        "selector": {"namespaces": ["team-*"]},
        "limits": {"dynamicAllocation": {"maxExecutors": {"max": 6}}},
    },
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump_all([JOB, None, LIMIT]))
    return tmp_path


def planned(files: Path, *options: str) -> dict[str, Any]:
    result = run("plan", "-f", str(files), "-o", "json", *options)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.output)
    return dict(found)


def test_plan_rises_as_spark_does_and_ends_at_the_limit(files: Path) -> None:
    found = planned(files, "--tasks", "400", "--start-seconds", "0")
    assert [each["target"] for each in found["moments"]] == [0, 1, 3, 6]
    assert found["moments"][-1]["pods"] == 6
    assert "CappedByMax" in found["moments"][-1]["why"]
    assert "upper limit of cluster policy prod" in found["settings"]["dynamicAllocation.maxExecutors"]["changes"][0]  # fmt: skip


def test_plan_needs_as_many_executors_as_tasks_have_places(files: Path) -> None:
    found = planned(files, "--tasks", "10", "--conf", "spark.executor.cores=4", "--start-seconds", "0")  # fmt: skip
    assert found["moments"][-1]["pods"] == 3
    assert planned(files, "--tasks", "0")["moments"][-1]["pods"] == 0


def test_plan_writes_a_table(files: Path) -> None:
    result = run("plan", "-f", str(files), "--tasks", "40")
    assert "SECOND   TARGET   ASKED   PODS   RUNNING   WHY" in result.output


def under_a_budget(folder: Path, **caps: Any) -> Path:
    """Two jobs of team-a and one of team-b; the budget is for team-a."""
    budget = {"name": "pool", "selector": {"namespaces": ["team-a"]}, **caps}
    policy = {
        "kind": "ClusterSparkAllocationPolicy",
        "metadata": {"name": "prod"},
        "spec": {"budgets": [budget]},
    }
    jobs = [
        {**JOB, "metadata": {"name": name, "namespace": namespace}}
        for name, namespace in (("one", "team-a"), ("two", "team-a"), ("free", "team-b"))
    ]
    (file := folder / "budget.yaml").write_text(yaml.safe_dump_all([policy, *jobs]))
    return file


def test_plan_divides_the_budgets_of_its_files_among_the_jobs_of_its_files(tmp_path: Path) -> None:
    file = under_a_budget(tmp_path, executors=12)
    result = run("plan", "-f", str(file), "--tasks", "40", "-o", "json")
    one, two, free = json.loads(result.output)
    assert [each["moments"][-1]["pods"] for each in (one, two, free)] == [6, 6, 40]
    assert one["moments"][-1]["granted"] == 6
    assert one["grantReason"] == "wanted 40, budget pool left 6 → 6"
    (note,) = one["notes"]
    assert note == (
        "budget pool of policy prod is divided among 2 of these SparkAllocations; "
        "whoever else it covers is not known here, and leaves less"
    )
    assert (free["grantReason"], free["notes"], free["moments"][-1]["granted"]) == ("", [], None)


def test_plan_counts_cores_as_the_pods_would_request_them(tmp_path: Path) -> None:
    file = under_a_budget(tmp_path, cores="10")
    words = ("plan", "-f", str(file), "--conf", "spark.executor.cores=2", "--tasks", "40")
    one, *_ = json.loads(run(*words, "-o", "json").output)
    assert one["moments"][-1]["granted"] in {2, 3}, "five executors of two cores for both"
    # what pods would be cannot always be told from files
    one, *_ = json.loads(
        run(*words, "--conf", "spark.kubernetes.executor.podTemplateFile=/in/the/driver.yaml", "-o", "json").output
    )  # fmt: skip
    assert one["moments"][-1]["granted"] == 5
    assert "counts as one core and 1408 MiB" in one["notes"][1]
    assert "podTemplateFile" in one["notes"][1]


def test_plan_tells_grants_in_a_column_and_in_a_sentence(tmp_path: Path) -> None:
    result = run("plan", "-f", str(under_a_budget(tmp_path, executors=12)), "--tasks", "40")
    first, _, free = result.output.split("SparkAllocation team-")[1:]
    assert "SECOND   TARGET   GRANTED   ASKED" in first
    assert "Budgets: wanted 40, budget pool left 6 → 6" in first
    assert "Note: budget pool of policy prod is divided" in first
    assert "GRANTED" not in free


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("kind: ConfigMap", 1, "no SparkAllocation"),
        ("{", 2, "x.yaml: cannot be read as YAML: while parsing a flow node"),
        ("when: 2026-13-45", 2, "x.yaml: cannot be read as YAML: month must be in 1..12"),
        (b"\xff\xfe", 2, "x.yaml: is no text"),
        ("- 1", 2, "not made of Kubernetes objects"),
        ("items: [1, 2]", 2, "x.yaml: is not made of Kubernetes objects"),
        ("items: {a: 1}", 1, "no SparkAllocation"),
        (yaml.safe_dump({**JOB, "metadata": 7}), 2, "x.yaml: is not made of Kubernetes objects"),
        (yaml.safe_dump({**JOB, "apiVersion": "sparkallocation.dev/v1beta1"}), 1, "SparkAllocation job: apiVersion is 'sparkallocation.dev/v1beta1'; this release knows sparkallocation.dev/v1alpha1"),
        (yaml.safe_dump_all([JOB, {**LIMIT, "apiVersion": "example.com/v1"}]), 1, "ClusterSparkAllocationPolicy prod: apiVersion is 'example.com/v1'; this release knows"),
        (yaml.safe_dump({**JOB, "spec": {"driver": {}}}), 1, "spec.driver"),
        (yaml.safe_dump({**JOB, "spec": {"driver": {"podName": "d"}, "dynamicAllocation": {"executorIdleTimeout": "x"}}}), 1, "executorIdleTimeout: must be a whole number with an optional unit: us, ms, s, m or min, h, d (such as 60s) (it is 'x')"),
        (yaml.safe_dump({**JOB, "spec": {"driver": {"podName": "d"}, "dynamicAllocation": {"minExecutors": 9, "maxExecutors": 4}}}), 1, "spec.dynamicAllocation: minExecutors must not be above maxExecutors"),
    ],
)  # fmt: skip
def test_plan_refuses_what_the_operator_would(
    tmp_path: Path, content: str | bytes, code: int, words: str
) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run("plan", "-f", str(file))
    assert result.exit_code == code
    assert words in result.output
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "setting", ["spark.executor.cores=four", "spark.executor.memory=lots", "spark.task.cpus=-1"]
)
def test_plan_names_a_setting_of_the_driver_that_spark_would_refuse(
    files: Path, setting: str
) -> None:
    key, _, value = setting.partition("=")
    properties = files / "driver.properties"
    properties.write_text(f"{key} {value}\n")
    for options in (("--conf", setting), ("--properties-file", str(properties))):
        result = run("plan", "-f", str(files), *options)
        assert isinstance(result.exception, SystemExit)
        assert (result.exit_code, f"{key}={value!r}: " in result.output) == (2, True)


@pytest.mark.usefixtures("logging_as_it_was")
def test_explain_for_programs_holds_no_log_line_where_a_policy_is_wrong(
    server: FakeApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    salloc(server)
    driver(server)
    cluster_policy(server, "wrong", limits=7)
    words = ["spark-allocation", "explain", "job", "-n", "jobs", "-o", "json"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr()
    assert json.loads(told.out)["name"] == "job"
    assert "invalid_policy" in told.err


def test_plan_does_not_take_what_stands_beside_for_policies(files: Path) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "report-driver"}}
    (files / "pod.yaml").write_text(yaml.safe_dump(pod))
    result = run("plan", "-f", str(files))
    assert (result.exit_code, "Pod" in result.output) == (0, False)


@pytest.mark.usefixtures("logging_as_it_was")
def test_an_answer_for_programs_holds_no_log_line(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    senseless = {**LIMIT, "metadata": {"name": "wrong"}, "spec": {"limits": 7}}
    (files / "wrong.yaml").write_text(yaml.safe_dump(senseless))
    words = ["spark-allocation", "plan", "-f", str(files), "-o", "json"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    told = capsys.readouterr()
    (found,) = json.loads(told.out)
    assert "policy wrong cannot be read" in found["problems"][0]
    assert "invalid_policy" in told.err


def test_properties_as_spark_submit_takes_them() -> None:
    text = "# a comment\nspark.executor.cores   4\nspark.app.name=a b\nspark.x: y\n\n"
    assert read_properties(text) == {"spark.executor.cores": "4", "spark.app.name": "a b", "spark.x": "y"}  # fmt: skip
