"""The pods allocator in Spark's mode: ExecutorPodsAllocatorSuite restated, and what an operator needs beyond it.

Batch size 5, idle timeout 10 s, creation timeout 600 s unless a test says otherwise.
"""

from dataclasses import replace

import pytest
from tests.unit.allocator_world import START, AllocatorWorld

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.pods_allocator import (
    ExecutorPodsAllocator,
    least_advanced_first,
    split_slots,
)
from spark_allocation.core.pods_allocator_conf import ClaimsConf, PodsAllocatorConf
from spark_allocation.core.pods_plan import GivenUpPods, RequestBound, UnseenPod
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

SPARK = PodsAllocatorConf(batch_size=5, idle_timeout_ms=10_000)
OPERATOR = replace(SPARK, batch_size=None, wait_for_previous_batch=False, repair_known_faults=True)
PENDING, RUNNING, FAILED = PodState.PENDING, PodState.RUNNING, PodState.FAILED
DEFAULT = ProfileId(0)


@pytest.mark.parametrize(
    ("consumers", "slots", "shares"),
    [
        (1, 0, (0,)),
        (1, 1, (1,)),
        (1, 2, (2,)),
        (3, 1, (1, 0, 0)),
        (3, 2, (1, 1, 0)),
        (3, 3, (1, 1, 1)),
        (3, 4, (2, 1, 1)),
        (0, 4, ()),
    ],
)
def test_slots_are_split_evenly_and_the_first_get_the_rest(consumers, slots, shares):
    assert split_slots(consumers, slots) == shares


class TestBatches:
    def test_executors_are_first_requested_in_batches_of_limited_size(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 6})
        assert world.created_ids == [1, 2, 3, 4, 5]
        assert world.allocator.outstanding == 5

    def test_another_batch_starts_only_when_the_whole_previous_one_was_seen(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 10})
        world.becomes(RUNNING, 1, 2, 3, 4)
        world.round()
        assert world.created_ids == [1, 2, 3, 4, 5]
        world.becomes(RUNNING, 5)
        world.round()
        assert world.created_ids == list(range(1, 11))

    def test_pending_pods_do_not_stall_the_next_batch(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 6})
        world.becomes(PENDING, 1)
        world.becomes(RUNNING, 2, 3, 4, 5)
        world.round()
        assert world.created_ids[-1] == 6
        assert world.allocator.outstanding == 2

    def test_a_failed_executor_is_replaced_immediately(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 5})
        world.becomes(RUNNING, 1, 2, 3, 4)
        world.becomes(FAILED, 5)
        world.round()
        assert world.created_ids[-1] == 6
        assert world.allocator.outstanding == 1

    def test_a_registered_executor_without_a_visible_pod_does_not_hold_up_the_next_batch(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 6})
        world.registers(1, 2, 3, 4, 5)
        world.round()
        assert world.created_ids[-1] == 6
        assert world.allocator.outstanding == 1

    def test_the_request_is_told_in_sparks_words(self):
        world = AllocatorWorld(replace(SPARK, max_pending_pods=9))
        world.allocator.expect({DEFAULT: 7})
        plan = world.plan()
        (line,) = plan.log_lines
        assert line == (
            "Going to request 5 executors from Kubernetes for ResourceProfile Id: 0, target: 7, known: 0, "
            "sharedSlotFromPendingPods: 9."
        )
        assert plan.profiles[DEFAULT].bound is RequestBound.BATCH_SIZE

    def test_a_profile_that_waits_for_its_previous_batch_says_so(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 6})

        assert world.plan().profiles[DEFAULT].bound is RequestBound.PREVIOUS_BATCH

    def test_a_batch_that_holds_all_that_is_missing_is_no_bound(self):
        world = AllocatorWorld(SPARK)
        world.allocator.expect({DEFAULT: 5})

        plan = world.plan()

        assert plan.create[0].count == 5
        assert plan.create[0].bound is RequestBound.NOTHING


