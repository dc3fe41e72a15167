"""`bench_many` beside an API server in memory, with schedulers and kubelets that are played in the same process."""

import time
from collections import deque
from collections.abc import Callable, Iterable

from tests.perf.bench_pods_watch import pod as executor_pod_of_others
from tests.perf.many_world import Asked, Document, Load, play
from tests.perf.memory_api import MemoryApi

POD_STARTS_SECONDS = 0.5
POD_GOES_SECONDS = 0.2


class PodsInMemory:
    """`ManyPods` of a MemoryApi."""

    def __init__(self, api: MemoryApi) -> None:
        self._api = api
        self._scheduled: deque[tuple[float, str, Document]] = deque()
        self._listener: Callable[[str, Document], None] = lambda _kind, _pod: None
        self._requests: dict[str, int] = {}
        self._content_bytes = 0
        self.kubeconfig = api.kubeconfig()
        self.lease_namespace = "operator"
        self.conf: dict[str, str] = {}
        api.listen("pods", self._changed)

    def listen(self, listener: Callable[[str, Document], None]) -> None:
        self._listener = listener

    async def put_driver(self, pod: Document, address: str) -> str:
        status = {
            "phase": "Running",
            "podIP": address,
            "containerStatuses": [_running("spark-kubernetes-driver", "2026-01-01T00:00:00Z")],
        }
        made = self._api.put("pods", pod | {"status": status})
        return str(made["metadata"]["uid"])

    async def put_allocation(self, allocation: Document) -> None:
        self._api.put("sparkallocations", allocation)

    async def put_foreign(self, pods: int) -> None:
        for number in range(pods):
            self._api.put("pods", executor_pod_of_others(number, version=0))

    async def drivers_run(self) -> None:
        """They were made so."""

    def turn(self, now: float) -> None:
        due = [each for each in self._scheduled if each[0] <= now]
        if not due:
            return
        self._scheduled = deque(each for each in self._scheduled if each[0] > now)
        for _, what, pod in due:
            if what == "go":
                self._api.remove("pods", pod)
            elif "deletionTimestamp" not in pod["metadata"]:
                self._api.change("pods", pod, {"spec": {"nodeName": "node-1"}, "status": _RUNNING})

    def executors(self) -> Iterable[Document]:
        return filter(_is_executor, self._api.all("pods"))

    def begin(self) -> None:
        self._api.statuses_by_second.clear()
        self._requests = dict(self._api.requests)
        self._content_bytes = self._api.received_bytes + self._api.sent_bytes

    def asked(self) -> Asked:
        api = self._api
        return Asked(
            {name: count - self._requests.get(name, 0) for name, count in api.requests.items()},
            max(api.statuses_by_second.values(), default=0),
            api.received_bytes + api.sent_bytes - self._content_bytes,
        )

    def _changed(self, kind: str, pod: Document) -> None:
        if not _is_executor(pod):
            return
        now = time.monotonic()
        if kind == "ADDED" and pod["status"]["phase"] == "Pending":
            self._scheduled.append((now + POD_STARTS_SECONDS, "run", pod))
        elif kind == "MODIFIED" and "deletionTimestamp" in pod["metadata"]:
            self._scheduled.append((now + POD_GOES_SECONDS, "go", pod))
        self._listener(kind, pod)


def _is_executor(pod: Document) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get("spark-role") == "executor")


def _running(container: str, since: str) -> Document:
    return {
        "name": container,
        "ready": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": since}},
    }


_RUNNING: Document = {
    "phase": "Running",
    "podIP": "10.42.7.1",
    "conditions": [
        {"type": kind, "status": "True"} for kind in ("Ready", "PodScheduled", "Initialized")
    ],
    "containerStatuses": [_running("spark-kubernetes-executor", "2026-01-01T00:00:05Z")],
}


async def serve(load: Load) -> None:
    """The world, until stdin ends."""
    async with MemoryApi() as api:
        await play(PodsInMemory(api), load)
