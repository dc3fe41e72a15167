"""Plans carried out against an API server that refuses, forgets to answer, and has been there before."""

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit import served_driver
from tests.unit.executor_pod_documents import executor_document
from tests.unit.plan_world import World, creation
from tests.unit.served_driver import report, stage

from spark_allocation.api.conditions import Reason
from spark_allocation.controller.pod_creation import Obstacle
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.pods_api import (
    CreateOutcome,
    CreateResult,
    DeleteOutcome,
    DeleteResult,
)
from spark_allocation.kube.write_outcomes import WriteOutcome, WriteResult
from spark_allocation.sources import wire
from spark_allocation.sources.executor_pods import seen_pod
from spark_allocation.testing.faults import LOST, UNANSWERED

FORBIDDEN = CreateOutcome(CreateResult.FORBIDDEN, "admission says no")
REFUSED = DeleteOutcome(DeleteResult.REFUSED, "pods is forbidden: cannot delete")


# -- ids --------------------------------------------------------------------------------------------------------------


async def test_ids_are_reserved_before_the_first_of_them_is_used() -> None:
    world = World()
    await world.execution.apply(creation(3))
    assert world.allocations.status("job")["nextExecutorId"] == 21
    assert sorted(world.created_ids()) == [1, 2, 3]


async def test_a_conflict_on_the_reservation_creates_nothing() -> None:
    world = World()
    world.allocations.will("reserve_executor_ids", WriteOutcome(WriteResult.CONFLICT))
    await world.execution.apply(creation(3))
    assert world.pods.made("create") == []
    await world.execution.apply(creation(3))
    assert len(world.names) == 3


async def test_a_reservation_whose_answer_was_lost_loses_its_ids_and_no_more() -> None:
    world = World()
    world.allocations.will("reserve_executor_ids", LOST)
    with pytest.raises(ApiUnavailable):
        await world.execution.apply(creation(2))
    await world.execution.apply(creation(2))
    assert sorted(world.created_ids()) == [21, 22]


async def test_a_reservation_that_is_refused_says_so_in_the_server_s_words() -> None:
    world = World()
    refusal = WriteOutcome(WriteResult.REFUSED, "cannot patch sparkallocations/status")
    world.allocations.will("reserve_executor_ids", refusal)
    await world.execution.apply(creation(2))
    assert world.execution.obstacle is not None
    assert "cannot patch sparkallocations/status" in world.execution.obstacle.message


async def test_ids_that_another_process_reserved_are_not_used() -> None:
    world = World()
    await world.execution.apply(creation(1))
    document = world.allocations.objects["jobs", "job"]
    document["status"]["nextExecutorId"] = 500
    await world.execution.apply(creation(20))
    assert min(world.created_ids()[1:]) in (2, 500)
    assert not [each for each in world.created_ids() if 21 <= each < 500]


async def test_an_object_made_anew_under_the_name_is_not_written_to() -> None:
    world = World()
    world.allocations.objects["jobs", "job"]["metadata"]["uid"] = "another"
    await world.execution.apply(creation(2))
    assert world.allocations.made("reserve_executor_ids") == []
    assert world.pods.made("create") == []


# -- names that are taken ---------------------------------------------------------------------------------------------


async def test_a_pod_of_ours_under_the_name_counts_as_created() -> None:
    world = World()
    world.pods.put(executor_document(1))
    await world.execution.apply(creation(1))
    assert world.names == ["app-exec-1"]
    assert list(world.life.allocation.pods.unseen) == [1]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"allocation_uid": ""}, id="without our label"),
        pytest.param({"allocation_uid": "another"}, id="of another allocation"),
        pytest.param({"driver_uid": "another"}, id="of another driver"),
    ],
)
async def test_a_stranger_under_the_name_is_left_alone_and_the_next_id_taken(other) -> None:
    world = World()
    stranger = world.pods.put(executor_document(1, **other))
    await world.execution.apply(creation(1))
    assert world.execution.obstacle is not None
    assert world.execution.obstacle.reason is Reason.POD_NAME_TAKEN
    await world.execution.apply(creation(1))
    assert world.names == ["app-exec-1", "app-exec-2"]
    assert world.pods.pods["jobs", "app-exec-1"] == stranger