class TestLimits:
    def test_the_limit_on_pending_pods_is_shared_by_the_profiles(self):
        world = AllocatorWorld(replace(SPARK, max_pending_pods=3))
        world.expect({0: 2, 1: 3})
        assert world.created == [(1, 0), (2, 0), (3, 1)]
        assert world.allocator.outstanding == 3
        world.becomes(PENDING, 2, 3)
        world.round()
        assert len(world.created) == 3
        world.now += 20_000
        world.expect({0: 1})
        world.round()
        assert world.deleted == [1]
        assert world.created[-1] == (4, 1)
        world.becomes(RUNNING, 3)
        world.becomes(PENDING, 4)
        world.round()
        assert world.created[-1] == (5, 1)

    def test_the_limit_per_profile_holds_within_each_profile(self):
        world = AllocatorWorld(replace(SPARK, max_pending_pods_per_profile=2))
        world.expect({0: 2, 1: 3})
        assert world.created == [(1, 0), (2, 0), (3, 1), (4, 1)]
        world.becomes(PENDING, 1, 2, 3, 4)
        world.round(20_000)
        world.expect({0: 1})
        world.round()
        assert len(world.deleted) == 1
        assert world.allocator.outstanding == 3
        world.becomes(RUNNING, 3)
        world.round()
        assert world.created[-1] == (5, 1)

    def test_no_id_reaches_the_allocation_maximum(self):
        world = AllocatorWorld(replace(SPARK, allocation_maximum=1))
        world.expect({0: 2})
        assert world.created == []
        assert world.ids.at_maximum

    def test_an_exhausted_limit_is_named_as_the_bound(self):
        world = AllocatorWorld(replace(SPARK, max_pending_pods=1))
        world.expect({0: 1, 1: 1})
        plan = world.plan()
        assert plan.create == ()
        assert plan.profiles[ProfileId(1)].bound is RequestBound.MAX_PENDING_PODS


class TestUnseenPods:
    def test_a_pod_that_the_api_never_shows_is_deleted_and_replaced_after_the_creation_timeout(
        self,
    ):
        world = AllocatorWorld(SPARK)
        world.expect({0: 1})
        world.round(600_000)
        assert world.created_ids == [1]
        plan = world.round(1)
        assert world.deleted == [1]
        assert world.created_ids == [1, 2]
        assert plan.log_lines[0].startswith(
            "Executors with ids 1 were not detected in the Kubernetes cluster after 600000 ms"
        )

    def test_without_delete_on_termination_it_is_replaced_but_not_deleted(self):
        world = AllocatorWorld(replace(SPARK, delete_on_termination=False))
        world.expect({0: 1})
        world.round(600_001)
        assert world.deleted == []
        assert world.created_ids == [1, 2]

    def test_a_registered_executor_that_is_never_seen_counts_for_ever_in_spark(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 1})
        world.registers(1)
        world.round()
        world.registered.clear()
        world.round(10_000_000)
        assert world.created_ids == [1]

    def test_with_known_faults_repaired_a_later_full_list_ends_it(self):
        world = AllocatorWorld(replace(SPARK, repair_known_faults=True))
        world.expect({0: 1})
        world.registers(1)
        world.round()
        world.registered.clear()
        world.vanishes(1)
        world.now += 1
        world.list_all()
        plan = world.round()
        assert [pod.executor_id for pod in plan.given_up[0].pods] == [1]
        assert not plan.given_up[0].delete
        assert world.created_ids == [1, 2]

    def test_a_full_list_that_was_asked_for_before_the_creation_proves_nothing(self):
        world = AllocatorWorld(OPERATOR)
        world.list_all()
        world.expect({0: 1})
        world.list_all()
        world.round()
        assert world.created_ids == [1]

    def test_only_a_list_asked_for_after_the_creation_proves_that_the_pod_is_not_there(self):
        """A list of the same millisecond may have been answered before the pod was made."""
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 1})
        created = world.now
        world.vanishes(1)

        world.list_all()
        assert world.plan().given_up == ()

        world.now += 1
        world.list_all()
        missing = UnseenPod(ExecutorId(1), DEFAULT, asked_at=created, created_at=created)
        assert world.plan().given_up == (GivenUpPods((missing,), delete=False, after_ms=None),)

    def test_the_uid_in_the_answer_is_kept_until_the_pod_is_seen(self):
        """It is what a later deletion of this pod, and of no other of its name, needs."""
        allocator = ExecutorPodsAllocator(OPERATOR)
        for executor_id in (1, 2, 3):
            allocator.creation_started(ExecutorId(executor_id), DEFAULT, START)
        allocator.pod_created(ExecutorId(1), START + 7, uid="uid-1")
        allocator.pod_created(ExecutorId(2), START + 7)

        assert list(allocator.unseen.values()) == [
            UnseenPod(ExecutorId(1), DEFAULT, START, created_at=START + 7, uid="uid-1"),
            UnseenPod(ExecutorId(2), DEFAULT, START, created_at=START + 7, uid=""),
            UnseenPod(ExecutorId(3), DEFAULT, START, created_at=None, uid=""),
        ]

    def test_a_pod_that_appeared_and_vanished_between_two_rounds_is_replaced(self):
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 1})
        gone = world.pods.pop(ExecutorId(1))
        plan = world.allocator.plan(
            ExecutorPodsSnapshot(), registered=set(), now=world.now, vanished=[gone]
        )
        assert plan.create[0].count == 1


