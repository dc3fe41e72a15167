"""The cheapest SparkAllocation that is hardly slower than the fastest one: searched, not guessed.

Theory of operation
-------------------
The search turns one setting at a time and keeps what is best, until a round changes nothing: first ``maxExecutors`` over
sizes that grow by a third, then how targets rise, how long idle executors stay, how many there are at least and at the
beginning, and how long what executors hold keeps them. *Best* is the least cost among policies that are no slower than
the fastest one found so far by more than a given share, for every application; while none is, the fastest. The fastest
is found first: every executor that tasks can use, asked for at once and kept.

Every policy that was tried is remembered, and the choice is made among all of them at the end. There is no chance in
it: the same logs, seed and share give the same policy.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spark_allocation.api.group import GROUP, KIND, VERSION
from spark_allocation.controller.policy_files import PolicyFile
from spark_allocation.core.simulation.application import RecordedApplication
from spark_allocation.core.simulation.outcome import Outcome

MOST_ROUNDS = 3
GROWTH = 4 / 3
MOST_EXECUTORS = 1_000

Wishes = Mapping[str, str | int]
Try = Callable[[PolicyFile], Sequence[Outcome]]
"""The outcome for each application."""

_FIELDS: tuple[tuple[str, tuple[str | int, ...]], ...] = (
    ("allocation.rampUp", ("Exponential", "Immediate")),
    ("dynamicAllocation.executorIdleTimeout", ("5s", "15s", "30s", "60s", "2min", "5min", "15min")),
    ("dynamicAllocation.shuffleTracking.timeout", ("30s", "2min", "10min", "1h")),
    ("dynamicAllocation.cachedExecutorIdleTimeout", ("30s", "2min", "10min", "1h")),
    ("dynamicAllocation.schedulerBacklogTimeout", ("1s", "5s")),
)


@dataclass(frozen=True, slots=True)
class Tried:
    """A policy that was tried.

    Attributes:
        wishes: its fields.
        core_ms: over all applications.
    """

    wishes: Wishes
    outcomes: tuple[Outcome, ...]

    @property
    def core_ms(self) -> int:
        """What it costs, over all applications."""
        return sum(outcome.core_ms for outcome in self.outcomes)

    @property
    def makespan_ms(self) -> int:
        """How long it takes, over all applications."""
        return sum(outcome.makespan_ms for outcome in self.outcomes)

    @property
    def finished(self) -> bool:
        """Every application comes to its end."""
        return all(outcome.finished for outcome in self.outcomes)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the search found.

    Attributes:
        chosen: the cheapest policy that is fast enough; None when no application ends under any.
        fastest: the one that it is measured against.
        tried: how many policies were simulated.
    """

    chosen: Tried | None
    fastest: Tried | None
    tried: int


def recommend(
    applications: Sequence[RecordedApplication], attempt: Try, *, within: float
) -> Recommendation:
    """Search.

    Args:
        attempt: simulates all applications under a policy.
        within: by what share of the fastest makespan a policy may be slower, such as 0.1.
    """
    search = _Search(attempt, within)
    current: dict[str, str | int] = {
        "dynamicAllocation.maxExecutors": MOST_EXECUTORS,
        "dynamicAllocation.initialExecutors": 0,
        "dynamicAllocation.minExecutors": 0,
        "allocation.rampUp": "Immediate",
        "dynamicAllocation.executorIdleTimeout": "15min",
    }
    without_bounds = search.attempt(current)
    widest = max((each.peak_executors for each in without_bounds.outcomes), default=1) or 1
    current["dynamicAllocation.maxExecutors"] = widest
    search.attempt({**current, "dynamicAllocation.initialExecutors": widest})
    current["dynamicAllocation.executorIdleTimeout"] = "60s"
    sizes = _sizes(widest)
    search.turn(current, "dynamicAllocation.maxExecutors", sizes)
    caches = any(stage.cached_rdds for each in applications for stage in each.stages.values())
    shuffles = any(stage.writes_shuffle for each in applications for stage in each.stages.values())
    for _ in range(MOST_ROUNDS):
        before = dict(current)
        for name, values in _FIELDS:
            if ("cached" in name and not caches) or ("shuffle" in name and not shuffles):
                continue
            search.turn(current, name, values)
        few = (
            0,
            *(size for size in sizes if size <= int(current["dynamicAllocation.maxExecutors"])),
        )
        search.turn(current, "dynamicAllocation.initialExecutors", few)
        search.turn(current, "dynamicAllocation.minExecutors", few[:4])
        near = _near(sizes, int(current["dynamicAllocation.maxExecutors"]))
        search.turn(current, "dynamicAllocation.maxExecutors", near)
        if current == before:
            break
    return Recommendation(search.best(), search.fastest(), len(search.tried))