async def test_a_pod_of_ours_that_is_going_does_not_count() -> None:
    world = World()
    world.pods.put(executor_document(1))
    world.pods.run("app-exec-1", "jobs")
    world.pods.pods["jobs", "app-exec-1"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    await world.execution.apply(creation(1))
    assert world.life.allocation.pods.unseen == {}


# -- answers that do not come -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [LOST, CreateOutcome(CreateResult.SERVER_ERROR, "etcd")])
async def test_after_an_answer_that_says_nothing_the_pod_is_looked_up(fault) -> None:
    world = World()
    if isinstance(fault, CreateOutcome):
        world.pods.put(executor_document(1))  # it was made before the server failed
    world.pods.will("create", fault)
    await world.execution.apply(creation(1))
    assert world.execution.obstacle is not None
    assert list(world.life.allocation.pods.unseen) == [1], "it counts until somebody has looked"
    await world.execution.apply(creation(0))
    assert world.life.allocation.pods.unseen[ExecutorId(1)].created_at is not None
    assert world.names == ["app-exec-1"]


async def test_a_pod_that_was_never_made_is_asked_for_again_with_another_id() -> None:
    world = World()
    world.pods.will("create", UNANSWERED)
    await world.execution.apply(creation(1))
    await world.execution.apply(creation(1))
    assert world.names == ["app-exec-2"]


async def test_an_unclear_pod_stays_unclear_while_nobody_can_look() -> None:
    world = World()
    world.pods.will("create", LOST)
    await world.execution.apply(creation(1))
    world.pods.will("get", UNANSWERED)
    with pytest.raises(ApiUnavailable):
        await world.execution.apply(creation(1))
    assert len(world.pods.made("create")) == 1
    assert list(world.life.allocation.pods.unseen) == [1]


async def test_a_look_at_a_taken_name_that_is_not_answered_breaks_nothing() -> None:
    world = World()
    world.pods.put(executor_document(1))
    world.pods.will("get", UNANSWERED)
    await world.execution.apply(creation(3))
    await world.execution.apply(creation(0))
    assert list(world.life.allocation.pods.unseen)[:1] == [1]


async def test_a_creation_cut_short_is_looked_up_by_whoever_goes_on() -> None:
    world = World()
    stuck = asyncio.Event()

    async def never(*_: Any, **__: Any) -> CreateOutcome:
        stuck.set()
        await asyncio.Event().wait()
        raise AssertionError

    create, world.pods.create = world.pods.create, never  # type: ignore[method-assign]
    applying = asyncio.create_task(world.execution.apply(creation(1)))
    await stuck.wait()
    applying.cancel()
    await asyncio.gather(applying, return_exceptions=True)
    world.pods.create = create  # type: ignore[method-assign]
    world.pods.put(executor_document(1))
    await world.execution.apply(creation(0))
    assert world.life.allocation.pods.unseen[ExecutorId(1)].created_at is not None


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (CreateResult.QUOTA_EXCEEDED, Reason.QUOTA_EXCEEDED),
        (CreateResult.FORBIDDEN, Reason.CREATE_FORBIDDEN),
        (CreateResult.INVALID, Reason.POD_INVALID),
        (CreateResult.NAMESPACE_TERMINATING, Reason.NAMESPACE_TERMINATING),
        (CreateResult.SERVER_ERROR, Reason.API_UNAVAILABLE),
    ],
)
async def test_a_refusal_carries_the_server_s_words_and_is_no_storm(result, reason) -> None:
    world = World()
    world.pods.always("create", CreateOutcome(result, "the server's own words"))
    for _ in range(60):
        await world.turn(report(stage(tasks=100), gauge=100))
    assert world.execution.obstacle is not None
    assert world.execution.obstacle == Obstacle(reason, "the server's own words")
    # a few until the class opens, then one after 10, 20, 40 s
    assert len(world.pods.made("create")) < 25
    assert len(world.allocations.made("reserve_executor_ids")) < 5


async def test_a_quota_with_room_again_is_used() -> None:
    world = World(max_executors=6)
    world.pods.quota = 2
    await world.want(6, turns=20)
    assert len(world.names) == 2
    world.pods.quota = 10
    for _ in range(140):
        for name in world.names:
            if world.pods.pods["jobs", name]["status"]["phase"] == "Pending":
                world.pods.run(name, "jobs")
        alive = tuple(
            served_driver.executor(each.executor_id, active=1, total=2) for each in world.seen()
        )
        await world.turn(report(stage(tasks=6, active=len(alive)), executors=alive, gauge=6))
    assert len(world.names) == 6


