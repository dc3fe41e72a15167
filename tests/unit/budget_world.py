"""Several applications, each a served life under a manual clock, and the real coordinator between them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.unit.served_driver import ServedDriver, executor, report, settings, stage

from spark_allocation.controller.budget_coordinator import BudgetCoordinator
from spark_allocation.controller.budget_members import BudgetMember
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.controller.policy_directory import PolicyDirectory
from spark_allocation.core.allocation_step import Step
from spark_allocation.core.driver_report import DriverPod
from spark_allocation.core.executor_ids import ExecutorIds
from spark_allocation.core.executor_pods import ExecutorPod, PodState
from spark_allocation.core.pod_size import PodSize
from spark_allocation.snapshots_store import DriverKey, ExecutorPodsSnapshotsStore, SeenPod

SCOPE = "pods"
POLICIES = "clustersparkallocationpolicies"
ONE_CORE = PodSize(1000, 1024)


def budget_policy(*budgets: Mapping[str, Any], name: str = "prod", **spec: Any) -> dict[str, Any]:
    return {
        "kind": "ClusterSparkAllocationPolicy",
        "metadata": {"name": name},
        "spec": {"budgets": list(budgets), **spec},
    }


class BudgetedApplication:
    """One driver with tasks, its pods in a cluster that does what it is asked in its own time."""

    def __init__(
        self, world: "BudgetWorld", name: str, *, minimum: int = 0, tasks: int = 0
    ) -> None:
        self.world = world
        self.name = name
        self.key = DriverKey("jobs", f"uid-{name}")
        self.minimum = minimum
        self.tasks = tasks
        self.ids = ExecutorIds(reserved_until=1_000_000)
        self.pods: dict[int, ExecutorPod] = {}
        self.operator_made = True
        self.wakes = 0
        self.answers = True
        self.acts = True
        self.last: Step | None = None
        self.begin()

    def begin(self) -> None:
        """The operator begins to serve it: it knows nothing but the pods."""
        self.life = ServedDriver(
            settings(
                min_executors=self.minimum,
                initial_executors=self.minimum,
                max_executors=100,
                batch_size=50,
            )
        )
        self.life.ids, self.life.pods = self.ids, self.pods
        self.life.now_ns = self.world.now_ms * 1_000_000
        self.life.allocation.manager.on_stage_submitted(0, self.life.now_ns)  # type: ignore[arg-type]
        self.member: BudgetMember = self.world.coordinator.join(
            f"jobs/{self.name}",
            self.key,
            {"app": self.name},
            wake=self._woken,
            next_size=lambda _: ONE_CORE,
        )

    def _woken(self) -> None:
        self.wakes += 1

    @property
    def there(self) -> int:
        return len(self.pods)

    @property
    def staying(self) -> int:
        return sum(1 for pod in self.pods.values() if not pod.deleting)

    def decide(self) -> Step:
        """One step, told to the coordinator in the same breath as an operator does."""
        self.life.now_ns = self.world.now_ms * 1_000_000
        if self.answers:
            self.life.says(
                report(
                    *((stage(tasks=self.tasks + 1, done=1, active=min(self.tasks, self.staying)),) if self.tasks else ()),
                    executors=tuple(
                        executor(pod.executor_id, active=int(place < self.tasks))
                        for place, pod in enumerate(self.pods.values())
                        if pod.state is PodState.RUNNING
                    ),
                )
            )  # fmt: skip
        member = self.member
        self.life.allocation.grant(member.grants if self.acts else None)
        step = self.life.step(fresh=self.answers, acts=self.acts)
        if not self.acts:
            member.stands_by()
        elif member.grants is None:
            member.acts_freely()
        else:
            member.tell(step.demands, is_fresh=self.answers)
        self.last = step
        return step

    def carry_out(self, step: Step, state: PodState = PodState.RUNNING) -> None:
        self.life.carry_out(step, state=state)
        self.show()

    def show(self) -> None:
        """The watch catches up."""
        uid = "allocation" if self.operator_made else ""
        store = self.world.store
        for known in store.pods_of(self.key):
            if known.pod.executor_id not in self.pods:
                store.remove(SCOPE, known)
        for executor_id, pod in list(self.pods.items()):
            self.pods[executor_id] = sized = replace(pod, size=ONE_CORE)
            named = replace(sized, uid=f"{self.name}-{executor_id}")
            store.update(SCOPE, SeenPod(self.key, named, uid))

    def turn(self) -> None:
        self.carry_out(self.decide())

    def drained(self) -> None:
        """Those that leave have gone."""
        for executor_id in [each for each, pod in self.pods.items() if pod.deleting]:
            self.life.lose(executor_id)
        self.show()

    def granted(self) -> int:
        (grant,) = (self.member.grants or {}).values()
        return grant.granted


class BudgetWorld:
    """Policies, pods, drivers, and the coordinator."""

    def __init__(self, *budgets: Mapping[str, Any]) -> None:
        self.now_ms = 1_000_000
        self.policies = PolicyDirectory()
        self.drivers = DriverDirectory()
        self.store = ExecutorPodsSnapshotsStore()
        self.store.replace_all(SCOPE, (), at=0.0)
        self.coordinator = self._coordinator()
        self.applications: dict[str, BudgetedApplication] = {}
        self.budget(*budgets)

    def _coordinator(self) -> BudgetCoordinator:
        return BudgetCoordinator(
            self.policies, self.store, self.drivers, now_ms=lambda: self.now_ms
        )

    def budget(self, *budgets: Mapping[str, Any]) -> None:
        """Somebody applies the policy."""
        self.policies.replace_all(POLICIES, [budget_policy(*budgets)] if budgets else [])
        self.coordinator.policies_changed()

    def application(self, name: str, **about: Any) -> BudgetedApplication:
        self.drivers.update(
            "drivers",
            DriverPod(
                namespace="jobs", name=name, uid=f"uid-{name}", phase="Running", deleting=False,
                ip="10.0.0.1", restart_count=0, created_at=0.0, ui_port=None, started_at=0.0,
                labels={"app": name},
            ),
        )  # fmt: skip
        made = self.applications[name] = BudgetedApplication(self, name, **about)
        return made

    def end(self, name: str) -> None:
        """The application ends, and its pods go with its driver."""
        gone = self.applications.pop(name)
        gone.pods.clear()
        gone.show()
        self.coordinator.leave(gone.member)

    def restart(self) -> None:
        """Another process leads: it knows policies and pods, and serves one application after the other."""
        self.coordinator = self._coordinator()

    def later(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)

    def round(self, seconds: float = 1.0) -> None:
        """A second later everybody has taken a step, and the budgets have been divided."""
        self.later(seconds)
        for each in list(self.applications.values()):
            each.turn()
            self.coordinator.divide()

    def settle(self, rounds: int = 12) -> None:
        for _ in range(rounds):
            self.round()

    @property
    def there(self) -> int:
        return sum(each.there for each in self.applications.values())
