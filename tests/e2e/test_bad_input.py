"""What a user can get wrong becomes a condition that says so and what to do, and touches no pod."""

import pytest
from tests.cluster import ClusterError
from tests.demo.api import Object
from tests.e2e.waiting import eventually, throughout
from tests.e2e.workspace import Workspace

DRIVER = "driver"
TWO_AT_ONCE = {"minExecutors": 2}


def test_no_such_driver(space: Workspace) -> None:
    space.allocate("lost", "nobody")
    message = space.await_condition("lost", "Ready", status="False", reason="DriverNotFound")
    assert "nobody" in message
    _touches_nothing(space, "lost")


def test_a_driver_that_comes_later_is_found(space: Workspace) -> None:
    space.allocate("early", DRIVER)
    space.await_condition("early", "Ready", status="False", reason="DriverNotFound")
    space.start_fake_driver(DRIVER)
    space.await_condition("early", "DriverReachable", status="True", reason="Answers")


def test_a_driver_without_its_ui(space: Workspace) -> None:
    space.start_fake_driver(DRIVER, serving=False)
    space.allocate("blind", DRIVER, dynamicAllocation=TWO_AT_ONCE)
    message = space.await_condition(
        "blind", "DriverReachable", status="False", reason="ConnectionRefused"
    )
    assert "spark.ui.enabled" in message, "the remedy"
    _touches_nothing(space, "blind")


def test_a_driver_that_allocates_for_itself(space: Workspace) -> None:
    space.start_fake_driver(
        DRIVER,
        settings={
            "spark.dynamicAllocation.executorIdleTimeout": "60s",
            "spark.executor.instances": "4",
        },
    )
    space.allocate("busy", DRIVER, dynamicAllocation=TWO_AT_ONCE)
    message = space.await_condition(
        "busy", "DriverPassive", status="False", reason="AllocatesItself"
    )
    assert "spark.dynamicAllocation.executorIdleTimeout" in message
    assert "60s" in message, "the actual value"
    assert "2147483647s" in message, "the wanted value"
    assert "spark.executor.instances" in message
    assert "spark.decommission.enabled" not in message, "keys that are right are not listed"
    _touches_nothing(space, "busy")


def test_two_allocations_for_one_driver(space: Workspace) -> None:
    # given an allocation that serves a driver
    space.start_fake_driver(DRIVER)
    space.allocate("older", DRIVER)
    space.await_condition("older", "DriverReachable", status="True", reason="Answers")
    # when a second one, which would want executors, names the same driver
    space.allocate("younger", DRIVER, dynamicAllocation=TWO_AT_ONCE)
    # then it yields, the older one does not notice, and nothing is created
    message = space.await_condition(
        "younger", "Conflicted", status="True", reason="OlderAllocationWins"
    )
    assert "older" in message
    assert space.condition("older", "Conflicted").get("status") != "True"
    _touches_nothing(space, "younger")
    # and when the older one goes, the younger serves the driver
    space.delete("sparkallocation", "older")
    space.await_condition("younger", "Conflicted", status="False", reason="OnlyAllocation")


