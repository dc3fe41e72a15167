"""What there was to do in a logged application: its jobs, their stages, and what followed what.

Theory of operation
-------------------
A stage is what its first attempt is; of each of its tasks only the duration stays: eight bytes. A job names all stages that
it could need; those that were skipped are stages of an earlier job under another id, and are known by the RDD that they
compute. Of them only those that ran in their place are remembered: there may be very many.

- a task whose end is not in the log: as long as the median of its stage; those of a stage that was given up never ran;
- a job that had not ended: counts with what is known of it.

Source: ``DAGScheduler``, ``ActiveJob``, ``StageInfo``.
"""

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

from spark_allocation.core.resource_profiles import ProfileId
from spark_allocation.core.simulation.application import (
    Follows,
    RecordedJob,
    RecordedStage,
    RecordedUnpersist,
)
from spark_allocation.sources.event_log import wire
from spark_allocation.sources.event_log.log_notes import LogNotes

TRIGGER_PAUSE_MS = 500
"""A streaming query that pauses longer between two batches waits for its trigger or for data, not for Spark."""
UNKNOWN = -1
"""The duration of a task whose end is not in the log."""


class LoggedStage:
    """A stage while the log is read.

    Attributes:
        submitted_at: epoch milliseconds, as all times of this module.
        durations: of each task, in milliseconds; `UNKNOWN` until its end is read.
        failures: how long tries took that failed by themselves, by task.
        given_up: its last attempt failed.
        cached_rdds: the nearest to what it computes first.
    """

    __slots__ = (
        "_places",
        "cached_rdds",
        "completed_at",
        "durations",
        "failures",
        "given_up",
        "name",
        "parents",
        "profile_id",
        "rdd_id",
        "submitted_at",
        "writes_shuffle",
    )

    def __init__(self, info: wire.StageInfo, at: int) -> None:
        self.name = info.name
        self.profile_id = info.profile_id
        self.submitted_at = at
        self.completed_at: int | None = None
        self.given_up = False
        self.parents = tuple(info.parents)
        self.rdd_id = info.rdds[0].rdd_id if info.rdds else UNKNOWN
        cached = {each.rdd_id for each in info.rdds if each.level.memory or each.level.disk}
        # an RDD is made after those that it is computed from, so the nearest has the highest id
        self.cached_rdds = tuple(sorted(cached, reverse=True))
        self.durations = array("q", [UNKNOWN]) * max(0, info.num_tasks)
        self.failures: dict[int, list[int]] = {}
        self._places: dict[int, int] = {}
        self.writes_shuffle = False

    def place(self, attempt: int, info: wire.TaskInfo) -> int | None:
        """A task's place in the first attempt of its stage; None when the log does not tell it."""
        if attempt == 0:
            place = info.index
            if info.partition >= 0 and info.partition != place:
                self._places[info.partition] = place
        elif info.partition < 0:
            return None
        else:
            place = self._places.get(info.partition, info.partition)
        return place if 0 <= place < len(self.durations) else None


@dataclass(slots=True)
class _Job:
    """A job while the log is read.

    Attributes:
        thread: the streaming query that it belongs to; "" for none.
        declared: of each stage that it could need, the RDD that it computes and its parents.
        reads: stages of earlier jobs whose output it counts on.
    """

    job_id: int
    submitted_at: int
    stage_ids: tuple[int, ...]
    thread: str
    batch: str
    declared: dict[int, tuple[int, tuple[int, ...]]]
    reads: tuple[int, ...] = ()
    ended_at: int | None = None


