"""Runners under one budget: real ones, with drivers over HTTP and an API server in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.budget_world import POLICIES, budget_policy
from tests.unit.executor_pod_documents import driver_document
from tests.unit.runner_world import Operator, running

from spark_allocation.controller.allocation_runner import AllocationRunner
from spark_allocation.controller.budget_coordinator import BudgetCoordinator
from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.usefixtures("quick")


class Budgeted:
    """An operator that divides budgets, and the drivers that it serves."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        around = operator.around
        self.coordinator = BudgetCoordinator(around.policies, operator.store, operator.directory)
        operator.around = replace(around, budgets=self.coordinator)
        self.drivers: dict[str, FakeDriver] = {}

    def budget(self, **caps: Any) -> None:
        policy = budget_policy({"name": "team-a", **caps}, allow={"extraContainers": ["*"]})
        self.operator.around.policies.replace_all(POLICIES, [policy])

    def executors(self, name: str) -> int:
        return sum(
            pod["metadata"]["ownerReferences"][0]["name"] == f"driver-{name}"
            and "deletionTimestamp" not in pod["metadata"]
            for pod in self.operator.executors
        )

    def profile(self, name: str) -> dict[str, Any]:
        return dict((self.operator.allocations.status(name).get("profiles") or [{}])[0])


@pytest.fixture
async def budgeted(virtual_time: None) -> AsyncIterator[Budgeted]:
    async with running() as operator, AsyncExitStack() as drivers:
        made = Budgeted(operator)
        operator.tasks.append(asyncio.create_task(made.coordinator.run()))
        for name in "ab":
            driver = await drivers.enter_async_context(FakeDriver())
            driver.properties["spark.kubernetes.allocation.batch.delay"] = "101ms"
            made.drivers[name] = driver
            document = driver_document(ui_port=driver.port)
            document["metadata"] |= {"name": f"driver-{name}", "uid": f"driver-{name}"}
            operator.pods.put(document)
        yield made


def allocate(budgeted: Budgeted, name: str, **bounds: int) -> AllocationRunner:
    return budgeted.operator.allocate(
        name, driver={"podName": f"driver-{name}"}, dynamicAllocation=bounds
    )


async def test_two_applications_share_a_budget_and_their_status_says_why(
    budgeted: Budgeted,
) -> None:
    budgeted.budget(executors=5)
    for name in "ab":
        allocate(budgeted, name, minExecutors=1, initialExecutors=8)
    operator = budgeted.operator
    await operator.until(lambda: len(operator.executors) == 5)
    await operator.until(lambda: sorted(map(budgeted.executors, "ab")) == [2, 3])
    fewer = min("ab", key=budgeted.executors)
    await operator.until(lambda: operator.condition("BudgetLimited", fewer)["status"] == "True")
    told = operator.condition("BudgetLimited", fewer)
    assert told["reason"] == "BudgetExhausted"
    assert "wanted 8, budget team-a left 2 → 2" in told["message"]
    await operator.until(lambda: budgeted.profile(fewer).get("target") == 2)
    profile = budgeted.profile(fewer)
    assert profile["granted"] == 2
    assert profile["reason"].endswith("/Budget")
    # when the budget is raised while they run, both have what they want
    budgeted.budget(executors=50)
    await operator.until(lambda: [*map(budgeted.executors, "ab")] == [8, 8])
    await operator.until(lambda: operator.condition("BudgetLimited", fewer)["status"] == "False")


async def test_cores_are_counted_as_the_pods_request_them(budgeted: Budgeted) -> None:
    budgeted.drivers["a"].properties["spark.executor.cores"] = "4"
    budgeted.budget(cores="9")
    allocate(budgeted, "a", initialExecutors=8)
    operator = budgeted.operator
    await operator.until(lambda: budgeted.executors("a") == 2)
    await operator.until(lambda: budgeted.profile("a").get("granted") == 2)


async def test_larger_pods_to_come_are_counted_as_soon_as_the_template_says_so(
    budgeted: Budgeted,
) -> None:
    budgeted.budget(cores="10")
    runner = allocate(budgeted, "a", minExecutors=2, initialExecutors=2)
    operator = budgeted.operator
    await operator.until(lambda: budgeted.executors("a") == 2)
    # when a template with a sidecar of seven cores is applied, and more executors are wanted
    sidecar = {"name": "side", "image": "spark:test", "resources": {"requests": {"cpu": "7"}}}
    operator.change(
        runner,
        driver={"podName": "driver-a"},
        dynamicAllocation={"minExecutors": 9},
        executor={"podTemplate": {"spec": {"containers": [{"name": "executor"}, sidecar]}}},
    )
    await operator.until(lambda: budgeted.profile("a").get("granted") == 1)
    assert budgeted.executors("a") == 2, "nobody goes for it"


async def test_a_budget_below_all_minima_is_told_with_a_remedy_and_an_event(
    budgeted: Budgeted,
) -> None:
    budgeted.budget(executors=3)
    for name in "ab":
        allocate(budgeted, name, minExecutors=4)
    operator = budgeted.operator
    await operator.until(lambda: len(operator.executors) == 3)
    await operator.until(
        lambda: operator.condition("BudgetLimited", "a")["reason"] == "BudgetBelowMinima"
    )
    told = operator.condition("BudgetLimited", "a")["message"]
    assert "budget team-a is below the sum of all minExecutors" in told
    assert told.endswith("Raise the budget, or lower minExecutors.")
    await operator.until(
        lambda: any(each["reason"] == "BudgetBelowMinima" for each in operator.objects.events)
    )


async def test_without_a_budget_status_and_conditions_say_nothing_of_any(
    budgeted: Budgeted,
) -> None:
    allocate(budgeted, "a", minExecutors=2)
    operator = budgeted.operator
    await operator.until(lambda: budgeted.executors("a") == 2)
    await operator.until(lambda: budgeted.profile("a"))
    assert {"granted", "grantReason"}.isdisjoint(budgeted.profile("a"))
    assert operator.condition("BudgetLimited", "a")["status"] == ""
