"""Logs under policies: each log read once, run as it was recorded and under each policy, on as many cores as there are."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from spark_allocation.controller.policy_files import PolicyFile, RefusedPolicy
from spark_allocation.controller.policy_search import Recommendation, policy_of, recommend
from spark_allocation.controller.what_if import (
    AS_RECORDED,
    as_recorded,
    cluster_of,
    curve_difference,
    policy_for,
    recorded_outcome,
    simulated,
)
from spark_allocation.controller.worker_processes import worker_processes
from spark_allocation.core.resource_profiles import InvalidProfile
from spark_allocation.core.simulation.application import RecordedApplication
from spark_allocation.core.simulation.cluster import ClusterModel
from spark_allocation.core.simulation.outcome import NamedOutcome, Outcome
from spark_allocation.core.spark_conf import InvalidSetting
from spark_allocation.reports.what_if_table import CURVE_POINTS
from spark_allocation.sources.event_log.framings import CodecMissing
from spark_allocation.sources.event_log.log_files import LogFiles, NoLog
from spark_allocation.sources.event_log.reading import ReadLog, read_log

Progress = Callable[[int], None]
PROBLEMS_TOLD = 5
KILLED = (
    "the process that simulated it was killed, most likely because there was no memory left for it: a gigabyte of log with "
    "344,000 tasks takes 122 MiB"
)


@dataclass(frozen=True, slots=True)
class SupposedCluster:
    """What is said of the cluster; None means as it was recorded.

    Attributes:
        failures_per_hour: executors lost unasked, in an hour of an executor's life.
    """

    start_delay_ms: int | None = None
    pods_per_minute: float | None = None
    failures_per_hour: float = 0.0
    seed: int = 0

    def for_application(self, application: RecordedApplication) -> ClusterModel:
        """The cluster below this application."""
        return cluster_of(
            application,
            start_delay_ms=self.start_delay_ms,
            pods_per_minute=self.pods_per_minute,
            failures_per_hour=self.failures_per_hour,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True)
class LogStudy:
    """One application: its recorded run, and what would have come of it.

    Attributes:
        log: where it was read.
        notes: what of the log could not be used as it is.
        recorded: the run as the log has it.
        outcomes: as recorded first, then under each policy.
        refused: why this application cannot have a policy, by the policy's name.
        curve_difference: between the recorded executors and those of the same settings simulated, as a share of the first.
        problem: why nothing could be said; everything else is then empty.
    """

    log: str
    application_id: str = ""
    name: str = ""
    spark_version: str = ""
    tasks: int = 0
    notes: tuple[str, ...] = ()
    recorded: Outcome | None = None
    outcomes: tuple[NamedOutcome, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    curve_difference: float | None = None
    problem: str = ""


def study(
    files: LogFiles,
    policies: Sequence[PolicyFile],
    supposed: SupposedCluster,
    progress: Progress = lambda _bytes: None,
) -> LogStudy:
    """Read one log and run it under each policy; what goes wrong with this log is the study's ``problem``."""
    try:
        found = read_log(files, progress)
    except (NoLog, CodecMissing, OSError) as error:
        return LogStudy(files.name, problem=_naming(files, error))
    except Exception as error:  # noqa: BLE001  (each store has its own; the other logs still have their answers)
        why = f"{files.name}: cannot be read: {type(error).__name__}: {error}"
        return LogStudy(files.name, problem=why)
    try:
        return _simulated(files, found, policies, supposed)
    except (InvalidSetting, InvalidProfile) as error:
        return LogStudy(files.name, problem=f"{files.name}: the log's own settings: {error}")
    except Exception as error:  # noqa: BLE001  (a fault of the simulation; the other logs still have their answers)
        place = traceback.extract_tb(error.__traceback__)[-1]
        why = f"{type(error).__name__}: {error} ({Path(place.filename).name} line {place.lineno})"
        return LogStudy(files.name, problem=f"{files.name}: cannot be simulated: {why}; please report this")  # fmt: skip


def study_of_many(
    files: LogFiles, policies: Sequence[PolicyFile], supposed: SupposedCluster
) -> LogStudy:
    """What `study` finds, as much of it as tables and documents tell: small enough to keep for thousands of logs."""
    found = study(files, policies, supposed)
    return replace(
        found,
        recorded=None if found.recorded is None else found.recorded.thinned(CURVE_POINTS),
        outcomes=tuple(
            replace(each, outcome=each.outcome.thinned(CURVE_POINTS)) for each in found.outcomes
        ),
    )


