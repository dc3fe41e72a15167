"""Logs under policies: each log read once, run as it was recorded and under each policy, on as many cores as there are."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

from spark_allocation.controller.policy_files import PolicyFile, RefusedPolicy
from spark_allocation.controller.policy_search import Recommendation, recommend
from spark_allocation.controller.what_if import (
    AS_RECORDED,
    as_recorded,
    cluster_of,
    curve_difference,
    policy_for,
    recorded_outcome,
    simulated,
)
from spark_allocation.core.simulation.application import RecordedApplication
from spark_allocation.core.simulation.cluster import ClusterModel
from spark_allocation.core.simulation.outcome import NamedOutcome, Outcome
from spark_allocation.sources.event_log.framings import CodecMissing
from spark_allocation.sources.event_log.log_files import LogFiles, NoLog
from spark_allocation.sources.event_log.reading import read_log

Progress = Callable[[int], None]


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
    curve_difference: float | None = None
    problem: str = ""


def study(
    files: LogFiles,
    policies: Sequence[PolicyFile],
    supposed: SupposedCluster,
    progress: Progress = lambda _bytes: None,
) -> LogStudy:
    """Read one log and run it under each policy; what cannot be read is the study's ``problem``.

    Raises:
        RefusedPolicy: for a policy that Spark or the operator would refuse.
    """
    try:
        found = read_log(files, progress)
    except (NoLog, CodecMissing, OSError) as error:
        return LogStudy(files.name, problem=_naming(files, error))
    application = found.application
    cluster = supposed.for_application(application)
    notes = list(found.notes.sentences())
    outcomes = []
    recorded = recorded_outcome(application)
    difference = None
    try:
        own = as_recorded(application)
    except RefusedPolicy as refused:
        notes.append(f"not run as recorded: {refused}")
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
        policy = policy_for(application, file)
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
        curve_difference=difference,
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

    Raises:
        RefusedPolicy: for a policy that Spark or the operator would refuse.
    """
    if workers <= 1 or len(logs) <= 1:
        return [study(files, policies, supposed, progress) for files in logs]
    with ProcessPoolExecutor(max_workers=min(workers, len(logs))) as pool:
        futures: dict[Future[LogStudy], LogFiles] = {
            pool.submit(study, files, policies, supposed): files for files in logs
        }
        left = set(futures)
        while left:
            done, left = wait(left, return_when=FIRST_COMPLETED)
            for future in done:
                progress(futures[future].size)
        return [future.result() for future in futures]


def search(
    logs: Sequence[LogFiles],
    supposed: SupposedCluster,
    *,
    within: float,
    progress: Progress = lambda _bytes: None,
    tried: Callable[[int], None] = lambda _number: None,
) -> tuple[Recommendation, list[str]]:
    """The cheapest SparkAllocation for all these logs together, and what could not be read of them.

    Args:
        within: by what share of its fastest makespan each application may take longer.
        tried: told how many policies were simulated so far.

    Raises:
        NoLog: when none of them can be read.
    """
    applications, problems = [], []
    for files in logs:
        try:
            applications.append(read_log(files, progress).application)
        except (NoLog, CodecMissing, OSError) as error:
            problems.append(_naming(files, error))
    if not applications:
        raise NoLog("; ".join(problems))
    number = 0

    def attempt(file: PolicyFile) -> list[Outcome]:
        nonlocal number
        number += 1
        tried(number)
        return [
            simulated(each, policy_for(each, file), supposed.for_application(each))
            for each in applications
        ]

    return recommend(applications, attempt, within=within), problems


def _naming(files: LogFiles, error: Exception) -> str:
    text = str(error)
    return text if files.name in text else f"{files.name}: {text}"