class TestExcess:
    def test_scaling_up_and_down(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 1})
        world.becomes(RUNNING, 1)
        world.round()
        assert world.allocator.outstanding == 0
        world.expect({0: 4})
        assert world.created_ids == [1, 2, 3, 4]
        world.becomes(RUNNING, 2)
        world.becomes(PENDING, 3)
        world.round()
        assert world.allocator.outstanding == 2
        world.now += 20_000
        world.expect({0: 1})
        plan = world.round()
        assert sorted(world.deleted) == [3, 4]
        assert plan.log_lines == ("Deleting 2 excess pod requests (4,3).",)
        assert world.allocator.withdrawn == {3, 4}
        world.list_all()
        world.round()
        assert world.allocator.withdrawn == frozenset()

    def test_a_young_request_does_not_use_up_the_excess(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 1})
        world.becomes(PENDING, 1)
        world.now += 10_000
        world.allocator.expect({DEFAULT: 2})
        world.round()
        assert world.created_ids == [1, 2]
        world.expect({0: 1})
        world.round()
        assert world.deleted == []
        world.round(10_000)
        assert world.deleted == [1]

    def test_young_and_registered_requests_are_protected(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 5})
        world.becomes(PENDING, 2, 3)
        world.expect({0: 0})
        world.round()
        assert world.deleted == []
        world.registers(1, 3, 4)
        world.round(20_000)
        assert sorted(world.deleted) == [2, 5]
        assert world.allocator.outstanding == 0

    def test_registered_executors_of_several_profiles_survive_downscaling(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 3, 1: 4})
        assert world.allocator.outstanding == 7
        world.registers(1, 4)
        world.round()
        assert world.allocator.outstanding == 5
        world.becomes(PENDING, 1, 2, 3, 4, 5, 6, 7)
        world.registers(2, 5)
        world.round()
        assert world.allocator.outstanding == 3
        world.now += 20_000
        world.expect({0: 1, 1: 1})
        world.round()
        assert sorted(world.deleted) == [3, 6, 7]
        world.expect({0: 2, 1: 2})
        world.round()
        assert len(world.created) == 7
        world.expect({0: 3, 1: 3})
        world.round()
        assert world.created[7:] == [(8, 0), (9, 1)]

    def test_several_profiles_grow_and_shrink_by_themselves(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 1, 1: 2})
        world.becomes(RUNNING, 1, 2, 3)
        world.round()
        assert world.allocator.outstanding == 0
        world.expect({0: 4, 1: 3})
        assert world.created[3:] == [(4, 0), (5, 0), (6, 0), (7, 1)]
        world.becomes(RUNNING, 4)
        world.becomes(PENDING, 5, 7)
        world.round()
        assert world.allocator.outstanding == 3
        world.now += 20_000
        world.expect({0: 1, 1: 1})
        world.round()
        assert sorted(world.deleted) == [5, 6, 7]

    def test_pods_without_a_node_go_first_then_the_youngest(self):
        def pod(executor_id: int, node: str) -> ExecutorPod:
            name = f"exec-{executor_id}"
            return ExecutorPod(
                name, name, "ns", ExecutorId(executor_id), DEFAULT, PENDING, 0.0, node=node
            )

        pods = [pod(1, "n"), pod(2, ""), pod(3, "n"), pod(4, "")]
        assert [each.executor_id for each in least_advanced_first(pods)] == [4, 2, 3, 1]

    def test_a_withdrawal_that_was_refused_makes_the_pod_count_again(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 2})
        world.becomes(PENDING, 1)
        world.allocator.expect({DEFAULT: 0})
        plan = world.plan(20_000)
        assert [excess.executor_ids for excess in plan.withdraw] == [(2, 1)]
        world.allocator.withdrawal_refused(ExecutorId(1))
        world.allocator.withdrawal_refused(ExecutorId(2))
        world.becomes(RUNNING, 1)
        profile = world.plan().profiles[DEFAULT]
        assert (profile.running, profile.unacknowledged) == (1, 1)

    def test_a_refusal_also_counts_after_a_round_without_news(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 1})
        world.allocator.expect({DEFAULT: 0})
        assert [excess.executor_ids for excess in world.plan(20_000).withdraw] == [(1,)]
        assert world.plan().profiles[DEFAULT].known == 0

        world.allocator.withdrawal_refused(ExecutorId(1))

        assert world.plan().profiles[DEFAULT].unacknowledged == 1

    def test_a_refusal_also_counts_after_a_picture_that_does_not_show_the_pod_yet(self):
        """The watch is late: its newest event, of another pod, is older than the pod that was withdrawn."""
        world = AllocatorWorld(SPARK)
        world.expect({0: 1})
        world.becomes(RUNNING, 1)
        world.round()
        world.expect({0: 2})
        world.allocator.expect({DEFAULT: 1})
        assert [excess.executor_ids for excess in world.plan(20_000).withdraw] == [(2,)]
        world.becomes(RUNNING, 1)
        assert world.plan().profiles[DEFAULT].known == 1

        world.allocator.withdrawal_refused(ExecutorId(2))

        assert world.plan().profiles[DEFAULT].unacknowledged == 1

    def test_a_refusal_does_not_bring_back_what_a_later_full_list_does_not_show(self):
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 1})
        world.allocator.expect({DEFAULT: 0})
        assert [excess.executor_ids for excess in world.plan(20_000).withdraw] == [(1,)]
        world.vanishes(1)
        world.list_all()
        world.plan()

        world.allocator.withdrawal_refused(ExecutorId(1))

        assert world.plan().profiles[DEFAULT].known == 0
        assert world.allocator.unseen == {}

    def test_a_refused_pod_that_was_seen_meanwhile_counts_once(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 1})
        world.allocator.expect({DEFAULT: 0})
        assert world.plan(20_000).withdraw != ()
        world.becomes(RUNNING, 1)
        assert world.plan().profiles[DEFAULT].leaving == 1

        world.allocator.withdrawal_refused(ExecutorId(1))

        profile = world.plan().profiles[DEFAULT]
        assert (profile.running, profile.unacknowledged, profile.leaving) == (1, 0, 0)

    def test_a_refused_pod_that_is_no_longer_listed_does_not_come_back(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 1})
        world.becomes(PENDING, 1)
        world.allocator.expect({DEFAULT: 0})
        assert world.plan(20_000).withdraw != ()
        world.vanishes(1)
        world.list_all()
        world.plan()

        world.allocator.withdrawal_refused(ExecutorId(1))

        assert world.plan().profiles[DEFAULT].known == 0
        assert world.allocator.unseen == {}

    def test_each_withdrawal_names_its_profile(self):
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 1, 1: 1})
        world.allocator.expect({DEFAULT: 0, ProfileId(1): 0})

        plan = world.plan(20_000)

        assert {each.profile_id: each.executor_ids for each in plan.withdraw} == {0: (1,), 1: (2,)}

    def test_a_request_under_way_is_not_withdrawn(self):
        allocator = ExecutorPodsAllocator(OPERATOR)
        allocator.expect({DEFAULT: 1})
        allocator.creation_started(ExecutorId(1), DEFAULT, START)
        allocator.expect({DEFAULT: 0})
        plan = allocator.plan(None, registered=set(), now=START + 20_000)
        assert plan.withdraw == ()
        assert plan.profiles[DEFAULT].unacknowledged == 1


