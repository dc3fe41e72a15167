"""What policies say of themselves: whom they select, what is wrong with them, how far their budgets are used."""

from typing import Any

import pytest

from spark_allocation.controller import policy_reporter
from spark_allocation.controller.policy_directory import FILE_SCOPE, PolicyDirectory
from spark_allocation.controller.policy_reporter import PolicyReporter, PolicySubject
from spark_allocation.kube.write_outcomes import WriteOutcome, WriteResult
from spark_allocation.reports.budget_metrics import BudgetFigures

CLUSTER = "clustersparkallocationpolicies/*"
OWN = "sparkallocationpolicies/*"
Document = dict[str, Any]


class Server:
    """Takes status patches, and shows them as a watch would."""

    def __init__(self) -> None:
        self.directory = PolicyDirectory()
        self.bodies: dict[str, Document] = {}
        self.patches: list[tuple[str, str, str, Document]] = []
        self.outcome = WriteOutcome(WriteResult.DONE)
        self.subjects: list[PolicySubject] = []
        self.budgets: list[BudgetFigures] = []
        self.told = 0
        self._subscription = self.directory.subscription(self._tell)
        self._subscription.__enter__()
        self.reporter = self.new_reporter()

    def new_reporter(self) -> PolicyReporter:
        return PolicyReporter(
            self.directory, self, subjects=lambda: self.subjects, budgets=lambda: self.budgets
        )

    def _tell(self) -> None:
        self.told += 1

    def put(self, name: str, namespace: str = "", generation: int = 1, **spec: Any) -> None:
        kind = "SparkAllocationPolicy" if namespace else "ClusterSparkAllocationPolicy"
        metadata = {"name": name, "namespace": namespace, "generation": generation}
        before = self.bodies.get(name, {})
        self.bodies[name] = {**before, "kind": kind, "metadata": metadata, "spec": spec}
        self.directory.update(OWN if namespace else CLUSTER, self.bodies[name])

    async def patch_status(
        self, plural: str, namespace: str, name: str, status: Document
    ) -> WriteOutcome:
        self.patches.append((plural, namespace, name, status))
        if self.outcome.done:
            body = self.bodies[name]
            merged = {**(body.get("status") or {}), **status}
            kept = {key: value for key, value in merged.items() if value is not None}
            self.bodies[name] = {**body, "status": kept}
            self.directory.update(OWN if namespace else CLUSTER, self.bodies[name])
        return self.outcome

    def status(self, name: str) -> Document:
        return dict(self.bodies[name].get("status") or {})

    def condition(self, name: str, kind: str) -> Document:
        for each in self.status(name).get("conditions") or ():
            if each["type"] == kind:
                return dict(each)
        return {"status": "", "reason": "", "message": ""}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(policy_reporter, "EVERY_SECONDS", 0.0)
    return Server()


def allocation(
    name: str, namespace: str = "jobs", labels: dict[str, str] | None = None, *conflicts: str
) -> PolicySubject:
    return PolicySubject(namespace, name, {} if labels is None else labels, conflicts)


async def test_a_policy_says_for_how_many_it_is_and_which_generation_that_is_of(
    server: Server,
) -> None:
    server.put("prod", generation=3, selector={"namespaces": ["jobs"]})
    server.put("team", "jobs")
    server.subjects = [allocation("a"), allocation("b"), allocation("c", "others")]
    await server.reporter.write_all()
    for name in ("prod", "team"):
        assert server.status(name)["allocations"] == 2
        assert server.condition(name, "Ready")["status"] == "True"
        assert server.condition(name, "SelectsNothing")["status"] == "False"
    assert server.status("prod")["observedGeneration"] == 3
    assert {each[:3] for each in server.patches} == {
        ("clustersparkallocationpolicies", "", "prod"),
        ("sparkallocationpolicies", "jobs", "team"),
    }


async def test_a_policy_that_selects_nothing_says_so_until_it_does(server: Server) -> None:
    server.put("prod", selector={"driverLabels": {"app": "etl"}})
    # a SparkAllocation whose driver nobody has seen has labels that nobody knows
    server.subjects = [allocation("a"), PolicySubject("jobs", "b", None)]
    await server.reporter.write_all()
    told = server.condition("prod", "SelectsNothing")
    assert (told["status"], told["reason"]) == ("True", "SelectsNothing")
    assert server.condition("prod", "Ready")["status"] == "True"
    server.subjects = [allocation("a", "jobs", {"app": "etl"})]
    await server.reporter.write_all()
    assert server.condition("prod", "SelectsNothing")["status"] == "False"


