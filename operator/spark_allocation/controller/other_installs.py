"""SparkAllocations that another installation serves: nothing of them is touched, and a driver that one of them names is theirs.

Several installations may serve one cluster, each its own objects (``spec.managedBy``). Two SparkAllocations of different
installations can still name one driver, and then the same rule has to hold as inside one: the older serves it, the other
is `Conflicted`. Each installation sees all objects through the same watch, in the same order, and judges by what they
say, so both come to the same end without a word to each other.

A watch that was broken does not tell who went meanwhile, and none of our finalizers keeps them: before one of them keeps a
driver from us, it is looked at.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spark_allocation.api.v1alpha1 import Driver
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.controller.driver_finding import matches
from spark_allocation.controller.spec_reading import InvalidSpec, owner_pod, read_spec
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.kube.allocations_api import AllocationsApi


def managed_by(body: Mapping[str, Any]) -> str:
    """The installation that a SparkAllocation is for; "" for the one without a name."""
    spec = body.get("spec")
    name = spec.get("managedBy") if isinstance(spec, Mapping) else None
    return name if isinstance(name, str) else ""


@dataclass(frozen=True, slots=True)
class OtherAllocation:
    """One of them, as far as it matters here.

    Attributes:
        installation: that serves it; "" for the one without a name.
        owner_pod: uid of the only pod that it may serve; "" for any.
    """

    uid: str
    namespace: str
    name: str
    installation: str
    created_at: str
    driver: Driver
    owner_pod: str

    def names(self, pod: DriverPod) -> bool:
        """Whether it asks for this pod."""
        return (
            pod.namespace == self.namespace
            and self.owner_pod in ("", pod.uid)
            and matches(pod, self.driver)
        )

    def __str__(self) -> str:
        return f"{self.name} (managed by {self.installation or 'the installation without a name'})"


class OtherInstalls:
    """All of them.

    Args:
        drivers: where driver pods are known.
    """

    def __init__(self, drivers: DriverDirectory) -> None:
        self._drivers = drivers
        self._by_uid: dict[str, OtherAllocation] = {}
        self._by_namespace: dict[str, dict[str, OtherAllocation]] = {}

    def __len__(self) -> int:
        return len(self._by_uid)

    def seen(self, uid: str, body: Mapping[str, Any], *, deleted: bool) -> None:
        """One was added, changed or deleted. One that cannot be read names no driver."""
        self._forget(uid)
        spec = read_spec(body)
        if deleted or isinstance(spec, InvalidSpec):
            return
        metadata = body["metadata"]
        found = OtherAllocation(
            uid=uid,
            namespace=metadata["namespace"],
            name=metadata["name"],
            installation=managed_by(body),
            created_at=metadata["creationTimestamp"],
            driver=spec.driver,
            owner_pod=owner_pod(metadata),
        )
        self._by_uid[uid] = found
        self._by_namespace.setdefault(found.namespace, {})[uid] = found

    def claimants(self, driver_uid: str) -> Iterator[OtherAllocation]:
        """Those that ask for this driver pod."""
        pod = self._drivers.by_uid(driver_uid) if self._by_uid else None
        if pod is not None:
            yield from self.naming(pod)

    async def forget_gone(self, driver_uid: str, allocations: AllocationsApi) -> None:
        """Forget those that ask for this driver pod and are no more.

        Raises:
            ApiUnavailable: nobody knows.
        """
        for each in list(self.claimants(driver_uid)):
            found = await allocations.get(each.namespace, each.name)
            if found is None or found["metadata"]["uid"] != each.uid:
                self._forget(each.uid)

    def naming(self, pod: DriverPod) -> Iterator[OtherAllocation]:
        """Those that ask for this pod."""
        for each in self._by_namespace.get(pod.namespace, {}).values():
            if each.names(pod):
                yield each

    def _forget(self, uid: str) -> None:
        known = self._by_uid.pop(uid, None)
        if known is not None:
            of_namespace = self._by_namespace[known.namespace]
            del of_namespace[uid]
            if not of_namespace:
                del self._by_namespace[known.namespace]
