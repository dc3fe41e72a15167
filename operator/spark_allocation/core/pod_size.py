"""How much of a node a pod asks for, in whole thousandths of a core and MiB: what budgets of cores and memory count.

Theory of operation
-------------------
The scheduler reserves for a pod the sum of what its containers and native sidecars request, or what its greediest init
container requests where that is more. A container that states a limit alone requests as much: so the API server reads
it, and so must a pod be read that has not been there yet. Fractions are rounded up. What cannot be read counts as
nothing: the API server refuses such a pod.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

from spark_allocation.core.quantities import quantity_amount

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class PodSize:
    """What one pod asks for."""

    milli_cores: int = 0
    memory_mib: int = 0

    def or_larger(self, other: "PodSize") -> "PodSize":
        """The greater of both, each amount by itself."""
        return PodSize(
            max(self.milli_cores, other.milli_cores), max(self.memory_mib, other.memory_mib)
        )


NO_SIZE = PodSize()


@dataclass(frozen=True, slots=True)
class ContainerSize:
    """What one container requests, as written.

    Attributes:
        is_init: an init container that ends before the others start; native sidecars are none.
    """

    cpu: str
    memory: str
    is_init: bool = False


def pod_size(containers: Iterable[ContainerSize]) -> PodSize:
    """The size of a pod with these containers."""
    together, greediest = [0, 0], [0, 0]
    for each in containers:
        size = _milli_cores(each.cpu), _mebibytes(each.memory)
        for kind in range(2):
            if each.is_init:
                greediest[kind] = max(greediest[kind], size[kind])
            else:
                together[kind] += size[kind]
    return PodSize(*(max(pair) for pair in zip(together, greediest, strict=True)))


def size_of_manifest(pod: Mapping[str, Any]) -> PodSize:
    """The size of a pod as a document."""
    spec = pod.get("spec") or {}
    return pod_size(
        [
            *(_container(each, is_init=False) for each in spec.get("containers") or ()),
            *(
                _container(each, is_init=each.get("restartPolicy") != "Always")
                for each in spec.get("initContainers") or ()
            ),
        ]
    )


def _container(container: Mapping[str, Any], *, is_init: bool) -> ContainerSize:
    resources = container.get("resources") or {}
    amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return ContainerSize(str(amounts.get("cpu", "")), str(amounts.get("memory", "")), is_init)


@lru_cache(maxsize=1024)
def _milli_cores(text: str) -> int:
    return _amount(text, 1000, 1)


@lru_cache(maxsize=1024)
def _mebibytes(text: str) -> int:
    return _amount(text, 1, _MIB)


def _amount(text: str, times: int, unit: int) -> int:
    if not text:
        return 0
    try:
        return max(0, ceil(quantity_amount(text) * times / unit))
    except (ValueError, ArithmeticError):
        return 0
