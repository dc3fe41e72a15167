"""The operator process: all its parts can be put together before anything is asked of a cluster."""

import aiohttp

from spark_allocation.controller.process import Process
from spark_allocation.controller.process_settings import ProcessSettings
from spark_allocation.kube.api_client import open_kubernetes_api

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
users: [{name: nobody, user: {}}]
current-context: nowhere
"""


async def test_its_parts_fit_together(tmp_path) -> None:  # type: ignore[no-untyped-def]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    api = await open_kubernetes_api(kubeconfig=kubeconfig)
    try:
        async with aiohttp.ClientSession() as session:
            process = Process(ProcessSettings(namespaces=("jobs",), health_port=0), api, session)
            assert process.health is not None
    finally:
        await api.close()


def test_an_installation_for_named_namespaces_asks_for_nothing_of_the_cluster() -> None:
    assert ProcessSettings().reads_nodes
    assert not ProcessSettings(namespaces=("jobs",)).reads_nodes
    assert ProcessSettings(namespaces=("jobs",), watch_nodes=True).reads_nodes
