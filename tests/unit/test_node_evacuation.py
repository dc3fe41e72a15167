"""Nodes that are about to go: their executors are replaced first, and drained when that loses nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.served_driver import EPOCH_MS, ServedDriver, executor, report, settings, stage

from spark_allocation.core.allocation_step import Step
from spark_allocation.core.node_evacuation import going_reason
from spark_allocation.core.shuffle_holders import ShuffleHoldConf
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

OLD = frozenset({"old"})
MIGRATION = ShuffleHoldConf(hands_over=True, migrates=True)


# -- which nodes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "taint",
    [
        ("karpenter.sh/disrupted", "NoSchedule"),
        ("ToBeDeletedByClusterAutoscaler", "NoSchedule"),
        ("aws-node-termination-handler/spot-itn", "NoSchedule"),
        ("cloud.google.com/impending-node-termination", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
        ("node.kubernetes.io/out-of-service", "NoExecute"),
    ],
)
def test_a_taint_that_announces_the_end(taint: tuple[str, str]) -> None:
    assert going_reason(unschedulable=False, taints=[taint], deleting=False)


def test_a_cordon_and_a_deletion_announce_it_too() -> None:
    assert going_reason(unschedulable=True, taints=[], deleting=False) == "it is cordoned"
    assert going_reason(unschedulable=False, taints=[], deleting=True) == "it is being deleted"


@pytest.mark.parametrize(
    "taint",
    [
        pytest.param(("dedicated", "NoSchedule"), id="reserved for somebody"),
        pytest.param(("karpenter.sh/disrupted", "PreferNoSchedule"), id="only a preference"),
        pytest.param(("DeletionCandidateOfClusterAutoscaler", "PreferNoSchedule"), id="candidate"),
        pytest.param(("node.kubernetes.io/not-ready", "NoExecute"), id="not ready"),
    ],
)
def test_other_taints_announce_nothing(taint: tuple[str, str]) -> None:
    assert going_reason(unschedulable=False, taints=[taint], deleting=False) == ""


# -- replacement first ------------------------------------------------------------------------------------------------


class Cluster(ServedDriver):
    """Executors that work, at first all on the node that is going to go; new ones come up elsewhere."""

    def __init__(self, executors: int, **wishes: object) -> None:
        super().__init__(settings(**wishes))
        self.tasks = executors
        self.holding: dict[int, dict[str, int]] = {}
        while len(self.pods) < executors:
            self.work(going=frozenset())
        for number in self.pods:
            self.set(number, node="old")

    def work(self, going: frozenset[str] = OLD, *, registers: bool = True) -> Step:
        """A second in which everybody works; returns the step."""
        self.later(1)
        listed = tuple(
            executor(
                pod.executor_id,
                active=min(1, self.tasks),
                total=1,
                **self.holding.get(pod.executor_id, {}),
            )
            for pod in self.pods.values()
            if registers or pod.node == "old"
        )
        # one more has ended and left no shuffle data behind
        running = stage(tasks=self.tasks + 1, done=1, active=len(listed))
        stages = (running,) if self.tasks else ()
        self.says(report(*stages, executors=listed, gauge=self.tasks or None))
        step = self.allocation.step(
            self.snapshot(),
            vanished=(),
            going_nodes=going,
            now_ns=self.now_ns,
            now_ms=self.now_ms,
            report_is_fresh=True,
        )
        self.carry_out(step)
        for pod in step.evacuations:
            self.set(pod.executor_id, deleting=True)
        return step

    def snapshot(self) -> ExecutorPodsSnapshot:
        return ExecutorPodsSnapshot.replaced(self.pods.values(), at=EPOCH_MS)

    def there(self) -> tuple[int, int]:
        """How many stay: on the old node, elsewhere."""
        stay = [pod for pod in self.pods.values() if not pod.deleting]
        return sum(pod.node == "old" for pod in stay), sum(pod.node != "old" for pod in stay)


def test_others_are_asked_for_and_nobody_goes_before_they_have_registered() -> None:
    cluster = Cluster(3)
    step = cluster.work()
    assert (cluster.requested(step), step.evacuations) == (3, ())
    for _ in range(5):
        step = cluster.work(registers=False)
        assert (cluster.requested(step), step.evacuations) == (0, ())
    assert len(cluster.work().evacuations) == 3
    assert cluster.there() == (0, 3)


def test_a_node_that_stays_after_all_gives_the_surplus_back_by_the_normal_rules() -> None:
    cluster = Cluster(2)
    cluster.work()
    step = cluster.work(going=frozenset())
    assert step.evacuations == ()
    assert cluster.there() == (2, 2)


def test_max_executors_holds_also_while_executors_are_replaced() -> None:
    cluster = Cluster(4, max_executors=5)
    for _ in range(30):
        cluster.work()
        assert sum(cluster.there()) <= 5
    assert cluster.there() == (0, 4)


def test_without_room_for_both_one_at_a_time_goes_first() -> None:
    cluster = Cluster(3, max_executors=3)
    seen = []
    for _ in range(12):
        step = cluster.work()
        seen.append(len(step.evacuations))
        assert sum(cluster.there()) <= 3
    assert max(seen) == 1
    assert cluster.there() == (0, 3)


def test_no_more_than_max_concurrent_leave_at_once() -> None:
    cluster = Cluster(4, max_concurrent_drains=2)
    cluster.work()
    assert len(cluster.work().evacuations) == 2
    assert len(cluster.work().evacuations) == 0


def test_one_that_would_lose_what_it_holds_is_replaced_and_not_drained() -> None:
    cluster = Cluster(2)
    cluster.holding = {1: {"shuffle": 100}, 2: {"blocks": 1}}
    for _ in range(5):
        assert cluster.work().evacuations == ()
    assert cluster.there() == (2, 2)


def test_with_migration_it_hands_on_what_it_holds_to_those_elsewhere() -> None:
    cluster = Cluster(2, shuffle=MIGRATION)
    cluster.holding = {1: {"shuffle": 100}, 2: {"shuffle": 100}}
    cluster.work()
    cluster.work()
    assert cluster.there() == (0, 2)


def test_without_decommissioning_nobody_is_drained_for_the_sake_of_a_node() -> None:
    cluster = Cluster(2, decommission_enabled=False)
    for _ in range(5):
        assert cluster.work().evacuations == ()
    assert cluster.there() == (2, 2)


def test_a_moment_without_need_does_not_let_everybody_go_before_the_others_are_there() -> None:
    cluster = Cluster(3)
    cluster.work(registers=False)
    cluster.tasks = 0
    for _ in range(3):
        assert cluster.work(registers=False).evacuations == ()


@given(
    executors=st.integers(1, 5),
    surge=st.integers(0, 3),
    slow=st.lists(st.booleans(), min_size=5, max_size=25),
)
def test_capacity_never_falls_by_more_than_one_and_never_rises_above_the_maximum(
    executors: int, surge: int, slow: list[bool]
) -> None:
    cluster = Cluster(executors, max_executors=executors + surge)
    for registers in slow:
        cluster.work(registers=registers)
        old, new = cluster.there()
        assert old + new <= executors + surge
        assert old + new >= executors - (0 if surge else 1)
    assert cluster.target() == executors
