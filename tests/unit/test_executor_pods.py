"""Pod facts to pod states: ExecutorPodsSnapshotSuite restated."""

import pytest

from spark_allocation.core.executor_pods import ContainerEnd, PodFacts, PodState, pod_state

SPARK = "spark-kubernetes-executor"


def state(facts: PodFacts, *, check_all: bool = False) -> PodState:
    return pod_state(facts, check_all_containers=check_all)


@pytest.mark.parametrize("check_all", [False, True])
@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("Pending", PodState.PENDING),
        ("pending", PodState.PENDING),
        ("Running", PodState.RUNNING),
        ("Succeeded", PodState.SUCCEEDED),
        ("Failed", PodState.FAILED),
        ("Terminating", PodState.TERMINATING),
        ("Unknown", PodState.UNKNOWN),
        ("CompletelyNew", PodState.UNKNOWN),
        ("", PodState.UNKNOWN),
    ],
)
def test_a_phase_maps_to_its_state(phase, expected, check_all):
    assert state(PodFacts(phase), check_all=check_all) is expected


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("Pending", PodState.DELETED),
        ("Failed", PodState.DELETED),
        ("Succeeded", PodState.DELETED),
        ("", PodState.DELETED),
        ("Unknown", PodState.DELETED),
        ("Running", PodState.RUNNING),
        ("Terminating", PodState.TERMINATING),
    ],
)
def test_a_pod_that_is_being_deleted_is_deleted_unless_it_still_runs(phase, expected):
    assert state(PodFacts(phase, deleting=True)) is expected


@pytest.mark.parametrize(("exit_code", "expected"), [(0, PodState.SUCCEEDED), (1, PodState.FAILED)])
def test_a_running_pod_whose_spark_container_ended_has_ended(exit_code, expected):
    facts = PodFacts("Running", ends=(ContainerEnd(SPARK, exit_code),))
    assert state(facts) is expected


def test_a_deleted_executor_whose_sidecar_still_runs_looks_failed():
    facts = PodFacts("Running", deleting=True, ends=(ContainerEnd(SPARK, 143),))
    assert state(facts) is PodState.FAILED


def test_the_spark_container_goes_by_the_name_that_the_template_gives_it():
    facts = PodFacts("Running", ends=(ContainerEnd("engine", 0),))
    assert pod_state(facts, check_all_containers=False) is PodState.RUNNING
    assert (
        pod_state(facts, check_all_containers=False, spark_container="engine") is PodState.SUCCEEDED
    )


def test_a_failed_sidecar_fails_the_pod_only_if_all_containers_are_checked():
    facts = PodFacts("Running", ends=(ContainerEnd("sidecar", 1),))
    assert state(facts) is PodState.RUNNING
    assert state(facts, check_all=True) is PodState.FAILED


def test_a_failed_sidecar_that_is_restarted_fails_nothing():
    facts = PodFacts("Running", restart_policy="Always", ends=(ContainerEnd("sidecar", 1),))
    assert state(facts, check_all=True) is PodState.RUNNING


def test_a_sidecar_that_ended_well_leaves_the_executor_running():
    facts = PodFacts("Running", ends=(ContainerEnd("sidecar", 0),))
    assert state(facts, check_all=True) is PodState.RUNNING


def test_final_states_are_those_of_spark():
    final = {state for state in PodState if state.is_final}
    assert final == {
        PodState.SUCCEEDED,
        PodState.FAILED,
        PodState.DELETED,
        PodState.TERMINATING,
    }
