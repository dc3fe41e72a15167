"""What the soak reads out of an event log, and what its verdict makes of it: it must not be blind."""

import json
from collections import Counter
from typing import Any

import pytest
from tests.faults.fault_schedule import OF_REAL_DRIVERS, DeedKind, FaultSchedule
from tests.soak.drivers import Allocator
from tests.soak.pod_lives import PodLife
from tests.soak.round import LONG, Played, Run, wrong_answers
from tests.soak.verdict import complaints, figures, violations
from tests.soak.work import Work, work_of
from tests.soak.workload import KEYS, ROWS, Job

HOLDS, MIGRATES = (
    next(job for seed in range(20) if (job := Job.from_seed(seed, 0)).migrate is wanted)
    for wanted in (False, True)
)


class EventLog:
    """Writes one as Spark does, as far as it is read."""

    def __init__(self) -> None:
        self.lines = [json.dumps({"Event": "SparkListenerApplicationStart", "Timestamp": 1_000})]
        self.now = 1_000

    def add(self, event: str, **fields: Any) -> None:
        record = {"Event": f"SparkListener{event}"}
        record |= {name.replace("_", " "): value for name, value in fields.items()}
        self.lines.append(json.dumps(record))

    def stage(self, stage: int, rdd: int, *, attempt: int = 0) -> None:
        info = {"Stage ID": stage, "Stage Attempt ID": attempt, "RDD Info": [{"RDD ID": rdd}]}
        self.add("StageSubmitted", Stage_Info=info | {"Submission Time": self.now})

    def task(
        self,
        stage: int,
        partition: int,
        executor: int,
        *,
        kind: str = "ShuffleMapTask",
        reason: dict[str, Any] | None = None,
    ) -> None:
        """A task of two seconds."""
        self.now += 2_000
        self.add(
            "TaskEnd",
            Stage_ID=stage,
            Task_Type=kind,
            Task_End_Reason=reason or {"Reason": "Success"},
            Task_Info={
                "Index": partition,
                "Partition ID": partition,
                "Executor ID": str(executor),
                "Launch Time": self.now - 2_000,
                "Finish Time": self.now,
            },
        )

    def removed(self, executor: int) -> None:
        self.add(
            "ExecutorRemoved", Timestamp=self.now, Executor_ID=str(executor), Removed_Reason="gone"
        )

    @property
    def work(self) -> Work:
        return work_of("\n".join(self.lines))


@pytest.fixture
def log() -> EventLog:
    return EventLog()


def run_with(work: Work, *, job: Job = HOLDS, **fields: Any) -> Run:
    every = {
        "seed": 1, "job": job, "allocator": Allocator.OPERATOR, "phase": "Succeeded", "wrong": [], "work": work,
        "hit": [], "let_go": [], "executor_seconds": 0.0, "pods": 1, "kept_again": 0, "stuck": [], "broken": [],
    }  # fmt: skip
    return Run(**every | fields)


def lost(executor: int, *, by_app: bool) -> dict[str, Any]:
    return {
        "Reason": "ExecutorLostFailure",
        "Executor ID": str(executor),
        "Exit Caused By App": by_app,
        "Loss Reason": "Command exited with code 137",
    }


def fetch_failed(executor: int | None) -> dict[str, Any]:
    address = None if executor is None else {"Executor ID": str(executor), "Host": "h", "Port": 1}
    return {"Reason": "FetchFailed", "Block Manager Address": address, "Message": "no"}


# -- work --------------------------------------------------------------------------------------------------------------


def test_work_that_is_done_once_is_not_done_again(log: EventLog) -> None:
    log.stage(0, rdd=5)
    log.task(0, 0, executor=1)
    log.task(0, 1, executor=2)
    log.stage(1, rdd=9)
    log.task(1, 0, executor=1, kind="ResultTask")
    log.add("ApplicationEnd", Timestamp=11_000)
    assert (log.work.tasks, log.work.task_seconds, log.work.losses) == (3, 6.0, [])
    assert log.work.makespan == 10.0


def test_another_job_over_the_same_data_is_not_work_again(log: EventLog) -> None:
    for stage in (0, 1):
        log.stage(stage, rdd=5)
        log.task(stage, 0, executor=1, kind="ResultTask")
    assert log.work.losses == []


