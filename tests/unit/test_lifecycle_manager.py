"""Ended, missing and lost executors: ExecutorPodsLifecycleManagerSuite restated for an operator beside the driver."""

from dataclasses import replace

import pytest

from spark_allocation.core.executor_pods import (
    ContainerEnd,
    ContainerRule,
    ExecutorId,
    ExecutorPod,
    PodState,
)
from spark_allocation.core.exit_reasons import ExecutorExitReason
from spark_allocation.core.lifecycle_manager import (
    AT_ONCE,
    DeletionCause,
    DriverExecutor,
    DriverExecutors,
    ExecutorPodsLifecycleManager,
    ExecutorRemoval,
    LifecycleConf,
    LifecycleReview,
)
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot
from spark_allocation.core.spark_conf import SparkConf
from spark_allocation.core.spark_version import SparkVersion

SPARK = "spark-kubernetes-executor"
Reason = ExecutorExitReason
START = 1_700_000_000_000


def pod(executor_id: int, state: PodState = PodState.RUNNING, *codes: int, **facts) -> ExecutorPod:
    return ExecutorPod(
        f"uid-{executor_id}",
        f"app-exec-{executor_id}",
        "ns",
        ExecutorId(executor_id),
        ProfileId(0),
        state,
        START / 1000,
        node=facts.pop("node", "node-1"),
        ends=tuple(ContainerEnd(SPARK, code) for code in codes),
        **facts,
    )