def policy_of(wishes: Wishes, name: str = "recommended", driver: str = "DRIVER-POD") -> PolicyFile:
    """A SparkAllocation with these fields."""
    return PolicyFile(name, (document_of(wishes, driver),))


def document_of(wishes: Wishes, driver: str = "DRIVER-POD") -> dict[str, Any]:
    """The object to apply; the driver's name is to be filled in."""
    spec: dict[str, Any] = {"driver": {"podName": driver.lower()}}
    for name, value in wishes.items():
        *path, last = name.split(".")
        place = spec
        for step in path:
            place = place.setdefault(step, {})
        place[last] = value
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": "recommended"},
        "spec": spec,
    }


class _Search:
    def __init__(self, attempt: Try, within: float) -> None:
        self._attempt = attempt
        self._within = within
        self.tried: dict[tuple[tuple[str, str | int], ...], Tried] = {}

    def attempt(self, wishes: Wishes) -> Tried:
        """Simulate a policy, once."""
        ordered = _in_order(wishes)
        key = tuple(sorted(ordered.items()))
        if key not in self.tried:
            self.tried[key] = Tried(ordered, tuple(self._attempt(policy_of(ordered))))
        return self.tried[key]

    def turn(self, current: dict[str, str | int], name: str, values: Sequence[str | int]) -> None:
        """Try these values of one setting beside what holds now, and keep the best."""
        candidates = [dict(current)]
        for value in values:
            wishes = {**current, name: value}
            candidates.append(wishes)
        tried = [self.attempt(wishes) for wishes in candidates]
        chosen = min(range(len(tried)), key=lambda place: (*self._judged(tried[place]), place))
        current.clear()
        current.update(candidates[chosen])

    def fastest(self) -> Tried | None:
        """The least time over all applications; of equals the cheapest."""
        finished = [each for each in self.tried.values() if each.finished]
        return min(finished, key=lambda each: (each.makespan_ms, each.core_ms), default=None)

    def best(self) -> Tried | None:
        """The cheapest of those that are fast enough."""
        finished = [each for each in self.tried.values() if each.finished]
        return min(finished, key=self._judged, default=None)

    def _judged(self, tried: Tried) -> tuple[int, int, int]:
        """Less is better: first those that are fast enough, by cost; then the others, by time."""
        least = self._least()
        fast = tried.finished and all(
            outcome.makespan_ms <= math.floor(best * (1 + self._within))
            for outcome, best in zip(tried.outcomes, least, strict=True)
        )
        if fast:
            return 0, tried.core_ms, tried.makespan_ms
        return (1 if tried.finished else 2), tried.makespan_ms, tried.core_ms

    def _least(self) -> list[int]:
        """The best makespan of each application under any policy tried."""
        finished = [each.outcomes for each in self.tried.values() if each.finished]
        return [
            min(outcome.makespan_ms for outcome in each) for each in zip(*finished, strict=True)
        ]


def _sizes(most: int) -> tuple[int, ...]:
    sizes: list[int] = []
    size = 1.0
    while round(size) < most:
        if not sizes or round(size) != sizes[-1]:
            sizes.append(round(size))
        size *= GROWTH
    return (*sizes, most)


def _near(sizes: Sequence[int], size: int) -> tuple[int, ...]:
    """Sizes between the neighbours of the one that holds."""
    below = max((each for each in sizes if each < size), default=size)
    above = min((each for each in sizes if each > size), default=size)
    step = max(1, (above - below) // 6)
    return tuple(range(below, above + 1, step))


def _in_order(wishes: Wishes) -> dict[str, str | int]:
    """The same fields with bounds that are in order: a minimum or an initial number above the maximum is the maximum."""
    found = dict(wishes)
    most = int(found["dynamicAllocation.maxExecutors"])
    for name in ("dynamicAllocation.minExecutors", "dynamicAllocation.initialExecutors"):
        found[name] = min(most, int(found.get(name, 0)))
    least = int(found["dynamicAllocation.minExecutors"])
    found["dynamicAllocation.initialExecutors"] = max(least, int(found["dynamicAllocation.initialExecutors"]))  # fmt: skip
    return found
