"""What the watch keeps of an executor pod: its state, and the most telling words about it."""

from typing import Any

import msgspec
import pytest
from tests.unit.executor_pod_documents import executor_document

from spark_allocation.core.executor_exits import exit_of, start_problem
from spark_allocation.core.executor_pods import ExecutorPod, PodState
from spark_allocation.core.exit_reasons import ExecutorExitReason
from spark_allocation.sources import wire
from spark_allocation.sources.executor_pods import seen_pod

SPARK = "spark-kubernetes-executor"


def seen(*, spec: dict[str, Any] | None = None, **status: Any) -> ExecutorPod:
    document = executor_document(7)
    document["spec"].update(spec or {})
    document["status"] = status
    found = seen_pod(msgspec.convert(document, wire.Pod))
    assert found is not None
    return found.pod


def waiting(name: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"name": name, "state": {"waiting": {"reason": reason, "message": message}}}


def ended(name: str, code: int, reason: str = "Error") -> dict[str, Any]:
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason}}}


def started(name: str) -> dict[str, Any]:
    return {"name": name, "state": {"running": {}}}


SIDECAR = {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}
FETCH = {"initContainers": [{"name": "fetch"}]}


class TestInitContainers:
    @pytest.mark.parametrize(
        ("word", "reason"),
        [
            ("ImagePullBackOff", ExecutorExitReason.IMAGE_PULL),
            ("CreateContainerConfigError", ExecutorExitReason.CONFIG_ERROR),
            ("CrashLoopBackOff", ExecutorExitReason.INIT_CONTAINER),
        ],
    )
    def test_what_keeps_an_init_container_is_what_keeps_the_pod(self, word, reason):
        pod = seen(
            spec=FETCH,
            phase="Pending",
            initContainerStatuses=[waiting("fetch", word, "no such thing")],
            containerStatuses=[waiting(SPARK, "PodInitializing")],
        )
        problem = start_problem(pod)
        assert problem is not None
        assert problem.reason is reason
        assert problem.message.endswith("container fetch: no such thing")

    def test_one_that_fails_ends_the_pod_and_is_named(self):
        pod = seen(
            spec=FETCH,
            phase="Failed",
            initContainerStatuses=[ended("fetch", 22)],
            containerStatuses=[waiting(SPARK, "PodInitializing")],
        )
        assert exit_of(pod).reason is ExecutorExitReason.INIT_CONTAINER
        assert "fetch ended with exit code 22" in exit_of(pod).message

    def test_one_that_has_done_its_work_says_nothing(self):
        pod = seen(
            spec=FETCH,
            phase="Running",
            initContainerStatuses=[ended("fetch", 0, "Completed")],
            containerStatuses=[started(SPARK)],
        )
        assert (pod.state, pod.init_ends, pod.reason) == (PodState.RUNNING, (), "")


class TestNativeSidecars:
    @pytest.mark.parametrize("sidecar", [ended("proxy", 1), waiting("proxy", "CrashLoopBackOff")])
    def test_one_that_ends_and_starts_again_is_no_end_of_the_executor(self, sidecar):
        pod = seen(
            spec=SIDECAR,
            phase="Running",
            initContainerStatuses=[sidecar],
            containerStatuses=[started(SPARK)],
        )
        assert (pod.state, pod.ends, pod.init_ends) == (PodState.RUNNING, (), ())

    def test_the_code_of_an_executor_is_not_that_of_its_sidecar(self):
        """The kubelet ends the sidecar after Spark, with SIGTERM."""
        pod = seen(
            spec=SIDECAR,
            phase="Failed",
            initContainerStatuses=[ended("proxy", 143)],
            containerStatuses=[ended(SPARK, 52)],
        )
        assert exit_of(pod).exit_code == 52
        assert pod.init_ends == ()

    def test_one_that_keeps_the_pod_from_starting_is_named(self):
        pod = seen(
            spec=SIDECAR,
            phase="Pending",
            initContainerStatuses=[waiting("proxy", "CrashLoopBackOff", "back-off 20s")],
            containerStatuses=[waiting(SPARK, "PodInitializing")],
        )
        problem = start_problem(pod)
        assert problem is not None
        assert "container proxy: back-off 20s" in problem.message


class TestSlowPods:
    @pytest.mark.parametrize("word", ["ContainerCreating", "PodInitializing"])
    def test_a_pod_that_is_on_its_way_says_so(self, word):
        pod = seen(phase="Pending", containerStatuses=[waiting(SPARK, word)])
        assert pod.reason == "Starting"

    def test_what_the_scheduler_says_is_more_telling(self):
        gate = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
        problem = start_problem(seen(phase="Pending", conditions=[gate]))
        assert problem is not None
        assert problem.reason is ExecutorExitReason.UNSCHEDULABLE

    def test_a_pod_that_runs_is_not_on_its_way(self):
        assert seen(phase="Running", containerStatuses=[started(SPARK)]).reason == ""


class TestSilentNodes:
    READY_TAKEN_AWAY = (
        {"type": "Ready", "status": "False"},
        {"type": "ContainersReady", "status": "True"},
    )

    def test_the_node_controller_takes_ready_away_from_the_pods_of_a_silent_node(self):
        pod = seen(phase="Running", conditions=list(self.READY_TAKEN_AWAY))
        assert pod.node_silent
        assert pod.state is PodState.RUNNING

    @pytest.mark.parametrize(("ready", "containers"), [("True", "True"), ("False", "False")])
    def test_what_the_kubelet_itself_says_is_no_silence(self, ready, containers):
        conditions = [
            {"type": "Ready", "status": ready},
            {"type": "ContainersReady", "status": containers},
        ]
        assert not seen(phase="Running", conditions=conditions).node_silent

    def test_a_readiness_gate_makes_the_same_conditions_mean_nothing(self):
        gates = {"readinessGates": [{"conditionType": "example.com/ready"}]}
        assert not seen(
            spec=gates, phase="Running", conditions=list(self.READY_TAKEN_AWAY)
        ).node_silent
