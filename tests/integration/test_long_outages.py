"""An API server that is away for long: whoever waits for it must not have grown so patient that its return is missed."""

import time
from pathlib import Path

import pytest
from tests.cluster import Cluster
from tests.faults.between import between
from tests.faults.fault_proxy import Passage
from tests.faults.fault_schedule import Fate, Fault, Kind
from tests.integration.operator_world import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
REFUSED_LISTS = 24
"""By then each of the three watches of pods has been refused eight times: its pauses have become as long as they get."""
STABLE_WITHIN_SECONDS = 30.0


class Outage:
    """The API server answers 503 to everything."""

    def __init__(self) -> None:
        self.refused_lists = 0
        self.lasts = True

    def __call__(self, passage: Passage) -> Fate | None:
        if not self.lasts:
            return None
        self.refused_lists += passage.kind is Kind.LIST and passage.path.endswith("/pods")
        return Fate(Fault.UNAVAILABLE)

    async def has_been_long(self) -> None:
        async def enough() -> bool:
            return self.refused_lists >= REFUSED_LISTS

        await eventually(enough, "the pods have been asked for often, in vain", within=400)


async def test_an_operator_that_starts_in_a_long_outage_works_within_half_a_minute_of_its_end(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with between(cluster, tmp_path) as way:
        await way.allocate(2)
        outage = way.fate = Outage()
        operator = way.start()
        await outage.has_been_long()
        outage.lasts = False
        since = time.monotonic()
        await way.executors(2, within=STABLE_WITHIN_SECONDS)
        print(f"executors are there {time.monotonic() - since:.1f} s after the outage")
        assert operator.process.poll() is None


async def test_what_changed_in_a_long_outage_is_caught_up_with_within_half_a_minute_of_its_end(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with between(cluster, tmp_path) as way:
        operator = way.start()
        await way.allocate(2)
        before = await way.executors(2, within=60)
        outage = way.fate = Outage()
        way.proxy.break_watches()
        lost = (await way.world.pods())[0]["metadata"]["name"]
        await way.world.did("DELETE", f"{way.world.pods_path}/{lost}")
        await way.want(3)
        await outage.has_been_long()
        outage.lasts = False
        since = time.monotonic()
        after = await way.executors(3, within=STABLE_WITHIN_SECONDS)
        print(f"executors are there {time.monotonic() - since:.1f} s after the outage")
        assert len(after & before) == 1
        assert operator.process.poll() is None
