"""From answers of a driver, one after the other, to batches: each told once, and the age of the one that runs.

Theory of operation
-------------------
*A batch that has completed* is told when it is first seen. With the helper in the driver it has a number, and ended when the
helper wrote it: the driver's clock is placed on ours by the shortest time that ever lay between writing and seeing, and
nothing ended before the last look that did not see it. Without the helper there are gauges, which go on showing the last batch: another one is there when any of latency, input rate and processing
rate is another one. All of them 0 is what Spark shows before the first batch.

*The batch that runs* is known by its jobs. It began when its first job was submitted, by the driver's clock; that is
believed as far as it fits what was seen: not after it was first seen, and not before the last look that did not see it.
Between two jobs of a batch none runs; the batch is the same while its number is. Its active stages are told with how far they
are. How old one is comes from when the driver submitted it and the first job of the batch, both by the driver's clock.

*Its largest stage.* Stages that take less time than lies between two looks are not seen. A job tells the tasks of all its
stages together, so what was not seen has at most what the seen ones leave: the largest is bounded by that. Too large a number
asks for executors that wait; too small a one would keep a query late for ever.

*Runs.* A run id from jobs alone is told only once it changes, so that a query does not seem to start anew in the moment in
which its first job is seen.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from spark_allocation.core.driver_report import StageReport
from spark_allocation.core.resource_profiles import DEFAULT_PROFILE_ID, ProfileId
from spark_allocation.core.streaming.observations import (
    BatchSample,
    QueryName,
    QueryObservation,
    QueryState,
    RunningBatch,
    StageProgress,
    StreamingObservation,
    Trigger,
)
from spark_allocation.core.streaming_report import (
    QueryGauges,
    QueryProgress,
    StreamingJob,
    StreamingReport,
)
from spark_allocation.sources.streaming_gauges import MOST_QUERIES

IDLE_AFTER_SECONDS = 10.0
"""Without the helper, and without a known interval: a query is idle when nothing was seen of it for so long."""
LOOKS_TO_BELIEVE = 5
"""At jobs of another run than the helper tells of."""
MOST_STAGES_FOLLOWED = 32
"""Of a batch: as many as run at once where somebody works."""
SILENCE_SECONDS = 30.0
"""A look that is older than this says nothing of what began since."""

_STATES = {"idle": QueryState.IDLE, "terminated": QueryState.TERMINATED}
_TRIGGERS = {
    "ProcessingTime": Trigger.PROCESSING_TIME,
    "AvailableNow": Trigger.AVAILABLE_NOW,
    "OneTime": Trigger.ONCE,
    "Continuous": Trigger.CONTINUOUS,
    "RealTime": Trigger.CONTINUOUS,
}


@dataclass(slots=True)
class _Running:
    """The batch that runs, or ran when it was last looked at."""

    batch_id: int | None
    began_at: float
    submitted_at_ms: int | None = None
    """Its first job, by the driver's clock."""
    stages: dict[int, int] = field(default_factory=dict)
    jobs: dict[tuple[int, ...], int] = field(default_factory=dict)
    active: tuple[StageReport, ...] = ()
    """Of its stages, at the last look."""
    seen_at: dict[int, float] = field(default_factory=dict)
    """Of each stage, for the first time."""

    @property
    def largest_stage_tasks(self) -> int | None:
        largest = 0
        for stage_ids, tasks in self.jobs.items():
            seen = [self.stages[each] for each in stage_ids if each in self.stages]
            rest = 0 if len(seen) == len(stage_ids) else max(0, tasks - sum(seen))
            largest = max(largest, rest, *seen, 0)
        return largest or None

    @property
    def shuffles(self) -> bool:
        return any(len(stage_ids) > 1 for stage_ids in self.jobs)

    def told(self, now: float) -> RunningBatch:
        age_s = max(0.0, now - self.began_at)
        stages = tuple(
            StageProgress(
                each.stage_id,
                each.num_tasks,
                each.completed_indices,
                each.active_tasks,
                max(0.0, min(age_s, now - self._submitted(each))),
            )
            for each in self.active
        )
        return RunningBatch(age_s, self.batch_id, self.largest_stage_tasks, stages)

    def _submitted(self, stage: StageReport) -> float:
        """When, by our clock; when it was first seen, where the driver does not say."""
        if stage.submitted_at_ms is None or self.submitted_at_ms is None:
            return self.seen_at[stage.stage_id]
        return self.began_at + (stage.submitted_at_ms - self.submitted_at_ms) / 1000


