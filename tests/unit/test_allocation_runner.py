"""One SparkAllocation from its first sight to its end, with a driver over HTTP and an API server in memory."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from tests.unit.executor_pod_documents import driver_document, executor_document
from tests.unit.runner_world import Document, Operator, put_driver, served

from spark_allocation.api.conditions import Reason
from spark_allocation.controller import allocation_runner, application_end
from spark_allocation.controller.other_installs import OtherInstalls
from spark_allocation.controller.runners import Claims, Runners
from spark_allocation.kube.write_outcomes import WriteOutcome, WriteResult
from spark_allocation.sources import driver_requests
from spark_allocation.testing.driver import Behaviour, FakeDriver
from spark_allocation.testing.faults import HANGS, UNANSWERED

pytestmark = pytest.mark.usefixtures("quick")


# -- serving ----------------------------------------------------------------------------------------------------------


async def test_a_passive_driver_gets_its_executors(operator: Operator, driver: FakeDriver) -> None:
    await served(operator, driver, 3)
    status = operator.allocations.status("job")
    assert operator.condition("Ready")["status"] == "True"
    assert (status["applicationId"], status["driverPod"]) == (driver.application_id, "driver")
    for pod in operator.executors:
        (owner,) = pod["metadata"]["ownerReferences"]
        assert owner["name"] == "driver"


async def test_what_it_does_shows_in_the_metrics(operator: Operator, driver: FakeDriver) -> None:
    polls: list[tuple[str, float]] = []
    created: list[str] = []
    operator.around = replace(
        operator.around,
        apis=replace(operator.around.apis, count_creation=created.append),
        count_poll=lambda outcome, seconds: polls.append((outcome, seconds)),
    )
    runner = await served(operator, driver, 3)
    assert created == ["created"] * 3
    assert {outcome for outcome, _ in polls} == {"Answered"}
    assert all(0 <= seconds < 5 for _, seconds in polls)
    assert runner.figures.namespace == "jobs"
    counts = runner.figures.executors
    assert (counts["target"], counts["running"], counts["pending"]) == (3, 3, 0)
    problems = dict(runner.figures.problems)
    assert "DriverReachable" not in problems
    # and a driver that answers no more is a problem
    await driver.stop()
    await operator.until(lambda: "DriverReachable" in dict(runner.figures.problems))
    await operator.until(lambda: any(outcome != "Answered" for outcome, _ in polls))


async def test_nothing_is_decided_before_the_first_full_list(driver: FakeDriver) -> None:
    async with aiohttp.ClientSession() as session:
        operator = Operator(session)
        put_driver(operator, driver)
        operator.allocate(dynamicAllocation={"minExecutors": 2})
        await asyncio.sleep(0.2)
        assert operator.pods.calls == []
        for task in operator.tasks:
            task.cancel()
        await asyncio.gather(*operator.tasks, return_exceptions=True)


async def test_new_bounds_take_effect_while_the_driver_runs(operator, driver) -> None:
    runner = await served(operator, driver, 1)
    operator.change(runner, dynamicAllocation={"minExecutors": 3})
    await operator.until(lambda: len(operator.executors) == 3)


@pytest.mark.parametrize("moment", ["/api/v1/applications", "/environment", "/allexecutors"])
async def test_new_bounds_that_come_on_the_way_to_the_driver_are_not_lost(
    operator, driver, moment
) -> None:
    put_driver(operator, driver)
    runner = operator.allocate(dynamicAllocation={"minExecutors": 1})

    def change(path: str) -> None:
        if path.split("?", maxsplit=1)[0].endswith(moment):
            driver.when_asked = lambda _: None
            operator.change(runner, dynamicAllocation={"minExecutors": 3})

    driver.when_asked = change
    await operator.until(lambda: len(operator.executors) == 3)


async def test_another_mode_that_comes_on_the_way_to_the_driver_is_not_lost(
    operator, driver
) -> None:
    put_driver(operator, driver)
    runner = operator.allocate(dynamicAllocation={"minExecutors": 1})

    def change(path: str) -> None:
        if path.endswith("/environment"):
            driver.when_asked = lambda _: None
            operator.change(runner, mode="Recommend", dynamicAllocation={"minExecutors": 1})

    driver.when_asked = change
    await operator.until(lambda: operator.state() == "NobodyAllocates")
    assert operator.touched == []


# -- bad input --------------------------------------------------------------------------------------------------------

UNHAPPY = [
    pytest.param(Behaviour.REDIRECTS, "Redirected", "plain HTTP", id="redirect"),
    pytest.param(Behaviour.UNAUTHORIZED, "Unauthorized", "spark.ui.filters", id="401"),
    pytest.param(Behaviour.FORBIDDEN, "Unauthorized", "spark.ui.view.acls", id="403"),
    pytest.param(Behaviour.NOT_FOUND, "NotASparkUi", "spec.driver.uiPort", id="404"),
    pytest.param(Behaviour.GARBAGE, "BadAnswer", "not Spark's JSON", id="garbage"),
    pytest.param(Behaviour.BREAKS_OFF, "ConnectionReset", "mesh", id="truncated"),
    pytest.param(Behaviour.SLOW, "ConnectionTimedOut", "NetworkPolicy", id="timeout"),
]


@pytest.mark.parametrize(("behaviour", "reason", "remedy"), UNHAPPY)
async def test_a_driver_that_does_not_answer_well_is_said_with_a_remedy(
    operator: Operator,
    driver: FakeDriver,
    monkeypatch: pytest.MonkeyPatch,
    *,
    behaviour: Behaviour,
    reason: str,
    remedy: str,
) -> None:
    monkeypatch.setattr(driver_requests, "REQUEST_TIMEOUT_SECONDS", 0.05)
    put_driver(operator, driver)
    driver.behaves = behaviour
    operator.allocate(driver={"podName": "driver", "uiPort": driver.port})
    await operator.until(lambda: operator.condition("DriverReachable")["reason"] == reason)
    assert remedy in operator.condition("DriverReachable")["message"]
    assert operator.condition("Ready")["status"] == "False"
    assert operator.state() == "DriverUnreachable"
    assert operator.touched == []


async def test_a_driver_with_its_ui_off_is_a_refused_connection(operator, driver) -> None:
    await driver.stop()
    put_driver(operator, driver)
    operator.allocate(driver={"podName": "driver", "uiPort": driver.port})
    await operator.until(lambda: operator.condition("Ready")["reason"] == "ConnectionRefused")
    assert "spark.ui.enabled" in operator.condition("Ready")["message"]


async def test_a_driver_that_allocates_for_itself_is_told_each_key(operator, driver) -> None:
    driver.properties["spark.dynamicAllocation.minExecutors"] = "2"
    driver.properties["spark.dynamicAllocation.executorIdleTimeout"] = "60s"
    put_driver(operator, driver)
    operator.allocate(dynamicAllocation={"minExecutors": 2})
    await operator.until(lambda: operator.condition("DriverPassive")["status"] == "False")
    message = operator.condition("DriverPassive")["message"]
    assert "spark.dynamicAllocation.minExecutors: 2 → 0" in message
    assert "spark.dynamicAllocation.executorIdleTimeout: 60s →" in message
    assert operator.touched == []


async def test_a_pod_that_is_not_there_is_said(operator: Operator) -> None:
    operator.allocate()
    await operator.until(lambda: operator.condition("Ready")["reason"] == "DriverNotFound")
    assert "spec.driver.podName" in operator.condition("Ready")["message"]


async def test_a_driver_that_comes_later_is_found(operator, driver) -> None:
    operator.allocate(dynamicAllocation={"minExecutors": 1})
    await operator.until(lambda: operator.state() == "DriverNotFound")
    put_driver(operator, driver)
    await operator.until(lambda: len(operator.executors) == 1)


async def test_a_driver_pod_without_the_spark_label_is_asked_for(operator, driver) -> None:
    document = driver_document(ui_port=driver.port)
    del document["metadata"]["labels"]["spark-role"]
    operator.pods.put(document)
    operator.allocate(dynamicAllocation={"minExecutors": 1})
    await operator.until(lambda: len(operator.executors) == 1)


async def test_a_driver_that_had_completed_before_is_finished(operator, driver) -> None:
    put_driver(operator, driver, phase="Succeeded")
    operator.allocate()
    await operator.until(lambda: operator.condition("Finished")["status"] == "True")
    assert operator.condition("Finished")["reason"] == "DriverSucceeded"
    assert operator.touched == []


async def test_a_masked_value_that_matters_is_named(operator, driver) -> None:
    driver.properties["spark.kubernetes.container.image"] = "*********(redacted)"
    put_driver(operator, driver)
    operator.allocate()
    await operator.until(lambda: operator.state() == "NotReadable")
    assert "spark.kubernetes.container.image" in operator.condition("Ready")["message"]
    assert "spec.sparkConf" in operator.condition("Ready")["message"]


async def test_keys_that_make_no_difference_are_told(operator, driver) -> None:
    put_driver(operator, driver)
    conf = {"spark.executor.cores": "2", "spark.sql.shuffle.partitions": "10"}
    runner = operator.allocate(sparkConf=conf)
    await operator.until(lambda: operator.condition("Ignored")["status"] == "True")
    told = operator.condition("Ignored")
    assert told["reason"] == "NoEffect"
    assert "spec.sparkConf: spark.sql.shuffle.partitions: without effect" in told["message"]
    assert "spark.executor.cores" not in told["message"]
    # and no longer, once they are left out
    operator.change(runner, sparkConf={"spark.executor.cores": "2"})
    await operator.until(lambda: operator.condition("Ignored")["status"] == "")


async def test_fields_of_a_later_version_are_told_and_left_out(operator, driver) -> None:
    put_driver(operator, driver)
    runner = operator.allocate(dynamicAllocation={"maxExecutors": 3, "later": 1})
    await operator.until(lambda: operator.condition("Ready")["status"] == "True")
    told = operator.condition("Ignored")
    assert "spec.dynamicAllocation.later: this version of the operator does not know that" in told["message"]  # fmt: skip
    # and no longer, once they are left out
    operator.change(runner, dynamicAllocation={"maxExecutors": 3})
    await operator.until(lambda: operator.condition("Ignored")["status"] == "")


async def test_a_spec_that_makes_no_sense_is_said(operator, driver) -> None:
    put_driver(operator, driver)
    operator.allocate(dynamicAllocation={"minExecutors": -1})
    await operator.until(lambda: operator.condition("Ready")["reason"] == "InvalidSpec")
    assert "dynamicAllocation.minExecutors" in operator.condition("Ready")["message"]
    assert operator.touched == []


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param({"dynamicAllocation": {"minExecutors": -1}}, id="for the schema"),
        pytest.param({"dynamicAllocation": {"minExecutors": 9, "maxExecutors": 3}}, id="for Spark"),
    ],
)
async def test_a_spec_that_stops_making_sense_stops_no_job(operator, driver, nonsense) -> None:
    runner = await served(operator, driver, 2)
    operator.change(runner, **nonsense)
    await operator.until(lambda: operator.condition("Ready")["reason"] == "InvalidSpec")
    assert "stay in force" in operator.condition("Ready")["message"]
    operator.pods.remove(operator.executors[0]["metadata"]["name"], "jobs")
    await operator.until(lambda: len(operator.executors) == 2)
    operator.change(runner, dynamicAllocation={"minExecutors": 3})
    await operator.until(lambda: len(operator.executors) == 3)
    await operator.until(lambda: operator.condition("Ready")["status"] == "True")


@pytest.mark.parametrize(
    ("template", "field"),
    [
        ({"spec": {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}}, "hostPath"),
        ({"spec": {"volumes": [{"name": "s", "secret": {"secretName": "theirs"}}]}}, "secret"),
        ({"spec": {"serviceAccountName": "admin"}}, "serviceAccountName"),
        (
            {"spec": {"containers": [{"name": "x", "securityContext": {"privileged": True}}]}},
            "privileged",
        ),
    ],
)
async def test_executors_get_nothing_that_their_driver_does_not_have(
    operator, driver, template, field
) -> None:
    put_driver(operator, driver)
    operator.allocate(dynamicAllocation={"minExecutors": 1}, executor={"podTemplate": template})
    await operator.until(lambda: operator.condition("Stalled")["reason"] == "FieldNotAllowed")
    assert field in operator.condition("Stalled")["message"]
    assert operator.touched == []


async def test_executors_may_have_the_namespace_s_default_account(operator, driver) -> None:
    """The driver's own account has rights; its executors need none."""
    driver.properties["spark.kubernetes.authenticate.executor.serviceAccountName"] = "default"
    document = driver_document(ui_port=driver.port)
    document["spec"]["serviceAccountName"] = "spark-driver"
    operator.pods.put(document)
    operator.allocate(dynamicAllocation={"minExecutors": 1})
    await operator.until(lambda: len(operator.executors) == 1)
    assert operator.executors[0]["spec"]["serviceAccountName"] == "default"


