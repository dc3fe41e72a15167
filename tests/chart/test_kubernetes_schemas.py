"""Everything that the chart makes has the shape that API servers of Kubernetes 1.30 to the newest take."""

import copy
import json
import shutil
from collections.abc import Callable

import pytest
from tests.chart import schemas
from tests.chart.helm import CHART, HELM_3, Helm, HelmError, Object, helm, parsed
from tests.chart.matrix import MATRIX
from tests.chart.test_templates import REFUSED
from tests.documents import kubernetes_schemas

Rendered = Callable[[str], list[Object]]

OF_THE_PROMETHEUS_OPERATOR = {"PodMonitor", "PrometheusRule", "ServiceMonitor"}
"""Kinds that are not Kubernetes's own."""

DEPLOYMENT: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "probe"},
    "spec": {
        "selector": {"matchLabels": {"app": "probe"}},
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "a",
                        "resources": {"requests": {"cpu": 1}},
                        "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    }
                ]
            }
        },
    },
}


@pytest.mark.parametrize("version", schemas.versions())
def test_an_api_server_knows_every_field(rendered: Rendered, version: str) -> None:
    known = schemas.schemas(version)
    found = {
        f"{name}: {each['kind']} {each['metadata']['name']} {problem}"
        for name in MATRIX
        for each in rendered(name)
        if each["kind"] not in OF_THE_PROMETHEUS_OPERATOR
        for problem in known.problems(each)
    }
    assert not found


def test_the_versions_are_those_that_the_chart_takes() -> None:
    chart = parsed((CHART / "Chart.yaml").read_text())[0]
    assert schemas.versions() == list(kubernetes_schemas.VERSIONS)
    first = schemas.versions()[0]
    assert chart["kubeVersion"] == f">={first.rsplit('.', 1)[0]}.0-0"
    minors = [int(version.split(".")[1]) for version in schemas.versions()]
    assert minors == list(range(minors[0], minors[-1] + 1))


def test_the_chart_makes_the_same_for_every_version(program: Helm) -> None:
    for version in (schemas.versions()[0], schemas.versions()[-1]):
        values = MATRIX["everything"]
        assert program.template(values, f"--kube-version={version}") == program.template(values)


# -- that the judge sees something --------------------------------------------------------------------------------


def test_what_is_right_passes() -> None:
    for version in schemas.versions():
        assert schemas.schemas(version).problems(DEPLOYMENT) == []


def spoiled(change: Callable[[Object], None]) -> Object:
    document = copy.deepcopy(DEPLOYMENT)
    change(document)
    return document


def container(document: Object) -> Object:
    found: Object = document["spec"]["template"]["spec"]["containers"][0]
    return found


SPOILED: dict[str, tuple[Callable[[Object], None], str]] = {
    "a field that is none": (lambda each: each["spec"].update(replica=2), ".spec.replica: there is no such field"),
    "text for a number": (lambda each: each["spec"].update(replicas="two"), ".spec.replicas: 'two' is not of type integer"),
    "a number for text": (lambda each: container(each).update(image=1), ".image: 1 is not of type string"),
    "yes for a number": (lambda each: each["spec"].update(replicas=True), ".spec.replicas: True is not of type integer"),
    "nothing for a list": (lambda each: container(each).update(env=None), ".env: there is nothing where array belongs"),
    "a required field left out": (lambda each: each["spec"].pop("selector"), ".spec.selector: is missing"),
    "a label that is no text": (lambda each: each["metadata"].update(labels={"a": 1}), ".metadata.labels.a: 1 is not of type string"),
    "one port twice": (lambda each: container(each)["ports"].append({"containerPort": 80, "protocol": "TCP"}), "two entries of the same containerPort, protocol"),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILED)
def test_what_is_wrong_is_told(what: str) -> None:
    change, words = SPOILED[what]
    (problem,) = schemas.schemas("1.37.1").problems(spoiled(change))
    assert words in problem


def test_a_field_is_known_from_its_version_on() -> None:
    # Container.restartPolicyRules came with 1.34
    document = spoiled(lambda each: container(each).update(restartPolicyRules=[{"action": "Restart"}]))  # fmt: skip
    assert schemas.schemas("1.34.4").problems(document) == []
    (problem,) = schemas.schemas("1.33.13").problems(document)
    assert problem.endswith(".restartPolicyRules: there is no such field")


@pytest.mark.slow
def test_the_file_is_what_kubernetes_says() -> None:
    """Fetches eight modules of 19 MB each."""
    if shutil.which("go") is None:
        pytest.skip("there is no go on the PATH to fetch Kubernetes's module with")
    fetched = {version: kubernetes_schemas.fetch(version) for version in schemas.versions()}
    said = kubernetes_schemas.document(fetched)
    assert json.loads(kubernetes_schemas.FILE.read_text()) == said, "make kubernetes-schemas"


# -- Helm 3 -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def helm_3() -> Helm:
    return helm(module=HELM_3)


@pytest.mark.slow
@pytest.mark.parametrize("name", MATRIX)
def test_helm_3_makes_the_same(program: Helm, helm_3: Helm, name: str) -> None:
    assert helm_3.run("version", "--short").startswith("v3.")
    assert by_key(helm_3.objects(MATRIX[name])) == by_key(program.objects(MATRIX[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["defaults", "everything", "two-teams"])
def test_helm_3_finds_nothing_to_complain_of(helm_3: Helm, name: str) -> None:
    assert "0 chart(s) failed" in helm_3.run("lint", str(CHART), "--strict", values=MATRIX[name])


@pytest.mark.slow
@pytest.mark.parametrize("what", REFUSED)
def test_helm_3_refuses_the_same_values_with_the_same_sentence(helm_3: Helm, what: str) -> None:
    values, words = REFUSED[what]
    with pytest.raises(HelmError) as refusal:
        helm_3.template(values)
    assert words in str(refusal.value)


def by_key(objects: list[Object]) -> dict[tuple[str, str, str], Object]:
    found = {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for each in objects
    }
    assert len(found) == len(objects)
    return found
