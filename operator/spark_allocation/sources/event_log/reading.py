"""From the lines of an event log to a recorded application, in one pass and in little memory.

Theory of operation
-------------------
A line begins with its event's name, so most lines are passed over after a look at their first bytes; the others are decoded
into the few fields that are needed. Of a task only its duration stays: eight bytes.

Nothing is given up for a line that cannot be read. What was passed over, guessed or put right is counted in `LogNotes`,
and the caller says so:

- a line that is cut or no JSON: counted;
- a time long before the latest one: the driver's clock was set back, and all later times are moved forward by as much;
- tasks whose end is not in the log: as long as the median of their stage; those of a stage that was given up never ran;
- a job that had not ended: counts with what is known of it;
- a task that computed a cached block anew, because its executor was gone: as long as it took beyond that.

Source: ``org.apache.spark.util.JsonProtocol``, ``ReplayListenerBus``.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median_low
from typing import BinaryIO

import msgspec

from spark_allocation.core.passive_driver import migration_obstacle
from spark_allocation.core.resource_profiles import (
    DEFAULT_PROFILE_ID,
    ExecutorResourceRequest,
    InvalidProfile,
    ProfileId,
    ResourceProfile,
    TaskResourceRequest,
)
from spark_allocation.core.simulation.application import (
    Follows,
    RecordedApplication,
    RecordedExecutor,
    RecordedJob,
    RecordedRun,
    RecordedStage,
    RecordedUnpersist,
)
from spark_allocation.core.simulation.timeline import Timeline
from spark_allocation.sources.event_log import wire
from spark_allocation.sources.event_log.framings import CutStream, unpacked
from spark_allocation.sources.event_log.log_files import LogFiles, NoLog

LONGEST_LINE = 256 << 20
CLOCK_SET_BACK_MS = 60_000
"""Lines are in the order of the listener bus, which is nearly that of time; further back means that a clock was set."""
TRIGGER_PAUSE_MS = 500
"""A streaming query that pauses longer between two batches waits for its trigger or for data, not for Spark."""

_UNKNOWN = -1
_SPARKS_OWN = b'{"Event":"SparkListener'
_OTHERS = b'{"Event":"'
_LOST = frozenset({"FetchFailed", "ExecutorLostFailure"})


@dataclass(slots=True)
class LogNotes:
    """What of a log could not be used as it is.

    Attributes:
        lines: of the log.
        damaged: lines that are cut or no JSON of the kind they begin as.
        unknown: events that no version of Spark writes, by name.
        clock_set_back: how often.
        estimated: tasks with a guessed duration.
        orphans: ends of tasks whose stage is not in the log.
        unfinished_jobs: that had not ended when the log did.
        cut: why packed parts gave less than they should.
        refused_profiles: resource profiles that Spark would not take.
    """

    lines: int = 0
    damaged: int = 0
    unknown: dict[str, int] = field(default_factory=dict)
    clock_set_back: int = 0
    estimated: int = 0
    orphans: int = 0
    unfinished_jobs: int = 0
    cut: list[str] = field(default_factory=list)
    refused_profiles: list[str] = field(default_factory=list)
    in_progress: bool = False
    compacted: bool = False
    missing_parts: tuple[int, ...] = ()

    def sentences(self) -> list[str]:
        """All of it for people; empty for a whole log."""
        found = []
        if self.in_progress:
            found.append(
                "the application had not ended when the log was read; what it did until then is used"
            )
        if self.compacted:
            found.append("the history server has compacted the log: events of its first part are gone")  # fmt: skip
        if self.missing_parts:
            numbers = ", ".join(map(str, self.missing_parts))
            found.append(f"parts of the rolled log are missing: events_{numbers}_…")
        found += [f"a packed part is cut: {why}; what came before is used" for why in self.cut]
        if self.damaged:
            found.append(f"{self.damaged} of {self.lines} lines are cut or no JSON and were left out")  # fmt: skip
        if self.unknown:
            kinds = ", ".join(sorted(self.unknown)[:5])
            found.append(f"{sum(self.unknown.values())} lines are of kinds that are not known and were left out: {kinds}")  # fmt: skip
        if self.clock_set_back:
            found.append(f"the driver's clock was set back {self.clock_set_back} times; later times were moved forward")  # fmt: skip
        if self.estimated:
            found.append(f"{self.estimated} tasks have no end in the log and count as long as the median of their stage")  # fmt: skip
        if self.orphans:
            found.append(f"{self.orphans} ended tasks belong to stages that are not in the log and were left out")  # fmt: skip
        if self.unfinished_jobs:
            found.append(f"{self.unfinished_jobs} jobs have no end in the log")
        found += [f"resource profile left out: {each}" for each in self.refused_profiles]
        return found


@dataclass(frozen=True, slots=True)
class ReadLog:
    """A log that was read."""

    application: RecordedApplication
    notes: LogNotes


def read_log(files: LogFiles, progress: Callable[[int], None] = lambda _bytes: None) -> ReadLog:
    """Read one log.

    Args:
        progress: told of every so many bytes that were taken from storage.

    Raises:
        NoLog: when no job of an application is in it.
        CodecMissing: when it is packed with what cannot be unpacked here.
    """
    notes = LogNotes(
        in_progress=files.in_progress, compacted=files.compacted, missing_parts=files.missing
    )
    builder = _Builder(notes)
    for line in _lines(files, notes, progress):
        builder.take(line)
    application = builder.finish()
    if application is None:
        what = "it is no event log" if not builder.known_lines else "no job began in it"
        raise NoLog(
            f"{files.name}: {what} ({notes.lines} lines, {notes.damaged} damaged); "
            "wanted is what spark.eventLog.enabled=true writes"
        )
    if not application.ended:
        notes.in_progress = True
    return ReadLog(application, notes)


class _Counted:
    """A stream that tells how much was taken from it."""

    def __init__(self, stream: BinaryIO, progress: Callable[[int], None]) -> None:
        self._stream = stream
        self._progress = progress

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(count)
        self._progress(len(data))
        return data


def _lines(files: LogFiles, notes: LogNotes, progress: Callable[[int], None]) -> Iterator[bytes]:
    for stream in files.open_parts():
        rest: list[bytes] = []
        length = 0
        try:
            for piece in unpacked(_Counted(stream, progress)):  # type: ignore[arg-type]
                if b"\n" not in piece:
                    length += len(piece)
                    if length <= LONGEST_LINE:
                        rest.append(piece)
                    continue
                found = piece.split(b"\n")
                if length > LONGEST_LINE:
                    notes.lines += 1
                    notes.damaged += 1
                elif rest:
                    found[0] = b"".join((*rest, found[0]))
                rest, last = [], found.pop()
                if length > LONGEST_LINE:
                    del found[0]
                length = len(last)
                if last:
                    rest.append(last)
                notes.lines += len(found)
                yield from found
        except CutStream as cut:
            notes.cut.append(str(cut))
        if rest and 0 < length <= LONGEST_LINE:
            notes.lines += 1
            yield b"".join(rest)


class _Stage:
    """A stage while the log is read."""

    __slots__ = (
        "cached_rdds",
        "completed_at",
        "durations",
        "failures",
        "given_up",
        "name",
        "parents",
        "places",
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
        self.rdd_id = info.rdds[0].rdd_id if info.rdds else _UNKNOWN
        cached = {each.rdd_id for each in info.rdds if each.level.memory or each.level.disk}
        # an RDD is made after those that it is computed from, so the nearest has the highest id
        self.cached_rdds = tuple(sorted(cached, reverse=True))
        self.durations = array("q", [_UNKNOWN]) * max(0, info.num_tasks)
        self.failures: dict[int, list[int]] = {}
        self.places: dict[int, int] = {}
        self.writes_shuffle = False


@dataclass(slots=True)
class _Job:
    job_id: int
    submitted_at: int
    stage_ids: tuple[int, ...]
    thread: str
    batch: str
    declared: dict[int, tuple[int, tuple[int, ...]]]
    reads: tuple[int, ...] = ()
    ended_at: int | None = None


class _Builder:
    """Puts an application together from its lines."""

    def __init__(self, notes: LogNotes) -> None:
        self._notes = notes
        self._handlers = {
            name: (msgspec.json.Decoder(kind).decode, getattr(self, f"_on_{_snake(name)}"))
            for name, kind in wire.KINDS.items()
        }
        self._decode_name = msgspec.json.Decoder(wire.Named).decode
        self.known_lines = 0
        self._shift = 0
        self._latest: int | None = None
        self._begin: int | None = None
        self._end: int | None = None
        self._version = ""
        self._name = ""
        self._id = ""
        self._properties: dict[str, str] = {}
        self._profiles: list[ResourceProfile] = []
        self._executors: dict[str, RecordedExecutor] = {}
        self._jobs: dict[int, _Job] = {}
        self._stages: dict[int, _Stage] = {}
        self._origins: dict[int, int] = {}
        self._parents_elsewhere: dict[int, int] = {}
        self._asked_at: dict[int, int] = {}
        self._awaited: dict[str, int] = {}
        self._unpersists: list[tuple[int, int]] = []
        self._blocks: dict[int, dict[int, tuple[str, int]]] = {}
        self._waiting: dict[tuple[int, int], int] = {}
        self._timeline = Timeline()
        self._alive = self._running = self._pending = 0
        self._busy = self._lost = self._backlog = 0

    def take(self, line: bytes) -> None:
        """One line."""
        if line.startswith(_SPARKS_OWN):
            self._take_own(line[len(_SPARKS_OWN) : line.find(b'"', len(_SPARKS_OWN), 100)], line)
        elif line.startswith(_OTHERS):
            # events of SQL, streaming and extensions bear the full name of their class
            name = line[len(_OTHERS) : line.find(b'"', len(_OTHERS), 300)]
            if not line.endswith(b"}"):
                self._notes.damaged += 1
            elif b"." not in name:
                self._unknown(name)
            else:
                self.known_lines += 1
        elif line.strip():
            self._take_written_otherwise(line)

    def _take_own(self, name: bytes, line: bytes) -> None:
        """An event of Spark's core."""
        handler = self._handlers.get(name)
        if handler is None:
            if name in wire.PASSED_OVER:
                self.known_lines += 1
            elif line.endswith(b"}"):
                self._unknown(b"SparkListener" + name)
            else:
                self._notes.damaged += 1
            return
        decode, put = handler
        try:
            event = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._notes.damaged += 1
            return
        self.known_lines += 1
        put(event)

    def _take_written_otherwise(self, line: bytes) -> None:
        """A line that some other program has written anew: with spaces, or its fields in another order."""
        try:
            name = self._decode_name(line).name.encode()
        except (msgspec.DecodeError, UnicodeError):
            self._notes.damaged += 1
            return
        if name.startswith(b"SparkListener"):
            self._take_own(name.removeprefix(b"SparkListener"), line.rstrip())
        elif b"." in name:
            self.known_lines += 1
        else:
            self._unknown(name)

    def _unknown(self, name: bytes) -> None:
        kind = name.decode(errors="replace")[:80]
        if kind in self._notes.unknown or len(self._notes.unknown) < 100:
            self._notes.unknown[kind] = self._notes.unknown.get(kind, 0) + 1
        else:
            self._notes.unknown["…"] = self._notes.unknown.get("…", 0) + 1

    # -- time --------------------------------------------------------------------------------------------------------

    def _now(self, at: int | None) -> int:
        """The time of an event, put right; that of the event before when it has none."""
        latest = self._latest
        if at is None or at <= 0:
            return latest or 0
        at += self._shift
        if latest is not None and at < latest - CLOCK_SET_BACK_MS:
            self._notes.clock_set_back += 1
            self._shift += latest - at
            at = latest
        if latest is None or at > latest:
            if latest is not None and self._pending > 0:
                self._backlog += at - latest
            self._latest = at
        if self._begin is None:
            self._begin = at
        return at

    def _note(self) -> None:
        if self._latest is not None and self._begin is not None:
            at = max(0, self._latest - self._begin)
            self._timeline.add(at, self._alive, self._running, max(0, self._pending))

    # -- events ------------------------------------------------------------------------------------------------------

    def _on_log_start(self, event: wire.LogStart) -> None:
        self._version = event.version

    def _on_application_start(self, event: wire.ApplicationStart) -> None:
        at = self._now(event.at)
        self._begin = min(at, self._begin) if self._begin is not None else at
        self._name, self._id = event.name, event.app_id or ""
        self._note()

    def _on_application_end(self, event: wire.Timed) -> None:
        self._end = self._now(event.at)
        self._note()

    def _on_environment_update(self, event: wire.Environment) -> None:
        self._properties = event.properties

    def _on_resource_profile_added(self, event: wire.ResourceProfileAdded) -> None:
        if event.profile_id == DEFAULT_PROFILE_ID:
            return
        try:
            profile = ResourceProfile(
                ProfileId(event.profile_id),
                {
                    name: ExecutorResourceRequest(name, int(each.amount))
                    for name, each in event.executor.items()
                },
                {name: TaskResourceRequest(name, each.amount) for name, each in event.task.items()},
                task_only=not event.executor,
            )
        except InvalidProfile as refused:
            self._notes.refused_profiles.append(f"{event.profile_id}: {refused}")
            return
        self._profiles.append(profile)

    def _on_executor_added(self, event: wire.ExecutorAdded) -> None:
        at = self._now(event.at)
        info = event.info
        if event.executor_id == "driver":
            return
        start = None
        if info.requested_at is not None:
            start = max(0, (info.registered_at or event.at) - info.requested_at)
        self._executors[event.executor_id] = RecordedExecutor(
            executor_id=event.executor_id,
            profile_id=ProfileId(info.profile_id),
            cores=info.cores,
            added_ms=at,
            start_ms=start,
        )
        self._alive += 1
        if self._pending > 0:
            self._awaited[event.executor_id] = at
        self._note()

    def _on_executor_removed(self, event: wire.ExecutorRemoved) -> None:
        at = self._now(event.at)
        executor = self._executors.get(event.executor_id)
        if executor is None or executor.removed_ms is not None:
            return
        self._executors[event.executor_id] = RecordedExecutor(
            executor_id=executor.executor_id,
            profile_id=executor.profile_id,
            cores=executor.cores,
            added_ms=executor.added_ms,
            removed_ms=at,
            start_ms=executor.start_ms,
            first_task_ms=executor.first_task_ms,
        )
        self._alive -= 1
        self._note()

    def _on_job_start(self, event: wire.JobStart) -> None:
        at = self._now(event.at)
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
                    each.rdds[0].rdd_id if each.rdds else _UNKNOWN,
                    tuple(each.parents),
                )
                for each in event.stages
            },
        )

    def _on_job_end(self, event: wire.JobEnd) -> None:
        at = self._now(event.at)
        job = self._jobs.get(event.job_id)
        if job is not None and job.ended_at is None:
            job.ended_at = at
            self._settle(job)

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

    def _on_stage_submitted(self, event: wire.OfStage) -> None:
        info = event.stage
        at = self._now(info.submitted_at)
        if info.stage_id not in self._stages:
            stage = self._stages[info.stage_id] = _Stage(info, at)
            self._origins.setdefault(stage.rdd_id, info.stage_id)
        self._waiting[info.stage_id, info.attempt] = info.num_tasks
        self._pending += info.num_tasks
        self._note()

    def _on_stage_completed(self, event: wire.OfStage) -> None:
        info = event.stage
        at = self._now(info.completed_at)
        self._pending -= max(0, self._waiting.pop((info.stage_id, info.attempt), 0))
        stage = self._stages.get(info.stage_id)
        if stage is not None and stage.completed_at is None:
            stage.given_up = info.failure is not None
            if info.failure is None:
                stage.completed_at = at
        self._note()

    def _on_task_start(self, event: wire.TaskStart) -> None:
        at = self._now(event.info.launched_at)
        if self._awaited:
            self._note_first_task(event.info.executor_id, at)
        self._running += 1
        key = (event.stage_id, event.attempt)
        if not event.info.speculative and key in self._waiting:
            self._wait(key, -1)
        self._note()

    def _note_first_task(self, executor_id: str, at: int) -> None:
        """When tasks waited all the time since an executor registered, it could not take one earlier."""
        added_at = self._awaited.pop(executor_id, None)
        executor = self._executors.get(executor_id)
        if added_at is not None and executor is not None:
            self._executors[executor_id] = replace(executor, first_task_ms=max(0, at - added_at))
        if self._pending <= 1:
            self._awaited.clear()

    def _wait(self, key: tuple[int, int], change: int) -> None:
        if key in self._waiting:
            self._waiting[key] += change
            self._pending += change

    def _on_task_end(self, event: wire.TaskEnd) -> None:
        info, reason = event.info, event.reason.name
        key = (event.stage_id, event.attempt)
        if reason == "Resubmitted":
            self._wait(key, +1)  # the data of a task that had ended was lost
            return
        self._now(info.finished_at)
        self._running = max(0, self._running - 1)
        took = info.finished_at - info.launched_at
        known = info.finished_at > 0 and took >= 0
        self._busy += took if known else 0
        again = reason not in ("Success", "TaskKilled") and not info.speculative
        if again:
            self._wait(key, +1)
        self._note()
        stage = self._stages.get(event.stage_id)
        if stage is None:
            self._notes.orphans += 1
            return
        if event.kind == "ShuffleMapTask":
            stage.writes_shuffle = True
        place = _place(stage, event)
        if not known or place is None or not 0 <= place < len(stage.durations):
            return
        before = stage.durations[place]
        if reason == "Success":
            if before == _UNKNOWN:
                stage.durations[place] = self._without_lost_block(stage, place, info, took)
            elif not info.speculative:
                self._lost += took
        elif reason == "TaskKilled":
            if before != _UNKNOWN and not info.speculative and event.attempt == 0:
                # a copy of it was faster: without copies it would have taken at least this long
                stage.durations[place] = max(before, took)
        elif reason in _LOST:
            self._lost += took
        elif again:
            stage.failures.setdefault(place, []).append(took)

    def _without_lost_block(self, stage: _Stage, place: int, info: wire.TaskInfo, took: int) -> int:
        """How long the task takes when the block that it reads is there.

        Where the executor that had the block was gone, the task has computed it anew: that belongs to the recorded run.
        """
        if not stage.cached_rdds:
            return took
        blocks = self._blocks.setdefault(stage.cached_rdds[0], {})
        if place not in blocks:
            blocks[place] = (info.executor_id, took)
            return took
        holder, computed = blocks[place]
        executor = self._executors.get(holder)
        launched_at = info.launched_at + self._shift
        if executor is None or executor.removed_ms is None or executor.removed_ms > launched_at:
            return took
        blocks[place] = (info.executor_id, computed)
        if took <= computed or not migration_obstacle(self._properties):
            return took
        self._lost += computed
        return took - computed

    def _on_unpersist_rdd(self, event: wire.UnpersistRdd) -> None:
        self._blocks.pop(event.rdd_id, None)
        if self._latest is not None:
            self._unpersists.append((event.rdd_id, self._latest))

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> RecordedApplication | None:
        """The application; None when no job began in the log."""
        if not self._jobs or self._begin is None or self._latest is None:
            return None
        begin, end = self._begin, self._end if self._end is not None else self._latest
        for job in self._jobs.values():
            if job.ended_at is None:
                self._notes.unfinished_jobs += 1
                self._settle(job)
            for stage_id in job.stage_ids:
                self._asked_at.setdefault(stage_id, job.submitted_at)
        threads = _Threads(list(self._jobs.values()), begin)
        stages = {
            stage_id: self._stage(stage_id, stage) for stage_id, stage in self._stages.items()
        }
        last_job_end = max((job.ended_at or end) for job in self._jobs.values())
        return RecordedApplication(
            application_id=self._id,
            name=self._name,
            spark_version=self._version,
            properties=self._properties,
            profiles=tuple(self._profiles),
            jobs=tuple(
                self._job(job, threads)
                for job in sorted(
                    self._jobs.values(), key=lambda each: (each.submitted_at, each.job_id)
                )
            ),
            stages=stages,
            unpersists=tuple(
                RecordedUnpersist(rdd_id, threads.follows("", at))
                for rdd_id, at in self._unpersists
            ),
            run=RecordedRun(
                executors=tuple(_since(each, begin) for each in self._executors.values()),
                busy_ms=self._busy,
                lost_ms=self._lost,
                backlog_ms=self._backlog,
                timeline=self._timeline,
            ),
            started_at_ms=begin,
            duration_ms=max(0, end - begin),
            tail_ms=max(0, end - last_job_end),
            ended=self._end is not None,
        )

    def _job(self, job: _Job, threads: "_Threads") -> RecordedJob:
        ran = [self._stages[each] for each in job.stage_ids if each in self._stages]
        last = max((each.completed_at or 0 for each in ran), default=0)
        follows = threads.follows(job.thread, job.submitted_at)
        not_before = None
        if job.thread and threads.begins_batch(job) and follows.pause_ms >= TRIGGER_PAUSE_MS:
            not_before = job.submitted_at - (self._begin or 0)
            follows = Follows(follows.jobs, 0, follows.thread)
        return RecordedJob(
            job_id=job.job_id,
            stage_ids=tuple(each for each in job.stage_ids if each in self._stages),
            follows=follows,
            rank=threads.rank(job),
            reads=job.reads,
            # a job without stages of its own lasts as long as it did
            tail_ms=max(0, (job.ended_at or job.submitted_at) - (last or job.submitted_at)),
            not_before_ms=not_before,
        )

    def _stage(self, stage_id: int, stage: _Stage) -> RecordedStage:
        parents = tuple(
            dict.fromkeys(
                parent if parent in self._stages else self._parents_elsewhere[parent]
                for parent in stage.parents
                if parent in self._stages or parent in self._parents_elsewhere
            )
        )
        could = [self._stages[each].completed_at or 0 for each in parents]
        if stage_id in self._asked_at:
            could.append(self._asked_at[stage_id])
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

    def _durations(self, stage: _Stage) -> Sequence[int]:
        missing = stage.durations.count(_UNKNOWN)
        if not missing:
            return stage.durations
        known = [each for each in stage.durations if each != _UNKNOWN]
        if stage.given_up or not known:
            # of a stage that was given up, the others never ran
            stage.failures.clear()
            return array("q", known)
        self._notes.estimated += missing
        guess = median_low(known)
        return array("q", (guess if each == _UNKNOWN else each for each in stage.durations))


