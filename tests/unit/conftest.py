"""What tests of runners begin with (`tests.unit.runner_world`), and what properties are tried with."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
from hypothesis import HealthCheck, settings
from tests.unit.runner_world import Operator, running
from tests.unit.virtual_time import VirtualTimeLoop, virtual_time_loop

from spark_allocation.controller import allocation_runner, application_end, driver_life
from spark_allocation.testing.driver import FakeDriver

# A rule is not broken because the machine that tries it is busy: no example is judged by its time.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that `virtual_time` needs, and the ordinary one for all others."""
    if isinstance(item, pytest.Function) and "virtual_time" in item.fixturenames:
        return {"virtual": virtual_time_loop}
    return {"real": asyncio.new_event_loop}


@pytest.fixture
async def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only while everybody waits: a busy machine makes no difference, and nobody sleeps. Not for threads."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        return  # a test that awaits nothing
    monkeypatch.setattr(time, "monotonic", loop.time)
    monkeypatch.setattr(time, "monotonic_ns", lambda: round(loop.time() * 1e9))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same behaviour, twenty times as fast."""
    monkeypatch.setattr(allocation_runner, "LOOK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(allocation_runner, "WHILE_STARTING_SECONDS", 0.05)
    monkeypatch.setattr(allocation_runner, "LONG_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(allocation_runner, "STOP_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(driver_life, "SHORTEST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(driver_life, "AFTER_API_FAILURE_SECONDS", 0.02)
    monkeypatch.setattr(application_end, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("spark_allocation.reports.status.CHANGES_EVERY_SECONDS", 0.0)
    monkeypatch.setattr("spark_allocation.reports.status.COUNTS_EVERY_SECONDS", 0.02)


@pytest.fixture
async def operator(virtual_time: None) -> AsyncIterator[Operator]:
    async with running() as everything:
        yield everything


@pytest.fixture
async def driver(virtual_time: None) -> AsyncIterator[FakeDriver]:
    async with FakeDriver() as fake:
        fake.properties["spark.kubernetes.allocation.batch.delay"] = "101ms"
        yield fake
