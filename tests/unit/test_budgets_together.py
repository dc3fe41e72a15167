"""Several budgets over the same applications: the smallest grant holds, and nothing of another lies idle for it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from spark_allocation.core.budgets import Budget, BudgetState, Demand
from spark_allocation.core.budgets_together import CoveredBudget, JointDivision, divide_together


def divided(*covered: tuple[Budget, list[Demand]], now_ms: int = 0) -> JointDivision:
    return divide_together(
        [CoveredBudget(budget.name, budget, demands, BudgetState()) for budget, demands in covered],
        now_ms=now_ms,
    )


def test_the_smallest_grant_holds_and_its_budget_is_named() -> None:
    demand = Demand("a", 0, wanted=40)
    found = divided(
        (Budget("platform", executors=30), [demand]), (Budget("team", executors=12), [demand])
    ).grants["a", 0]
    assert found.reason == "wanted 40, budget team left 12 → 12"
    assert (found.granted, found.budget) == (12, "team")


def test_what_one_budget_withholds_is_free_in_the_other() -> None:
    first, second = Demand("a", 0, wanted=40), Demand("b", 0, wanted=40)
    found = divided(
        (Budget("platform", executors=30), [first, second]), (Budget("team", executors=5), [first])
    ).grants
    assert (found["a", 0].granted, found["b", 0].granted) == (5, 25)


def test_a_pending_limit_of_another_budget_is_told_with_its_name() -> None:
    demand = Demand("a", 0, wanted=40)
    found = divided(
        (Budget("cores", milli_cores=20_000), [demand]), (Budget("slow", pending_pods=3), [demand])
    ).grants["a", 0]
    assert (found.granted, found.pending, found.pending_budget) == (20, 3, "slow")


def test_applications_that_no_budget_covers_have_no_grant() -> None:
    assert divided().grants == {}


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_budget_is_exceeded_and_nothing_lies_idle_that_both_would_give(
    data: st.DataObject,
) -> None:
    names = "abcd"
    demands = {name: Demand(name, 0, data.draw(st.integers(0, 12))) for name in names}
    covers = {
        budget: data.draw(st.lists(st.sampled_from(names), unique=True)) for budget in ("x", "y")
    }
    sizes = {budget: data.draw(st.integers(0, 20)) for budget in covers}
    found = divided(
        *(
            (Budget(budget, executors=sizes[budget]), [demands[name] for name in covered])
            for budget, covered in covers.items()
        )
    ).grants
    assert {key for key, _ in found} == {name for names in covers.values() for name in names}
    left = {
        budget: sizes[budget] - sum(found[name, 0].granted for name in covered)
        for budget, covered in covers.items()
    }
    assert min(left.values()) >= 0
    for name in {name for covered in covers.values() for name in covered}:
        if found[name, 0].granted < demands[name].wanted:
            assert any(left[budget] == 0 for budget, covered in covers.items() if name in covered)


def test_nobody_gives_anything_back_for_whom_another_budget_grants_no_more() -> None:
    # given a neighbour at work in what an application wants and its own team's budget does not let it have
    cluster, team = Budget("cluster", executors=10), Budget("team", executors=2)
    limited = Demand("a", 0, wanted=8, running=2)
    neighbour = Demand("b", 0, wanted=10, running=8)
    states = {"cluster": BudgetState(), "team": BudgetState()}

    # when it has wanted that for minutes
    for second in range(180):
        found = divide_together(
            [
                CoveredBudget("cluster", cluster, [limited, neighbour], states["cluster"]),
                CoveredBudget("team", team, [limited], states["team"]),
            ],
            now_ms=second * 1000,
        )
        states = {key: division.state for key, division in found.divisions.items()}

        # then the neighbour keeps what it works with
        assert found.grants["b", 0].stays is None
        assert found.grants["b", 0].granted == 8