@dataclass(slots=True)
class _Seen:
    """One query so far."""

    helper_run: str = ""
    job_run: str = ""
    told_run: str = ""
    told: tuple[object, ...] = ()
    """Run and batch that the helper told of last; kept when another run begins, as a run may be named again."""
    shown: tuple[object, ...] = ()
    """What Spark's gauges showed last in this run."""
    news_at: float | None = None
    duration_s: float = 0.0
    running: _Running | None = None
    ran: _Running | None = None
    """The batch before it."""
    done_batch: int | None = None
    map_only: bool = False
    looks_at_others: int = 0


class StreamBatches:
    """Of one life of a driver. Times are seconds of one monotonic clock, but for the driver's own."""

    def __init__(self) -> None:
        self._queries: dict[QueryName, _Seen] = {}
        self._looked_at: float | None = None
        self._behind: float | None = None
        """How far the driver's clock is behind ours, at most."""
        self._tasks_of_profiles: Counter[ProfileId] = Counter()

    def observe(
        self,
        report: StreamingReport,
        stages: Iterable[StageReport],
        *,
        now: float,
        epoch_ms: float,
        interval_s: float | None = None,
        backlogs: Mapping[QueryName, float] | None = None,
    ) -> StreamingObservation | None:
        """What an answer shows; None when streams run and nothing is told of them: metrics are missing.

        Args:
            stages: active ones.
            now: of the answer.
            epoch_ms: the same moment.
            interval_s: what a batch may take, where the driver does not say; for when a query counts as idle.
            backlogs: rows that wait, from elsewhere.
        """
        # what has ended, and its name has been taken again, comes first and is replaced
        in_order = sorted(
            report.progress, key=lambda each: (each.event != "terminated", each.at_ms)
        )
        progress = {_name(each.name, each.query_id): each for each in in_order}
        gauges = {QueryName(each.name): each for each in report.gauges}
        jobs = self._jobs(report.jobs, progress.values())
        blind = bool(jobs) and not progress and not gauges
        by_stage = {each.stage_id: each for each in stages}
        for name in self._queries.keys() - progress.keys() - gauges.keys() - jobs.keys():
            del self._queries[name]
        observed = tuple(
            self._query(
                name,
                progress.get(name),
                gauges.get(name),
                jobs.get(name, []),
                by_stage,
                now=now,
                epoch_ms=epoch_ms,
                interval_s=interval_s,
                backlog=(backlogs or {}).get(name),
            )
            for name in sorted({*progress, *gauges, *jobs})
        )
        self._looked_at = now
        return None if blind else StreamingObservation(now, observed, self.profile_id)

    @property
    def profile_id(self) -> ProfileId:
        """The resource profile in which most tasks of streams have run."""
        most = self._tasks_of_profiles.most_common(1)
        return most[0][0] if most else DEFAULT_PROFILE_ID

    def _jobs(
        self, jobs: Iterable[StreamingJob], progress: Iterable[QueryProgress]
    ) -> dict[QueryName, list[StreamingJob]]:
        """By query; jobs of which only the run is known count when somebody knows the run."""
        runs = {each.job_run: name for name, each in self._queries.items() if each.job_run}
        runs |= {each.run_id: _name(each.name, each.query_id) for each in progress}
        found: dict[QueryName, list[StreamingJob]] = {}
        for job in jobs:
            name = _name(job.name, job.query_id) if job.query_id else runs.get(job.run_id)
            if name is not None and (name in found or len(found) < MOST_QUERIES):
                found.setdefault(name, []).append(job)
        return found

    def _query(
        self,
        name: QueryName,
        progress: QueryProgress | None,
        gauges: QueryGauges | None,
        jobs: list[StreamingJob],
        stages: Mapping[int, StageReport],
        *,
        now: float,
        epoch_ms: float,
        interval_s: float | None,
        backlog: float | None,
    ) -> QueryObservation:
        first_look = name not in self._queries
        seen = self._queries.setdefault(name, _Seen())
        progress, jobs = _of_one_run(seen, progress, jobs)
        self._note_run(seen, progress, jobs)
        self._note_running(seen, jobs, stages, now=now, epoch_ms=epoch_ms)
        sample = None
        if progress is not None:
            sample = _told(seen, progress)
            if sample is not None:
                ended_at = self._ended_at(progress, now, epoch_ms if first_look else None)
                sample = replace(sample, ended_at=ended_at)
        elif gauges is not None:
            sample = _shown(seen, gauges, now, runs=bool(jobs))
        if sample is not None:
            seen.news_at, seen.duration_s = now, sample.duration_s
        if jobs or seen.news_at is None:
            seen.news_at = now
        running = seen.running if jobs else None
        trigger = Trigger.UNKNOWN
        trigger_interval_s = None
        if progress is not None:
            trigger = _TRIGGERS.get(progress.trigger, Trigger.UNKNOWN)
            if trigger is Trigger.PROCESSING_TIME and progress.trigger_interval_ms is not None:
                trigger_interval_s = progress.trigger_interval_ms / 1000
            state = _STATES.get(progress.event, QueryState.ACTIVE)
            if jobs and state is QueryState.IDLE:
                state = QueryState.ACTIVE
        else:
            quiet = max(IDLE_AFTER_SECONDS, seen.duration_s, 2 * (interval_s or 0.0))
            state = QueryState.IDLE if now - seen.news_at > quiet else QueryState.ACTIVE
        return QueryObservation(
            name,
            seen.told_run,
            state,
            trigger,
            trigger_interval_s,
            () if sample is None else (sample,),
            None if running is None else running.told(now),
            backlog,
            None if progress is None else progress.partitions,
            seen.map_only,
            _keeps_state(gauges),
        )

    def _ended_at(self, progress: QueryProgress, now: float, epoch_ms: float | None) -> float:
        """When a batch that was not there at the last look was told by the driver.

        Args:
            epoch_ms: when the document may be old, because nobody has looked before.
        """
        at = progress.at_ms / 1000
        behind = now - at
        self._behind = behind if self._behind is None else min(self._behind, behind)
        if epoch_ms is not None:
            old = progress.event == "progress"
            return now - (max(0.0, epoch_ms / 1000 - at) if old else 0.0)
        since = now if self._looked_at is None else self._looked_at
        return max(since, min(now, at + self._behind))

    def _note_run(
        self, seen: _Seen, progress: QueryProgress | None, jobs: list[StreamingJob]
    ) -> None:
        if progress is not None:
            if seen.helper_run not in ("", progress.run_id):
                _begin_anew(seen)
            seen.helper_run = seen.told_run = progress.run_id
        elif jobs:
            run = jobs[-1].run_id
            if seen.job_run not in ("", run):
                _begin_anew(seen)
                seen.told_run = run
            seen.job_run = run

    def _note_running(
        self,
        seen: _Seen,
        jobs: list[StreamingJob],
        stages: Mapping[int, StageReport],
        *,
        now: float,
        epoch_ms: float,
    ) -> None:
        numbers = [each.batch_id for each in jobs if each.batch_id is not None]
        batch_id = max(numbers, default=None)
        done = batch_id is not None and seen.done_batch is not None and batch_id <= seen.done_batch
        if not jobs or done:
            return
        mine = [each for each in jobs if each.batch_id == batch_id]
        if seen.running is None or seen.running.batch_id != batch_id:
            seen.ran = seen.running
            submitted_at_ms = min(_submitted(mine), default=None)
            seen.running = _Running(batch_id, self._began(mine, now, epoch_ms), submitted_at_ms)
        running = seen.running
        active: dict[int, StageReport] = {}
        for job in mine:
            running.jobs[job.stage_ids] = max(job.tasks, running.jobs.get(job.stage_ids, 0))
            for stage_id in job.stage_ids:
                stage = stages.get(stage_id)
                if stage is None:
                    continue
                if stage_id not in running.stages:
                    self._tasks_of_profiles[stage.profile_id] += stage.num_tasks
                running.stages[stage_id] = stage.num_tasks
                if len(active) < MOST_STAGES_FOLLOWED:
                    running.seen_at.setdefault(stage_id, now)
                    active[stage_id] = stage
        running.active = tuple(active.values())
        seen.map_only = not running.shuffles

    def _began(self, jobs: list[StreamingJob], now: float, epoch_ms: float) -> float:
        submitted = _submitted(jobs)
        age_s = max(0.0, (epoch_ms - min(submitted)) / 1000) if submitted else 0.0
        looked_at = self._looked_at
        if looked_at is not None and now - looked_at <= SILENCE_SECONDS:
            age_s = min(age_s, now - looked_at)
        return now - age_s


