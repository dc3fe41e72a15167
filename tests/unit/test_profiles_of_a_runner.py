"""spec.profiles on a running application: the profiles come later than the SparkAllocation, and its entries change."""

from typing import Any

import pytest
from tests.unit.runner_world import Document, Operator, put_driver

from spark_allocation.testing.driver import FakeDriver

pytestmark = pytest.mark.usefixtures("quick")
WIDE = {"resources": {"cores": 4}}


def of_profile(operator: Operator, profile_id: int) -> list[Document]:
    return [
        pod
        for pod in operator.executors
        if pod["metadata"]["labels"]["spark-exec-resourceprofile-id"] == str(profile_id)
    ]


def stages(driver: FakeDriver, **tasks: int) -> None:
    """Waiting tasks by profile."""
    driver.stages = [
        driver.stage(tasks=count, stage_id=int(name[1:]), profile_id=int(name[1:]))
        for name, count in tasks.items()
    ]
    driver.jobs = [0]


def entries(*profiles: Document) -> Document:
    return {
        "dynamicAllocation": {"maxExecutors": 6, "schedulerBacklogTimeout": "1s"},
        "allocation": {"rampUp": "Immediate"},
        "profiles": list(profiles),
    }


async def test_a_profile_that_comes_later_gets_the_bounds_of_its_entry(
    operator: Operator, driver: FakeDriver
) -> None:
    put_driver(operator, driver)
    runner = operator.allocate(**entries({"match": WIDE, "maxExecutors": 2}))
    await operator.until(lambda: operator.condition("ProfilesMatched")["status"] == "False")
    assert "profiles[0] (cores 4) is for none" in operator.condition("ProfilesMatched")["message"]
    # when a stage comes whose profile asks for four cores
    driver.profiles = [driver.profile(0), driver.profile(1, cores=4)]
    stages(driver, p0=9, p1=9)
    await operator.until(lambda: len(of_profile(operator, 0)) == 6)
    await operator.until(lambda: len(of_profile(operator, 1)) == 2)
    assert operator.condition("ProfilesMatched")["status"] == "True"
    assert (
        "profiles[0] is for resource profile 1" in operator.condition("ProfilesMatched")["message"]
    )
    # and when the entry changes, while it runs
    operator.change(runner, **entries({"match": WIDE, "maxExecutors": 3}))
    await operator.until(lambda: len(of_profile(operator, 1)) == 3)
    assert len(of_profile(operator, 0)) == 6


async def test_pods_of_a_profile_start_from_the_template_of_its_entry(
    operator: Operator, driver: FakeDriver
) -> None:
    put_driver(operator, driver)
    driver.profiles = [driver.profile(0), driver.profile(1, cores=4)]
    stages(driver, p0=1, p1=1)
    template: dict[str, Any] = {"metadata": {"labels": {"of": "the-entry"}}, "spec": {}}
    operator.allocate(**entries({"match": WIDE, "podTemplate": template}))
    await operator.until(lambda: of_profile(operator, 0) and of_profile(operator, 1))
    assert of_profile(operator, 1)[0]["metadata"]["labels"]["of"] == "the-entry"
    assert "of" not in of_profile(operator, 0)[0]["metadata"]["labels"]


async def test_two_entries_that_match_equally_well_are_told(
    operator: Operator, driver: FakeDriver
) -> None:
    put_driver(operator, driver)
    driver.profiles = [driver.profile(0), driver.profile(1, cores=4)]
    operator.allocate(
        **entries({"match": WIDE, "maxExecutors": 2}, {"match": WIDE, "maxExecutors": 5})
    )
    await operator.until(
        lambda: operator.condition("ProfilesMatched")["reason"] == "SeveralEntriesMatch"
    )
    assert "profiles[0] stands first and holds" in operator.condition("ProfilesMatched")["message"]


async def test_an_image_that_the_driver_pod_does_not_have_is_refused(
    operator: Operator, driver: FakeDriver
) -> None:
    put_driver(operator, driver)
    driver.work(1)
    operator.allocate(executor={"image": "somebody/else:1"})
    await operator.until(lambda: operator.condition("Stalled")["reason"] == "FieldNotAllowed")
    assert "image" in operator.condition("Stalled")["message"]
    assert operator.executors == []