class TestFailingCreations:
    def test_a_failed_creation_consumes_its_id_and_ends_the_round(self):
        world = AllocatorWorld(SPARK)
        world.failing_creations = 1
        world.expect({0: 2, 1: 1})
        assert world.created == []
        assert world.allocator.outstanding == 0
        world.round()
        assert world.created == [(2, 0), (3, 0), (4, 1)]

    def test_spark_forgets_in_a_broken_round_what_it_withdrew(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 2, 1: 0})
        world.becomes(PENDING, 1, 2)
        world.round()
        world.allocator.expect({DEFAULT: 0, ProfileId(1): 1})
        world.failing_creations = 1
        world.round(20_000)
        assert sorted(world.deleted) == [1, 2]
        assert world.allocator.withdrawn == frozenset()
        assert world.allocator.outstanding == 2

    def test_a_creation_that_failed_is_asked_for_again_in_the_next_round(self):
        allocator = ExecutorPodsAllocator(OPERATOR)
        allocator.expect({DEFAULT: 1})
        allocator.creation_started(ExecutorId(1), DEFAULT, START)
        assert allocator.plan(None, registered=set(), now=START).create == ()
        allocator.pod_creation_failed(ExecutorId(1))
        assert allocator.plan(None, registered=set(), now=START).create[0].count == 1

    def test_what_turns_out_not_to_exist_counts_no_more_also_when_the_driver_knew_it(self):
        """An unclear answer is resolved late: a restarted driver may list an executor of the same id by then."""
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 1})
        world.registers(1)
        assert world.plan().profiles[DEFAULT].unacknowledged_registered == 1

        world.allocator.pod_creation_failed(ExecutorId(1))

        assert world.plan().profiles[DEFAULT].known == 0

    def test_an_answer_that_comes_after_the_pod_was_seen_changes_nothing(self):
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 1})
        world.becomes(RUNNING, 1)
        world.round()
        world.allocator.pod_created(ExecutorId(1), world.now, uid="uid-1")
        assert world.plan().profiles[DEFAULT].known == 1


