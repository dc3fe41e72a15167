"""What tests of runners begin with (`tests.unit.runner_world`), and what properties are tried with."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings
from tests.unit.runner_world import Operator, running

from spark_allocation.controller import allocation_runner, application_end, driver_life
from spark_allocation.testing.driver import FakeDriver

# A rule is not broken because the machine that tries it is busy: no example is judged by its time.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


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
async def operator() -> AsyncIterator[Operator]:
    async with running() as everything:
        yield everything


@pytest.fixture
async def driver() -> AsyncIterator[FakeDriver]:
    async with FakeDriver() as fake:
        fake.properties["spark.kubernetes.allocation.batch.delay"] = "101ms"
        yield fake
