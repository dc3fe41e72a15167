"""The API server's audit log, read as requests: what is counted, and what is counted once."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import Cluster
from tests.cluster.audit import AuditLog
from tests.cluster.layout import layout_of

OPERATOR = "system:serviceaccount:spark-allocation-system:spark-allocation-operator"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """One of which there is only its log."""
    monkeypatch.setattr("tests.cluster.layout.CLUSTERS", tmp_path)
    layout = layout_of("logged")
    layout.logs.mkdir(parents=True)
    layout.record.write_text('{"index": 1}')
    layout.audit_log.touch()
    return Cluster("logged", layout.kubeconfig, "logged", Path("kubectl"), layout)


def write(
    cluster: Cluster, verb: str, resource: str, *, stage: str = "ResponseComplete", code: int = 200
) -> None:
    event: dict[str, Any] = {
        "stage": stage,
        "verb": verb,
        "requestURI": f"/api/v1/{resource}",
        "user": {"username": OPERATOR},
        "objectRef": {"resource": resource},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": "2026-01-01T00:00:05.250000Z",
        "annotations": {"authorization.k8s.io/decision": "allow"},
    }
    assert cluster.layout is not None
    with cluster.layout.audit_log.open("a") as file:
        file.write(json.dumps(event) + "\n")


def counted(audit: AuditLog) -> Counter[tuple[str, str]]:
    return Counter((each.verb, each.resource) for each in audit.requests(OPERATOR))


def test_a_watch_counts_once_although_its_end_is_written_too(cluster: Cluster) -> None:
    # given a log that is read from the beginning
    audit = AuditLog(cluster)
    # when a watch begins and ends
    write(cluster, "watch", "pods", stage="ResponseStarted")
    write(cluster, "watch", "pods")
    # then it is one request
    assert counted(audit) == {("watch", "pods"): 1}


def test_a_watch_that_began_earlier_does_not_count_when_it_ends(cluster: Cluster) -> None:
    write(cluster, "watch", "pods", stage="ResponseStarted")
    audit = AuditLog(cluster)
    write(cluster, "watch", "pods")
    write(cluster, "list", "pods")
    assert counted(audit) == {("list", "pods"): 1}


def test_a_watch_that_is_refused_counts(cluster: Cluster) -> None:
    audit = AuditLog(cluster)
    write(cluster, "watch", "pods", code=403)
    assert counted(audit) == {("watch", "pods"): 1}


def test_a_request_has_the_moment_at_which_it_arrived(cluster: Cluster) -> None:
    audit = AuditLog(cluster)
    write(cluster, "create", "pods")
    (request,) = audit.requests(OPERATOR)
    assert request.at == 1767225605.25