def test_a_map_task_that_runs_in_a_later_stage_was_lost(log: EventLog) -> None:
    for stage, executor in ((0, 1), (7, 2)):
        log.stage(stage, rdd=5)
        log.task(stage, 0, executor)
    (loss,) = log.work.losses
    assert (loss.kind, loss.seconds, loss.executor) == ("again", 2.0, "1")


def test_a_resubmitted_task_counts_when_it_runs_again_and_not_twice(log: EventLog) -> None:
    log.stage(0, rdd=5)
    log.task(0, 0, executor=1)
    log.task(0, 0, executor=1, reason={"Reason": "Resubmitted"})
    log.task(0, 0, executor=2)
    (loss,) = log.work.losses
    assert (loss.seconds, loss.executor, log.work.task_seconds) == (2.0, "1", 4.0)


def test_a_retried_stage_goes_back_to_the_executor_whose_blocks_were_missing(log: EventLog) -> None:
    log.stage(0, rdd=5)
    log.task(0, 0, executor=1)
    log.stage(1, rdd=9)
    log.task(1, 0, executor=2, kind="ResultTask", reason=fetch_failed(1))
    log.stage(0, rdd=5, attempt=1)
    log.task(0, 0, executor=2)
    assert [(each.stage, each.executor) for each in log.work.retries] == [(0, "1")]
    assert [each.kind for each in log.work.losses] == ["FetchFailed", "again"]


def test_a_log_that_breaks_off_is_read_as_far_as_it_goes(log: EventLog) -> None:
    log.stage(0, rdd=5)
    log.task(0, 0, executor=1)
    text = "\n".join(log.lines)
    assert work_of(text + '\n{"Event":"SparkListenerTaskEnd","Ta').tasks == 1


# -- complaints --------------------------------------------------------------------------------------------------------


def test_a_run_in_which_nothing_happens_is_right(log: EventLog) -> None:
    assert complaints(run_with(log.work)) == []


def test_a_charged_task_is_a_complaint_unless_its_executor_was_ended_by_hand(log: EventLog) -> None:
    log.task(0, 0, executor=1, reason=lost(1, by_app=True))
    assert "a task was charged on executor 1" in complaints(run_with(log.work))[0]
    assert complaints(run_with(log.work, hit=["1"])) == []
    assert "charged" in complaints(run_with(log.work, hit=["2"]))[0]


def test_a_task_lost_with_an_executor_that_left_is_work_again_and_not_charged(
    log: EventLog,
) -> None:
    log.task(0, 0, executor=1, reason=lost(1, by_app=False))
    assert complaints(run_with(log.work)) == []
    assert figures([run_with(log.work)]).again == 2.0


@pytest.mark.parametrize(
    ("job", "hit", "blamed", "complains"),
    [
        (MIGRATES, [], 1, True),
        (MIGRATES, ["1"], 1, False),
        # what an executor held may have come from another one
        (MIGRATES, ["3"], 1, False),
        (MIGRATES, ["4"], 1, True),
        (MIGRATES, ["3"], None, False),
        # without migration stages may be tried again; what it costs is limited
        (HOLDS, [], 1, False),
    ],
)
def test_with_migration_no_stage_is_tried_again(
    log: EventLog, job: Job, hit: list[str], blamed: int | None, complains: bool
) -> None:
    log.removed(3)
    log.task(1, 0, executor=2, kind="ResultTask", reason=fetch_failed(blamed))
    log.stage(0, rdd=5, attempt=1)
    log.now += 1_000
    log.removed(4)
    said = complaints(run_with(log.work, job=job, hit=hit))
    assert any("was tried again" in each for each in said) is complains


def test_without_migration_a_loss_is_owed_to_the_holder_alone(log: EventLog) -> None:
    log.task(0, 0, executor=1)
    log.removed(3)
    log.task(0, 0, executor=2)
    by_another, by_itself = (
        figures([run_with(log.work, hit=[hit])]).again_by_hand for hit in ("3", "1")
    )
    assert (by_another, by_itself) == (0.0, 2.0)


def test_what_a_lowered_maximum_lets_go_is_the_operator_s_own_and_told_apart(log: EventLog) -> None:
    log.stage(0, rdd=5)
    log.task(0, 0, executor=1)
    log.task(0, 0, executor=2)
    found = figures([run_with(log.work, let_go=["1"])])
    assert (found.again, found.again_by_hand, found.again_by_bounds) == (2.0, 0.0, 2.0)
    both = figures([run_with(log.work, hit=["1"], let_go=["1"])])
    assert (both.again_by_hand, both.again_by_bounds) == (2.0, 0.0)


