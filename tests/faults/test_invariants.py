"""The judge sees what it is there to see: each invariant, broken on purpose."""

import time
from typing import Any

import pytest
from tests.faults.fault_proxy import Passage
from tests.faults.fault_schedule import EPISODES, FaultSchedule, Kind, Shape
from tests.faults.invariants import Invariants
from tests.faults.judged_application import JudgedApplication, TrueExecutor

Document = dict[str, Any]


class Feed:
    def __init__(self) -> None:
        self.pods: dict[str, Document] = {}
        self.listeners: list[Any] = []

    def tell(self, kind: str, pod: Document) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self.pods.pop(uid)
        else:
            self.pods[uid] = pod
        for listener in self.listeners:
            listener(kind, pod)


class Judged:
    def __init__(self, *, maximum: int = 2) -> None:
        self.feed = Feed()
        self.application = JudgedApplication("job", pod_uid="driver")
        self.application.bounds.append((time.monotonic() - 1000, 0, maximum))
        self.invariants = Invariants(self.feed, [self.application])  # type: ignore[arg-type]

    def add(self, number: int, **metadata: Any) -> Document:
        pod = executor_pod(number, **metadata)
        self.feed.tell("ADDED", pod)
        return pod

    def delete(self, pod: Document, **changes: Any) -> None:
        path = f"/api/v1/namespaces/n/pods/{pod['metadata']['name']}"
        body = {"preconditions": {"uid": pod["metadata"]["uid"]}}
        passage = Passage(time.monotonic(), "operator", Kind.DELETE, "DELETE", path, body)
        for key, value in changes.items():
            setattr(passage, key, value)
        self.invariants.asked(passage)

    def work(self, pod: Document, *, busy_for: float, heard: list[tuple[float, bool]]) -> None:
        number = int(pod["metadata"]["labels"]["spark-exec-id"])
        now = time.monotonic()
        self.application.executors[number] = TrueExecutor(
            pod["metadata"]["uid"], now - 100, busy_since=now - busy_for
        )
        self.application.heard.extend(
            (now - ago, frozenset([number] if busy else [])) for ago, busy in heard
        )


def executor_pod(number: int, *, uid: str = "", owner: str = "driver", **metadata: Any) -> Document:
    return {
        "metadata": {
            "name": f"job-exec-{number}",
            "uid": uid or f"uid-{number}",
            "labels": {"spark-exec-id": str(number), "sparkallocation.dev/allocation-uid": "a"},
            "annotations": {"sparkallocation.dev/incarnation": "life"},
            "ownerReferences": [{"kind": "Pod", "uid": owner}],
            **metadata,
        },
        "spec": {},
        "status": {"phase": "Running"},
    }


def test_a_run_in_which_all_is_well_breaks_nothing() -> None:
    judged = Judged()
    first, second = judged.add(1), judged.add(2)
    judged.work(first, busy_for=60, heard=[(1, True)])
    judged.work(second, busy_for=0.5, heard=[(2, False), (0.4, True)])
    judged.delete(second)
    judged.invariants.finish()
    assert judged.invariants.broken == []


def test_an_id_that_is_used_twice() -> None:
    judged = Judged()
    judged.feed.tell("DELETED", judged.add(1))
    judged.add(1, uid="another")
    assert judged.invariants.broken == ["job: executor id 1 was used twice"]


def test_an_id_that_is_used_twice_between_two_looks() -> None:
    judged = Judged()
    judged.invariants.finish(
        Passage(
            0, "operator", Kind.CREATE, "POST", "/pods", status=201, answer=executor_pod(1, uid=uid)
        )
        for uid in ("one", "other")
    )
    assert judged.invariants.broken == ["job: executor id 1 was used twice"]


def test_one_executor_more_than_allowed() -> None:
    judged = Judged()
    for number in (1, 2, 3):
        judged.add(number)
    assert "3 executors, 2 allowed" in judged.invariants.broken[0]


def test_each_profile_has_its_own_maximum() -> None:
    judged = Judged()
    other = {"spark-exec-resourceprofile-id": "1", "sparkallocation.dev/allocation-uid": "a"}
    for number in (1, 2):
        judged.add(number)
    for number in (3, 4):
        judged.add(number, labels={**other, "spark-exec-id": str(number)})
    assert judged.invariants.broken == []
    judged.add(5, labels={**other, "spark-exec-id": "5"})
    assert "3 executors, 2 allowed" in judged.invariants.broken[0]


def test_an_application_that_comes_later_is_judged_as_well() -> None:
    judged = Judged()
    later = JudgedApplication("later", "its-driver")
    later.bounds.append((time.monotonic() - 1000, 0, 1))
    judged.add(1, uid="a", owner="its-driver")
    assert judged.invariants.broken == []
    judged.invariants.judge(later)
    judged.add(2, uid="b", owner="its-driver")
    assert "later: 2 executors, 1 allowed" in judged.invariants.broken[0]


def test_executors_that_go_or_are_of_another_life_do_not_count() -> None:
    judged = Judged()
    judged.add(1, deletionTimestamp="now")
    judged.add(2, annotations={"sparkallocation.dev/incarnation": "former"})
    judged.add(3)
    judged.add(4)
    assert judged.invariants.broken == []


