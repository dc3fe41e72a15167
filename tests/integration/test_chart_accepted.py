"""A real API server takes what the chart makes: field by field, by its own schemas, without storing any of it."""

import secrets
from collections.abc import Iterator

import pytest
import yaml
from tests.chart.helm import Helm, Object, helm
from tests.chart.matrix import MATRIX
from tests.cluster import Cluster, ClusterError

pytestmark = pytest.mark.cluster

FOREIGN = "monitoring.coreos.com/"
"""Kinds that come with the Prometheus operator, which is not here."""


@pytest.fixture(scope="module")
def program() -> Helm:
    return helm()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"chart-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", f"--namespace={name}", "serviceaccount/default", "--for=create", "--timeout=60s")  # fmt: skip
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def dry_run(cluster: Cluster, objects: list[Object]) -> None:
    cluster.kubectl(
        *("apply", "--dry-run=server", "--validate=strict", "-f", "-"),
        stdin=yaml.safe_dump_all(objects),
    )


def test_the_api_server_takes_every_object_as_it_is(
    cluster: Cluster, namespace: str, program: Helm
) -> None:
    objects: dict[tuple[str, str], Object] = {}
    for number, values in enumerate(MATRIX.values()):
        for each in program.objects(values):
            if each["apiVersion"].startswith(FOREIGN):
                continue
            if each["kind"] == "Pod":
                # a bare pod is only admitted when its account is there
                each["spec"].pop("serviceAccountName")
            metadata = each["metadata"]
            if "namespace" in metadata or each["kind"] == "ConfigMap":
                metadata["namespace"] = namespace
                metadata["name"] = f"{metadata['name']}-{number}"
            # two teams' Roles are of one name
            objects[each["kind"], metadata["name"]] = each
    dry_run(cluster, list(objects.values()))


def test_a_field_that_there_is_not_would_be_noticed(
    cluster: Cluster, namespace: str, program: Helm
) -> None:
    values = {"resources": {"requests": {"cpu": "many"}}}
    (wrong,) = (each for each in program.objects(values, namespace=namespace) if each["kind"] == "Deployment")  # fmt: skip
    with pytest.raises(ClusterError, match="quantities"):
        dry_run(cluster, [wrong])
    spec = wrong["spec"]["template"]["spec"]
    spec["containers"][0]["resources"] = {}
    spec["enableServiceLink"] = False
    with pytest.raises(ClusterError, match="enableServiceLink"):
        dry_run(cluster, [wrong])