class LoggedProgram:
    """The program while the log is read.

    Args:
        notes: counts what is guessed.
    """

    def __init__(self, notes: LogNotes) -> None:
        self._notes = notes
        self._jobs: dict[int, _Job] = {}
        self._stages: dict[int, LoggedStage] = {}
        self._origins: dict[int, int] = {}
        self._parents_elsewhere: dict[int, int] = {}
        self._unpersists: list[tuple[int, int]] = []

    # -- while the log is read -------------------------------------------------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Some job has."""
        return bool(self._jobs)

    def stage(self, stage_id: int) -> LoggedStage | None:
        """One that was submitted."""
        return self._stages.get(stage_id)

    def job_started(self, event: wire.JobStart, at: int) -> None:
        """A job begins."""
        properties = event.properties
        query = (properties.query if properties is not None else None) or ""
        self._jobs[event.job_id] = _Job(
            job_id=event.job_id,
            submitted_at=at,
            stage_ids=tuple(event.stage_ids or (each.stage_id for each in event.stages)),
            thread=query,
            batch=(properties.batch if properties is not None else None) or "",
            declared={
                each.stage_id: (
                    each.rdds[0].rdd_id if each.rdds else UNKNOWN,
                    tuple(each.parents),
                )
                for each in event.stages
            },
        )

    def job_ended(self, job_id: int, at: int) -> None:
        """A job has come to its end."""
        job = self._jobs.get(job_id)
        if job is not None and job.ended_at is None:
            job.ended_at = at
            self._settle(job)

    def stage_submitted(self, info: wire.StageInfo, at: int) -> None:
        """An attempt of a stage begins; the first one says what the stage is."""
        if info.stage_id not in self._stages:
            stage = self._stages[info.stage_id] = LoggedStage(info, at)
            self._origins.setdefault(stage.rdd_id, info.stage_id)

    def stage_completed(self, info: wire.StageInfo, at: int) -> None:
        """An attempt of a stage is over."""
        stage = self._stages.get(info.stage_id)
        if stage is not None and stage.completed_at is None:
            stage.given_up = info.failure is not None
            if info.failure is None:
                stage.completed_at = at

    def unpersisted(self, rdd_id: int, at: int) -> None:
        """An RDD is no longer cached."""
        self._unpersists.append((rdd_id, at))

    def _settle(self, job: _Job) -> None:
        """Of stages that were skipped, only those that ran in their place are remembered: there may be very many."""
        reads = set()
        for stage_id, (rdd_id, _) in job.declared.items():
            origin = self._origins.get(rdd_id)
            if stage_id not in self._stages and origin is not None:
                reads.add(origin)
        for stage_id in job.stage_ids:
            stage = self._stages.get(stage_id)
            for parent in stage.parents if stage is not None else ():
                if parent not in self._stages and parent in job.declared:
                    origin = self._origins.get(job.declared[parent][0])
                    if origin is not None:
                        self._parents_elsewhere[parent] = origin
        job.reads = tuple(sorted(reads))
        job.declared = {}

    # -- the end ---------------------------------------------------------------------------------------------------------

    def finish(self, begin: int, end: int) -> "FinishedProgram":
        """The program, when the log is read to its end.

        Args:
            begin: of the application.
            end: of the application, or the last moment that the log knows.
        """
        asked_at: dict[int, int] = {}
        for job in self._jobs.values():
            if job.ended_at is None:
                self._notes.unfinished_jobs += 1
                self._settle(job)
            for stage_id in job.stage_ids:
                asked_at.setdefault(stage_id, job.submitted_at)
        order = _OrderOfJobs(list(self._jobs.values()), begin)
        last_job_end = max((job.ended_at or end) for job in self._jobs.values())
        return FinishedProgram(
            stages={
                stage_id: self._stage(stage_id, stage, asked_at.get(stage_id))
                for stage_id, stage in self._stages.items()
            },
            jobs=tuple(
                self._job(job, order, begin)
                for job in sorted(
                    self._jobs.values(), key=lambda each: (each.submitted_at, each.job_id)
                )
            ),
            unpersists=tuple(
                RecordedUnpersist(rdd_id, order.follows("", at)) for rdd_id, at in self._unpersists
            ),
            tail_ms=max(0, end - last_job_end),
        )

    def _job(self, job: _Job, order: "_OrderOfJobs", begin: int) -> RecordedJob:
        ran = [self._stages[each] for each in job.stage_ids if each in self._stages]
        last = max((each.completed_at or 0 for each in ran), default=0)
        follows = order.follows(job.thread, job.submitted_at, most=order.rank(job))
        not_before = None
        if job.thread and order.begins_batch(job) and follows.pause_ms >= TRIGGER_PAUSE_MS:
            not_before = job.submitted_at - begin
            follows = Follows(follows.jobs, 0, follows.thread)
        return RecordedJob(
            job_id=job.job_id,
            stage_ids=tuple(each for each in job.stage_ids if each in self._stages),
            follows=follows,
            rank=order.rank(job),
            reads=job.reads,
            # a job without stages of its own lasts as long as it did
            tail_ms=max(0, (job.ended_at or job.submitted_at) - (last or job.submitted_at)),
            not_before_ms=not_before,
        )

    def _stage(self, stage_id: int, stage: LoggedStage, asked_at: int | None) -> RecordedStage:
        parents = tuple(
            dict.fromkeys(
                parent if parent in self._stages else self._parents_elsewhere[parent]
                for parent in stage.parents
                if parent in self._stages or parent in self._parents_elsewhere
            )
        )
        could = [self._stages[each].completed_at or 0 for each in parents]
        if asked_at is not None:
            could.append(asked_at)
        return RecordedStage(
            stage_id=stage_id,
            profile_id=ProfileId(stage.profile_id),
            durations_ms=self._durations(stage),
            parents=tuple(parent for parent in parents if parent != stage_id),
            writes_shuffle=stage.writes_shuffle,
            cached_rdds=stage.cached_rdds,
            pause_ms=max(0, stage.submitted_at - max(could)) if could else 0,
            failures_ms={place: tuple(tries) for place, tries in stage.failures.items()},
            name=stage.name,
        )

    def _durations(self, stage: LoggedStage) -> Sequence[int]:
        missing = stage.durations.count(UNKNOWN)
        if not missing:
            return stage.durations
        known = [each for each in stage.durations if each != UNKNOWN]
        if stage.given_up or not known:
            # of a stage that was given up, the others never ran
            stage.failures.clear()
            return array("q", known)
        self._notes.estimated += missing
        guess = median_low(known)
        return array("q", (guess if each == UNKNOWN else each for each in stage.durations))


