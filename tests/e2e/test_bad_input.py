"""What a user can get wrong becomes a condition that says so and what to do, and touches no pod."""

from collections.abc import Callable

import pytest
from tests.cluster import ClusterError
from tests.demo.api import Object
from tests.e2e.waiting import eventually, throughout
from tests.e2e.workspace import Workspace

DRIVER = "driver"
INVALID_LABEL = {"metadata": {"labels": {"team": "-not a label-"}}, "spec": {}}
TWO_AT_ONCE = {"minExecutors": 2}


@pytest.fixture(scope="module", autouse=True)
def blind(make_workspace: Callable[[], Workspace]) -> Workspace:
    """A driver without its UI: it is given a minute to start, during which the other tests run."""
    space = make_workspace()
    space.start_fake_driver(DRIVER, serving=False)
    space.allocate("blind", DRIVER, dynamicAllocation=TWO_AT_ONCE)
    return space


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


def test_a_selector_that_comes_to_match_a_second_live_driver(space: Workspace) -> None:
    # given an allocation that serves the only driver with these labels
    labels = {"team": "reports"}
    space.start_fake_driver("first", labels=labels)
    space.allocate("several", {"selector": {"matchLabels": labels}})
    space.await_condition("several", "DriverReachable", status="True", reason="Answers")
    # when another one starts, then that is said, and the first goes on being served
    space.start_fake_driver("second", labels=labels)
    message = space.await_condition(
        "several", "AmbiguousDriver", status="True", reason="AmbiguousDriver"
    )
    assert "first" in message
    assert "second" in message
    assert space.status("several")["driverPod"] == "first"
    assert space.condition("several", "Ready")["status"] == "True"
    # and when one remains, nothing is ambiguous any more
    space.delete("pod", "second")
    eventually(
        lambda: not space.condition("several", "AmbiguousDriver"),
        what="the condition AmbiguousDriver goes",
        within=30,
        explain=lambda: space.status("several"),
    )


def test_a_selector_that_comes_to_match_two_live_drivers(space: Workspace) -> None:
    # the one that is served goes on being served; a condition says that there are more
    labels = {"team": "reports"}
    space.start_fake_driver("first", labels=labels)
    space.allocate("several", {"selector": {"matchLabels": labels}})
    space.await_condition("several", "DriverReachable", status="True", reason="Answers")
    assert space.status("several")["driverPod"] == "first"
    space.start_fake_driver("second", labels=labels)
    message = space.await_condition(
        "several", "AmbiguousDriver", status="True", reason="AmbiguousDriver"
    )
    assert "first" in message
    assert "second" in message
    assert space.status("several")["driverPod"] == "first"


def test_a_selector_that_matches_two_live_drivers_from_the_start(space: Workspace) -> None:
    labels = {"team": "reports"}
    space.start_fake_driver("first", labels=labels)
    space.start_fake_driver("second", labels=labels)
    space.allocate("several", {"selector": {"matchLabels": labels}}, dynamicAllocation=TWO_AT_ONCE)
    message = space.await_condition("several", "Ready", status="False", reason="AmbiguousDriver")
    assert "spec.driver.podName" in message, "the remedy"
    _touches_nothing(space, "several")


def test_a_pod_template_that_the_api_server_refuses(space: Workspace) -> None:
    space.start_fake_driver(DRIVER)
    space.allocate(
        "refused", DRIVER, dynamicAllocation=TWO_AT_ONCE, executor={"podTemplate": INVALID_LABEL}
    )
    _stalls_with(space, "refused", reason="PodInvalid", words="-not a label-")


def test_executor_pods_that_admission_refuses(space: Workspace) -> None:
    space.start_fake_driver(DRIVER)
    space.create(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "small", "namespace": space.namespace},
            "spec": {"limits": [{"type": "Pod", "max": {"memory": "64Mi"}}]},
        }
    )
    space.allocate("refused", DRIVER, dynamicAllocation=TWO_AT_ONCE)
    _stalls_with(
        space, "refused", reason="CreateForbidden", words="maximum memory usage per Pod is 64Mi"
    )


def test_a_template_that_asks_for_what_the_driver_pod_does_not_have(space: Workspace) -> None:
    space.start_fake_driver(DRIVER)
    space.allocate(
        "refused",
        DRIVER,
        dynamicAllocation=TWO_AT_ONCE,
        executor={"podTemplate": {"spec": {"hostNetwork": True}}},
    )
    _stalls_with(space, "refused", reason="FieldNotAllowed", words="hostNetwork")


def _stalls_with(space: Workspace, name: str, *, reason: str, words: str) -> None:
    entry = eventually(
        lambda: (
            found
            if words in (found := space.condition(name, "Stalled")).get("message", "")
            else None
        ),
        what=f"condition Stalled with the words {words!r}",
        within=30,
        explain=lambda: space.status(name),
    )
    assert entry["status"] == "True"
    assert entry["reason"] == reason
    assert not space.executors()


def test_a_refused_pod_is_not_asked_for_in_a_storm(space: Workspace) -> None:
    space.start_fake_driver(DRIVER)
    space.allocate(
        "refused",
        DRIVER,
        dynamicAllocation=TWO_AT_ONCE,
        executor={"podTemplate": INVALID_LABEL},
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


def test_a_driver_without_its_ui(blind: Workspace) -> None:
    message = blind.await_condition(
        "blind", "DriverReachable", status="False", reason="ConnectionRefused", within=90
    )
    assert "spark.ui.enabled" in message, "the remedy"
    _touches_nothing(blind, "blind")


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