class TestLeavingExecutors:
    def test_a_drain_neither_withdraws_pending_pods_nor_asks_for_more(self):
        """Given 3 running and 1 pending for a target of 3, when one running pod is drained to reach it..."""
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 4})
        world.becomes(RUNNING, 1, 2, 3)
        world.becomes(PENDING, 4)
        world.round()
        world.not_counted = {ExecutorId(1)}
        world.allocator.expect({DEFAULT: 3})
        plan = world.round(60_000)
        assert not (plan.given_up or plan.withdraw or plan.create)
        assert plan.profiles[DEFAULT].known == 3
        assert plan.profiles[DEFAULT].leaving == 1

    def test_a_risen_target_is_met_by_a_new_pod_while_one_still_leaves(self):
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 2})
        world.becomes(RUNNING, 1, 2)
        world.not_counted = {ExecutorId(1)}
        world.round()
        assert world.created_ids == [1, 2, 3]

    def test_a_lost_executor_uses_up_no_pending_slot_and_is_not_withdrawn(self):
        world = AllocatorWorld(replace(OPERATOR, max_pending_pods=1))
        world.expect({0: 1})
        world.becomes(PENDING, 1)
        world.not_counted = {ExecutorId(1)}
        plan = world.round(60_000)
        assert plan.withdraw == ()
        assert world.created_ids == [1, 2]

    def test_lost_executors_that_no_snapshot_has_shown_are_leaving_too(self):
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 2, 1: 2})
        world.registers(3)
        world.not_counted = {ExecutorId(3), ExecutorId(4)}

        profiles = world.plan().profiles

        assert (profiles[ProfileId(1)].known, profiles[ProfileId(1)].leaving) == (0, 2)
        assert (profiles[DEFAULT].known, profiles[DEFAULT].leaving) == (2, 0)

    def test_a_pod_that_is_being_deleted_while_it_runs_counts_as_in_spark(self):
        world = AllocatorWorld(SPARK)
        world.expect({0: 1})
        world.pods[ExecutorId(1)] = replace(world.pods[ExecutorId(1)], deleting=True)
        world.becomes(RUNNING, 1)
        world.round()
        assert world.created_ids == [1]