async def test_executors_of_a_driver_without_a_token_go_without_one(operator, driver) -> None:
    document = driver_document(ui_port=driver.port)
    document["spec"]["automountServiceAccountToken"] = False
    operator.pods.put(document)
    operator.allocate(dynamicAllocation={"minExecutors": 1})
    await operator.until(lambda: len(operator.executors) == 1)
    assert operator.executors[0]["spec"]["automountServiceAccountToken"] is False


async def test_the_api_server_s_words_reach_the_condition(operator, driver) -> None:
    from spark_allocation.kube.pods_api import CreateOutcome, CreateResult

    words = 'Pod "x" is invalid: spec.containers[0].image: Required value'
    operator.pods.always("create", CreateOutcome(CreateResult.INVALID, words))
    put_driver(operator, driver)
    operator.allocate(dynamicAllocation={"minExecutors": 1})
    await operator.until(lambda: operator.condition("Stalled")["reason"] == "PodInvalid")
    stalled = operator.condition("Stalled")
    assert stalled["message"].startswith(f"{words}. Correct spec.executor.podTemplate")
    assert stalled["message"].endswith(f"Stalled since {stalled['lastTransitionTime']}.")


# -- which driver -----------------------------------------------------------------------------------------------------


async def test_of_several_live_drivers_none_is_taken_up(operator, driver) -> None:
    for name in ("one", "two"):
        put_driver(operator, driver, name, labels={"app": "etl"})
    operator.allocate(driver={"selector": {"matchLabels": {"app": "etl"}}})
    await operator.until(lambda: operator.condition("AmbiguousDriver")["status"] == "True")
    assert "one, two" in operator.condition("AmbiguousDriver")["message"]
    assert operator.touched == []


