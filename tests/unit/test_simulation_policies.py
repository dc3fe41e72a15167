"""Policies for recorded applications: how they are read and refused, searched, and told."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from fsspec import AbstractFileSystem, register_implementation
from tests.unit.event_log_builder import EventLog
from tests.unit.fsspec_stores import put_store
from tests.unit.simulated_applications import application, job, stage
from typer.testing import CliRunner, Result

import spark_allocation
from spark_allocation.api.v1alpha1 import SparkAllocationSpec
from spark_allocation.cli.app import app
from spark_allocation.controller.policy_files import (
    PolicyFile,
    RefusedPolicy,
    policy_files,
    read_policy_file,
)
from spark_allocation.controller.policy_search import Recommendation, document_of, recommend
from spark_allocation.controller.what_if import (
    as_recorded,
    cluster_of,
    curve_difference,
    policy_for,
    recorded_outcome,
    simulated,
)
from spark_allocation.controller.what_if_study import SupposedCluster, search, searchable, studies
from spark_allocation.core.passive_driver import MIGRATION_SETTINGS, PASSIVE_SETTINGS
from spark_allocation.core.simulation.application import RecordedApplication
from spark_allocation.core.simulation.cluster import ClusterModel
from spark_allocation.core.simulation.outcome import Outcome
from spark_allocation.core.simulation.timeline import Timeline
from spark_allocation.reports import pictures
from spark_allocation.reports.what_if_table import shown_time
from spark_allocation.sources.event_log.log_files import LogFiles, find_logs
from spark_allocation.sources.event_log.reading import read_log

PASSIVE = {each.key: each.value for each in PASSIVE_SETTINGS}
ALLOCATION = {
    "apiVersion": "sparkallocation.dev/v1alpha1",
    "kind": "SparkAllocation",
    "metadata": {"name": "job", "namespace": "jobs"},
    "spec": {"driver": {"podName": "d"}, "dynamicAllocation": {"maxExecutors": 30}},
}


def some_stage(**about: object) -> RecordedApplication:
    return application([stage(0, [10] * 40)], **about)  # type: ignore[arg-type]


# -- how policies are read --------------------------------------------------------------------------------------------


def test_a_sparkallocation_means_that_the_operator_allocates() -> None:
    (file,) = policy_files("p", [ALLOCATION])
    policy = policy_for(some_stage(), file)
    assert policy.by_operator is not None
    assert policy.by_operator.dynamic.max_executors == 30
    assert policy.settings == {"dynamicAllocation.maxExecutors": "30"}


def test_policies_beside_a_sparkallocation_limit_it() -> None:
    limit = {
        "apiVersion": "sparkallocation.dev/v1alpha1",
        "kind": "ClusterSparkAllocationPolicy",
        "metadata": {"name": "default"},
        "spec": {"limits": {"dynamicAllocation": {"maxExecutors": {"max": 7}}}},
    }
    (file,) = policy_files("p", [limit, ALLOCATION])
    policy = policy_for(some_stage(), file)
    assert policy.by_operator is not None
    assert policy.by_operator.dynamic.max_executors == 7


def test_each_sparkallocation_of_a_file_is_a_policy() -> None:
    other = {**ALLOCATION, "metadata": {"name": "other"}}
    assert [each.name for each in policy_files("p", [ALLOCATION, other])] == ["p:job", "p:other"]


def test_spark_properties_mean_that_the_driver_allocates_with_these_on_top_of_its_own() -> None:
    own = {"spark.dynamicAllocation.maxExecutors": "5", "spark.executor.cores": "2"}
    (file,) = policy_files("p", [{"spark.dynamicAllocation.maxExecutors": 9, "spark.decommission.enabled": True}])  # fmt: skip
    policy = policy_for(some_stage(properties=own), file)
    assert policy.by_driver is not None
    dynamic, _ = policy.by_driver
    assert (dynamic.max_executors, dynamic.decommission_enabled) == (9, True)
    assert policy.conf["spark.executor.cores"] == "2"


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ([{}], "found: nothing"),
        ([{"kind": "ConfigMap", "metadata": {}}], "found: kind, metadata"),
        ([{"maxExecutors": 3}], "kind: SparkAllocation"),
    ],
)
def test_what_is_no_policy_is_named(documents: list[dict[str, object]], words: str) -> None:
    with pytest.raises(RefusedPolicy, match=words):
        policy_files("p", documents)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            {**ALLOCATION, "spec": {"driver": {"podName": "d"}, "dynamicAllocation": {"maxExecutors": "x"}}},
            "maxExecutors",
        ),
        ({**ALLOCATION, "spec": {"driver": {"podName": "d"}, "dynamicAllocation": {"minExecutors": 9, "maxExecutors": 3}}}, "minExecutors"),
        ({"spark.dynamicAllocation.maxExecutors": 0}, "must be greater than 0"),
    ],
)  # fmt: skip
def test_a_policy_that_would_be_refused_names_its_file_the_field_and_the_rule(
    document: dict[str, object], words: str
) -> None:
    with pytest.raises(RefusedPolicy, match=words) as told:
        policy_for(some_stage(), PolicyFile("p", (document,), where="policies/p.yaml"))
    assert str(told.value).startswith("policies/p.yaml: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("spec: {a: [", "cannot be read as YAML: while parsing a flow node"),
        ("spark.x: 2026-13-45", "cannot be read as YAML: month must be in 1..12"),
        ("- 1", "a policy is a SparkAllocation or a mapping"),
        ("kind: SparkAllocation\nmetadata: 3", "metadata is 3"),
        ("kind: SparkAllocation\nspec: 3", "spec: Input should be a valid dictionary"),
        (
            "kind: SparkAllocation\nspec: {driver: {podName: d}, dynamicAllocation: {maxExecutors: many}}",
            "spec.dynamicAllocation.maxExecutors: Input should be a valid integer, unable to parse string as an integer (it is 'many')",
        ),
        (
            "kind: SparkAllocation\nspec: {driver: {podName: d}, dynamicAllocation: {maxExecuters: 3}}",
            "spec.dynamicAllocation.maxExecuters: there is no such field; is maxExecutors meant?",
        ),
        (
            ("kind: SparkAllocation\nspec: {driver: {podName: d}}\n---\n"
            "kind: ClusterSparkAllocationPolicy\nmetadata: {name: all}\nspec: {limits: {dynamicAllocation: {maxExecutors: {max: x}}}}"),
            "ClusterSparkAllocationPolicy all: spec.limits.dynamicAllocation.maxExecutors.max: ",
        ),
        (
            "spark.dynamicAllocation.maxExecuters: 3",
            "spark.dynamicAllocation.maxExecuters='3': there is no such setting; is spark.dynamicAllocation.maxExecutors meant?",
        ),
        (
            "spark.dynamicAllocation.schedulerBacklogTimeout: soon",
            "spark.dynamicAllocation.schedulerBacklogTimeout='soon': time must be a whole number",
        ),
        (
            "spark.dynamicAllocation.schedulerBacklogTimeout: 10ms",
            "spark.dynamicAllocation.schedulerBacklogTimeout='10ms': must be at least 1s",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_policy_file_is_told_before_any_log_is_read(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "frugal.yaml"
    file.write_text(text)
    with pytest.raises(RefusedPolicy) as told:
        read_policy_file(file)
    assert str(told.value).startswith(f"{file}: {words}")


def test_other_objects_may_stand_in_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    others = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "jobs"}}, ALLOCATION]
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": others}))
    (policy,) = read_policy_file(file)
    assert policy.documents == (ALLOCATION,)


# -- as it was recorded -----------------------------------------------------------------------------------------------


def test_without_dynamic_allocation_the_number_of_executors_is_fixed() -> None:
    properties = {"spark.dynamicAllocation.enabled": "false", "spark.executor.instances": "3"}
    run = some_stage(properties=properties, tail=600)
    outcome = simulated(run, as_recorded(run), cluster_of(run))
    assert (outcome.peak_executors, outcome.asked, outcome.drains) == (3, 3, 0)


def test_a_passive_driver_was_served_by_the_operator() -> None:
    run = some_stage(properties=PASSIVE)
    policy = as_recorded(run)
    assert policy.by_operator is not None
    assert simulated(run, policy, cluster_of(run)).peak_executors > 1


def test_executors_start_as_they_did_unless_told_otherwise(tmp_path: Path) -> None:
    (files,) = find_logs(str(log_of_jobs(tmp_path, "etl")))
    recorded = read_log(files).application
    assert cluster_of(recorded).start_delays_ms == (2_000, 2_000, 2_000)
    assert cluster_of(recorded, start_delay_ms=1).start_delays_ms == (1,)
    assert cluster_of(some_stage()).start_delays_ms == (5_000,)


def test_data_follow_the_driver_s_settings() -> None:
    migrating = {each.key: each.value for each in MIGRATION_SETTINGS}
    (file,) = policy_files("p", [ALLOCATION])
    assert policy_for(some_stage(properties=migrating), file).data.migrates
    assert not policy_for(some_stage(), file).data.migrates
    remote = {"spark.shuffle.manager": "org.apache.spark.shuffle.celeborn.SparkShuffleManager"}
    assert not policy_for(some_stage(properties=remote), file).data.goes_with_executors


# -- the search -------------------------------------------------------------------------------------------------------


def searched(run: RecordedApplication, within: float) -> tuple[Recommendation, list[Outcome]]:
    cluster = ClusterModel(start_delays_ms=(2_000,))
    tried: list[Outcome] = []

    def attempt(file: PolicyFile) -> list[Outcome]:
        tried.append(simulated(run, policy_for(run, file), cluster))
        return tried[-1:]

    return recommend([run], attempt, within=within), tried


def work_and_a_long_tail() -> RecordedApplication:
    """A wide stage, a long pause, and one slow task: many executors for long are waste."""
    stages = [stage(0, [20] * 30), stage(1, [300]), stage(2, [20] * 6)]
    return application(stages, [job(0, 0), job(1, 1, pause=30), job(2, 2)], tail=5)


@pytest.mark.parametrize("within", [0.0, 0.1, 0.5])
def test_what_is_recommended_is_the_cheapest_that_is_fast_enough(within: float) -> None:
    found, tried = searched(work_and_a_long_tail(), within)
    assert found.tried == len(tried)
    assert found.chosen is not None
    best = min(outcome.makespan_ms for outcome in tried)
    allowed = [outcome for outcome in tried if outcome.makespan_ms <= int(best * (1 + within))]
    (chosen,) = found.chosen.outcomes
    assert chosen.core_ms == min(outcome.core_ms for outcome in allowed)


def test_more_time_never_costs_more() -> None:
    costs = []
    for within in (0.0, 0.1, 0.5, 2.0):
        chosen = searched(work_and_a_long_tail(), within)[0].chosen
        assert chosen is not None
        costs.append(chosen.core_ms)
    assert costs == sorted(costs, reverse=True)


def test_the_search_finds_the_same_again() -> None:
    one, other = (searched(work_and_a_long_tail(), 0.1)[0] for _ in range(2))
    assert one.chosen is not None
    assert other.chosen is not None
    assert (one.chosen.wishes, one.tried) == (other.chosen.wishes, other.tried)


def test_what_is_recommended_can_be_applied() -> None:
    found, _ = searched(work_and_a_long_tail(), 0.1)
    assert found.chosen is not None
    document = document_of(found.chosen.wishes)
    assert document["apiVersion"] == "sparkallocation.dev/v1alpha1"
    SparkAllocationSpec.model_validate(document["spec"])


def test_of_several_logs_each_has_to_be_fast_enough(tmp_path: Path) -> None:
    logs = [find_logs(str(log_of_jobs(tmp_path, name, tasks)))[0] for name, tasks in (("a", 4), ("b", 30))]  # fmt: skip
    found = search(searchable(logs), SupposedCluster(), within=0.2)
    assert found.chosen is not None
    assert found.fastest is not None
    for chosen, fastest in zip(found.chosen.outcomes, found.fastest.outcomes, strict=True):
        assert chosen.makespan_ms <= fastest.makespan_ms * 1.2 + 1


# -- the command ------------------------------------------------------------------------------------------------------


OWN_ALLOCATION = {"spark.dynamicAllocation.enabled": "true", "spark.dynamicAllocation.maxExecutors": "3"}  # fmt: skip


def log_of_jobs(
    folder: Path, name: str, tasks: int = 12, properties: Mapping[str, str] = OWN_ALLOCATION
) -> Path:
    """Two jobs on three executors that stayed to the end."""
    log = EventLog(name=name, properties=properties)
    at = 1.0
    for number in range(2):
        stage = log.stage(number, tasks)
        log.job_start(number, at, [stage])
        if number == 0:
            for executor_id, added in (("1", 4.0), ("2", 5.0), ("3", 5.0)):
                log.executor_added(executor_id, added, requested_at=added - 2)
        at = log.run_stage(stage, at, [3] * tasks, ["1", "2", "3"], places_from=5.0)
        log.job_end(number, at)
    log.application_end(at + 1)
    return log.write(folder / name)


def simulate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["simulate", *map(str, arguments), "--workers", "1"])


@pytest.fixture
def deadly_store() -> str:
    """A URL; whoever opens it is killed, as by the kernel for want of memory."""

    class Deadly(AbstractFileSystem):
        def open(self, *_: object, **__: object) -> object:
            os.kill(os.getpid(), signal.SIGKILL)
            return None

    register_implementation("deadly", Deadly, clobber=True)
    return "deadly://log"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return log_of_jobs(tmp_path, "etl")


def policy_file(folder: Path, name: str, **dynamic: object) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**ALLOCATION, "spec": {"driver": {"podName": "d"}, "dynamicAllocation": dynamic}}))  # fmt: skip
    return path


def test_simulate_writes_a_table_of_policies(log: Path, tmp_path: Path) -> None:
    one, other = policy_file(tmp_path, "one", maxExecutors=1), policy_file(tmp_path, "six", maxExecutors=6)  # fmt: skip
    result = simulate(log, "--policy", one, "--policy", other)
    assert result.exit_code == 0, result.output
    rows = [line.split()[0] for line in result.output.splitlines() if line and line[0] != "-"]
    assert rows == ["etl", "POLICY", "recorded", "as", "one", "six"]
    assert "COST" not in result.output


def test_more_executors_are_faster_and_the_price_is_told(log: Path, tmp_path: Path) -> None:
    one, other = policy_file(tmp_path, "one", maxExecutors=1), policy_file(tmp_path, "six", maxExecutors=6)  # fmt: skip
    result = simulate(log, "--policy", one, "--policy", other, "--price", "0.05", "-o", "json")
    (told,) = json.loads(result.output)["applications"]
    by_name = {each["policy"]: each for each in told["outcomes"]}
    assert by_name["six"]["makespanSeconds"] < by_name["one"]["makespanSeconds"]
    assert by_name["one"]["peakExecutors"] == 1
    assert by_name["six"]["cost"] == pytest.approx(by_name["six"]["coreHours"] * 0.05, abs=1e-4)
    assert by_name["one"]["settings"] == {"dynamicAllocation.maxExecutors": "1"}
    assert told["recorded"]["peakExecutors"] == 3
    assert told["curveDifference"] < 0.1


def test_a_folder_is_a_table_over_applications(tmp_path: Path) -> None:
    for name in ("a", "b"):
        log_of_jobs(tmp_path, name)
    result = simulate(tmp_path)
    assert "2 applications together" in result.output
    assert result.exit_code == 0


def test_on_several_cores_the_answer_is_the_same(tmp_path: Path) -> None:
    logs = [find_logs(str(log_of_jobs(tmp_path, name)))[0] for name in ("a", "b")]
    one, two = (studies(logs, [], SupposedCluster(), workers=number) for number in (1, 2))
    assert [each.outcomes[0].outcome.makespan_ms for each in one] == [
        each.outcomes[0].outcome.makespan_ms for each in two
    ]
    assert [each.log for each in one] == [each.log for each in two]


def test_a_policy_that_one_application_cannot_have_is_told_and_the_others_are_simulated(
    tmp_path: Path,
) -> None:
    # given an application that sets its own maximum, and a policy with a minimum above it
    wide = OWN_ALLOCATION | {"spark.dynamicAllocation.maxExecutors": "30"}
    logs = tmp_path / "logs"
    logs.mkdir()
    log_of_jobs(logs, "narrow")
    for name in ("wide", "wider"):
        log_of_jobs(logs, name, properties=wide)
    policy = tmp_path / "five.yaml"
    policy.write_text("spark.dynamicAllocation.minExecutors: 5\n")
    # when
    result = simulate(logs, "--policy", policy)
    # then
    assert result.exit_code == 0, result.output
    assert f"- not run under five: {policy}: spark.dynamicAllocation.minExecutors='5': must be at most" in result.output  # fmt: skip
    totals = result.output[result.output.index("2 applications together") :]
    assert totals.startswith("2 applications together; 1 more could not be run under each policy")
    assert [line.split()[0] for line in totals.strip().splitlines()[3:]] == [
        "recorded",
        "as",
        "five",
    ]
    # and alone, it is the end
    alone = simulate(logs / "narrow", "--policy", policy)
    assert (alone.exit_code, alone.stdout) == (1, "")
    assert alone.stderr.startswith(f"{policy}: spark.dynamicAllocation.minExecutors='5'")


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_logs_among_good_ones_are_counted_and_told(tmp_path: Path, workers: int) -> None:
    # given two good logs, a rolled one that has only begun, and files that are no logs
    for name in ("a", "b"):
        log_of_jobs(tmp_path, name)
    begun = tmp_path / "eventlog_v2_spark-1"
    begun.mkdir()
    (begun / "appstatus_spark-1.inprogress").touch()
    (tmp_path / "empty").touch()
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    # when
    result = CliRunner().invoke(app, ["simulate", str(tmp_path), "--workers", str(workers)])
    # then
    assert result.exit_code == 0, result.output
    assert "2 applications together; 4 logs could not be used" in result.output
    assert f"{begun}: the rolled log holds no events_<number>_… file" in result.output
    for name in ("empty", "noise", "gone"):
        assert str(tmp_path / name) in result.output


def test_a_log_that_takes_its_process_along_leaves_the_others_their_answers(
    tmp_path: Path, deadly_store: str
) -> None:
    # given four logs, at the second of which the process is killed as it is for its memory
    logs = [find_logs(str(log_of_jobs(tmp_path, name)))[0] for name in ("a", "b", "c", "d")]
    logs[1] = LogFiles(deadly_store, (deadly_store,), 1)
    told: list[int] = []
    # when
    found = studies(logs, [], SupposedCluster(), workers=2, progress=told.append)
    # then
    assert [bool(each.problem) for each in found] == [False, True, False, False]
    assert found[1].problem.startswith(f"{deadly_store}: the process that simulated it was killed")
    assert sum(told) == sum(each.size for each in logs)


@pytest.mark.parametrize("interrupt", [os.killpg, os.kill], ids=["Ctrl-C", "kill -INT"])
def test_an_interrupted_command_ends_and_begins_no_more_logs(
    tmp_path: Path, interrupt: Callable[[int, int], None]
) -> None:
    # given a command that is at the first two of many logs
    put_store(tmp_path, "slow", 'pathlib.Path("begun").touch(); time.sleep(600)')
    paths = [str(tmp_path), str(Path(spark_allocation.__file__).parents[1])]
    logs = [f"slow://{number}" for number in range(8)]
    command = [sys.executable, "-m", "spark_allocation", "simulate", "--workers", "2", *logs]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            deadline = time.monotonic() + 120
            while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            # when somebody presses Ctrl-C, or interrupts it alone
            interrupt(process.pid, signal.SIGINT)
            # then it ends
            said, _ = process.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, b"Traceback" in said) == (130, False), said.decode()


def test_what_a_store_raises_is_told_of_its_log(tmp_path: Path) -> None:
    class NoRights(AbstractFileSystem):
        def open(self, *_: object, **__: object) -> object:
            raise LookupError("no credentials were found")

    register_implementation("norights", NoRights, clobber=True)
    good = find_logs(str(log_of_jobs(tmp_path, "a")))[0]
    logs = [LogFiles("norights://b", ("norights://b",), 1), good]
    found = studies(logs, [], SupposedCluster(), workers=1)
    assert found[0].problem == "norights://b: cannot be read: LookupError: no credentials were found"  # fmt: skip
    assert not found[1].problem


def test_policies_with_one_name_are_told_apart_and_repetitions_left_out(
    log: Path, tmp_path: Path
) -> None:
    policies = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        policies += ["--policy", policy_file(folder, "same", maxExecutors=number)]
    result = simulate(log, *policies, *policies, "-o", "json")
    (told,) = json.loads(result.output)["applications"]
    assert [(each["policy"], each["peakExecutors"]) for each in told["outcomes"][1:]] == [
        (f"same ({tmp_path}/{number}/same.yaml)", number) for number in (1, 2)
    ]


def test_a_run_that_was_given_up_is_seen_in_the_sum(tmp_path: Path) -> None:
    never = tmp_path / "never.yaml"
    never.write_text("spark.dynamicAllocation.schedulerBacklogTimeout: 1000d\n")
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("a", "b"):
        log_of_jobs(logs, name)
    result = simulate(logs, "--policy", never)
    assert result.exit_code == 1
    totals = result.output[result.output.index("2 applications together") :]
    assert "\nnever         > " in totals


def test_of_many_logs_the_curves_are_kept_short_and_the_peak_stays() -> None:
    timeline = Timeline()
    for second in range(5_000):
        timeline.add(second * 1000, 40 if second == 1_234 else second % 7, 0, 0)
    thinned = timeline.thinned(500)
    assert (len(thinned), thinned.peak_executors) == (500, 40)
    assert thinned.sampled(500) == timeline.sampled(500)
    assert timeline.thinned(10_000) is timeline


def test_recommend_prints_an_object_to_apply_and_says_how_many_were_tried(log: Path) -> None:
    result = simulate(log, "--recommend", "--within", "20%")
    assert result.exit_code == 0, result.output
    document = yaml.safe_load(result.stdout)
    assert document["kind"] == "SparkAllocation"
    assert "policies were tried" in result.stderr
    assert "recommended" in result.stderr


def test_recommend_goes_on_without_logs_for_which_nothing_can_be_searched(tmp_path: Path) -> None:
    # given a good log, one that is none, and one whose settings Spark would have refused
    log_of_jobs(tmp_path, "good")
    (tmp_path / "noise").write_text("no log")
    log_of_jobs(tmp_path, "odd", properties={"spark.task.cpus": "abc"})
    # when
    result = simulate(tmp_path, "--recommend")
    # then
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(result.stdout)["kind"] == "SparkAllocation"
    assert result.stderr.count("noise: it is no event log") == 1
    odd = tmp_path / "odd"
    assert f"{odd}: the log's own settings: spark.task.cpus='abc': must be a number" in result.stderr  # fmt: skip


def test_recommend_without_a_single_log_ends_with_their_problems(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"noise-{number}").write_text("no log")
    result = simulate(tmp_path, "--recommend")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "noise-0: it is no event log" in result.stderr
    assert "; and 3 more" in result.stderr


def test_damage_is_told_and_the_rest_is_used(tmp_path: Path) -> None:
    path = log_of_jobs(tmp_path, "cut")
    path.write_text(path.read_text()[:-200])
    result = simulate(path)
    assert result.exit_code == 0
    assert "cut or no JSON" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 1, "nowhere: there is no such file"),
        (["LOG", "--within", "much"], 2, "--within much"),
        (["LOG", "--plot", "x.nonsense"], 2, "nonsense"),
        (["LOG", "LOG", "--plot", "x.png"], 2, "name one"),
        (["LOG", "--policy", "BAD"], 1, "bad.yaml: spark.dynamicAllocation.maxExecutors='0'"),
        (["LOG", "--policy", "LIST"], 1, "list.yaml: a policy is"),
        (["LOG", "--start-delay", "-1"], 2, "start-delay"),
        (["LOG", "--start-delay", "inf"], 2, "start-delay"),
        (["LOG", "--price", "inf"], 2, "price"),
        (["LOG", "--failure-rate", "inf"], 2, "failure-rate"),
        (["LOG", "--spark"], 2, "PySpark is not here: start it with spark-submit"),
        (["LOG", "--spark", "--recommend"], 2, "--recommend: searches on one machine"),
        (["LOG", "--spark", "--plot", "x.png"], 2, "--plot: draws one log on one machine"),
    ],
)
def test_simulate_ends_with_a_sentence_and_a_code_of_its_own(
    log: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "bad.yaml").write_text("spark.dynamicAllocation.maxExecutors: 0\n")
    (tmp_path / "list.yaml").write_text("- 1\n")
    names = {"LOG": log, "BAD": tmp_path / "bad.yaml", "LIST": tmp_path / "list.yaml", "x.nonsense": tmp_path / "x.nonsense"}  # fmt: skip
    result = simulate(*(names.get(each, each) for each in arguments))
    assert (result.exit_code, "Traceback" in result.output) == (code, False)
    assert words in result.output


def test_a_run_that_does_not_end_is_told_and_is_no_success(log: Path, tmp_path: Path) -> None:
    path = tmp_path / "never.yaml"
    path.write_text("spark.dynamicAllocation.schedulerBacklogTimeout: 1000d\n")
    result = simulate(log, "--policy", path)
    assert result.exit_code == 1
    assert "never: does not end: tasks wait" in result.output


def test_plot_draws_all_runs(log: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "runs.svg"
    result = simulate(log, "--plot", picture)
    assert result.exit_code == 0, result.output
    assert "<svg" in picture.read_text()


def test_without_matplotlib_plot_names_the_remedy(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(pictures, "import_module", missing)
    result = simulate(log, "--plot", tmp_path / "x.png")
    assert (result.exit_code, "pip install matplotlib" in result.output) == (2, True)


def test_the_recorded_run_is_told_in_the_same_numbers(log: Path) -> None:
    (files,) = find_logs(str(log))
    (result,) = studies([files], [], SupposedCluster(), workers=1)
    assert result.recorded is not None
    assert result.recorded.executor_ms == sum(lane.end_ms - lane.begin_ms for lane in result.recorded.lanes)  # fmt: skip
    assert curve_difference(result.recorded, result.recorded) == 0
    empty = recorded_outcome(some_stage())
    assert (empty.executor_ms, curve_difference(empty, empty)) == (0, None)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"),
        (12_500, "12.5s"),
        (200_000, "3m20s"),
        (3_720_000, "1h02m"),
        (90_000_000, "25h00m"),
    ],
)
def test_stretches_of_time_for_people(milliseconds: int, text: str) -> None:
    assert shown_time(milliseconds) == text
