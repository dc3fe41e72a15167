"""Pod facts to pod states: ExecutorPodsSnapshotSuite restated."""

import pytest

from spark_allocation.core.executor_pods import (
    ContainerEnd,
    ContainerRule,
    ExecutorId,
    ExecutorPod,
    PodFacts,
    PodState,
    judged,
    pod_state,
)
from spark_allocation.core.resource_profiles import ProfileId

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


# -- judged anew by the application's own rule -------------------------------------------------------------------------


def running(*ends: ContainerEnd, state: PodState = PodState.FAILED, **facts) -> ExecutorPod:
    """A pod whose containers have ended so, as the watch judged it without knowing whose it is."""
    facts = {"phase": "Running", **facts}
    return ExecutorPod(
        "uid-1", "app-exec-1", "ns", ExecutorId(1), ProfileId(0), state, 0.0, ends=ends, **facts
    )


SPARK_ALONE_DECIDES = ContainerRule(check_all_containers=False)
ALL_DECIDE = ContainerRule(check_all_containers=True)


def test_a_sidecar_that_fails_ends_the_executor_only_where_all_containers_are_checked():
    pod = running(ContainerEnd("sidecar", 1))
    assert judged(pod, ALL_DECIDE).state is PodState.FAILED
    assert judged(pod, SPARK_ALONE_DECIDES).state is PodState.RUNNING


def test_the_template_s_name_for_the_spark_container_decides():
    pod = running(ContainerEnd("engine", 0), state=PodState.RUNNING)
    rule = ContainerRule(check_all_containers=False, spark_container="engine")
    assert judged(pod, rule).state is PodState.SUCCEEDED
    assert judged(pod, SPARK_ALONE_DECIDES) is pod


@pytest.mark.parametrize("rule", [ALL_DECIDE, SPARK_ALONE_DECIDES])
@pytest.mark.parametrize(
    ("phase", "state"),
    [
        ("Failed", PodState.FAILED),
        ("Succeeded", PodState.SUCCEEDED),
        ("Pending", PodState.PENDING),
        ("Failed", PodState.DELETED),
    ],
)
def test_a_pod_that_does_not_run_is_what_its_phase_says(rule, phase, state):
    pod = running(ContainerEnd("sidecar", 1), state=state, phase=phase)
    assert judged(pod, rule) is pod