def _submitted(jobs: Iterable[StreamingJob]) -> list[int]:
    return [each.submitted_at_ms for each in jobs if each.submitted_at_ms is not None]


def _of_one_run(
    seen: _Seen, progress: QueryProgress | None, jobs: list[StreamingJob]
) -> tuple[QueryProgress | None, list[StreamingJob]]:
    """The helper and the jobs, where they speak of the same run.

    For some looks the one may be ahead of the other. When jobs of another run go on, the helper has fallen silent.
    """
    if progress is None:
        return None, jobs
    own = [each for each in jobs if each.run_id == progress.run_id]
    seen.looks_at_others = seen.looks_at_others + 1 if jobs and not own else 0
    if seen.looks_at_others > LOOKS_TO_BELIEVE:
        return None, jobs
    return progress, own


def _told(seen: _Seen, progress: QueryProgress) -> BatchSample | None:
    """The batch that the helper tells of, if it is another one; when it ended is to be found out."""
    told = (progress.run_id, progress.batch_id)
    if progress.batch_id is None or progress.duration_ms is None or told == seen.told:
        return None
    seen.told, seen.done_batch = told, progress.batch_id
    batches = [
        each for each in (seen.running, seen.ran) if each and each.batch_id == progress.batch_id
    ]
    if seen.running in batches:
        seen.ran, seen.running = seen.running, None
    return BatchSample(
        0.0,
        progress.duration_ms / 1000,
        progress.batch_id,
        progress.rows,
        progress.input_rate,
        progress.processing_rate,
        progress.rows_behind,
        batches[0].largest_stage_tasks if batches else None,
    )


