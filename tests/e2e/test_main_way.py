"""One real job from a labelled driver pod to the last trace swept: what `make demo` shows, smaller."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.demo.api import Object
from tests.demo.observation import Observation, observe
from tests.demo.story import driver_may, profile_tasks
from tests.demo.timeline import Timeline
from tests.e2e.waiting import eventually
from tests.e2e.workspace import RISE_AND_FALL, Workspace

DRIVER = "report"
TTL_SECONDS = 15
CLAIM_OF_THE_APPLICATION = "spilled"
CLAIM_OF_SOMEBODY_ELSE = "kept"


@dataclass(slots=True)
class Run:
    """A job that ran to its end under the operator, and what was seen of it."""

    space: Workspace
    timeline: Timeline = field(default_factory=Timeline)
    result: dict[str, Any] = field(default_factory=dict)
    executor_pods: dict[str, Object] = field(default_factory=dict)
    executor_config_maps: set[str] = field(default_factory=set)
    driver_uid: str = ""

    @property
    def allocation(self) -> Object:
        """The SparkAllocation as last seen."""
        return next(
            seen.allocation for seen in reversed(self.timeline.observations) if seen.allocation
        )


@pytest.fixture(scope="module")
def run(make_workspace: Callable[[], Workspace]) -> Iterator[Run]:
    run = Run(make_workspace())
    space = run.space
    prefix = "spec.sparkallocation.dev"
    space.start_driver(
        DRIVER,
        *("--tasks=80", "--quiet-seconds=4", f"--profile-tasks={profile_tasks(space.api)}"),
        job=RISE_AND_FALL,
        annotations={
            f"{prefix}/dynamicAllocation.maxExecutors": "3",
            f"{prefix}/dynamicAllocation.executorIdleTimeout": "4s",
            f"{prefix}/ttlSecondsAfterFinished": str(TTL_SECONDS),
        },
    )

    def finished() -> bool:
        began = run.timeline.observations[0].seconds if run.timeline.observations else 0.0
        seen = observe(
            space.api, space.namespace, DRIVER, seconds=began + len(run.timeline.observations)
        )
        run.timeline.add(seen)
        _remember(run, seen)
        return seen.driver_ended

    eventually(
        finished, what="the job ends", within=400, every=0.8, explain=lambda: space.log(DRIVER)
    )
    run.result = space.result(DRIVER)
    yield run
    space.cluster.kubectl("delete", "namespace", space.namespace, "--wait=false")


def _remember(run: Run, seen: Observation) -> None:
    space = run.space
    run.executor_pods.update({pod["metadata"]["name"]: pod for pod in seen.executor_pods})
    application = seen.status.get("applicationId")
    if application and not run.driver_uid:
        driver = space.api.pod(space.namespace, DRIVER)
        assert driver is not None
        run.driver_uid = driver["metadata"]["uid"]
        owner = {"apiVersion": "v1", "kind": "Pod", "name": DRIVER, "uid": run.driver_uid}
        space.create(
            _claim(space, CLAIM_OF_THE_APPLICATION, application, [owner]),
            _claim(space, CLAIM_OF_SOMEBODY_ELSE, application, []),
        )
    if application:
        run.executor_config_maps |= _executor_config_maps(space, application)


def test_answers_are_right_and_no_task_is_charged(run: Run) -> None:
    assert run.timeline.last.driver_phase == "Succeeded"
    assert run.result["complaint"] is None
    for question, answer in run.result["answers"].items():
        assert answer["computed"] == answer["known"], question
    assert run.result["failedTasks"] == 0
    assert [entry for entry in run.result["executors"] if entry["failedTasks"]] == []
    assert run.result["retriedStages"] == 0


@pytest.mark.parametrize("profile", [0, 1])
def test_executors_of_both_profiles_run_tasks(run: Run, profile: int) -> None:
    worked = [
        entry
        for entry in run.result["executors"]
        if entry["profile"] == profile and entry["completedTasks"] > 0
    ]
    assert worked


def test_executors_rise_and_fall_twice(run: Run) -> None:
    episodes = run.timeline.episodes()
    assert len(episodes) >= 2, episodes
    assert max(episode.peak for episode in episodes) >= 2
    assert all(episode.ended is not None for episode in episodes)


def test_no_profile_ever_has_more_executors_than_its_annotation_allows(run: Run) -> None:
    for seen in run.timeline.observations:
        for profile, pods in seen.executors.items():
            assert pods.pending + pods.running <= 3, (profile, seen.seconds)
        assert all(target <= 3 for target in seen.targets.values()), seen.targets


def test_annotations_become_fields_of_the_allocation(run: Run) -> None:
    spec = run.allocation["spec"]
    assert spec["driver"] == {"podName": DRIVER}
    # from examples/driver-pod.yaml, where the test does not say otherwise
    assert spec["dynamicAllocation"] == {
        "maxExecutors": 3,
        "executorIdleTimeout": "4s",
        "cachedExecutorIdleTimeout": "10s",
        "shuffleTracking": {"timeout": "8s"},
    }
    assert spec["ttlSecondsAfterFinished"] == TTL_SECONDS


def test_executors_belong_to_the_driver_and_to_this_allocation_only(run: Run) -> None:
    assert run.executor_pods
    for pod in run.executor_pods.values():
        metadata = pod["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("Pod", run.driver_uid, True)
        uid = run.allocation["metadata"]["uid"]
        assert metadata["labels"]["sparkallocation.dev/allocation-uid"] == uid
        assert metadata["labels"]["spark-app-selector"] == run.result["applicationId"]


def test_no_executor_id_is_used_twice(run: Run) -> None:
    ids = [pod["metadata"]["labels"]["spark-exec-id"] for pod in run.executor_pods.values()]
    assert len(ids) == len(set(ids))
    assert {str(entry["id"]) for entry in run.result["executors"]} <= set(ids)


@pytest.mark.parametrize("verb", ["create", "delete", "patch"])
def test_the_driver_may_only_look_at_pods(run: Run, verb: str) -> None:
    assert driver_may(run.space.cluster, run.space.namespace, "list") == "yes"
    assert driver_may(run.space.cluster, run.space.namespace, verb) == "no"


def test_executor_pods_are_swept_at_the_end(run: Run) -> None:
    run.space.await_no_executors()


def test_executor_config_map_is_swept_at_the_end(run: Run) -> None:
    assert run.executor_config_maps, "the driver made one for its executors"
    eventually(
        lambda: not _executor_config_maps(run.space, run.result["applicationId"]),
        what="the executor config map is gone",
        within=30,
    )


def test_claims_of_the_application_are_swept_and_others_stay(run: Run) -> None:
    eventually(
        lambda: CLAIM_OF_THE_APPLICATION not in _claims(run.space),
        what="the application's claim is gone",
        within=30,
    )
    assert CLAIM_OF_SOMEBODY_ELSE in _claims(run.space)


def test_the_allocation_goes_when_its_time_is_over(run: Run) -> None:
    eventually(
        lambda: run.space.api.allocation_of(run.space.namespace, DRIVER) is None,
        what="the SparkAllocation is gone",
        within=TTL_SECONDS + 30,
    )


def _claim(space: Workspace, name: str, application: str, owners: list[Object]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": space.namespace,
            "labels": {"spark-app-selector": application},
            "ownerReferences": owners,
        },
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def _claims(space: Workspace) -> set[str]:
    return {
        claim["metadata"]["name"]
        for claim in space.api.claims(space.namespace)
        if "deletionTimestamp" not in claim["metadata"]
    }


def _executor_config_maps(space: Workspace, application: str) -> set[str]:
    selector = f"spark-app-selector={application},spark-role=executor"
    return {item["metadata"]["name"] for item in space.api.config_maps(space.namespace, selector)}
