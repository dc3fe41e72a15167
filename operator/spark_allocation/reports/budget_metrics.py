"""Metrics of budgets, collected when they are asked for. Labels are a policy's name and a budget's: a platform team's to choose."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from spark_allocation.api.policies import StoredBudget
from spark_allocation.core.budgets import BudgetDivision, Demand
from spark_allocation.reports.metrics import PREFIX

Amounts = Mapping[str, int | float | None]


@dataclass(frozen=True, slots=True)
class BudgetFigures:
    """One budget.

    Attributes:
        capacity: by kind (executors, cores, memory_bytes, pending_pods); None for no cap.
        used: by the same kinds.
        granted: executors that there may be now.
        applications: that it covers and that have or want executors.
        short: of those: how many are granted less than they want.
        below_minima: it does not suffice for all minExecutors.
    """

    policy: str
    budget: str
    capacity: Amounts
    used: Amounts
    granted: int
    applications: int
    short: int
    below_minima: bool


def figures_after(
    stored: StoredBudget, demands: Iterable[Demand], division: BudgetDivision
) -> BudgetFigures:
    """What there is to say of a budget after a division.

    Args:
        demands: all that it covers.
        division: of these.
    """
    executors = milli_cores = memory_mib = pending = granted = 0
    applications: set[str] = set()
    short: set[str] = set()
    for demand in demands:
        application = demand.application
        there, cores, memory = demand.used
        grant = division.grants[application, demand.profile]
        executors += there
        milli_cores += cores
        memory_mib += memory
        pending += demand.pending
        granted += max(grant.granted, there - demand.leaving)
        if there or demand.most:
            applications.add(application)
        if grant.budget:
            short.add(application)
    caps = stored.budget
    return BudgetFigures(
        policy=stored.policy,
        budget=caps.name,
        capacity={
            "executors": caps.executors,
            "cores": None if caps.milli_cores is None else caps.milli_cores / 1000,
            "memory_bytes": None if caps.memory_mib is None else caps.memory_mib << 20,
            "pending_pods": caps.pending_pods,
        },
        used={
            "executors": executors,
            "cores": milli_cores / 1000,
            "memory_bytes": memory_mib << 20,
            "pending_pods": pending,
        },
        granted=granted,
        applications=len(applications),
        short=len(short),
        below_minima=division.below_minima,
    )


class BudgetMetrics(Collector):
    """Of all budgets, and what dividing them costs."""

    def __init__(
        self,
        *,
        figures: Callable[[], Iterable[BudgetFigures]],
        divisions: Callable[[], int],
        seconds: Callable[[], float],
    ) -> None:
        """
        Args:
            figures: of each budget; nothing in a process that does not lead.
            divisions: how often budgets were divided.
            seconds: of processor time that this took.
        """
        self._figures = figures
        self._divisions = divisions
        self._seconds = seconds

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        by_kind = ["policy", "budget", "resource"]
        capacity = GaugeMetricFamily(
            f"{PREFIX}budget_capacity",
            "What a budget allows: executors, cores, memory_bytes, pending_pods; absent where it has no cap.",
            labels=by_kind,
        )
        used = GaugeMetricFamily(
            f"{PREFIX}budget_used",
            "What the executors that it covers use, those too that leave.",
            labels=by_kind,
        )
        plain = {
            name: GaugeMetricFamily(f"{PREFIX}budget_{name}", said, labels=["policy", "budget"])
            for name, said in (
                ("granted_executors", "Executors that a budget grants, counting those that there are."),
                ("applications", "Applications that a budget covers and that have or want executors."),
                ("short_applications", "Applications that a budget grants fewer executors than they want."),
                ("below_minima", "1 where a budget does not suffice for all minExecutors, else 0."),
            )
        }  # fmt: skip
        for each in self._figures():
            labels = [each.policy, each.budget]
            for family, amounts in ((capacity, each.capacity), (used, each.used)):
                for resource, amount in amounts.items():
                    if amount is not None:
                        family.add_metric([*labels, resource], amount)
            plain["granted_executors"].add_metric(labels, each.granted)
            plain["applications"].add_metric(labels, each.applications)
            plain["short_applications"].add_metric(labels, each.short)
            plain["below_minima"].add_metric(labels, int(each.below_minima))
        yield capacity
        yield used
        yield from plain.values()
        yield CounterMetricFamily(
            f"{PREFIX}budget_divisions", "How often the budgets were divided.", self._divisions()
        )
        yield CounterMetricFamily(
            f"{PREFIX}budget_division_seconds",
            "Processor time that dividing the budgets took.",
            self._seconds(),
        )
