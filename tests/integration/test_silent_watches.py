"""A watch that says nothing any more, over a connection that stays open: as behind a load balancer that forgot it."""

import time
from pathlib import Path

import pytest
from tests.cluster import Cluster
from tests.faults.between import between, is_kopf_watch
from tests.faults.fault_proxy import Passage
from tests.faults.fault_schedule import Fate, Fault, Kind
from tests.integration.operator_world import eventually

from spark_allocation.kube.api_client import WATCH_SILENCE_SECONDS

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
KOPF_SILENCE_SECONDS = 70
"""``settings.watching.inactivity_timeout`` of kopf."""


async def test_watches_that_fall_silent_for_good_are_asked_for_anew_within_their_bounds(
    cluster: Cluster, tmp_path: Path
) -> None:
    """No error, no end, no byte: what happens meanwhile is known once the silence has lasted too long."""
    async with between(cluster, tmp_path) as way:
        operator = way.start()
        await way.allocate(2)
        before = await way.executors(2)
        silent: list[Passage] = []
        falls_silent = True

        def fate(passage: Passage) -> Fate | None:
            if passage.kind is not Kind.WATCH or not falls_silent:
                return None
            silent.append(passage)
            return Fate(Fault.SILENT, seconds=3600)

        way.fate = fate
        way.proxy.break_watches()

        async def all_are_silent() -> bool:
            pods = [each for each in silent if each.path.endswith("/pods")]
            return len(pods) >= 2 and any(map(is_kopf_watch, silent))

        await eventually(all_are_silent, "the watches are silent", within=30)
        falls_silent = False
        since = time.monotonic()
        name = (await way.world.pods())[0]["metadata"]["name"]
        await way.world.did("DELETE", f"{way.world.pods_path}/{name}")
        await way.want(3)

        async def more_are_wanted() -> bool:
            return (await way.world.status("job"))["target"] == 3

        await eventually(
            more_are_wanted, "the new minimum is known", within=KOPF_SILENCE_SECONDS + 20
        )
        wanted_after = time.monotonic() - since
        after = await way.executors(3, within=WATCH_SILENCE_SECONDS + 20)
        made_after = time.monotonic() - since
        print(
            f"the new minimum was known after {wanted_after:.0f} s, the lost pod after {made_after:.0f} s"
        )
        assert wanted_after > 10
        assert made_after > 10
        assert len(after & before) == 1
        assert len(set(await way.ids())) == 3
        assert operator.process.poll() is None
