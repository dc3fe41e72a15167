"""The chart, rendered: what each value does, what is refused and in which words, and that all copies agree."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from tests.chart import goldens
from tests.chart.helm import CHART, NAMESPACE, RELEASE, ROOT, Helm, HelmError, Object, parsed
from tests.chart.matrix import EVERYTHING, MATRIX, NAMESPACED, Values
from tests.documents import chart_files, install_manifests

from spark_allocation.controller.process_settings import ProcessSettings

Rendered = Callable[[str], list[Object]]

CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "FlowSchema",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


def kinds(objects: list[Object]) -> set[str]:
    return {each["kind"] for each in objects}


def one(objects: list[Object], kind: str, name: str = "") -> Object:
    (found,) = (
        each for each in objects if each["kind"] == kind and name in ("", each["metadata"]["name"])
    )
    return found


def pod_specs(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for each in objects:
        if each["kind"] == "Pod":
            yield each["metadata"]["name"], each["spec"]
        elif each["kind"] in {"Deployment", "Job"}:
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def environment(objects: list[Object]) -> dict[str, str]:
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "") for each in container["env"]}


# -- every set of values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["defaults", "everything", "two-teams"])
def test_helm_finds_nothing_to_complain_of(program: Helm, name: str) -> None:
    assert "0 chart(s) failed" in program.run("lint", str(CHART), "--strict", values=MATRIX[name])


@pytest.mark.parametrize("name", MATRIX)
def test_each_object_is_there_once_and_says_whose_it_is(rendered: Rendered, name: str) -> None:
    objects = rendered(name)
    keys = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in objects
    ]
    assert len(set(keys)) == len(keys)
    for each in objects:
        labels = each["metadata"].get("labels", {})
        if "example" not in each["metadata"]["name"] and each["metadata"]["name"] not in {"as-text", f"of-{RELEASE}"}:  # fmt: skip
            assert labels["app.kubernetes.io/managed-by"] == "Helm", each
            assert labels["helm.sh/chart"]
            if each["kind"] not in CLUSTER_SCOPED:
                assert each["metadata"]["namespace"]


@pytest.mark.parametrize("name", MATRIX)
def test_every_pod_is_confined_as_pod_security_restricted_demands(
    rendered: Rendered, name: str
) -> None:
    specs = dict(pod_specs(rendered(name)))
    assert specs
    for spec in specs.values():
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("name", NAMESPACED)
def test_listed_namespaces_need_nothing_of_the_cluster(rendered: Rendered, name: str) -> None:
    objects = rendered(name)
    assert not kinds(objects) & CLUSTER_SCOPED
    served = set(MATRIX[name]["watch"]["namespaces"])
    assert {each["metadata"]["namespace"] for each in objects} == {NAMESPACE} | served
    args = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args == ["run", *(f"--namespace={each}" for each in sorted(served))]


@pytest.mark.parametrize("name", MATRIX)
def test_selectors_take_the_operator_s_pods_and_no_others(rendered: Rendered, name: str) -> None:
    objects = rendered(name)
    deployment = one(objects, "Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    for each in objects:
        if each["kind"] in {"PodDisruptionBudget", "PodMonitor"}:
            assert each["spec"]["selector"]["matchLabels"] == selector
        if each["kind"] == "Job":
            labels = each["spec"]["template"]["metadata"]["labels"]
            assert not selector.items() <= labels.items(), "a hook's pod is not the operator's"
        if each["kind"] == "Pod":
            assert not selector.items() <= each["metadata"]["labels"].items()


# -- what values do ---------------------------------------------------------------------------------------------------


def test_everything_switched_on_is_as_it_was(program: Helm) -> None:
    assert goldens.golden(program) == goldens.GOLDEN.read_text(), "if it is meant: make chart"


def test_settings_of_the_operator_are_its_own(rendered: Rendered) -> None:
    said = environment(rendered("everything"))
    prefix = "SPARK_ALLOCATION_"
    fields = {name.removeprefix(prefix).lower(): value for name, value in said.items() if name.startswith(prefix)}  # fmt: skip
    assert fields.keys() <= ProcessSettings.model_fields.keys()
    settings = ProcessSettings.model_validate(
        {name: json.loads(text) if text.startswith("[") else text for name, text in fields.items()}
    )
    assert (settings.poll_seconds, settings.idle_poll_seconds) == (0.5, 10)
    assert settings.creates_per_second == 250
    assert [str(each) for each in settings.driver_networks] == ["10.0.0.0/8", "fd00::/8"]
    assert (settings.log_level, settings.log_format) == ("debug", "console")
    assert (settings.lease, settings.managed_by) == ("allocator", "blue")
    assert settings.watch_nodes is False


def test_the_defaults_are_those_of_the_operator() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())["operator"]
    fields = ProcessSettings.model_fields
    for value, field in (
        ("logLevel", "log_level"),
        ("logFormat", "log_format"),
        ("pollSeconds", "poll_seconds"),
        ("idlePollSeconds", "idle_poll_seconds"),
        ("createsPerSecond", "creates_per_second"),
    ):
        assert values[value] == fields[field].default
    traces = yaml.safe_load((CHART / "values.yaml").read_text())["traces"]
    assert traces["allocationMiB"] == fields["trace_allocation_mib"].default
    assert traces["totalMiB"] == fields["trace_total_mib"].default


def test_traces_are_kept_where_the_operator_may_write(rendered: Rendered) -> None:
    assert "SPARK_ALLOCATION_TRACE_DIRECTORY" not in environment(rendered("defaults"))
    for values, volume in (
        ("everything", {"emptyDir": {"sizeLimit": "192Mi"}}),
        ("two-teams", {"persistentVolumeClaim": {"claimName": "traces"}}),
    ):
        objects = rendered(values)
        pod = one(objects, "Deployment")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        (mount,) = [each for each in container["volumeMounts"] if each["name"] == "traces"]
        assert environment(objects)["SPARK_ALLOCATION_TRACE_DIRECTORY"] == mount["mountPath"]
        assert not mount.get("readOnly")
        assert {"name": "traces", **volume} in pod["volumes"]


def test_policies_are_a_file_that_the_operator_reads(rendered: Rendered) -> None:
    objects = rendered("everything")
    file = one(objects, "ConfigMap", "allocator-policies")["data"]["policies.yaml"]
    (policy,) = parsed(file)
    (wanted,) = EVERYTHING["policies"]
    assert policy["kind"] == "ClusterSparkAllocationPolicy"
    assert (policy["metadata"]["name"], policy["spec"]) == (wanted["name"], wanted["spec"])
    path = environment(objects)["SPARK_ALLOCATION_CLUSTER_POLICY_FILE"]
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert any(path.startswith(each["mountPath"]) for each in container["volumeMounts"])
    assert not any("subPath" in each for each in container["volumeMounts"]), "it would never change"


def test_the_dashboard_and_the_alerts_are_those_of_the_repository(rendered: Rendered) -> None:
    objects = rendered("everything")
    text = one(objects, "ConfigMap", "allocator-dashboard")["data"]["spark-allocation.json"]
    assert json.loads(text) == json.loads(
        (CHART / "files/dashboards/spark-allocation.json").read_text()
    )
    rules = yaml.safe_load((ROOT / "deploy/samples/alerts.yaml").read_text())
    assert one(objects, "PrometheusRule")["spec"] == rules


def test_the_uninstallation_may_stop_one_deployment_and_touch_finalizers(
    rendered: Rendered,
) -> None:
    hooks = [
        each
        for each in rendered("defaults")
        if each["metadata"].get("annotations", {}).get("helm.sh/hook") == "pre-delete"
    ]
    rights = {
        (resource, verb, *rule.get("resourceNames", ()))
        for each in hooks
        for rule in each.get("rules", ())
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert rights == {
        ("deployments/scale", "patch", RELEASE),
        ("pods", "list"),
        ("sparkallocations", "list"),
        ("sparkallocations", "patch"),
    }
    (container,) = one(hooks, "Job")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["release", "--all", "--yes", "--managed-by=", f"--scale-to-zero={NAMESPACE}/{RELEASE}", "--all-namespaces"]  # fmt: skip


# -- what is refused --------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Values, str]] = {
    "a misspelt key": ({"replica": 2}, "additional properties 'replica' not allowed"),
    "a misspelt key inside": ({"operator": {"loglevel": "info"}}, "at '/operator': additional properties 'loglevel' not allowed"),
    "a level that is none": ({"operator": {"logLevel": "loud"}}, "at '/operator/logLevel': value must be one of 'debug', 'info', 'warning', 'error'"),
    "text for a number": ({"replicas": "two"}, "at '/replicas': got string, want integer"),
    "too many pods": ({"replicas": 6}, "at '/replicas': maximum: got 6, want 5"),
    "polls without a pause": ({"operator": {"pollSeconds": 0}}, "at '/operator/pollSeconds': exclusiveMinimum"),
    "a port that is none": ({"networkPolicy": {"apiServerPorts": [70000]}}, "at '/networkPolicy/apiServerPorts/0': maximum: got 70,000, want 65,535"),
    "a namespace that is none": ({"watch": {"namespaces": ["Team_A"]}}, "at '/watch/namespaces/0': 'Team_A' does not match pattern"),
    "a namespace twice": ({"watch": {"namespaces": ["a", "a"]}}, "at '/watch/namespaces': items at 0 and 1 are equal"),
    "an interval without a unit": ({"metrics": {"podMonitor": {"interval": "30"}}}, "at '/metrics/podMonitor/interval': '30' does not match pattern"),
    "an installation's name that is none": ({"managedBy": "Blue"}, "at '/managedBy': 'Blue' does not match pattern"),
    "a policy without a name": ({"policies": [{"spec": {}}]}, "at '/policies/0': missing property 'name'"),
    "a limit that is misspelt": ({"policies": [{"name": "a", "spec": {"limits": {"dynamicAllocation": {"maxExecutor": {"max": 5}}}}}]}, "at '/policies/0/spec/limits/dynamicAllocation': additional properties 'maxExecutor' not allowed"),
    "a limit that is no number": ({"policies": [{"name": "a", "spec": {"limits": {"dynamicAllocation": {"maxExecutors": {"max": "five"}}}}}]}, "at '/policies/0/spec/limits/dynamicAllocation/maxExecutors/max': got string, want integer"),
    "two policies of one name": ({"policies": [{"name": "a", "spec": {}}, {"name": "a", "spec": {}}]}, "policies has two of the same name"),
    "two scrapes": ({"metrics": {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}}, "would scrape the same pods twice: enable one of them"),
    "a FlowSchema for a team": ({"watch": {"namespaces": ["a"]}, "flowSchema": {"enabled": True}}, "flowSchema.enabled makes cluster-scoped objects and watch.namespaces asks for none"),
    "nobody's account": ({"serviceAccount": {"create": False}}, "serviceAccount.name has to name an account"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_bad_values_are_refused_with_a_sentence(program: Helm, what: str) -> None:
    values, words = REFUSED[what]
    with pytest.raises(HelmError) as refusal:
        program.template(values)
    assert words in str(refusal.value)


def test_an_old_kubernetes_is_refused(program: Helm) -> None:
    with pytest.raises(HelmError, match=r"1\.30"):
        program.template({}, "--kube-version=1.29.0")


@pytest.mark.parametrize("name", ["cluster-policy", "budgets", "gpu-policy", "streaming-policy"])
def test_the_example_of_a_policy_may_be_among_the_values(program: Helm, name: str) -> None:
    (policy,) = parsed((ROOT / f"examples/{name}.yaml").read_text())
    given = {"name": policy["metadata"]["name"], "spec": policy["spec"]}
    objects = program.objects({"policies": [given]})
    (file,) = one(objects, "ConfigMap", f"{RELEASE}-policies")["data"].values()
    (stored,) = parsed(file)
    assert stored["spec"] == policy["spec"]


def test_the_schema_knows_each_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values: Any, known: Any, path: str) -> None:
        if "properties" not in known:
            return
        assert known["additionalProperties"] is False, path
        allowed = known["properties"].keys() - ({"global"} if not path else set())
        optional = {"claims"} if path == ".resources" else set()
        assert values.keys() == allowed - optional, path
        for key, value in values.items():
            compare(value, known["properties"][key], f"{path}.{key}")

    compare(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")


# -- copies -----------------------------------------------------------------------------------------------------------


def test_copies_and_the_readme_are_up_to_date() -> None:
    for copy, original in chart_files.copies().items():
        assert copy.read_bytes() == original.read_bytes(), f"{copy.name}: make chart"
    there = {file.name for file in (CHART / "files/crds").iterdir()}
    assert there == {file.name for file in (ROOT / "crds").iterdir()}
    assert chart_files.README.read_text() == chart_files.readme(), "make chart"
    assert chart_files.VALUES_SCHEMA.read_text() == chart_files.values_schema(), "make chart"


def test_crds_are_those_of_the_repository_and_stay_after_the_release(rendered: Rendered) -> None:
    ours = {each["metadata"]["name"]: each for each in rendered("defaults") if each["kind"] == "CustomResourceDefinition"}  # fmt: skip
    theirs = [parsed(file.read_text())[0] for file in sorted((ROOT / "crds").glob("*.yaml"))]
    assert ours.keys() == {each["metadata"]["name"] for each in theirs}
    for each in theirs:
        made = ours[each["metadata"]["name"]]
        assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        assert made["spec"] == each["spec"]


def test_an_uninstallation_may_take_the_crds_with_it(program: Helm) -> None:
    objects = program.objects({"crds": {"keep": False}})
    assert not any("annotations" in each["metadata"] for each in objects if each["kind"] == "CustomResourceDefinition")  # fmt: skip


def test_kubectl_and_helm_install_the_same(program: Helm) -> None:
    made = install_manifests.manifests(program)
    for file, text in made.items():
        assert file.read_text() == text, f"{file.relative_to(ROOT)}: make chart"
    # given the objects that Helm would install, without its own labels
    objects = parsed(
        install_manifests.without_helm_s_own(
            program.template(install_manifests.WITHOUT_HELM, "--no-hooks")
        )
    )
    # then deploy/ holds these and its namespace, and nothing else
    applied = [
        each
        for file in sorted(install_manifests.DEPLOY.glob("*.yaml"))
        for each in parsed(file.read_text())
        if each["kind"] != "Namespace"
    ]
    assert by_key(applied) == by_key(objects)


def by_key(objects: list[Object]) -> dict[tuple[str, str], Object]:
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    assert len(found) == len(objects)
    return found


def test_the_chart_names_its_image_and_kinds_for_artifact_hub() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    annotations = chart["annotations"]
    kinds_told = {each["kind"] for each in yaml.safe_load(annotations["artifacthub.io/crds"])}
    assert kinds_told == {
        parsed(file.read_text())[0]["spec"]["names"]["kind"] for file in (ROOT / "crds").iterdir()
    }
    (image,) = yaml.safe_load(annotations["artifacthub.io/images"])
    assert image["image"].endswith(f":{chart['appVersion']}")
    project = (ROOT / "pyproject.toml").read_text()
    assert re.search(rf'^version = "{re.escape(chart["appVersion"])}"$', project, re.MULTILINE)
    assert f"ARG VERSION={chart['appVersion']}\n" in (ROOT / "Dockerfile").read_text()
