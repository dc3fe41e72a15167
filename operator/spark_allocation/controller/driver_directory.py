"""The driver pods that the watches report, by name and by label; whoever looks for one is woken when it changes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from spark_allocation.core.driver_report import DriverPod


class DriverDirectory:
    """Driver pods by (namespace, name). A sink for `sources.pods_watch.PodsWatch`."""

    def __init__(self) -> None:
        self._pods: dict[str, DriverPod] = {}
        self._scopes: dict[str, set[str]] = {}
        self._wakes: dict[str, list[Callable[[], None]]] = {}
        self._listeners: list[Callable[[DriverPod], None]] = []
        self._watched: set[str] = set()

    def listen(self, listener: Callable[[DriverPod], None]) -> None:
        """Call with each pod that is added or changed."""
        self._listeners.append(listener)

    def update(self, scope: str, pod: DriverPod) -> None:
        """A driver pod was added or changed."""
        self._watched.add(scope)
        self._scopes.setdefault(scope, set()).add(pod.uid)
        self._pods[pod.uid] = pod
        self._tell(pod)

    def remove(self, scope: str, pod: DriverPod) -> None:
        """A driver pod is gone."""
        self._scopes.setdefault(scope, set()).discard(pod.uid)
        self._pods.pop(pod.uid, None)
        self._wake(pod.namespace)

    def forget(self, scope: str, uid: str) -> None:
        """A pod that is no driver any more."""
        self._scopes.setdefault(scope, set()).discard(uid)
        gone = self._pods.pop(uid, None)
        if gone is not None:
            self._wake(gone.namespace)

    def replace_all(self, scope: str, pods: Iterable[DriverPod], at: float) -> None:  # noqa: ARG002
        """The full list of one watch."""
        self._watched.add(scope)
        listed = {pod.uid: pod for pod in pods}
        for uid in self._scopes.get(scope, set()) - listed.keys():
            gone = self._pods.pop(uid, None)
            if gone is not None:
                self._wake(gone.namespace)
        self._scopes[scope] = set(listed)
        self._pods.update(listed)
        for pod in listed.values():
            self._tell(pod)

    def asked(self, scope: str, pods: list[DriverPod]) -> None:
        """The answer to a question about pods that no watch covers; nobody is woken unless something changed."""
        before = self._scopes.get(scope, set())
        listed = {pod.uid: pod for pod in pods}
        for uid in before - listed.keys():
            if not self.is_watched(uid):
                self._pods.pop(uid, None)
        self._scopes[scope] = set(listed)
        for uid, pod in listed.items():
            if not self.is_watched(uid):
                self._pods[uid] = pod

    def is_watched(self, uid: str) -> bool:
        """A watch reports this pod's changes."""
        return any(uid in self._scopes.get(scope, ()) for scope in self._watched)

    def named(self, namespace: str, name: str) -> DriverPod | None:
        """The newest pod of this name."""
        found = [
            pod for pod in self._pods.values() if (pod.namespace, pod.name) == (namespace, name)
        ]
        return max(found, key=lambda pod: pod.created_at, default=None)

    def labelled(self, namespace: str, labels: Mapping[str, str]) -> list[DriverPod]:
        """The pods that carry these labels."""
        return [
            pod
            for pod in self._pods.values()
            if pod.namespace == namespace and labels.items() <= pod.labels.items()
        ]

    def by_uid(self, uid: str) -> DriverPod | None:
        """The pod with this uid."""
        return self._pods.get(uid)

    @contextmanager
    def subscription(self, namespace: str, wake: Callable[[], None]) -> Iterator[None]:
        """While inside, ``wake`` is called after each change of a driver pod in the namespace."""
        self._wakes.setdefault(namespace, []).append(wake)
        try:
            yield
        finally:
            self._wakes[namespace].remove(wake)
            if not self._wakes[namespace]:
                del self._wakes[namespace]

    def _tell(self, pod: DriverPod) -> None:
        self._wake(pod.namespace)
        for listener in self._listeners:
            listener(pod)

    def _wake(self, namespace: str) -> None:
        for wake in self._wakes.get(namespace, ()):
            wake()