async def test_a_driver_that_is_served_goes_on_when_another_matches(operator, driver) -> None:
    put_driver(operator, driver, "one", labels={"app": "etl"})
    runner = operator.allocate(
        driver={"selector": {"matchLabels": {"app": "etl"}}}, dynamicAllocation={"minExecutors": 1}
    )
    await operator.until(lambda: len(operator.executors) == 1)
    put_driver(operator, driver, "two", labels={"app": "etl"})
    await operator.until(lambda: operator.condition("AmbiguousDriver")["status"] == "True")
    operator.pods.remove(operator.executors[0]["metadata"]["name"], "jobs")
    await operator.until(lambda: len(operator.executors) == 1)
    assert operator.allocations.status("job")["driverPod"] == "one"
    operator.pods.remove("two", "jobs")
    await operator.until(lambda: operator.condition("AmbiguousDriver")["status"] == "")
    assert runner.served_uid


async def test_executors_with_the_drivers_labels_are_no_drivers(operator, driver) -> None:
    put_driver(operator, driver, "one", labels={"app": "etl"})
    executor = executor_document(1, allocation_uid="")
    executor["metadata"]["labels"]["app"] = "etl"
    operator.pods.put(executor)
    operator.allocate(
        driver={"selector": {"matchLabels": {"app": "etl"}}}, dynamicAllocation={"minExecutors": 1}
    )
    await operator.until(lambda: len(operator.executors) == 2)


async def test_a_sidecar_that_restarts_changes_nothing(operator, driver) -> None:
    put_driver(operator, driver, containers=("spark-kubernetes-driver", "proxy"), restarts=(0, 0))
    operator.allocate(dynamicAllocation={"minExecutors": 2})
    await operator.until(lambda: len(operator.executors) == 2)
    before = {pod["metadata"]["uid"] for pod in operator.executors}
    statuses = operator.pods.pods["jobs", "driver"]["status"]["containerStatuses"]
    statuses[1]["restartCount"] = 4
    operator.pods.change("driver", "jobs", containerStatuses=statuses)
    await asyncio.sleep(0.2)
    assert {pod["metadata"]["uid"] for pod in operator.executors} == before
    assert operator.pods.made("delete") == []


