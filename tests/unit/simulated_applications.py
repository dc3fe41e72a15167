"""Applications made by hand for the simulation, and the event log that a simulated run would have left."""

from collections.abc import Mapping, Sequence

from tests.unit.event_log_builder import EventLog, rdd

from spark_allocation.controller.policy_files import PolicyFile
from spark_allocation.controller.what_if import (
    Policy,
    policy_for,
    simulated,
)
from spark_allocation.core.listener_events import (
    ExecutorAdded,
    ExecutorRemoved,
    JobEnd,
    JobStart,
    ListenerEvent,
    StageCompleted,
    StageSubmitted,
    TaskEnd,
    TaskEndReason,
    TaskStart,
    UnpersistRdd,
)
from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.simulation.application import (
    Follows,
    RecordedApplication,
    RecordedJob,
    RecordedStage,
)
from spark_allocation.core.simulation.cluster import ClusterModel
from spark_allocation.core.simulation.outcome import Outcome

AT_ONCE = ClusterModel(start_delays_ms=(0,), leaves_after_ms=0)
KEPT = {"minExecutors": 4, "maxExecutors": 4, "executorIdleTimeout": "1h"}
DYNAMIC = "spark.dynamicAllocation"
_RDD_OF_STAGE = 100_000


def stage(
    stage_id: int,
    seconds: Sequence[float],
    *,
    parents: tuple[int, ...] = (),
    writes: bool = False,
    cached: tuple[int, ...] = (),
    profile: int = 0,
    failures: Mapping[int, tuple[int, ...]] | None = None,
) -> RecordedStage:
    return RecordedStage(
        stage_id=stage_id,
        profile_id=ProfileId(profile),
        durations_ms=[round(each * 1000) for each in seconds],
        parents=parents,
        writes_shuffle=writes,
        cached_rdds=cached,
        failures_ms=failures or {},
    )


def job(
    job_id: int,
    *stages: int,
    after: int | None = None,
    pause: float = 0.0,
    reads: tuple[int, ...] = (),
) -> RecordedJob:
    """A job that follows all before it, unless told otherwise."""
    follows = Follows(job_id if after is None else after, round(pause * 1000))
    return RecordedJob(job_id, stages, follows, rank=job_id, reads=reads)


def application(
    stages: Sequence[RecordedStage],
    jobs: Sequence[RecordedJob] | None = None,
    *,
    properties: Mapping[str, str] | None = None,
    tail: float = 0.0,
    **about: object,
) -> RecordedApplication:
    """Without jobs: one that runs all stages, at once."""
    return RecordedApplication(
        application_id="spark-1",
        name="made by hand",
        spark_version="4.1.4",
        properties={f"{DYNAMIC}.enabled": "true", **(properties or {})},
        profiles=(),
        jobs=tuple(jobs) if jobs is not None else (job(0, *(each.stage_id for each in stages)),),
        stages={each.stage_id: each for each in stages},
        tail_ms=round(tail * 1000),
        **about,  # type: ignore[arg-type]
    )


def shuffle_read_again(pause: float = 60) -> RecordedApplication:
    """A map stage, its reader, and after a pause another job that reads the same shuffle."""
    stages = [
        stage(0, [4] * 4, writes=True),
        stage(1, [1] * 4, parents=(0,)),
        stage(2, [1] * 4, parents=(0,)),
    ]
    return application(stages, [job(0, 0, 1), job(1, 2, pause=pause, reads=(0,))])


def spark(run: RecordedApplication, **settings: object) -> Policy:
    """The driver allocates; settings are named as in Spark below ``spark.dynamicAllocation``, with _ for a dot."""
    properties = {f"{DYNAMIC}.{key.replace('_', '.')}": value for key, value in settings.items()}
    return policy_for(run, PolicyFile("spark", ({f"{DYNAMIC}.enabled": True, **properties},)))


def operator(run: RecordedApplication, **spec: object) -> Policy:
    """The operator allocates."""
    document = {"kind": "SparkAllocation", "spec": {"driver": {"podName": "d"}, **spec}}
    return policy_for(run, PolicyFile("operator", (document,)))


