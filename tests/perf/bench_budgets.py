"""How long it takes to divide budgets among a thousand applications: one division, by what has changed since the last.

    python -m tests.perf.bench_budgets [--applications N] [--rounds N]

Measured is `BudgetCoordinator.divide` with everything that belongs to it: counting the pods that have changed, demands,
division, grants, and who has to be woken. Printed is CPU time, the middle and the worst of all rounds; nothing is asserted.
``a busy second`` is what a second costs when demands change all the time: divisions wait for each other so that they use no
more than a twentieth of a processor.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from spark_allocation.controller.budget_coordinator import (
    LONGEST_PAUSE_SECONDS,
    PAUSE_PER_SECOND_OF_WORK,
    SHORTEST_PAUSE_SECONDS,
    BudgetCoordinator,
)
from spark_allocation.controller.budget_members import BudgetMember
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.controller.policy_directory import PolicyDirectory
from spark_allocation.core.budget_cap import ProfileDemand
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.pod_size import PodSize
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore, SeenPod

EXECUTORS_EACH = 10
_SIZE = PodSize(4000, 8192)


class _Scene:
    """A thousand applications of ten executors each, in ten namespaces; unevenly, every other one has twenty and the rest none."""

    def __init__(
        self,
        applications: int,
        budgets: list[dict[str, Any]],
        *,
        profiles: int = 1,
        unevenly: bool = False,
    ) -> None:
        self.now_ms = 0
        self.random = random.Random(1)
        self.profiles = profiles
        self.policies = PolicyDirectory()
        self.policies.replace_all(
            "policies",
            [
                {
                    "kind": "ClusterSparkAllocationPolicy",
                    "metadata": {"name": "prod"},
                    "spec": {"budgets": budgets},
                }
            ],
        )
        self.store = ExecutorPodsSnapshotsStore()
        self.keys = [
            DriverKey(f"team-{number % 10}", f"driver-{number}") for number in range(applications)
        ]
        self.held = {
            key: (0, 2 * EXECUTORS_EACH)[place % 2] if unevenly else EXECUTORS_EACH
            for place, key in enumerate(self.keys)
        }
        self.store.replace_all(
            "all",
            (self._pod(key, each) for key, held in self.held.items() for each in range(held)),
            at=0.0,
        )
        self.coordinator = BudgetCoordinator(
            self.policies, self.store, DriverDirectory(), now_ms=lambda: self.now_ms
        )
        self.members: list[BudgetMember] = []

    def _pod(self, key: DriverKey, number: int, state: PodState = PodState.RUNNING) -> SeenPod:
        pod = ExecutorPod(
            uid=f"{key.driver_uid}-{number}",
            name=f"{key.driver_uid}-exec-{number}",
            namespace=key.namespace,
            executor_id=ExecutorId(number),
            profile_id=ProfileId(number % self.profiles),
            state=state,
            created_at=0.0,
            size=_SIZE,
        )
        return SeenPod(key, pod, "allocation")

    def serve_all(self) -> None:
        for key in self.keys:
            self.members.append(
                self.coordinator.join(
                    key.driver_uid, key, {}, wake=lambda: None, next_size=lambda _: _SIZE
                )
            )
        for member in self.members:
            self.tell(member)

    def tell(self, member: BudgetMember) -> None:
        each = EXECUTORS_EACH // self.profiles
        member.tell(
            [
                ProfileDemand(
                    ProfileId(profile),
                    wanted=self.random.randrange(0, 4 * each),
                    minimum=1,
                    running=self.held[member.key] // self.profiles,
                    size=_SIZE,
                )
                for profile in range(self.profiles)
            ],
            is_fresh=True,
        )

    def some_change(self, count: int) -> None:
        for member in self.random.sample(self.members, count):
            self.tell(member)

    def pods_change(self, count: int) -> None:
        for key in self.random.sample([key for key, held in self.held.items() if held], count):
            self.store.update("all", self._pod(key, 0))


def _measure(rounds: int, prepare: Callable[[], None], divide: Callable[[], None]) -> list[float]:
    found = []
    for _ in range(rounds):
        prepare()
        began = time.thread_time()
        divide()
        found.append(time.thread_time() - began)
    return found


def _print(name: str, found: list[float]) -> float:
    middle = statistics.median(found)
    print(f"{name:64} {middle * 1000:8.1f} {max(found) * 1000:8.1f}")
    return middle


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--applications", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    count, rounds = chosen.applications, chosen.rounds
    capacity = EXECUTORS_EACH * count
    one = [{"name": "all", "executors": capacity, "cores": capacity * 4}]
    teams = [
        {
            "name": f"team-{number}",
            "selector": {"namespaces": [f"team-{number}"]},
            "executors": capacity // 10,
        }
        for number in range(10)
    ]
    print(f"{'milliseconds of CPU for one division':64} {'middle':>8} {'worst':>8}")
    middle = 0.0
    for name, budgets, profiles, unevenly in (
        ("one budget", one, 1, False),
        ("one budget, five profiles each", one, 5, False),
        ("one budget, five profiles each, held unevenly", one, 5, True),
        ("ten budgets, one for each team", teams, 1, False),
        ("ten budgets and one over all", [*one, *teams], 1, False),
        ("one budget that is never short", [{"name": "all", "executors": 100 * capacity}], 1, False),
    ):  # fmt: skip
        scene = _Scene(count, budgets, profiles=profiles, unevenly=unevenly)
        divide = scene.coordinator.divide
        _print(f"{name}: nobody is served yet", _measure(1, lambda: None, divide))
        scene.serve_all()
        _print(f"{name}: all have told", _measure(1, lambda: None, divide))

        def some_change(scene: _Scene = scene) -> None:
            scene.now_ms += 300
            scene.some_change(count // 10)
            scene.pods_change(count // 10)

        changed = _print(f"{name}: a tenth has changed", _measure(rounds, some_change, divide))
        middle = middle or changed
    pause = min(
        LONGEST_PAUSE_SECONDS, max(SHORTEST_PAUSE_SECONDS, PAUSE_PER_SECOND_OF_WORK * middle)
    )
    print(f"{'a busy second, one budget':64} {1000 * middle / (pause + middle):8.1f}")


if __name__ == "__main__":
    main()