class TestOperatorMode:
    def test_the_whole_wave_is_asked_for_at_once(self):
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 700, 1: 300})
        assert len(world.created) == 1000

    def test_growth_does_not_wait_for_the_previous_wave_and_counts_it(self):
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 3})
        world.allocator.expect({DEFAULT: 8})
        world.round()
        assert len(world.created) == 8

    def test_pods_of_the_only_profile_count_although_it_is_not_the_default_one(self):
        for conf, made in ((OPERATOR, 2), (SPARK, 4)):
            world = AllocatorWorld(conf)
            world.expect({1: 2})
            world.becomes(RUNNING, 1, 2)
            world.round()
            assert len(world.created) == made

    def test_a_restart_asks_for_nothing_that_exists(self):
        """Pods created right before the crash, seen or not, are in the first full list."""
        world = AllocatorWorld(OPERATOR)
        world.expect({0: 4, 1: 2})
        world.becomes(RUNNING, 1, 2)
        world.vanishes(3)
        world.restart()
        world.round()
        assert world.created[6:] == [(7, 0)]

    def test_settings_can_change_while_it_runs(self):
        world = AllocatorWorld(SPARK)
        world.allocator.reconfigure(replace(SPARK, batch_size=2))
        world.expect({0: 4})
        assert world.created_ids == [1, 2]


class TestClaims:
    def test_when_all_claims_are_made_new_executors_wait_for_a_free_one(self):
        allocator = ExecutorPodsAllocator(replace(SPARK, claims=ClaimsConf(wait=True, maximum=1)))
        assert not allocator.must_wait_for_claims(0)
        allocator.claim_made()
        assert allocator.must_wait_for_claims(0)
        assert not allocator.must_wait_for_claims(1)

    def test_claims_that_are_being_made_count_and_so_do_those_of_a_former_run(self):
        allocator = ExecutorPodsAllocator(replace(SPARK, claims=ClaimsConf(wait=True, maximum=3)))
        allocator.claims_found(2)
        assert not allocator.must_wait_for_claims(0)
        assert allocator.must_wait_for_claims(0, under_way=1)
        allocator.claims_found(1)
        allocator.claim_made()
        assert allocator.must_wait_for_claims(0), "a claim that was deleted was made all the same"

    def test_a_round_without_news_does_not_look_for_free_claims(self):
        allocator = ExecutorPodsAllocator(replace(SPARK, claims=ClaimsConf(wait=True, maximum=1)))
        allocator.claim_made()
        allocator.expect({DEFAULT: 1})
        plan = allocator.plan(None, registered=set(), now=START)
        assert plan.create == ()
        assert plan.profiles[DEFAULT].bound is RequestBound.CLAIM_REUSE
        assert allocator.plan(ExecutorPodsSnapshot(), registered=set(), now=START).create != ()

    def test_the_replacement_of_a_pod_that_went_may_have_its_claim(self):
        for conf, in_use in ((OPERATOR, set()), (SPARK, {"claim-1"})):
            allocator = ExecutorPodsAllocator(conf)
            allocator.expect({DEFAULT: 1})
            went = ExecutorPod(
                uid="uid-1",
                name="exec-1",
                namespace="jobs",
                executor_id=ExecutorId(1),
                profile_id=DEFAULT,
                state=RUNNING,
                created_at=START / 1000,
                claims=("claim-1",),
            )
            plan = allocator.plan(
                ExecutorPodsSnapshot(), registered=set(), now=START, vanished=[went]
            )
            assert plan.claims_in_use == in_use

    def test_claims_of_running_pods_are_in_use_also_in_a_round_without_news(self):
        for conf, in_use in ((OPERATOR, {"claim-1"}), (SPARK, set())):
            world = AllocatorWorld(conf)
            world.expect({0: 1})
            world.pods[ExecutorId(1)] = replace(world.pods[ExecutorId(1)], claims=("claim-1",))
            world.becomes(RUNNING, 1)
            assert world.plan().claims_in_use == {"claim-1"}
            assert world.plan().claims_in_use == in_use


def test_the_read_model_tells_running_pending_unacknowledged_and_leaving():
    world = AllocatorWorld(replace(OPERATOR))
    world.expect({0: 6})
    world.becomes(RUNNING, 1, 2)
    world.becomes(PENDING, 3, 4)
    world.registers(1, 2, 4, 5)
    world.not_counted = {ExecutorId(2)}
    profile = world.plan().profiles[DEFAULT]
    assert profile.running == 1
    assert profile.leaving == 1
    assert profile.pending == 1
    assert profile.pending_registered == 1
    assert profile.unacknowledged == 1
    assert profile.unacknowledged_registered == 1
    assert profile.log_line == (
        "ResourceProfile Id: 0 (pod allocation status: 1 running, 1 unknown pending, 1 scheduler backend known "
        "pending, 1 unknown newly created, 1 scheduler backend known newly created)"
    )
