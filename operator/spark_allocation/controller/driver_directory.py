"""The driver pods that the watches report, by namespace; whoever looks for one is woken when it changes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from spark_allocation.core.driver_report import DriverPod

Listener = Callable[[DriverPod], None]


class DriverDirectory:
    """Driver pods by uid. A sink for `sources.pods_watch.PodsWatch`.

    Attributes:
        version: grows with each change, so that a reader knows whether its answer still holds.
    """

    def __init__(self) -> None:
        self._pods: dict[str, DriverPod] = {}
        self._namespaces: dict[str, set[str]] = {}
        self._scopes: dict[str, set[str]] = {}
        self._subscribers: dict[str, list[Listener]] = {}
        self._listeners: list[Listener] = []
        self._watched: set[str] = set()
        self.version = 0

    @property
    def scopes(self) -> int:
        """How many watches and questions something is kept of."""
        return len(self._scopes)

    def listen(self, listener: Listener) -> None:
        """Call with each pod that is known, and from now on with each that changes; one that is gone is told as deleting."""
        self._listeners.append(listener)
        for pod in list(self._pods.values()):
            listener(pod)

    def update(self, scope: str, pod: DriverPod) -> None:
        """A driver pod was added or changed."""
        self._watched.add(scope)
        self._scopes.setdefault(scope, set()).add(pod.uid)
        self._put(pod)
        self._tell(pod)

    def remove(self, scope: str, pod: DriverPod) -> None:
        """A driver pod is gone, or this watch does not cover it any more."""
        self.forget(scope, pod.uid)

    def forget(self, scope: str, uid: str) -> None:
        """The same by its uid; a pod that another watch covers stays."""
        self._scopes.setdefault(scope, set()).discard(uid)
        if not self.is_watched(uid):
            self._drop(uid)

    def refused(self, scope: str) -> None:
        """The driver pods of a watch may not be listed: whoever is looked for is asked for."""

    def replace_all(
        self,
        scope: str,
        pods: Iterable[DriverPod],
        at: float,  # noqa: ARG002
        *,
        asked_ns: int,  # noqa: ARG002
    ) -> None:
        """The full list of one watch."""
        self._watched.add(scope)
        listed = {pod.uid: pod for pod in pods}
        before, self._scopes[scope] = self._scopes.get(scope, set()), set(listed)
        for uid in before - listed.keys():
            if not self.is_watched(uid):
                self._drop(uid)
        for pod in listed.values():
            self._put(pod)
            self._tell(pod)

    def asked(self, scope: str, pods: list[DriverPod]) -> None:
        """The answer to a question about pods that no watch covers; nobody is woken."""
        listed = {pod.uid: pod for pod in pods}
        before = self._scopes.pop(scope, set())
        if listed:  # whoever is asked for in vain leaves nothing: names of driver pods are new with each application
            self._scopes[scope] = set(listed)
        for uid in before - listed.keys():
            if not self.is_watched(uid):
                self._take_out(uid)
        for uid, pod in listed.items():
            if not self.is_watched(uid) and self._pods.get(uid) != pod:
                self._put(pod)

    def is_watched(self, uid: str) -> bool:
        """A watch reports this pod's changes."""
        return any(uid in self._scopes.get(scope, ()) for scope in self._watched)

    def named(self, namespace: str, name: str) -> DriverPod | None:
        """The newest pod of this name."""
        found = [pod for pod in self._in(namespace) if pod.name == name]
        return max(found, key=lambda pod: pod.created_at, default=None)

    def labelled(self, namespace: str, labels: Mapping[str, str]) -> list[DriverPod]:
        """The pods that carry these labels."""
        return [pod for pod in self._in(namespace) if labels.items() <= pod.labels.items()]

    def all(self) -> list[DriverPod]:
        """Every pod that is known."""
        return list(self._pods.values())

    def by_uid(self, uid: str) -> DriverPod | None:
        """The pod with this uid."""
        return self._pods.get(uid)

    @contextmanager
    def subscription(self, namespace: str, changed: Listener) -> Iterator[None]:
        """While inside, ``changed`` is called with each driver pod of the namespace that changes or goes."""
        self._subscribers.setdefault(namespace, []).append(changed)
        try:
            yield
        finally:
            self._subscribers[namespace].remove(changed)
            if not self._subscribers[namespace]:
                del self._subscribers[namespace]

    def _in(self, namespace: str) -> Iterator[DriverPod]:
        return (self._pods[uid] for uid in self._namespaces.get(namespace, ()))

    def _put(self, pod: DriverPod) -> None:
        self.version += 1
        self._pods[pod.uid] = pod
        self._namespaces.setdefault(pod.namespace, set()).add(pod.uid)

    def _take_out(self, uid: str) -> DriverPod | None:
        gone = self._pods.pop(uid, None)
        if gone is not None:
            self.version += 1
            uids = self._namespaces[gone.namespace]
            uids.discard(uid)
            if not uids:
                del self._namespaces[gone.namespace]
        return gone

    def _drop(self, uid: str) -> None:
        gone = self._take_out(uid)
        if gone is not None:
            self._tell(replace(gone, deleting=True))

    def _tell(self, pod: DriverPod) -> None:
        for changed in (*self._subscribers.get(pod.namespace, ()), *self._listeners):
            changed(pod)
