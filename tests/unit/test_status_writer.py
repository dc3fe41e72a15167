"""What a StatusWriter writes, and when: small, and in its turn."""

from spark_allocation.api.v1alpha1 import SparkAllocationStatus
from spark_allocation.kube.pacing import StatusPacer
from spark_allocation.kube.status_size import LONGEST_TEXT
from spark_allocation.reports.status import StatusWriter
from spark_allocation.testing.objects import FakeAllocationsApi

NOW = 1000.0


class Written:
    def __init__(self, pacer: StatusPacer) -> None:
        self.api = FakeAllocationsApi()
        self.pacer = pacer

    def writer(self, name: str) -> StatusWriter:
        uid = self.api.put(name, {})["metadata"]["uid"]
        return StatusWriter(self.api, "jobs", name, uid, {}, pacer=self.pacer)


async def test_what_a_driver_says_of_itself_is_cut_before_it_is_written() -> None:
    world = Written(StatusPacer(50))
    status = SparkAllocationStatus(state="Running", application_id="a" * 100_000)
    assert await world.writer("job").write(status, now=NOW) == 0.0
    assert len(world.api.status("job")["applicationId"]) == LONGEST_TEXT


async def test_a_status_whose_turn_has_not_come_is_written_when_it_comes() -> None:
    world = Written(StatusPacer(1))
    first, second = world.writer("first"), world.writer("second")
    status = SparkAllocationStatus(state="Running")
    assert await first.write(status, now=NOW) == 0.0
    assert await second.write(status, now=NOW) == 1.0
    assert world.api.status("second") == {}
    assert await second.write(status, now=NOW + 1.0) == 0.0
    assert world.api.status("second")["state"] == "Running"


async def test_who_has_nothing_to_say_takes_no_turn() -> None:
    world = Written(StatusPacer(1))
    first, second = world.writer("first"), world.writer("second")
    assert await first.write(SparkAllocationStatus(), now=NOW) == 0.0
    assert await second.write(SparkAllocationStatus(state="Running"), now=NOW) == 0.0