def under(
    run: RecordedApplication, policy: Policy, cluster: ClusterModel = AT_ONCE
) -> tuple[Outcome, list[tuple[int, ListenerEvent]]]:
    """The outcome, and all that the driver's listeners heard."""
    heard: list[tuple[int, ListenerEvent]] = []
    outcome = simulated(run, policy, cluster, lambda at, event: heard.append((at, event)))
    return outcome, heard


def executors_at(outcome: Outcome, *seconds: float) -> list[int]:
    """How many executors there were at these moments."""
    points = list(outcome.timeline)
    return [
        max((point for point in points if point[0] <= at * 1000), key=lambda point: point[0])[1]
        for at in seconds
    ]


def log_of(
    run: RecordedApplication,
    heard: Sequence[tuple[int, ListenerEvent]],
    outcome: Outcome,
    properties: Mapping[str, str],
) -> EventLog:
    """The event log that this run would have left."""
    log = EventLog(properties=properties)
    begun: dict[tuple[int, int, int], tuple[float, str]] = {}
    for profile in run.profiles:
        cores = profile.executor_resources["cores"].amount
        log.profile(int(profile.id), cores=cores)
    for at_ms, event in heard:
        at = at_ms / 1000
        match event:
            case ExecutorAdded(executor_id, profile_id):
                log.executor_added(executor_id, at, profile=int(profile_id))
            case ExecutorRemoved(executor_id, reason):
                log.executor_removed(executor_id, at, reason)
            case JobStart(job_id):
                (recorded,) = (each for each in run.jobs if each.job_id == job_id)
                known = {each: each for each in recorded.stage_ids}
                known |= {each: 1_000_000 * (job_id + 1) + each for each in recorded.reads}
                log.job_start(job_id, at, [_info(log, run, each, known) for each in known])
            case JobEnd(job_id):
                log.job_end(job_id, at)
            case StageSubmitted(info):
                log.stage_submitted(
                    _info(log, run, info.stage_id, {}, attempt=info.attempt, tasks=info.num_tasks),
                    at,
                )
            case StageCompleted(stage_id, attempt):
                log.stage_completed(_info(log, run, stage_id, {}, attempt=attempt), at)
            case TaskStart(stage_id, attempt, index, executor_id):
                begun[stage_id, attempt, index] = (at, executor_id)
                log.task_start(_key(stage_id, attempt), index, executor_id, at, partition=index)
            case TaskEnd(stage_id, attempt, index, executor_id, reason):
                began = begun.pop((stage_id, attempt, index), None)
                log.task_end(
                    _key(stage_id, attempt),
                    index,
                    executor_id,
                    at if began is None else began[0],
                    at,
                    reason=_reason(reason, known=began is not None),
                    writes=run.stages[stage_id].writes_shuffle,
                    partition=index,
                )
            case UnpersistRdd(rdd_id):
                log.unpersist(rdd_id)
    log.application_end(outcome.makespan_ms / 1000)
    return log


def _reason(reason: TaskEndReason, *, known: bool) -> str:
    if not known:
        return "Resubmitted"
    return "ExceptionFailure" if reason is TaskEndReason.FAILED else "Success"


def _key(stage_id: int, attempt: int) -> dict[str, int]:
    return {"Stage ID": stage_id, "Stage Attempt ID": attempt}


def _info(
    log: EventLog,
    run: RecordedApplication,
    stage_id: int,
    known: Mapping[int, int],
    *,
    attempt: int = 0,
    tasks: int | None = None,
) -> dict[str, object]:
    """A stage as the log describes it; ``known`` gives ids of their own to stages that are skipped."""
    recorded = run.stages[stage_id]
    rdds = [
        rdd(_RDD_OF_STAGE + stage_id),
        *(rdd(each, cached=True) for each in recorded.cached_rdds),
    ]
    return log.stage(
        known.get(stage_id, stage_id),
        recorded.num_tasks if tasks is None else tasks,
        attempt=attempt,
        parents=[known.get(each, each) for each in recorded.parents],
        rdds=rdds,
        profile=int(recorded.profile_id),
    )