def studies(
    logs: Sequence[LogFiles],
    policies: Sequence[PolicyFile],
    supposed: SupposedCluster,
    *,
    workers: int,
    progress: Progress = lambda _bytes: None,
) -> list[LogStudy]:
    """All logs, in their order.

    Args:
        workers: processes; with one, or for a single log, none is started.
        progress: told of every so many bytes of the logs.
    """
    if len(logs) == 1:
        return [study(logs[0], policies, supposed, progress)]
    if workers <= 1:
        found = []
        for files in logs:
            found.append(study_of_many(files, policies, supposed))
            progress(files.size)
        return found
    results: dict[int, LogStudy] = {}
    left = list(range(len(logs)))
    while left:
        with worker_processes(min(workers, len(left))) as pool:
            places = {}
            # one may be killed while others are yet to be handed out
            with suppress(BrokenProcessPool):
                for place in left:
                    places[pool.submit(study_of_many, logs[place], policies, supposed)] = place
            for future in as_completed(places):
                place = places[future]
                with suppress(BrokenProcessPool):
                    results[place] = future.result()
                    progress(logs[place].size)
        # when a process is killed, all that is not done goes with it: what was under way runs again, one after the other
        left = [place for place in left if place not in results]
        for place in left[: 2 * workers]:
            results[place] = _study_alone(logs[place], policies, supposed)
            progress(logs[place].size)
        left = left[2 * workers :]
    return [results[place] for place in range(len(logs))]


def refused_by_all(found: Sequence[LogStudy]) -> str:
    """The refusal of a policy that no application can have; "" when there is none."""
    applications = [each for each in found if not each.problem]
    for name, sentence in applications[0].refused.items() if applications else ():
        if all(name in each.refused for each in applications):
            return sentence
    return ""


def _study_alone(
    files: LogFiles, policies: Sequence[PolicyFile], supposed: SupposedCluster
) -> LogStudy:
    with worker_processes(1) as pool:
        try:
            return pool.submit(study_of_many, files, policies, supposed).result()
        except BrokenProcessPool:
            return LogStudy(files.name, problem=f"{files.name}: {KILLED}")


def _simulated(
    files: LogFiles, found: ReadLog, policies: Sequence[PolicyFile], supposed: SupposedCluster
) -> LogStudy:
    application = found.application
    cluster = supposed.for_application(application)
    notes = list(found.notes.sentences())
    outcomes = []
    refused = {}
    recorded = recorded_outcome(application)
    difference = None
    try:
        own = as_recorded(application)
    except RefusedPolicy as refusal:
        notes.append(f"not run as recorded: {refusal}")
    else:
        outcome = simulated(application, own, cluster)
        difference = curve_difference(outcome, recorded)
        outcomes.append(NamedOutcome(AS_RECORDED, outcome, own.settings))
        if own.by_operator is not None:
            notes.append(
                "the driver left allocation to the operator, and the log does not tell its settings: name the "
                f"SparkAllocation with --policy; {AS_RECORDED} means one with defaults"
            )
    for file in policies:
        try:
            policy = policy_for(application, file)
        except RefusedPolicy as refusal:
            refused[file.name] = str(refusal)
            notes.append(f"not run under {file.name}: {refusal}")
            continue
        outcomes.append(
            NamedOutcome(file.name, simulated(application, policy, cluster), policy.settings)
        )
    return LogStudy(
        log=files.name,
        application_id=application.application_id,
        name=application.name,
        spark_version=application.spark_version,
        tasks=application.num_tasks,
        notes=tuple(notes),
        recorded=recorded,
        outcomes=tuple(outcomes),
        refused=refused,
        curve_difference=difference,
    )


def searchable(
    logs: Sequence[LogFiles], progress: Progress = lambda _bytes: None
) -> list[RecordedApplication]:
    """The applications for which a SparkAllocation can be searched; of the other logs `study` tells what is wrong.

    Raises:
        NoLog: when there is none.
    """
    applications, problems = [], []
    for files in logs:
        try:
            application = read_log(files, progress).application
            policy_for(application, policy_of({}))
            applications.append(application)
        except Exception as error:  # noqa: BLE001  (as in `study`)
            problems.append(_naming(files, error))
    if not applications:
        more = len(problems) - PROBLEMS_TOLD
        raise NoLog("; ".join([*problems[:PROBLEMS_TOLD], *([f"and {more} more"] if more > 0 else [])]))  # fmt: skip
    return applications


def search(
    applications: Sequence[RecordedApplication],
    supposed: SupposedCluster,
    *,
    within: float,
    tried: Callable[[], None] = lambda: None,
) -> Recommendation:
    """The cheapest SparkAllocation for all these applications together.

    Args:
        within: by what share of its fastest makespan each application may take longer.
        tried: called after each policy.
    """

    def attempt(file: PolicyFile) -> list[Outcome]:
        outcomes = [
            simulated(each, policy_for(each, file), supposed.for_application(each))
            for each in applications
        ]
        tried()
        return outcomes

    return recommend(applications, attempt, within=within)


def _naming(files: LogFiles, error: Exception) -> str:
    text = str(error)
    return text if files.name in text else f"{files.name}: {text}"