async def test_a_driver_whose_container_has_ended_is_not_said_to_run(operator, driver) -> None:
    await served(operator, driver, 1)
    statuses = operator.pods.pods["jobs", "driver"]["status"]["containerStatuses"]
    statuses[0] |= {"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    operator.pods.change("driver", "jobs", containerStatuses=statuses)
    await operator.until(lambda: operator.state() == "DriverStarting")
    message = operator.condition("Ready")["message"]
    assert "the container of driver pod driver has ended" in message
    assert "about to start again" in message
    assert len(operator.executors) == 1, "its executors stay"


async def test_a_restarted_driver_gets_new_executors_and_loses_the_old_ones(
    operator, driver
) -> None:
    await served(operator, driver, 2)
    before = {pod["metadata"]["name"] for pod in operator.executors}
    driver.executors = []
    driver.started_at_ms += 60_000
    statuses = operator.pods.pods["jobs", "driver"]["status"]["containerStatuses"]
    statuses[0]["restartCount"] = 1
    operator.pods.change("driver", "jobs", containerStatuses=statuses)
    await operator.until(
        lambda: (
            {
                pod["metadata"]["name"]
                for pod in operator.executors
                if "deletionTimestamp" not in pod["metadata"]
            }.isdisjoint(before)
            and len(operator.executors) == 4
        )
    )
    ids = [
        int(each.details["pod"]["metadata"]["labels"]["spark-exec-id"])
        for each in operator.pods.made("create")
    ]
    assert len(ids) == len(set(ids)) == 4


async def test_executors_that_the_driver_lists_are_never_taken_for_a_former_life(
    operator, driver
) -> None:
    put_driver(operator, driver, uid="driver-uid")
    stray = operator.pods.put(
        executor_document(7, driver_uid="driver-uid", incarnation="computed-otherwise")
    )
    operator.pods.run("app-exec-7", "jobs")
    driver.executors = [driver.executor(7, active=1)]
    driver.work(1)
    operator.allocate(dynamicAllocation={"minExecutors": 1})
    await operator.until(lambda: operator.allocations.status("job").get("executors") == 1)
    await asyncio.sleep(0.1)
    assert stray["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in operator.executors}
    assert operator.pods.made("delete") == []


# -- several SparkAllocations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_gone", [True, False])
async def test_an_older_one_of_another_installation_is_looked_at_before_it_is_in_the_way(
    operator: Operator, driver: FakeDriver, *, is_gone: bool
) -> None:
    put_driver(operator, driver)
    wish = {"driver": {"podName": "driver"}, "dynamicAllocation": {"minExecutors": 2}}
    theirs = operator.allocations.put(
        "theirs", wish | {"managedBy": "blue"}, creationTimestamp="2026-01-01T00:00:00Z"
    )
    others = OtherInstalls(operator.directory)
    others.seen(theirs["metadata"]["uid"], theirs, deleted=False)
    operator.claims = Claims(others)
    operator.around = replace(operator.around, claims=operator.claims)
    if is_gone:  # while the watch was broken
        operator.allocations.remove("theirs")
    operator.allocations.put("job", wish, creationTimestamp="2026-01-01T00:00:09Z")
    operator.start("job")
    await operator.until(
        lambda: operator.condition("Conflicted")["status"] == ("False" if is_gone else "True")
    )
    await operator.until(lambda: len(operator.executors) == (2 if is_gone else 0))


async def test_of_two_the_older_serves_and_the_younger_says_so(operator, driver) -> None:
    put_driver(operator, driver)
    wish = {"driver": {"podName": "driver"}, "dynamicAllocation": {"minExecutors": 2}}
    operator.allocations.put("older", wish, creationTimestamp="2026-01-01T00:00:00Z")
    operator.allocations.put("younger", wish, creationTimestamp="2026-01-01T00:00:09Z")
    operator.start("younger")
    operator.start("older")
    await operator.until(
        lambda: (
            operator.condition("Conflicted", "younger")["status"] == "True"
            and operator.condition("Ready", "older")["status"] == "True"
        )
    )
    assert "older" in operator.condition("Conflicted", "younger")["message"]
    await asyncio.sleep(0.1)
    assert len(operator.executors) == 2


async def test_one_made_in_the_same_second_does_not_take_a_driver_away(operator, driver) -> None:
    put_driver(operator, driver)
    wish = {"driver": {"podName": "driver"}, "dynamicAllocation": {"minExecutors": 1}}
    operator.allocations.put("first", wish, uid="z")
    operator.start("first")
    await operator.until(lambda: operator.condition("Ready", "first")["status"] == "True")
    operator.allocations.put("second", wish, uid="a")
    operator.start("second")
    await operator.until(lambda: operator.condition("Conflicted", "second")["status"] == "True")
    assert operator.condition("Ready", "first")["status"] == "True"


async def test_one_that_is_made_anew_goes_on_with_the_pods_that_are_there(operator, driver) -> None:
    """Orphaned executors are neither doubled nor starved: they still idle out under the new object."""
    await served(operator, driver, 2)
    before = {pod["metadata"]["uid"] for pod in operator.executors}
    operator.tasks.pop().cancel()
    operator.allocations.remove("job")
    operator.allocate(dynamicAllocation={"minExecutors": 2})
    await operator.until(lambda: operator.allocations.status("job").get("executors") == 2)
    await asyncio.sleep(0.1)
    assert {pod["metadata"]["uid"] for pod in operator.executors} == before
    operator.pods.remove(operator.executors[0]["metadata"]["name"], "jobs")
    await operator.until(lambda: len(operator.executors) == 2)
    ids = [
        int(each.details["pod"]["metadata"]["labels"]["spark-exec-id"])
        for each in operator.pods.made("create")
    ]
    assert len(ids) == len(set(ids)), "no id is used again although the status was lost"


# -- stopping ---------------------------------------------------------------------------------------------------------


async def test_an_operator_that_exits_touches_nothing(operator, driver) -> None:
    put_driver(operator, driver)
    driver.work(2)
    operator.allocations.put(
        "job",
        {
            "driver": {"podName": "driver"},
            "deletionPolicy": "Drain",
            "dynamicAllocation": {"minExecutors": 2},
        },
    )
    _, stop, task = operator.start("job")
    await operator.until(lambda: operator.condition("Ready")["status"] == "True")
    operator.pods.calls.clear()
    operator.allocations.calls.clear()
    stop.now()
    await asyncio.wait_for(task, 5)
    await asyncio.sleep(0.05)
    writes = [*operator.touched, *operator.objects.made("delete", "create")]
    assert writes == []
    assert len(operator.executors) == 2


@pytest.mark.parametrize(("policy", "left"), [("Orphan", 2), ("Drain", 0), (None, 2)])
async def test_a_deleted_object_lets_executors_go_as_its_policy_says(
    operator, driver, policy, left
) -> None:
    put_driver(operator, driver)
    driver.work(2)
    spec = {"driver": {"podName": "driver"}, "dynamicAllocation": {"minExecutors": 2}}
    operator.allocations.put("job", {**spec, **({"deletionPolicy": policy} if policy else {})})
    _, stop, task = operator.start("job")
    await operator.until(lambda: len(operator.executors) == 2)
    operator.kubelet(registers_with=driver)
    await operator.until(lambda: operator.allocations.status("job").get("executors") == 2)
    stop.now(deleted=True)
    await asyncio.wait_for(task, 5)
    staying = [p for p in operator.executors if "deletionTimestamp" not in p["metadata"]]
    assert len(staying) == left
    assert {each.details["grace_seconds"] for each in operator.pods.made("delete")} <= {600}


async def test_a_deleted_object_whose_driver_another_one_serves_now_lets_nobody_go(
    operator, driver
) -> None:
    """It served the driver once; an older one has come back since."""
    put_driver(operator, driver)
    driver.work(2)
    spec = {"driver": {"podName": "driver"}, "deletionPolicy": "Drain"}
    operator.allocations.put("job", {**spec, "dynamicAllocation": {"minExecutors": 2}})
    _, stop, task = operator.start("job")
    await operator.until(lambda: len(operator.executors) == 2)
    operator.claims.introduce("older", "2020-01-01T00:00:00Z", "older")
    driver_uid = next(iter(operator.directory.labelled("jobs", {}))).uid
    assert operator.claims.claim(driver_uid, "older") == ""
    await operator.until(lambda: operator.condition("Conflicted")["status"] == "True")
    stop.now(deleted=True)
    await asyncio.wait_for(task, 5)
    assert operator.pods.made("delete") == []


class TestDeletedWhileNoOperatorRan:
    """The object is found with a deletionTimestamp: kopf starts no daemon for it."""

    async def left(self, operator, driver, **spec: Any) -> list[Document]:
        """What stays of two executors after an operator ended, the object was deleted, and another one found it."""
        runner = await served(operator, driver, 2, **spec)
        operator.tasks[-1].cancel()
        await asyncio.gather(operator.tasks[-1], return_exceptions=True)
        operator.pods.calls.clear()
        body = operator.body(runner.name)
        body["metadata"] = {**body["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
        successor = Runners(lambda _claims: operator.around)
        await successor.let_go_unserved(runner.uid, body)
        await successor.let_go_unserved(runner.uid, body)
        return [p for p in operator.executors if "deletionTimestamp" not in p["metadata"]]

    @pytest.mark.parametrize(("policy", "left"), [("Orphan", 2), ("Drain", 0), (None, 2)])
    async def test_its_policy_is_followed(self, operator, driver, policy, left) -> None:
        spec = {"deletionPolicy": policy} if policy else {}
        assert len(await self.left(operator, driver, **spec)) == left

    async def test_with_its_own_grace_and_once(self, operator, driver) -> None:
        wish = {"deletionPolicy": "Drain", "decommission": {"gracePeriod": "42s"}}
        await self.left(operator, driver, **wish)
        assert [each.details["grace_seconds"] for each in operator.pods.made("delete")] == [42, 42]

    async def test_recommending_it_touches_nothing(self, operator, driver) -> None:
        runner = await served(operator, driver, 2, deletionPolicy="Drain")
        body = operator.body(runner.name)
        body["spec"] = {**body["spec"], "mode": "Recommend"}
        operator.pods.calls.clear()
        await Runners(lambda _claims: operator.around).let_go_unserved("another", body)
        assert operator.pods.made("delete") == []

    async def test_one_that_another_object_took_over_from_touches_nothing(
        self, operator, driver
    ) -> None:
        runner = await served(operator, driver, 2, deletionPolicy="Drain")
        body = operator.body(runner.name)
        conflict = {"type": "Conflicted", "status": "True"}
        body["status"] = {**body["status"], "conditions": [conflict]}
        operator.pods.calls.clear()
        await Runners(lambda _claims: operator.around).let_go_unserved("another", body)
        assert operator.pods.made("delete") == []

    async def test_an_application_that_ended_meanwhile_is_swept_whatever_the_policy(
        self, operator, driver
    ) -> None:
        runner = await served(operator, driver, 2)
        operator.tasks[-1].cancel()
        await asyncio.gather(operator.tasks[-1], return_exceptions=True)
        body = operator.body(runner.name)
        operator.pods.change("driver", "jobs", phase="Succeeded")
        await Runners(lambda _claims: operator.around).let_go_unserved(runner.uid, body)
        assert [p for p in operator.executors if "deletionTimestamp" not in p["metadata"]] == []

    async def test_an_api_that_is_away_leaves_them_to_the_driver(self, operator, driver) -> None:
        runner = await served(operator, driver, 2, deletionPolicy="Drain")
        operator.tasks[-1].cancel()
        await asyncio.gather(operator.tasks[-1], return_exceptions=True)
        operator.pods.always("delete", UNANSWERED)
        await Runners(lambda _claims: operator.around).let_go_unserved(
            runner.uid, operator.body(runner.name)
        )
        assert len(operator.executors) == 2


@pytest.mark.parametrize("verb", ["create", "delete"])
async def test_a_call_that_hangs_delays_no_exit(operator, driver, verb) -> None:
    operator.pods.always(verb, HANGS)
    put_driver(operator, driver)
    driver.work(2)
    operator.allocations.put(
        "job",
        {
            "driver": {"podName": "driver"},
            "dynamicAllocation": {"minExecutors": 2},
            "deletionPolicy": "Drain",
        },
    )
    _, stop, task = operator.start("job")
    await operator.until(lambda: operator.pods.made("create"))
    stop.now()
    await asyncio.wait_for(task, 2)


async def test_a_driver_that_hangs_delays_no_exit_and_no_other(operator, driver) -> None:
    async with FakeDriver("spark-hanging") as hanging:
        hanging.behaves = Behaviour.SLOW
        put_driver(operator, hanging, "hanging")
        operator.allocations.put("stuck", {"driver": {"podName": "hanging"}})
        _, stop, task = operator.start("stuck")
        await served(operator, driver, 1)
        stop.now()
        await asyncio.wait_for(task, 2)


async def test_an_object_deleted_while_the_api_was_away_ends_its_runner(operator, driver) -> None:
    put_driver(operator, driver)
    operator.allocations.put(
        "job", {"driver": {"podName": "driver"}, "dynamicAllocation": {"minExecutors": 1}}
    )
    _, _, task = operator.start("job")
    await operator.until(lambda: len(operator.executors) == 1)
    operator.allocations.remove("job")
    operator.kubelet(registers_with=driver)
    await asyncio.wait_for(task, 5)
    assert operator.pods.made("delete") == []


async def test_an_api_server_that_stumbles_over_a_status_ends_nothing(operator, driver) -> None:
    """A status that cannot be written or read is no proof that the object is gone."""
    runner = await served(operator, driver, 1)
    operator.allocations.always("patch_status", UNANSWERED)
    operator.allocations.always("get", UNANSWERED)
    operator.change(runner, dynamicAllocation={"minExecutors": 2})
    await operator.until(lambda: operator.allocations.made("patch_status")[-1])
    await asyncio.sleep(0.1)
    operator.allocations.always("patch_status", None)
    operator.allocations.always("get", None)
    await operator.until(lambda: len(operator.executors) == 2)


async def test_a_refused_status_is_no_storm_and_stops_nothing(
    operator, driver, monkeypatch
) -> None:
    monkeypatch.setattr("spark_allocation.reports.status.AFTER_REFUSAL_SECONDS", 0.5)
    refusal = WriteOutcome(WriteResult.REFUSED, "status.state: too long")
    operator.allocations.always("patch_status", refusal)
    put_driver(operator, driver)
    operator.allocate(dynamicAllocation={"minExecutors": 1})
    await operator.until(lambda: len(operator.executors) == 1)
    written = len(operator.allocations.made("patch_status"))
    await asyncio.sleep(2.0)
    assert 3 <= len(operator.allocations.made("patch_status")) - written <= 5


async def test_an_error_nobody_thought_of_is_said_and_tried_again(
    operator, driver, monkeypatch
) -> None:
    connect = allocation_runner.connect
    failures = iter([RuntimeError("a bug")])

    async def fails_once(*arguments: Any, **named: Any) -> Any:
        for failure in failures:
            raise failure
        return await connect(*arguments, **named)

    monkeypatch.setattr(allocation_runner, "connect", fails_once)
    put_driver(operator, driver)
    operator.allocate(dynamicAllocation={"minExecutors": 1})
    await operator.until(lambda: operator.condition("Ready")["reason"] == "InternalError")
    await operator.until(lambda: operator.condition("Ready")["status"] == "True")


# -- modes ------------------------------------------------------------------------------------------------------------


async def test_recommend_touches_nothing_whatever_happens(operator, driver) -> None:
    """For a driver that allocates for itself: nothing of it is touched, not even what it leaves."""
    driver.properties["spark.dynamicAllocation.executorIdleTimeout"] = "60s"
    pod = put_driver(operator, driver)
    uid = pod["metadata"]["uid"]
    operator.objects.put(
        "persistentvolumeclaims",
        {
            "metadata": {
                "name": "data",
                "labels": {"spark-app-selector": driver.application_id},
                "ownerReferences": [{"uid": uid}],
            }
        },
    )
    driver.work(5)
    operator.allocate(mode="Recommend", dynamicAllocation={"minExecutors": 2})
    await operator.until(lambda: operator.state() == "Recommending")
    operator.pods.change("driver", "jobs", phase="Succeeded")
    await operator.until(lambda: operator.condition("Finished")["status"] == "True")
    assert operator.touched == []
    assert operator.objects.made("delete", "create") == []


async def test_from_recommend_to_allocate_a_driver_must_be_passive(operator, driver) -> None:
    driver.properties["spark.dynamicAllocation.executorIdleTimeout"] = "60s"
    put_driver(operator, driver)
    runner = operator.allocate(mode="Recommend", dynamicAllocation={"minExecutors": 2})
    await operator.until(lambda: operator.condition("Ready")["status"] == "True")
    operator.change(runner, dynamicAllocation={"minExecutors": 2})
    await operator.until(lambda: operator.condition("Ready")["reason"] == "AllocatesItself")
    assert operator.touched == []


async def test_paused_leaves_everything_as_it_is(operator, driver) -> None:
    runner = await served(operator, driver, 2)
    operator.change(runner, mode="Paused", dynamicAllocation={"minExecutors": 5})
    await operator.until(lambda: operator.state() == "Paused")
    operator.pods.calls.clear()
    driver.work(0)
    operator.pods.remove(operator.executors[0]["metadata"]["name"], "jobs")
    await asyncio.sleep(0.15)
    assert operator.touched == []
    operator.change(runner, dynamicAllocation={"minExecutors": 2})
    await operator.until(lambda: len(operator.executors) == 2)


@pytest.mark.parametrize(("delete", "kept"), [(False, True), (True, False), (None, False)])
async def test_ended_pods_are_kept_with_their_logs_only_when_asked_for(
    operator, driver, delete: bool | None, kept: bool
) -> None:
    wish = {} if delete is None else {"executor": {"deleteOnTermination": delete}}
    await served(operator, driver, 2, **wish)
    failed, runs = (each["metadata"]["name"] for each in operator.executors)
    operator.pods.change(failed, "jobs", phase="Failed")
    await operator.until(lambda: operator.allocations.status("job").get("executorEnds"))

    def deleted() -> set[str]:
        return {each.name for each in operator.pods.made("delete")}

    operator.pods.change("driver", "jobs", phase="Succeeded")
    await operator.until(lambda: runs in deleted())
    assert (failed not in deleted()) is kept


async def test_another_driver_in_the_spec_is_served_and_the_former_left_alone(
    operator, driver
) -> None:
    runner = await served(operator, driver, 1)
    async with FakeDriver("spark-second") as second:
        put_driver(operator, second, "second")
        operator.allocations.put(
            "job",
            {"driver": {"podName": "second"}, "dynamicAllocation": {"minExecutors": 1}},
        )
        runner.seen(operator.body("job"))
        await operator.until(lambda: len(operator.executors) == 2)
        assert operator.pods.made("delete") == []


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_another_driver_that_is_not_there_yet_is_waited_for(operator, driver) -> None:
    runner = await served(operator, driver, 1)
    operator.change(runner, driver={"podName": "later"})
    await operator.until(lambda: operator.condition("Ready")["reason"] == "DriverNotFound")
    assert operator.condition("Finished")["status"] == ""


async def test_what_an_application_leaves_is_swept(operator, driver) -> None:
    await served(operator, driver, 2)
    uid = operator.pods.pods["jobs", "driver"]["metadata"]["uid"]
    for kind in ("persistentvolumeclaims", "configmaps"):
        for name, owner in (("ours", uid), ("theirs", "somebody else")):
            labels = {"spark-app-selector": driver.application_id, "spark-role": "executor"}
            document = {"name": name, "labels": labels, "ownerReferences": [{"uid": owner}]}
            operator.objects.put(kind, {"metadata": document})
    stranger = operator.pods.put(executor_document(99, driver_uid=uid, allocation_uid=""))
    operator.pods.change("driver", "jobs", phase="Succeeded")
    await operator.until(
        lambda: all(
            "deletionTimestamp" in pod["metadata"]
            for pod in operator.executors
            if pod is not operator.pods.pods["jobs", stranger["metadata"]["name"]]
        )
    )
    for pod in operator.executors:
        if "deletionTimestamp" in pod["metadata"]:
            operator.pods.remove(pod["metadata"]["name"], "jobs")
    await operator.until(lambda: operator.condition("Finished")["status"] == "True")
    assert [name for _, _, name in operator.objects.objects] == ["theirs", "theirs"]
    assert operator.executors == [stranger]


async def test_a_driver_pod_that_is_being_deleted_keeps_its_executors_until_it_ends(
    operator, driver
) -> None:
    await served(operator, driver, 2)
    document = operator.pods.pods["jobs", "driver"]
    document["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    operator.pods.change("driver", "jobs", phase="Running")
    await operator.until(lambda: operator.state() == "DriverTerminating")
    assert operator.pods.made("delete") == []
    operator.pods.remove("driver", "jobs")
    await operator.until(lambda: operator.condition("Finished")["reason"] == "DriverGone")


async def test_an_object_goes_when_its_time_after_the_end_is_over(operator, driver) -> None:
    put_driver(operator, driver, phase="Succeeded")
    operator.allocate(ttlSecondsAfterFinished=0)
    await operator.until(lambda: ("jobs", "job") not in operator.allocations.objects)


async def test_a_driver_resubmitted_under_the_name_is_served_anew(operator, driver) -> None:
    await served(operator, driver, 1)
    operator.pods.remove("driver", "jobs")
    for pod in operator.executors:
        operator.pods.remove(pod["metadata"]["name"], "jobs")
    await operator.until(lambda: operator.condition("Finished")["status"] == "True")
    driver.executors = []
    driver.started_at_ms += 1000
    put_driver(operator, driver)
    await operator.until(lambda: len(operator.executors) == 1)
    await operator.until(lambda: operator.condition("Finished")["status"] == "")


async def test_pods_stuck_in_termination_hold_up_no_end_for_ever(
    operator, driver, monkeypatch
) -> None:
    monkeypatch.setattr(application_end, "LEFT_TO_KUBELETS_AFTER_SECONDS", 0.1)
    await served(operator, driver, 1)
    operator.pods.change("driver", "jobs", phase="Failed")
    await operator.until(lambda: operator.condition("Finished")["reason"] == "DriverFailed")
    assert len(operator.pods.made("delete")) == 1, "it was told to go once"


# -- no storms --------------------------------------------------------------------------------------------------------


@pytest.fixture
def _paced(quick: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(allocation_runner, "LOOK_AGAIN_SECONDS", 3.0)
    monkeypatch.setattr(allocation_runner, "WHILE_STARTING_SECONDS", 1.0)
    yield


@pytest.mark.usefixtures("_paced")
@pytest.mark.parametrize("behaviour", [Behaviour.GARBAGE, Behaviour.FORBIDDEN, Behaviour.FAILS])
async def test_a_bad_answer_is_no_storm_of_questions(operator, driver, behaviour) -> None:
    """Once every three seconds, one question a port: here, one look within a third of a second."""
    driver.behaves = behaviour
    put_driver(operator, driver)
    operator.allocate(driver={"podName": "driver", "uiPort": driver.port})
    await operator.until(lambda: driver.asked)
    await asyncio.sleep(0.3)
    assert len(driver.asked) <= 2
    assert len(operator.allocations.made("patch_status")) <= 3


async def test_a_profile_that_stays_unknown_is_not_asked_for_every_second(operator, driver) -> None:
    driver.stages = [driver.stage(tasks=3, profile_id=5)]
    driver.gauge = 3
    put_driver(operator, driver)
    operator.allocate()
    await operator.until(lambda: operator.condition("Ready")["status"] == "True")
    await asyncio.sleep(0.3)
    assert len([path for path in driver.asked if path.endswith("/environment")]) <= 3


def test_reasons_are_words_for_programs() -> None:
    assert all(str(reason).isidentifier() for reason in Reason)


# -- policies ---------------------------------------------------------------------------------------------------------


def policy(operator: Operator, name: str = "prod", **spec: Any) -> None:
    """Somebody applies a cluster policy."""
    operator.around.policies.update(
        "cluster",
        {"kind": "ClusterSparkAllocationPolicy", "metadata": {"name": name}, "spec": spec},
    )


def at_most(executors: int) -> Document:
    return {"dynamicAllocation": {"maxExecutors": {"max": executors}}}


async def test_a_policy_limits_and_its_change_acts_on_a_running_application(
    operator: Operator, driver: FakeDriver
) -> None:
    policy(operator, limits=at_most(2))
    put_driver(operator, driver)
    operator.allocate(dynamicAllocation={"minExecutors": 5, "maxExecutors": 9})
    await operator.until(lambda: len(operator.executors) == 2)
    await operator.until(lambda: operator.condition("Limited")["status"] == "True")
    assert (
        "maxExecutors: 9 (SparkAllocation) → 2, upper limit of cluster policy prod"
        in operator.condition("Limited")["message"]
    )
    policy(operator, limits=at_most(4))
    await operator.until(lambda: len(operator.executors) == 4)
    operator.around.policies.replace_all("cluster", [])
    await operator.until(lambda: len(operator.executors) == 5)
    await operator.until(lambda: operator.condition("Limited")["status"] == "")


async def test_the_defaults_of_the_user_and_of_the_label_that_names_another(
    operator: Operator, driver: FakeDriver
) -> None:
    key = "___{}___.spark.dynamicAllocation.minExecutors"
    user = "185"
    policy(operator, userDefaults={key.format(user): "1", key.format("alice"): "3"})
    put_driver(operator, driver)
    operator.allocate()
    await operator.until(lambda: len(operator.executors) == 1)
    operator.pods.relabel("driver", "jobs", **{"sparkallocation.dev/user": "alice"})
    await operator.until(lambda: len(operator.executors) == 3)


async def test_policies_in_conflict_are_told_and_do_not_stop_the_job(
    operator: Operator, driver: FakeDriver
) -> None:
    policy(operator, "a", defaults={"dynamicAllocation": {"minExecutors": 1}})
    policy(operator, "b", defaults={"dynamicAllocation": {"minExecutors": 2}})
    put_driver(operator, driver)
    operator.allocate()
    await operator.until(lambda: len(operator.executors) == 1)
    await operator.until(lambda: operator.condition("PolicyConflict")["status"] == "True")
    assert operator.condition("PolicyConflict")["reason"] == "PoliciesContradict"
    policy(operator, "b", defaults={"dynamicAllocation": {"minExecutors": "two"}})
    await operator.until(
        lambda: "cannot be read" in operator.condition("PolicyConflict")["message"]
    )
    assert "its last good version holds" in operator.condition("PolicyConflict")["message"]


async def test_a_policy_that_heals_a_refused_spec_takes_it_over(
    operator: Operator, driver: FakeDriver
) -> None:
    put_driver(operator, driver)
    runner = operator.allocate(dynamicAllocation={"minExecutors": 1})
    await operator.until(lambda: operator.condition("Ready")["status"] == "True")
    operator.change(
        runner, sparkConf={}, dynamicAllocation={"minExecutors": 2, "initialExecutors": 1}
    )
    policy(operator, limits=at_most(7))
    await operator.until(lambda: len(operator.executors) == 2)


@pytest.mark.parametrize(("name", "executors"), [("spark-*", 1), ("other", 0)])
async def test_a_policy_allows_by_name_what_the_driver_does_not_have(
    operator: Operator, driver: FakeDriver, name: str, executors: int
) -> None:
    policy(operator, allow={"serviceAccounts": [name]})
    put_driver(operator, driver)
    template = {"spec": {"serviceAccountName": "spark-executor"}}
    operator.allocate(dynamicAllocation={"minExecutors": 1}, executor={"podTemplate": template})
    if executors:
        await operator.until(lambda: len(operator.executors) == executors)
        assert operator.executors[0]["spec"]["serviceAccountName"] == "spark-executor"
    else:
        await operator.until(lambda: operator.condition("Stalled")["reason"] == "FieldNotAllowed")


async def test_a_full_quota_is_a_condition_of_its_own_while_it_lasts(operator, driver) -> None:
    put_driver(operator, driver)
    operator.pods.quota = 2  # one of them is the driver
    runner = operator.allocate(dynamicAllocation={"minExecutors": 3})
    await operator.until(lambda: operator.condition("QuotaExceeded")["status"] == "True")
    assert operator.condition("Stalled")["reason"] == "QuotaExceeded"
    operator.change(runner, dynamicAllocation={"minExecutors": 1, "maxExecutors": 1})
    await operator.until(lambda: operator.condition("QuotaExceeded")["status"] == "")
