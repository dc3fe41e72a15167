"""The one mutable picture of executor pods: who owns what, who is woken, what is handed out once."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID
from spark_allocation.snapshots_store import (
    LANDED_AFTER_NS,
    DriverKey,
    ExecutorPodsSnapshotsStore,
    SeenPod,
)

ALICE = DriverKey("jobs", "alice")
BOB = DriverKey("jobs", "bob")


def seen(number: int, key: DriverKey = ALICE, state: PodState = PodState.RUNNING) -> SeenPod:
    return SeenPod(
        key,
        ExecutorPod(
            uid=f"{key.driver_uid}-{number}",
            name=f"exec-{number}",
            namespace=key.namespace,
            executor_id=ExecutorId(number),
            profile_id=DEFAULT_PROFILE_ID,
            state=state,
            created_at=0.0,
        ),
    )


def ids(store: ExecutorPodsSnapshotsStore, key: DriverKey = ALICE) -> set[int]:
    return {each.pod.executor_id for each in store.take(key).pods}


@pytest.fixture
def store() -> ExecutorPodsSnapshotsStore:
    return ExecutorPodsSnapshotsStore()


def test_pods_are_kept_by_the_driver_that_owns_them(store: ExecutorPodsSnapshotsStore) -> None:
    store.update("all", seen(1, ALICE))
    store.update("all", seen(2, BOB))
    assert (ids(store, ALICE), ids(store, BOB)) == ({1}, {2})


def test_it_is_synced_once_every_scope_has_listed() -> None:
    store = ExecutorPodsSnapshotsStore(scopes=2)
    store.replace_all("a", [], 10.0)
    assert not store.synced.is_set()
    store.replace_all("b", [], 12.0)
    assert store.synced.is_set()
    assert store.take(ALICE).full_sync_at == 10.0, "a proof of absence is as old as the oldest list"


def test_a_full_list_of_one_namespace_says_nothing_of_another() -> None:
    store = ExecutorPodsSnapshotsStore(scopes=2)
    here, there = DriverKey("a", "alice"), DriverKey("b", "bob")
    store.replace_all("a", [seen(1, here)], 1.0)
    store.replace_all("b", [seen(2, there)], 1.0)
    store.replace_all("a", [], 2.0)
    assert (ids(store, here), ids(store, there)) == (set(), {2})


def test_who_may_not_list_keeps_no_other_waiting_and_has_no_proof_that_a_pod_is_not_there() -> None:
    # given two namespaces of which one has been listed and may not be any more
    store = ExecutorPodsSnapshotsStore(scopes=2)
    here, there = DriverKey("a", "alice"), DriverKey("b", "bob")
    store.replace_all("a/executors", [seen(1, here)], 1.0)
    store.refused("b/executors")
    assert store.synced.is_set()
    store.replace_all("b/executors", [seen(2, there)], 2.0)
    store.refused("b/executors")
    # when the other one is listed again
    store.replace_all("a/executors", [], 3.0)
    # then that says nothing of the first one's pods
    assert (ids(store, here), ids(store, there)) == (set(), {2})
    assert (store.take(here).full_sync_at, store.take(there).full_sync_at) == (3.0, 0.0)


def test_it_is_not_synced_while_nobody_may_list() -> None:
    store = ExecutorPodsSnapshotsStore(scopes=2)
    store.refused("a/executors")
    store.refused("b/executors")
    assert not store.synced.is_set()


def test_only_those_whose_pods_changed_are_woken(store: ExecutorPodsSnapshotsStore) -> None:
    woken: list[str] = []
    with (
        store.subscription(ALICE, lambda: woken.append("alice")),
        store.subscription(BOB, lambda: woken.append("bob")),
    ):
        store.update("all", seen(1, ALICE))
        store.remove("all", seen(1, ALICE))
    store.update("all", seen(1, ALICE))
    assert woken == ["alice", "alice"]


def test_a_full_list_wakes_every_subscriber(store: ExecutorPodsSnapshotsStore) -> None:
    """It may end the wait for a pod that never appeared."""
    woken: list[str] = []
    with store.subscription(ALICE, lambda: woken.append("alice")):
        store.replace_all("all", [], 1.0)
    assert woken == ["alice"]


def test_a_pod_that_went_is_handed_out_once(store: ExecutorPodsSnapshotsStore) -> None:
    with store.subscription(ALICE, lambda: None):
        store.update("all", seen(1))
        store.remove("all", replace(seen(1), pod=replace(seen(1).pod, state=PodState.FAILED)))
        (gone,) = store.take(ALICE).departed
        assert gone.pod.state is PodState.FAILED, "its last state tells how it ended"
        assert store.take(ALICE).departed == ()


def test_a_pod_that_a_full_list_does_not_show_has_departed(
    store: ExecutorPodsSnapshotsStore,
) -> None:
    with store.subscription(ALICE, lambda: None):
        store.replace_all("all", [seen(1), seen(2)], 1.0)
        store.replace_all("all", [seen(2)], 2.0)
        assert [each.pod.executor_id for each in store.take(ALICE).departed] == [1]


def test_a_deletion_said_twice_counts_once(store: ExecutorPodsSnapshotsStore) -> None:
    with store.subscription(ALICE, lambda: None):
        store.update("all", seen(1))
        store.remove("all", seen(1))
        store.remove("all", seen(1))
        assert len(store.take(ALICE).departed) == 1


def test_a_pod_given_to_another_owner_leaves_the_former_one(
    store: ExecutorPodsSnapshotsStore,
) -> None:
    store.update("all", seen(1, ALICE))
    store.update("all", replace(seen(1, ALICE), key=BOB))
    assert (ids(store, ALICE), ids(store, BOB)) == (set(), {1})
    store.replace_all("all", [seen(1, ALICE)], 1.0)
    assert (ids(store, ALICE), ids(store, BOB)) == ({1}, set())
    assert len(store) == 1


def test_a_pod_that_is_no_executor_any_more_is_forgotten(
    store: ExecutorPodsSnapshotsStore,
) -> None:
    store.update("all", seen(1))
    store.forget("all", seen(1).pod.uid)
    assert (ids(store), len(store)) == (set(), 0)


def test_nothing_is_kept_of_drivers_that_have_gone(store: ExecutorPodsSnapshotsStore) -> None:
    for number in range(50):
        key = DriverKey("jobs", f"driver-{number}")
        with store.subscription(key, lambda: None):
            store.update("all", seen(1, key))
            store.remove("all", seen(1, key))
    assert store._drivers == {}
    assert len(store) == 0


_events = st.lists(
    st.tuples(
        st.sampled_from(["update", "remove", "lost"]),
        st.integers(1, 5),
        st.sampled_from([ALICE, BOB]),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(_events)
def test_lost_events_and_one_full_list_give_the_picture_without_loss(events) -> None:
    told, faithful = ExecutorPodsSnapshotsStore(), ExecutorPodsSnapshotsStore()
    there: dict[str, SeenPod] = {}
    for verb, number, key in events:
        pod = seen(number, key)
        if verb == "remove":
            there.pop(pod.pod.uid, None)
            told.remove("all", pod)
            faithful.remove("all", pod)
        else:
            there[pod.pod.uid] = pod
            faithful.update("all", pod)
            if verb == "update":
                told.update("all", pod)
    told.replace_all("all", there.values(), 1.0)
    for key in (ALICE, BOB):
        assert ids(told, key) == ids(faithful, key)
    assert len(told) == len(faithful) == len(there)


def test_for_a_driver_that_was_served_it_may_be_behind_until_a_list_that_was_asked_for_later(
    store: ExecutorPodsSnapshotsStore,
) -> None:
    store.replace_all("all", [seen(1)], 1.0, asked_ns=time.monotonic_ns())
    assert not store.may_be_behind(ALICE), "whoever served it before this process is in that list"
    with store.subscription(ALICE, lambda: None):
        assert store.may_be_behind(ALICE)
    assert store.may_be_behind(ALICE)
    assert not store.may_be_behind(BOB)
    ended_ns = time.monotonic_ns()
    store.replace_all("all", [seen(1)], 2.0, asked_ns=ended_ns)
    assert store.may_be_behind(ALICE), "a creation that was broken off may be carried out still"
    store.replace_all("all", [seen(1)], 3.0, asked_ns=ended_ns + LANDED_AFTER_NS)
    assert not store.may_be_behind(ALICE)


def test_it_may_be_behind_until_every_scope_has_listed_later() -> None:
    store = ExecutorPodsSnapshotsStore(scopes=2)
    for scope in ("a", "b"):
        store.replace_all(scope, [], 1.0, asked_ns=time.monotonic_ns())
    with store.subscription(ALICE, lambda: None):
        pass
    later_ns = time.monotonic_ns() + LANDED_AFTER_NS
    store.replace_all("a", [], 2.0, asked_ns=later_ns)
    assert store.may_be_behind(ALICE)
    store.replace_all("b", [], 2.0, asked_ns=later_ns)
    assert not store.may_be_behind(ALICE)