def test_cached_parts_that_are_computed_again_are_a_complaint_unless_somebody_was_ended(
    log: EventLog,
) -> None:
    assert "cached parts" in complaints(run_with(log.work, kept_again=2))[0]
    assert complaints(run_with(log.work, kept_again=2, hit=["1"])) == []
    assert complaints(run_with(log.work, kept_again=2, let_go=["1"])) == []


def test_more_work_again_than_under_spark_s_own_allocator_breaks_a_soak(log: EventLog) -> None:
    log.stage(0, rdd=5)
    for partition in range(49):
        log.task(0, partition, executor=1)
    once = log.work
    log.task(0, 0, executor=2)
    log.task(0, 1, executor=2)
    twice = log.work
    schedule = FaultSchedule.from_seed(1, LONG)

    def soak(ours: Work, theirs: Work) -> list[str]:
        runs = {Allocator.OPERATOR: ours, Allocator.SPARK: theirs}
        return violations(
            [
                Played(1, each, schedule, runs=[run_with(work, allocator=each)])
                for each, work in runs.items()
            ]
        )

    assert "3.9% of the task-seconds" in soak(twice, once)[0]
    assert soak(twice, twice) == soak(once, once) == soak(once, twice) == []


def test_what_a_round_has_broken_breaks_the_soak(log: EventLog) -> None:
    schedule = FaultSchedule.from_seed(1, LONG)
    broken = {"broken": ["left at the end: job-0-exec-1"], "runs": [run_with(log.work)]}
    assert violations([Played(1, Allocator.OPERATOR, schedule, **broken)])
    assert violations([Played(1, Allocator.SPARK, schedule, **broken)]) == []


@pytest.mark.parametrize(
    ("life", "ended_at", "complaint"),
    [
        ({"running_at": 5.0, "asked_at": 50.0, "grace": 60.0, "gone_at": 112.0}, None, ""),
        ({"running_at": 5.0, "asked_at": 50.0, "grace": 60.0}, None, "stayed 950 s"),
        ({"gone_at": 4.0}, None, ""),
        ({}, None, "was pending for 1000 s"),
        ({"asked_at": 300.0, "gone_at": 301.0}, None, "was pending for 300 s"),
        ({"running_at": 5.0}, None, ""),
        ({"running_at": 5.0}, 990.0, ""),
        ({"running_at": 5.0}, 900.0, "was there 100 s after"),
    ],
)
def test_an_executor_that_is_there_when_it_should_not_be_is_stuck(
    life: dict[str, float], ended_at: float | None, complaint: str
) -> None:
    said = PodLife("job-exec-1", "driver", "1", 0.0, **life).complaint(1000.0, ended_at)
    assert (complaint in said) if complaint else said == ""


# -- jobs and schedules ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_answers_are_those_of_adding_up(seed: int) -> None:
    job = Job.from_seed(seed, 0)
    sums: list[list[int]] = []
    kept: dict[str, Any] = {}
    for step in job.steps:
        if step["do"] == "pause":
            continue
        if step["do"] == "keep":
            kept = step
        of = kept if step["do"] in ("groups", "cached") else step
        by_key: Counter[int] = Counter()
        for number in range(of["parts"] * ROWS):
            by_key[number % KEYS] += number
        whole = step["do"] in ("plain", "cached")
        sums.append([by_key.total()] if whole else [by_key[key] for key in range(KEYS)])
    assert job.answers() == sums
    assert wrong_answers(job, {"answers": sums}) == []
    assert wrong_answers(job, {"answers": [[0], *sums[1:]]})
    assert wrong_answers(job, {"answers": sums[:-1]})
    assert wrong_answers(job, {})


def test_a_seed_tells_every_job() -> None:
    assert Job.from_seed(3, 1) == Job.from_seed(3, 1) != Job.from_seed(3, 2)
    assert {Job.from_seed(seed, 0).migrate for seed in range(10)} == {False, True}


def test_only_what_can_be_done_to_real_drivers_is_done() -> None:
    done = {deed.kind for seed in range(60) for deed in FaultSchedule.from_seed(seed, LONG).deeds}
    assert done == {*OF_REAL_DRIVERS, DeedKind.COMPACT, DeedKind.RESTART_API}
    assert not done & {DeedKind.WORK, DeedKind.RESTART_DRIVER}