class Watcher:
    """Shows pictures to the lifecycle manager, second by second."""

    def __init__(self, **conf) -> None:
        self.manager = ExecutorPodsLifecycleManager(LifecycleConf(**conf))
        self.now = START
        self.pods: dict[ExecutorId, ExecutorPod] = {}
        self.listed_at = 0
        self.driver: dict[ExecutorId, DriverExecutor] | None = {}

    def show(self, *pods: ExecutorPod) -> None:
        self.pods.update({each.executor_id: each for each in pods})

    def driver_lists(self, **executors: bool) -> None:
        self.driver = {
            ExecutorId(int(name.removeprefix("e"))): DriverExecutor(active, START)
            for name, active in executors.items()
        }

    def look(self, after_ms: int = 0, **arguments) -> LifecycleReview:
        self.now += after_ms
        return self.manager.review(
            ExecutorPodsSnapshot(dict(self.pods), self.listed_at),
            None if self.driver is None else DriverExecutors(self.driver, self.now),
            now=self.now,
            **arguments,
        )

    def lost_after(self) -> dict[int, int]:
        """Look every five seconds until somebody is told to be lost: seconds until then, and who was told."""
        since = self.now
        while not (removals := self.look(5_000).removals):
            assert self.now - since < 3_600_000, "nobody is lost"
        return {each.executor_id: (self.now - since) // 1000 for each in removals}


def reasons(review: LifecycleReview) -> list[tuple[int, ExecutorExitReason]]:
    return [(each.executor_id, each.exit.reason) for each in review.removals]


class TestEndedPods:
    def test_a_failed_executor_is_told_with_its_code_and_charged_to_the_application(self):
        watcher = Watcher()
        watcher.show(pod(1, PodState.FAILED, 1))
        (removal,) = watcher.look().removals
        assert (removal.exit.exit_code, removal.exit.charged, removal.failed) == (1, True, True)

    def test_the_end_is_told_once(self):
        watcher = Watcher()
        watcher.show(pod(1, PodState.FAILED, 1))
        assert len(watcher.look().removals) == 1
        assert watcher.look(1_000).removals == ()

    def test_the_driver_may_see_an_ended_pod_for_five_seconds_before_it_is_deleted(self):
        watcher = Watcher()
        watcher.show(pod(1, PodState.FAILED, 1), pod(2, PodState.SUCCEEDED, 0))
        first = watcher.look()
        assert first.delete == ()
        assert first.wake_at == START + 5_000
        assert watcher.look(4_999).delete == ()
        deletions = watcher.look(1).delete
        assert [(each.pod.executor_id, each.cause) for each in deletions] == [
            (1, DeletionCause.FINISHED),
            (2, DeletionCause.FINISHED),
        ]

    def test_a_deletion_that_did_not_happen_is_asked_for_again_but_not_at_once(self):
        watcher = Watcher()
        watcher.show(pod(1, PodState.FAILED, 1))
        watcher.look()
        assert len(watcher.look(5_000).delete) == 1
        assert watcher.look(29_999).delete == ()
        assert len(watcher.look(1).delete) == 1

    def test_a_pod_that_is_being_deleted_is_not_deleted_again(self):
        watcher = Watcher()
        watcher.show(pod(1, PodState.DELETED, 1, deleting=True))
        review = watcher.look()
        assert reasons(review) == [(1, Reason.DELETED)]
        assert not review.removals[0].exit.charged
        assert review.wake_at is None
        assert watcher.look(60_000).delete == ()

    def test_without_delete_on_termination_ended_pods_stay(self):
        watcher = Watcher(delete_on_termination=False)
        watcher.look()
        watcher.show(pod(1, PodState.FAILED, 1))
        assert len(watcher.look().removals) == 1
        review = watcher.look(60_000)
        assert review.delete == ()
        assert review.wake_at is None

    def test_pods_that_are_kept_are_not_told_again_after_a_restart(self):
        watcher = Watcher(delete_on_termination=False)
        watcher.show(pod(1, PodState.FAILED, 1), pod(2))
        watcher.driver_lists(e2=True)
        assert watcher.look().removals == ()
        watcher.show(pod(2, PodState.FAILED, 1))
        assert reasons(watcher.look(1_000)) == [(2, Reason.APPLICATION_ERROR)]

    @pytest.mark.parametrize(
        "state", [PodState.RUNNING, PodState.PENDING, PodState.TERMINATING, PodState.UNKNOWN]
    )
    def test_other_states_are_no_end(self, state):
        watcher = Watcher()
        watcher.driver_lists(e1=True)
        watcher.show(pod(1, state))
        assert watcher.look().removals == ()

    @pytest.mark.parametrize("ending", [(PodState.SUCCEEDED, 0), (PodState.DELETED, 143)])
    def test_the_end_of_a_drain_is_told_as_such_and_not_charged(self, ending):
        watcher = Watcher()
        state, code = ending
        watcher.show(pod(1, state, code))
        (removal,) = watcher.look(draining={ExecutorId(1)}).removals
        assert (removal.exit.reason, removal.exit.charged) == (Reason.DRAINED, False)

    def test_an_executor_that_runs_out_of_memory_while_it_is_drained_says_so(self):
        watcher = Watcher()
        watcher.show(pod(1, PodState.FAILED, 52))
        review = watcher.look(draining={ExecutorId(1)})
        assert reasons(review) == [(1, Reason.JVM_OUT_OF_MEMORY)]

    def test_a_running_pod_that_is_gone_was_deleted(self):
        watcher = Watcher()
        watcher.driver_lists(e1=True)
        watcher.show(pod(1))
        watcher.look()
        del watcher.pods[ExecutorId(1)]
        assert reasons(watcher.look()) == [(1, Reason.DELETED)]
        assert watcher.look().removals == ()

    def test_the_last_sight_of_a_pod_tells_how_it_ended(self):
        watcher = Watcher()
        watcher.show(pod(1))
        watcher.look()
        del watcher.pods[ExecutorId(1)]
        review = watcher.look(vanished=[pod(1, PodState.FAILED, 52)])
        assert reasons(review) == [(1, Reason.JVM_OUT_OF_MEMORY)]


class TestMissingPods:
    def test_an_executor_is_missing_when_a_full_list_after_the_delta_does_not_show_it(self):
        watcher = Watcher()
        watcher.driver = {ExecutorId(1): DriverExecutor(True, START + 7)}
        watcher.listed_at = START + 30_007
        assert watcher.look().removals == ()
        watcher.listed_at = START + 30_008
        review = watcher.look()
        assert reasons(review) == [(1, Reason.MISSING)]
        assert (review.removals[0].exit.exit_code, review.removals[0].exit.charged) == (-1, False)
        assert watcher.look(60_000).removals == ()

    def test_without_a_poll_nobody_is_missing(self):
        watcher = Watcher()
        watcher.driver = None
        watcher.listed_at = START + 90_000
        assert watcher.look().removals == ()

    def test_an_executor_that_the_driver_has_removed_is_not_missing(self):
        watcher = Watcher()
        watcher.driver_lists(e1=False)
        watcher.listed_at = START + 90_000
        assert watcher.look().removals == ()


class TestLostExecutors:
    def test_one_that_the_driver_lists_as_dead_stops_counting_and_is_deleted_after_a_fresh_look(
        self,
    ):
        watcher = Watcher()
        watcher.show(pod(1))
        watcher.driver_lists(e1=False)
        review = watcher.look()
        assert review.driver_lost == {1}
        assert review.removals == review.delete == ()
        review = watcher.look(5_000)
        assert reasons(review) == [(1, Reason.DRIVER_LOST)]
        (deletion,) = review.delete
        assert deletion.cause is DeletionCause.DRIVER_LOST

    def test_one_that_exits_by_itself_meanwhile_is_left_to_its_end(self):
        watcher = Watcher()
        watcher.show(pod(1))
        watcher.driver_lists(e1=False)
        watcher.look()
        watcher.show(pod(1, PodState.SUCCEEDED, 0))
        review = watcher.look(5_000)
        assert review.driver_lost == frozenset()
        assert review.delete == ()

    def test_one_that_is_dying_is_told_by_how_its_pod_ends(self):
        """The driver sees the connection break before the kubelet tells of the exit code."""
        watcher = Watcher()
        watcher.show(pod(1))
        watcher.driver_lists(e1=False)
        watcher.look()
        watcher.show(pod(1, PodState.FAILED, 52))
        review = watcher.look(2_000)
        assert reasons(review) == [(1, Reason.JVM_OUT_OF_MEMORY)]
        assert review.removals[0].failed

    def test_one_that_never_registers_is_lost_after_the_registration_timeout(self):
        watcher = Watcher()
        watcher.show(pod(1))
        watcher.look()
        for _ in range(12):
            assert watcher.look(10_000).driver_lost == frozenset()
        review = watcher.look(1_000)
        assert review.driver_lost == {1}
        assert watcher.look(5_000).removals[0].never_registered

    def test_after_one_that_never_registered_the_next_has_twice_the_time_that_it_had(self):
        """Where everything is slow, nobody would ever register otherwise."""
        watcher = Watcher()
        watcher.show(pod(1))
        assert watcher.lost_after() == {1: 135}
        watcher.show(pod(2), pod(3))
        assert watcher.lost_after() == {2: 275, 3: 275}

    def test_one_that_registers_late_gives_the_next_twice_its_time(self):
        watcher = Watcher()
        watcher.show(pod(1))
        for _ in range(20):
            watcher.look(5_000)
        watcher.driver_lists(e1=True)
        watcher.look(5_000)
        watcher.show(pod(2))
        assert watcher.lost_after() == {2: 215}

    def test_no_patience_is_longer_than_ten_minutes(self):
        watcher = Watcher()
        for executor_id in range(1, 6):
            watcher.show(pod(executor_id))
            (after,) = watcher.lost_after().values()
            watcher.pods.clear()
        assert after == 615

    def test_a_node_that_is_silent_teaches_no_patience(self):
        watcher = Watcher()
        watcher.show(pod(1, node_silent=True))
        watcher.lost_after()
        watcher.show(pod(2))
        assert watcher.lost_after() == {2: 135}

    def test_one_that_the_driver_had_is_lost_after_the_registration_timeout_all_the_same(self):
        watcher = Watcher()
        watcher.driver_lists(e2=True)
        watcher.show(pod(1), pod(2))
        watcher.lost_after()
        watcher.driver_lists()
        assert watcher.lost_after() == {2: 135}

    def test_one_that_the_driver_forgot_is_lost_after_the_registration_timeout(self):
        watcher = Watcher()
        watcher.show(pod(1))
        watcher.driver_lists(e1=True)
        watcher.look(200_000)
        watcher.driver_lists()
        for _ in range(13):
            assert watcher.look(10_000).driver_lost == frozenset()
        assert watcher.look(10_000).driver_lost == {1}

    def test_without_polls_nobody_is_lost_and_the_lost_stay_lost(self):
        watcher = Watcher()
        watcher.show(pod(1), pod(2))
        watcher.driver_lists(e1=False)
        watcher.look()
        watcher.driver = None
        review = watcher.look(600_000)
        assert review.driver_lost == {1}
        assert review.delete == ()

    def test_the_time_without_polls_is_held_against_nobody(self):
        watcher = Watcher()
        watcher.show(pod(1))
        watcher.look()
        polls, watcher.driver = watcher.driver, None
        watcher.look(600_000)
        watcher.driver = polls
        assert watcher.look(1_000).driver_lost == frozenset()

    def test_one_that_comes_back_counts_again(self):
        watcher = Watcher()
        watcher.show(pod(1))
        watcher.driver_lists(e1=False)
        watcher.look()
        watcher.driver_lists(e1=True)
        review = watcher.look(10_000)
        assert review.driver_lost == frozenset()
        assert review.delete == ()

    def test_one_that_is_drained_is_not_lost(self):
        watcher = Watcher()
        watcher.show(pod(1))
        watcher.driver_lists(e1=False)
        assert watcher.look(draining={ExecutorId(1)}).driver_lost == frozenset()

    def test_one_that_goes_already_is_not_hurried(self):
        """It may be on a node that does not answer; its name is Kubernetes' to free, and it counts no more."""
        watcher = Watcher()
        watcher.show(pod(1, deleting=True))
        watcher.driver_lists(e1=False)
        watcher.look()
        review = watcher.look(600_000)
        assert (review.delete, review.driver_lost) == ((), {1})

    def test_one_whose_node_has_fallen_silent_is_told_as_lost_with_its_node(self):
        watcher = Watcher()
        watcher.show(pod(1, node="node-7", node_silent=True))
        watcher.driver_lists(e1=False)
        watcher.look()
        (removal,) = watcher.look(5_000).removals
        assert (removal.exit.reason, removal.exit.charged) == (Reason.NODE_LOST, True)
        assert "its node node-7 does not report any more" in removal.exit.message

    def test_pending_pods_are_not_expected_to_register(self):
        watcher = Watcher()
        watcher.show(pod(1, PodState.PENDING))
        for _ in range(20):
            assert watcher.look(10_000).driver_lost == frozenset()


class TestWaves:
    """Thousands at once are told, and deleted, in portions: no review takes long, and nobody is forgotten."""

    WAVE = 2 * AT_ONCE + 7

    def all_told(self, watcher: Watcher, **first_look) -> list[ExecutorRemoval]:
        review = watcher.look(**first_look)
        told = [*review.removals]
        while review.removals:
            assert len(review.removals) <= AT_ONCE
            if len(told) < self.WAVE:
                assert review.wake_at == watcher.now, "there is more to tell"
            review = watcher.look(1)
            told += review.removals
        return told

    def test_everyone_who_failed_is_told_once(self):
        watcher = Watcher()
        watcher.show(*(pod(number, PodState.FAILED, 1) for number in range(self.WAVE)))
        told = self.all_told(watcher)
        assert [each.executor_id for each in told] == list(range(self.WAVE))
        assert all(each.failed for each in told)

    def test_what_was_known_of_the_gone_is_known_when_they_are_told(self):
        watcher = Watcher()
        watcher.show(*(pod(number) for number in range(self.WAVE)))
        watcher.driver_lists(**{f"e{number}": True for number in range(self.WAVE)})
        watcher.look()
        watcher.pods.clear()
        watcher.driver_lists()
        told = self.all_told(watcher, draining=frozenset(map(ExecutorId, range(self.WAVE))))
        assert len(told) == self.WAVE
        assert {each.exit.reason for each in told} == {Reason.DRAINED}
        assert not any(each.never_registered for each in told)

    def test_pods_that_ended_are_deleted_in_portions_each_once(self):
        watcher = Watcher()
        watcher.show(*(pod(number, PodState.SUCCEEDED, 0) for number in range(self.WAVE)))
        self.all_told(watcher)
        reviews = [watcher.look(5_000), watcher.look(1), watcher.look(1), watcher.look(1)]
        assert [len(each.delete) for each in reviews] == [AT_ONCE, AT_ONCE, 7, 0]
        assert [each.wake_at is not None for each in reviews] == [True, True, False, False]
        assert len({each.pod.executor_id for review in reviews for each in review.delete}) == (
            self.WAVE
        )

    def test_a_lost_pod_is_deleted_when_its_loss_is_told(self):
        watcher = Watcher()
        watcher.show(*(pod(number) for number in range(self.WAVE)))
        watcher.driver_lists(**{f"e{number}": False for number in range(self.WAVE)})
        assert len(watcher.look().driver_lost) == self.WAVE, "none of them counts"
        for expected in (AT_ONCE, AT_ONCE, 7):
            review = watcher.look(5_000)
            told = [each.executor_id for each in review.removals]
            assert len(told) == expected
            assert [each.pod.executor_id for each in review.delete] == told


class TestNodesWhereExecutorsComeToNothing:
    def watcher(self) -> Watcher:
        """Executor 9 works on the node `good`."""
        watcher = Watcher()
        watcher.show(pod(9, node="good"))
        watcher.driver_lists(e9=True)
        return watcher

    def test_after_two_the_node_is_avoided_for_an_hour(self):
        watcher = self.watcher()
        watcher.show(pod(1, PodState.FAILED, 1, node="bad"), pod(2, PodState.FAILED, 1, node="one"))
        assert watcher.look().avoid_nodes == frozenset()
        watcher.show(pod(3, PodState.FAILED, 1, node="bad"))
        assert watcher.look(1_000).avoid_nodes == {"bad"}
        assert watcher.look(3_599_999).avoid_nodes == {"bad"}
        assert watcher.look(1).avoid_nodes == frozenset()

    def test_one_that_runs_and_never_registers_counts_too(self):
        watcher = self.watcher()
        watcher.show(pod(1, node="bad"), pod(2, node="bad"))
        for _ in range(12):
            assert watcher.look(11_000).avoid_nodes == frozenset()
        assert watcher.look(11_000).avoid_nodes == {"bad"}

    def test_while_none_works_elsewhere_no_node_is_to_blame(self):
        """As with a broken image, or on a cluster of one node."""
        watcher = Watcher()
        watcher.show(*(pod(number, PodState.FAILED, 1, node="bad") for number in range(1, 5)))
        assert watcher.look().avoid_nodes == frozenset()
        watcher.show(pod(9, node="good"))
        watcher.driver_lists(e9=True)
        assert watcher.look(1_000).avoid_nodes == {"bad"}, "now the others are told apart"

    def test_failures_after_registration_say_nothing_about_the_node(self):
        watcher = self.watcher()
        watcher.driver_lists(e1=True, e2=True, e9=True)
        watcher.show(pod(1, PodState.FAILED, 1), pod(2, PodState.FAILED, 1))
        assert watcher.look().avoid_nodes == frozenset()

    def test_what_is_no_node_s_doing_says_nothing_about_it(self):
        watcher = self.watcher()
        watcher.show(pod(1, PodState.FAILED, 127), pod(2, PodState.FAILED, 127))
        assert watcher.look().avoid_nodes == frozenset()

    def test_two_far_apart_do_not_add_up(self):
        watcher = self.watcher()
        watcher.show(pod(1, PodState.FAILED, 1))
        watcher.look()
        watcher.show(pod(2, PodState.FAILED, 1))
        assert watcher.look(3_600_001).avoid_nodes == frozenset()


def test_what_is_remembered_of_a_pod_ends_with_the_pod():
    watcher = Watcher()
    watcher.show(pod(1, PodState.FAILED, 1))
    watcher.look(5_000)
    watcher.look(5_000)
    watcher.pods.clear()
    watcher.look()
    manager = watcher.manager
    for memory in (manager._end_seen_at, manager._deletion_asked_at, manager._removed):
        assert not memory


def test_after_a_restart_an_ended_pod_gets_its_five_seconds_again():
    watcher = Watcher()
    watcher.show(pod(1, PodState.FAILED, 1))
    watcher.look()
    watcher.manager = ExecutorPodsLifecycleManager(LifecycleConf())
    assert watcher.look(60_000).delete == ()
    assert len(watcher.look(5_000).delete) == 1


@pytest.mark.parametrize(("version", "checks_all"), [("3.5.1", False), ("4.0.0", True)])
def test_whether_all_containers_are_checked_depends_on_the_version(version, checks_all):
    conf = LifecycleConf.from_spark_conf(SparkConf({}), SparkVersion.parse(version))
    assert conf.containers.check_all_containers is checks_all


def test_settings_are_read_from_spark_and_can_change():
    conf = LifecycleConf.from_spark_conf(
        SparkConf(
            {
                "spark.kubernetes.executor.deleteOnTermination": "false",
                "spark.kubernetes.executor.missingPodDetectDelta": "45s",
                "spark.excludeOnFailure.timeout": "10min",
                "spark.kubernetes.executor.podTemplateContainerName": "engine",
                "spark.kubernetes.executor.checkAllContainers": "false",
            }
        ),
        SparkVersion.parse("4.1.0"),
    )
    assert conf == LifecycleConf(
        delete_on_termination=False,
        missing_pod_delta_ms=45_000,
        node_avoidance_ms=600_000,
        containers=ContainerRule(check_all_containers=False, spark_container="engine"),
    )
    watcher = Watcher()
    watcher.manager.reconfigure(replace(conf, finished_pod_grace_ms=0))
    watcher.show(pod(1, PodState.FAILED, 1))
    assert watcher.look().delete == ()
