"""A short form of `bench_many`: what must hold on any machine, as counts and as CPU time of an operation."""

import argparse
from collections.abc import Iterator

import pytest
from tests.perf.bench_many import completed, steady
from tests.perf.many_processes import WorldProcess, operator_of

APPLICATIONS = 20
EACH = 3
PATIENCE_SECONDS = 300.0
CPU_MS_PER_DRIVER_REQUEST = 6.0
"""Everything that the operator does, for each request to a driver. Three times what it is; with the fixed costs of a
process that serves twenty applications, so that a thousand have less."""
STATUSES_PER_SECOND = 50


@pytest.fixture
def world() -> Iterator[WorldProcess]:
    with WorldProcess(APPLICATIONS, APPLICATIONS * EACH) as playing:
        yield playing


def test_at_work_nothing_is_listed_and_a_request_costs_little(world: WorldProcess) -> None:
    options = argparse.Namespace(jobs=2.0, settle=3.0, seconds=8.0)
    with operator_of(world, idle_poll_seconds="1", creates_per_second="1000") as operator:
        completed(world, operator, PATIENCE_SECONDS)
        found = steady(world, operator, options)
    assert found["jobs"] > 0, found
    assert found["lists"] == 0, found["requests"]
    assert found["cpu_ms_per_driver_request"] < CPU_MS_PER_DRIVER_REQUEST, found
    assert found["most_statuses_in_a_second"] <= STATUSES_PER_SECOND + 1, found
