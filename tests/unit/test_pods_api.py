"""What an API server's answers to a creation come to."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.perf.memory_api import MemoryApi

from spark_allocation.kube.api_client import ApiAnswer, KubernetesApi, open_kubernetes_api
from spark_allocation.kube.pods_api import CreateResult, DeleteResult, KubernetesPodsApi

POD: dict[str, Any] = {
    "metadata": {"name": "job-exec-1", "labels": {"spark-role": "executor"}},
    "spec": {},
}


class Answering(KubernetesApi):
    """Gives one answer to whatever is asked."""

    def __init__(self, status: int, body: bytes) -> None:
        self._given = ApiAnswer(status, body)

    async def request(self, *_: object, **__: object) -> ApiAnswer:
        return self._given


@contextlib.asynccontextmanager
async def connected(server: MemoryApi, tmp_path: Path) -> AsyncIterator[KubernetesApi]:
    (tmp_path / "kubeconfig").write_text(server.kubeconfig())
    api = await open_kubernetes_api(kubeconfig=tmp_path / "kubeconfig")
    try:
        yield api
    finally:
        await api.close()


async def test_a_pod_that_was_made_has_the_uid_that_the_server_gave_it(tmp_path: Path) -> None:
    async with MemoryApi() as server, connected(server, tmp_path) as api:
        outcome = await KubernetesPodsApi(api).create("jobs", dict(POD))
        made = server.find("pods", "jobs", "job-exec-1")
        assert made is not None
        assert (outcome.result, outcome.uid) == (
            CreateResult.CREATED,
            made["metadata"]["uid"],
        )
        again = await KubernetesPodsApi(api).create("jobs", dict(POD))
        assert again.result is CreateResult.EXISTS


async def test_of_a_pod_that_it_wrote_itself_the_server_says_no_more_than_the_metadata(
    tmp_path: Path,
) -> None:
    args = {"containers": [{"name": "spark-kubernetes-executor", "args": ["x" * 10_000]}]}
    async with MemoryApi() as server, connected(server, tmp_path) as api:
        pods = KubernetesPodsApi(api)
        made = await pods.create("jobs", {**POD, "metadata": dict(POD["metadata"]), "spec": args})
        gone = await pods.delete("jobs", "job-exec-1", made.uid, grace_seconds=0)
        assert (made.result, gone.result) == (CreateResult.CREATED, DeleteResult.ACCEPTED)
        assert server.sent_bytes < 2_000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>", id="no JSON"),
        pytest.param(b'{"metadata":{}}', id="no uid"),
        pytest.param(b'{"metadata":{"uid":7}}', id="a uid that is none"),
        pytest.param(b'{"metadata":{"uid":"u-1"', id="cut off"),
        pytest.param(b'{"metadata":{"uid":"\xff"}}', id="no UTF-8"),
        pytest.param(b'{"x":' * 5_000 + b"1" + b"}" * 5_000, id="too deep"),
        pytest.param(b"[]", id="a list"),
    ],
)
async def test_an_answer_without_a_pod_leaves_it_open_whether_there_is_one(body: bytes) -> None:
    outcome = await KubernetesPodsApi(Answering(201, body)).create("jobs", dict(POD))
    assert outcome.result is CreateResult.SERVER_ERROR
    assert outcome.message == "the answer holds no pod"
    assert outcome.uid == ""
