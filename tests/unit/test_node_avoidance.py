"""Which nodes are avoided, for how long and how firmly."""

from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_allocation.core.executor_pods import ExecutorId, ExecutorPod, PodState
from spark_allocation.core.node_avoidance import (
    MOST_AVOIDED,
    REFUSALS_TO_AVOID,
    NodeAvoidance,
    avoiding,
)
from spark_allocation.core.resource_profiles import ProfileId

START = 1_700_000_000_000
HOUR = 3_600_000


def running(executor_id: int, node: str, *, created_at_ms: int = START) -> ExecutorPod:
    return ExecutorPod(
        uid=f"uid-{executor_id}",
        name=f"app-exec-{executor_id}",
        namespace="jobs",
        executor_id=ExecutorId(executor_id),
        profile_id=ProfileId(0),
        state=PodState.RUNNING,
        created_at=created_at_ms / 1000,
        node=node,
    )


GOOD = running(9, "good")


def avoided(nodes: NodeAvoidance, *pods: ExecutorPod, after: int = 0) -> frozenset[str]:
    working = {pod.executor_id for pod in pods}
    return nodes.avoided(pods, working, START + after, for_ms=HOUR)


def refused(nodes: NodeAvoidance, node: str, *after: int) -> None:
    for each in after:
        nodes.refused(node, START + each, within_ms=HOUR)


def test_an_executor_that_works_there_later_clears_the_node() -> None:
    nodes = NodeAvoidance()
    refused(nodes, "bad", 0, 1_000)
    assert avoided(nodes, GOOD, after=1_000) == {"bad"}
    late = running(10, "bad", created_at_ms=START + 60_000)
    assert avoided(nodes, GOOD, late, after=61_000) == frozenset()
    refused(nodes, "bad", 62_000)
    assert avoided(nodes, GOOD, after=63_000) == frozenset(), "the count begins anew"


def test_an_executor_that_worked_there_before_clears_nothing() -> None:
    nodes = NodeAvoidance()
    refused(nodes, "bad", 1_000, 2_000)
    assert avoided(nodes, GOOD, running(8, "bad"), after=2_000) == {"bad"}


def test_a_node_stays_avoided_when_the_executor_elsewhere_has_gone() -> None:
    nodes = NodeAvoidance()
    refused(nodes, "bad", 0, 1_000)
    avoided(nodes, GOOD, after=1_000)
    assert avoided(nodes, after=2_000) == {"bad"}


def test_more_refusals_prolong_it() -> None:
    nodes = NodeAvoidance()
    refused(nodes, "bad", 0, 1_000)
    assert avoided(nodes, GOOD, after=1_000 + HOUR) == frozenset()
    refused(nodes, "bad", HOUR + 2_000, HOUR + 3_000)
    assert avoided(nodes, GOOD, after=HOUR + 3_000) == {"bad"}


@given(
    st.lists(
        st.tuples(st.sampled_from([f"node-{n}" for n in range(20)]), st.integers(0, 3 * HOUR)),
        max_size=80,
    ),
    st.integers(0, 5 * HOUR),
)
def test_few_nodes_are_avoided_for_a_limited_time_and_none_without_evidence(
    refusals: list[tuple[str, int]], after: int
) -> None:
    nodes = NodeAvoidance()
    before = sorted((at, node) for node, at in refusals if at <= after)
    for at, node in before:
        nodes.refused(node, START + at, within_ms=HOUR)
        avoided(nodes, GOOD, after=at)
    found = avoided(nodes, GOOD, after=after)
    assert len(found) <= MOST_AVOIDED
    assert "good" not in found
    for node in found:
        times = [at for at, each in before if each == node]
        assert len(times) >= REFUSALS_TO_AVOID
        assert after - max(times) < HOUR


class TestThePod:
    POD: ClassVar[dict[str, Any]] = {"spec": {"containers": [], "nodeSelector": {"disk": "ssd"}}}

    def test_it_asks_for_any_other_node(self) -> None:
        made = avoiding(self.POD, frozenset({"b", "a"}))
        (term,) = made["spec"]["affinity"]["nodeAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"
        ]
        assert term["weight"] == 100
        assert term["preference"]["matchFields"] == [
            {"key": "metadata.name", "operator": "NotIn", "values": ["a"]},
            {"key": "metadata.name", "operator": "NotIn", "values": ["b"]},
        ]
        assert made["spec"]["nodeSelector"] == {"disk": "ssd"}
        assert "affinity" not in self.POD["spec"], "the pod that was built is as it was"

    def test_what_the_template_asks_for_stays(self) -> None:
        own = {"weight": 1, "preference": {"matchExpressions": []}}
        required = {"nodeSelectorTerms": []}
        affinity = {
            "podAntiAffinity": {"x": 1},
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": required,
                "preferredDuringSchedulingIgnoredDuringExecution": [own],
            },
        }
        made = avoiding({"spec": {"affinity": affinity}}, frozenset({"a"}))["spec"]["affinity"]
        assert made["podAntiAffinity"] == {"x": 1}
        of_nodes = made["nodeAffinity"]
        assert of_nodes["requiredDuringSchedulingIgnoredDuringExecution"] == required
        assert of_nodes["preferredDuringSchedulingIgnoredDuringExecution"][0] == own

    @pytest.mark.parametrize("pod", [POD, {"spec": {"affinity": None}}, {}])
    def test_without_such_nodes_it_stays_as_it_is(self, pod: dict[str, object]) -> None:
        assert avoiding(pod, frozenset()) == pod
