"""Properties of the pods allocator under whatever a cluster does.

In scope: random targets, pods that start, end and vanish, lost watch events, refused creations and withdrawals, drains,
restarts. Out of scope: Spark's exact choices, which the conformance tests compare.
"""

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.allocator_world import AllocatorWorld

from spark_allocation.core.executor_pods import ExecutorId, PodState
from spark_allocation.core.pods_allocator_conf import PodsAllocatorConf
from spark_allocation.core.pods_plan import PodsPlan, RequestBound
from spark_allocation.core.resource_profiles import ProfileId

IDLE_TIMEOUT = 10_000
OPERATOR = PodsAllocatorConf(
    batch_size=None,
    idle_timeout_ms=IDLE_TIMEOUT,
    creation_timeout_ms=60_000,
    max_pending_pods=6,
    max_pending_pods_per_profile=4,
    wait_for_previous_batch=False,
    repair_known_faults=True,
)
PROFILES = (0, 1)
MOST = 8
ALIVE = (PodState.PENDING, PodState.RUNNING)
pick = st.integers(0, 1_000)


class AllocatorMachine(RuleBasedStateMachine):
    """A cluster that does everything except what the allocator has to do."""

    def __init__(self) -> None:
        super().__init__()
        self.world = AllocatorWorld(OPERATOR)
        self.world.list_all()

    @rule(profile=st.sampled_from(PROFILES), executors=st.integers(0, MOST))
    def a_target_is_set(self, profile, executors):
        self.world.allocator.expect({ProfileId(profile): executors})

    @rule(after_ms=st.sampled_from((0, 1_000, IDLE_TIMEOUT + 1, 61_000)))
    def a_round(self, after_ms):
        plan = self.world.plan(after_ms)
        self.check(plan)
        self.world.carry_out(plan)
        again = self.world.plan()
        assert not again.given_up
        assert not again.withdraw
        for ask in (each for each in again.create if each.count):
            # Slots are split evenly: what one profile did not need is there for the others in the next round only.
            assert plan.profiles[ask.profile_id].bound is RequestBound.MAX_PENDING_PODS

    @precondition(lambda self: self.world.pods)
    @rule(which=pick, state=st.sampled_from(PodState), heard=st.booleans())
    def a_pod_changes(self, which, state, heard):
        executor_id = self.some_pod(which)
        self.world.pods[executor_id] = replace(self.world.pods[executor_id], state=state)
        if heard:
            self.world.report(executor_id)

    @precondition(lambda self: self.world.pods)
    @rule(which=pick)
    def a_pod_vanishes_unheard(self, which):
        self.world.vanishes(self.some_pod(which))

    @precondition(lambda self: self.world.pods)
    @rule(which=pick)
    def an_executor_registers(self, which):
        self.world.registers(self.some_pod(which))

    @precondition(lambda self: self.world.pods)
    @rule(which=pick)
    def an_executor_is_drained(self, which):
        self.world.not_counted.add(self.some_pod(which))

    @precondition(lambda self: self.world.allocator.withdrawn)
    @rule(which=pick)
    def a_withdrawal_is_refused(self, which):
        withdrawn = sorted(self.world.allocator.withdrawn)
        self.world.allocator.withdrawal_refused(withdrawn[which % len(withdrawn)])

    @rule()
    def a_full_list(self):
        self.world.now += 1
        self.world.list_all()

    @rule()
    def the_operator_restarts(self):
        self.world.restart()

    @rule()
    def the_cluster_calms_down(self):
        """Every pod starts, a full list comes, and a few rounds later each profile is where it should be."""
        world = self.world
        for _ in range(6):
            world.now += 1_000
            for executor_id in list(world.pods):
                running = replace(world.pods[executor_id], state=PodState.RUNNING)
                world.pods[executor_id] = running
            world.list_all()
            plan = world.plan()
            self.check(plan)
            world.carry_out(plan)
        counts = world.plan().profiles
        for profile_id, target in world.allocator.expected.items():
            assert counts[profile_id].known >= target

    @invariant()
    def nothing_counts_twice(self):
        allocator = self.world.allocator
        assert not allocator.unseen.keys() & allocator.unseen_registered.keys()
        assert not allocator.unseen.keys() & allocator.withdrawn

    def some_pod(self, which: int) -> ExecutorId:
        return sorted(self.world.pods)[which % len(self.world.pods)]

    def check(self, plan: PodsPlan) -> None:
        world = self.world
        for ask in plan.create:
            counted = plan.profiles[ask.profile_id]
            assert counted.known + ask.count <= counted.target
            assert counted.not_running + ask.count <= OPERATOR.max_pending_pods_per_profile
        withdrawn = sum(len(excess.executor_ids) for excess in plan.withdraw)
        not_running = sum(counted.not_running for counted in plan.profiles.values())
        if any(ask.count for ask in plan.create):
            asked = sum(ask.count for ask in plan.create)
            assert not_running - withdrawn + asked <= OPERATOR.max_pending_pods
        seen = world.allocator.last_snapshot.pods
        for excess in plan.withdraw:
            counted = plan.profiles[excess.profile_id]
            assert counted.known - len(excess.executor_ids) >= counted.target
            for executor_id in excess.executor_ids:
                assert executor_id not in world.registered
                assert executor_id not in world.not_counted
                assert executor_id not in seen or seen[executor_id].state is PodState.PENDING
            for pod in excess.pending:
                assert world.now - round(pod.created_at * 1000) > IDLE_TIMEOUT
            for unseen in excess.unseen:
                assert world.now - unseen.asked_at > IDLE_TIMEOUT


TestAllocatorMachine = AllocatorMachine.TestCase
TestAllocatorMachine.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@settings(max_examples=60, deadline=None)
@given(
    targets=st.dictionaries(st.sampled_from(PROFILES), st.integers(0, 30), min_size=1),
    states=st.lists(st.sampled_from([*PodState, None]), max_size=60),
    shown=st.lists(st.booleans(), max_size=60),
)
def test_a_restart_requests_no_more_than_what_is_really_missing(targets, states, shown):
    """Whatever was seen or not before the crash, the first full list tells what exists."""
    world = AllocatorWorld(
        replace(OPERATOR, max_pending_pods=100, max_pending_pods_per_profile=100)
    )
    world.allocator.expect({ProfileId(rp): count for rp, count in targets.items()})
    world.round()
    for executor_id, state, heard in zip(list(world.pods), states, shown, strict=False):
        if state is None:
            world.vanishes(executor_id)
        else:
            world.pods[executor_id] = replace(world.pods[executor_id], state=state)
            if heard:
                world.report(executor_id)
    world.restart()
    plan = world.plan()
    for profile, target in targets.items():
        alive = sum(pod.state in ALIVE and pod.profile_id == profile for pod in world.pods.values())
        asked = sum(ask.count for ask in plan.create if ask.profile_id == profile)
        assert asked == max(0, target - alive)
