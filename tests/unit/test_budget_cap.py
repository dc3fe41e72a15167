"""One application under grants: it grows to them and no further, gives back what is others', and is Spark without them."""

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.served_driver import ServedDriver, executor, report, settings, stage

from spark_allocation.core.allocation_step import Step
from spark_allocation.core.budgets import Grant, GrantStory
from spark_allocation.core.executor_pods import PodState
from spark_allocation.core.pods_plan import RequestBound
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.shuffle_holders import ShuffleHoldConf
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

DEFAULT = ProfileId(0)


def grant(
    granted: int,
    *,
    stays: int | None = None,
    pending: int | None = None,
    ceiling: int | None = None,
    wanted: int = 40,
) -> dict[ProfileId, Grant]:
    return {
        DEFAULT: Grant(
            granted=granted,
            pending=pending,
            story=GrantStory("team-a", wanted, granted, granted, 0),
            ceiling=1000 if ceiling is None else ceiling,
            stays=stays,
            budget="team-a",
            pending_budget="" if pending is None else "team-a",
        )
    }


def backlogged(driver: ServedDriver, tasks: int = 40, turns: int = 8) -> Step:
    """A stage of so many tasks, and turns enough for the ramp."""
    step = driver.turn(report(stage(tasks=tasks)))
    for _ in range(turns):
        step = driver.turn(
            report(
                stage(tasks=tasks + 1, done=1, active=len(driver.pods)),
                executors=driver.alive(active=1),
            )
        )
    return step


def test_an_application_grows_to_its_grant_and_says_who_said_no() -> None:
    driver = ServedDriver(settings(max_executors=100))
    driver.allocation.grant(grant(12))
    step = backlogged(driver)
    assert len(driver.pods) == 12
    (profile,) = step.profiles
    assert driver.target() == 40, "the ramp goes on as Spark's does"
    assert (profile.desired, profile.granted, profile.target, profile.running) == (40, 12, 12, 12)
    assert profile.bound is RequestBound.BUDGET
    assert profile.grant_reason == "wanted 40, budget team-a left 12 → 12"
    (demand,) = step.demands
    assert (demand.wanted, demand.running, demand.pending, demand.leaving) == (40, 12, 0, 0)


def test_without_a_grant_yet_nothing_is_made_and_nothing_goes() -> None:
    driver = ServedDriver(settings(min_executors=3, initial_executors=3))
    for _ in range(2):
        driver.create()
    driver.allocation.grant({})
    step = backlogged(driver)
    assert len(driver.pods) == 2
    assert step.surplus == ()
    assert step.profiles[0].grant_reason == "the budgets are being divided"
    assert step.demands[0].minimum == 3


def test_a_grant_that_was_all_that_was_wanted_is_nobodys_no() -> None:
    """The ramp has gone on since: until the budgets are divided again there is no bound to speak of."""
    driver = ServedDriver(settings(max_executors=100))
    driver.allocation.grant({DEFAULT: grant(4, wanted=4)[DEFAULT]._replace(budget="")})
    step = backlogged(driver)
    (profile,) = step.profiles
    assert (len(driver.pods), profile.bound) == (4, RequestBound.NOTHING)
    assert not profile.is_short_of_budget


def test_a_grant_below_the_minimum_holds_and_drains_nobody() -> None:
    driver = ServedDriver(settings(min_executors=5, initial_executors=5))
    for _ in range(4):
        driver.create()
    driver.allocation.grant(grant(2))
    for _ in range(3):
        assert driver.turn(report(executors=driver.alive())).surplus == ()
    assert len(driver.pods) == 4


def test_a_larger_grant_is_used_in_the_next_step() -> None:
    driver = ServedDriver(settings(max_executors=100))
    driver.allocation.grant(grant(4))
    backlogged(driver)
    driver.allocation.grant(grant(7))
    driver.later(0.1)
    step = driver.step()
    assert driver.requested(step) == 3


def test_without_a_budget_any_more_the_targets_hold_again() -> None:
    driver = ServedDriver(settings(max_executors=100, batch_size=100))
    driver.allocation.grant(grant(4))
    backlogged(driver)
    driver.allocation.grant(None)
    step = driver.turn(report(stage(tasks=41, done=1, active=4), executors=driver.alive(active=1)))
    assert driver.requested(step) == 36
    assert step.demands == ()
    assert step.profiles[0].granted is None


