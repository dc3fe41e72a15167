"""Why an executor ended, in words that help."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.core.executor_exits import describe_exit_code, exit_of, start_problem
from spark_allocation.core.executor_pods import ContainerEnd, ExecutorId, ExecutorPod, PodState
from spark_allocation.core.exit_reasons import (
    ExecutorExitReason,
    FailureClass,
    failure_class,
    remedy,
)
from spark_allocation.core.resource_profiles import ProfileId

SPARK = "spark-kubernetes-executor"
Reason = ExecutorExitReason


def pod(state: PodState, *ends: ContainerEnd, **facts: object) -> ExecutorPod:
    return ExecutorPod(
        "uid-1", "app-exec-1", "ns", ExecutorId(1), ProfileId(0), state, 0.0, ends=ends, **facts
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, Reason.APPLICATION_ERROR),
        (2, Reason.COMMAND_NOT_FOUND),
        (3, Reason.COMMAND_NOT_FOUND),
        (10, Reason.UNCAUGHT_EXCEPTION),
        (42, Reason.APPLICATION_ERROR),
        (50, Reason.UNCAUGHT_EXCEPTION),
        (51, Reason.UNCAUGHT_EXCEPTION),
        (52, Reason.JVM_OUT_OF_MEMORY),
        (53, Reason.DISK_FAILURE),
        (54, Reason.DISK_FAILURE),
        (55, Reason.DISK_FAILURE),
        (56, Reason.HEARTBEAT_FAILURE),
        (57, Reason.KILLED_BY_TASK_REAPER),
        (58, Reason.HEARTBEAT_FAILURE),
        (101, Reason.COMMAND_NOT_FOUND),
        (124, Reason.DRIVER_UNREACHABLE),
        (126, Reason.COMMAND_NOT_FOUND),
        (127, Reason.COMMAND_NOT_FOUND),
        (134, Reason.ABORTED),
        (137, Reason.SIGKILL),
        (139, Reason.SEGMENTATION_FAULT),
        (143, Reason.SIGTERM),
        (255, Reason.APPLICATION_ERROR),
    ],
)
def test_exit_codes_have_words(code, reason):
    end = exit_of(pod(PodState.FAILED, ContainerEnd(SPARK, code, "Error")))
    assert (end.reason, end.exit_code, end.charged) == (reason, code, True)
    assert f"(exit code {code})" in end.message


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-1, "-1(unexpected)"),
        (0, "0(success)"),
        (1, "1(generic, look at logs to clarify)"),
        (2, "2(unexpected)"),
        (10, "10(Uncaught exception)"),
        (42, "42(Douglas Adams fan)"),
        (50, "50(Uncaught exception)"),
        (51, "51(unexpected)"),
        (52, "52(JVM OOM)"),
        (53, "53(DiskStore failed to create temp dir)"),
        (56, "56(unexpected)"),
        (126, "126(not executable - possibly perm or arch)"),
        (127, "127(unexpected)"),
        (137, "137(SIGKILL, possible container OOM)"),
        (139, "139(unexpected)"),
        (143, "143(unexpected)"),
        (255, "255(exit-1, your guess is as good as mine)"),
    ],
)
def test_spark_describes_an_exit_code_in_these_words(code, words):
    """As recorded from describeExitCode of Spark 3.5.9, 4.0.5 and 4.1.4, which agree."""
    assert describe_exit_code(code) == words


@pytest.mark.parametrize(("code", "signal"), [(129, "SIGHUP"), (135, "SIGBUS"), (159, "SIGSYS")])
def test_a_signal_is_named(code, signal):
    assert signal in exit_of(pod(PodState.FAILED, ContainerEnd(SPARK, code, "Error"))).message


def test_an_end_is_also_told_in_spark_s_words():
    failed = exit_of(pod(PodState.FAILED, ContainerEnd(SPARK, 137, "OOMKilled")))
    assert failed.spark_words == (
        "The executor with id 1 exited with exit code 137(SIGKILL, possible container OOM)."
    )
    deleted = exit_of(pod(PodState.DELETED, ContainerEnd(SPARK, 143), deleting=True))
    assert deleted.spark_words == "The executor with id 1 was deleted by a user or the framework."


def test_137_is_out_of_memory_when_the_kubelet_says_so():
    end = exit_of(pod(PodState.FAILED, ContainerEnd(SPARK, 137, "OOMKilled")))
    assert end.reason is Reason.OOM_KILLED
    assert "spark.executor.memoryOverhead" in end.message


def test_the_exit_code_is_that_of_the_spark_container():
    end = exit_of(pod(PodState.FAILED, ContainerEnd("sidecar", 2), ContainerEnd(SPARK, 1)))
    assert end.exit_code == 1


def test_a_failed_sidecar_is_named_when_spark_itself_did_not_fail():
    end = exit_of(pod(PodState.FAILED, ContainerEnd("sidecar", 2), ContainerEnd(SPARK, 0)))
    assert "sidecar ended with exit code 2" in end.message
    running = exit_of(pod(PodState.FAILED, ContainerEnd("sidecar", 2)))
    assert running.exit_code == -1


def test_an_executor_that_ended_by_itself_is_charged_as_spark_does():
    end = exit_of(pod(PodState.SUCCEEDED, ContainerEnd(SPARK, 0)))
    assert (end.reason, end.charged) == (Reason.SUCCEEDED, True)
    assert exit_of(pod(PodState.SUCCEEDED)).reason is Reason.SUCCEEDED


def test_a_deleted_pod_is_nobodys_fault():
    end = exit_of(pod(PodState.DELETED, ContainerEnd(SPARK, 143), deleting=True))
    assert (end.reason, end.exit_code, end.charged) == (Reason.DELETED, 143, False)


def test_a_deleted_pod_that_looks_failed_because_of_a_sidecar_is_charged_by_the_driver():
    end = exit_of(pod(PodState.FAILED, ContainerEnd(SPARK, 143), deleting=True))
    assert (end.reason, end.charged) == (Reason.DELETED, True)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("Evicted", Reason.EVICTED),
        ("Preempting", Reason.PREEMPTED),
        ("NodeLost", Reason.NODE_LOST),
        ("Terminated", Reason.NODE_LOST),
        ("OutOfcpu", Reason.NODE_REFUSED),
        ("OutOfnvidia.com/gpu", Reason.NODE_REFUSED),
        ("UnexpectedAdmissionError", Reason.NODE_REFUSED),
        ("TopologyAffinityError", Reason.NODE_REFUSED),
        ("NodePorts", Reason.NODE_REFUSED),
        ("InvalidNodeInfo", Reason.NODE_REFUSED),
        ("TaintToleration", Reason.NODE_LOST),
    ],
)
def test_the_kubelets_words_win_over_the_exit_code(word, reason):
    failed = pod(PodState.FAILED, ContainerEnd(SPARK, 137), reason=word, message="Low on memory")
    end = exit_of(failed)
    assert end.reason is reason
    assert end.message.endswith("Low on memory")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("PreemptionByScheduler", Reason.PREEMPTED),
        ("EvictionByEvictionAPI", Reason.EVICTED),
        ("DeletionByTaintManager", Reason.NODE_LOST),
        ("TaintToleration", Reason.NODE_LOST),
        ("TerminationByKubelet", Reason.EVICTED),
        ("", Reason.DELETED),
    ],
)
def test_a_disruption_is_told_apart_from_a_deletion_by_a_user(word, reason):
    end = exit_of(pod(PodState.DELETED, deleting=True, reason=word))
    assert end.reason is reason
    assert not end.charged


def test_a_container_that_could_not_start_is_a_configuration_error():
    failed = pod(PodState.FAILED, ContainerEnd(SPARK, 128, "StartError", "no such file"))
    assert exit_of(failed).reason is Reason.CONFIG_ERROR


def test_a_failed_init_container_is_named():
    failed = pod(PodState.FAILED, init_ends=(ContainerEnd("fetch-jars", 22),))
    end = exit_of(failed)
    assert end.reason is Reason.INIT_CONTAINER
    assert "its init container fetch-jars ended with exit code 22" in end.message


def test_a_pod_that_failed_without_any_container_says_so():
    assert "before its container ran" in exit_of(pod(PodState.FAILED)).message


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("ImagePullBackOff", Reason.IMAGE_PULL),
        ("ErrImagePull", Reason.IMAGE_PULL),
        ("CreateContainerConfigError", Reason.CONFIG_ERROR),
        ("CreateContainerError", Reason.CONFIG_ERROR),
        ("InvalidImageName", Reason.IMAGE_PULL),
        ("CrashLoopBackOff", Reason.INIT_CONTAINER),
        ("Unschedulable", Reason.UNSCHEDULABLE),
    ],
)
def test_a_pending_pod_tells_what_keeps_it(word, reason):
    problem = start_problem(pod(PodState.PENDING, reason=word))
    assert problem is not None
    assert problem.reason is reason


def test_a_pod_that_is_merely_pending_has_no_problem():
    assert start_problem(pod(PodState.PENDING, reason="ContainerCreating")) is None
    assert start_problem(pod(PodState.RUNNING, reason="ImagePullBackOff")) is None


def test_each_failure_comes_with_a_remedy_in_its_message():
    without = {reason for reason in Reason if not remedy(reason)}
    assert without == {reason for reason in Reason if failure_class(reason) is None}
    end = exit_of(pod(PodState.FAILED, ContainerEnd(SPARK, 52)))
    assert remedy(Reason.JVM_OUT_OF_MEMORY) in end.message


def test_ends_that_are_no_failures_have_no_class():
    no_failures = {reason for reason in Reason if failure_class(reason) is None}
    assert no_failures == {Reason.SUCCEEDED, Reason.DRAINED, Reason.DELETED, Reason.MISSING}


def test_a_full_cluster_and_a_broken_image_are_told_apart():
    assert failure_class(Reason.UNSCHEDULABLE) is FailureClass.CAPACITY
    assert failure_class(Reason.IMAGE_PULL) is FailureClass.CONFIGURATION


@given(
    st.sampled_from([PodState.FAILED, PodState.SUCCEEDED, PodState.DELETED]),
    st.lists(
        st.builds(ContainerEnd, st.sampled_from([SPARK, "x"]), st.integers(0, 255)), max_size=2
    ),
    st.booleans(),
    st.sampled_from(["", "Evicted", "Whatever"]),
)
def test_every_end_has_a_reason_and_only_deleted_pods_are_not_charged(state, ends, deleting, word):
    end = exit_of(pod(state, *ends, deleting=deleting, reason=word))
    assert end.message
    assert end.charged == (state is not PodState.DELETED)