async def test_what_cannot_be_read_is_told_where_it_was_written(server: Server) -> None:
    server.put("prod", limits={"dynamicAllocation": {"maxExecutors": {"max": 5}}})
    server.put("prod", generation=2, limits={"dynamicAllocation": {"maxExecutors": {"max": -5}}})
    await server.reporter.write_all()
    ready = server.condition("prod", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PolicyIgnored")
    assert "maxExecutors.max" in ready["message"]
    assert ready["message"].endswith("its last good version holds")
    assert ready["observedGeneration"] == 2


async def test_a_contradiction_is_told_by_each_policy_that_it_names(server: Server) -> None:
    sentence = "the limit 9 of namespace policy team contradicts 5 of cluster policy prod-2"
    server.put("prod")
    server.put("prod-2")
    server.put("team", "jobs")
    server.subjects = [allocation("a", "jobs", {}, sentence), allocation("b", "jobs", {}, sentence)]
    await server.reporter.write_all()
    for name in ("prod-2", "team"):
        told = server.condition(name, "PolicyConflict")
        assert (told["status"], told["message"]) == ("True", f"jobs/a: {sentence}")
    assert server.condition("prod", "PolicyConflict")["status"] == ""
    # and no longer once it is mended
    server.subjects = [allocation("a")]
    await server.reporter.write_all()
    assert server.condition("team", "PolicyConflict")["status"] == ""


async def test_budgets_are_shown_with_what_is_used_of_them(server: Server) -> None:
    used = {"executors": 7, "cores": 10.5, "memory_bytes": 7 << 30, "pending_pods": 2}
    server.put("prod", budgets=[{"name": "team", "executors": 9}])
    server.budgets = [
        BudgetFigures("prod", "team", {}, used, 9, 3, 1, below_minima=True),
        BudgetFigures("other", "team", {}, used, 9, 3, 1, below_minima=False),
    ]
    await server.reporter.write_all()
    assert server.status("prod")["budgets"] == [
        {"name": "team", "executors": 7, "cores": "10.5", "memory": "7168Mi", "pendingPods": 2,
         "granted": 9, "applications": 3, "short": 1},
    ]  # fmt: skip
    assert "team" in server.condition("prod", "BudgetBelowMinima")["message"]
    # a budget that is taken away is shown no longer
    server.budgets = []
    await server.reporter.write_all()
    assert "budgets" not in server.status("prod")


async def test_nothing_is_written_twice_and_a_written_status_wakes_nobody(server: Server) -> None:
    server.put("prod")
    told = server.told
    await server.reporter.write_all()
    await server.reporter.write_all()
    assert len(server.patches) == 1
    assert server.told == told, "a status is no news for those whom the policy is for"
    # nor by the next process, which keeps transition times
    before = server.condition("prod", "Ready")
    await server.new_reporter().write_all()
    assert len(server.patches) == 1
    assert server.condition("prod", "Ready") == before


async def test_no_policy_is_written_more_often_than_every_ten_seconds(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_reporter, "EVERY_SECONDS", 10.0)
    server.put("prod")
    await server.reporter.write_all()
    server.subjects = [allocation("a")]
    await server.reporter.write_all()
    assert len(server.patches) == 1


async def test_without_the_right_it_is_tried_again_much_later(server: Server) -> None:
    server.outcome = WriteOutcome(WriteResult.REFUSED, "forbidden")
    server.put("prod")
    server.put("second")
    assert await server.reporter.write_all() >= 60
    assert len(server.patches) == 1


async def test_policies_of_a_file_are_no_objects(server: Server) -> None:
    server.directory.replace_all(
        FILE_SCOPE,
        [{"kind": "ClusterSparkAllocationPolicy", "metadata": {"name": "p"}, "spec": {}}],
    )
    await server.reporter.write_all()
    assert server.patches == []


async def test_a_weight_for_labels_that_no_pod_can_have_is_named_and_the_rest_holds(
    server: Server,
) -> None:
    weights = [
        {"driverLabels": {"tier": "gold"}, "weight": 2},
        {"driverLabels": {"a b": "x", "team/.": "y"}, "weight": 3},
    ]
    server.put("prod", budgets=[{"name": "pool", "executors": 9, "weights": weights}])
    await server.reporter.write_all()
    ready = server.condition("prod", "Ready")
    assert ready["status"] == "False"
    assert ready["message"] == (
        "policy prod: spec.budgets[pool].weights[1].driverLabels: 'a b' cannot be the key of a label, so nobody has this weight; "
        "spec.budgets[pool].weights[1].driverLabels: 'team/.' cannot be the key of a label, so nobody has this weight; "
        "the rest holds"
    )
    (stored,) = server.directory.all()
    assert stored.budgets[0].weight("jobs", {"tier": "gold"}) == 2
    assert "cannot be the key" in server.directory.selected("jobs", {}).problems[0]
    # mended, nothing is said
    server.put("prod", budgets=[{"name": "pool", "executors": 9, "weights": weights[:1]}])
    await server.reporter.write_all()
    assert server.condition("prod", "Ready")["status"] == "True"