@pytest.mark.usefixtures("virtual_time")
async def test_a_429_slows_everybody_for_as_long_as_the_server_says() -> None:
    world = World()
    throttled = CreateOutcome(CreateResult.THROTTLED, "slow down", retry_after_seconds=0.15)
    world.pods.will("create", throttled)
    await world.execution.apply(creation(1))
    began = asyncio.get_running_loop().time()
    await world.execution.apply(creation(1))
    assert asyncio.get_running_loop().time() - began >= 0.14
    assert len(world.names) == 1


@pytest.mark.usefixtures("virtual_time")
async def test_a_conflict_over_a_quota_slows_nobody() -> None:
    world = World()
    world.pods.will("create", CreateOutcome(CreateResult.CONFLICT, "quota changed"))
    await world.execution.apply(creation(1))
    began = asyncio.get_running_loop().time()
    await world.execution.apply(creation(1))
    assert asyncio.get_running_loop().time() - began < 0.1


async def test_what_is_not_begun_of_a_round_that_broke_off_is_not_begun() -> None:
    world = World()
    world.pods.always("create", FORBIDDEN)
    await world.execution.apply(creation(200))
    assert len(world.pods.made("create")) <= 16
    assert world.life.allocation.pods.unseen == {}


async def test_a_pod_that_cannot_be_built_is_not_asked_for() -> None:
    world = World()
    world.build_refusal = Obstacle(Reason.POD_NOT_BUILT, "no image")
    await world.execution.apply(creation(5))
    assert world.execution.obstacle == world.build_refusal
    assert world.pods.made("create") == []


# -- letting go -------------------------------------------------------------------------------------------------------


async def idle_world(executors: int = 3, **wishes: Any) -> World:
    """So many idle executors that are due to go."""
    world = World(executor_idle_timeout_s=5, **wishes)
    await world.want(executors)
    for name in world.names:
        world.pods.run(name, "jobs")
    await world.turn(idle_report(world))
    world.life.later(6)
    return world


def idle_report(world: World) -> Any:
    alive = tuple(served_driver.executor(each.executor_id, total=1) for each in world.seen())
    return report(executors=alive)


async def test_idle_executors_go_with_a_long_grace_and_by_their_uid() -> None:
    world = await idle_world(2)
    await world.turn(idle_report(world))
    assert [
        (each.name, each.details["uid"], each.details["grace_seconds"])
        for each in world.pods.made("delete")
    ] == [("app-exec-1", "uid-1", 600), ("app-exec-2", "uid-2", 600)]


async def test_an_executor_that_took_up_a_task_since_it_was_chosen_stays() -> None:
    """Drains go one after the other, each with a round trip: the driver may give the last ones work meanwhile."""
    world = await idle_world(3)
    world.execution.is_needed = lambda _: len(world.pods.made("delete")) >= 1
    step = await world.turn(idle_report(world))
    assert len(step.drains) == 3
    assert [each.name for each in world.pods.made("delete")] == ["app-exec-1"]
    (state,) = (await world.turn(report(), after=0.1)).profiles
    assert state.decommissioning == 1, "those that stay are not counted as leaving"


async def test_the_driver_is_heard_again_before_each_that_goes_because_it_is_idle() -> None:
    world = await idle_world(3)
    before: list[int] = []

    async def look_again() -> None:
        before.append(len(world.pods.made("delete")))

    world.execution.look_again = look_again
    await world.turn(idle_report(world))
    assert before == [0, 1, 2]


async def test_one_of_which_it_is_not_known_whether_it_was_asked_to_go_does_not_count_as_one_that_stays() -> (
    None
):
    """Others might hand on to it what they hold."""
    world = await idle_world(3)
    world.pods.will("delete", LOST)
    with pytest.raises(ApiUnavailable):
        await world.turn(idle_report(world))
    # given a watch that does not tell of it for a while
    seen = world.seen
    world.seen = lambda: iter([replace(each, deleting=False) for each in seen()])
    world.pods.always("delete", REFUSED)
    for _ in range(4):
        # then it is on its way, as it was marked, and as a look at it has shown
        (state,) = (await world.turn(idle_report(world), after=0.2)).profiles
        assert state.decommissioning == 1