@dataclass(frozen=True, slots=True)
class FinishedProgram:
    """What there was to do, as `RecordedApplication` has it."""

    stages: Mapping[int, RecordedStage]
    jobs: tuple[RecordedJob, ...]
    unpersists: tuple[RecordedUnpersist, ...]
    tail_ms: int


class _OrderOfJobs:
    """In which order jobs ended, and what was over when something happened."""

    def __init__(self, jobs: list[_Job], begin: int) -> None:
        self._begin = begin
        by_thread: dict[str, list[_Job]] = {}
        for job in jobs:
            by_thread.setdefault(job.thread, []).append(job)
        never = max((job.ended_at or job.submitted_at for job in jobs), default=0) + 1
        self._ends: dict[str, list[int]] = {}
        self._ranks: dict[int, int] = {}
        self._first_of_batch: set[int] = set()
        for thread, theirs in by_thread.items():
            theirs.sort(key=lambda job: (job.ended_at or never, job.job_id))
            self._ends[thread] = [job.ended_at or never for job in theirs]
            self._ranks.update({job.job_id: rank for rank, job in enumerate(theirs)})
            batches: set[str] = set()
            for job in sorted(theirs, key=lambda job: (job.submitted_at, job.job_id)):
                if job.batch not in batches:
                    self._first_of_batch.add(job.job_id)
                batches.add(job.batch)

    def follows(self, thread: str, at: int, most: int | None = None) -> Follows:
        """What was over at this time.

        Args:
            most: the rank of the job that follows: one that ends when it begins, as those of no partition do, does not
                follow itself, nor do two of them each other.
        """
        ends = self._ends.get(thread, [])
        jobs = bisect_right(ends, at)
        if most is not None:
            jobs = min(jobs, most)
        since = ends[jobs - 1] if jobs else self._begin
        return Follows(jobs, max(0, at - since), thread)

    def rank(self, job: _Job) -> int:
        return self._ranks[job.job_id]

    def begins_batch(self, job: _Job) -> bool:
        return job.job_id in self._first_of_batch
