"""What is kept of driver pods that no watch covers."""

from spark_allocation.api.v1alpha1 import Driver
from spark_allocation.controller.driver_directory import DriverDirectory
from spark_allocation.controller.driver_finding import DriverFinder, NoDriver
from spark_allocation.testing.pods import FakePodsApi


async def test_drivers_that_are_asked_for_in_vain_leave_nothing_behind() -> None:
    directory = DriverDirectory()
    finder = DriverFinder(directory, FakePodsApi())
    for night in range(3):
        found = await finder.find("jobs", Driver(pod_name=f"nightly-{night}-driver"))
        assert isinstance(found, NoDriver)
    assert directory.scopes == 0
