"""Which pod is the driver: by name or by labels, from the watches, or asked for when no watch covers it."""

from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from spark_allocation.api.conditions import Reason
from spark_allocation.api.v1alpha1 import Driver
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.pods_api import PodsApi
from spark_allocation.sources import wire
from spark_allocation.sources.executor_pods import driver_pod

ASKED_SCOPE = "asked for"


@dataclass(frozen=True, slots=True)
class NoDriver:
    """Why no driver is served, and what to do about it."""

    reason: Reason
    message: str


class DriverFinder:
    """Finds driver pods. Spark's own drivers carry ``spark-role=driver`` and are watched; others are asked for."""

    def __init__(self, directory: DriverDirectory, pods: PodsApi) -> None:
        self.directory = directory
        self._pods = pods

    async def find(
        self, namespace: str, wanted: Driver, *, served_uid: str = ""
    ) -> DriverPod | NoDriver:
        """The driver pod to serve.

        Args:
            namespace: of the SparkAllocation.
            wanted: ``spec.driver``.
            served_uid: the pod that is served already: it goes on being served, whoever else matches.

        Raises:
            ApiUnavailable: the API server did not answer.
        """
        candidates = self.candidates(namespace, wanted)
        if not any(self._is_watched(pod) for pod in candidates):
            refusal = await self._ask(namespace, wanted)
            if refusal is not None:
                return refusal
            candidates = self.candidates(namespace, wanted)
        if not candidates:
            return NoDriver(Reason.DRIVER_NOT_FOUND, _not_found(namespace, wanted))
        alive = [pod for pod in candidates if not pod.ended and not pod.deleting]
        if len(alive) > 1:
            for pod in alive:
                if pod.uid == served_uid:
                    return pod
            return NoDriver(Reason.AMBIGUOUS_DRIVER, _ambiguous(alive))
        return max(alive or candidates, key=lambda pod: pod.created_at)

    def candidates(self, namespace: str, wanted: Driver) -> list[DriverPod]:
        """The known pods that the wish matches."""
        if wanted.pod_name is not None:
            pod = self.directory.named(namespace, wanted.pod_name)
            return [pod] if pod is not None else []
        assert wanted.selector is not None, "the model demands a name or a selector"
        found = self.directory.labelled(namespace, wanted.selector.match_labels)
        return [pod for pod in found if pod.labels.get("spark-role") != "executor"]

    def ambiguity(self, namespace: str, wanted: Driver) -> str:
        """A sentence naming the live pods that the wish matches, when there are several; else ""."""
        if wanted.pod_name is not None:
            return ""
        alive = [
            pod for pod in self.candidates(namespace, wanted) if not pod.ended and not pod.deleting
        ]
        return _ambiguous(alive) if len(alive) > 1 else ""

    def current(self, pod: DriverPod) -> DriverPod | None:
        """The pod as it is known now."""
        return self.directory.by_uid(pod.uid)

    async def refresh(self, pod: DriverPod, wanted: Driver) -> None:
        """Look again at a served pod that no watch covers, and at what else the wish matches by now."""
        if not self._is_watched(pod):
            await self._ask(pod.namespace, wanted)

    def _is_watched(self, pod: DriverPod) -> bool:
        return self.directory.is_watched(pod.uid)

    async def _ask(self, namespace: str, wanted: Driver) -> NoDriver | None:
        """Ask the API server; returns why the wish cannot even be asked for."""
        if wanted.pod_name is not None:
            found = await self._pods.get(namespace, wanted.pod_name)
            pods = [found] if found is not None else []
            self.directory.asked(
                f"{ASKED_SCOPE}/{namespace}/{wanted.pod_name}",
                [driver_pod(msgspec.convert(pod, wire.Pod)) for pod in pods],
            )
            return None
        assert wanted.selector is not None
        selector = ",".join(
            f"{key}={value}" for key, value in sorted(wanted.selector.match_labels.items())
        )
        answer = await self._pods.list_page(namespace, selector, "")
        if answer.status == HTTPStatus.BAD_REQUEST:
            return NoDriver(
                Reason.DRIVER_NOT_NAMED,
                f"spec.driver.selector holds what cannot be a label: {answer.message}",
            )
        if not answer.ok:
            raise ApiUnavailable(f"list pods {selector}: {answer.status} {answer.message}")
        page = wire.decode_pod_list(answer.body)
        self.directory.asked(
            f"{ASKED_SCOPE}/{namespace}/{selector}", [driver_pod(pod) for pod in page.items]
        )
        return None


def matches(pod: DriverPod, wanted: Driver) -> bool:
    """Whether a pod of the right namespace is what ``spec.driver`` asks for."""
    if wanted.pod_name is not None:
        return pod.name == wanted.pod_name
    assert wanted.selector is not None, "the model demands a name or a selector"
    return (
        wanted.selector.match_labels.items() <= pod.labels.items()
        and pod.labels.get("spark-role") != "executor"
    )


def _ambiguous(alive: list[DriverPod]) -> str:
    names = ", ".join(sorted(pod.name for pod in alive))
    return (
        f"spec.driver.selector matches {len(alive)} live pods ({names}): make it match one, or use "
        "spec.driver.podName"
    )


def _not_found(namespace: str, wanted: Driver) -> str:
    if wanted.pod_name is not None:
        return (
            f"there is no pod {wanted.pod_name} in namespace {namespace}: check spec.driver.podName"
        )
    assert wanted.selector is not None
    labels = ", ".join(
        f"{key}={value}" for key, value in sorted(wanted.selector.match_labels.items())
    )
    return f"no pod in namespace {namespace} has the labels {labels}: check spec.driver.selector"