def test_pending_pods_are_withdrawn_before_anybody_is_drained() -> None:
    driver = ServedDriver(settings(max_executors=100))
    for _ in range(4):
        driver.create()
    for _ in range(4):
        driver.create(state=PodState.PENDING)
    told = report(stage(tasks=41, done=1, active=4), executors=driver.alive(active=1))
    driver.allocation.grant(grant(8))
    for _ in range(3):
        driver.turn(told)
    # when three are to go, some seconds after the pods were asked for
    driver.allocation.grant(grant(5, stays=5))
    step = driver.turn(told)
    assert step.plan is not None
    assert [excess.count for excess in step.plan.withdraw] == [3]
    assert step.surplus == ()
    # and when running ones have to go too, the last pending one goes with them
    driver.allocation.grant(grant(2, stays=2))
    step = driver.turn(told)
    assert step.plan is not None
    assert [excess.count for excess in step.plan.withdraw] == [1]
    assert len(step.surplus) == 2


def test_idle_executors_go_first_and_those_that_would_lose_something_stay() -> None:
    driver = ServedDriver(settings(max_executors=100))
    ids = [driver.create() for _ in range(6)]
    told = report(
        stage(tasks=41, done=1, active=4),
        executors=(
            executor(ids[0], active=2, fits=4),
            executor(ids[1], active=0, blocks=7),
            executor(ids[2], active=0, total=3, shuffle=1 << 20),
            executor(ids[3], active=1, fits=4),
            executor(ids[4], active=0),
            executor(ids[5], active=3, fits=4),
        ),
    )
    driver.allocation.grant(grant(6))
    driver.turn(told)
    driver.allocation.grant(grant(3, stays=3))
    step = driver.turn(told)
    assert [pod.executor_id for pod in step.surplus] == [ids[4], ids[3], ids[0]]
    # then nobody else, whatever is still asked: those who leave are leaving already
    assert driver.turn(told).surplus == ()
    driver.allocation.grant(grant(0, stays=0))
    assert [pod.executor_id for pod in driver.turn(told).surplus] == [ids[5]], (
        "what holds cached blocks or shuffle data leaves by its own timeouts"
    )


def test_with_migration_somebody_stays_to_take_over_what_those_that_go_are_writing() -> None:
    hands_on = ShuffleHoldConf(hands_over=True, migrates=True)
    driver = ServedDriver(settings(max_executors=100, shuffle=hands_on))
    for _ in range(3):
        driver.create()
    told = report(stage(tasks=41, done=1, active=3, shuffle=7), executors=driver.alive(active=1))
    driver.allocation.grant(grant(0, stays=0))
    assert len(driver.turn(told).surplus) == 2
    assert driver.turn(told).surplus == (), "those that leave are still at it"


def test_a_driver_that_cannot_decommission_gives_back_idle_executors_alone() -> None:
    driver = ServedDriver(settings(max_executors=100, decommission_enabled=False))
    busy, idle = driver.create(), driver.create()
    told = report(
        stage(tasks=41, done=1, active=1), executors=(executor(busy, active=1), executor(idle))
    )
    driver.allocation.grant(grant(0, stays=0))
    # once a task that had begun there unseen would have been told of
    given_back = [pod.executor_id for _ in range(15) for pod in driver.turn(told).surplus]
    assert given_back == [idle]


def test_nobody_is_given_back_on_an_old_answer_or_while_nothing_may_be_done() -> None:
    driver = ServedDriver(settings(max_executors=100))
    for _ in range(3):
        driver.create()
    driver.allocation.grant(grant(3))
    driver.turn(report(stage(tasks=9), executors=driver.alive()))
    driver.allocation.grant(grant(0, stays=0))
    driver.later(20)
    assert driver.step(fresh=False).surplus == ()
    assert driver.step(acts=False).surplus == ()


def test_an_executor_that_has_begun_to_leave_keeps_its_place_until_it_has_gone() -> None:
    driver = ServedDriver(settings(max_executors=100))
    ids = [driver.create() for _ in range(4)]
    driver.allocation.grant(grant(4, ceiling=4))
    told = report(stage(tasks=41, done=1, active=4), executors=driver.alive(active=1))
    driver.turn(told)
    # when somebody deletes one of its pods, it still runs
    driver.set(ids[0], deleting=True)
    assert driver.requested(driver.turn(told)) == 0
    # once it is gone there is room for another
    driver.lose(ids[0])
    assert driver.requested(driver.turn(told)) == 1


