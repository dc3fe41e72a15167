"""What the first tasks of an executor took longer belongs to the executor: it is paid again by each that starts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.event_log_builder import EventLog

from spark_allocation.controller.what_if import as_recorded, cluster_of, recorded_outcome, simulated
from spark_allocation.core.simulation.application import RecordedApplication
from spark_allocation.sources.event_log.log_files import find_logs
from spark_allocation.sources.event_log.reading import read_log


def read(log: EventLog, folder: Path) -> RecordedApplication:
    path = folder / "log"
    path.write_text(log.text)
    (files,) = find_logs(str(path))
    return read_log(files).application


def one_stage(seconds: list[float], executors: list[str], **about: object) -> EventLog:
    """Tasks one after the other on executors of one core, each on the one that is free first."""
    log = EventLog(**about)  # type: ignore[arg-type]
    for each in executors:
        log.executor_added(each, 1, requested_at=0.5)
    stage = log.stage(0, len(seconds))
    log.job_start(0, 2, [stage])
    end = log.run_stage(stage, 2, seconds, executors)
    log.job_end(0, end)
    log.application_end(end)
    return log


def warm_ups(application: RecordedApplication) -> list[int | None]:
    return [each.warm_up_ms for each in application.run.executors]


def test_what_first_tasks_took_longer_is_taken_out_of_them(tmp_path: Path) -> None:
    # given tasks of a second, of which the first on each executor took two and three more
    application = read(one_stage([3, 4, 1, 1, 1, 1, 1, 1], ["1", "2"]), tmp_path)
    assert warm_ups(application) == [2000, 3000]
    assert list(application.stages[0].durations_ms) == [1000] * 8


def test_tasks_that_begin_beside_the_first_one_are_cold_too_and_the_least_counts(
    tmp_path: Path,
) -> None:
    log = EventLog()
    stage = log.stage(0, 12)
    log.job_start(0, 2, [stage])
    log.stage_submitted(stage, 2)
    for executor, first in (("1", 0), ("2", 2)):
        log.executor_added(executor, 1, cores=2)
        for place, seconds in ((first, 3.0), (first + 1, 3.5)):
            log.task_start(stage, place, executor, 2)
            log.task_end(stage, place, executor, 2, 2 + seconds)
    for place in range(4, 12):
        log.task_start(stage, place, "1", 10 + place)
        log.task_end(stage, place, "1", 10 + place, 11 + place)
    log.stage_completed(stage, 30)
    log.job_end(0, 30)
    application = read(log, tmp_path)
    assert warm_ups(application) == [2000, 2000]
    assert list(application.stages[0].durations_ms)[:5] == [1000, 1500, 1000, 1500, 1000]


def test_a_large_first_task_is_not_taken_for_a_long_warm_up(tmp_path: Path) -> None:
    # given three executors that warm up for a second, and a first task with ten more of work
    application = read(one_stage([12, 2, 2, *[1] * 20], ["1", "2", "3"]), tmp_path)
    assert warm_ups(application) == [1000, 1000, 1000]
    assert list(application.stages[0].durations_ms)[:4] == [11_000, 1000, 1000, 1000]


def test_tasks_in_the_order_of_their_sizes_are_compared_with_their_neighbours(
    tmp_path: Path,
) -> None:
    # given files from the largest to the smallest, and executors that warm up for half a second
    sizes = [10 - number / 4 for number in range(36)]
    first = [sizes[0] + 0.5, sizes[1] + 0.5]
    application = read(one_stage([*first, *sizes[2:]], ["1", "2"]), tmp_path)
    # then the first ones are not taken for as much longer as they are larger than the middle one
    assert all(500 <= (each or 0) <= 1500 for each in warm_ups(application))


@pytest.mark.parametrize(
    ("seconds", "executors"),
    [([5, 1, 1, 1], ["1"]), ([5, 4], ["1", "2"]), ([5, 4, 1], ["1", "2"])],
)
def test_where_nobody_can_be_compared_nothing_is_said(
    tmp_path: Path, seconds: list[float], executors: list[str]
) -> None:
    application = read(one_stage(seconds, executors), tmp_path)
    assert warm_ups(application) == [None] * len(executors)
    assert list(application.stages[0].durations_ms) == [round(each * 1000) for each in seconds]


@hypothesis_settings(deadline=None, max_examples=30)
@given(
    work=st.lists(st.integers(min_value=200, max_value=4000), min_size=4, max_size=24),
    cold=st.lists(st.integers(min_value=0, max_value=5000), min_size=1, max_size=4),
)
def test_the_same_run_simulated_takes_as_long_as_it_did(
    tmp_path_factory: pytest.TempPathFactory, work: list[int], cold: list[int]
) -> None:
    seconds = [
        (each + (cold[place] if place < len(cold) else 0)) / 1000 for place, each in enumerate(work)
    ]
    fixed = {"spark.dynamicAllocation.enabled": "false", "spark.executor.instances": str(len(cold))}
    log = one_stage(seconds, [str(number + 1) for number in range(len(cold))], properties=fixed)
    application = read(log, tmp_path_factory.mktemp("log"))
    assert sum(application.stages[0].durations_ms) + sum(
        each or 0 for each in warm_ups(application)
    ) == round(sum(seconds) * 1000)
    outcome = simulated(application, as_recorded(application), cluster_of(application))
    recorded = recorded_outcome(application)
    # but for chance, which executor gets which task
    most = max((each or 0 for each in warm_ups(application)), default=0)
    assert abs(outcome.makespan_ms - recorded.makespan_ms) <= 300 + 2 * most
