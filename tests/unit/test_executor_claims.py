"""Claims of executors: made after the pod, owned by the driver, used again, and never given to two pods."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit import served_driver
from tests.unit.plan_world import World, claim_document, creation
from tests.unit.served_driver import report, stage

from spark_allocation.api.conditions import Reason
from spark_allocation.core.executor_pods import ExecutorId
from spark_allocation.core.pods_allocator_conf import ClaimsConf
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.pods_api import CreateOutcome, CreateResult
from spark_allocation.kube.write_outcomes import WriteOutcome, WriteResult
from spark_allocation.testing.faults import LOST, UNANSWERED

CLAIMS = "persistentvolumeclaims"
OLD_ENOUGH = 601
FORBIDDEN = CreateOutcome(CreateResult.FORBIDDEN, "admission says no")


def volume(**wishes: str) -> dict[str, Any]:
    return dict(wishes)


def world_with(*volumes: dict[str, Any], claims: ClaimsConf | None = None, **wishes: Any) -> World:
    world = World(claims=claims or ClaimsConf(), **wishes)
    world.volumes = volumes or (volume(),)
    return world


def claims(world: World) -> dict[str, dict[str, Any]]:
    return {
        name: document
        for (_, kind, name), document in world.objects.objects.items()
        if kind == CLAIMS
    }


def mounted(world: World, pod: str) -> list[str]:
    volumes = world.pods.pods["jobs", pod]["spec"]["volumes"]
    return [each["persistentVolumeClaim"]["claimName"] for each in volumes]


def gone(world: World, *pods: str) -> None:
    for pod in pods:
        del world.pods.pods["jobs", pod]


async def one_more(world: World, pods: int = 1, *, after: float = 1.1) -> None:
    """A round that plans from what is seen now, and so many pods to create in it."""
    step = world.step(after=after)
    assert step.plan is not None
    asked = creation(pods).plan
    assert asked is not None
    await world.execution.apply(
        replace(step, plan=replace(asked, claims_in_use=step.plan.claims_in_use))
    )


# -- making ------------------------------------------------------------------------------------------------------------


async def test_claims_are_made_after_their_pod_as_in_spark() -> None:
    world = world_with()
    calls: list[str] = []
    world.pods.calls = calls  # type: ignore[assignment]
    world.objects.calls = calls  # type: ignore[assignment]
    await world.execution.apply(creation(1))
    verbs = [(call.verb, call.name) for call in calls]  # type: ignore[attr-defined]
    assert verbs.index(("create", "app-exec-1")) < verbs.index(("create", "app-exec-1-pvc-0"))


async def test_claims_belong_to_the_driver_unless_the_configuration_says_otherwise() -> None:
    world = world_with()
    await world.execution.apply(creation(1))
    (claim,) = claims(world).values()
    assert [owner["uid"] for owner in claim["metadata"]["ownerReferences"]] == ["driver"]


async def test_claims_that_follow_their_pod_belong_to_it() -> None:
    world = world_with(claims=ClaimsConf(own=False))
    world.claims_follow_pod = True
    await world.execution.apply(creation(1))
    (claim,) = claims(world).values()
    assert [owner["uid"] for owner in claim["metadata"]["ownerReferences"]] == ["uid-1"]


@pytest.mark.parametrize("fault", [UNANSWERED, LOST])
async def test_a_claim_whose_creation_was_not_answered_is_asked_for_again(fault: object) -> None:
    world = world_with()
    world.objects.will("create", fault)
    await world.execution.apply(creation(1))
    await world.execution.apply(creation(0))
    assert list(claims(world)) == ["app-exec-1-pvc-0"]
    assert world.names == ["app-exec-1"]


async def test_a_claim_counts_once_however_often_it_was_asked_for() -> None:
    world = world_with(volume(), volume())
    world.objects.will("create", LOST, UNANSWERED)
    await world.execution.apply(creation(1))
    with pytest.raises(ApiUnavailable):
        await world.execution.apply(creation(0))
    await world.execution.apply(creation(0))
    assert len(claims(world)) == world.life.allocation.pods.claims_made == 2


async def test_a_pod_whose_creation_was_not_answered_gets_its_claims() -> None:
    world = world_with()
    world.pods.will("create", LOST)
    await world.execution.apply(creation(1))
    await world.execution.apply(creation(0))
    assert list(claims(world)) == ["app-exec-1-pvc-0"]


async def test_a_pod_that_comes_after_it_was_looked_for_gets_its_claims() -> None:
    world = world_with()
    await one_more(world)
    for _ in range(2):  # what a former run has left is looked for once, in the first picture
        await one_more(world, 0)
    world.pods.will("create", UNANSWERED)
    await one_more(world)
    asked_for = world.pods.made("create")[-1].details["pod"]
    await one_more(world, 0)
    world.pods.put(asked_for)
    for _ in range(2):  # the first step sees the pod, the second finds it waiting
        await one_more(world, 0)
    assert list(claims(world)) == ["app-exec-1-pvc-0", "app-exec-2-pvc-0"]


async def test_a_pod_whose_operator_died_before_it_made_the_claims_gets_them() -> None:
    world = world_with()
    world.objects.will("create", UNANSWERED)
    await world.execution.apply(creation(1))
    world.restart()
    assert claims(world) == {}
    for _ in range(2):  # the first step sees the pods, the second finds one waiting
        await one_more(world, 0)
    assert list(claims(world)) == ["app-exec-1-pvc-0"]
    asked = len(world.objects.calls)
    await one_more(world, 0)
    assert len(world.objects.calls) == asked, "it looks once"


async def test_a_pod_that_never_gets_its_claim_is_taken_back() -> None:
    world = world_with()
    world.objects.always("create", WriteOutcome(WriteResult.REFUSED, "no such storage class"))
    await world.execution.apply(creation(1))
    assert world.names == []
    assert world.execution.obstacle is not None
    assert "no such storage class" in world.execution.obstacle.message


@pytest.mark.parametrize(
    "owner", [pytest.param("another", id="another driver"), pytest.param("", id="nobody")]
)
async def test_a_claim_of_somebody_else_under_the_name_is_not_mounted(owner: str) -> None:
    world = world_with()
    world.objects.put(CLAIMS, claim_document("app-exec-1-pvc-0", driver_uid=owner))
    await world.execution.apply(creation(1))
    assert world.names == []
    assert world.execution.obstacle is not None
    assert "app-exec-1-pvc-0 exists and is not ours" in world.execution.obstacle.message


async def test_a_name_that_the_user_chose_is_looked_at_before_the_pod_could_mount_it() -> None:
    world = world_with(volume(name="payroll"))
    world.objects.put(CLAIMS, claim_document("payroll", driver_uid="another"))
    await world.execution.apply(creation(1))
    assert world.pods.made("create") == []
    assert world.execution.obstacle is not None
    assert world.execution.obstacle.reason is Reason.POD_NOT_BUILT
    assert "payroll exists already" in world.execution.obstacle.message
    assert "SPARK_EXECUTOR_ID" in world.execution.obstacle.message


async def test_a_chosen_name_with_the_executor_s_id_is_each_executor_s_own() -> None:
    world = world_with(volume(name="data-SPARK_EXECUTOR_ID"))
    await world.execution.apply(creation(2))
    assert sorted(claims(world)) == ["data-1", "data-2"]
    assert mounted(world, "app-exec-2") == ["data-2"]


async def test_a_fixed_name_serves_one_executor_at_a_time() -> None:
    world = world_with(volume(name="data"))
    await world.execution.apply(creation(2))
    assert world.names == ["app-exec-1"]
    assert world.execution.obstacle is not None
    assert "data" in world.execution.obstacle.message


# -- using again --------------------------------------------------------------------------------------------------------


async def test_a_new_executor_takes_over_the_claim_of_one_that_has_gone() -> None:
    world = world_with()
    await world.execution.apply(creation(1))
    gone(world, "app-exec-1")
    await one_more(world, after=OLD_ENOUGH)
    assert mounted(world, "app-exec-2") == ["app-exec-1-pvc-0"]
    assert list(claims(world)) == ["app-exec-1-pvc-0"]


async def test_a_claim_that_a_pod_mounts_is_not_taken() -> None:
    world = world_with()
    await world.execution.apply(creation(1))
    world.pods.run("app-exec-1", "jobs")
    await one_more(world, after=OLD_ENOUGH)
    assert mounted(world, "app-exec-2") == ["app-exec-2-pvc-0"]


async def test_a_claim_of_a_pod_that_is_leaving_is_not_taken() -> None:
    world = world_with()
    await world.execution.apply(creation(1))
    world.pods.run("app-exec-1", "jobs")
    await world.pods.delete("jobs", "app-exec-1", "uid-1", grace_seconds=600)
    await one_more(world, after=OLD_ENOUGH)
    assert mounted(world, "app-exec-2") == ["app-exec-2-pvc-0"]


async def test_a_young_claim_may_belong_to_a_pod_that_nobody_has_seen() -> None:
    world = world_with()
    await world.execution.apply(creation(1))
    gone(world, "app-exec-1")
    await one_more(world, after=599)
    assert mounted(world, "app-exec-2") == ["app-exec-2-pvc-0"]


async def test_a_claim_is_given_to_one_pod_of_a_round_and_of_the_next() -> None:
    """Spark would offer it again to the next profile: its pod is in no snapshot yet."""
    world = world_with()
    world.objects.put(CLAIMS, claim_document("left"))
    world.step(after=OLD_ENOUGH)
    await world.execution.apply(creation(2))
    taken = sorted(mounted(world, "app-exec-1") + mounted(world, "app-exec-2"))
    assert taken == ["app-exec-2-pvc-0", "left"]
    await world.execution.apply(creation(1))
    assert mounted(world, "app-exec-3") == ["app-exec-3-pvc-0"]


async def test_a_claim_that_was_given_to_a_pod_that_was_never_made_is_free_again() -> None:
    world = world_with()
    world.objects.put(CLAIMS, claim_document("left"))
    world.step(after=OLD_ENOUGH)
    world.pods.will("create", FORBIDDEN)
    await world.execution.apply(creation(1))
    await world.execution.apply(creation(1))
    assert mounted(world, "app-exec-2") == ["left"]


async def test_a_claim_of_a_pod_that_may_still_come_is_given_to_no_other() -> None:
    world = world_with()
    world.objects.put(CLAIMS, claim_document("left"))
    world.step(after=OLD_ENOUGH)
    world.pods.will("create", UNANSWERED)
    await world.execution.apply(creation(1))
    asked_for = world.pods.made("create")[-1].details["pod"]
    await one_more(world)
    world.pods.put(asked_for)
    assert [mounted(world, pod) for pod in ("app-exec-1", "app-exec-2")] == [
        ["left"],
        ["app-exec-2-pvc-0"],
    ]


async def test_a_claim_of_a_pod_that_never_came_is_free_after_a_minute() -> None:
    world = world_with()
    world.objects.put(CLAIMS, claim_document("left"))
    world.step(after=OLD_ENOUGH)
    world.pods.will("create", UNANSWERED)
    await world.execution.apply(creation(1))
    await one_more(world, 0)
    await one_more(world, after=61)
    assert mounted(world, "app-exec-2") == ["left"]


async def test_a_claim_given_to_a_pod_that_came_and_went_is_free_again() -> None:
    world = world_with()
    world.objects.put(CLAIMS, claim_document("left"))
    world.step(after=OLD_ENOUGH)
    await world.execution.apply(creation(1))
    await one_more(world, 0)  # a snapshot shows it
    gone(world, "app-exec-1")
    await one_more(world)
    assert mounted(world, "app-exec-2") == ["left"]


async def test_a_claim_given_to_a_pod_that_no_snapshot_ever_shows_is_free_in_the_end() -> None:
    world = world_with()
    world.objects.put(CLAIMS, claim_document("left"))
    world.step(after=OLD_ENOUGH)
    await world.execution.apply(creation(1))
    gone(world, "app-exec-1")
    await one_more(world, after=OLD_ENOUGH)
    assert mounted(world, "app-exec-2") == ["left"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(claim_document("left", driver_uid="another"), id="of another driver"),
        pytest.param(claim_document("left", "2Gi"), id="of another size"),
        pytest.param(claim_document("left", storage_class="slow"), id="of another class"),
        pytest.param({**claim_document("left"), "status": {"phase": "Lost"}}, id="without volume"),
        pytest.param(
            {
                **claim_document("left"),
                "metadata": {
                    **claim_document("left")["metadata"],
                    "deletionTimestamp": "2026-01-01T00:00:00Z",
                },
            },
            id="being deleted",
        ),
        pytest.param(
            {
                **claim_document("left"),
                "metadata": {
                    **claim_document("left")["metadata"],
                    "labels": {"spark-app-selector": "app-2"},
                },
            },
            id="of another application",
        ),
        pytest.param(claim_document("of-the-driver"), id="mounted by the driver"),
    ],
)
async def test_what_is_no_executor_s_claim_is_left_alone(other: dict[str, Any]) -> None:
    world = world_with()
    world.mounted_by_driver = frozenset({"of-the-driver"})
    world.execution = world._execution()
    world.objects.put(CLAIMS, other)
    world.step(after=OLD_ENOUGH)
    await world.execution.apply(creation(1))
    assert mounted(world, "app-exec-1") == ["app-exec-1-pvc-0"]


async def test_of_several_volumes_each_gets_a_claim_of_its_own_kind() -> None:
    world = world_with(volume(), volume(size="5Gi"))
    world.objects.put(CLAIMS, claim_document("large", "5120Mi"))
    world.step(after=OLD_ENOUGH)
    await world.execution.apply(creation(1))
    assert mounted(world, "app-exec-1") == ["app-exec-1-pvc-0", "large"]


@pytest.mark.parametrize("conf", [ClaimsConf(own=False), ClaimsConf(reuse=False)])
async def test_without_reuse_nobody_looks_for_claims(conf: ClaimsConf) -> None:
    world = world_with(claims=conf)
    world.objects.put(CLAIMS, claim_document("left"))
    world.step(after=OLD_ENOUGH)
    await world.execution.apply(creation(1))
    assert world.objects.made("list_named") == []
    assert mounted(world, "app-exec-1") == ["app-exec-1-pvc-0"]


async def test_without_the_right_to_list_claims_new_ones_are_made_as_in_spark() -> None:
    world = world_with()
    world.objects.always("list_named", [])
    world.objects.put(CLAIMS, claim_document("left"))
    world.step(after=OLD_ENOUGH)
    await world.execution.apply(creation(1))
    assert mounted(world, "app-exec-1") == ["app-exec-1-pvc-0"]


async def test_while_nobody_knows_what_is_free_nothing_is_asked_for() -> None:
    world = world_with()
    world.objects.will("list_named", UNANSWERED)
    with pytest.raises(ApiUnavailable):
        await world.execution.apply(creation(1))
    assert world.pods.made("create") == []


# -- waiting ------------------------------------------------------------------------------------------------------------


async def test_when_all_claims_are_made_new_executors_wait_for_a_free_one() -> None:
    world = world_with(claims=ClaimsConf(wait=True, maximum=2))
    await world.execution.apply(creation(2))
    await one_more(world)
    assert world.names == ["app-exec-1", "app-exec-2"]
    assert world.execution.obstacle is not None
    assert world.execution.obstacle.reason is Reason.WAITING_FOR_CLAIMS
    assert world.execution.obstacle.message == "Wait to reuse one of the existing 2 PVCs."
    gone(world, "app-exec-1")
    await one_more(world, after=OLD_ENOUGH)
    assert mounted(world, "app-exec-3") == ["app-exec-1-pvc-0"]
    assert world.execution.obstacle is None


async def test_executors_made_at_the_same_time_do_not_make_more_claims_than_there_may_be() -> None:
    world = world_with(claims=ClaimsConf(wait=True, maximum=3))
    await world.execution.apply(creation(10))
    assert len(world.names) == len(claims(world)) == 3


async def test_waiting_uses_up_no_ids_and_is_no_failure() -> None:
    world = world_with(claims=ClaimsConf(wait=True, maximum=1), max_executors=3)
    for _ in range(60):
        await world.turn(report(stage(tasks=3), gauge=3))
    assert world.names == ["app-exec-1"]
    assert world.created_ids() == [1]
    assert world.step(report(stage(tasks=3), gauge=3)).held_back == frozenset()


async def test_a_restarted_operator_counts_the_claims_that_are_there() -> None:
    world = world_with(claims=ClaimsConf(wait=True, maximum=2))
    await world.execution.apply(creation(2))
    world.restart()
    await one_more(world)
    assert world.names == ["app-exec-1", "app-exec-2"]


async def test_a_claim_that_could_not_be_made_does_not_count() -> None:
    world = world_with(claims=ClaimsConf(wait=True, maximum=1))
    world.objects.will("create", WriteOutcome(WriteResult.REFUSED, "quota"))
    await world.execution.apply(creation(1))
    await world.execution.apply(creation(1))
    assert world.names == ["app-exec-2"]


# -- the rule -----------------------------------------------------------------------------------------------------------

_fates = st.lists(
    st.tuples(
        st.sampled_from(["create", "lose", "see", "restart", "claim fault", "pod fault"]),
        st.integers(0, 4),
        st.sampled_from([1.1, 30.0, 650.0]),
    ),
    min_size=2,
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(fates=_fates, wait=st.booleans())
def test_no_claim_is_ever_mounted_by_two_pods(fates: Any, wait: bool) -> None:
    asyncio.run(_live(fates, wait))


async def _live(fates: Any, wait: bool) -> None:
    world = world_with(volume(), volume(), claims=ClaimsConf(wait=wait, maximum=4))

    async def turn(pods: int, pause: float) -> None:
        with contextlib.suppress(ApiUnavailable):  # the runner goes on with the next step
            await one_more(world, pods, after=pause)

    single = 0
    for fate, number, pause in fates:
        match fate:
            case "create":
                await turn(number, pause)
            case "lose":
                gone(world, *world.names[:number])
                await turn(0, pause)
            case "see":
                await turn(0, pause)
            case "restart":
                world.restart()
                await turn(0, pause)
            case "claim fault":
                single += 1
                world.objects.will("create", [LOST, UNANSWERED][number % 2])
            case _:
                world.pods.will("create", [LOST, UNANSWERED, FORBIDDEN][number % 3])
        uses = [claim for pod in world.names for claim in mounted(world, pod)]
        assert len(uses) == len(set(uses))
        if wait:
            # The last of the pods may want two claims. And a fault between the two claims of a pod leaves one over, which is
            # used again beside a new one: Spark waits only while none at all is free.
            assert len(claims(world)) <= 5 + single


def test_the_settings_of_the_tests_are_those_of_the_allocator() -> None:
    assert served_driver.settings(claims=ClaimsConf(wait=True)).pods.claims.waits_for_reuse
    assert ExecutorId(1) == 1
