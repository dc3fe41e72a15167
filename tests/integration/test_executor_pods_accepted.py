"""A real API server takes every executor pod that we build, and every claim that goes with it (dry-run create).

The configurations are those of the comparison with Spark (tests/conformance/generators/pod.py). They hold settings that
no API server takes, whoever builds the pod: Spark passes them on unchecked. Each kind of them is an `Exclusion`, with a
test that the server does refuse it; what is left has to be accepted without exception.
"""

import copy
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from random import Random
from typing import Any

import kubernetes.client
import kubernetes.config
import pytest
from tests import cluster as clusters
from tests.cluster import Cluster
from tests.conformance.generators.pod import generate
from tests.conformance.oracle_jvm import SPARK_VERSIONS
from tests.conformance.pod_answer import question
from tests.demo.installation import delete_namespace
from tests.demo.manifests import OWNED_LABEL
from tests.machine.reporting import Reporter

from spark_allocation.api.group import ALLOCATION_UID_LABEL, INCARNATION_ANNOTATION
from spark_allocation.core.executor_pod_builder import ExecutorPodManifest, build_executor_pod
from spark_allocation.core.pod_refusals import PodRefused

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="a local cluster needs root"),
]

Scenario = dict[str, Any]
Conf = dict[str, str]

PODS_PER_VERSION = 300
NAMESPACE = "executor-pods-accepted"
EXECUTOR = "spark.kubernetes.executor."
UID = "2f4c1c1e-0000-4000-8000-000000000001"
SERVICE_ACCOUNTS = ("default", "drivers", "executors", "of-template", "of-template-too")
QUANTITY = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
QUANTITY_KEY = re.compile(
    r"spark\.kubernetes\.executor\.((request|limit)\.cores|volumes\..*\.options\.sizeLimit)"
)


@dataclass(frozen=True)
class Exclusion:
    """Settings that the API server refuses for a reason that is the user's, not the builder's.

    Attributes:
        smallest: a scenario that has nothing but this fault.
        words: how the server names the fault.
        leave_out: takes the fault out of a scenario.
    """

    name: str
    smallest: Scenario
    words: str
    leave_out: Callable[[Scenario], None]


def _conf(**settings: str) -> Scenario:
    return {"conf": settings}


def _template(spec: dict[str, Any]) -> Scenario:
    template = {"apiVersion": "v1", "kind": "Pod", "spec": spec}
    return {
        "conf": {EXECUTOR + "podTemplateFile": "${DIR}/t.yaml"},
        "files": {"t.yaml": template},
    }


def _drop(wrong: Callable[[str, str], bool]) -> Callable[[Scenario], None]:
    def leave_out(scenario: Scenario) -> None:
        conf = scenario["conf"]
        for key in [key for key, value in conf.items() if wrong(key, value)]:
            del conf[key]

    return leave_out


def _wrong_label(key: str, value: str) -> bool:
    return ".label." in key and not LABEL.fullmatch(value)


def _wrong_name(key: str, value: str) -> bool:
    return bool(re.search(r"\.(label|annotation)\.", key)) and not key.isascii()


def _no_quantity(key: str, value: str) -> bool:
    return bool(QUANTITY_KEY.fullmatch(key)) and not QUANTITY.fullmatch(value)


def _limit_below_request(key: str, value: str) -> bool:
    return key == EXECUTOR + "limit.cores"


def _secret_without_name(key: str, value: str) -> bool:
    return key.startswith(EXECUTOR + "secretKeyRef.") and value.startswith(":")


def _mount_nowhere(key: str, value: str) -> bool:
    return key.endswith(".mount.path") and not value


def _no_local_directory(key: str, value: str) -> bool:
    return key == "spark.local.dir" and "" in value.split(",")