class _Threads:
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

    def follows(self, thread: str, at: int) -> Follows:
        ends = self._ends.get(thread, [])
        jobs = bisect_right(ends, at)
        since = ends[jobs - 1] if jobs else self._begin
        return Follows(jobs, max(0, at - since), thread)

    def rank(self, job: _Job) -> int:
        return self._ranks[job.job_id]

    def begins_batch(self, job: _Job) -> bool:
        return job.job_id in self._first_of_batch


def _place(stage: _Stage, event: wire.TaskEnd) -> int | None:
    """The task's place in the first attempt of its stage."""
    info = event.info
    if event.attempt == 0:
        if info.partition >= 0 and info.partition != info.index:
            stage.places[info.partition] = info.index
        return info.index
    if info.partition < 0:
        return None
    return stage.places.get(info.partition, info.partition)


def _since(executor: RecordedExecutor, begin: int) -> RecordedExecutor:
    return RecordedExecutor(
        executor_id=executor.executor_id,
        profile_id=executor.profile_id,
        cores=executor.cores,
        added_ms=max(0, executor.added_ms - begin),
        removed_ms=None if executor.removed_ms is None else max(0, executor.removed_ms - begin),
        start_ms=executor.start_ms,
        first_task_ms=executor.first_task_ms,
    )


def _snake(name: bytes) -> str:
    words: list[str] = []
    for letter in name.decode().replace("RDD", "Rdd"):
        words.append(f"_{letter.lower()}" if letter.isupper() and words else letter.lower())
    return "".join(words)
