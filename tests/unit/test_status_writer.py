"""What a StatusWriter writes, and when: small, and in its turn."""

import pytest

from spark_allocation.api.v1alpha1 import SparkAllocationStatus
from spark_allocation.kube.api_client import ApiUnavailable
from spark_allocation.kube.pacing import StatusPacer
from spark_allocation.kube.status_size import LONGEST_TEXT
from spark_allocation.kube.write_outcomes import WriteOutcome, WriteResult
from spark_allocation.reports.status import StatusWriter
from spark_allocation.testing.faults import UNANSWERED
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


async def test_a_status_that_is_refused_is_tried_again_after_a_while() -> None:
    world = Written(StatusPacer(50))
    world.api.will("patch_status", WriteOutcome(WriteResult.REFUSED, "forbidden"))
    writer, status = world.writer("job"), SparkAllocationStatus(state="Running")
    for second in range(30):
        await writer.write(status, now=NOW + second)
    assert len(world.api.made("patch_status")) == 1
    assert await writer.write(status, now=NOW + 30) == 0.0
    assert world.api.status("job")["state"] == "Running"


async def test_a_status_that_says_the_same_again_is_not_written_again() -> None:
    world = Written(StatusPacer(50))
    writer = world.writer("job")
    for moment in (NOW, NOW + 100, NOW + 200):
        status = SparkAllocationStatus(state="Running", executors=3)
        assert await writer.write(status, now=moment) == 0.0
    assert len(world.api.made("patch_status")) == 1


async def test_a_field_that_is_taken_away_later_goes_though_all_else_is_the_same() -> None:
    world = Written(StatusPacer(50))
    uid = world.api.put("job", {})["metadata"]["uid"]
    stored = {"state": "Running", "finishedAt": "2026-01-01T00:00:00Z"}
    world.api.objects["jobs", "job"]["status"] = dict(stored)
    writer = StatusWriter(world.api, "jobs", "job", uid, stored, pacer=world.pacer)
    await writer.write(SparkAllocationStatus(state="Running"), now=NOW)
    assert world.api.status("job") == stored, "nobody said anything of it"
    await writer.write(SparkAllocationStatus(state="Running", finished_at=None), now=NOW + 100)
    assert world.api.status("job") == {"state": "Running"}


async def test_what_could_not_be_written_is_written_when_it_is_said_again() -> None:
    world = Written(StatusPacer(50))
    writer = world.writer("job")
    world.api.will("patch_status", UNANSWERED)
    status = SparkAllocationStatus(state="Running")
    with pytest.raises(ApiUnavailable):
        await writer.write(status, now=NOW)
    await writer.write(status, now=NOW + 100)
    assert world.api.status("job")["state"] == "Running"
