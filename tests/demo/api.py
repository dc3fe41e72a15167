"""Cheap, frequent reads for the live table: JSON from the API server and, through it, from the driver.

kubectl is what a user types and what the demo uses for every change; one look a second at four objects would cost
half a core in kubectl processes, so looks go through one kept-alive connection of the official client.
"""

import json
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import kubernetes.client
import kubernetes.config
import urllib3.exceptions
from tests.cluster import Cluster

REQUEST_TIMEOUT_SECONDS = 5.0
ALLOCATIONS = "/apis/sparkallocation.dev/v1alpha1"

Object = dict[str, Any]


class Api:
    """Reads from one cluster. What is not there, or does not answer now, reads as None or empty."""

    def __init__(self, cluster: Cluster) -> None:
        self._client = kubernetes.config.new_client_from_config(
            config_file=str(cluster.kubeconfig), context=cluster.context, persist_config=False
        )
        self._host = self._client.configuration.host.rstrip("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.rest_client.pool_manager.clear()
        self._client.close()

    def pod(self, namespace: str, name: str) -> Object | None:
        return self.get(f"{_namespaced(namespace, 'pods')}/{quote(name)}")

    def pods(self, namespace: str, selector: str = "") -> list[Object]:
        return self.items(_namespaced(namespace, "pods"), labelSelector=selector)

    def executor_pods(self, namespace: str) -> list[Object]:
        return self.pods(namespace, "spark-role=executor")

    def config_maps(self, namespace: str, selector: str = "") -> list[Object]:
        return self.items(_namespaced(namespace, "configmaps"), labelSelector=selector)

    def claims(self, namespace: str, selector: str = "") -> list[Object]:
        return self.items(_namespaced(namespace, "persistentvolumeclaims"), labelSelector=selector)

    def events(self, namespace: str) -> list[Object]:
        return self.items(_namespaced(namespace, "events"))

    def allocation(self, namespace: str, name: str) -> Object | None:
        return self.get(
            f"{ALLOCATIONS}/namespaces/{quote(namespace)}/sparkallocations/{quote(name)}"
        )

    def allocations(self, namespace: str) -> list[Object]:
        return self.items(f"{ALLOCATIONS}/namespaces/{quote(namespace)}/sparkallocations")

    def allocation_of(self, namespace: str, driver_pod: str) -> Object | None:
        """The SparkAllocation that names this driver pod, whoever made it."""
        for allocation in self.allocations(namespace):
            if allocation["spec"]["driver"].get("podName") == driver_pod:
                return allocation
        return None

    def driver(self, namespace: str, pod: str, path: str, port: int = 4040) -> Any:
        """JSON from a driver's UI port, through the API server's pod proxy."""
        proxied = f"{_namespaced(namespace, 'pods')}/{quote(pod)}:{port}/proxy"
        return self._json(f"{proxied}/{path.lstrip('/')}")

    def log(self, namespace: str, pod: str, *, lines: int | None = None) -> str:
        query = {} if lines is None else {"tailLines": str(lines)}
        body = self._bytes(f"{_namespaced(namespace, 'pods')}/{quote(pod)}/log", **query)
        return "" if body is None else body.decode(errors="replace")

    def get(self, path: str, **query: str) -> Object | None:
        document = self._json(path, **query)
        return document if isinstance(document, dict) else None

    def items(self, path: str, **query: str) -> list[Object]:
        document = self.get(path, **{key: value for key, value in query.items() if value})
        return [] if document is None else document.get("items", [])

    def _json(self, path: str, **query: str) -> Any:
        body = self._bytes(path, **query)
        if body is None:
            return None
        try:
            return json.loads(body)
        except ValueError:
            return None

    def _bytes(self, path: str, **query: str) -> bytes | None:
        headers = {"Accept": "application/json"}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        url = f"{self._host}{path}{'?' + urlencode(query) if query else ''}"
        try:
            answer = self._client.call_api(
                "GET", url, headers, _request_timeout=REQUEST_TIMEOUT_SECONDS
            )
            body = answer.read()
        except (kubernetes.client.ApiException, urllib3.exceptions.HTTPError):
            return None
        return body if answer.status == HTTPStatus.OK else None


def _namespaced(namespace: str, kind: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace)}/{kind}"