def test_a_busy_executor_that_is_deleted() -> None:
    judged = Judged()
    pod = judged.add(1)
    judged.work(pod, busy_for=10, heard=[(2.5, True), (1.5, True), (0.5, True)])
    judged.delete(pod)
    assert judged.invariants.broken == ["job: busy executor 1 was deleted"]


def test_a_busy_executor_may_go_when_the_maximum_was_lowered() -> None:
    judged = Judged()
    pods = [judged.add(1), judged.add(2)]
    judged.application.bounds.append((time.monotonic(), 0, 1))
    for pod in pods:
        judged.work(pod, busy_for=10, heard=[(2.5, True), (1.5, True), (0.5, True)])
    judged.delete(pods[0])
    assert judged.invariants.broken == []
    assert judged.application.let_go == ["1"]
    # but not the one that the maximum still allows
    judged.feed.tell("MODIFIED", executor_pod(1, deletionTimestamp="now"))
    judged.application.heard.clear()
    judged.work(pods[1], busy_for=10, heard=[(2.5, True), (1.5, True), (0.5, True)])
    judged.delete(pods[1])
    assert judged.invariants.broken == ["job: busy executor 2 was deleted"]


def test_a_deletion_on_an_old_answer() -> None:
    judged = Judged()
    pod = judged.add(1)
    judged.work(pod, busy_for=1, heard=[(30, False)])
    judged.delete(pod)
    assert "on an answer 30 s old" in judged.invariants.broken[0]


def test_a_deletion_that_names_no_uid() -> None:
    judged = Judged()
    judged.delete(judged.add(1), body={})
    assert "without a uid" in judged.invariants.broken[0]


@pytest.mark.parametrize("how", ["asked for", "deleted", "changed", "gone unseen"])
def test_a_foreign_pod_that_is_touched(how: str) -> None:
    judged = Judged()
    pod = executor_pod(7, owner="somebody else")
    judged.invariants.foreign(pod)
    judged.feed.tell("ADDED", pod)
    if how == "asked for":
        judged.delete(pod)
    elif how == "deleted":
        judged.feed.tell("DELETED", pod)
    elif how == "changed":
        judged.feed.pods["uid-7"] = {**pod, "spec": {"nodeName": "elsewhere"}}
    else:
        judged.feed.pods.clear()
    judged.invariants.finish()
    assert judged.invariants.broken
    assert all("foreign pod job-exec-7" in each for each in judged.invariants.broken)


def test_a_pod_that_is_made_after_the_end() -> None:
    judged = Judged()
    judged.application.ended_at = time.monotonic() - 60
    judged.add(1)
    assert "has ended" in judged.invariants.broken[0]


def test_a_former_leader_that_writes() -> None:
    judged = Judged()
    pod = judged.add(1)
    judged.invariants.leads("another", after="operator")
    judged.delete(pod)
    assert "after another operator led" in judged.invariants.broken[0]


def test_a_pod_whose_containers_have_ended_makes_room() -> None:
    judged = Judged(maximum=1)
    first = judged.add(1)
    ended = {"containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}], "phase": "Running"}
    judged.feed.tell("MODIFIED", {**first, "status": ended})
    judged.add(2)
    assert judged.invariants.broken == []
    judged.add(3)
    assert "2 executors, 1 allowed" in judged.invariants.broken[0]


def test_a_leader_that_has_the_lease_again_may_write() -> None:
    judged = Judged()
    pod = judged.add(1)
    judged.invariants.leads("another", after="operator")
    judged.invariants.leads("operator", after="another")
    judged.delete(pod)
    assert judged.invariants.broken == []


def test_a_task_that_a_deletion_cut_short() -> None:
    judged = Judged()
    judged.application.cut_short.append("executor 1: pod job-exec-1 was deleted")
    judged.invariants.finish()
    assert judged.invariants.broken == ["job: executor 1: pod job-exec-1 was deleted"]


# -- schedules -----------------------------------------------------------------------------------------------------------


def test_a_seed_tells_everything_that_goes_wrong() -> None:
    first, again = FaultSchedule.from_seed(7), FaultSchedule.from_seed(7)
    assert str(first) == str(again)
    fates = [[each.fate(Kind.CREATE, at / 10) for at in range(100)] for each in (first, again)]
    assert fates[0] == fates[1]
    assert any(fates[0])
    assert str(FaultSchedule.from_seed(8)) != str(first)


def test_nothing_goes_wrong_outside_of_the_window() -> None:
    schedule = FaultSchedule.from_seed(7)
    times = (-1.0, schedule.shape.seconds, schedule.shape.seconds + 100)
    assert not any(schedule.fate(kind, at) for at in times for kind in Kind for _ in range(50))


def test_every_seed_kills_the_operator_and_not_more_often_than_allowed() -> None:
    shape = Shape(deeds=10, kills=3)
    for seed in range(50):
        kills = [each for each in FaultSchedule.from_seed(seed, shape).deeds if "kill" in each.kind]
        assert 1 <= len(kills) <= 3


def test_every_episode_can_happen() -> None:
    named = {
        episode.name for seed in range(60) for episode in FaultSchedule.from_seed(seed).episodes
    }
    assert named == set(EPISODES)
