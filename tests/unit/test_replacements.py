"""Executors whose pods still run and that do not count any more: others come beside them, as far as there is room."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.served_driver import EPOCH_MS, settings
from tests.unit.test_budget_cap import grant

from spark_allocation.core.budget_cap import BudgetCap
from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.replacements import Replacements
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId
from spark_allocation.core.snapshots import ExecutorPodsSnapshot

GOING = frozenset({"going"})
OTHER_PROFILE = ProfileId(1)


def pod(
    number: int, *, node: str = "stays", profile_id: ProfileId = DEFAULT_PROFILE_ID
) -> ExecutorPod:
    return ExecutorPod(
        uid=f"uid-{number}",
        name=f"app-exec-{number}",
        namespace="jobs",
        executor_id=ExecutorId(number),
        profile_id=profile_id,
        state=PodState.RUNNING,
        created_at=0.0,
        node=node,
    )  # fmt: skip


class World:
    """Running pods; the driver lists all but those that it has lost."""

    def __init__(self, *pods: ExecutorPod, maximum: int, cap: BudgetCap | None = None) -> None:
        self.snapshot = ExecutorPodsSnapshot.replaced(pods, at=0)
        self.replacements = Replacements(
            settings(max_executors=maximum).dynamic, cap or BudgetCap(), lambda _: False
        )

    def replaced(
        self, targets: Mapping[ProfileId, int], *, lost: AbstractSet[int] = frozenset()
    ) -> tuple[set[int], set[int]]:
        """Those on nodes that go, and those that are lost."""
        gone = frozenset(map(ExecutorId, lost))
        evacuation = self.replacements.evacuate(
            self.snapshot,
            going_nodes=GOING,
            leaving=gone,
            registered=self.snapshot.pods.keys() - gone,
            targets=targets,
            now_ms=EPOCH_MS,
        )
        at_once = self.replacements.replaced_at_once(
            gone - evacuation.replaced, evacuation, self.snapshot
        )
        return set(evacuation.replaced), set(at_once)


def test_lost_executors_are_replaced_as_far_as_the_maximum_has_room_for_both() -> None:
    world = World(*(pod(number) for number in range(1, 5)), maximum=6)
    assert world.replaced({DEFAULT_PROFILE_ID: 4}, lost={2, 3, 4}) == (set(), {2, 3})


def test_without_room_their_pods_have_to_go_first() -> None:
    world = World(*(pod(number) for number in range(1, 5)), maximum=4)
    assert world.replaced({DEFAULT_PROFILE_ID: 4}, lost={2}) == (set(), set())


def test_who_works_on_a_node_that_goes_takes_the_room_before_who_is_lost() -> None:
    world = World(pod(1), pod(2, node="going"), pod(3, node="going"), pod(4), maximum=7)
    assert world.replaced({DEFAULT_PROFILE_ID: 4}, lost={4}) == ({2, 3}, {4})
    world = World(pod(1), pod(2, node="going"), pod(3, node="going"), pod(4), maximum=6)
    assert world.replaced({DEFAULT_PROFILE_ID: 4}, lost={4}) == ({2, 3}, set())


def test_each_profile_has_room_of_its_own() -> None:
    world = World(pod(1), pod(2, profile_id=OTHER_PROFILE), maximum=2)
    targets = {DEFAULT_PROFILE_ID: 2, OTHER_PROFILE: 1}
    assert world.replaced(targets, lost={1, 2}) == (set(), {2})


def test_a_budget_bounds_the_room_like_the_maximum_does() -> None:
    cap = BudgetCap()
    world = World(*(pod(number) for number in range(1, 5)), maximum=100, cap=cap)
    cap.grants = grant(5)
    assert world.replaced({DEFAULT_PROFILE_ID: 4}, lost={2, 3, 4}) == (set(), {2})
    # and where it holds fewer than the target, so many are at work and nothing is left for others
    cap.grants = grant(3)
    assert world.replaced({DEFAULT_PROFILE_ID: 4}, lost={4}) == (set(), set())


@given(
    pods=st.lists(
        st.builds(
            pod,
            st.integers(1, 30),
            node=st.sampled_from(["stays", "going"]),
            profile_id=st.sampled_from([DEFAULT_PROFILE_ID, OTHER_PROFILE]),
        ),
        unique_by=lambda each: each.executor_id,
    ),
    lost=st.sets(st.integers(1, 30)),
    maximum=st.integers(1, 12),
    target=st.integers(0, 12),
)
def test_those_that_do_not_count_and_those_wanted_are_together_never_more_than_the_maximum(
    pods: list[ExecutorPod], lost: set[int], maximum: int, target: int
) -> None:
    target = min(target, maximum)
    world = World(*pods, maximum=maximum)
    on_going_nodes, at_once = world.replaced(
        {DEFAULT_PROFILE_ID: target, OTHER_PROFILE: target}, lost=lost
    )
    assert not on_going_nodes & at_once
    beside = Counter(
        world.snapshot.pods[ExecutorId(number)].profile_id for number in on_going_nodes | at_once
    )
    assert all(target + count <= maximum for count in beside.values())