async def test_one_that_was_not_asked_to_go_stays_once_it_was_looked_at() -> None:
    world = await idle_world(1)
    world.pods.will("delete", UNANSWERED)
    with pytest.raises(ApiUnavailable):
        await world.turn(idle_report(world))
    await world.execution.apply(world.step(idle_report(world), after=0.1))
    (state,) = world.step(idle_report(world), after=0.1).profiles
    assert (state.running, state.decommissioning) == (1, 0)
    await world.turn(idle_report(world), after=2)
    assert [each.deleting for each in world.seen()] == [True]


async def given_back_by_streams(
    world: World, *, idle: bool = True, between_batches: bool = False
) -> list[str]:
    """Both executors are more than streams ask for; returns the pods that were deleted."""
    decided = world.step(idle_report(world))
    chosen, ids = decided.drains, decided.while_idle
    step = replace(
        decided,
        drains=(),
        above_streams=chosen,
        while_idle=ids if idle else frozenset(),
        between_batches=ids if between_batches else frozenset(),
    )
    await world.execution.apply(step)
    return [each.name for each in world.pods.made("delete")]


async def test_an_executor_of_a_stream_that_took_up_a_task_since_it_was_chosen_as_idle_stays() -> (
    None
):
    world = await idle_world(2)
    world.execution.is_needed = lambda pod: pod.executor_id == 1
    assert await given_back_by_streams(world) == ["app-exec-2"]


async def test_one_that_was_chosen_with_its_tasks_goes_with_them() -> None:
    world = await idle_world(2)
    world.execution.is_needed = lambda _: True
    assert await given_back_by_streams(world, idle=False) == ["app-exec-1", "app-exec-2"]


async def test_executors_chosen_between_two_batches_stay_once_a_job_runs_whoever_has_its_tasks() -> (
    None
):
    world = await idle_world(2)
    world.execution.a_job_runs = lambda: True
    assert await given_back_by_streams(world, between_batches=True) == []
    world = await idle_world(2)
    world.execution.a_job_runs = lambda: True
    assert len(await given_back_by_streams(world)) == 2


async def test_a_forbidden_drain_is_said_and_not_asked_again_at_once() -> None:
    world = await idle_world(3)
    world.pods.always("delete", REFUSED)
    for _ in range(9):
        step = await world.turn(idle_report(world), after=1)
    assert len(world.pods.made("delete")) == 1
    assert world.execution.drain_obstacle is not None
    assert world.execution.drain_obstacle.reason is Reason.DELETE_FORBIDDEN
    (state,) = step.profiles
    assert (state.running, state.decommissioning) == (3, 0)


@pytest.mark.parametrize("verb", ["get", "delete"])
async def test_whatever_stands_before_the_drains_they_are_decided_again(verb: str) -> None:
    """An executor that nobody was asked to let go must not be left out of the counts."""
    world = await idle_world(2)
    if verb == "get":
        world.pods.will("create", LOST)
        await world.execution.apply(creation(1))
    world.pods.will(verb, UNANSWERED)
    with pytest.raises(ApiUnavailable):
        await world.turn(idle_report(world))
    for _ in range(3):
        await world.turn(idle_report(world))
    assert all(each.deleting for each in world.seen() if each.executor_id in (1, 2))


async def test_a_pending_pod_is_withdrawn_only_as_it_was_seen() -> None:
    world = World()
    await world.want(2)
    step = world.step(report(), after=61)
    assert step.plan is not None
    assert step.plan.withdraw
    world.pods.run("app-exec-1", "jobs")  # it starts in this very moment
    await world.execution.apply(step)
    assert world.names == ["app-exec-1"]
    assert not any(each.deleting for each in world.seen())
    (state,) = (await world.turn(report())).profiles
    assert (state.running, state.decommissioning) == (1, 0), "and it counts"


async def test_what_has_not_begun_goes_before_what_runs() -> None:
    world = World()
    await world.want(3)
    for number in (1, 2):
        world.pods.run(f"app-exec-{number}", "jobs")
    idle = report(executors=tuple(served_driver.executor(number, total=1) for number in (1, 2)))
    await world.turn(idle)
    await world.turn(idle, after=61)
    went = [(each.name, each.details["grace_seconds"]) for each in world.pods.made("delete")]
    assert went == [("app-exec-3", None), ("app-exec-1", 600), ("app-exec-2", 600)]