def _shown(seen: _Seen, gauges: QueryGauges, now: float, *, runs: bool) -> BatchSample | None:
    """The batch that Spark's gauges show, if it is another one.

    Args:
        runs: another batch has begun already.
    """
    shown = (repr(gauges.latency_ms), repr(gauges.input_rate), repr(gauges.processing_rate))
    nothing_yet = not (gauges.latency_ms or gauges.input_rate or gauges.processing_rate)
    if gauges.latency_ms is None or nothing_yet or shown == seen.shown:
        return None
    seen.shown = shown
    if seen.running is not None and (not runs or seen.running.batch_id is None):
        # without a number nobody can tell a batch from the next one but by this
        seen.ran, seen.running = seen.running, None
    return BatchSample(
        now,
        gauges.latency_ms / 1000,
        input_rate=gauges.input_rate,
        processing_rate=gauges.processing_rate,
        largest_stage_tasks=None if seen.ran is None else seen.ran.largest_stage_tasks,
    )


def _keeps_state(gauges: QueryGauges | None) -> bool | None:
    if gauges is None or gauges.state_rows is None or not gauges.state_rows >= 0:
        return None
    return gauges.state_rows > 0


def _begin_anew(seen: _Seen) -> None:
    """Another run of the query: numbers of batches may begin anew."""
    seen.shown = ()
    seen.running = seen.ran = seen.done_batch = None


def _name(name: str | None, query_id: str) -> QueryName:
    return QueryName(name or query_id)
