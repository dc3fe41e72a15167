"""A short form of `bench_many`: what must hold on any machine, as counts and as CPU time of an operation."""

import argparse
from collections.abc import Iterator

import pytest
from tests.perf import aims
from tests.perf.bench_many import (
    WATCHES_OF_PODS,
    completed,
    restarted,
    steady,
    until_it_stands_by,
)
from tests.perf.many_processes import WorldProcess, operator_of
from tests.perf.many_world import Load

APPLICATIONS = 20
EACH = 3
PATIENCE_SECONDS = 900.0
CPU_MS_PER_DRIVER_REQUEST = 4.0
"""Everything that the operator does, for each request to a driver: four times what ten applications take (docs/performance.md)."""
STATUSES_PER_SECOND = aims.STATUSES_PER_SECOND.bound


@pytest.fixture
def world() -> Iterator[WorldProcess]:
    with WorldProcess(Load(APPLICATIONS, APPLICATIONS * EACH)) as playing:
        yield playing


def listed_for_each(requests: dict[str, int]) -> set[str]:
    """What is listed as often as there are drivers: what a driver has made for its executors is found by its labels alone."""
    return {
        name
        for name, count in requests.items()
        if name.startswith("list ") and count >= APPLICATIONS
    }


def test_at_work_nothing_is_listed_and_a_request_costs_little(world: WorldProcess) -> None:
    options = argparse.Namespace(jobs=2.0, settle=3.0, seconds=8.0)
    with operator_of(world, idle_poll_seconds="1", creates_per_second="1000") as operator:
        completed(world, operator, PATIENCE_SECONDS)
        found = steady(world, operator, options)
    assert found["jobs"] > 0, found
    assert found["lists"] == 0, found["requests"]
    assert found["cpu_ms_per_driver_request"] < CPU_MS_PER_DRIVER_REQUEST, found
    assert found["most_statuses_in_a_second"] <= STATUSES_PER_SECOND + 1, found


def test_after_a_restart_pods_are_listed_once_for_all_and_none_is_made_again(
    world: WorldProcess,
) -> None:
    with operator_of(world, creates_per_second="1000") as operator:
        completed(world, operator, PATIENCE_SECONDS)
        operator.kill()
    world.ask("begin")
    with operator_of(world, creates_per_second="1000") as operator:
        found = restarted(world, operator, APPLICATIONS, PATIENCE_SECONDS)
    assert found["requests"]["list pods"] == WATCHES_OF_PODS, found["requests"]
    assert listed_for_each(found["requests"]) == {"list configmaps"}, found["requests"]
    assert found["pods_made"] == 0, found


def test_a_standby_lists_what_its_leader_has_made_before_it_serves(world: WorldProcess) -> None:
    settings = {"creates_per_second": "1000", "lease_name": "leader"}
    with operator_of(world, leads=True, **settings) as leader:
        leader.until("lease_taken", within_seconds=PATIENCE_SECONDS)
        completed(world, leader, PATIENCE_SECONDS)
        world.ask("begin")
        with operator_of(world, leads=True, **settings) as standby:
            until_it_stands_by(world, standby, PATIENCE_SECONDS)
            world.ask("begin")
            leader.end()
            found = restarted(world, standby, APPLICATIONS, PATIENCE_SECONDS)
            log = standby.log.read_text()
    assert found["requests"]["list pods"] == 1, "the watch that was warm lists once more, for all"
    assert listed_for_each(found["requests"]) == {"list configmaps"}, found["requests"]
    assert found["pods_made"] == 0, found
    assert log.index('"lease_taken"') < log.index('"synced"') < log.index('"driver_served"')