async def test_withdrawals_that_are_refused_are_no_storm() -> None:
    world = World()
    await world.want(8)
    world.pods.always("delete", REFUSED)
    for number in range(9):
        await world.turn(report(), after=61 if number == 0 else 0.5)
    assert len(world.pods.made("delete")) == 1


# -- rules --------------------------------------------------------------------------------------------------------------

_strangers = st.lists(
    st.tuples(
        st.integers(1, 12),
        st.sampled_from(["driver", "other-driver"]),
        st.sampled_from(["", "allocation", "other-allocation"]),
        st.sampled_from(["jobs", "elsewhere"]),
    ),
    max_size=8,
    unique_by=lambda each: (each[0], each[3]),
)
_fates = st.lists(
    st.tuples(
        st.integers(0, 8),
        st.sampled_from(["", "create", "delete", "get", "reserve_executor_ids"]),
        st.sampled_from([LOST, UNANSWERED]),
        st.booleans(),  # pods start
        st.booleans(),  # the operator dies
        st.sampled_from([1.1, 8.0, 70.0]),
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None)
@given(strangers=_strangers, fates=_fates)
def test_no_pod_of_others_is_touched_and_no_id_is_used_twice(strangers, fates) -> None:
    """Random faults, restarts and strangers: every deletion names a pod that we made, every creation a new id."""
    asyncio.run(_survive(strangers, fates))


async def _survive(strangers: Any, fates: Any) -> None:
    world = World(executor_idle_timeout_s=5, max_executors=6)
    ours_by_chance = set()
    for executor_id, driver_uid, allocation_uid, namespace in strangers:
        name = f"app-exec-{executor_id}"
        pod = executor_document(
            executor_id,
            driver_uid=driver_uid,
            allocation_uid=allocation_uid,
            namespace=namespace,
        )
        made = world.pods.put({**pod, "metadata": {**pod["metadata"], "name": name}})
        if (driver_uid, allocation_uid, namespace) == ("driver", "allocation", "jobs"):
            ours_by_chance.add(made["metadata"]["uid"])
    theirs = {pod["metadata"]["uid"] for pod in world.pods.pods.values()} - ours_by_chance
    world.seen = lambda: (  # type: ignore[method-assign]
        seen.pod
        for document in world.pods.pods.values()
        if (seen := seen_pod(msgspec.convert(document, wire.Pod))) is not None
        and seen.allocation_uid == "allocation"
        and seen.key.driver_uid == "driver"
        and seen.key.namespace == "jobs"
    )
    for tasks, verb, fault, start, dies, pause in fates:
        if verb == "reserve_executor_ids":
            world.allocations.will(verb, fault)
        elif verb:
            world.pods.will(verb, fault)
        if start:
            for each in list(world.seen()):
                world.pods.run(each.name, "jobs")
        alive = tuple(
            served_driver.executor(each.executor_id, active=int(number < tasks), total=1)
            for number, each in enumerate(world.seen())
        )
        stages = (stage(tasks=tasks),) if tasks else ()
        step = world.step(report(*stages, executors=alive, gauge=tasks), after=pause)
        with_fault = asyncio.create_task(world.execution.apply(step))
        await asyncio.gather(with_fault, return_exceptions=True)
        error = with_fault.exception()
        assert error is None or isinstance(error, ApiUnavailable), error
        if dies:
            world.restart()
        for plans in (world.pods._plans, world.allocations._plans):
            plans.clear()
    assert not theirs & {each.details["uid"] for each in world.pods.made("delete")}
    assert theirs <= {pod["metadata"]["uid"] for pod in world.pods.pods.values()}
    created = world.created_ids()
    assert len(created) == len(set(created)), "an id is asked for once"


def test_the_fake_and_the_plan_speak_of_the_same_pods() -> None:
    world = World()
    world.pods.put(executor_document(1))
    (pod,) = world.seen()
    assert replace(pod, resource_version="") != pod
    assert (pod.executor_id, pod.namespace) == (1, "jobs")


async def test_a_replacement_is_sent_away_from_nodes_where_others_came_to_nothing() -> None:
    world = World()
    world.life.allocation.avoid_nodes = frozenset({"bad"})
    await world.execution.apply(creation(1))
    (created,) = world.pods.made("create")
    (term,) = created.details["pod"]["spec"]["affinity"]["nodeAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["preference"]["matchFields"][0]["values"] == ["bad"]