def _image_in_blanks(scenario: Scenario) -> None:
    conf: Conf = scenario["conf"]
    image = conf.get(EXECUTOR + "container.image", "").replace(
        "${spark.app.name}", conf.get("spark.app.name", "")
    )
    if image != image.strip():
        del conf[EXECUTOR + "container.image"]


def _templates(scenario: Scenario) -> Iterator[dict[str, Any]]:
    """Specs of the scenario's pod templates, as far as they are any."""
    for template in scenario.get("files", {}).values():
        if isinstance(template, dict) and isinstance(template.get("spec"), dict):
            yield template["spec"]


def _containers(scenario: Scenario) -> Iterator[dict[str, Any]]:
    for spec in _templates(scenario):
        yield from spec.get("containers") or ()


def _containers_without_image(scenario: Scenario) -> None:
    for container in _containers(scenario):
        container.setdefault("image", "sidecar:1")


def _containers_of_one_name(scenario: Scenario) -> None:
    for spec in _templates(scenario):
        if spec.get("containers"):
            spec["containers"] = list({each["name"]: each for each in spec["containers"]}.values())


def _seconds_without_effect(scenario: Scenario) -> None:
    for spec in _templates(scenario):
        for toleration in spec.get("tolerations") or ():
            toleration.setdefault("effect", "NoExecute")


def _mounts_of_nothing(scenario: Scenario) -> None:
    for spec in _templates(scenario):
        there = {volume["name"] for volume in spec.get("volumes") or ()}
        for container in spec.get("containers") or ():
            mounts = container.get("volumeMounts")
            if mounts is not None:
                container["volumeMounts"] = [each for each in mounts if each["name"] in there]


def _limits_of_templates(scenario: Scenario) -> None:
    for container in _containers(scenario):
        container.get("resources", {}).get("limits", {}).pop("cpu", None)


EXCLUSIONS = [
    Exclusion(
        "a label value that Kubernetes does not allow",
        _conf(**{EXECUTOR + "label.team": "with space"}),
        "metadata.labels",
        _drop(_wrong_label),
    ),
    Exclusion(
        "a label or annotation name outside ASCII",
        _conf(**{EXECUTOR + "annotation.Ünit": "x"}),
        "name part must consist of alphanumeric characters",
        _drop(_wrong_name),
    ),
    Exclusion(
        "a quantity that only Spark's own parser reads",
        _conf(**{EXECUTOR + "request.cores": "1x2b"}),
        "quantities must match the regular expression",
        _drop(lambda key, value: _no_quantity(key, value) and not value.startswith("-")),
    ),
    Exclusion(
        "a negative quantity",
        _conf(**{EXECUTOR + "request.cores": "-1"}),
        "must be greater than or equal to 0",
        _drop(_no_quantity),
    ),
    Exclusion(
        "a CPU limit below the request (Spark 4.1 refuses it itself)",
        {"sparkVersion": "3.5.9", **_conf(**{EXECUTOR + "limit.cores": "0.1"})},
        "must be less than or equal to cpu limit",
        _drop(_limit_below_request),
    ),
    Exclusion(
        "a template's CPU limit below the request of the configuration",
        {
            "sparkVersion": "3.5.9",
            "conf": {EXECUTOR + "podTemplateFile": "${DIR}/t.yaml", "spark.executor.cores": "16"},
            "files": {
                "t.yaml": {
                    "spec": {
                        "containers": [{"name": "main", "resources": {"limits": {"cpu": "2"}}}]
                    }
                }
            },
        },
        "must be less than or equal to cpu limit",
        _limits_of_templates,
    ),
    Exclusion(
        "a secret key reference without the secret's name",
        _conf(**{EXECUTOR + "secretKeyRef.KEY": ":k"}),
        "valueFrom.secretKeyRef.name",
        _drop(_secret_without_name),
    ),
    Exclusion(
        "an empty name of the Hadoop config map",
        _conf(**{EXECUTOR + "hadoopConfigMapName": ""}),
        "configMap.name: Required value",
        _drop(lambda key, value: key == EXECUTOR + "hadoopConfigMapName" and not value),
    ),
    Exclusion(
        "an image with blanks around its name",
        _conf(**{EXECUTOR + "container.image": " spark:1"}),
        "must not have leading or trailing whitespace",
        _image_in_blanks,
    ),
    Exclusion(
        "a volume that is mounted at no path",
        _conf(**{EXECUTOR + "volumes.emptyDir.e.mount.path": ""}),
        "mountPath: Required value",
        _drop(_mount_nowhere),
    ),
    Exclusion(
        "a list of local directories with a gap",
        _conf(**{"spark.local.dir": "/a,,/b"}),
        "mountPath: Required value",
        _drop(_no_local_directory),
    ),
    Exclusion(
        "a template's container without an image",
        _template({"containers": [{"name": "main"}, {"name": "side"}]}),
        "image: Required value",
        _containers_without_image,
    ),
    Exclusion(
        "a template with two containers of one name",
        _template(
            {"containers": [{"name": "main"}, *[{"name": "side", "image": "sidecar:1"}] * 2]}
        ),
        "Duplicate value",
        _containers_of_one_name,
    ),
    Exclusion(
        "a template's toleration with seconds and no effect",
        _template(
            {
                "containers": [],
                "tolerations": [{"key": "spark", "operator": "Exists", "tolerationSeconds": 5}],
            }
        ),
        "effect must be 'NoExecute'",
        _seconds_without_effect,
    ),
    Exclusion(
        "a template's mount of a volume that it does not have",
        _template(
            {"containers": [{"name": "main", "volumeMounts": [{"name": "e", "mountPath": "/e"}]}]}
        ),
        'volumeMounts[0].name: Not found: "e"',
        _mounts_of_nothing,
    ),
]


