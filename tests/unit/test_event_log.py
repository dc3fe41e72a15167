"""What is read from an event log, whole or damaged, of whichever version."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.event_log_builder import EPOCH_MS, EventLog, rdd

from spark_allocation.controller.what_if import as_recorded, cluster_of, simulated
from spark_allocation.core.simulation.application import Follows, RecordedApplication
from spark_allocation.sources.event_log.log_files import LogFiles, NoLog, find_logs
from spark_allocation.sources.event_log.log_notes import LogNotes
from spark_allocation.sources.event_log.reading import ReadLog, read_log


def read(log: EventLog | str, tmp_path: Path) -> ReadLog:
    path = tmp_path / "log"
    path.write_text(log if isinstance(log, str) else log.text)
    (files,) = find_logs(str(path))
    return read_log(files)


def two_jobs(**about: object) -> EventLog:
    """A map stage and a reduce stage; a second later a job of one stage; a second later the end."""
    log = EventLog(**about)  # type: ignore[arg-type]
    log.executor_added("1", 3.0, requested_at=1.0)
    log.executor_added("2", 4.0, requested_at=1.0)
    maps, reduces = log.stage(0, 4), log.stage(1, 2, parents=[0])
    log.job_start(0, 5.0, [maps, reduces])
    at = log.run_stage(maps, 5.0, [1, 2, 1, 2], ["1", "2"], writes=True)
    at = log.run_stage(reduces, at + 0.1, [1, 1], ["1", "2"])
    log.job_end(0, at)
    last = log.stage(2, 3)
    log.job_start(1, at + 1, [last])
    at = log.run_stage(last, at + 1, [0.5] * 3, ["1", "2"])
    log.job_end(1, at + 0.05)
    log.executor_removed("2", at + 0.5)
    log.application_end(at + 1)
    return log


# -- a whole log ------------------------------------------------------------------------------------------------------


def test_stages_have_their_tasks_durations_and_parents(tmp_path: Path) -> None:
    application = read(two_jobs(), tmp_path).application
    assert {
        stage.stage_id: (list(stage.durations_ms), stage.parents, stage.writes_shuffle)
        for stage in application.stages.values()
    } == {
        0: ([1000, 2000, 1000, 2000], (), True),
        1: ([1000, 1000], (0,), False),
        2: ([500, 500, 500], (), False),
    }


def test_pauses_of_the_driver_are_kept(tmp_path: Path) -> None:
    application = read(two_jobs(), tmp_path).application
    assert [job.follows for job in application.jobs] == [Follows(0, 5000), Follows(1, 1000)]
    assert application.stages[1].pause_ms == 100
    assert [job.tail_ms for job in application.jobs] == [0, 50]
    assert application.tail_ms == 950


def test_executors_and_what_they_did_are_the_recorded_run(tmp_path: Path) -> None:
    application = read(two_jobs(), tmp_path).application
    run = application.run
    assert [(each.executor_id, each.added_ms, each.start_ms) for each in run.executors] == [
        ("1", 3000, 2000),
        ("2", 4000, 3000),
    ]
    assert run.executors[1].removed_ms is not None
    assert run.busy_ms == 6000 + 2000 + 1500
    assert run.timeline.peak_executors == 2
    assert read(two_jobs(), tmp_path).notes.sentences() == []


def test_how_long_an_executor_needs_for_its_first_task_is_known_where_tasks_waited(
    tmp_path: Path,
) -> None:
    log = EventLog()
    log.executor_added("1", 1)
    stage = log.stage(0, 3)
    log.job_start(0, 5, [stage])
    log.stage_submitted(stage, 5)
    log.task_start(stage, 0, "1", 5)
    log.executor_added("2", 6)
    log.task_start(stage, 1, "2", 6.4)
    log.task_start(stage, 2, "2", 8)
    executors = read(log, tmp_path).application.run.executors
    assert [each.first_task_ms for each in executors] == [None, 400]


def test_what_the_application_is_called_and_set_to(tmp_path: Path) -> None:
    properties = {"spark.dynamicAllocation.maxExecutors": "7"}
    application = read(two_jobs(properties=properties, name="etl"), tmp_path).application
    assert (application.name, application.application_id) == ("etl", "spark-0123456789abcdef")
    assert application.spark_version == "4.1.4"
    assert application.properties["spark.dynamicAllocation.maxExecutors"] == "7"
    assert application.started_at_ms == EPOCH_MS
    assert application.ended


@pytest.mark.parametrize("spark", ["3.0.3", "3.5.7", "4.0.1", "4.1.4"])
def test_logs_of_several_versions_tell_the_same(tmp_path: Path, spark: str) -> None:
    application = read(two_jobs(spark=spark), tmp_path).application
    assert application.num_tasks == 9
    assert {stage.profile_id for stage in application.stages.values()} == {0}


def test_resource_profiles_are_read(tmp_path: Path) -> None:
    log = EventLog()
    log.profile(1, cores=4, gpus=2)
    stage = log.stage(0, 2, profile=1)
    log.job_start(0, 1, [stage])
    log.job_end(0, log.run_stage(stage, 1, [1, 1], ["1"]))
    application = read(log, tmp_path).application
    (profile,) = application.profiles
    assert {name: each.amount for name, each in profile.executor_resources.items()} == {
        "cores": 4,
        "memory": 1024,
        "offHeap": 0,
        "gpu": 2,
    }
    assert application.stages[0].profile_id == 1


def test_a_stage_that_was_skipped_is_the_one_that_ran_before(tmp_path: Path) -> None:
    """A later job reads the same shuffle: Spark gives its map stage a new id and skips it."""
    log = EventLog()
    maps = log.stage(0, 2, rdds=[rdd(7)])
    log.job_start(0, 1, [maps])
    log.job_end(0, log.run_stage(maps, 1, [1, 1], ["1"], writes=True))
    skipped = log.stage(1, 2, rdds=[rdd(7)])
    reduces = log.stage(2, 1, parents=[1], rdds=[rdd(9)])
    log.job_start(1, 5, [skipped, reduces])
    log.job_end(1, log.run_stage(reduces, 5, [1], ["1"]))
    application = read(log, tmp_path).application
    assert application.stages[2].parents == (0,)
    assert (application.jobs[1].stage_ids, application.jobs[1].reads) == ((2,), (0,))


def test_cached_rdds_are_those_with_a_storage_level_the_nearest_first(tmp_path: Path) -> None:
    log = EventLog()
    stage = log.stage(0, 1, rdds=[rdd(5), rdd(2, cached=True), rdd(3, cached=True), rdd(1)])
    log.job_start(0, 1, [stage])
    log.job_end(0, log.run_stage(stage, 1, [1], ["1"]))
    log.unpersist(2)
    application = read(log, tmp_path).application
    assert application.stages[0].cached_rdds == (3, 2)
    assert [(each.rdd_id, each.follows.jobs) for each in application.unpersists] == [(2, 1)]


def test_batches_of_a_streaming_query_keep_their_time(tmp_path: Path) -> None:
    log = EventLog()
    for batch, begin in enumerate((10, 20, 30)):
        stage = log.stage(batch, 2)
        properties = {"sql.streaming.queryId": "q", "streaming.sql.batchId": str(batch)}
        log.job_start(batch, begin, [stage], properties)
        log.job_end(batch, log.run_stage(stage, begin, [1, 1], ["1"]))
    application = read(log, tmp_path).application
    assert [job.not_before_ms for job in application.jobs] == [10_000, 20_000, 30_000]
    assert [job.follows for job in application.jobs] == [Follows(n, 0, "q") for n in range(3)]


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    jobs=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from(["", "query"])),
        min_size=1,
        max_size=6,
    )
)
def test_jobs_that_no_executor_is_needed_for_take_place_when_they_did(
    tmp_path_factory: pytest.TempPathFactory, jobs: list[tuple[int, int, str]]
) -> None:
    """Also those of no partition, which end in the millisecond in which they begin (``DAGScheduler.submitJob``)."""
    # given jobs without tasks, with begins and ends that meet
    log = EventLog()
    moments = []
    for job_id, (begin, took, query) in enumerate(jobs):
        about = {"sql.streaming.queryId": query} if query else {}
        moments.append((begin, job_id, 0, about))
        moments.append((begin + took, job_id, 1, about))
    for at, job_id, ends, about in sorted(moments, key=lambda each: each[:3]):
        if ends:
            log.job_end(job_id, 5 + at)
        else:
            log.job_start(job_id, 5 + at, [], properties=about)
    log.application_end(20)
    # when
    application = read(log, tmp_path_factory.mktemp("logs")).application
    # then none waits for itself or in a circle, and they come to the same end
    assert all(job.follows.jobs <= job.rank for job in application.jobs)
    outcome = simulated(application, as_recorded(application), cluster_of(application))
    assert (outcome.finished, outcome.makespan_ms) == (True, application.duration_ms)


def test_a_log_that_another_program_wrote_anew_tells_the_same(tmp_path: Path) -> None:
    """With spaces, and the name of the event last."""
    lines = [json.loads(line) for line in two_jobs().lines]
    text = "".join(json.dumps(dict(sorted(line.items()))) + "\n" for line in lines)
    found = read(text, tmp_path)
    assert found.application.stages == read(two_jobs(), tmp_path).application.stages
    assert found.notes.sentences() == []


# -- tasks that were tried more than once -----------------------------------------------------------------------------


def tried(*ends: tuple[int, int, str, float, float], tasks: int = 1) -> EventLog:
    """A stage of tasks with these ends: (attempt of the stage, index, reason, from, to)."""
    log = EventLog()
    stages = {0: log.stage(0, tasks), 1: log.stage(0, tasks, attempt=1)}
    log.job_start(0, 0, [stages[0]])
    for attempt in sorted({end[0] for end in ends}):
        log.stage_submitted(stages[attempt], 0)
    for attempt, index, reason, begin, end in ends:
        log.task_start(stages[attempt], index, "1", begin)
        log.task_end(stages[attempt], index, "1", begin, end, reason=reason, writes=True)
    log.stage_completed(stages[max(end[0] for end in ends)], 9)
    log.job_end(0, 9)
    log.application_end(10)
    return log


def only_stage(application: RecordedApplication) -> tuple[list[int], dict[int, tuple[int, ...]]]:
    stage = application.stages[0]
    return list(stage.durations_ms), dict(stage.failures_ms)


def test_a_task_that_failed_by_itself_fails_again(tmp_path: Path) -> None:
    log = tried((0, 0, "ExceptionFailure", 0, 1), (0, 0, "Success", 1, 3))
    assert only_stage(read(log, tmp_path).application) == ([2000], {0: (1000,)})


@pytest.mark.parametrize("reason", ["ExecutorLostFailure", "FetchFailed"])
def test_what_was_lost_with_an_executor_belongs_to_the_recorded_run(
    tmp_path: Path, reason: str
) -> None:
    application = read(tried((0, 0, reason, 0, 1), (0, 0, "Success", 1, 3)), tmp_path).application
    assert only_stage(application) == ([2000], {})
    assert application.run.lost_ms == 1000


def test_an_output_that_was_computed_twice_counts_once(tmp_path: Path) -> None:
    log = tried((0, 0, "Success", 0, 1), (1, 0, "Success", 4, 7))
    application = read(log, tmp_path).application
    assert only_stage(application) == ([1000], {})
    assert application.run.lost_ms == 3000


@pytest.mark.parametrize(("removed", "expected"), [(False, 6000), (True, 1000)])
def test_computing_a_block_anew_belongs_to_the_recorded_run(
    tmp_path: Path, removed: bool, expected: int
) -> None:
    log = EventLog()
    log.executor_added("1", 0)
    for number, (begin, seconds) in enumerate(((1, 5), (20, 6))):
        stage = log.stage(number, 1, rdds=[rdd(10 + number), rdd(7, cached=True)])
        if number and removed:
            log.executor_removed("1", 15)
        log.job_start(number, begin, [stage])
        log.job_end(number, log.run_stage(stage, begin, [seconds], [str(number + 1)]))
    application = read(log, tmp_path).application
    assert list(application.stages[1].durations_ms) == [expected]
    assert application.run.lost_ms == (5000 if removed else 0)


def test_without_copies_a_slow_task_takes_until_its_copy_was_done(tmp_path: Path) -> None:
    log = EventLog()
    stage = log.stage(0, 1)
    log.job_start(0, 0, [stage])
    log.stage_submitted(stage, 0)
    log.task_start(stage, 0, "1", 0)
    log.task_start(stage, 0, "2", 4, attempt=1, speculative=True)
    log.task_end(stage, 0, "2", 4, 5, attempt=1, speculative=True)
    log.task_end(stage, 0, "1", 0, 5.1, reason="TaskKilled")
    log.stage_completed(stage, 5.1)
    log.job_end(0, 6)
    assert only_stage(read(log, tmp_path).application) == ([5100], {})


# -- damage -----------------------------------------------------------------------------------------------------------


def notes(log: EventLog | str, tmp_path: Path) -> LogNotes:
    return read(log, tmp_path).notes


def test_a_cut_last_line_is_counted_and_the_rest_is_used(tmp_path: Path) -> None:
    text = two_jobs().text
    cut = read(text[: text.rindex("\n", 0, len(text) - 40) + 30], tmp_path)
    assert cut.notes.damaged == 1
    assert cut.application.num_tasks == 9
    assert not cut.application.ended
    assert any("had not ended" in each for each in cut.notes.sentences())


def test_lines_that_are_no_json_are_counted(tmp_path: Path) -> None:
    log = two_jobs()
    log.lines[3:3] = ['{"Event":"SparkListenerTaskEnd","Stage ID":', "rubbish", "[1]"]
    found = read(log, tmp_path)
    assert found.notes.damaged == 3
    assert found.application.num_tasks == 9
    assert "3 of" in " ".join(found.notes.sentences())


def test_events_of_unknown_kinds_are_counted_and_those_of_extensions_are_not(
    tmp_path: Path,
) -> None:
    log = two_jobs()
    log.event("FromTheFuture", Timestamp=1)
    log.event("org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart", executionId=1)
    log.event("BlockManagerAdded", Timestamp=1)
    found = notes(log, tmp_path)
    assert found.unknown == {"SparkListenerFromTheFuture": 1}
    assert found.damaged == 0


def test_a_clock_that_was_set_back_is_put_right(tmp_path: Path) -> None:
    log = EventLog()
    for job, begin in enumerate((10, 20)):
        stage = log.stage(job, 1)
        back = 3600 * job
        log.job_start(job, begin - back, [stage])
        log.job_end(job, log.run_stage(stage, begin - back, [2], ["1"]))
    found = read(log, tmp_path)
    assert found.notes.clock_set_back == 1
    assert [list(stage.durations_ms) for stage in found.application.stages.values()] == [[2000]] * 2
    assert found.application.duration_ms < 30_000


def test_tasks_without_an_end_are_as_long_as_the_median_of_their_stage(tmp_path: Path) -> None:
    log = EventLog()
    stage = log.stage(0, 4)
    log.job_start(0, 1, [stage])
    log.run_stage(stage, 1, [1, 2, 3, 9], ["1"])
    del log.lines[-2:]  # the end of the last task, and of the stage
    found = read(log, tmp_path)
    assert list(found.application.stages[0].durations_ms) == [1000, 2000, 3000, 2000]
    assert (found.notes.estimated, found.notes.unfinished_jobs) == (1, 1)


def test_tasks_of_a_stage_that_was_given_up_never_ran(tmp_path: Path) -> None:
    log = EventLog()
    stage = log.stage(0, 3)
    log.job_start(0, 1, [stage])
    log.stage_submitted(stage, 1)
    log.task_start(stage, 0, "1", 1)
    log.task_end(stage, 0, "1", 1, 2)
    log.stage_completed(stage, 3, failed="Job 0 cancelled")
    log.job_end(0, 3)
    found = read(log, tmp_path)
    assert list(found.application.stages[0].durations_ms) == [1000]
    assert found.notes.estimated == 0


def test_a_profile_that_spark_would_refuse_is_left_out_and_told(tmp_path: Path) -> None:
    log = two_jobs()
    request = {"gpu": {"Resource Name": "gpu", "Amount": 0.7}}
    cores = {"cores": {"Resource Name": "cores", "Amount": 1}}
    log.event(
        "ResourceProfileAdded",
        **{"Resource Profile Id": 3, "Executor Resource Requests": cores, "Task Resource Requests": request},
    )  # fmt: skip
    found = read(log, tmp_path)
    assert found.application.profiles == ()
    assert "resource profile left out: 3" in found.notes.sentences()[0]


@hypothesis_settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_ends_the_reading(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    """Whatever lines are missing, doubled, swapped or spoilt: an application, or the sentence that there is none."""
    lines = list(two_jobs().lines)
    for _ in range(data.draw(st.integers(0, 8))):
        place = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "double", "move", "cut", "spoil"])):
            case "drop":
                del lines[place]
            case "double":
                lines.insert(place, lines[place])
            case "move":
                lines.insert(data.draw(st.integers(0, len(lines) - 1)), lines.pop(place))
            case "cut":
                lines[place] = lines[place][: data.draw(st.integers(0, len(lines[place])))]
            case "spoil":
                event = json.loads(lines[place]) if lines[place].endswith("}") else {}
                if event:
                    key = data.draw(st.sampled_from(sorted(event)))
                    event[key] = data.draw(st.sampled_from([None, -1, "x", [], {}, 2**63]))
                    lines[place] = json.dumps(event, separators=(",", ":"))
        if not lines:
            break
    folder = tmp_path_factory.mktemp("damaged")
    try:
        found = read("\n".join(lines), folder)
    except NoLog as none:
        assert str(folder) in str(none)
        return
    application = found.application
    assert all(each >= 0 for stage in application.stages.values() for each in stage.durations_ms)
    assert sorted(job.rank for job in application.jobs) == list(range(len(application.jobs)))


# -- where logs are ---------------------------------------------------------------------------------------------------


def rolled(folder: Path, *, status: str = "appstatus_spark-1", parts: int = 3) -> Path:
    """A rolled log: the lines of one log in several files."""
    log = folder / "eventlog_v2_spark-1"
    log.mkdir()
    lines = two_jobs().lines
    share = -(-len(lines) // parts)
    for part in range(parts):
        chosen = lines[part * share : (part + 1) * share]
        (log / f"events_{part + 1}_spark-1").write_text("".join(line + "\n" for line in chosen))
    (log / status).touch()
    return log


def test_a_rolled_log_is_one(tmp_path: Path) -> None:
    (files,) = find_logs(str(rolled(tmp_path, parts=11)))
    found = read_log(files)
    assert found.application.num_tasks == 9
    assert found.notes.sentences() == []
    assert [Path(part).name.split("_")[1] for part in files.parts][-2:] == ["10", "11"]


def test_a_rolled_log_of_a_running_application_says_so(tmp_path: Path) -> None:
    (files,) = find_logs(str(rolled(tmp_path, status="appstatus_spark-1.inprogress")))
    assert files.in_progress


def test_a_part_with_an_absurd_number_costs_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "eventlog_v2_app"
    folder.mkdir()
    for number in (1, 9_999_999_999):
        (folder / f"events_{number}_app").write_text(two_jobs().text)
    (files,) = find_logs(str(folder))
    assert files.missing == tuple(range(2, 22))


def test_a_missing_part_is_told(tmp_path: Path) -> None:
    log = rolled(tmp_path)
    (log / "events_2_spark-1").unlink()
    (files,) = find_logs(str(log))
    assert "events_2" in " ".join(read_log(files).notes.sentences())


def test_a_compacted_part_stands_for_those_before_it(tmp_path: Path) -> None:
    log = rolled(tmp_path)
    (log / "events_2_spark-1.compact").write_text(two_jobs().text)
    (files,) = find_logs(str(log))
    assert [Path(part).name for part in files.parts] == [
        "events_2_spark-1.compact",
        "events_3_spark-1",
    ]
    assert (files.compacted, files.missing) == (True, ())


def test_a_folder_holds_logs_of_both_kinds(tmp_path: Path) -> None:
    rolled(tmp_path)
    two_jobs().write(tmp_path / "spark-2.inprogress")
    (tmp_path / ".spark-2.crc").touch()
    found = find_logs(str(tmp_path))
    assert [Path(each.name).name for each in found] == ["eventlog_v2_spark-1", "spark-2.inprogress"]
    assert [each.in_progress for each in found] == [False, True]


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "no event log"), ("a,b\n1,2\n", "no event log"), (EventLog().text, "no job began")],
)
def test_what_is_no_log_of_a_job_is_named(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(NoLog, match=words) as told:
        read(content, tmp_path)
    assert str(tmp_path / "log") in str(told.value)
    assert "spark.eventLog.enabled" in str(told.value)


def test_places_without_a_log_say_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(NoLog, match="no such file"):
        find_logs(str(tmp_path / "nowhere"))
    with pytest.raises(NoLog, match=r"spark\.eventLog\.dir"):
        find_logs(str(tmp_path))


def test_a_url_without_fsspec_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("spark_allocation.sources.event_log.log_files.import_module", missing)
    with pytest.raises(NoLog, match="install the package fsspec"):
        find_logs("s3://bucket/logs")


def test_with_fsspec_a_url_is_read(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    rolled(tmp_path)
    (files,) = find_logs(f"file://{tmp_path}/eventlog_v2_spark-1")
    assert read_log(files).application.num_tasks == 9
    assert len(find_logs(f"file://{tmp_path}")) == 1


def test_progress_is_told_in_bytes_of_storage(tmp_path: Path) -> None:
    path = two_jobs().write(tmp_path / "log")
    (files,) = find_logs(str(path))
    told: list[int] = []
    read_log(files, told.append)
    assert sum(told) == files.size == path.stat().st_size
    assert isinstance(files, LogFiles)