def test_a_pending_limit_is_one_link_of_the_chain() -> None:
    driver = ServedDriver(settings(max_executors=100, batch_size=100))
    driver.allocation.grant(grant(12, pending=8))
    told = report(stage(tasks=40))
    for _ in range(7):
        driver.later(1)
        driver.says(told)
        step = driver.step()
        driver.carry_out(step, state=PodState.PENDING)
    assert len(driver.pods) == 8
    (profile,) = step.profiles
    assert profile.grant_reason == (
        "wanted 40, budget team-a left 12, pending limit 8 of budget team-a → 8"
    )


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.data())
def test_never_more_than_granted(data: st.DataObject) -> None:
    """Whatever is granted, lost, left and asked for: what is made leaves no more than was granted, or than was there."""
    least = data.draw(st.integers(0, 4))
    driver = ServedDriver(
        settings(min_executors=least, initial_executors=least, max_executors=30, batch_size=20)
    )
    granted = ceiling = 0
    for _ in range(data.draw(st.integers(3, 12))):
        there = len(driver.pods)
        match data.draw(st.sampled_from(["grant", "lose", "leave", "nothing"])):
            case "grant":
                granted = data.draw(st.integers(0, 15))
                ceiling = max(granted, there)
                stays = data.draw(st.none() | st.integers(0, 15))
                driver.allocation.grant(grant(granted, stays=stays, ceiling=ceiling))
            case "lose" if driver.pods:
                driver.lose(data.draw(st.sampled_from(sorted(driver.pods))))
            case "leave" if driver.pods:
                driver.set(data.draw(st.sampled_from(sorted(driver.pods))), deleting=True)
            case _:
                pass
        driver.later(data.draw(st.sampled_from([0.1, 1.0, 5.0])))
        driver.says(
            report(
                stage(tasks=data.draw(st.integers(0, 40)), active=len(driver.pods)),
                executors=driver.alive(active=data.draw(st.integers(0, 1))),
            )
        )
        step = driver.step()
        before = len(driver.pods)
        made = driver.requested(step) if driver.allocation._cap.applies else 0
        if driver.allocation._cap.applies:
            driver.carry_out(
                step, state=data.draw(st.sampled_from([PodState.RUNNING, PodState.PENDING]))
            )
            assert made == 0 or before + made <= min(ceiling, max(granted, 0) + leaving(driver))


def leaving(driver: ServedDriver) -> int:
    return sum(1 for pod in driver.pods.values() if pod.deleting)


class BesideAGoingNode:
    """A driver with four busy executors under a budget, two of them on a node that is about to go."""

    def __init__(self) -> None:
        self.driver = driver = ServedDriver(settings(max_executors=100))
        for _ in range(4):
            driver.create()
        self.going, self.others = sorted(driver.pods)[:2], sorted(driver.pods)[2:]
        for executor_id in driver.pods:
            driver.set(executor_id, node="n1" if executor_id in self.going else "n2")
        driver.allocation.grant(granted_all_of(4))
        driver.turn(report(stage(tasks=4)))
        for _ in range(4):
            driver.turn(report(stage(tasks=4), executors=driver.alive()))
        assert driver.target() == 4

    def step(self, seconds: float = 1) -> Step:
        driver = self.driver
        driver.later(seconds)
        driver.says(report(stage(tasks=5, done=1, active=4), executors=driver.alive(active=1)))
        return driver.allocation.step(
            ExecutorPodsSnapshot.replaced(driver.pods.values(), at=driver.full_sync_at),
            going_nodes=frozenset({"n1"}), now_ns=driver.now_ns,
            now_ms=driver.now_ms, report_is_fresh=True,
        )  # fmt: skip

    def leaving(self, step: Step) -> list[int]:
        return [pod.executor_id for pod in step.evacuations]


def granted_all_of(wanted: int) -> dict[ProfileId, Grant]:
    return {DEFAULT: grant(wanted, wanted=wanted, ceiling=wanted)[DEFAULT]._replace(budget="")}


def test_nobody_leaves_a_node_that_goes_before_the_budget_has_said_whether_there_is_room() -> None:
    world = BesideAGoingNode()
    first = world.step()
    # for both of them a place is asked for, and both stay
    (demand,) = first.demands
    assert (demand.wanted, demand.running, demand.leaving) == (6, 4, 0)
    assert (world.leaving(first), world.driver.requested(first)) == ([], 0)
    # with room they are replaced, and leave once the others are there
    world.driver.allocation.grant(granted_all_of(6))
    replacing = world.step()
    assert (world.leaving(replacing), world.driver.requested(replacing)) == ([], 2)
    world.driver.carry_out(replacing, state=PodState.PENDING)
    assert world.leaving(world.step()) == []
    for executor_id in world.driver.pods.keys() - {*world.going, *world.others}:
        world.driver.set(executor_id, state=PodState.RUNNING, node="n3")
    assert world.leaving(world.step()) == world.going


def test_where_the_budget_has_no_room_one_at_a_time_leaves_a_node_that_goes() -> None:
    world = BesideAGoingNode()
    assert world.leaving(world.step()) == []
    world.driver.allocation.grant(grant(4, wanted=6, ceiling=4))
    assert world.leaving(world.step()) == world.going[:1]


def test_a_node_that_goes_does_not_wait_for_ever_for_the_budgets() -> None:
    world = BesideAGoingNode()
    assert world.leaving(world.step()) == []
    assert world.leaving(world.step(9)) == []
    assert world.leaving(world.step(1)) == world.going[:1]