def test_a_selector_that_matches_two_live_drivers(space: Workspace) -> None:
    # the newest of them is served; the condition says that there are more
    labels = {"team": "reports"}
    space.start_fake_driver("first", labels=labels)
    space.allocate("several", {"selector": {"matchLabels": labels}})
    space.await_condition("several", "DriverReachable", status="True", reason="Answers")
    assert space.status("several")["driverPod"] == "first"
    space.start_fake_driver("second", labels=labels)
    entry = eventually(
        lambda: _with_reason(space.status("several"), "AmbiguousDriver"),
        what="a condition with reason AmbiguousDriver",
        within=30,
        explain=lambda: space.status("several"),
    )
    assert "first" in entry["message"]
    assert "second" in entry["message"]
    eventually(
        lambda: space.status("several").get("driverPod") == "second",
        what="the newest driver is served",
        within=30,
        explain=lambda: space.status("several"),
    )


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param(
            {"spec": {"priorityClassName": "no-such-class"}},
            "no PriorityClass with name no-such-class was found",
            id="admission refuses",
        ),
        pytest.param(
            {"spec": {"tolerations": [{"key": "a", "operator": "Sometimes"}]}},
            'Unsupported value: "Sometimes"',
            id="validation refuses",
        ),
    ],
)
def test_a_pod_template_that_the_api_server_refuses(
    space: Workspace, template: Object, words: str
) -> None:
    space.start_fake_driver(DRIVER)
    space.allocate(
        "refused", DRIVER, dynamicAllocation=TWO_AT_ONCE, executor={"podTemplate": template}
    )
    entry = eventually(
        lambda: (
            found
            if words in (found := space.condition("refused", "Stalled")).get("message", "")
            else None
        ),
        what="condition Stalled with the server's words",
        within=30,
        explain=lambda: space.status("refused"),
    )
    assert entry["status"] == "True"
    assert not space.executors()


def test_a_refused_pod_is_not_asked_for_in_a_storm(space: Workspace) -> None:
    space.start_fake_driver(DRIVER)
    space.allocate(
        "refused",
        DRIVER,
        dynamicAllocation=TWO_AT_ONCE,
        executor={"podTemplate": {"spec": {"priorityClassName": "no-such-class"}}},
    )
    eventually(
        lambda: space.condition("refused", "Stalled").get("status") == "True",
        what="condition Stalled",
        within=30,
        explain=lambda: space.status("refused"),
    )
    # ids are used up by attempts: a storm would show there
    before = space.status("refused").get("nextExecutorId", 1)
    events = _looks(space, 20)
    assert space.status("refused").get("nextExecutorId", 1) <= before + 40
    assert events <= 5, "one Event for a reason, not one for an attempt"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param({"driver": {}}, "exactly one of podName and selector", id="no driver named"),
        pytest.param(
            {"driver": {"podName": "a", "selector": {"matchLabels": {"a": "b"}}}},
            "exactly one of podName and selector",
            id="named twice",
        ),
        pytest.param(
            {
                "driver": {"podName": "a"},
                "dynamicAllocation": {"minExecutors": 3, "maxExecutors": 2},
            },
            "minExecutors must not be above maxExecutors",
            id="bounds crossed",
        ),
        pytest.param(
            {"driver": {"podName": "a"}, "dynamicAllocation": {"executorIdleTimeout": "soon"}},
            "executorIdleTimeout",
            id="no duration",
        ),
    ],
)
def test_what_the_schema_refuses_is_never_stored(
    space: Workspace, spec: Object, words: str
) -> None:
    allocation = {
        "apiVersion": "sparkallocation.dev/v1alpha1",
        "kind": "SparkAllocation",
        "metadata": {"name": "wrong", "namespace": space.namespace},
        "spec": spec,
    }
    with pytest.raises(ClusterError, match=words):
        space.create(allocation)


def _touches_nothing(space: Workspace, allocation: str) -> None:
    """No executor pod while the operator looks at the allocation several more times."""
    generation = space.allocation(allocation)
    assert generation is not None
    looks = iter(range(16))
    throughout(
        lambda: not space.api.executor_pods(space.namespace),
        until=lambda: next(looks, None) is None,
        what="no executor pod is created",
        within=30,
    )


def _with_reason(status: Object, reason: str) -> Object | None:
    return next(
        (entry for entry in status.get("conditions", []) if entry["reason"] == reason), None
    )


def _looks(space: Workspace, count: int) -> int:
    """Events in the namespace about SparkAllocations after `count` looks at it."""
    seen = 0
    looks = iter(range(count))

    def counted() -> bool:
        nonlocal seen
        seen = sum(
            event.get("count", 1)
            for event in space.api.events(space.namespace)
            if event["involvedObject"]["kind"] == "SparkAllocation"
        )
        return True

    throughout(counted, until=lambda: next(looks, None) is None, what="Events", within=60)
    return seen
