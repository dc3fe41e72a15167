"""The current picture of executor pods, by driver: the one mutable thing between the pods watch and the core.

The key is the namespace and the uid of the driver pod that owns the executors. Application ids and labels are written
by tenants and are not unique; a pod whose labels lie can therefore only ever appear under its own owner.

Spark: ``ExecutorPodsSnapshotsStoreImpl``. The two verbs are the same, `update` and `replace_all`; a subscriber is
woken and takes a `PodsView` when it is ready, instead of being handed every intermediate snapshot. So that nothing is
lost between two takes, a view also carries the pods that went away since the last one.

A watch can be late. Who decides for a driver knows which pods it has just made; who comes after does not, and asks
`may_be_behind` first.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from spark_allocation.core.executor_pods import ExecutorPod

DEPARTED_KEPT = 10_000
"""Departed pods kept for a subscriber that does not take; beyond that the oldest are forgotten."""

LANDED_AFTER_NS = 60 * 1_000_000_000
"""A creation whose request was broken off can be carried out for so long: an API server gives up a request after a minute."""


@dataclass(frozen=True, slots=True)
class DriverKey:
    """Whose executors: namespace and uid of the driver pod."""

    namespace: str
    driver_uid: str


@dataclass(frozen=True, slots=True)
class SeenPod:
    """An executor pod and what its metadata claims.

    Attributes:
        allocation_uid: the value of our label, empty on pods that are not ours.
        incarnation: the value of our annotation.
        application_id: Spark's app selector label.
        next_executor_id: the end of the id block that its id was taken from; 0 on pods that are not ours.
    """

    key: DriverKey
    pod: ExecutorPod
    allocation_uid: str = ""
    incarnation: str = ""
    application_id: str = ""
    next_executor_id: int = 0


@dataclass(frozen=True, slots=True)
class PodsView:
    """What a subscriber takes: the pods now, those that went away since it last took, and the last full list."""

    pods: tuple[SeenPod, ...]
    departed: tuple[SeenPod, ...]
    full_sync_at: float


@dataclass(slots=True)
class _Driver:
    pods: dict[str, SeenPod] = field(default_factory=dict)
    departed: list[SeenPod] = field(default_factory=list)
    wakes: list[Callable[[], None]] = field(default_factory=list)
    version: int = 0


class ExecutorPodsSnapshotsStore:
    """All executor pods that the watches report. Used from one event loop."""

    def __init__(self, *, scopes: int = 1) -> None:
        """
        Args:
            scopes: how many watches feed the store; it is synced once each of them has listed or may not, but one at least
                has. Whose pods may not be listed waits (`until_known`), the others do not.
        """
        self._drivers: dict[DriverKey, _Driver] = {}
        self._scopes: dict[str, dict[str, DriverKey]] = {}
        self._expected_scopes = scopes
        self._full_sync_at: dict[str, float] = {}
        self._asked_ns: dict[str, int] = {}
        self._refused: set[str] = set()
        self._listed = asyncio.Event()
        """Replaced at each full list: those who wait for one look again."""
        self._served_until_ns: dict[DriverKey, int] = {}
        self._changes = 0
        self.synced = asyncio.Event()

    def __len__(self) -> int:
        return sum(len(uids) for uids in self._scopes.values())

    def update(self, scope: str, pod: SeenPod) -> None:
        """A pod was added or changed."""
        self._put(scope, pod)
        self._wake(pod.key)

    def remove(self, scope: str, pod: SeenPod) -> None:
        """A pod is gone; its last state is kept for the subscriber."""
        self._scopes.setdefault(scope, {}).pop(pod.pod.uid, None)
        driver = self._drivers.get(pod.key)
        if driver is not None and driver.pods.pop(pod.pod.uid, None) is not None:
            self._note_change(driver)
            self._depart(driver, pod)
            self._forget_if_unused(pod.key)
        self._wake(pod.key)

    def forget(self, scope: str, uid: str) -> None:
        """A pod was relabelled so that it is no executor any more."""
        key = self._scopes.get(scope, {}).pop(uid, None)
        if key is not None:
            self._take_from(key, uid)
            self._wake(key)

    def refused(self, scope: str) -> None:
        """The pods of one watch may not be listed: what is known of them is too old for who begins to decide."""
        self._full_sync_at.pop(scope, None)
        self._asked_ns.pop(scope, None)
        self._refused.add(scope)
        self._look_whether_synced()

    async def until_known(self, namespace: str) -> None:
        """Return once the pods of a namespace have been listed."""
        while not self._has_listed(namespace):
            await self._listed.wait()

    def replace_all(
        self, scope: str, pods: Iterable[SeenPod], at: float, *, asked_ns: int = 0
    ) -> None:
        """The full list of one watch: what is missing from it is gone, whatever was not said.

        Args:
            at: epoch seconds, asked_ns: monotonic nanoseconds at which it was asked for.
        """
        before = self._scopes.get(scope, {})
        self._scopes[scope] = {}
        changed: set[DriverKey] = set()
        for pod in pods:
            self._put(scope, pod)
            changed.add(pod.key)
        after = self._scopes[scope]
        for uid, key in before.items():
            if after.get(uid) != key:
                self._take_from(key, uid)
                changed.add(key)
        self._full_sync_at[scope], self._asked_ns[scope] = at, asked_ns
        self._refused.discard(scope)
        self._listed.set()
        self._listed = asyncio.Event()
        if self._look_whether_synced():
            told_ns = min(self._asked_ns.values()) - LANDED_AFTER_NS
            self._served_until_ns = {
                key: until
                for key, until in self._served_until_ns.items()
                if until > told_ns or self._is_unknown(key.namespace)
            }
        for key, driver in list(self._drivers.items()):
            # a full list is news to every subscriber: it may end the wait for a pod that never appeared
            if driver.wakes or key in changed:
                self._wake(key)

    def take(self, key: DriverKey) -> PodsView:
        """The pods of one driver now; the departed ones are handed out once."""
        driver = self._drivers.get(key)
        full_sync_at = min(self._full_sync_at.values(), default=0.0)
        if self._is_unknown(key.namespace):
            full_sync_at = 0.0  # that others have been listed since says nothing of a pod that is not seen here
        if driver is None:
            return PodsView((), (), full_sync_at)
        departed, driver.departed = tuple(driver.departed), []
        return PodsView(tuple(driver.pods.values()), departed, full_sync_at)

    def may_be_behind(self, key: DriverKey) -> bool:
        """Whether somebody served this driver since the last full list: pods may have been made that no watch has told of."""
        driver = self._drivers.get(key)
        return key in self._served_until_ns or (driver is not None and bool(driver.wakes))

    def drivers(self) -> list[tuple[DriverKey, int]]:
        """Every driver with executor pods, and a number that is another one after each change to them."""
        return [(key, driver.version) for key, driver in self._drivers.items() if driver.pods]

    def pods_of(self, key: DriverKey) -> tuple[SeenPod, ...]:
        """The pods of one driver now; takes nothing from who reads them."""
        driver = self._drivers.get(key)
        return () if driver is None else tuple(driver.pods.values())

    def has_pods(self, key: DriverKey) -> bool:
        """Whether this driver has executor pods, whoever made them; takes nothing from who reads them."""
        driver = self._drivers.get(key)
        return driver is not None and bool(driver.pods)

    @contextmanager
    def subscription(self, key: DriverKey, wake: Callable[[], None]) -> Iterator[None]:
        """While inside, ``wake`` is called after each change to this driver's pods."""
        driver = self._drivers.setdefault(key, _Driver())
        driver.wakes.append(wake)
        try:
            yield
        finally:
            driver.wakes.remove(wake)
            if not driver.wakes:
                driver.departed.clear()
            self._served_until_ns[key] = time.monotonic_ns()
            self._forget_if_unused(key)

    def _is_unknown(self, namespace: str) -> bool:
        """Its pods may not be listed."""
        return bool(self._refused) and not self._has_listed(namespace)

    def _has_listed(self, namespace: str) -> bool:
        return any(scope.partition("/")[0] in (namespace, "*") for scope in self._full_sync_at)

    def _look_whether_synced(self) -> bool:
        answered = len(self._full_sync_at) + len(self._refused)
        if answered < self._expected_scopes or not self._full_sync_at:
            return False
        self.synced.set()
        return True

    def _put(self, scope: str, pod: SeenPod) -> None:
        uids = self._scopes.setdefault(scope, {})
        before = uids.get(pod.pod.uid)
        if before is not None and before != pod.key:
            # somebody gave the pod to another owner: it is no executor of the former one any more
            self._take_from(before, pod.pod.uid)
            self._wake(before)
        uids[pod.pod.uid] = pod.key
        driver = self._drivers.get(pod.key)
        if driver is None:
            driver = self._drivers[pod.key] = _Driver()
        driver.pods[pod.pod.uid] = pod
        self._note_change(driver)

    def _take_from(self, key: DriverKey, uid: str) -> None:
        driver = self._drivers.get(key)
        gone = driver.pods.pop(uid, None) if driver is not None else None
        if driver is not None and gone is not None:
            self._note_change(driver)
            self._depart(driver, gone)
            self._forget_if_unused(key)

    def _note_change(self, driver: _Driver) -> None:
        self._changes += 1
        driver.version = self._changes

    def _depart(self, driver: _Driver, pod: SeenPod) -> None:
        if driver.wakes:
            driver.departed.append(pod)
            del driver.departed[:-DEPARTED_KEPT]

    def _wake(self, key: DriverKey) -> None:
        driver = self._drivers.get(key)
        for wake in driver.wakes if driver is not None else ():
            wake()

    def _forget_if_unused(self, key: DriverKey) -> None:
        driver = self._drivers.get(key)
        if driver is not None and not driver.pods and not driver.wakes:
            del self._drivers[key]