class Server:
    """POSTs to a namespace of the cluster."""

    def __init__(self, client: kubernetes.client.ApiClient) -> None:
        self._client = client
        self._host = client.configuration.host.rstrip("/")

    def post(self, path: str, body: object, *, dry_run: bool = True) -> str:
        """ "" when the server accepts, else its words."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        url = f"{self._host}{path}{'?dryRun=All' if dry_run else ''}"
        answer = self._client.call_api("POST", url, headers, body=body)
        document = json.loads(answer.read())
        return "" if answer.status < HTTPStatus.BAD_REQUEST else str(document["message"])

    def refusals(self, manifest: ExecutorPodManifest) -> list[str]:
        """What the server says against a pod and its claims."""
        bodies = [("pods", manifest.pod)]
        bodies += [("persistentvolumeclaims", claim) for claim in manifest.resources]
        said = [
            self.post(f"/api/v1/namespaces/{NAMESPACE}/{kind}", dict(body)) for kind, body in bodies
        ]
        return [words for words in said if words]


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return clusters.require(os.environ.get("CLUSTER", clusters.DEFAULT_NAME), Reporter())


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[Server]:
    """The API server, with what admission wants to exist: accounts and classes that scenarios name."""
    client = kubernetes.config.new_client_from_config(
        config_file=str(cluster.kubeconfig), context=cluster.context, persist_config=False
    )
    server = Server(client)
    delete_namespace(cluster, NAMESPACE)
    labels = {OWNED_LABEL: "true"}
    objects = [
        ("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}}),
        *(
            (f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"metadata": {"name": name}})
            for name in SERVICE_ACCOUNTS
        ),
        ("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "low"}, "value": 1}),
        ("/apis/node.k8s.io/v1/runtimeclasses", {"metadata": {"name": "gvisor"}, "handler": "r"}),
    ]
    for path, body in objects:
        said = server.post(path, body, dry_run=False)
        assert not said or "already exists" in said, said
    yield server
    cluster.kubectl("delete", "priorityclass/low", "runtimeclass/gvisor", "--ignore-not-found")
    delete_namespace(cluster, NAMESPACE)
    client.rest_client.pool_manager.clear()
    client.close()


def _manifest(scenario: Scenario) -> ExecutorPodManifest | PodRefused:
    """The scenario's pod as the operator builds it."""
    conf = {"spark.kubernetes.container.image": "spark:1", **scenario["conf"]}
    asked = question({**scenario, "conf": {**conf, "spark.kubernetes.namespace": NAMESPACE}})
    context = replace(
        asked.context,
        driver=replace(asked.context.driver, name="driver", uid=UID, namespace=NAMESPACE),
        labels={ALLOCATION_UID_LABEL: UID},
        annotations={INCARNATION_ANNOTATION: "0123456789"},
        termination_grace_period_seconds=120,
        native_sidecars=True,
    )
    return build_executor_pod(asked.conf, asked.profile, asked.executor_id, context)


def test_every_pod_that_is_built_is_accepted(server: Server) -> None:
    left_out: Counter[str] = Counter()
    for version in SPARK_VERSIONS:
        random = Random(f"accepted by {version}")
        accepted = not_built = 0
        while accepted < PODS_PER_VERSION:
            scenario = {**generate(random, version), "sparkVersion": version}
            for exclusion in EXCLUSIONS:
                before = copy.deepcopy(scenario)
                exclusion.leave_out(scenario)
                left_out[exclusion.name] += scenario != before
            manifest = _manifest(scenario)
            if isinstance(manifest, PodRefused):
                not_built += 1
                continue
            refusals = server.refusals(manifest)
            assert refusals == [], json.dumps(scenario, indent=1, ensure_ascii=False)
            accepted += 1
        assert not_built < accepted, "most configurations have to be such as make a pod"
    assert [name for name, count in left_out.items() if not count] == [], "excluded for nothing"


def test_the_claim_names_that_the_builder_refuses_are_those_that_the_server_refuses(
    server: Server,
) -> None:
    """Spark takes a prefix of 237 characters, and meets the server's refusal when ids grow."""
    claim = EXECUTOR + "volumes.persistentVolumeClaim.c."
    settings = {
        "spark.kubernetes.container.image": "spark:1",
        "spark.kubernetes.namespace": NAMESPACE,
        claim + "mount.path": "/c",
        claim + "options.claimName": "OnDemand",
        claim + "options.sizeLimit": "1Gi",
        claim + "options.storageClass": "fast",
    }
    room = 253 - len("-exec-2147483647-pvc-0")
    for length, taken in ((room, True), (room + 1, False), (237, False)):
        scenario = {
            "execId": "2147483647",
            "conf": {**settings, EXECUTOR + "podNamePrefix": "x" * length},
        }
        ours = _manifest(scenario)
        assert isinstance(ours, ExecutorPodManifest) is taken
        asked = question(scenario)
        by_spark = build_executor_pod(
            asked.conf, asked.profile, asked.executor_id, asked.context, as_spark=True
        )
        assert isinstance(by_spark, ExecutorPodManifest)
        (document,) = by_spark.resources
        path = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
        said = server.post(path, dict(document))
        assert (said == "") is taken, said
        assert taken or "must be no more than 253 characters" in said


@pytest.mark.parametrize("exclusion", EXCLUSIONS, ids=lambda exclusion: exclusion.name)
def test_what_is_excluded_is_refused_by_the_server_and_is_all_that_is_wrong(
    server: Server, exclusion: Exclusion
) -> None:
    scenario = copy.deepcopy(exclusion.smallest)
    manifest = _manifest(scenario)
    assert isinstance(manifest, ExecutorPodManifest), manifest
    refusals = server.refusals(manifest)
    assert any(exclusion.words in words for words in refusals), refusals

    exclusion.leave_out(scenario)
    manifest = _manifest(scenario)
    assert isinstance(manifest, ExecutorPodManifest), manifest
    assert server.refusals(manifest) == []
